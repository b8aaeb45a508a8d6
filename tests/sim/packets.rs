//! Packets for the tests, made and read with etherparse: a second opinion on every header.

use std::net::IpAddr;

use adit_abi::{Address, SaRecord};
use adit_dataplane::crypto::{Job, Keys, Provider};
use etherparse::{
    IpHeaders, IpNumber, PacketBuilder, PacketBuilderStep, SlicedPacket, TcpOptionElement,
};

/// The builder's IP layer.
pub fn ip(source: Address, destination: Address, ttl: u8) -> PacketBuilderStep<IpHeaders> {
    match (IpAddr::from(source), IpAddr::from(destination)) {
        (IpAddr::V4(s), IpAddr::V4(d)) => PacketBuilder::ipv4(s.octets(), d.octets(), ttl),
        (IpAddr::V6(s), IpAddr::V6(d)) => PacketBuilder::ipv6(s.octets(), d.octets(), ttl),
        _ => panic!("two families"),
    }
}

/// A UDP packet with a TTL of 64.
pub fn udp(source: Address, destination: Address, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    ip(source, destination, 64)
        .udp(ports.0, ports.1)
        .write(&mut out, payload)
        .unwrap();
    out
}

/// A UDP packet of this many bytes altogether.
pub fn udp_of(source: Address, destination: Address, length: usize) -> Vec<u8> {
    let head = if source.is_v4() { 28 } else { 48 };
    let payload: Vec<u8> = (0..length - head).map(|n| n as u8 | 0x80).collect();
    udp(source, destination, (1000, 2000), &payload)
}

/// An IPv4 packet with its DF bit cleared: etherparse sets it.
pub fn cuttable(mut packet: Vec<u8>) -> Vec<u8> {
    packet[6] &= !0x40;
    rechecksum(&mut packet);
    packet
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

/// A TCP SYN with these options.
pub fn syn(source: Address, destination: Address, options: &[TcpOptionElement]) -> Vec<u8> {
    let mut out = Vec::new();
    ip(source, destination, 64)
        .tcp(40000, 443, 1, 65535)
        .syn()
        .options(options)
        .unwrap()
        .write(&mut out, &[])
        .unwrap();
    out
}

/// An IP packet with any protocol.
pub fn raw(source: Address, destination: Address, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    // The builder refuses protocols that begin an extension header.
    ip(source, destination, 64)
        .write(&mut out, IpNumber(59), payload)
        .unwrap();
    if source.is_v4() {
        out[9] = protocol;
        rechecksum(&mut out);
    } else {
        out[6] = protocol;
    }
    out
}

/// Sealed by hand under an SA: the body is everything that is encrypted, the trailer included.
pub fn sealed(sa: &SaRecord, sequence: u64, body: &[u8]) -> Vec<u8> {
    let suite = sa.suite().unwrap();
    let keys = Keys {
        enc: &sa.enc_key[..suite.enc_key_len()],
        auth: &sa.auth_key[..suite.auth_key_len()],
    };
    let transform = Provider::Reference
        .transform(suite, keys, sa.esn())
        .unwrap();
    let mut esp = sa.spi.0.to_be_bytes().to_vec();
    esp.extend_from_slice(&[0; 4]);
    esp.resize(8 + suite.iv_len(), 0);
    esp.extend_from_slice(body);
    esp.resize(esp.len() + suite.icv_len(), 0);
    let mut jobs = [Job::new(&mut esp, sequence)];
    transform.seal(&mut jobs);
    assert!(jobs[0].ok);
    if sa.encap_destination != 0 {
        let ports = (sa.encap_source, sa.encap_destination);
        udp(sa.source, sa.destination, ports, &esp)
    } else {
        raw(sa.source, sa.destination, 50, &esp)
    }
}

/// An inner packet with the right trailer for suites of block 4.
pub fn body(inner: &[u8]) -> Vec<u8> {
    let mut body = inner.to_vec();
    let padding = (inner.len() + 2).next_multiple_of(4) - inner.len() - 2;
    body.extend(1..=padding as u8);
    body.push(padding as u8);
    body.push(if inner[0] >> 4 == 4 { 4 } else { 41 });
    body
}

/// Parses an IP packet, checking that nothing is missing or left over.
pub fn parse(ip: &[u8]) -> SlicedPacket<'_> {
    SlicedPacket::from_ip(ip).unwrap()
}

/// What a packet looks like some routers later: TTL lower, the rest the same.
pub fn hops_later(packet: &[u8], hops: u8) -> Vec<u8> {
    let mut out = packet.to_vec();
    if packet[0] >> 4 == 4 {
        out[8] -= hops;
        rechecksum(&mut out);
    } else {
        out[7] -= hops;
    }
    out
}

/// Changes bytes of an IPv4 header and makes its checksum right again.
pub fn rechecksum(packet: &mut [u8]) {
    let (mut header, _) = etherparse::Ipv4Header::from_slice(packet).unwrap();
    header.header_checksum = header.calc_header_checksum();
    let bytes = header.to_bytes();
    packet[..bytes.len()].copy_from_slice(&bytes);
}

/// Asserts that an IP packet's own checksums are right, UDP's and TCP's and ICMP's included.
pub fn assert_checksums(packet: &[u8]) {
    use etherparse::{NetSlice, TransportSlice};
    let sliced = parse(packet);
    let transport = sliced.transport.as_ref();
    match sliced.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            let (s, d) = (header.source, header.destination);
            match transport {
                Some(TransportSlice::Icmpv4(icmp)) => {
                    let payload = icmp.payload();
                    let kind = icmp.icmp_type();
                    assert_eq!(icmp.checksum(), kind.calc_checksum(payload));
                }
                Some(TransportSlice::Udp(udp)) if udp.checksum() != 0 => assert_eq!(
                    udp.checksum(),
                    udp.to_header()
                        .calc_checksum_ipv4_raw(s, d, udp.payload())
                        .unwrap()
                ),
                Some(TransportSlice::Tcp(tcp)) => {
                    assert_eq!(tcp.checksum(), tcp.calc_checksum_ipv4(s, d).unwrap())
                }
                _ => {}
            }
        }
        NetSlice::Ipv6(ip) => {
            let (s, d) = (ip.header().source(), ip.header().destination());
            match transport {
                Some(TransportSlice::Icmpv6(icmp)) => assert!(icmp.is_checksum_valid(s, d)),
                Some(TransportSlice::Udp(udp)) => assert_eq!(
                    udp.checksum(),
                    udp.to_header()
                        .calc_checksum_ipv6_raw(s, d, udp.payload())
                        .unwrap()
                ),
                Some(TransportSlice::Tcp(tcp)) => {
                    assert_eq!(tcp.checksum(), tcp.calc_checksum_ipv6(s, d).unwrap())
                }
                _ => {}
            }
        }
        _ => panic!("not IP"),
    }
}
