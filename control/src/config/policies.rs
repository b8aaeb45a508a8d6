//! Section `policies`.

use adit_abi::{Action, Applies, PolicyName};

use super::Named;
use super::error::Report;
use super::raw::RawPolicy;
use super::values::Section;
use crate::sadb::{Origin, PolicySpec};
use crate::selector_syntax::pairs;

/// The priority of a policy that names none. Children come after it, see
/// [`super::connections::CHILD_PRIORITY`].
const PRIORITY: u64 = 1000;

/// Words for the databases of RFC 4301 §4.4.1: SPD-S with both others, SPD-I, SPD-O.
pub(crate) const DIRECTIONS: [(&str, Applies); 3] = [
    ("both", Applies::Both),
    ("in", Applies::Inbound),
    ("out", Applies::Outbound),
];

pub(super) fn check(report: &mut Report<'_>, raw: Named<RawPolicy>) -> Vec<PolicySpec> {
    let mut out = Vec::new();
    for (name, (span, raw)) in raw {
        let mut s = Section {
            report: &mut *report,
            name: format!("policies.{name}"),
            span,
        };
        check_name(&mut s, &name);
        if raw.action.is_none() {
            let remedy = "\"protect\" needs SAs, \"bypass\" forwards in clear, \"discard\" drops";
            s.missing("action", "\"protect\", \"bypass\" or \"discard\"", remedy);
        }
        let action = s.word(
            "action",
            &raw.action,
            &[
                ("protect", Action::Protect),
                ("bypass", Action::Bypass),
                ("discard", Action::Discard),
            ],
            Action::Discard,
        );
        let remedy = "the lowest number decides first";
        let priority = s.number("priority", &raw.priority, 0..=i64::MAX, PRIORITY, remedy);
        let applies = s.word("direction", &raw.direction, &DIRECTIONS, Applies::Both);
        let from_packet = s.packet_fields(&raw.pfp);
        if let (Action::Protect, false, Some(at)) =
            (action, applies == Applies::Both, &raw.direction)
        {
            let found = format!("{:?} found", at.get_ref());
            s.wrong(
                "direction",
                at,
                found,
                "\"both\"",
                "what protects goes both ways: leave it out",
            );
        }
        if let (Action::Bypass | Action::Discard, false, Some(at)) =
            (action, from_packet.is_empty(), &raw.pfp)
        {
            let remedy = "only a policy with action \"protect\" asks for SAs";
            s.wrong("pfp", at, "flags found", "none", remedy);
        }
        let local = s.sides("local_ts", &raw.local_ts);
        let remote = s.sides("remote_ts", &raw.remote_ts);
        if local.is_empty() || remote.is_empty() {
            continue;
        }
        match (pairs(&local, &remote), &raw.remote_ts) {
            (Ok(selectors), _) => out.push(PolicySpec {
                name,
                selectors,
                action,
                priority,
                applies,
                from_packet,
                origin: Origin::File,
            }),
            (Err(expected), Some(at)) => {
                s.wrong("remote_ts", at, "does not fit local_ts", expected, "");
            }
            (Err(_), None) => {}
        }
    }
    out
}

/// Names are kept in the table, where room is limited.
pub(super) fn check_name(s: &mut Section<'_, '_>, name: &str) {
    if name.is_empty() || PolicyName::new(name).is_none() {
        let (span, key) = (s.span.clone(), s.name.clone());
        s.report.add(
            span,
            key,
            format!("the name {name:?} has {} bytes", name.len()),
            format!("1 to {} bytes, no zero byte", PolicyName::MAX),
            "shorten it",
        );
    }
}
