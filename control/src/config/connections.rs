//! Section `connections`: manually keyed children, until there is IKE.

use std::collections::BTreeMap;

use adit_abi::{Action, Address, Direction, Mode, Protocol, Selector, SelectorSet, Spi};
use toml::Spanned;

use super::Named;
use super::error::Report;
use super::packet_rules;
use super::policies::check_name;
use super::raw::{RawChild, RawConnection, RawManual};
use super::secrets::KeyPair;
use super::values::Section;
use crate::esp_proposal::EspProposal;
use crate::sadb::{Encap, Lifetime, Origin, PolicySpec, SaSpec};
use crate::secret::Secret;
use crate::selector_syntax::{pairs, selector_set};

/// The priority of a child that names none: behind the policies of section `policies`.
pub(crate) const CHILD_PRIORITY: u64 = 2000;

/// What other sections say about children.
pub(super) struct Rules<'a> {
    pub static_counter_mode_keys: bool,
    pub most_window: u16,
    pub unreadable: &'a [String],
}

/// What a child takes over from its connection.
struct Outer {
    local: Option<Address>,
    remote: Option<Address>,
    encap: Option<(u16, u16)>,
}

pub(super) fn check(
    report: &mut Report<'_>,
    rules: &Rules<'_>,
    secrets: &BTreeMap<String, KeyPair>,
    raw: Named<RawConnection>,
) -> (Vec<PolicySpec>, Vec<SaSpec>) {
    let (mut policies, mut sas) = (Vec::new(), Vec::<SaSpec>::new());
    for (name, (span, raw)) in raw {
        let mut s = Section {
            report: &mut *report,
            name: format!("connections.{name}"),
            span,
        };
        let outer = outer(&mut s, &raw);
        if raw.children.is_empty() {
            s.missing(
                "children",
                "at least one child",
                format!("add [connections.{name}.children.NAME]"),
            );
        }
        for (child, raw) in raw.children {
            let mut c = Section {
                report: &mut *s.report,
                name: format!("connections.{name}.children.{child}"),
                span: raw.span(),
            };
            let policy = format!("{name}/{child}");
            check_name(&mut c, &policy);
            if let Some((p, pair)) =
                check_child(&mut c, rules, secrets, &outer, policy, raw.get_ref())
            {
                let taken = |sa: &SaSpec| sas.iter().any(|other| other.key() == sa.key());
                for (key, sa) in ["spi_in", "spi_out"].into_iter().zip(&pair) {
                    if taken(sa) {
                        c.spi_taken(key, raw.get_ref(), sa);
                    }
                }
                policies.push(p);
                sas.extend(pair);
            }
        }
    }
    (policies, sas)
}

impl Section<'_, '_> {
    fn spi_taken(&mut self, key: &str, raw: &RawChild, sa: &SaSpec) {
        let field = raw.manual.as_ref().map(|m| match key {
            "spi_in" => &m.get_ref().spi_in,
            _ => &m.get_ref().spi_out,
        });
        if let Some(Some(at)) = field {
            let found = format!("{:?} to {} found twice", sa.spi, sa.destination);
            self.wrong(
                &format!("manual.{key}"),
                at,
                found,
                "a number of its own for each SA to an address",
                "take another on both gateways",
            );
        }
    }
}

fn outer(s: &mut Section<'_, '_>, raw: &RawConnection) -> Outer {
    let local = s.one_address("local_addrs", &raw.local_addrs);
    let remote = s.one_address("remote_addrs", &raw.remote_addrs);
    if let (Some(l), Some(r), Some(at)) = (local, remote, &raw.remote_addrs)
        && l.is_v4() != r.is_v4()
    {
        let found = format!("{l} and {r} found");
        s.wrong("remote_addrs", at, found, "addresses of one family", "");
    }
    let mut port = |key, field| s.number(key, field, 1..=65_535, 4500, "4500 is ESP's port in UDP");
    let ports = (
        port("local_port", &raw.local_port),
        port("remote_port", &raw.remote_port),
    );
    Outer {
        local,
        remote,
        encap: s.flag(&raw.encap, false).then_some(ports),
    }
}

fn check_child(
    s: &mut Section<'_, '_>,
    rules: &Rules<'_>,
    secrets: &BTreeMap<String, KeyPair>,
    outer: &Outer,
    policy: String,
    raw: &RawChild,
) -> Option<(PolicySpec, [SaSpec; 2])> {
    let selectors = selectors(s, raw);
    let modes = Mode::ALL.map(|mode| (mode.name(), mode));
    let mode = s.word("mode", &raw.mode, &modes, Mode::Tunnel);
    let remedy = "8 is what Linux peers do over IPv4";
    let ah_align = s.number("ah_align", &raw.ah_align, 4..=8, 4, remedy);
    let remedy = "the lowest number decides first";
    let priority = s.number(
        "priority",
        &raw.priority,
        0..=i64::MAX,
        CHILD_PRIORITY,
        remedy,
    );
    let packets = packet_rules::check(s, &raw.packets);
    let (soft, hard) = lifetimes(s, raw);
    let window = window(s, rules, raw);
    let proposal = proposal(s, raw);
    let Some(manual) = &raw.manual else {
        let remedy =
            "add manual = { spi_in = 0x…, spi_out = 0x…, secret = \"ID\" }: there is no IKE yet";
        s.missing("manual", "SPIs and a secret", remedy);
        return None;
    };
    let name = s.key("manual");
    let mut m = Section {
        report: &mut *s.report,
        name,
        span: manual.span(),
    };
    let spi_in = spi(&mut m, "spi_in", &manual.get_ref().spi_in);
    let spi_out = spi(&mut m, "spi_out", &manual.get_ref().spi_out);
    let keys = keys(&mut m, rules, secrets, manual.get_ref(), proposal);
    let ((covered, selectors), proposal, keys) = (selectors?, proposal?, keys?);
    let (local, remote) = (outer.local?, outer.remote?);
    let base = SaSpec {
        spi: spi_in?,
        direction: Direction::Inbound,
        source: remote,
        destination: local,
        mode,
        proposal,
        enc_key: keys.inbound.enc,
        auth_key: keys.inbound.auth,
        encap: outer.encap.map(|(here, there)| Encap {
            source: there,
            destination: here,
        }),
        window,
        soft,
        hard,
        selectors,
        policy: Some(policy.clone()),
        keepalive: false,
        dscp: packets.dscp,
        df: packets.df,
        packets: packets.rules,
        around: None,
        ah_align_8: ah_align == 8,
        original: None,
        last_sequence: 0,
        origin: Origin::File,
    };
    let outbound = SaSpec {
        spi: spi_out?,
        direction: Direction::Outbound,
        source: local,
        destination: remote,
        enc_key: keys.outbound.enc,
        auth_key: keys.outbound.auth,
        encap: outer.encap.map(|(here, there)| Encap {
            source: here,
            destination: there,
        }),
        keepalive: outer.encap.is_some(),
        ..base.clone()
    };
    if let (Err(e), Some(at)) = (base.check(rules.most_window), &raw.mode) {
        let remedy = "see mode, ah_proposals and encap";
        s.wrong(
            "mode",
            at,
            format!("{:?} found", at.get_ref()),
            e.to_string(),
            remedy,
        );
        return None;
    }
    let policy = PolicySpec {
        name: policy,
        selectors: covered,
        action: Action::Protect,
        priority,
        applies: Default::default(),
        from_packet: Default::default(),
        origin: Origin::File,
    };
    Some((policy, [base, outbound]))
}

/// What the child's policy covers, one by one, and what its two SAs carry, together.
fn selectors(s: &mut Section<'_, '_>, raw: &RawChild) -> Option<(Vec<Selector>, SelectorSet)> {
    let local = s.sides("local_ts", &raw.local_ts);
    let remote = s.sides("remote_ts", &raw.remote_ts);
    for (key, sides, field) in [
        ("local_ts", &local, &raw.local_ts),
        ("remote_ts", &remote, &raw.remote_ts),
    ] {
        if let (true, Some(at)) = (sides.len() > SelectorSet::MAX, field) {
            let found = format!("{} ranges found", sides.len());
            let expected = format!("1 to {}", SelectorSet::MAX);
            let remedy = "add another child for the rest: an SA carries so many on each side";
            s.wrong(key, at, found, expected, remedy);
            return None;
        }
    }
    if local.is_empty() || remote.is_empty() {
        return None;
    }
    let both = pairs(&local, &remote).and_then(|p| Ok((p, selector_set(&local, &remote)?)));
    match (both, &raw.remote_ts) {
        (Ok(both), _) => Some(both),
        (Err(expected), Some(at)) => {
            s.wrong("remote_ts", at, "does not fit local_ts", expected, "");
            None
        }
        (Err(_), None) => None,
    }
}

fn lifetimes(s: &mut Section<'_, '_>, raw: &RawChild) -> (Lifetime, Lifetime) {
    let soft_seconds = s.time("rekey_time", &raw.rekey_time);
    let hard_seconds = s.time("life_time", &raw.life_time);
    let mut number = |key, field| s.number(key, field, 0..=i64::MAX, 0, "0 is no limit");
    let soft = Lifetime {
        seconds: soft_seconds,
        bytes: number("rekey_bytes", &raw.rekey_bytes),
        packets: number("rekey_packets", &raw.rekey_packets),
    };
    let hard = Lifetime {
        seconds: hard_seconds,
        bytes: number("life_bytes", &raw.life_bytes),
        packets: number("life_packets", &raw.life_packets),
    };
    let mut above = |key, soft: u64, hard: u64, field: Option<std::ops::Range<usize>>| {
        if let (true, Some(span)) = (hard != 0 && soft > hard, field) {
            let key = s.key(key);
            let expected = "a soft lifetime within the hard one";
            s.report.add(
                span,
                key,
                format!("{soft} is more than {hard}"),
                expected,
                "lower it",
            );
        }
    };
    let span = |f: &super::raw::Field<i64>| f.as_ref().map(Spanned::span);
    let time = raw.rekey_time.as_ref().map(Spanned::span);
    above("rekey_time", soft.seconds, hard.seconds, time);
    above(
        "rekey_bytes",
        soft.bytes,
        hard.bytes,
        span(&raw.rekey_bytes),
    );
    above(
        "rekey_packets",
        soft.packets,
        hard.packets,
        span(&raw.rekey_packets),
    );
    (soft, hard)
}

fn window(s: &mut Section<'_, '_>, rules: &Rules<'_>, raw: &RawChild) -> u16 {
    let default = rules.most_window.min(1024);
    let Some(value) = &raw.replay_window else {
        return default;
    };
    match u16::try_from(*value.get_ref()) {
        Ok(0) => 0,
        Ok(n) if (64..=rules.most_window).contains(&n) => n,
        _ => {
            s.wrong(
                "replay_window",
                value,
                format!("{} found", value.get_ref()),
                format!("0, or 64 to {}", rules.most_window),
                "0 checks nothing; `gateway.table.window` sets the largest",
            );
            default
        }
    }
}

fn proposal(s: &mut Section<'_, '_>, raw: &RawChild) -> Option<EspProposal> {
    let (key, protocol, list) = match (&raw.esp_proposals, &raw.ah_proposals) {
        (_, None) => ("esp_proposals", Protocol::Esp, &raw.esp_proposals),
        (None, Some(_)) => ("ah_proposals", Protocol::Ah, &raw.ah_proposals),
        (Some(_), Some(both)) => {
            let remedy = "put AH around ESP over the control socket";
            s.wrong(
                "ah_proposals",
                both,
                "esp_proposals beside it found",
                "one of the two",
                remedy,
            );
            return None;
        }
    };
    let Some(list) = list else {
        s.missing(
            "esp_proposals",
            "one proposal",
            "add esp_proposals = [\"aes256-sha256\"]",
        );
        return None;
    };
    let [one] = list.get_ref().as_slice() else {
        let found = format!("{} proposals found", list.get_ref().len());
        s.wrong(
            key,
            list,
            found,
            "one",
            "manual keys leave nothing to negotiate",
        );
        return None;
    };
    match EspProposal::parse(protocol, one.get_ref()) {
        Ok(p) => Some(p),
        Err(reason) => {
            let found = format!("{:?} found", one.get_ref());
            let expected =
                "a suite, such as aes256-sha256 or aes128gcm16, with -esn behind it or not";
            s.wrong(key, one, found, expected, reason.to_string());
            None
        }
    }
}

fn spi(s: &mut Section<'_, '_>, key: &str, field: &super::raw::Field<i64>) -> Option<Spi> {
    const EXPECTED: &str = "0x100 to 0xffffffff";
    const REMEDY: &str = "both gateways name the same two numbers, the other way round";
    let Some(value) = field else {
        s.missing(key, EXPECTED, REMEDY);
        return None;
    };
    match u32::try_from(*value.get_ref()).map(Spi) {
        Ok(spi) if spi.is_usable() => Some(spi),
        _ => {
            let found = format!("{:#x} found", value.get_ref());
            s.wrong(
                key,
                value,
                found,
                EXPECTED,
                "0 to 255 are reserved (RFC 4303 §2.1)",
            );
            None
        }
    }
}

fn keys(
    s: &mut Section<'_, '_>,
    rules: &Rules<'_>,
    secrets: &BTreeMap<String, KeyPair>,
    raw: &RawManual,
    proposal: Option<EspProposal>,
) -> Option<KeyPair> {
    let Some(id) = &raw.secret else {
        s.missing(
            "secret",
            "the name of a section under `secrets`",
            "add [secrets.ID] and name it here",
        );
        return None;
    };
    let Some(pair) = secrets.get(id.get_ref()) else {
        if rules
            .unreadable
            .contains(&format!("secrets.{}", id.get_ref()))
        {
            return None;
        }
        let found = format!("{:?} found", id.get_ref());
        let remedy = format!("add [secrets.{}]", id.get_ref());
        s.wrong("secret", id, found, "a section under `secrets`", remedy);
        return None;
    };
    let suite = proposal?.suite;
    //= RFC 8221 §3: manual keys must not be used with counter-mode suites: a restart repeats nonces
    if suite.is_counter_mode() && !rules.static_counter_mode_keys {
        s.wrong(
            "secret",
            id,
            format!("{suite} with a key from a file found"),
            "a suite in CBC mode such as aes256-sha256",
            "a counter-mode suite repeats nonces after a restart (RFC 8221 §3): take another, put fresh \
             keys in over the control socket, or set gateway.unsafe_static_counter_mode_keys = true",
        );
        return None;
    }
    let mut fits = true;
    for (what, key, expected) in [
        ("enc_in", &pair.inbound.enc, suite.enc_key_len()),
        ("enc_out", &pair.outbound.enc, suite.enc_key_len()),
        ("auth_in", &pair.inbound.auth, suite.auth_key_len()),
        ("auth_out", &pair.outbound.auth, suite.auth_key_len()),
    ] {
        // One that cannot be read was reported where it stands.
        if key.len() == expected || (key.is_empty() && pair.told) {
            continue;
        }
        fits = false;
        let found = format!("{what} of {:?} has {} octets", id.get_ref(), key.len());
        s.wrong(
            "secret",
            id,
            found,
            format!("{expected} for {suite}"),
            key_remedy(key, expected),
        );
    }
    (fits && !pair.told).then(|| pair.clone())
}

fn key_remedy(key: &Secret, expected: usize) -> String {
    if expected == 0 {
        "leave it out: the suite has no such key".into()
    } else if key.is_empty() {
        format!("add one to the section: `openssl rand -hex {expected}` makes it")
    } else if key.len() + 4 == expected {
        "the 4 octets of salt belong to the end of the key (RFC 4106 §8.1)".into()
    } else {
        format!("make one with `openssl rand -hex {expected}`")
    }
}
