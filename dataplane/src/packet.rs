//! A packet: a frame whose data begins with the IP header, and what was parsed from it once.

use adit_abi::{Address, DropReason, Flow, Side};
use zerocopy::FromBytes;

use crate::frame::{BURST, Frame};
use crate::headers::ipv4::Ipv4;
use crate::headers::ipv6::Ipv6;
use crate::headers::{icmp, protocol};

/// Packets handled together.
pub type Packets = arrayvec::ArrayVec<Packet, BURST>;

/// Which piece of a packet this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// All of it.
    Whole,
    /// The first of several, with the upper-layer header.
    First,
    /// Another one, without ports.
    Later,
}

/// A frame with parsed offsets. Its data runs from the IP header to the end of the IP packet.
#[derive(Debug)]
pub struct Packet {
    /// The frame.
    pub frame: Frame,
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Upper-layer protocol.
    pub protocol: u8,
    /// Number of the port it came in through.
    pub port: u8,
    /// That port's side.
    pub side: Side,
    /// Which piece of a packet it is.
    pub fragment: Fragment,
    /// Offset of the upper-layer header in the frame's data.
    pub upper: u16,
    /// Source and destination port, host byte order; of ICMP `type << 8 | code` and 0, of protocols
    /// without ports zeros. `None` where the packet has ports but this fragment does not show them.
    pub ports: Option<[u16; 2]>,
}

/// A frame that ends here, and why.
#[derive(Debug)]
pub struct Refused {
    /// The frame.
    pub frame: Frame,
    /// The reason it is counted under.
    pub reason: DropReason,
}

impl Packet {
    /// Whether it is IPv4.
    #[inline]
    pub fn is_v4(&self) -> bool {
        self.source.is_v4()
    }

    /// Bytes of the IP packet.
    #[inline]
    pub fn len(&self) -> usize {
        self.frame.len()
    }

    /// Whether there are no bytes, which no parsed packet has.
    pub fn is_empty(&self) -> bool {
        self.frame.is_empty()
    }

    /// The upper-layer header and what follows.
    #[inline]
    pub fn upper(&self) -> &[u8] {
        self.frame
            .bytes()
            .get(self.upper as usize..)
            .unwrap_or_default()
    }

    /// The same, to be changed.
    #[inline]
    pub fn upper_mut(&mut self) -> &mut [u8] {
        self.frame
            .bytes_mut()
            .get_mut(self.upper as usize..)
            .unwrap_or_default()
    }

    /// The IPv4 header; `None` in an IPv6 packet.
    #[inline]
    pub fn v4_mut(&mut self) -> Option<&mut Ipv4> {
        if !self.is_v4() {
            return None;
        }
        Some(Ipv4::mut_from_prefix(self.frame.bytes_mut()).ok()?.0)
    }

    /// The IPv4 header; `None` in an IPv6 packet.
    #[inline]
    pub fn v4(&self) -> Option<&Ipv4> {
        if !self.is_v4() {
            return None;
        }
        Some(Ipv4::ref_from_prefix(self.frame.bytes()).ok()?.0)
    }

    /// The IPv6 header; `None` in an IPv4 packet.
    #[inline]
    pub fn v6_mut(&mut self) -> Option<&mut Ipv6> {
        if self.is_v4() {
            return None;
        }
        Some(Ipv6::mut_from_prefix(self.frame.bytes_mut()).ok()?.0)
    }

    /// The IPv6 header; `None` in an IPv4 packet.
    #[inline]
    pub fn v6(&self) -> Option<&Ipv6> {
        if self.is_v4() {
            return None;
        }
        Some(Ipv6::ref_from_prefix(self.frame.bytes()).ok()?.0)
    }

    /// What selectors look at when the source is the protected end. Ports not shown read as 0.
    #[inline]
    pub fn flow_outward(&self) -> Flow {
        let [local_port, remote_port] = self.ports.unwrap_or_default();
        Flow {
            local: self.source,
            remote: self.destination,
            protocol: self.protocol,
            local_port,
            remote_port,
        }
    }

    /// What selectors look at when the destination is the protected end. Ports not shown read as 0.
    #[inline]
    pub fn flow_inward(&self) -> Flow {
        self.flow_outward().reversed()
    }

    /// TTL or hop limit.
    #[inline]
    pub fn hop_limit(&self) -> u8 {
        match (self.v4(), self.v6()) {
            (Some(ip), _) => ip.ttl,
            (_, Some(ip)) => ip.hop_limit,
            _ => 0,
        }
    }

    /// Counts TTL or hop limit down by one (RFC 1812 §5.3.1, RFC 8200 §3).
    #[inline]
    pub fn decrement_hop_limit(&mut self) {
        if let Some(ip) = self.v4_mut() {
            ip.decrement_ttl();
        } else if let Some(ip) = self.v6_mut() {
            ip.hop_limit = ip.hop_limit.saturating_sub(1);
        }
    }

    /// DSCP and ECN.
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        match (self.v4(), self.v6()) {
            (Some(ip), _) => ip.traffic_class,
            (_, Some(ip)) => ip.traffic_class(),
            _ => 0,
        }
    }

    /// Whether routers on the way may cut it into fragments.
    #[inline]
    pub fn may_be_fragmented(&self) -> bool {
        self.v4().is_some_and(|ip| !ip.df())
    }

    /// Whether it is an ICMP error message, about which no error may be sent.
    pub fn is_icmp_error(&self) -> bool {
        let kind = self.ports.map(|[kind, _]| (kind >> 8) as u8);
        match (self.protocol, kind) {
            (protocol::ICMP, Some(kind)) => icmp::is_v4_error(kind),
            (protocol::ICMPV6, Some(kind)) => icmp::is_v6_error(kind),
            // Of a fragment that does not show its type the worst is assumed.
            (protocol::ICMP | protocol::ICMPV6, None) => true,
            _ => false,
        }
    }

    /// Ends here, for a reason.
    pub fn refuse(self, reason: DropReason) -> Refused {
        Refused {
            frame: self.frame,
            reason,
        }
    }
}
