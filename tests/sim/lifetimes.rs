//! Soft and hard lifetimes in packets, bytes and seconds, and what control is told.

use std::sync::atomic::Ordering::Relaxed;

use adit_abi::{DropReason, Event, Limits, SaRef};
use adit_dataplane::memory_gateway::{MemoryGateway, Site, TunnelPlan};

use crate::packets::udp_of;
use crate::tunnel::carry;

/// Sends packets of 100 bytes from A to B, one burst; returns how many came out of A and out of B.
fn send(a: &mut MemoryGateway, b: &mut MemoryGateway, count: usize) -> (usize, usize) {
    for _ in 0..count {
        a.from_inside(&udp_of(Site(1).host(false), Site(2).host(false), 100));
    }
    a.run();
    let sealed = carry(a, b).len();
    b.run();
    (sealed, b.inside.drain().len())
}

fn pair() -> (MemoryGateway, MemoryGateway) {
    let (mut a, mut b) = MemoryGateway::pair(&TunnelPlan::default());
    // The first packet ever is an event of its own.
    send(&mut a, &mut b, 1);
    let inbound = b.inbound();
    assert_eq!(b.events(), [Event::FirstPacket(inbound)]);
    send(&mut a, &mut b, 1);
    assert_eq!((a.events(), b.events()), (vec![], vec![]));
    (a, b)
}

/// Gives an SA limits without a new state, as if they had been there from the start: 2 packets are counted.
fn limit(g: &mut MemoryGateway, sa: SaRef, soft: Limits, hard: Limits) -> SaRef {
    let counted = g.state.sa(sa.slot).unwrap();
    let (sequence, top) = (
        counted.sequence().load(Relaxed),
        counted.packets().load(Relaxed),
    );
    let new = g.change_sa(sa, |r| (r.soft, r.hard) = (soft, hard));
    let state = g.state.sa(new.slot).unwrap();
    state.prepare(new.generation, sequence);
    state.packets().store(top, Relaxed);
    state.bytes().store(100 * top, Relaxed);
    new
}

fn packets(n: u64) -> Limits {
    Limits {
        packets: n,
        ..Limits::default()
    }
}

fn bytes(n: u64) -> Limits {
    Limits {
        bytes: n,
        ..Limits::default()
    }
}

#[test]
fn an_outbound_sa_ends_exactly_at_its_hard_limit_and_says_so_once() {
    for (soft, hard) in [(packets(4), packets(6)), (bytes(400), bytes(650))] {
        let (mut a, mut b) = pair();
        let out = a.outbound();
        let sa = limit(&mut a, out, soft, hard);
        assert_eq!(send(&mut a, &mut b, 1), (1, 1));
        assert_eq!(a.events(), []);
        assert_eq!(send(&mut a, &mut b, 1), (1, 1));
        assert_eq!(a.events(), [Event::SoftExpired(sa)]);
        assert_eq!(send(&mut a, &mut b, 10), (2, 2));
        assert_eq!(a.events(), [Event::HardExpired(sa)]);
        assert_eq!(send(&mut a, &mut b, 3), (0, 0));
        assert_eq!(a.events(), []);
        assert_eq!(a.all_drops(), [(DropReason::LifetimeExpired, 11)]);
        assert_eq!(b.all_drops(), []);
    }
}

#[test]
fn so_does_an_inbound_one() {
    for (soft, hard) in [(packets(4), packets(6)), (bytes(400), bytes(650))] {
        let (mut a, mut b) = pair();
        let inb = b.inbound();
        let sa = limit(&mut b, inb, soft, hard);
        assert_eq!(send(&mut a, &mut b, 1), (1, 1));
        // Its state is fresh, so it speaks of its first packet again.
        assert_eq!(b.events(), [Event::FirstPacket(sa)]);
        assert_eq!(send(&mut a, &mut b, 10), (10, 3));
        assert_eq!(b.events(), [Event::HardExpired(sa), Event::SoftExpired(sa)]);
        assert_eq!(send(&mut a, &mut b, 3), (3, 0));
        assert_eq!(b.events(), []);
        assert_eq!(b.all_drops(), [(DropReason::LifetimeExpired, 10)]);
    }
}

#[test]
fn time_ends_an_sa_in_either_direction() {
    let (mut a, mut b) = pair();
    let at = |seconds: u64, now: u64| Limits {
        expires: now + seconds * 1_000_000_000,
        ..Limits::default()
    };
    let (out, inb, now) = (a.outbound(), b.inbound(), a.now);
    let out = limit(&mut a, out, at(5, now), at(10, now));
    let inb = limit(&mut b, inb, at(6, now), at(9, now));
    assert_eq!(send(&mut a, &mut b, 2), (2, 2));
    assert_eq!(b.events(), [Event::FirstPacket(inb)]);
    for (second, expected, of_a, of_b) in [
        (4, (2, 2), vec![], vec![]),
        (5, (2, 2), vec![Event::SoftExpired(out)], vec![]),
        (6, (2, 2), vec![], vec![Event::SoftExpired(inb)]),
        (9, (2, 0), vec![], vec![Event::HardExpired(inb)]),
        (10, (0, 0), vec![Event::HardExpired(out)], vec![]),
        (11, (0, 0), vec![], vec![]),
    ] {
        let start = 1_000_000_000_000;
        (a.now, b.now) = (
            start + second * 1_000_000_000,
            start + second * 1_000_000_000,
        );
        assert_eq!(send(&mut a, &mut b, 2), expected, "second {second}");
        assert_eq!((a.events(), b.events()), (of_a, of_b), "second {second}");
    }
}

#[test]
fn packets_bytes_and_times_of_use_are_counted() {
    let (mut a, mut b) = MemoryGateway::pair(&TunnelPlan::default());
    let start = a.now;
    send(&mut a, &mut b, 3);
    (a.now, b.now) = (start + 7, start + 7);
    send(&mut a, &mut b, 4);
    for (g, sa) in [(&a, a.outbound()), (&b, b.inbound())] {
        let state = g.state.sa(sa.slot).unwrap();
        assert_eq!(state.packets().load(Relaxed), 7);
        assert_eq!(state.bytes().load(Relaxed), 700);
        assert_eq!(state.first_used().load(Relaxed), start);
        assert_eq!(state.last_used().load(Relaxed), start + 7);
        assert_eq!(state.sequence().load(Relaxed), 7);
    }
    assert_eq!(a.state.policy_counts(0), [7, 700, 0, 0]);
    assert_eq!(b.state.policy_counts(0), [0, 0, 7, 700]);
}
