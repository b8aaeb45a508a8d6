//! Packets for the tests, made and read with etherparse: a second opinion on every header.

use std::net::IpAddr;

use adit_abi::Address;
use etherparse::{IpNumber, PacketBuilder};

/// A UDP packet with this payload and a TTL of 64.
pub fn udp(source: Address, destination: Address, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    ip(source, destination, 64)
        .udp(ports.0, ports.1)
        .write(&mut out, payload)
        .unwrap();
    out
}

/// An echo request with this number.
pub fn ping(source: Address, destination: Address, number: u16) -> Vec<u8> {
    let mut out = Vec::new();
    let builder = ip(source, destination, 64);
    let payload = [number as u8 | 0x80; 56];
    if source.is_v4() {
        builder
            .icmpv4_echo_request(7, number)
            .write(&mut out, &payload)
            .unwrap();
    } else {
        builder
            .icmpv6_echo_request(7, number)
            .write(&mut out, &payload)
            .unwrap();
    }
    out
}

/// The builder's IP layer.
pub fn ip(
    source: Address,
    destination: Address,
    ttl: u8,
) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    match (IpAddr::from(source), IpAddr::from(destination)) {
        (IpAddr::V4(s), IpAddr::V4(d)) => PacketBuilder::ipv4(s.octets(), d.octets(), ttl),
        (IpAddr::V6(s), IpAddr::V6(d)) => PacketBuilder::ipv6(s.octets(), d.octets(), ttl),
        _ => panic!("two families"),
    }
}

/// An IP packet with any protocol.
pub fn raw(source: Address, destination: Address, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    ip(source, destination, 64)
        .write(&mut out, IpNumber(protocol), payload)
        .unwrap();
    out
}

/// What a packet looks like after one router: TTL one less, the rest the same.
pub fn hops_later(packet: &[u8], hops: u8) -> Vec<u8> {
    let mut out = packet.to_vec();
    if packet[0] >> 4 == 4 {
        out[8] -= hops;
        let (mut header, _) = etherparse::Ipv4Header::from_slice(&out).unwrap();
        header.header_checksum = header.calc_header_checksum();
        let bytes = header.to_bytes();
        out[..bytes.len()].copy_from_slice(&bytes);
    } else {
        out[7] -= hops;
    }
    out
}
