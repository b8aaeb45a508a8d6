//! One slot of a shared table: a seqlock with one writer and a generation.
//!
//! A slot is a generation word followed by the record's words. The word holds `generation << 1 | live`.
//! A live slot is never edited: [`retire`] takes it away, [`publish`] writes another record under the next
//! generation and makes it live by one store. A writer killed half-way leaves a slot that is not live,
//! which costs nothing. A reader copies and checks the word again; it never waits.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::sync::{AtomicU64, Ordering, fence};

/// How often a reader looks again at a slot that changes under it before it calls it unknown.
const ATTEMPTS: usize = 3;

/// The bound of what may lie in a slot: plain bytes, any bit pattern valid, whole words.
pub trait Record: FromBytes + IntoBytes + Immutable + Copy {
    /// Words that a slot of this record takes, with its generation word.
    const SLOT_WORDS: usize = 1 + size_of::<Self>() / 8;
}

impl<T: FromBytes + IntoBytes + Immutable + Copy> Record for T {}

/// The generation of a live slot, or `None`.
#[inline]
pub fn live_generation(slot: &[AtomicU64]) -> Option<u32> {
    live(slot.first()?.load(Ordering::Acquire))
}

#[inline]
fn live(word: u64) -> Option<u32> {
    let generation = (word >> 1) as u32;
    (word & 1 == 1 && generation != 0).then_some(generation)
}

/// Copies a live record out, with its generation. `None` if the slot is not live, or kept changing.
pub fn read<T: Record>(slot: &[AtomicU64]) -> Option<(u32, T)> {
    let (head, body) = slot.split_first()?;
    for _ in 0..ATTEMPTS {
        let before = head.load(Ordering::Acquire);
        let generation = live(before)?;
        let mut record = T::new_zeroed();
        for (bytes, word) in record.as_mut_bytes().chunks_exact_mut(8).zip(body) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        fence(Ordering::Acquire);
        if head.load(Ordering::Relaxed) == before {
            return Some((generation, record));
        }
    }
    None
}

/// Writes a record under the next generation and makes it live. Returns that generation.
///
/// Only the table's one writer may call this. A live slot is retired first.
pub fn publish<T: Record>(slot: &[AtomicU64], record: &T) -> u32 {
    let Some((head, body)) = slot.split_first() else {
        return 0;
    };
    let last = (head.load(Ordering::Relaxed) >> 1) as u32;
    let generation = last.wrapping_add(1).max(1);
    head.store(u64::from(generation) << 1, Ordering::Relaxed);
    fence(Ordering::Release);
    for (bytes, word) in record.as_bytes().chunks_exact(8).zip(body) {
        let mut native = [0; 8];
        native.copy_from_slice(bytes);
        word.store(u64::from_ne_bytes(native), Ordering::Relaxed);
    }
    head.store(u64::from(generation) << 1 | 1, Ordering::Release);
    generation
}

/// The generation that the next [`publish`] into this slot will use.
pub fn next_generation(slot: &[AtomicU64]) -> u32 {
    let last = slot
        .first()
        .map_or(0, |head| (head.load(Ordering::Relaxed) >> 1) as u32);
    last.wrapping_add(1).max(1)
}

/// Passes over the generation that the next [`publish`] would use: somebody was told of it, and it came to nothing.
pub fn skip_generation(slot: &[AtomicU64]) {
    if let Some(head) = slot.first() {
        head.store(u64::from(next_generation(slot)) << 1, Ordering::Release);
    }
}

/// Makes a slot not live and wipes its words; the generation stays, so that reuse is noticed.
pub fn retire(slot: &[AtomicU64]) {
    let Some((head, body)) = slot.split_first() else {
        return;
    };
    head.store(head.load(Ordering::Relaxed) & !1, Ordering::Release);
    fence(Ordering::Release);
    for word in body {
        word.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pair = [u64; 2];

    fn slot() -> Vec<AtomicU64> {
        (0..Pair::SLOT_WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    #[cfg(not(loom))]
    #[test]
    fn a_published_record_is_read_back_and_a_retired_one_is_not() {
        let s = slot();
        assert_eq!(read::<Pair>(&s), None);
        assert_eq!(publish(&s, &[7u64, 8]), 1);
        assert_eq!(read::<Pair>(&s), Some((1, [7, 8])));
        retire(&s);
        assert_eq!(read::<Pair>(&s), None);
        assert!(
            s[1..].iter().all(|w| w.load(Ordering::Relaxed) == 0),
            "the record is wiped"
        );
        assert_eq!(publish(&s, &[9u64, 9]), 2);
        assert_eq!(live_generation(&s), Some(2));
    }

    #[cfg(not(loom))]
    #[test]
    fn a_generation_never_becomes_zero() {
        let s = slot();
        s[0].store(u64::from(u32::MAX) << 1, Ordering::Relaxed);
        assert_eq!(publish(&s, &[1u64, 1]), 1);
    }

    /// Run with `RUSTFLAGS="--cfg loom" cargo test -p adit-abi --release slots`.
    #[cfg(loom)]
    #[test]
    fn no_reader_ever_sees_half_of_two_records() {
        loom::model(|| {
            let s = loom::sync::Arc::new(slot());
            publish(&s, &[1u64, 1]);
            let writer = {
                let s = s.clone();
                loom::thread::spawn(move || {
                    retire(&s);
                    publish(&s, &[2u64, 2]);
                })
            };
            if let Some((generation, [a, b])) = read::<Pair>(&s) {
                assert_eq!(a, b);
                assert_eq!(u64::from(generation), a);
            }
            writer.join().unwrap();
        });
    }
}
