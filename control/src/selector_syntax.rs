//! swanctl's way of writing one side of a selector: `10.1.0.0/24[tcp/80]`, `10.0.0.1-10.0.0.9`,
//! `0.0.0.0/0[icmp/2048]`.

use std::net::IpAddr;

use adit_abi::{Address, PortRange, Prefix, Selector};

/// One side of a selector: a range of addresses, a protocol and a range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectorSide {
    /// First address.
    pub first: Address,
    /// Last address.
    pub last: Address,
    /// IP protocol, 0 for any.
    pub protocol: u8,
    /// Ports; for ICMP `type << 8 | code`.
    pub ports: PortRange,
}

/// Protocols that may be written by name.
const PROTOCOLS: &[(&str, u8)] = &[
    ("any", 0),
    ("icmp", 1),
    ("igmp", 2),
    ("ipip", 4),
    ("tcp", 6),
    ("udp", 17),
    ("ipv6", 41),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmpv6", 58),
    ("ipv6-icmp", 58),
    ("ospf", 89),
    ("sctp", 132),
];

const fn is_icmp(protocol: u8) -> bool {
    matches!(protocol, 1 | 58)
}

impl SelectorSide {
    /// Parses one side.
    ///
    /// # Errors
    /// What was expected instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (addresses, rest) = match text.split_once('[') {
            Some((addresses, rest)) => {
                let inner = rest
                    .strip_suffix(']')
                    .ok_or("a closing `]` after protocol and port")?;
                (addresses.trim(), Some(inner))
            }
            None => (text, None),
        };
        let (first, last) = parse_addresses(addresses)?;
        let (protocol, ports) = match rest {
            Some(inner) => parse_protocol(inner)?,
            None => (0, PortRange::ANY),
        };
        Ok(Self {
            first,
            last,
            protocol,
            ports,
        })
    }

    /// Both sides together.
    ///
    /// # Errors
    /// When they differ in family or protocol.
    pub fn pair(local: &Self, remote: &Self) -> Result<Selector, String> {
        if local.first.is_v4() != remote.first.is_v4() {
            return Err("local and remote addresses of one family".into());
        }
        let protocol = match (local.protocol, remote.protocol) {
            (a, b) if a == b || b == 0 => a,
            (0, b) => b,
            _ => return Err("the same protocol on the local and the remote side".into()),
        };
        // RFC 4301 §4.4.1.1: ICMP has one range of type and code, here always the local one.
        let (local_ports, remote_ports) = if is_icmp(protocol) {
            let ports = match (local.ports, remote.ports) {
                (a, b) if a == b || b == PortRange::ANY => a,
                (PortRange::ANY, b) => b,
                _ => return Err("one ICMP type and code, on one side".into()),
            };
            (ports, PortRange::ANY)
        } else {
            (local.ports, remote.ports)
        };
        Ok(Selector {
            local_first: local.first,
            local_last: local.last,
            remote_first: remote.first,
            remote_last: remote.last,
            local_ports,
            remote_ports,
            protocol,
            reserved: [0; 7],
        })
    }
}

/// Every pair of a local and a remote side that belong to one family.
///
/// # Errors
/// When a pair contradicts itself, or no pair is of one family.
pub fn pairs(local: &[SelectorSide], remote: &[SelectorSide]) -> Result<Vec<Selector>, String> {
    let mut out = Vec::new();
    for l in local {
        for r in remote {
            if l.first.is_v4() == r.first.is_v4() {
                out.push(SelectorSide::pair(l, r)?);
            }
        }
    }
    if out.is_empty() {
        return Err("a local and a remote side of one family".into());
    }
    Ok(out)
}

fn parse_addresses(text: &str) -> Result<(Address, Address), String> {
    const EXPECTED: &str =
        "an address, a prefix like 10.1.0.0/24, or a range like 10.0.0.1-10.0.0.9";
    let ip = |s: &str| s.trim().parse::<IpAddr>().map_err(|_| EXPECTED.to_owned());
    if let Some((first, last)) = text.split_once('-') {
        let (first, last) = (ip(first)?, ip(last)?);
        if first.is_ipv4() != last.is_ipv4() {
            return Err("a range within one family".into());
        }
        if last < first {
            return Err("a range whose last address is not below its first".into());
        }
        return Ok((first.into(), last.into()));
    }
    let prefix = match text.split_once('/') {
        Some((address, length)) => {
            let address = ip(address)?;
            let length = length.parse().map_err(|_| EXPECTED.to_owned())?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            Prefix::new(address, length)
                .ok_or_else(|| format!("a prefix length of at most {most}"))?
        }
        None => {
            let address = Address::from(ip(text)?);
            Prefix::from_mapped(address, 128)
        }
    };
    Ok((prefix.address, prefix.last()))
}

fn parse_protocol(text: &str) -> Result<(u8, PortRange), String> {
    let (protocol, port) = match text.split_once('/') {
        Some((protocol, port)) => (protocol.trim(), port.trim()),
        None => (text.trim(), ""),
    };
    let number = PROTOCOLS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(protocol))
        .map(|(_, number)| *number)
        .or_else(|| protocol.is_empty().then_some(0))
        .or_else(|| protocol.parse().ok())
        .ok_or("a protocol name such as tcp, udp, icmp, or its number")?;
    const EXPECTED: &str = "a port, a range of ports such as 1000-1999, or `any`";
    let port_number = |s: &str| s.trim().parse::<u16>().map_err(|_| EXPECTED.to_owned());
    let ports = match port {
        "" | "any" => PortRange::ANY,
        _ => match port.split_once('-') {
            Some((first, last)) => PortRange {
                first: port_number(first)?,
                last: port_number(last)?,
            },
            None => PortRange::one(port_number(port)?),
        },
    };
    if ports.first > ports.last {
        return Err("a range of ports whose last is not below its first".into());
    }
    if number == 0 && ports != PortRange::ANY {
        return Err("a protocol before the port, such as tcp/80".into());
    }
    Ok((number, ports))
}

fn protocol_name(number: u8) -> String {
    PROTOCOLS
        .iter()
        .find(|(_, n)| *n == number)
        .map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
}

/// A range of addresses, as a prefix if it is one.
pub fn show_range(first: Address, last: Address) -> String {
    match covering_prefix(first, last) {
        Some(prefix) => prefix.to_string(),
        None => format!("{first}-{last}"),
    }
}

fn show_side(first: Address, last: Address, protocol: u8, ports: PortRange) -> String {
    show_range(first, last) + &show_protocol(protocol, ports)
}

/// What stands behind the addresses: `[tcp/80]`, or nothing for all traffic.
pub fn show_protocol(protocol: u8, ports: PortRange) -> String {
    if protocol == 0 {
        return String::new();
    }
    let mut out = format!("[{}", protocol_name(protocol));
    if ports.first == ports.last {
        out += &format!("/{}", ports.first);
    } else if ports != PortRange::ANY {
        out += &format!("/{}-{}", ports.first, ports.last);
    }
    out + "]"
}

/// The local side as swanctl writes it.
pub fn show_local(s: &Selector) -> String {
    show_side(s.local_first, s.local_last, s.protocol, s.local_ports)
}

/// The remote side as swanctl writes it.
pub fn show_remote(s: &Selector) -> String {
    show_side(s.remote_first, s.remote_last, s.protocol, s.remote_ports)
}

/// The prefix that is exactly this range, if there is one.
pub fn covering_prefix(first: Address, last: Address) -> Option<Prefix> {
    let different = (first.to_u128() ^ last.to_u128()).leading_zeros();
    let prefix = Prefix::from_mapped(first, u8::try_from(different).ok()?);
    (prefix.address == first && prefix.last() == last).then_some(prefix)
}

/// The smallest prefix around this range.
pub fn covering(first: Address, last: Address) -> Prefix {
    let same = (first.to_u128() ^ last.to_u128()).leading_zeros();
    Prefix::from_mapped(first, same as u8)
}

/// The fewest prefixes that together are exactly this range.
pub fn prefixes(first: Address, last: Address) -> Vec<Prefix> {
    let mut out = Vec::new();
    let (mut at, last) = (first.to_u128(), last.to_u128());
    while at <= last {
        // The largest block that starts here and does not go past the end.
        let mut bits = at.trailing_zeros().min(127);
        while bits > 0 && at + ((1u128 << bits) - 1) > last {
            bits -= 1;
        }
        out.push(Prefix::from_mapped(
            Address::from_u128(at),
            128 - bits as u8,
        ));
        match at.checked_add(1u128 << bits) {
            Some(next) => at = next,
            None => break,
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(s: &str) -> SelectorSide {
        SelectorSide::parse(s).unwrap()
    }

    #[test]
    fn what_swanctl_writes_is_read_and_written_back() {
        for (local, remote) in [
            ("10.1.0.0/24", "10.2.0.0/24"),
            ("10.1.0.0/24[tcp/80]", "10.2.0.0/24[tcp]"),
            ("10.0.0.1-10.0.0.9[udp/1000-1999]", "0.0.0.0/0[udp/53]"),
            ("fd00:1::/64[icmpv6/32768]", "fd00:2::1/128[icmpv6]"),
            ("10.1.0.0/24[99]", "10.2.0.0/24[99]"),
        ] {
            let s = SelectorSide::pair(&side(local), &side(remote)).unwrap();
            assert_eq!(
                (show_local(&s), show_remote(&s)),
                (local.into(), remote.into())
            );
        }
    }

    #[test]
    fn an_icmp_type_on_the_remote_side_is_the_same_as_on_the_local_one() {
        let a = SelectorSide::pair(&side("10.1.0.0/24[icmp/2048]"), &side("10.2.0.0/24"));
        let b = SelectorSide::pair(&side("10.1.0.0/24"), &side("10.2.0.0/24[icmp/2048]"));
        assert_eq!(a, b);
        assert_eq!(a.unwrap().local_ports, PortRange::one(2048));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, expected) in [
            ("10.1.0.0/33", "a prefix length of at most 32"),
            ("10.1.0.0/24[tcp/80", "a closing `]`"),
            ("10.1.0.9-10.1.0.1", "a range whose last address"),
            ("10.1.0.1-fd00::1", "a range within one family"),
            ("10.1.0.0/24[tcp/70000]", "a port, a range of ports"),
            ("10.1.0.0/24[carrier-pigeon]", "a protocol name"),
            ("10.1.0.0/24[/80]", "a protocol before the port"),
            ("dynamic", "an address, a prefix"),
        ] {
            let e = SelectorSide::parse(text).unwrap_err();
            assert!(e.starts_with(expected), "{text}: {e}");
        }
        let e = SelectorSide::pair(&side("10.1.0.0/24[tcp]"), &side("10.2.0.0/24[udp]"));
        assert!(e.unwrap_err().contains("same protocol"));
        assert!(pairs(&[side("10.1.0.0/24")], &[side("fd00::/64")]).is_err());
    }

    #[test]
    fn a_range_becomes_the_fewest_prefixes() {
        let show = |first: &str, last: &str| {
            let ip = |s: &str| Address::from(s.parse::<IpAddr>().unwrap());
            prefixes(ip(first), ip(last))
                .iter()
                .map(Prefix::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(show("10.1.0.0", "10.1.0.255"), "10.1.0.0/24");
        assert_eq!(
            show("10.0.0.1", "10.0.0.6"),
            "10.0.0.1/32 10.0.0.2/31 10.0.0.4/31 10.0.0.6/32"
        );
        assert_eq!(show("0.0.0.0", "255.255.255.255"), "0.0.0.0/0");
        assert_eq!(
            show("255.255.255.255", "255.255.255.255"),
            "255.255.255.255/32"
        );
        let all = prefixes(Address::UNSPECIFIED, Address::from_u128(u128::MAX));
        assert_eq!(all.len(), 2, "as ::/1 and 8000::/1");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "\\PC*") {
            let _ = SelectorSide::parse(&text);
        }
    }
}
