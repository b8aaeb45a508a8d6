//! What routers between the gateways say about the path MTU, and packets cut after they were sealed.

use adit_abi::{Address, DropReason, Event, LearnedMtu, SaFlags, WorkerCounter};
use adit_dataplane::memory_gateway::{MemoryGateway, OUTSIDE, Site, TunnelPlan};

use crate::packets::{cuttable, ip, udp_of};
use crate::path_mtu::told_mtu;
use crate::tunnel::carry;

/// An ICMP error from a router on the way, about a packet of which so many bytes are quoted.
pub fn error_about(packet: &[u8], kind: u8, code: u8, rest: u32, quoted: usize) -> Vec<u8> {
    let v4 = packet[0] >> 4 == 4;
    let back = if v4 {
        Address::v4(packet[12..16].try_into().unwrap())
    } else {
        Address::v6(packet[8..24].try_into().unwrap())
    };
    let router = if v4 {
        Address::v4([198, 51, 100, 1])
    } else {
        Address::v6([0x20, 1, 0xd, 0xb8, 0, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
    };
    let builder = ip(router, back, 64);
    let quoted = &packet[..quoted.min(packet.len())];
    let mut out = Vec::new();
    if v4 {
        let builder = builder.icmpv4_raw(kind, code, rest.to_be_bytes());
        builder.write(&mut out, quoted).unwrap();
    } else {
        let builder = builder.icmpv6_raw(kind, code, rest.to_be_bytes());
        builder.write(&mut out, quoted).unwrap();
    }
    out
}

/// A message that the path takes `mtu` bytes.
fn too_big(packet: &[u8], mtu: u32) -> Vec<u8> {
    match packet[0] >> 4 {
        4 => error_about(packet, 3, 4, mtu, 48),
        _ => error_about(packet, 2, 0, mtu, 1232),
    }
}

/// Seals a packet of this size; returns the outer packet.
fn send(a: &mut MemoryGateway, size: usize) -> Vec<u8> {
    a.from_inside(&udp_of(Site(1).host(false), Site(2).host(false), size));
    a.run();
    a.outside.drain().remove(0)[14..].to_vec()
}

/// The MTU that a sender inside is told now.
fn inside_mtu(a: &mut MemoryGateway) -> u32 {
    a.from_inside(&udp_of(Site(1).host(false), Site(2).host(false), 1500));
    a.run();
    told_mtu(&a.inside.drain()[0])
}

#[test]
fn a_plausible_message_lowers_the_path_mtu_for_a_while() {
    for (encap, outer_v6) in [(false, false), (true, false), (false, true), (true, true)] {
        let plan = TunnelPlan {
            encap,
            outer_v6,
            ..TunnelPlan::default()
        };
        let (mut a, _b) = MemoryGateway::pair(&plan);
        let full = inside_mtu(&mut a);
        let packet = send(&mut a, 1400);
        a.from_outside(&too_big(&packet, 1400));
        a.run();
        assert_eq!(inside_mtu(&mut a), full - 100, "{encap} {outer_v6}");
        assert_eq!(a.drops(DropReason::IcmpAboutSa), 1);
        assert_eq!(a.counter(WorkerCounter::PathMtuLearned), 1);
        let sa = a.outbound();
        assert!(a.events().contains(&Event::PathMtu { sa, bytes: 1400 }));
        let word = a.state.sa(sa.slot).unwrap().learned_mtu();
        let word = word.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(LearnedMtu::from_word(word).unwrap().bytes, 1400);
        a.now += 599_000_000_000;
        assert_eq!(inside_mtu(&mut a), full - 100);
        a.now += 2_000_000_000;
        assert_eq!(inside_mtu(&mut a), full);
    }
}

#[test]
fn a_message_cannot_make_the_path_mtu_trivial() {
    for (outer_v6, least) in [(false, 576), (true, 1280)] {
        let plan = TunnelPlan {
            outer_v6,
            ..TunnelPlan::default()
        };
        let (mut a, _b) = MemoryGateway::pair(&plan);
        let packet = send(&mut a, 1400);
        a.from_outside(&too_big(&packet, 68));
        a.run();
        assert!(a.events().contains(&Event::PathMtu {
            sa: a.outbound(),
            bytes: least
        }));
    }
}

#[test]
fn a_router_that_tells_no_mtu_lowers_it_to_the_next_plateau() {
    let (mut a, _b) = MemoryGateway::pair(&TunnelPlan::default());
    let packet = send(&mut a, 1446);
    a.from_outside(&too_big(&packet, 0));
    a.run();
    let sa = a.outbound();
    assert!(a.events().contains(&Event::PathMtu { sa, bytes: 1492 }));
}

#[test]
fn what_no_sa_has_sent_lately_is_not_believed() {
    let (mut a, _b) = MemoryGateway::pair(&TunnelPlan::default());
    let full = inside_mtu(&mut a);
    let packet = send(&mut a, 1400);
    let forged = |at: usize, change: u8| {
        let mut quoted = packet.clone();
        quoted[at] ^= change;
        too_big(&quoted, 1000)
    };
    // The SPI, a sequence number not yet sent, its source, its destination.
    for message in [forged(23, 1), forged(26, 1), forged(19, 0x40)] {
        a.from_outside(&message);
    }
    let mut other = packet.clone();
    other[12..16].copy_from_slice(&Site(1).gateway(false).v4_bytes());
    let mut message = too_big(&other, 1000);
    message[16..20].copy_from_slice(&Site(1).outer(false).v4_bytes());
    crate::packets::rechecksum(&mut message);
    a.from_outside(&message);
    a.run();
    let implausible = a.drops(DropReason::ImplausibleIcmp);
    assert_eq!(implausible, 4, "{:?}", a.all_drops());
    // A quote without the sequence number, and one of a packet smaller than the MTU told.
    a.from_outside(&error_about(&packet, 3, 4, 1000, 24));
    a.from_outside(&too_big(&packet, 1499));
    // An error of another kind.
    a.from_outside(&error_about(&packet, 3, 1, 0, 48));
    a.run();
    assert_eq!(inside_mtu(&mut a), full, "{:?}", a.all_drops());
    assert_eq!(a.counter(WorkerCounter::PathMtuLearned), 0);
}

#[test]
fn all_messages_can_be_ignored() {
    let (mut a, _b) = MemoryGateway::pair(&TunnelPlan::default());
    a.change_settings(|s| s.believe_too_big = 0);
    a.refresh();
    let full = inside_mtu(&mut a);
    let packet = send(&mut a, 1400);
    a.from_outside(&too_big(&packet, 1000));
    a.run();
    assert_eq!(inside_mtu(&mut a), full);
    assert_eq!(a.drops(DropReason::IcmpAboutSa), 1);
}

#[test]
fn errors_about_ike_go_to_the_host() {
    for v6 in [false, true] {
        let (mut a, _b) = MemoryGateway::pair(&TunnelPlan::default());
        let (from, to) = (Site(1).outer(v6), Site(2).outer(v6));
        let marked = crate::packets::udp(from, to, (4500, 4500), &[0; 64]);
        let plain = crate::packets::udp(from, to, (500, 500), &[7; 64]);
        for message in [&marked, &plain] {
            a.from_outside(&too_big(message, 1400));
        }
        a.run();
        assert_eq!(a.host.drain().len(), 2, "{:?}", a.all_drops());
    }
}

/// A pair whose path takes so many bytes of outer packet, the outbound SA of `a` with these flags.
fn narrow(outer_v6: bool, path: u16, flags: SaFlags) -> (MemoryGateway, MemoryGateway) {
    let plan = TunnelPlan {
        outer_v6,
        ..TunnelPlan::default()
    };
    let (mut a, b) = MemoryGateway::pair(&plan);
    a.change_sa(a.outbound(), |r| {
        r.path_mtu = path;
        r.flags = r.flags.with(flags);
    });
    (a, b)
}

#[test]
fn after_sealing_the_outer_packet_is_cut_and_the_other_end_puts_it_together() {
    let always = SaFlags::FRAGMENT_AFTER.with(SaFlags::DF_CLEAR);
    for outer_v6 in [false, true] {
        for (inner_v6, may_be_cut, flags) in [
            (false, true, SaFlags::FRAGMENT_AFTER),
            (false, true, always),
            (false, false, always),
            (true, false, always),
        ] {
            let (mut a, mut b) = narrow(outer_v6, 1300, flags);
            let (from, to) = (Site(1).host(inner_v6), Site(2).host(inner_v6));
            for _ in 0..3 {
                let packet = udp_of(from, to, 1440);
                a.from_inside(&if may_be_cut { cuttable(packet) } else { packet });
            }
            a.run();
            let pieces = carry(&mut a, &mut b);
            assert_eq!(pieces.len(), 6, "{:?}", a.all_drops());
            assert!(pieces.iter().all(|piece| piece.len() <= 1300 + 14));
            b.run();
            assert_eq!(b.inside.drain().len(), 3, "{:?}", b.all_drops());
            assert_eq!(b.counter(WorkerCounter::Reassembled), 3);
            assert_eq!((a.all_drops(), b.all_drops()), (vec![], vec![]));
        }
    }
}

#[test]
fn what_may_not_be_cut_is_refused_after_sealing_as_before() {
    for outer_v6 in [false, true] {
        for inner_v6 in [false, true] {
            let (mut a, _b) = narrow(outer_v6, 1400, SaFlags::FRAGMENT_AFTER);
            a.from_inside(&udp_of(
                Site(1).host(inner_v6),
                Site(2).host(inner_v6),
                1400,
            ));
            a.run();
            assert!(a.outside.drain().is_empty());
            assert!(told_mtu(&a.inside.drain()[0]) < 1400);
        }
    }
}

#[test]
fn ipv6_of_1280_bytes_passes_any_path() {
    for outer_v6 in [false, true] {
        let (mut a, mut b) = narrow(outer_v6, 1290, SaFlags::default());
        let (from, to) = (Site(1).host(true), Site(2).host(true));
        a.from_inside(&udp_of(from, to, 1281));
        a.from_inside(&udp_of(from, to, 1280));
        a.run();
        assert_eq!(told_mtu(&a.inside.drain()[0]), 1280);
        assert_eq!(carry(&mut a, &mut b).len(), 2);
        b.run();
        assert_eq!(b.inside.drain().len(), 1, "{:?}", b.all_drops());
    }
}

#[test]
fn a_learned_path_mtu_is_what_sealed_packets_are_cut_to() {
    let (mut a, mut b) = narrow(false, 0, SaFlags::FRAGMENT_AFTER.with(SaFlags::DF_CLEAR));
    let packet = send(&mut a, 1440);
    a.from_outside(&too_big(&packet, 1000));
    a.run();
    a.from_inside(&udp_of(Site(1).host(false), Site(2).host(false), 1440));
    a.run();
    let pieces = carry(&mut a, &mut b);
    assert_eq!(pieces.len(), 2);
    assert!(pieces.iter().all(|piece| piece.len() <= 1014));
    a.change_port(OUTSIDE, |port| port.mtu = 600);
    a.refresh();
    a.from_inside(&udp_of(Site(1).host(false), Site(2).host(false), 1440));
    a.run();
    assert_eq!(carry(&mut a, &mut b).len(), 3);
    b.run();
    assert_eq!(b.inside.drain().len(), 2, "{:?}", b.all_drops());
}
