//! Packets that are too big for the tunnel, and TCP's MSS.

use adit_abi::{Address, DropReason, Suite, WorkerCounter};
use adit_dataplane::memory_gateway::{MemoryGateway, OUTSIDE, Site, TunnelPlan};
use etherparse::TcpOptionElement::{MaximumSegmentSize, Noop, Timestamp, WindowScale};
use etherparse::defrag::IpDefragPool;
use etherparse::{Icmpv4Type, Icmpv6Type, TcpOptionElement, TransportSlice};

use crate::packets::{assert_checksums, cuttable, hops_later, parse, syn, udp_of};
use crate::tunnel::carry;

fn hosts(v6: bool) -> (Address, Address) {
    (Site(1).host(v6), Site(2).host(v6))
}

/// The MTU that an ICMP error in this frame tells, of whichever family.
pub fn told_mtu(frame: &[u8]) -> u32 {
    assert_checksums(&frame[14..]);
    match parse(&frame[14..]).transport.unwrap() {
        TransportSlice::Icmpv4(icmp) => match icmp.icmp_type() {
            Icmpv4Type::DestinationUnreachable(
                etherparse::icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu },
            ) => next_hop_mtu.into(),
            other => panic!("{other:?}"),
        },
        TransportSlice::Icmpv6(icmp) => match icmp.icmp_type() {
            Icmpv6Type::PacketTooBig { mtu } => mtu,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_mtu_told_is_exactly_what_fits() {
    for suite in Suite::each_esp_transform() {
        for (encap, outer_v6) in [(false, false), (true, false), (false, true), (true, true)] {
            for v6 in [false, true] {
                let plan = TunnelPlan {
                    suite,
                    encap,
                    outer_v6,
                    ..TunnelPlan::default()
                };
                let (mut a, mut b) = MemoryGateway::pair(&plan);
                let (from, to) = hosts(v6);
                a.from_inside(&udp_of(from, to, 1500));
                a.run();
                let answers = a.inside.drain();
                assert_eq!(answers.len(), 1, "{plan:?}");
                let mtu = told_mtu(&answers[0]) as usize;
                assert!((1380..1460).contains(&mtu), "{mtu}");
                a.from_inside(&udp_of(from, to, mtu + 1));
                a.from_inside(&udp_of(from, to, mtu));
                a.run();
                assert_eq!(told_mtu(&a.inside.drain()[0]) as usize, mtu);
                let sealed = carry(&mut a, &mut b);
                assert_eq!(sealed.len(), 1);
                let outer = sealed[0].len() - 14;
                // One more byte would have needed one more block.
                assert!(outer <= 1500 && outer + suite.block() > 1500, "{outer}");
                b.run();
                assert_eq!(b.inside.drain().len(), 1);
                assert_eq!(a.all_drops(), [(DropReason::TooBig, 2)]);
            }
        }
    }
}

#[test]
fn the_sas_path_mtu_and_the_routes_count() {
    let (mut a, _b) = MemoryGateway::pair(&TunnelPlan::default());
    let (from, to) = hosts(false);
    let told = |a: &mut MemoryGateway| {
        a.from_inside(&udp_of(from, to, 1500));
        a.run();
        told_mtu(&a.inside.drain()[0])
    };
    let full = told(&mut a);
    a.change_sa(a.outbound(), |r| r.path_mtu = 1400);
    assert_eq!(told(&mut a), full - 100);
    a.change_port(OUTSIDE, |port| port.mtu = 1300);
    a.refresh();
    assert_eq!(told(&mut a), full - 200);
}

#[test]
fn what_may_be_cut_is_cut_before_it_is_sealed() {
    for chunk in [
        adit_dataplane::frame::ChunkSize::K2,
        adit_dataplane::frame::ChunkSize::K4,
    ] {
        let plan = TunnelPlan {
            chunk,
            ..TunnelPlan::default()
        };
        let (mut a, mut b) = MemoryGateway::pair(&plan);
        let (from, to) = hosts(false);
        let length = if plan.chunk.bytes() == 2048 {
            1700
        } else {
            3700
        };
        let packet = cuttable(udp_of(from, to, length));
        a.from_inside(&packet);
        a.run();
        let sealed = carry(&mut a, &mut b);
        assert_eq!(sealed.len(), (length - 20).div_ceil(1424));
        assert!(sealed.iter().all(|f| f.len() <= 1514));
        b.run();
        let mut pool: IpDefragPool<(), ()> = IpDefragPool::new();
        let mut whole = None;
        for frame in b.inside.drain() {
            let sliced = parse(&frame[14..]);
            if let Some(done) = pool.process_sliced_packet(&sliced, (), ()).unwrap() {
                whole = Some(done.payload);
            }
        }
        assert_eq!(whole.unwrap(), packet[20..]);
        let extra = sealed.len() as u64 - 1;
        assert_eq!(a.counter(WorkerCounter::Fragments), extra);
        assert_eq!((a.all_drops(), b.all_drops()), (vec![], vec![]));
    }
}

#[test]
fn fragments_of_fragments_fit_together_again() {
    let (mut a, mut b) = MemoryGateway::pair(&TunnelPlan::default());
    a.change_sa(a.outbound(), |r| r.path_mtu = 300);
    let (from, to) = hosts(false);
    let packet = cuttable(udp_of(from, to, 1620));
    // Cut by a router before us, into two.
    let piece = |range: std::ops::Range<usize>, more: bool| {
        let mut out = packet[..20].to_vec();
        out.extend_from_slice(&packet[20 + range.start..20 + range.end]);
        let total = out.len() as u16;
        out[2..4].copy_from_slice(&total.to_be_bytes());
        let field = (range.start / 8) as u16 | if more { 0x2000 } else { 0 };
        out[6..8].copy_from_slice(&field.to_be_bytes());
        crate::packets::rechecksum(&mut out);
        out
    };
    a.from_inside(&piece(0..800, true));
    a.from_inside(&piece(800..1600, false));
    a.run();
    carry(&mut a, &mut b);
    b.run();
    let mut pool: IpDefragPool<(), ()> = IpDefragPool::new();
    let whole = b.inside.drain().iter().find_map(|frame| {
        let sliced = parse(&frame[14..]);
        pool.process_sliced_packet(&sliced, (), ()).unwrap()
    });
    assert_eq!(whole.unwrap().payload, packet[20..]);
}

#[test]
fn in_clear_too_packets_are_cut_or_refused_at_the_ports_mtu() {
    let (mut a, _b) = MemoryGateway::pair(&TunnelPlan::default());
    let any = adit_abi::Prefix::from_mapped(Address::UNSPECIFIED, 0);
    let all = adit_abi::Selector::between(any, any);
    a.add_policy(all, 1, adit_abi::Action::Bypass);
    a.change_port(OUTSIDE, |port| port.mtu = 1000);
    a.refresh();
    let (from, to) = (Site(1).host(false), Site(2).outer(false));
    a.from_inside(&udp_of(from, to, 1400));
    a.run();
    assert_eq!(told_mtu(&a.inside.drain()[0]), 1000);
    a.from_inside(&cuttable(udp_of(from, to, 1400)));
    a.run();
    let pieces = a.outside.drain();
    assert_eq!(pieces.len(), 2);
    assert!(pieces.iter().all(|f| f.len() <= 1014));
    a.from_inside(&udp_of(from, to, 1000));
    a.run();
    assert_eq!(a.outside.drain().len(), 1);
}

/// The MSS option of the only frame, after asserting that its checksum is right.
fn mss_of(frames: &[Vec<u8>]) -> Option<u16> {
    assert_eq!(frames.len(), 1);
    assert_checksums(&frames[0][14..]);
    match parse(&frames[0][14..]).transport.unwrap() {
        TransportSlice::Tcp(tcp) => tcp.options_iterator().find_map(|o| match o {
            Ok(MaximumSegmentSize(mss)) => Some(mss),
            _ => None,
        }),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_mss_of_a_syn_is_lowered_on_its_way_out_and_on_its_way_in() {
    for v6 in [false, true] {
        let fits = if v6 { 1446 - 60 } else { 1446 - 40 };
        let through = |options: &[TcpOptionElement],
                       at: fn(&mut MemoryGateway, &mut MemoryGateway)| {
            let (mut a, mut b) = MemoryGateway::pair(&TunnelPlan::default());
            at(&mut a, &mut b);
            let (from, to) = hosts(v6);
            let packet = syn(from, to, options);
            a.from_inside(&packet);
            a.run();
            carry(&mut a, &mut b);
            b.run();
            let clamped = [&a, &b].map(|g| g.counter(WorkerCounter::MssClamped));
            (mss_of(&b.inside.drain()), clamped)
        };
        assert_eq!(
            through(&[MaximumSegmentSize(9000)], |_, _| ()),
            (Some(fits), [1, 0])
        );
        assert_eq!(
            through(&[MaximumSegmentSize(fits)], |_, _| ()),
            (Some(fits), [0, 0])
        );
        // In an odd place, where the option's bytes lie in two checksum words.
        let odd = [
            Noop,
            MaximumSegmentSize(1460),
            Noop,
            WindowScale(7),
            Timestamp(1, 2),
        ];
        assert_eq!(through(&odd, |_, _| ()), (Some(fits), [1, 0]));
        assert_eq!(through(&[Noop, WindowScale(7)], |_, _| ()), (None, [0, 0]));
        let only_b = |a: &mut MemoryGateway, _b: &mut MemoryGateway| {
            a.change_settings(|s| s.clamp_mss = 0);
            a.refresh();
        };
        assert_eq!(
            through(&[MaximumSegmentSize(1460)], only_b),
            (Some(fits), [0, 1])
        );
        let neither = |a: &mut MemoryGateway, b: &mut MemoryGateway| {
            for g in [a, b] {
                g.change_settings(|s| s.clamp_mss = 0);
                g.refresh();
            }
        };
        assert_eq!(
            through(&[MaximumSegmentSize(1460)], neither),
            (Some(1460), [0, 0])
        );
    }
}

#[test]
fn a_segment_without_syn_and_malformed_options_are_left_alone() {
    let (mut a, mut b) = MemoryGateway::pair(&TunnelPlan::default());
    let (from, to) = hosts(false);
    let mut packets = Vec::new();
    let mut ack = syn(from, to, &[MaximumSegmentSize(9000)]);
    ack[20 + 13] = 0x10;
    packets.push(ack);
    for (at, value) in [(21, 0), (21, 1), (21, 40), (20, 77), (12, 0xf0), (12, 0x40)] {
        let mut broken = syn(from, to, &[MaximumSegmentSize(9000)]);
        broken[20 + at] = value;
        packets.push(broken);
    }
    for packet in &packets {
        a.from_inside(packet);
    }
    a.run();
    carry(&mut a, &mut b);
    b.run();
    let got: Vec<_> = b.inside.drain().iter().map(|f| f[14..].to_vec()).collect();
    let expected: Vec<_> = packets.iter().map(|p| hops_later(p, 2)).collect();
    assert_eq!(got, expected);
}
