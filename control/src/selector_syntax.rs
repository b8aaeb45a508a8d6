//! swanctl's way of writing one side of a selector: `10.1.0.0/24[tcp/80]`, `10.0.0.1-10.0.0.9`,
//! `0.0.0.0/0[icmp/2048]`; and what it has no words for: `[tcp/80,443,8000-8099]`, `[icmp/8:0]`, `[mh/5]`.

use std::net::IpAddr;

use adit_abi::{
    Address, OPAQUE_PROTOCOL, PortRange, Prefix, Selector, SelectorEnd, SelectorSet, has_type,
};

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
    ("mh", MOBILITY_HEADER),
    ("opaque", OPAQUE_PROTOCOL),
    ("sctp", 132),
];

/// Mobility Header (RFC 6275 §6.1).
const MOBILITY_HEADER: u8 = 135;

impl SelectorSide {
    /// Parses one side without a list of ports.
    ///
    /// # Errors
    /// What was expected instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        match Self::parse_list(text)?.as_slice() {
            [one] => Ok(*one),
            _ => Err("one range of ports".into()),
        }
    }

    /// Parses one side: as many as there are ranges in its list of ports.
    ///
    /// # Errors
    /// What was expected instead.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
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
            None => (0, vec![PortRange::ANY]),
        };
        let side = |ports| Self {
            first,
            last,
            protocol,
            ports,
        };
        Ok(ports.into_iter().map(side).collect())
    }

    /// As it stands in the table.
    pub const fn end(&self) -> SelectorEnd {
        let mut end = SelectorEnd::new(self.first, self.last);
        end.protocol = self.protocol;
        end.ports = self.ports;
        end
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
        // RFC 4301 §4.4.1.1: there is one range of message types, here always the local one.
        let (local_ports, remote_ports) = if has_type(protocol) {
            let ports = match (local.ports, remote.ports) {
                (a, b) if a == b || b == PortRange::ANY => a,
                (PortRange::ANY, b) => b,
                _ => return Err("one range of message types, on one side".into()),
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
        return Err("local and remote addresses of one family".into());
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

fn parse_protocol(text: &str) -> Result<(u8, Vec<PortRange>), String> {
    let (protocol, ports) = match text.split_once('/') {
        Some((protocol, ports)) => (protocol.trim(), ports.trim()),
        None => (text.trim(), ""),
    };
    let number = PROTOCOLS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(protocol))
        .map(|(_, number)| *number)
        .or_else(|| protocol.is_empty().then_some(0))
        .or_else(|| protocol.parse().ok())
        .ok_or("a protocol name such as tcp, udp, icmp, or its number")?;
    let ports = ports
        .split(',')
        .map(|range| parse_ports(number, range.trim()))
        .collect::<Result<Vec<_>, _>>()?;
    if number == 0 && ports != [PortRange::ANY] {
        return Err("a protocol before the port, such as tcp/80".into());
    }
    if number == OPAQUE_PROTOCOL && ports != [PortRange::ANY] {
        return Err("no ports with a protocol that cannot be seen".into());
    }
    Ok((number, ports))
}

/// One range of ports, or of message types.
fn parse_ports(protocol: u8, text: &str) -> Result<PortRange, String> {
    match text {
        "" | "any" => return Ok(PortRange::ANY),
        "opaque" => return Ok(PortRange::OPAQUE),
        _ => {}
    }
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (parse_port(protocol, first)?, parse_port(protocol, last)?),
        None => (parse_port(protocol, text)?, parse_port(protocol, text)?),
    };
    let range = PortRange {
        first: first.first,
        last: last.last,
    };
    if range.first > range.last {
        return Err("a range of ports whose last is not below its first".into());
    }
    Ok(range)
}

/// A port, or a message type with its codes.
fn parse_port(protocol: u8, text: &str) -> Result<PortRange, String> {
    let text = text.trim();
    let codes = |kind: u8| PortRange {
        first: u16::from(kind) << 8,
        last: u16::from(kind) << 8 | 255,
    };
    if protocol == MOBILITY_HEADER {
        let kind = text
            .parse()
            .map_err(|_| "a Mobility Header type, 0 to 255")?;
        return Ok(codes(kind));
    }
    if let Some((kind, code)) = text.split_once(':') {
        const EXPECTED: &str = "TYPE:CODE, 0 to 255 each, or TYPE:any";
        if !has_type(protocol) {
            return Err("TYPE:CODE with icmp or icmpv6 only".into());
        }
        let kind: u8 = kind.trim().parse().map_err(|_| EXPECTED)?;
        return match code.trim() {
            "any" => Ok(codes(kind)),
            code => {
                let code: u8 = code.parse().map_err(|_| EXPECTED)?;
                Ok(PortRange::one(u16::from(kind) << 8 | u16::from(code)))
            }
        };
    }
    let port = text.parse().map_err(
        |_| "a port, a range of ports such as 1000-1999, a list such as 80,443, `any` or `opaque`",
    )?;
    Ok(PortRange::one(port))
}

/// The selectors of one SA: every local side with every remote one.
///
/// # Errors
/// When there are too many, or none fit each other.
pub fn selector_set(
    local: &[SelectorSide],
    remote: &[SelectorSide],
) -> Result<SelectorSet, String> {
    let ends = |sides: &[SelectorSide]| sides.iter().map(SelectorSide::end).collect::<Vec<_>>();
    let set = SelectorSet::new(&ends(local), &ends(remote))
        .ok_or_else(|| format!("1 to {} on each side", SelectorSet::MAX))?;
    if set.pairs().next().is_none() {
        // The reason is that of the first pair.
        pairs(local, remote)?;
    }
    Ok(set)
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
    match ports {
        PortRange::ANY => {}
        PortRange::OPAQUE => out += "/opaque",
        PortRange { first, last } if protocol == MOBILITY_HEADER => {
            out += &format!("/{}", first >> 8);
            if first >> 8 != last >> 8 {
                out += &format!("-{}", last >> 8);
            }
        }
        PortRange { first, last } if first == last => out += &format!("/{first}"),
        PortRange { first, last } => out += &format!("/{first}-{last}"),
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

/// One end as swanctl writes it.
pub fn show_end(e: &SelectorEnd) -> String {
    show_side(e.first, e.last, e.protocol, e.ports)
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
            ("10.1.0.0/24[tcp/opaque]", "10.2.0.0/24[tcp/opaque]"),
            ("fd00:1::/64[opaque]", "fd00:2::/64[opaque]"),
            ("fd00:1::/64[mh/5-7]", "fd00:2::/64[mh]"),
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
    fn a_list_of_ports_is_as_many_sides_and_types_have_codes() {
        let ranges = |text: &str| {
            let sides = SelectorSide::parse_list(text).unwrap();
            sides
                .iter()
                .map(|s| (s.ports.first, s.ports.last))
                .collect::<Vec<_>>()
        };
        let web = ranges("10.1.0.0/24[tcp/80, 443,8000-8099]");
        assert_eq!(web, [(80, 80), (443, 443), (8000, 8099)]);
        assert_eq!(ranges("10.1.0.0/24[icmp/8:0]"), [(0x800, 0x800)]);
        assert_eq!(ranges("10.1.0.0/24[icmp/3:0-4:any]"), [(0x300, 0x4ff)]);
        assert_eq!(ranges("fd00::/64[mh/5]"), [(0x500, 0x5ff)]);
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
            ("10.1.0.0/24[tcp/8:0]", "TYPE:CODE with icmp"),
            ("10.1.0.0/24[icmp/8:256]", "TYPE:CODE, 0 to 255"),
            ("10.1.0.0/24[mh/256]", "a Mobility Header type"),
            ("10.1.0.0/24[opaque/80]", "no ports with a protocol"),
            ("10.1.0.0/24[tcp/80,443]", "one range of ports"),
            ("10.1.0.0/24[tcp/80,x]", "a port, a range of ports"),
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
