//! Anti-replay as the wire sees it.

use std::sync::atomic::Ordering::Relaxed;

use adit_abi::{DropReason, Event};
use adit_dataplane::memory_gateway::{MemoryGateway, Site, TunnelPlan};

use crate::packets::ping;

/// Seals this many packets on `a`; returns the outer IP packets.
fn sealed(a: &mut MemoryGateway, count: u16) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for n in 0..count {
        a.from_inside(&ping(Site(1).host(false), Site(2).host(false), n));
        a.run();
        out.extend(a.outside.drain().into_iter().map(|f| f[14..].to_vec()));
    }
    assert_eq!(out.len(), usize::from(count), "{:?}", a.all_drops());
    out
}

/// Gives packets to `b`; returns how many came out inside.
fn deliver<'a>(b: &mut MemoryGateway, packets: impl Iterator<Item = &'a Vec<u8>>) -> usize {
    let mut got = 0;
    for packet in packets {
        b.from_outside(packet);
        b.run();
        got += b.inside.drain().len();
    }
    got
}

#[test]
fn out_of_order_within_the_window_is_taken_once_and_older_never() {
    for window in [64u16, 100, 1024, 8192] {
        for esn in [false, true] {
            let plan = TunnelPlan {
                window,
                esn,
                ..TunnelPlan::default()
            };
            let (mut a, mut b) = MemoryGateway::pair(&plan);
            // The sender runs ahead, so that few packets cover the whole window.
            let mut packets = sealed(&mut a, 10);
            let state = a.state.sa(a.outbound().slot).unwrap();
            let ahead = u64::from(window) - 6;
            state.sequence().fetch_add(ahead, Relaxed);
            packets.extend(sealed(&mut a, 1));
            // The last has number 11 + ahead = window + 5, so the window begins at number 6.
            assert_eq!(deliver(&mut b, packets[10..].iter()), 1);
            assert_eq!(deliver(&mut b, packets[..10].iter().rev()), 5);
            let (old, seen) = (DropReason::TooOld, DropReason::Replayed);
            // With ESN a number below the window is taken for one of the next round.
            let reason = if esn { DropReason::BadIcv } else { old };
            assert_eq!(b.all_drops(), sorted([(reason, 5)]));
            assert_eq!(deliver(&mut b, packets[5..].iter()), 0);
            assert_eq!(b.drops(seen), 6);
        }
    }
}

fn sorted<const N: usize>(mut drops: [(DropReason, u64); N]) -> Vec<(DropReason, u64)> {
    drops.sort();
    drops.to_vec()
}

#[test]
fn esn_goes_on_past_32_bits_and_still_finds_replays_across_the_border() {
    let plan = TunnelPlan {
        esn: true,
        window: 64,
        ..TunnelPlan::default()
    };
    let (mut a, mut b) = MemoryGateway::pair(&plan);
    let (out, inb) = (a.outbound(), b.inbound());
    let start = (1u64 << 32) - 20;
    a.state.sa(out.slot).unwrap().prepare(out.generation, start);
    b.state.sa(inb.slot).unwrap().prepare(inb.generation, start);
    let packets = sealed(&mut a, 40);
    // Across the border and back.
    assert_eq!(deliver(&mut b, packets[30..].iter()), 10);
    assert_eq!(deliver(&mut b, packets[..30].iter()), 30);
    assert_eq!(deliver(&mut b, packets.iter()), 0);
    assert_eq!(b.all_drops(), [(DropReason::Replayed, 40)]);
    let state = b.state.sa(inb.slot).unwrap();
    assert_eq!(state.sequence().load(Relaxed), start + 40);
}

#[test]
fn without_esn_the_last_number_is_sent_and_no_further() {
    let (mut a, mut b) = MemoryGateway::pair(&TunnelPlan::default());
    let out = a.outbound();
    let last = u64::from(u32::MAX);
    let state = a.state.sa(out.slot).unwrap();
    state.prepare(out.generation, last - 3);
    for n in 0..10 {
        a.from_inside(&ping(Site(1).host(false), Site(2).host(false), n));
    }
    a.run();
    let frames = crate::tunnel::carry(&mut a, &mut b);
    assert_eq!(frames.len(), 3);
    assert_eq!(frames[2][38..42], [0xff; 4]);
    b.run();
    assert_eq!(b.inside.drain().len(), 3);
    assert_eq!(a.all_drops(), [(DropReason::SequenceExhausted, 7)]);
    a.from_inside(&ping(Site(1).host(false), Site(2).host(false), 1));
    a.run();
    assert_eq!(a.events(), [Event::SequenceExhausted(out)], "told once");
}

#[test]
fn a_forged_packet_does_not_move_the_window() {
    let (mut a, mut b) = MemoryGateway::pair(&TunnelPlan::default());
    let packets = sealed(&mut a, 3);
    let mut forged = packets[2].clone();
    // A number far ahead.
    forged[24..28].copy_from_slice(&[0x7f, 0, 0, 0]);
    assert_eq!(deliver(&mut b, [forged].iter()), 0);
    assert_eq!(deliver(&mut b, packets.iter()), 3);
    assert_eq!(b.all_drops(), [(DropReason::BadIcv, 1)]);
}

#[test]
fn the_same_packet_twice_in_one_burst_is_taken_once() {
    let (mut a, mut b) = MemoryGateway::pair(&TunnelPlan::default());
    let packets = sealed(&mut a, 2);
    for packet in [&packets[0], &packets[0], &packets[1], &packets[0]] {
        b.from_outside(packet);
    }
    assert_eq!(b.run(), 4);
    assert_eq!(b.inside.drain().len(), 2);
    assert_eq!(b.all_drops(), [(DropReason::Replayed, 2)]);
}

#[test]
fn a_window_of_zero_takes_everything_authentic() {
    let plan = TunnelPlan {
        window: 0,
        ..TunnelPlan::default()
    };
    let (mut a, mut b) = MemoryGateway::pair(&plan);
    let packets = sealed(&mut a, 2);
    assert_eq!(deliver(&mut b, packets.iter().chain(&packets)), 4);
}

#[test]
fn a_restarted_worker_goes_on_where_the_last_one_stopped() {
    let (mut a, mut b) = MemoryGateway::pair(&TunnelPlan::default());
    let before = sealed(&mut a, 5);
    assert_eq!(deliver(&mut b, before.iter()), 5);
    a.restart_worker();
    b.restart_worker();
    let after = sealed(&mut a, 5);
    assert_eq!(deliver(&mut b, before.iter()), 0);
    assert_eq!(b.drops(DropReason::Replayed), 5);
    assert_eq!(deliver(&mut b, after.iter()), 5);
}
