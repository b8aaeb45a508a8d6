use std::collections::HashSet;
use std::sync::atomic::AtomicUsize;
use std::thread;

use adit_abi::window_words;
use proptest::prelude::*;

use super::*;

struct Memory {
    top: AtomicU64,
    ring: Vec<AtomicU64>,
    size: u16,
    esn: bool,
}

impl Memory {
    fn new(size: u16, esn: bool, top: u64) -> Self {
        Self {
            top: AtomicU64::new(top),
            ring: (0..window_words(size)).map(|_| AtomicU64::new(0)).collect(),
            size,
            esn,
        }
    }

    fn window(&self) -> Window<'_> {
        Window::new(&self.top, &self.ring, self.size, self.esn)
    }

    /// Check, verify, advance: what happens to a packet with a right ICV.
    fn receive(&self, sequence: u64) -> Result<(), DropReason> {
        let seen = self.window().check(sequence as u32)?;
        // A wrong guess of the high half fails the ICV.
        if seen != sequence {
            return Err(DropReason::BadIcv);
        }
        self.window().advance(seen)
    }
}

/// The window as a set of everything ever received.
struct Naive {
    top: u64,
    seen: HashSet<u64>,
    size: u64,
}

impl Naive {
    fn receive(&mut self, sequence: u64) -> Result<(), DropReason> {
        if sequence == 0 {
            return Err(DropReason::SequenceZero);
        }
        if sequence <= self.top && self.top - sequence >= self.size {
            return Err(DropReason::TooOld);
        }
        if !self.seen.insert(sequence) {
            return Err(DropReason::Replayed);
        }
        self.top = self.top.max(sequence);
        Ok(())
    }
}

fn sizes() -> impl Strategy<Value = u16> {
    prop_oneof![
        Just(64),
        Just(96),
        Just(100),
        Just(1024),
        Just(8192),
        64u16..=8192
    ]
}

/// Steps ahead of (or behind) the top that a sequence of packets takes.
fn steps() -> impl Strategy<Value = Vec<i64>> {
    let step = prop_oneof![
        8 => -200i64..200,
        2 => -9000i64..9000,
        1 => 0i64..1_000_000,
    ];
    proptest::collection::vec(step, 1..400)
}

proptest! {
    #[test]
    fn it_decides_as_a_set_of_all_numbers_would(size in sizes(), steps in steps()) {
        let memory = Memory::new(size, false, 0);
        let mut naive = Naive { top: 0, seen: HashSet::new(), size: size.into() };
        for step in steps {
            let sequence = naive.top.saturating_add_signed(step).min(u32::MAX.into());
            prop_assert_eq!(memory.receive(sequence), naive.receive(sequence), "{}", sequence);
        }
    }

    #[test]
    fn with_esn_it_finds_the_high_half_wherever_the_top_is(
        size in sizes(), steps in steps(), start in prop_oneof![
            Just(0u64), (1u64 << 32) - 300..(1 << 32) + 300, (5u64 << 37) - 99..(5 << 37) + 99, 1u64..1 << 62,
        ]
    ) {
        let memory = Memory::new(size, true, start);
        let mut naive = Naive { top: start, seen: HashSet::new(), size: size.into() };
        for step in steps {
            let sequence = naive.top.saturating_add_signed(step);
            let expected = naive.receive(sequence);
            let got = memory.receive(sequence);
            let old = sequence <= naive.top && naive.top - sequence >= naive.size;
            if old {
                // Older than the window, its low half is taken for one of the next subspace.
                prop_assert!(matches!(got, Err(DropReason::BadIcv | DropReason::TooOld)), "{:?}", got);
            } else {
                prop_assert_eq!(got, expected, "{}", sequence);
            }
        }
    }
}

#[test]
fn words_of_an_earlier_round_count_as_empty() {
    let memory = Memory::new(64, false, 0);
    let round = 32 * window_words(64) as u64;
    for n in 1..=round {
        memory.receive(n).unwrap();
    }
    // Same place, same bit, next round; the blocks between were never touched.
    assert_eq!(memory.receive(5 * round + 7), Ok(()));
    assert_eq!(memory.receive(5 * round + 7 - 63), Ok(()));
    assert_eq!(memory.receive(5 * round + 7 - 64), Err(DropReason::TooOld));
}

#[test]
fn esn_does_not_wrap_at_either_end() {
    let low = Memory::new(64, true, 10);
    assert_eq!(low.window().check(u32::MAX - 5), Err(DropReason::TooOld));
    let high = Memory::new(64, true, u64::MAX - 1);
    assert_eq!(high.window().check(3), Err(DropReason::TooOld));
    assert_eq!(high.window().check(u32::MAX - 1), Ok(u64::MAX - 1));
}

#[test]
fn without_a_window_nothing_is_a_replay_but_esn_still_moves_on() {
    let top = AtomicU64::new(0);
    let window = Window::new(&top, &[], 0, true);
    for sequence in [1u64, 1, 3 << 30, (1 << 32) + 5, (1 << 32) + 5] {
        assert_eq!(window.check(sequence as u32), Ok(sequence));
        assert_eq!(window.advance(sequence), Ok(()));
    }
}

/// Several workers receive the same packets, in nearly the same order: each must be taken exactly once.
#[test]
fn several_workers_take_each_packet_exactly_once() {
    const WORKERS: u64 = 4;
    const PACKETS: u64 = 60_000;
    for size in [64u16, 1024] {
        let memory = Memory::new(size, true, (1 << 32) - PACKETS / 2);
        let start = memory.top.load(Ordering::Relaxed) + 1;
        let taken: Vec<AtomicUsize> = (0..PACKETS).map(|_| AtomicUsize::new(0)).collect();
        let progress = AtomicU64::new(0);
        thread::scope(|scope| {
            for worker in 0..WORKERS {
                let (memory, taken, progress) = (&memory, &taken, &progress);
                scope.spawn(move || {
                    for n in 0..PACKETS {
                        // No one runs ahead by more than the window, so nothing is lost as too old.
                        while n > progress.load(Ordering::Acquire) + u64::from(size) / 2 {
                            thread::yield_now();
                        }
                        // Neighbouring packets in another order on each worker.
                        let n = n ^ (worker & 1);
                        if memory.receive(start + n).is_ok() {
                            taken[n as usize].fetch_add(1, Ordering::Relaxed);
                        }
                        if worker == 0 {
                            progress.store(n, Ordering::Release);
                        }
                    }
                });
            }
        });
        let wrong: Vec<_> = taken
            .iter()
            .enumerate()
            .filter(|(_, n)| n.load(Ordering::Relaxed) != 1)
            .map(|(n, times)| (n, times.load(Ordering::Relaxed)))
            .collect();
        assert!(wrong.is_empty(), "window {size}: taken not once: {wrong:?}");
    }
}

/// Workers that race far ahead of each other may lose packets as too old, but never take one twice.
#[test]
fn racing_far_ahead_never_admits_a_replay() {
    const PACKETS: u64 = 100_000;
    let memory = Memory::new(64, false, 0);
    let taken: Vec<AtomicUsize> = (0..=PACKETS).map(|_| AtomicUsize::new(0)).collect();
    thread::scope(|scope| {
        for worker in 0..4u64 {
            let (memory, taken) = (&memory, &taken);
            scope.spawn(move || {
                for n in 1..=PACKETS {
                    let n = (n + worker * 7).min(PACKETS);
                    if memory.receive(n).is_ok() {
                        taken[n as usize].fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert!(taken.iter().all(|n| n.load(Ordering::Relaxed) <= 1));
    assert!(
        taken
            .iter()
            .filter(|n| n.load(Ordering::Relaxed) == 1)
            .count()
            > 1000
    );
}
