//! Selectors: what traffic a policy or an SA covers (RFC 4301 §4.4.1.1).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address::{Address, Prefix};

/// An inclusive range of ports, host byte order.
///
/// For ICMP and ICMPv6 the *local* range holds `type << 8 | code`, for the Mobility Header `type << 8`
/// (RFC 4301 §4.4.1.1, RFC 7296 §3.13.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PortRange {
    /// First port.
    pub first: u16,
    /// Last port, itself included.
    pub last: u16,
}

impl PortRange {
    /// Every port.
    pub const ANY: Self = Self {
        first: 0,
        last: u16::MAX,
    };

    /// Ports that cannot be seen, as in a later fragment, and no others (RFC 4301 §4.4.1.1; written as RFC 7296
    /// §3.13.1 writes it).
    pub const OPAQUE: Self = Self {
        first: u16::MAX,
        last: 0,
    };

    /// Just one port.
    pub const fn one(port: u16) -> Self {
        Self {
            first: port,
            last: port,
        }
    }

    /// Whether `port` lies in the range.
    #[inline]
    pub const fn contains(&self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// Whether every port that `inner` covers is covered; OPAQUE lies in ANY and in itself.
    pub fn covers_range(&self, inner: &Self) -> bool {
        match (*self, *inner) {
            (Self::ANY, _) => true,
            (Self::OPAQUE, Self::OPAQUE) => true,
            (Self::OPAQUE, _) | (_, Self::OPAQUE) => false,
            (o, i) => o.first <= i.first && i.last <= o.last,
        }
    }

    /// Whether ports that cannot be seen are covered for sure (RFC 4301 §4.4.1.1).
    #[inline]
    const fn covers_hidden(&self) -> bool {
        matches!((self.first, self.last), (0, u16::MAX) | (u16::MAX, 0))
    }
}

/// The fields of one packet that selectors look at, seen from the inside: `local` is the protected end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Address of the protected end.
    pub local: Address,
    /// Address of the far end.
    pub remote: Address,
    /// IP protocol or IPv6 upper-layer next header; [`OPAQUE_PROTOCOL`] where a fragment hides it.
    pub protocol: u8,
    /// Port of the protected end; for ICMP `type << 8 | code`, for the Mobility Header `type << 8`.
    pub local_port: u16,
    /// Port of the far end; for ICMP and the Mobility Header 0.
    pub remote_port: u16,
}

/// The protocol of a packet that does not show it: a later IPv6 fragment whose upper-layer header lies behind
/// further extension headers. The number is the Fragment header's own, which no upper layer has; a selector
/// with it covers such packets alone (OPAQUE, RFC 4301 §4.4.1.1).
pub const OPAQUE_PROTOCOL: u8 = 44;

/// Whether a protocol has a message type where others have ports: ICMP, ICMPv6, Mobility Header.
#[inline]
pub const fn has_type(protocol: u8) -> bool {
    matches!(protocol, 1 | 58 | 135)
}

impl Flow {
    /// The same packet seen from the other end. Message types stay where they are.
    #[must_use]
    pub fn reversed(&self) -> Self {
        let typed = has_type(self.protocol);
        Self {
            local: self.remote,
            remote: self.local,
            protocol: self.protocol,
            local_port: if typed {
                self.local_port
            } else {
                self.remote_port
            },
            remote_port: if typed {
                self.remote_port
            } else {
                self.local_port
            },
        }
    }
}

/// One pair of address ranges with protocol and ports (80 bytes in shared memory).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Selector {
    /// First address of the protected side.
    pub local_first: Address,
    /// Last address of the protected side.
    pub local_last: Address,
    /// First address of the far side.
    pub remote_first: Address,
    /// Last address of the far side.
    pub remote_last: Address,
    /// Ports of the protected side; for ICMP the range of `type << 8 | code`.
    pub local_ports: PortRange,
    /// Ports of the far side.
    pub remote_ports: PortRange,
    /// IP protocol; 0 is ANY, [`OPAQUE_PROTOCOL`] is OPAQUE.
    pub protocol: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

impl Selector {
    /// All traffic between two prefixes.
    pub fn between(local: Prefix, remote: Prefix) -> Self {
        Self {
            local_first: local.address,
            local_last: local.last(),
            remote_first: remote.address,
            remote_last: remote.last(),
            local_ports: PortRange::ANY,
            remote_ports: PortRange::ANY,
            protocol: 0,
            reserved: [0; 7],
        }
    }

    /// Whether the flow is covered.
    #[inline]
    pub fn covers(&self, flow: &Flow) -> bool {
        self.local_first <= flow.local
            && flow.local <= self.local_last
            && self.remote_first <= flow.remote
            && flow.remote <= self.remote_last
            && (self.protocol == 0 || self.protocol == flow.protocol)
            && self.local_ports.contains(flow.local_port)
            && self.remote_ports.contains(flow.remote_port)
    }

    /// The same for a packet of which `ports` says whether it shows its ports: `Some(true)` if it is covered
    /// for sure, `Some(false)` if what it hides decides, `None` if it is not covered.
    #[inline]
    pub fn covers_shown(&self, flow: &Flow, ports: bool) -> Option<bool> {
        if ports {
            return self.covers(flow).then_some(true);
        }
        self.covers_hidden(flow)
    }

    #[cold]
    fn covers_hidden(&self, flow: &Flow) -> Option<bool> {
        let addresses = self.local_first <= flow.local
            && flow.local <= self.local_last
            && self.remote_first <= flow.remote
            && flow.remote <= self.remote_last;
        let same = self.protocol == 0 || self.protocol == flow.protocol;
        if !addresses || !same && flow.protocol != OPAQUE_PROTOCOL {
            return None;
        }
        //= RFC 4301 §7.1: a fragment without ports is covered by selectors whose port fields are ANY
        //= RFC 4301 §7.2: and by those whose port fields are OPAQUE, which cover nothing else
        Some(same && self.local_ports.covers_hidden() && self.remote_ports.covers_hidden())
    }

    /// Whether a field says OPAQUE: the selector was written for packets that do not show it.
    pub fn is_opaque(&self) -> bool {
        self.protocol == OPAQUE_PROTOCOL
            || self.local_ports == PortRange::OPAQUE
            || self.remote_ports == PortRange::OPAQUE
    }

    /// Whether everything that `inner` covers is covered.
    pub fn contains(&self, inner: &Self) -> bool {
        self.local_first <= inner.local_first
            && inner.local_last <= self.local_last
            && self.remote_first <= inner.remote_first
            && inner.remote_last <= self.remote_last
            && (self.protocol == 0 || self.protocol == inner.protocol)
            && self.local_ports.covers_range(&inner.local_ports)
            && self.remote_ports.covers_range(&inner.remote_ports)
    }
}

/// Fields that an SA takes from the packet that asked for it instead of from its policy: PFP flags
/// (RFC 4301 §4.4.1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FromPacket(u8);

impl FromPacket {
    /// The protected end's address.
    pub const LOCAL_ADDRESS: Self = Self(1);
    /// The far end's address.
    pub const REMOTE_ADDRESS: Self = Self(1 << 1);
    /// The protocol.
    pub const PROTOCOL: Self = Self(1 << 2);
    /// The protected end's port, or the message type.
    pub const LOCAL_PORT: Self = Self(1 << 3);
    /// The far end's port.
    pub const REMOTE_PORT: Self = Self(1 << 4);

    /// Every flag with its name.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("local_addr", Self::LOCAL_ADDRESS),
        ("remote_addr", Self::REMOTE_ADDRESS),
        ("protocol", Self::PROTOCOL),
        ("local_port", Self::LOCAL_PORT),
        ("remote_port", Self::REMOTE_PORT),
    ];

    /// From a byte in shared memory; bits that mean nothing are left out.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 0x1f)
    }

    /// The byte.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether no field comes from the packet.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Both sets of flags.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every flag of `other` is set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The fields that come from the packet, zeros in place of the others: two packets with the same result
    /// belong into one SA.
    #[inline]
    pub fn key(self, flow: &Flow) -> Flow {
        let has = |flag| self.contains(flag);
        let none = Address::UNSPECIFIED;
        Flow {
            local: if has(Self::LOCAL_ADDRESS) {
                flow.local
            } else {
                none
            },
            remote: if has(Self::REMOTE_ADDRESS) {
                flow.remote
            } else {
                none
            },
            protocol: if has(Self::PROTOCOL) {
                flow.protocol
            } else {
                0
            },
            local_port: if has(Self::LOCAL_PORT) {
                flow.local_port
            } else {
                0
            },
            remote_port: if has(Self::REMOTE_PORT) {
                flow.remote_port
            } else {
                0
            },
        }
    }

    /// What an SA asked for by this packet is to cover: the policy's selector, the flagged fields from the
    /// packet (RFC 4301 §4.4.1.2). A port that the packet does not show becomes OPAQUE.
    #[must_use]
    pub fn narrow(self, policy: &Selector, flow: &Flow, ports: bool) -> Selector {
        let mut s = *policy;
        if self.contains(Self::LOCAL_ADDRESS) {
            (s.local_first, s.local_last) = (flow.local, flow.local);
        }
        if self.contains(Self::REMOTE_ADDRESS) {
            (s.remote_first, s.remote_last) = (flow.remote, flow.remote);
        }
        if self.contains(Self::PROTOCOL) {
            s.protocol = flow.protocol;
        }
        let port = |port| {
            if ports {
                PortRange::one(port)
            } else {
                PortRange::OPAQUE
            }
        };
        if self.contains(Self::LOCAL_PORT) && s.protocol != 0 {
            s.local_ports = port(flow.local_port);
        }
        // A protocol with message types has one range, the local one.
        if self.contains(Self::REMOTE_PORT) && s.protocol != 0 && !has_type(s.protocol) {
            s.remote_ports = port(flow.remote_port);
        }
        s
    }

    /// The one packet key that a selector stands for, if its flagged fields are single values.
    pub fn key_of(self, s: &Selector) -> Option<Flow> {
        let one = |flag, single| !self.contains(flag) || single;
        let typed = has_type(s.protocol);
        let ports = |range: &PortRange| range.first == range.last || *range == PortRange::OPAQUE;
        let single = one(Self::LOCAL_ADDRESS, s.local_first == s.local_last)
            && one(Self::REMOTE_ADDRESS, s.remote_first == s.remote_last)
            && one(Self::PROTOCOL, s.protocol != 0)
            && one(Self::LOCAL_PORT, ports(&s.local_ports))
            && one(Self::REMOTE_PORT, typed || ports(&s.remote_ports));
        // A packet that hides its ports reads as ports of 0.
        let port = |range: &PortRange| {
            if *range == PortRange::OPAQUE {
                0
            } else {
                range.first
            }
        };
        single.then(|| {
            self.key(&Flow {
                local: s.local_first,
                remote: s.remote_first,
                protocol: s.protocol,
                local_port: port(&s.local_ports),
                remote_port: if typed { 0 } else { port(&s.remote_ports) },
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(protocol: u8, local_port: u16, remote_port: u16) -> Flow {
        Flow {
            local: Address::v4([10, 1, 0, 2]),
            remote: Address::v4([10, 2, 0, 2]),
            protocol,
            local_port,
            remote_port,
        }
    }

    fn nets() -> Selector {
        let p = |s: &str| Prefix::new(s.parse().unwrap(), 24).unwrap();
        Selector::between(p("10.1.0.0"), p("10.2.0.0"))
    }

    #[test]
    fn ports_and_protocol_narrow_a_selector() {
        let mut s = nets();
        assert!(s.covers(&flow(6, 1, 2)));
        s.protocol = 17;
        assert!(!s.covers(&flow(6, 1, 53)));
        s.remote_ports = PortRange::one(53);
        assert!(s.covers(&flow(17, 1, 53)));
        assert!(!s.covers(&flow(17, 53, 1)));
        assert!(
            s.covers(&flow(17, 53, 1).reversed().reversed().reversed().reversed())
                == s.covers(&flow(17, 53, 1))
        );
    }

    #[test]
    fn icmp_type_and_code_stay_local_when_a_flow_is_reversed() {
        let echo = flow(1, 8 << 8, 0);
        assert_eq!(echo.reversed().local_port, 8 << 8);
        assert_eq!(flow(6, 1, 2).reversed().local_port, 2);
    }

    #[test]
    fn what_a_fragment_hides_is_covered_by_any_and_by_opaque_for_sure() {
        let mut s = nets();
        let hidden = flow(17, 0, 0);
        assert_eq!(s.covers_shown(&hidden, false), Some(true));
        s.protocol = 17;
        s.remote_ports = PortRange::one(53);
        assert_eq!(s.covers_shown(&hidden, false), Some(false));
        assert_eq!(s.covers_shown(&flow(6, 0, 0), false), None);
        s.remote_ports = PortRange::OPAQUE;
        assert_eq!(s.covers_shown(&hidden, false), Some(true));
        assert_eq!(s.covers_shown(&flow(17, 1, u16::MAX), true), None);
        assert_eq!(s.covers_shown(&flow(17, 1, 0), true), None);
        let unknown = flow(OPAQUE_PROTOCOL, 0, 0);
        assert_eq!(s.covers_shown(&unknown, false), Some(false));
        s.protocol = OPAQUE_PROTOCOL;
        assert_eq!(s.covers_shown(&unknown, false), Some(true));
        assert_eq!(nets().covers_shown(&unknown, false), Some(true));
    }

    #[test]
    fn any_contains_opaque_and_opaque_nothing_else() {
        let (any, opaque, one) = (PortRange::ANY, PortRange::OPAQUE, PortRange::one(80));
        let table = [any, opaque, one].map(|o| [any, opaque, one].map(|i| o.covers_range(&i)));
        assert_eq!(
            table,
            [
                [true, true, true],
                [false, true, false],
                [false, false, true]
            ]
        );
    }

    #[test]
    fn flagged_fields_come_from_the_packet_and_lead_back_to_it() {
        let all = FromPacket::from_bits(0xff);
        let f = flow(6, 1000, 80);
        let narrow = all.narrow(&nets(), &f, true);
        assert_eq!((narrow.local_first, narrow.local_last), (f.local, f.local));
        assert_eq!(narrow.local_ports, PortRange::one(1000));
        assert!(narrow.covers(&f) && nets().contains(&narrow));
        assert_eq!(all.key_of(&narrow), Some(all.key(&f)));
        let some = FromPacket::REMOTE_ADDRESS.with(FromPacket::PROTOCOL);
        let narrow = some.narrow(&nets(), &f, true);
        assert_eq!(narrow.local_ports, PortRange::ANY);
        assert_eq!(some.key_of(&narrow), Some(some.key(&flow(6, 7, 7))));
        assert_eq!(all.key_of(&narrow), None, "its ports are ranges");
        assert_eq!(some.key_of(&nets()), None);
        let echo = flow(1, 8 << 8, 0);
        let narrow = all.narrow(&nets(), &echo, true);
        assert_eq!(narrow.remote_ports, PortRange::ANY);
        assert_eq!(all.key_of(&narrow), Some(all.key(&echo)));
        let hidden = all.narrow(&nets(), &flow(17, 0, 0), false);
        assert_eq!(hidden.local_ports, PortRange::OPAQUE);
        assert_eq!(all.key_of(&hidden), Some(all.key(&flow(17, 0, 0))));
    }
}
