//! Several workers on one SA at the same time.

use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use adit_abi::DropReason;
use adit_dataplane::memory_gateway::{INSIDE, MemoryGateway, OUTSIDE, Site, TunnelPlan, ethernet};
use adit_dataplane::port::memory::Wire;
use adit_dataplane::worker::Worker;

use crate::packets::udp;

const PACKETS: u16 = 4000;

/// Feeds frames to a worker through one wire, as fast as it takes them; returns what came out of another.
fn pump(mut worker: Worker, into: &mut Wire, out: &mut Wire, frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut got = Vec::new();
    for burst in frames.chunks(32) {
        for frame in burst {
            assert!(into.inject(frame));
        }
        while worker.turn(1_000_000_000_000) > 0 {}
        got.append(&mut out.drain());
    }
    got
}

/// Two workers of a gateway run at once, each with its own frames; returns what came out of both.
fn race(
    g: MemoryGateway,
    from: u8,
    frames: [Vec<Vec<u8>>; 2],
) -> (MemoryGateway, [Vec<Vec<u8>>; 2]) {
    let results = thread::scope(|scope| {
        let handles = [0, 1].map(|n| {
            let (worker, [mut inside, mut outside, _host]) = g.another_worker(n);
            let frames = frames[n].clone();
            scope.spawn(move || {
                if from == INSIDE {
                    pump(worker, &mut inside, &mut outside, frames)
                } else {
                    pump(worker, &mut outside, &mut inside, frames)
                }
            })
        });
        handles.map(|handle| handle.join().unwrap())
    });
    (g, results)
}

#[test]
fn two_workers_use_no_number_twice_and_take_no_packet_twice() {
    for (esn, window) in [(false, 64), (true, 1024)] {
        let plan = TunnelPlan {
            esn,
            window,
            ..TunnelPlan::default()
        };
        let (a, b) = MemoryGateway::pair(&plan);
        let (here, there) = (Site(1).host(false), Site(2).host(false));
        let packets = |first: u16| -> Vec<_> {
            (first..first + PACKETS)
                .map(|n| ethernet(Site(1).mac(INSIDE), &udp(here, there, (n, 1), b"payload")))
                .collect()
        };
        let (a, sealed) = race(a, INSIDE, [packets(0), packets(PACKETS)]);
        let mut sealed: Vec<_> = sealed.into_iter().flatten().collect();
        let number = |frame: &Vec<u8>| u32::from_be_bytes(frame[38..42].try_into().unwrap());
        sealed.sort_by_key(number);
        assert_eq!(sealed.len(), 2 * usize::from(PACKETS));
        let in_turn = sealed.iter().map(number).eq(1..=2 * u32::from(PACKETS));
        assert!(in_turn, "each number was used once");
        let counted = a.state.sa(a.outbound().slot).unwrap();
        assert_eq!(counted.packets().load(Relaxed), 2 * u64::from(PACKETS));

        // Both workers of B get every packet.
        let for_b: Vec<_> = sealed
            .iter()
            .map(|frame| ethernet(Site(2).mac(OUTSIDE), &frame[14..]))
            .collect();
        let (b, opened) = race(b, OUTSIDE, [for_b.clone(), for_b]);
        let opened: Vec<_> = opened.into_iter().flatten().collect();
        let flows: HashSet<_> = opened.iter().map(|frame| frame[34..36].to_vec()).collect();
        assert_eq!(opened.len(), 2 * usize::from(PACKETS), "each came once");
        assert_eq!(flows.len(), opened.len(), "none came twice");
        let drops = |reason| b.state.worker(0).drops(reason) + b.state.worker(1).drops(reason);
        let refused = [DropReason::Replayed, DropReason::TooOld, DropReason::BadIcv].map(drops);
        assert_eq!(refused.iter().sum::<u64>(), 2 * u64::from(PACKETS));
    }
}
