//! What the XDP program does with every kind of frame, by the kernel's test runs: nothing is on a wire.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use adit::lab::{Shape, Side as End, Topology};
use adit_bpf::{Action, AttachMode, Reason, Side, Steering};
use adit_dataplane::frame::{ChunkSize, HugePages, Umem};
use adit_dataplane::port::xdp::ZeroCopy;
use etherparse::{IpNumber, PacketBuilder};

use crate::steered::{attach, connect, open, pin_dir};
use crate::{alone, runnable};

const OWN4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SHIELDED4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const OWN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const SHIELDED6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);

fn ethernet() -> etherparse::PacketBuilderStep<etherparse::Ethernet2Header> {
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
}

fn udp4(to: [u8; 4], port: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    ethernet()
        .ipv4([198, 51, 100, 7], to, 64)
        .udp(4500, port)
        .write(&mut frame, payload)
        .expect("a packet");
    frame
}

fn udp6(to: [u8; 16], port: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    ethernet()
        .ipv6([0x20; 16], to, 64)
        .udp(4500, port)
        .write(&mut frame, payload)
        .expect("a packet");
    frame
}

fn ip4(to: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    ethernet()
        .ipv4([198, 51, 100, 7], to, 64)
        .write(&mut frame, IpNumber(protocol), payload)
        .expect("a packet");
    frame
}

fn ip6(to: [u8; 16], next: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![
        2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0,
    ];
    frame.extend((payload.len() as u16).to_be_bytes());
    frame.extend([next, 64]);
    frame.extend([0x20; 16]);
    frame.extend(to);
    frame.extend(payload);
    frame
}

/// An IPv4 frame with these options, which end on a whole word.
fn with_options4(frame: Vec<u8>, options: &[u8]) -> Vec<u8> {
    let mut longer = frame[..34].to_vec();
    longer[14] += options.len() as u8 / 4;
    let total = (frame.len() - 14 + options.len()) as u16;
    longer[16..18].copy_from_slice(&total.to_be_bytes());
    longer.extend(options);
    longer.extend(&frame[34..]);
    longer
}

/// What a DHCP server sends from one port to another, in answer to a request.
fn from_port(port: u16, mut frame: Vec<u8>) -> Vec<u8> {
    frame[34..36].copy_from_slice(&port.to_be_bytes());
    frame
}

/// The same frame with a VLAN tag of the given type in front of its own type.
fn tagged(tag: u16, frame: &[u8]) -> Vec<u8> {
    let mut tagged = frame[..12].to_vec();
    tagged.extend(tag.to_be_bytes());
    tagged.extend([0, 5]);
    tagged.extend(&frame[12..]);
    tagged
}

/// An IPv4 frame made a fragment: flags and offset as in the header.
fn fragment4(mut frame: Vec<u8>, flags_and_offset: u16) -> Vec<u8> {
    frame[20..22].copy_from_slice(&flags_and_offset.to_be_bytes());
    frame
}

/// An IPv6 frame of one fragment of a packet whose next header is `next`.
fn fragment6(to: [u8; 16], next: u8, offset_and_more: u16, payload: &[u8]) -> Vec<u8> {
    let mut fragment = vec![next, 0];
    fragment.extend(offset_and_more.to_be_bytes());
    fragment.extend([0, 0, 0, 1]);
    fragment.extend(payload);
    ip6(to, 44, &fragment)
}

/// An ICMP message of this type, and behind its header the beginning of an IPv4 packet.
fn quoting4(kind: u8, protocol: u8, port: u16) -> Vec<u8> {
    let mut message = vec![kind, 4, 0, 0, 0, 0, 0, 0, 0x45];
    message.resize(8 + 20 + 8, 0);
    message[8 + 9] = protocol;
    message[28..30].copy_from_slice(&port.to_be_bytes());
    message
}

/// An ICMPv6 message of this type, and behind its header the beginning of an IPv6 packet.
fn quoting6(kind: u8, next: u8) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0, 0, 5, 0, 0x60];
    message.resize(8 + 40 + 8, 0);
    message[8 + 6] = next;
    message
}

const ESP: u8 = 50;
const AH: u8 = 51;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const TCP: u8 = 6;
const MORE: u16 = 0x2000;

/// What becomes of a frame on a port that waits for an IPv4 address.
#[rustfmt::skip]
fn cases_without_address() -> Vec<(&'static str, Vec<u8>, Reason)> {
    use Reason::*;
    let offered = [10, 2, 0, 2];
    let answer = from_port(67, udp4(offered, 68, b"x"));
    vec![
        ("a DHCP server's answer", answer.clone(), PassDhcp),
        ("a DHCP server's answer with options", with_options4(answer.clone(), &[1; 40]), PassDhcp),
        ("a DHCP server's answer, tagged", tagged(0x8100, &answer), PassDhcp),
        ("a part of a DHCP server's answer", fragment4(answer.clone(), MORE), RedirectTransit),
        ("a DHCP server's answer, cut off", ip4(offered, UDP, &[0, 67, 0, 68]), RedirectTransit),
        ("from another port", udp4(offered, 68, b"x"), RedirectTransit),
        ("to another port", from_port(67, udp4(offered, 69, b"x")), RedirectTransit),
        ("the same over TCP", ip4(offered, TCP, &answer[34..]), RedirectTransit),
        ("a DHCP server's answer to us", from_port(67, udp4(OWN4.octets(), 68, b"x")), PassOwn),
        ("clear to a protected address", from_port(67, udp4(SHIELDED4.octets(), 68, b"x")), RedirectProtected),
    ]
}

/// A frame, and what becomes of it inside and outside.
type Case = (&'static str, Vec<u8>, Reason, Reason);

#[rustfmt::skip]
fn cases() -> Vec<Case> {
    use Reason::*;
    let (own4, shielded4) = (OWN4.octets(), SHIELDED4.octets());
    let (own6, shielded6) = (OWN6.octets(), SHIELDED6.octets());
    let other4 = [10, 2, 0, 2];
    let other6 = Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, 2).octets();
    let esp = [0, 0, 16, 1, 0, 0, 0, 1, 7, 7, 7, 7];
    let ike = [0, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9];
    let router_solicitation = [133, 0, 0, 0, 0, 0, 0, 0];
    let neighbour_advertisement = [136, 0, 0, 0, 0, 0, 0, 0];
    let echo = [128, 0, 0, 0, 0, 0, 0, 0];
    let truncated = |frame: Vec<u8>, len: usize| frame[..len].to_vec();
    let padded = |mut frame: Vec<u8>| {
        frame.resize(60, 0);
        frame
    };
    let mut arp = udp4(own4, 1, b"");
    arp[12..14].copy_from_slice(&[8, 6]);
    let mut lldp = arp.clone();
    lldp[12..14].copy_from_slice(&[0x88, 0xcc]);
    let mut version5 = udp4(other4, 1, b"");
    version5[14] = 0x55;
    let mut short_header = udp4(other4, 1, b"");
    short_header[14] = 0x44;
    let mut version4in6 = udp6(other6, 1, b"");
    version4in6[14] = 0x45;
    let with_options = |left: u8| {
        let mut payload = vec![43, 0, 1, 4, 0, 0, 0, 0]; // hop-by-hop, then a routing header
        payload.extend([ESP, 0, 4, left, 0, 0, 0, 0]);
        payload.extend(esp);
        ip6(own6, 0, &payload)
    };
    let route = |kind: u8, pointer: u8| [kind, 7, pointer, 10, 0, 0, 1, 0];
    let behind_others = [&[1, 1, 148, 4, 0, 0, 68, 12, 5, 0][..], &[0; 8], &[1, 137, 7, 4, 10, 0, 0, 1, 1, 1]].concat();
    vec![
        ("IPv4 to another", udp4(other4, 9, b"x"), RedirectTransit, RedirectTransit),
        ("IPv6 to another", udp6(other6, 9, b"x"), RedirectTransit, RedirectTransit),
        ("ESP to another", ip4(other4, ESP, &esp), RedirectTransit, RedirectTransit),
        ("ESP to another, IPv6", ip6(other6, ESP, &esp), RedirectTransit, RedirectTransit),
        ("IPv4 to us", udp4(own4, 22, b"x"), PassOwn, PassOwn),
        ("IPv6 to us", ip6(own6, TCP, &[0; 20]), PassOwn, PassOwn),
        ("ESP to us", ip4(own4, ESP, &esp), PassOwn, RedirectEsp),
        ("ESP to us, IPv6", ip6(own6, ESP, &esp), PassOwn, RedirectEsp),
        ("AH to us", ip4(own4, AH, &esp), PassOwn, RedirectAh),
        ("AH to us, IPv6", ip6(own6, AH, &esp), PassOwn, RedirectAh),
        ("first fragment of ESP", fragment4(ip4(own4, ESP, &esp), MORE), PassOwn, RedirectEsp),
        ("later fragment of ESP", fragment4(ip4(own4, ESP, &esp), 100), PassOwn, RedirectEsp),
        ("later fragment of AH, IPv6", fragment6(own6, AH, 0x0100, &esp), PassOwn, RedirectAh),
        ("first fragment of ESP, IPv6", fragment6(own6, ESP, 1, &esp), PassOwn, RedirectEsp),
        ("ESP behind extension headers", with_options(0), PassOwn, RedirectEsp),
        ("a route that goes on", with_options(1), RedirectTransit, RedirectTransit),
        ("a loose source route that goes on", with_options4(udp4(own4, 22, b"x"), &route(131, 4)), RedirectTransit, RedirectTransit),
        ("a strict source route that goes on, behind others", with_options4(ip4(own4, ESP, &esp), &behind_others), RedirectTransit, RedirectTransit),
        ("a source route that ends here", with_options4(udp4(own4, 22, b"x"), &route(131, 8)), PassOwn, PassOwn),
        ("a record of the route", with_options4(ip4(own4, ESP, &esp), &route(7, 4)), PassOwn, RedirectEsp),
        ("a source route behind the end of options", with_options4(udp4(own4, 22, b"x"), &[&[0; 4], &route(131, 4)[..]].concat()), PassOwn, PassOwn),
        ("an option without a length", with_options4(udp4(own4, 22, b"x"), &[148, 0, 131, 7, 4, 1, 1, 1]), PassOwn, PassOwn),
        ("ESP in UDP", udp4(own4, 4500, &esp[2..]), PassOwn, RedirectNatT),
        ("ESP in UDP, IPv6", udp6(own6, 4500, &esp[2..]), PassOwn, RedirectNatT),
        ("NAT keepalive", udp4(own4, 4500, &[0xff]), PassOwn, RedirectNatT),
        ("padded NAT keepalive", padded(udp4(own4, 4500, &[0xff])), PassOwn, RedirectNatT),
        ("padded empty NAT-T", padded(udp4(own4, 4500, &[])), PassOwn, RedirectNatT),
        ("IKE on 4500", udp4(own4, 4500, &ike), PassOwn, PassOwn),
        ("IKE on 500", udp4(own4, 500, &ike), PassOwn, PassOwn),
        ("IKE on 4500, IPv6", udp6(own6, 4500, &ike), PassOwn, PassOwn),
        ("first fragment of ESP in UDP", fragment4(udp4(own4, 4500, &esp), MORE), PassOwn, RedirectUdpFragment),
        ("an error about ESP", ip4(own4, ICMP, &quoting4(3, ESP, 0)), PassOwn, RedirectIcmp),
        ("an error about ESP in UDP", ip4(own4, ICMP, &quoting4(11, UDP, 4500)), PassOwn, RedirectIcmp),
        ("an error about DNS", ip4(own4, ICMP, &quoting4(3, UDP, 53)), PassOwn, PassOwn),
        ("an echo that looks like an error", ip4(own4, ICMP, &quoting4(8, ESP, 0)), PassOwn, PassOwn),
        ("an error cut short", ip4(own4, ICMP, &quoting4(3, ESP, 0)[..30]), PassOwn, PassOwn),
        ("an error about AH, IPv6", ip6(own6, ICMPV6, &quoting6(2, AH)), PassOwn, RedirectIcmp),
        ("an error about TCP, IPv6", ip6(own6, ICMPV6, &quoting6(1, TCP)), PassOwn, PassOwn),
        ("an ICMPv6 echo", ip6(own6, ICMPV6, &quoting6(128, ESP)), PassOwn, PassOwn),
        ("later fragment of UDP, IPv6", fragment6(own6, UDP, 0x0100, &esp), PassOwn, RedirectUdpFragment),
        ("ESP in UDP to another", udp4(other4, 4500, &esp[2..]), RedirectTransit, RedirectTransit),
        ("clear to a protected address", udp4(shielded4, 22, b"x"), RedirectProtected, RedirectProtected),
        ("clear to a protected address, IPv6", ip6(shielded6, ICMPV6, &echo), RedirectProtected, RedirectProtected),
        ("ESP to a protected address", ip4(shielded4, ESP, &esp), RedirectProtected, RedirectEsp),
        ("ESP in UDP to a protected address", udp4(shielded4, 4500, &esp[2..]), RedirectProtected, RedirectNatT),
        ("IKE to a protected address", udp4(shielded4, 500, &ike), PassIke, PassIke),
        ("IKE on 4500 to a protected address", udp6(shielded6, 4500, &ike), PassIke, PassIke),
        ("fragment to a protected address", fragment4(udp4(shielded4, 500, &ike), MORE), RedirectProtected, RedirectUdpFragment),
        ("ND to a protected address", ip6(shielded6, ICMPV6, &neighbour_advertisement), PassNd, PassNd),
        ("ND to us", ip6(own6, ICMPV6, &router_solicitation), PassOwn, PassOwn),
        ("ND to another", ip6(other6, ICMPV6, &neighbour_advertisement), RedirectTransit, RedirectTransit),
        ("IPv4 multicast", udp4([224, 0, 0, 5], 9, b"x"), PassMulticast, PassMulticast),
        ("IPv4 broadcast (DHCP)", udp4([255; 4], 67, b"x"), PassMulticast, PassMulticast),
        ("DHCP to another", from_port(67, udp4(other4, 68, b"x")), RedirectTransit, RedirectTransit),
        ("DHCP to us", from_port(67, udp4(own4, 68, b"x")), PassOwn, PassOwn),
        ("IPv6 multicast", udp6([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2], 547, b"x"), PassMulticast, PassMulticast),
        ("IPv6 link-local", udp6([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 9, b"x"), PassLinkLocal, PassLinkLocal),
        ("IPv6 just beyond link-local", udp6([0xfe, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 9, b"x"), RedirectTransit, RedirectTransit),
        ("ARP", arp.clone(), PassNotIp, PassNotIp),
        ("LLDP", lldp, PassNotIp, PassNotIp),
        ("tagged transit", tagged(0x8100, &udp4(other4, 9, b"x")), RedirectTransit, RedirectTransit),
        ("tagged ESP to us", tagged(0x88a8, &ip6(own6, ESP, &esp)), PassOwn, RedirectEsp),
        ("tagged ARP", tagged(0x8100, &arp), PassNotIp, PassNotIp),
        ("twice tagged", tagged(0x88a8, &tagged(0x8100, &udp4(other4, 9, b"x"))), DropNestedVlan, DropNestedVlan),
        ("tag cut off", tagged(0x8100, &arp)[..16].to_vec(), DropMalformed, DropMalformed),
        ("IPv4 version 5", version5, DropMalformed, DropMalformed),
        ("IPv4 header of 16 bytes", short_header, DropMalformed, DropMalformed),
        ("IPv4 cut in its header", truncated(udp4(other4, 9, b"x"), 30), DropMalformed, DropMalformed),
        ("IPv4 shorter than it says", truncated(udp4(other4, 9, b"xyz"), 43), DropMalformed, DropMalformed),
        ("IPv6 version 4", version4in6, DropMalformed, DropMalformed),
        ("IPv6 cut in its header", truncated(udp6(other6, 9, b"x"), 50), DropMalformed, DropMalformed),
        ("IPv6 shorter than it says", truncated(udp6(other6, 9, b"xyz"), 63), DropMalformed, DropMalformed),
        ("UDP cut in its header", ip4(own4, UDP, &[0; 7]), DropMalformed, DropMalformed),
        ("extension header cut off", ip6(own6, 44, &[ESP, 0, 0]), DropMalformed, DropMalformed),
    ]
}

fn action(reason: Reason) -> Action {
    if reason < Reason::RedirectTransit {
        Action::Pass
    } else if reason < Reason::DropMalformed {
        Action::Redirect
    } else {
        Action::Drop
    }
}

#[test]
fn every_kind_of_frame_goes_where_it_belongs() {
    or_skip!(runnable());
    let _alone = alone();
    let topology = Topology::build(Shape::default()).expect("a lab");
    let host = topology.host(End::A);
    let mut steering = Steering::load(&pin_dir(&topology, "a")).expect("the program");
    for (address, protected) in [
        (IpAddr::from(OWN4), false),
        (SHIELDED4.into(), true),
        (OWN6.into(), false),
        (SHIELDED6.into(), true),
    ] {
        steering
            .set_own(address, protected)
            .expect("an own address");
    }
    let umem = Umem::new(64, ChunkSize::K2, HugePages::Off).expect("memory");
    let ports = open(host, umem, &["lo"], 1, ZeroCopy::Copy).expect("a port");
    let lo = ports[0].ifindex;
    for side in [Side::Inside, Side::Outside] {
        let mode = attach(&mut steering, host, "lo", side);
        assert!(
            matches!(&mode, AttachMode::Generic { reason } if !reason.is_empty()),
            "{mode:?}"
        );
        connect(&mut steering, &ports[0].queues);
        let try_frame = |steering: &Steering, name, frame: &[u8], reason| {
            let before = steering.counters(lo).expect("the counters");
            let verdict = host
                .enter(|| steering.try_frame(lo, frame))
                .expect("the namespace")
                .expect("a verdict");
            let after = steering.counters(lo).expect("the counters");
            let counted: Vec<Reason> = before
                .iter()
                .zip(&after)
                .filter(|(before, after)| before.1 != after.1)
                .map(|(before, _)| before.0)
                .collect();
            assert_eq!(
                (verdict, counted),
                (action(reason), vec![reason]),
                "{name}, {side:?}"
            );
        };
        for (name, frame, inside, outside) in cases() {
            let reason = match side {
                Side::Inside => inside,
                Side::Outside => outside,
            };
            try_frame(&steering, name, &frame, reason);
        }
        steering.set_unaddressed(lo, true).expect("a port");
        for (name, frame, reason) in cases_without_address() {
            try_frame(&steering, name, &frame, reason);
        }
        steering.set_unaddressed(lo, false).expect("a port");
    }
    steering.remove_own(OWN4.into()).expect("removed");
    steering.remove_own(OWN4.into()).expect("twice is fine");
    let no_longer_ours = udp4(OWN4.octets(), 22, b"x");
    let verdict = host.enter(|| steering.try_frame(lo, &no_longer_ours));
    assert_eq!(
        verdict.expect("the namespace").expect("a verdict"),
        Action::Redirect
    );
}
