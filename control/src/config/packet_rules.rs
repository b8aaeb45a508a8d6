//! `packets` of a child: how its SAs treat the packets they carry.

use super::raw::{Field, RawPackets};
use super::values::Section;
use crate::sadb::{Cut, DontFragment, FlowLabel, PacketRules, parse_tfc_padding};

/// What a child says of its packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Checked {
    /// DSCP of the outer header, unless it is copied or mapped.
    pub dscp: Option<u8>,
    /// The outer DF bit.
    pub df: DontFragment,
    /// The rest.
    pub rules: PacketRules,
}

pub(super) fn check(s: &mut Section<'_, '_>, raw: &Field<RawPackets>) -> Checked {
    let Some(raw) = raw else {
        return Checked::default();
    };
    let name = s.key("packets");
    let mut s = Section {
        report: &mut *s.report,
        name,
        span: raw.span(),
    };
    let raw = raw.get_ref();
    let (dscp, map_dscp) = dscp(&mut s, &raw.dscp);
    let df = s.word("df", &raw.df, &DontFragment::WORDS, DontFragment::Copy);
    let rules = PacketRules {
        map_dscp,
        clear_ecn: !s.flag(&raw.ecn, true),
        hop_limit: s.number("hop_limit", &raw.hop_limit, 1..=255, 0, "64 is usual"),
        flow_label: s.word(
            "flow_label",
            &raw.flow_label,
            &FlowLabel::WORDS,
            FlowLabel::Zero,
        ),
        cut: s.word("fragment", &raw.fragment, &Cut::WORDS, Cut::Before),
        path_mtu: s.number(
            "path_mtu",
            &raw.path_mtu,
            576..=65_535,
            0,
            "leave it out to follow the route and what routers say",
        ),
        later_fragments: s.flag(&raw.later_fragments, false),
        check_icmp: s.flag(&raw.check_icmp, false),
        tfc_padding: tfc_padding(&mut s, &raw.tfc_padding),
        dummies: s.number(
            "dummies",
            &raw.dummies,
            0..=10_000,
            0,
            "dummy packets a second; 0 sends none",
        ),
    };
    if let (DontFragment::Set, Cut::After, Some(at)) = (df, rules.cut, &raw.fragment) {
        let remedy = "an outer packet that must not be fragmented cannot be cut: take df = \"copy\" or \"clear\"";
        s.wrong(
            "fragment",
            at,
            "\"after\" beside df = \"set\" found",
            "one of them",
            remedy,
        );
    }
    Checked { dscp, df, rules }
}

fn dscp(s: &mut Section<'_, '_>, field: &Field<String>) -> (Option<u8>, bool) {
    let Some(value) = field else {
        return (None, false);
    };
    match value.get_ref().as_str() {
        "copy" => (None, false),
        "map" => (None, true),
        text => match text.parse().ok().filter(|dscp| *dscp <= 63) {
            Some(dscp) => (Some(dscp), false),
            None => {
                let found = format!("{text:?} found");
                let expected = "\"copy\", \"map\" or a number up to 63 in quotes";
                s.wrong("dscp", value, found, expected, "46 is expedited forwarding");
                (None, false)
            }
        },
    }
}

fn tfc_padding(s: &mut Section<'_, '_>, field: &Field<String>) -> u16 {
    let Some(value) = field else { return 0 };
    parse_tfc_padding(value.get_ref()).unwrap_or_else(|expected| {
        let found = format!("{:?} found", value.get_ref());
        s.wrong(
            "tfc_padding",
            value,
            found,
            expected,
            "write \"mtu\" or \"1400\"",
        );
        0
    })
}
