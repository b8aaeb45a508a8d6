//! Echo requests, and what their replies must be.

use etherparse::{Icmpv4Type, Icmpv6Type};
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use std::net::IpAddr;

/// What an echo request carries, beside its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Identifier, the same in every request of a test.
    pub id: u16,
    /// Sequence number of the echo, not of ESP.
    pub seq: u16,
    /// Octets behind the ICMP header.
    pub data: Vec<u8>,
}

impl Echo {
    /// The echo of this number, with so many octets behind its header.
    pub fn new(seq: u16, size: usize) -> Self {
        Self {
            id: 0x1d1d,
            seq,
            data: (0..size).map(|i| i as u8).collect(),
        }
    }
}

/// The whole IP packet of an echo request, with this TTL or hop limit.
pub fn request(src: IpAddr, dst: IpAddr, hops: u8, echo: &Echo) -> Vec<u8> {
    let mut packet = Vec::new();
    let (id, seq) = (echo.id, echo.seq);
    let written = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => PacketBuilder::ipv4(src.octets(), dst.octets(), hops)
            .icmpv4_echo_request(id, seq)
            .write(&mut packet, &echo.data),
        (IpAddr::V6(src), IpAddr::V6(dst)) => PacketBuilder::ipv6(src.octets(), dst.octets(), hops)
            .icmpv6_echo_request(id, seq)
            .write(&mut packet, &echo.data),
        _ => panic!("{src} and {dst} are of two families"),
    };
    written.expect("writing to memory");
    packet
}

/// Source, destination and content of an echo reply; `None` for any other packet.
pub fn reply(packet: &[u8]) -> Option<(IpAddr, IpAddr, Echo)> {
    let sliced = SlicedPacket::from_ip(packet).ok()?;
    let (src, dst): (IpAddr, IpAddr) = match sliced.net? {
        NetSlice::Ipv4(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        NetSlice::Ipv6(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        NetSlice::Arp(_) => return None,
    };
    let (header, data) = match sliced.transport? {
        TransportSlice::Icmpv4(icmp) => match icmp.icmp_type() {
            Icmpv4Type::EchoReply(header) => (header, icmp.payload()),
            _ => return None,
        },
        TransportSlice::Icmpv6(icmp) => match icmp.icmp_type() {
            Icmpv6Type::EchoReply(header) => (header, icmp.payload()),
            _ => return None,
        },
        _ => return None,
    };
    let echo = Echo {
        id: header.id,
        seq: header.seq,
        data: data.to_vec(),
    };
    Some((src, dst, echo))
}
