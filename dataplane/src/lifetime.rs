//! Sequence numbers and lifetimes of an SA: what may still be sealed or opened (RFC 4301 §4.4.2.1).

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};

use adit_abi::{DropReason, Event, Limits, SaRecord, SaRef, SaState, SaStateFlag};

use crate::events::Events;
use crate::packet::{Packet, Packets};
use crate::sad::SaContext;
use crate::turn::Turn;

/// Reserves up to `n` outbound numbers up to `last`, by one compare-and-swap; `None` if none is left.
///
/// Numbers never go back, so what is reserved and not used is lost, and no number is used twice.
#[inline]
pub fn reserve_sequence(sequence: &AtomicU64, n: u64, last: u64) -> Option<RangeInclusive<u64>> {
    let mut current = sequence.load(Ordering::Relaxed);
    loop {
        //= RFC 4303 §3.3.3: the sender ensures that the number has not cycled before it uses a new one
        let take = n.min(last.saturating_sub(current));
        if take == 0 {
            return None;
        }
        match sequence.compare_exchange_weak(
            current,
            current + take,
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            Ok(_) => return Some(current + 1..=current + take),
            Err(seen) => current = seen,
        }
    }
}

/// Counts packets of these sizes against the hard limits; returns how many from the front are within them.
///
/// Those are added to the SA's packets and bytes; a packet that would cross a limit is not.
pub fn reserve(
    state: &SaState<'_>,
    hard: &Limits,
    sizes: impl Iterator<Item = usize> + Clone,
) -> usize {
    let mut packets = sizes.clone().count() as u64;
    if hard.packets != 0 {
        packets = add_up_to(state.packets(), packets, hard.packets);
    } else {
        state.packets().fetch_add(packets, Ordering::Relaxed);
    }
    let bytes = |n: u64| sizes.clone().take(n as usize).sum::<usize>() as u64;
    if hard.bytes == 0 {
        state.bytes().fetch_add(bytes(packets), Ordering::Relaxed);
        return packets as usize;
    }
    let wanted = packets;
    let mut current = state.bytes().load(Ordering::Relaxed);
    loop {
        packets = wanted;
        while packets > 0 && current.saturating_add(bytes(packets)) > hard.bytes {
            packets -= 1;
        }
        let new = current.saturating_add(bytes(packets));
        match state.bytes().compare_exchange_weak(
            current,
            new,
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            Ok(_) => break,
            Err(seen) => current = seen,
        }
    }
    state
        .packets()
        .fetch_sub(wanted - packets, Ordering::Relaxed);
    packets as usize
}

/// Reserves lifetime and sequence numbers; returns the first number. What gets none is dropped.
pub fn reserve_run(
    run: &mut Packets,
    sa: &SaContext,
    state: &SaState<'_>,
    turn: &mut Turn<'_>,
) -> Option<u64> {
    let hard = &sa.record.hard;
    let within = if hard.expires != 0 && turn.now >= hard.expires {
        0
    } else {
        reserve(state, hard, run.iter().map(Packet::len))
    };
    if within < run.len() {
        note_expiry(state, sa.sa, &mut turn.events);
        for packet in run.drain(within..) {
            turn.ledger.drop(packet.frame, DropReason::LifetimeExpired);
        }
    }
    if run.is_empty() {
        return None;
    }
    let last = sa.record.last_sequence();
    let numbers = reserve_sequence(state.sequence(), run.len() as u64, last);
    let got = numbers.as_ref().map_or(0, |n| n.end() - n.start() + 1) as usize;
    if got < run.len() {
        //= RFC 4303 §3.3.3: a packet that would make the number cycle is not sent
        note_exhaustion(state, sa.sa, &mut turn.events);
        for packet in run.drain(got..) {
            turn.ledger
                .drop(packet.frame, DropReason::SequenceExhausted);
        }
    }
    numbers.map(|n| *n.start())
}

/// Adds at most `n`, never past `limit`; returns how much.
fn add_up_to(counter: &AtomicU64, n: u64, limit: u64) -> u64 {
    let mut current = counter.load(Ordering::Relaxed);
    loop {
        let take = n.min(limit.saturating_sub(current));
        match counter.compare_exchange_weak(
            current,
            current + take,
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            Ok(_) => return take,
            Err(seen) => current = seen,
        }
    }
}

/// Whether the SA may be used at `now` (`CLOCK_BOOTTIME` nanoseconds): its hard limits are not reached.
#[inline]
pub fn is_alive(state: &SaState<'_>, hard: &Limits, now: u64) -> bool {
    let reached = |limit: u64, value: u64| limit != 0 && value >= limit;
    !(reached(hard.expires, now)
        || reached(hard.packets, state.packets().load(Ordering::Relaxed))
        || reached(hard.bytes, state.bytes().load(Ordering::Relaxed)))
}

/// Notes that the SA was used, and tells control once if that brought it to its soft limits.
#[inline]
pub fn note_use(
    state: &SaState<'_>,
    sa: SaRef,
    record: &SaRecord,
    now: u64,
    events: &mut Events<'_>,
) {
    if state.first_used().load(Ordering::Relaxed) == 0 {
        let _ = state
            .first_used()
            .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    }
    state.last_used().store(now, Ordering::Relaxed);
    if !is_alive(state, &record.soft, now)
        && !state.raised(SaStateFlag::SoftReported)
        && state.raise(SaStateFlag::SoftReported)
    {
        events.push(Event::SoftExpired(sa));
    }
}

/// Tells control once that the SA is past its hard limits.
pub fn note_expiry(state: &SaState<'_>, sa: SaRef, events: &mut Events<'_>) {
    if !state.raised(SaStateFlag::HardReported) && state.raise(SaStateFlag::HardReported) {
        events.push(Event::HardExpired(sa));
    }
}

/// Tells control once that the SA's sequence numbers are used up.
pub fn note_exhaustion(state: &SaState<'_>, sa: SaRef, events: &mut Events<'_>) {
    if !state.raised(SaStateFlag::SequenceReported) && state.raise(SaStateFlag::SequenceReported) {
        events.push(Event::SequenceExhausted(sa));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn words() -> Vec<AtomicU64> {
        (0..32).map(|_| AtomicU64::new(0)).collect()
    }

    fn limits(packets: u64, bytes: u64) -> Limits {
        Limits {
            packets,
            bytes,
            expires: 0,
        }
    }

    #[test]
    fn numbers_are_handed_out_once_up_to_the_last() {
        let counter = AtomicU64::new(10);
        assert_eq!(reserve_sequence(&counter, 5, 12), Some(11..=12));
        assert_eq!(reserve_sequence(&counter, 5, 12), None);
        let counter = AtomicU64::new(0);
        let all: u64 = thread::scope(|s| {
            let mut handles = Vec::new();
            for _ in 0..4 {
                handles.push(s.spawn(|| {
                    let mut sum = 0;
                    while let Some(run) = reserve_sequence(&counter, 7, 10_000) {
                        sum += run.sum::<u64>();
                    }
                    sum
                }));
            }
            handles.into_iter().map(|h| h.join().unwrap()).sum()
        });
        assert_eq!(all, 10_000 * 10_001 / 2);
    }

    #[test]
    fn exactly_as_many_packets_and_bytes_as_the_hard_limits_say() {
        let w = words();
        let state = SaState::new(&w).unwrap();
        let run = |sizes: &[usize], l| reserve(&state, &l, sizes.iter().copied());
        assert_eq!(run(&[100; 3], limits(5, 0)), 3);
        assert_eq!(run(&[100; 3], limits(5, 0)), 2);
        assert_eq!(run(&[100; 3], limits(5, 0)), 0);
        assert_eq!(state.packets().load(Ordering::Relaxed), 5);
        assert_eq!(state.bytes().load(Ordering::Relaxed), 500);
        assert_eq!(run(&[100, 50, 10], limits(0, 655)), 2);
        assert_eq!(state.packets().load(Ordering::Relaxed), 7);
        assert_eq!(state.bytes().load(Ordering::Relaxed), 650);
    }

    #[test]
    fn a_limit_of_time_ends_it_at_that_moment() {
        let w = words();
        let state = SaState::new(&w).unwrap();
        let hard = Limits {
            expires: 50,
            ..Limits::default()
        };
        assert!(is_alive(&state, &hard, 49));
        assert!(!is_alive(&state, &hard, 50));
        assert!(is_alive(&state, &Limits::default(), u64::MAX));
    }
}
