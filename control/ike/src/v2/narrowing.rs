//! Traffic selectors: what is proposed, and what two ends have in common (RFC 7296 §2.9).

use std::net::IpAddr;

use crate::config::{Addresses, MOST_SELECTORS, SelectorSpec};
use crate::wire::v2::{AddressRange, IpSelector, TrafficSelector, TrafficSelectors};

/// What a child carries, seen from this end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Selectors {
    /// What this end protects.
    pub local: Vec<IpSelector>,
    /// What the peer protects.
    pub remote: Vec<IpSelector>,
}

/// A start above its end: the port is not there to be seen, in fragments for one (RFC 4301 §4.4.1.1).
const OPAQUE: (u16, u16) = (u16::MAX, 0);
const ANY_PORT: (u16, u16) = (0, u16::MAX);

/// What a configuration's selectors stand for once addresses are known; `dynamic` becomes each of `own`.
pub(crate) fn resolve(specs: &[SelectorSpec], own: &[IpAddr]) -> Vec<IpSelector> {
    let mut out = Vec::new();
    for spec in specs {
        let with = |first, last| {
            Some(IpSelector {
                protocol: spec.protocol,
                start_port: spec.ports.0,
                end_port: spec.ports.1,
                addresses: AddressRange::new(first, last)?,
            })
        };
        match spec.addresses {
            Addresses::Dynamic => out.extend(own.iter().filter_map(|a| with(*a, *a))),
            Addresses::Range(first, last) => out.extend(with(first, last)),
        }
    }
    out.truncate(MOST_SELECTORS);
    out
}

/// What both lists cover: every pair's common part, none that another covers, in the order of `ours`.
///
/// A triggering packet's selector that comes first in `theirs` lies in some larger one of theirs, so its traffic is
/// covered by what is returned if it is acceptable at all.
pub(crate) fn narrow(ours: &[IpSelector], theirs: &[IpSelector]) -> Vec<IpSelector> {
    let mut out: Vec<IpSelector> = Vec::new();
    //= RFC 7296 §2.9: the responder narrows to a subset of what was proposed that its policy allows
    for (a, b) in ours.iter().flat_map(|a| theirs.iter().map(move |b| (a, b))) {
        let Some(common) = intersection(a, b) else {
            continue;
        };
        if out.iter().any(|o| covers(o, &common)) {
            continue;
        }
        out.retain(|o| !covers(&common, o));
        out.push(common);
        if out.len() == MOST_SELECTORS {
            break;
        }
    }
    out
}

/// The ranges of a TS payload; other types match nothing here.
pub(crate) fn ip_selectors(payload: &TrafficSelectors) -> Vec<IpSelector> {
    let ip = |ts: &TrafficSelector| match ts {
        TrafficSelector::Ip(ip) => Some(*ip),
        TrafficSelector::Unknown { .. } => None,
    };
    payload.selectors.iter().filter_map(ip).collect()
}

/// A TS payload of these ranges.
pub(crate) fn payload(selectors: &[IpSelector]) -> TrafficSelectors {
    TrafficSelectors {
        selectors: selectors.iter().copied().map(TrafficSelector::Ip).collect(),
    }
}

/// Selectors for people, as swanctl writes them.
pub(crate) fn describe(selectors: &[IpSelector]) -> Vec<String> {
    selectors.iter().map(describe_one).collect()
}

fn describe_one(s: &IpSelector) -> String {
    let (first, last) = (s.addresses.first(), s.addresses.last());
    let mut text = match prefix_length(first, last) {
        Some(length) => format!("{first}/{length}"),
        None => format!("{first}-{last}"),
    };
    let ports = (s.start_port, s.end_port);
    if s.protocol != 0 || ports != ANY_PORT {
        let protocol = match s.protocol {
            0 => "any".to_owned(),
            n => n.to_string(),
        };
        let ports = match ports {
            ANY_PORT => String::new(),
            OPAQUE => "/opaque".to_owned(),
            (a, b) if a == b => format!("/{a}"),
            (a, b) => format!("/{a}-{b}"),
        };
        text += &format!("[{protocol}{ports}]");
    }
    text
}

fn number(a: IpAddr) -> u128 {
    match a {
        IpAddr::V4(a) => u128::from(u32::from(a)),
        IpAddr::V6(a) => u128::from(a),
    }
}

fn prefix_length(first: IpAddr, last: IpAddr) -> Option<u32> {
    let bits = if first.is_ipv4() { 32 } else { 128 };
    let differing = number(first) ^ number(last);
    let host = 128 - differing.leading_zeros();
    let aligned = differing == (1u128.checked_shl(host).unwrap_or(0)).wrapping_sub(1)
        && number(first) & differing == 0
        && first <= last;
    aligned.then(|| bits - host)
}

fn intersection(a: &IpSelector, b: &IpSelector) -> Option<IpSelector> {
    let protocol = match (a.protocol, b.protocol) {
        (0, p) | (p, 0) => p,
        (p, q) => (p == q).then_some(p)?,
    };
    let (start_port, end_port) =
        common_ports((a.start_port, a.end_port), (b.start_port, b.end_port))?;
    let (x, y) = (&a.addresses, &b.addresses);
    if x.first().is_ipv4() != y.first().is_ipv4() {
        return None;
    }
    let (first, last) = (x.first().max(y.first()), x.last().min(y.last()));
    // A range that its sender turned around is empty.
    if first > last {
        return None;
    }
    Some(IpSelector {
        protocol,
        start_port,
        end_port,
        addresses: AddressRange::new(first, last)?,
    })
}

fn common_ports(a: (u16, u16), b: (u16, u16)) -> Option<(u16, u16)> {
    match (a, b) {
        //= RFC 7296 §3.13.1: ANY covers OPAQUE, a range of ports does not
        (OPAQUE, OPAQUE | ANY_PORT) | (ANY_PORT, OPAQUE) => Some(OPAQUE),
        (OPAQUE, _) | (_, OPAQUE) => None,
        _ => {
            let (first, last) = (a.0.max(b.0), a.1.min(b.1));
            (first <= last).then_some((first, last))
        }
    }
}

/// Whether `a` covers all of `b`.
pub(crate) fn covers(a: &IpSelector, b: &IpSelector) -> bool {
    intersection(a, b).is_some_and(|common| common == *b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ts(first: &str, last: &str, protocol: u8, ports: (u16, u16)) -> IpSelector {
        IpSelector {
            protocol,
            start_port: ports.0,
            end_port: ports.1,
            addresses: AddressRange::new(first.parse().unwrap(), last.parse().unwrap()).unwrap(),
        }
    }

    fn net(first: &str, last: &str) -> IpSelector {
        ts(first, last, 0, ANY_PORT)
    }

    #[test]
    fn the_common_part_is_taken_and_what_another_covers_is_not() {
        let ours = [
            net("10.1.0.0", "10.1.255.255"),
            net("10.3.0.0", "10.3.0.255"),
        ];
        let theirs = [
            ts("10.1.2.3", "10.1.2.3", 6, (80, 80)),
            net("10.1.2.0", "10.2.0.0"),
            net("2001:db8::", "2001:db8::ff"),
        ];
        assert_eq!(narrow(&ours, &theirs), [net("10.1.2.0", "10.1.255.255")]);
        assert_eq!(narrow(&ours, &theirs[2..]), []);
        assert_eq!(narrow(&ours[1..], &theirs), []);
        assert_eq!(narrow(&ours, &theirs[..1]), theirs[..1]);
    }

    #[test]
    fn protocols_and_ports_narrow_too() {
        let any = net("10.0.0.0", "10.255.255.255");
        let web = ts("10.1.0.1", "10.1.0.1", 6, (80, 443));
        let dns = ts("10.1.0.1", "10.1.0.1", 17, (53, 53));
        let opaque = ts("10.1.0.1", "10.1.0.1", 6, OPAQUE);
        assert_eq!(intersection(&any, &web), Some(web));
        assert_eq!(intersection(&web, &dns), None);
        assert_eq!(intersection(&any, &opaque), Some(opaque));
        assert_eq!(intersection(&web, &opaque), None);
        assert_eq!(intersection(&opaque, &opaque), Some(opaque));
    }

    #[test]
    fn a_range_turned_around_matches_nothing() {
        let any = net("0.0.0.0", "255.255.255.255");
        assert_eq!(intersection(&any, &net("10.0.0.9", "10.0.0.1")), None);
    }

    #[test]
    fn as_many_as_a_child_may_have_are_returned() {
        let one = |n: u8| net(&format!("10.0.{n}.0"), &format!("10.0.{n}.1"));
        let many: Vec<_> = (0..200).map(one).collect();
        let all = [net("10.0.0.0", "10.0.255.255")];
        assert_eq!(narrow(&all, &many).len(), MOST_SELECTORS);
    }

    #[test]
    fn selectors_read_as_swanctl_writes_them() {
        let all = [
            net("10.1.0.0", "10.1.255.255"),
            net("0.0.0.0", "255.255.255.255"),
            net("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            net("10.1.0.1", "10.1.0.1"),
            net("10.1.0.1", "10.1.0.2"),
            ts("10.1.0.1", "10.1.0.1", 6, (80, 80)),
            ts("10.1.0.1", "10.1.0.1", 0, OPAQUE),
        ];
        let expected = [
            "10.1.0.0/16",
            "0.0.0.0/0",
            "::/0",
            "10.1.0.1/32",
            "10.1.0.1-10.1.0.2",
            "10.1.0.1/32[6/80]",
            "10.1.0.1/32[any/opaque]",
        ];
        assert_eq!(describe(&all), expected);
    }

    #[test]
    fn dynamic_becomes_the_addresses_there_are() {
        let own: Vec<IpAddr> = vec!["10.9.0.1".parse().unwrap()];
        assert_eq!(
            resolve(&[SelectorSpec::DYNAMIC], &own),
            [net("10.9.0.1", "10.9.0.1")]
        );
    }
}
