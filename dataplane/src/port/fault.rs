//! A port whose received frames suffer on the way: lost, doubled, out of order, damaged.
//!
//! The misfortunes follow from a seed, so a failing test fails again.

use std::collections::VecDeque;

use super::{Port, the_rest_goes_on_to};
use crate::frame::{BURST, Burst, Frame, Stock};

/// How often each misfortune befalls a received frame, in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// It is lost.
    pub drop: u32,
    /// It arrives twice.
    pub duplicate: u32,
    /// Up to [`MOST_OVERTAKING`] later ones overtake it.
    pub reorder: u32,
    /// One of its bits is inverted.
    pub flip: u32,
    /// It is cut short.
    pub truncate: u32,
}

/// How many misfortunes there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Frames lost.
    pub dropped: u64,
    /// Frames doubled.
    pub duplicated: u64,
    /// Frames held back.
    pub reordered: u64,
    /// Frames with an inverted bit.
    pub flipped: u64,
    /// Frames cut short.
    pub truncated: u64,
}

/// Most frames that overtake one that is held back.
pub const MOST_OVERTAKING: u64 = 16;

/// Most frames held back at a time; further ones go straight on.
const MOST_HELD: usize = 32;

/// A port behind an unreliable wire.
pub struct FaultInjection<P> {
    port: P,
    faults: Faults,
    random: SplitMix,
    /// Ready to be received.
    ready: VecDeque<Frame>,
    /// Held back, each with how many frames are still to overtake it.
    held: Vec<(u64, Frame)>,
    counts: FaultCounts,
}

impl<P: Port> FaultInjection<P> {
    /// Wraps a port; the same seed and traffic bring the same misfortunes.
    pub fn new(port: P, faults: Faults, seed: u64) -> FaultInjection<P> {
        FaultInjection {
            port,
            faults,
            random: SplitMix(seed),
            ready: VecDeque::with_capacity(3 * BURST + MOST_HELD),
            held: Vec::with_capacity(MOST_HELD),
            counts: FaultCounts::default(),
        }
    }

    /// How many misfortunes there were.
    pub fn counts(&self) -> FaultCounts {
        self.counts
    }

    /// Changes how often they happen.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    fn suffer(&mut self, mut frame: Frame, stock: &mut Stock) {
        let Faults {
            drop,
            duplicate,
            reorder,
            flip,
            truncate,
        } = self.faults;
        if self.random.happens(drop) {
            self.counts.dropped += 1;
            stock.put(frame);
            return;
        }
        if self.random.happens(duplicate)
            && let Some(mut twin) = stock.take()
        {
            if twin.fill(frame.bytes()) {
                self.counts.duplicated += 1;
                self.ready.push_back(twin);
            } else {
                stock.put(twin);
            }
        }
        if !frame.is_empty() && self.random.happens(flip) {
            self.counts.flipped += 1;
            let bit = self.random.below(8 * frame.len() as u64) as usize;
            frame.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
        }
        if frame.len() > 1 && self.random.happens(truncate) {
            self.counts.truncated += 1;
            let cut = 1 + self.random.below(frame.len() as u64 - 1) as usize;
            frame.shrink_back(cut);
        }
        if self.held.len() < MOST_HELD && self.random.happens(reorder) {
            self.counts.reordered += 1;
            let overtaking = 1 + self.random.below(MOST_OVERTAKING);
            self.held.push((overtaking, frame));
        } else {
            self.ready.push_back(frame);
            self.overtake();
        }
    }

    /// One frame has gone past those that are held back.
    fn overtake(&mut self) {
        for (left, _) in &mut self.held {
            *left -= 1;
        }
        self.release(|left| left == 0);
    }

    fn release(&mut self, due: impl Fn(u64) -> bool) {
        let mut index = 0;
        while let Some((left, _)) = self.held.get(index) {
            if due(*left) {
                let (_, frame) = self.held.remove(index);
                self.ready.push_back(frame);
            } else {
                index += 1;
            }
        }
    }
}

impl<P: Port> Port for FaultInjection<P> {
    fn receive(&mut self, stock: &mut Stock, burst: &mut Burst) -> usize {
        if self.ready.len() < BURST {
            let mut fresh = Burst::new();
            if self.port.receive(stock, &mut fresh) == 0 {
                // Silence: nothing comes that could overtake.
                self.release(|_| true);
            }
            for frame in fresh.drain(..) {
                self.suffer(frame, stock);
            }
        }
        let count = burst.remaining_capacity().min(self.ready.len());
        burst.extend(self.ready.drain(..count));
        count
    }

    fn transmit(&mut self, burst: &mut Burst, stock: &mut Stock) -> usize {
        self.port.transmit(burst, stock)
    }

    the_rest_goes_on_to!(port);
}

/// Steele, Lea and Flood's SplitMix64: small, fast, and no secret.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to just below `bound`, which is not 0.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn happens(&mut self, thousandths: u32) -> bool {
        thousandths > 0 && self.below(1000) < u64::from(thousandths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{ChunkSize, HugePages, Umem};
    use crate::port::memory::MemoryPort;

    const SENT: u32 = 2000;

    /// What arrives of numbered frames, and what befell them.
    fn through(faults: Faults, seed: u64) -> (Vec<Vec<u8>>, FaultCounts) {
        let umem = Umem::new(512, ChunkSize::K2, HugePages::Off).unwrap();
        let (port, mut wire) = MemoryPort::with_wire(umem, 128);
        let mut stock = umem.stock(384);
        let mut port = FaultInjection::new(port, faults, seed);
        let mut arrived = Vec::new();
        let mut take = |port: &mut FaultInjection<MemoryPort>| {
            let mut burst = Burst::new();
            while port.receive(&mut stock, &mut burst) > 0 {
                arrived.extend(burst.iter().map(|frame| frame.bytes().to_vec()));
                stock.put_all(&mut burst);
            }
        };
        for number in 0..SENT {
            assert!(wire.inject(&[number.to_be_bytes(); 4].concat()));
            if number % 50 == 49 {
                take(&mut port);
            }
        }
        take(&mut port);
        take(&mut port);
        assert_eq!((stock.len(), umem.strays()), (384, 0));
        (arrived, port.counts())
    }

    fn number(frame: &[u8]) -> u32 {
        u32::from_be_bytes(frame[..4].try_into().unwrap())
    }

    #[test]
    fn without_faults_everything_arrives_as_it_was() {
        let (arrived, counts) = through(Faults::default(), 1);
        assert!(arrived.iter().map(|frame| number(frame)).eq(0..SENT));
        assert_eq!(counts, FaultCounts::default());
    }

    #[test]
    fn some_are_lost() {
        let faults = Faults {
            drop: 100,
            ..Faults::default()
        };
        let (arrived, counts) = through(faults, 2);
        assert_eq!(arrived.len() as u64 + counts.dropped, u64::from(SENT));
        assert!((100..300).contains(&counts.dropped), "{counts:?}");
    }

    #[test]
    fn some_arrive_twice() {
        let faults = Faults {
            duplicate: 100,
            ..Faults::default()
        };
        let (arrived, counts) = through(faults, 3);
        assert_eq!(arrived.len() as u64, u64::from(SENT) + counts.duplicated);
        assert!((100..300).contains(&counts.duplicated), "{counts:?}");
    }

    #[test]
    fn some_are_overtaken_and_none_is_lost_by_that() {
        let faults = Faults {
            reorder: 100,
            ..Faults::default()
        };
        let (arrived, counts) = through(faults, 4);
        let mut numbers: Vec<u32> = arrived.iter().map(|frame| number(frame)).collect();
        let late = numbers.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert!(late > 50 && counts.reordered > 100, "{late} {counts:?}");
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..SENT));
    }

    #[test]
    fn some_are_damaged_in_one_bit_and_some_cut() {
        let faults = Faults {
            flip: 100,
            truncate: 100,
            ..Faults::default()
        };
        let (arrived, counts) = through(faults, 5);
        let cut = arrived.iter().filter(|frame| frame.len() < 16).count() as u64;
        assert_eq!(cut, counts.truncated);
        let flipped = arrived.iter().zip(0..SENT).filter(|(frame, number)| {
            let sent = [number.to_be_bytes(); 4].concat();
            let bits: u32 = frame
                .iter()
                .zip(&sent)
                .map(|(a, b)| (a ^ b).count_ones())
                .sum();
            assert!(bits <= 1);
            bits == 1
        });
        let flipped = flipped.count() as u64;
        // A bit in the part that was cut off does not show.
        assert!(flipped <= counts.flipped && flipped > counts.flipped / 2);
    }

    #[test]
    fn a_seed_brings_the_same_misfortunes_again() {
        let faults = Faults {
            drop: 50,
            duplicate: 50,
            reorder: 50,
            flip: 50,
            truncate: 50,
        };
        assert_eq!(through(faults, 6), through(faults, 6));
        assert_ne!(through(faults, 6).0, through(faults, 7).0);
    }
}
