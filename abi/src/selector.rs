//! Selectors: what traffic a policy or an SA covers (RFC 4301 §4.4.1.1).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address::{Address, Prefix};

/// An inclusive range of ports, host byte order.
///
/// For ICMP and ICMPv6 the *local* range holds `type << 8 | code` (RFC 4301 §4.4.1.1, RFC 7296 §3.13.1).
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
}

/// The fields of one packet that selectors look at, seen from the inside: `local` is the protected end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Address of the protected end.
    pub local: Address,
    /// Address of the far end.
    pub remote: Address,
    /// IP protocol or IPv6 upper-layer next header.
    pub protocol: u8,
    /// Port of the protected end; for ICMP `type << 8 | code`.
    pub local_port: u16,
    /// Port of the far end; for ICMP 0.
    pub remote_port: u16,
}

impl Flow {
    /// The same packet seen from the other end. ICMP's type and code stay where they are.
    #[must_use]
    pub fn reversed(&self) -> Self {
        let icmp = matches!(self.protocol, 1 | 58);
        Self {
            local: self.remote,
            remote: self.local,
            protocol: self.protocol,
            local_port: if icmp {
                self.local_port
            } else {
                self.remote_port
            },
            remote_port: if icmp {
                self.remote_port
            } else {
                self.local_port
            },
        }
    }
}

/// One pair of address ranges with protocol and ports (80 bytes in shared memory).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
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
    /// IP protocol; 0 is any.
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
}
