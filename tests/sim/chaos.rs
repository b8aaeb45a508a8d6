//! Bad wires and hostile frames: nothing panics, and every frame is accounted for.

use adit_abi::{
    Action, Address, DropReason, MAX_PORTS, PortCounter, Prefix, Selector, WorkerCounter,
};
use adit_dataplane::memory_gateway::{
    HOST, INSIDE, MemoryGateway, OUTSIDE, Site, TunnelPlan, WIRE, ethernet,
};
use adit_dataplane::port::fault::{FaultInjection, Faults};
use proptest::prelude::*;

use crate::packets::{body, cuttable, ping, rechecksum, sealed, udp_of};

/// Asserts that what came in and was made went out, was dropped under a reason, or waits; and that no frame
/// is missing.
fn assert_accounts(g: &MemoryGateway) {
    let worker = g.state.worker(0);
    let ports = |counter| -> u64 { (0..MAX_PORTS).map(|n| worker.port_value(n, counter)).sum() };
    let made: u64 = [
        WorkerCounter::IcmpSent,
        WorkerCounter::KeepalivesSent,
        WorkerCounter::Fragments,
    ]
    .map(|counter| worker.value(counter))
    .iter()
    .sum();
    let dropped: u64 = DropReason::ALL.iter().map(|r| worker.drops(*r)).sum();
    let joined =
        worker.value(WorkerCounter::ReassembledFrom) - worker.value(WorkerCounter::Reassembled);
    let held = (g.worker.waiting() + g.worker.fragments_held()) as u64;
    let ends = ports(PortCounter::SentPackets) + dropped + held + joined;
    assert_eq!(
        ports(PortCounter::ReceivedPackets) + made,
        ends,
        "{:?}",
        g.all_drops()
    );
    assert_eq!(g.umem.strays(), 0, "a frame was lost on its way");
}

/// Carries everything in both directions until nothing moves any more.
fn settle(a: &mut MemoryGateway, b: &mut MemoryGateway) -> (usize, usize) {
    let mut got = (0, 0);
    loop {
        let mut moved = a.run() + b.run();
        for (from, to) in [(&mut *a, &mut *b)] {
            for frame in from.outside.drain() {
                moved += usize::from(to.outside.inject(&redirect(&frame, to)));
            }
            for frame in to.outside.drain() {
                moved += usize::from(from.outside.inject(&redirect(&frame, from)));
            }
            got.0 += from.inside.drain().len();
            got.1 += to.inside.drain().len();
            from.host.drain();
            to.host.drain();
        }
        if moved == 0 {
            return got;
        }
    }
}

/// The same frame, addressed to a gateway's outside port.
fn redirect(frame: &[u8], to: &MemoryGateway) -> Vec<u8> {
    ethernet(to.site.mac(OUTSIDE), frame.get(14..).unwrap_or_default())
}

#[test]
fn bad_wires_lose_packets_but_no_frames() {
    let faults = Faults {
        drop: 20,
        duplicate: 30,
        reorder: 50,
        flip: 30,
        truncate: 20,
    };
    let plan = TunnelPlan {
        frames: 4 * WIRE,
        ..TunnelPlan::default()
    };
    let mut seed = 0;
    let (mut a, mut b) = MemoryGateway::pair_with_ports(&plan, |port| {
        seed += 1;
        Box::new(FaultInjection::new(port, faults, seed))
    });
    let mut got = (0, 0);
    for round in 0..150u16 {
        for n in 0..20 {
            let v6 = n % 2 == 1;
            let (from, to) = (Site(1).host(v6), Site(2).host(v6));
            let length = 100 + usize::from(round) * 9;
            let mut packet = udp_of(from, to, length);
            if !v6 && n % 4 == 0 {
                packet = cuttable(packet);
            }
            a.from_inside(&packet);
            b.from_inside(&ping(to, from, n));
        }
        let (x, y) = settle(&mut a, &mut b);
        got = (got.0 + x, got.1 + y);
        assert_accounts(&a);
        assert_accounts(&b);
    }
    assert!(got.0 > 2000 && got.1 > 2000, "{got:?}");
    for g in [&a, &b] {
        for reason in [
            DropReason::Replayed,
            DropReason::BadIcv,
            DropReason::Truncated,
        ] {
            assert!(g.drops(reason) > 0, "{reason:?}");
        }
    }
}

/// A gateway in which as much as possible can happen to a packet.
fn busy_gateway() -> MemoryGateway {
    let (mut a, _b) = MemoryGateway::pair(&TunnelPlan::default());
    let any = Prefix::from_mapped(Address::UNSPECIFIED, 0);
    a.add_policy(Selector::between(any, any), 900, Action::Bypass);
    let unspecified = Address::UNSPECIFIED;
    let default = Prefix::from_mapped(Address::v4([0; 4]), 96);
    let kind = adit_abi::RouteKind::Unicast;
    a.add_route(default, kind, OUTSIDE, Site(2).outer(false));
    let kernel = Prefix::new("172.16.0.0".parse().unwrap(), 12).unwrap();
    a.add_route(kernel, adit_abi::RouteKind::Kernel, 0, unspecified);
    a.refresh();
    a
}

/// Frames near enough to good ones to get far: a good packet with some bytes changed and some cut off or
/// added.
fn damaged() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let (here, there) = (Site(1).host(false), Site(2).host(false));
    let (here6, there6) = (Site(1).host(true), Site(2).host(true));
    let mut extended = vec![17, 0, 0, 0, 0, 0, 0, 0, 44, 0, 0, 0, 0, 0, 0, 0];
    extended.extend_from_slice(&[0; 64]);
    let outer = |payload: &[u8]| {
        crate::packets::udp(
            Site(2).outer(false),
            Site(1).outer(false),
            (4500, 4500),
            payload,
        )
    };
    let templates = vec![
        ping(here, there, 1),
        ping(here6, there6, 1),
        cuttable(udp_of(here, there, 1490)),
        udp_of(here6, there6, 1490),
        crate::packets::raw(here6, there6, 0, &extended),
        crate::packets::syn(
            here,
            there,
            &[etherparse::TcpOptionElement::MaximumSegmentSize(9000)],
        ),
        outer(&[0x20, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]),
        outer(&[0; 20]),
        ping(there, here, 1),
        crate::packets::raw(Site(2).outer(false), Site(1).outer(false), 50, &[0x20; 90]),
    ];
    let edit = (0usize..120, any::<u8>());
    let port = prop_oneof![Just(INSIDE), Just(OUTSIDE), Just(HOST)];
    (
        port,
        proptest::sample::select(templates),
        proptest::collection::vec(edit, 0..4),
        -60isize..30,
        any::<bool>(),
    )
        .prop_map(|(port, mut packet, edits, resize, fix)| {
            for (at, value) in edits {
                if let Some(byte) = packet.get_mut(at) {
                    *byte = value;
                }
            }
            let length = packet.len().saturating_add_signed(resize);
            packet.resize(length, 0x5a);
            if fix && packet.len() >= 20 && packet[0] == 0x45 {
                rechecksum(&mut packet);
            }
            (port, ethernet(Site(1).mac(port), &packet))
        })
}

fn garbage() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let port = prop_oneof![Just(INSIDE), Just(OUTSIDE), Just(HOST)];
    let bytes = proptest::collection::vec(any::<u8>(), 0..200);
    (port, bytes, any::<bool>()).prop_map(|(port, bytes, addressed)| {
        let mut frame = bytes;
        if addressed && frame.len() >= 14 {
            frame[..6].copy_from_slice(&Site(1).mac(port));
            let ethertype: [u8; 2] = if frame[13] & 1 == 0 {
                [0x08, 0x00]
            } else {
                [0x86, 0xdd]
            };
            frame[12..14].copy_from_slice(&ethertype);
        }
        (port, frame)
    })
}

fn inject(g: &mut MemoryGateway, port: u8, frame: &[u8]) {
    let wire = match port {
        INSIDE => &mut g.inside,
        OUTSIDE => &mut g.outside,
        _ => &mut g.host,
    };
    let _ = wire.inject(frame);
}

fn drain(g: &mut MemoryGateway) {
    for wire in [&mut g.inside, &mut g.outside, &mut g.host] {
        wire.drain();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_frame_whatever_it_holds_does_harm(
        frames in proptest::collection::vec(prop_oneof![3 => damaged(), 1 => garbage()], 1..40)
    ) {
        thread_local! {
            static GATEWAY: std::cell::RefCell<MemoryGateway> = std::cell::RefCell::new(busy_gateway());
        }
        GATEWAY.with_borrow_mut(|g| {
            for (port, frame) in &frames {
                inject(g, *port, frame);
            }
            g.run();
            g.now += 10_000_000;
            drain(g);
            g.run();
            assert_accounts(g);
        });
    }

    /// Authentic packets whose content is hostile: a peer may be malicious too.
    #[test]
    fn no_authentic_packet_whatever_it_holds_does_harm(
        bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..30), 1..20),
        inner in proptest::collection::vec(damaged(), 1..10),
        first in any::<u16>(),
    ) {
        let mut g = busy_gateway();
        let sa = g.reader.sa(g.inbound()).unwrap();
        let words = bodies.into_iter().map(|mut b| { b.resize(b.len().next_multiple_of(4), 4); b });
        let inner = inner.into_iter().filter(|(_, f)| f.len() > 14).map(|(_, f)| body(&f[14..]));
        for (sequence, body) in (u64::from(first) + 1..).zip(words.chain(inner)) {
            g.from_outside(&sealed(&sa, sequence, &body));
        }
        g.run();
        drain(&mut g);
        g.run();
        assert_accounts(&g);
    }
}
