//! The SAD's index: from (SPI, protocol, destination) to a slot, in one cache line in the common case.
//!
//! A fixed open-addressing table of 64-byte buckets. An entry is one word: `tag << 32 | slot + 2`; 0 was
//! never used, 1 is a tombstone. It changes by one store, so a reader sees the old entry or the new one.
//! A search goes from bucket to bucket until one has a word that was never used.

use crate::layout::BUCKET;
use crate::sa::SaKey;
use crate::sync::{AtomicU64, Ordering};

const EMPTY: u64 = 0;
const TOMBSTONE: u64 = 1;
/// Buckets a search may visit; the writer refuses an entry that would lie further.
const MAX_PROBES: usize = 64;

/// Hashes a key with the region's own random seed: first the bucket bits, then the tag.
fn hash(seed: u64, key: &SaKey) -> u64 {
    let fold = |a: u64, b: u64| {
        let wide = u128::from(a) * u128::from(b);
        (wide as u64) ^ (wide >> 64) as u64
    };
    let [hi, lo] = key.destination.to_words();
    let head = u64::from(key.spi.0) << 8 | u64::from(key.protocol);
    let a = fold(head ^ seed, 0x9e37_79b9_7f4a_7c15 ^ lo);
    fold(a ^ 0xe703_7ed1_a0b4_28db, hi ^ seed.rotate_left(32) | 1) ^ a.rotate_left(17)
}

fn tag(hash: u64) -> u64 {
    hash & 0xffff_ffff_0000_0000
}

fn entry_slot(entry: u64) -> Option<u32> {
    (entry as u32).checked_sub(2)
}

/// The reading side.
#[derive(Clone, Copy)]
pub struct SaIndexReader<'a> {
    words: &'a [AtomicU64],
    seed: u64,
}

impl<'a> SaIndexReader<'a> {
    /// An index over `words`, whose number is a power of two and at least one bucket.
    pub fn new(words: &'a [AtomicU64], seed: u64) -> Self {
        debug_assert!(words.len().is_power_of_two() && words.len() >= BUCKET);
        Self { words, seed }
    }

    fn buckets(&self) -> usize {
        self.words.len() / BUCKET
    }

    fn bucket(&self, n: usize) -> &'a [AtomicU64] {
        let at = (n & (self.buckets() - 1)) * BUCKET;
        &self.words[at..at + BUCKET]
    }

    /// Fetches the key's bucket into the cache ahead of [`SaIndexReader::find`].
    #[inline]
    pub fn home(&self, key: &SaKey) -> &'a AtomicU64 {
        let h = hash(self.seed, key);
        &self.bucket(h as usize)[0]
    }

    /// The slot whose entry matches and for which `is_it` says yes. Bounded whatever the memory holds.
    #[inline]
    pub fn find(&self, key: &SaKey, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let h = hash(self.seed, key);
        for probe in 0..MAX_PROBES.min(self.buckets()) {
            let bucket = self.bucket((h as usize).wrapping_add(probe));
            let mut end = false;
            for word in bucket {
                let entry = word.load(Ordering::Acquire);
                if entry == EMPTY {
                    end = true;
                } else if tag(entry) == tag(h)
                    && let Some(slot) = entry_slot(entry)
                    && is_it(slot)
                {
                    return Some(slot);
                }
            }
            if end {
                return None;
            }
        }
        None
    }
}

/// The writing side; there is one.
pub struct SaIndexWriter<'a> {
    reader: SaIndexReader<'a>,
}

impl<'a> SaIndexWriter<'a> {
    /// A writer over the same words.
    pub fn new(words: &'a [AtomicU64], seed: u64) -> Self {
        Self {
            reader: SaIndexReader::new(words, seed),
        }
    }

    /// Enters a slot under a key; `false` if there is no room within reach. The key must not be in the table.
    pub fn insert(&self, key: &SaKey, slot: u32) -> bool {
        let h = hash(self.reader.seed, key);
        for probe in 0..MAX_PROBES.min(self.reader.buckets()) {
            let bucket = self.reader.bucket((h as usize).wrapping_add(probe));
            for word in bucket {
                if word.load(Ordering::Relaxed) <= TOMBSTONE {
                    word.store(tag(h) | (u64::from(slot) + 2), Ordering::Release);
                    return true;
                }
            }
        }
        false
    }

    /// Takes a slot's entry away. The word becomes never-used again where no search can have passed over it.
    pub fn remove(&self, key: &SaKey, slot: u32) -> bool {
        let h = hash(self.reader.seed, key);
        let wanted = tag(h) | (u64::from(slot) + 2);
        for probe in 0..MAX_PROBES.min(self.reader.buckets()) {
            let bucket = self.reader.bucket((h as usize).wrapping_add(probe));
            let has_empty = bucket.iter().any(|w| w.load(Ordering::Relaxed) == EMPTY);
            for word in bucket {
                if word.load(Ordering::Relaxed) == wanted {
                    word.store(if has_empty { EMPTY } else { TOMBSTONE }, Ordering::Release);
                    return true;
                }
            }
            if has_empty {
                return false;
            }
        }
        false
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::sa::Spi;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn words(buckets: usize) -> Vec<AtomicU64> {
        (0..buckets * BUCKET).map(|_| AtomicU64::new(0)).collect()
    }

    fn key(n: u32) -> SaKey {
        SaKey::esp(Spi(n), Address::v4([192, 0, 2, 1]))
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(ops in proptest::collection::vec((any::<bool>(), 0u32..40), 0..400)) {
            // Small enough that buckets overflow: 8 buckets, up to 40 keys.
            let w = words(8);
            let writer = SaIndexWriter::new(&w, 42);
            let reader = SaIndexReader::new(&w, 42);
            let mut model: HashMap<u32, u32> = HashMap::new();
            for (add, n) in ops {
                if add && !model.contains_key(&n) {
                    prop_assert!(writer.insert(&key(n), n + 100));
                    model.insert(n, n + 100);
                } else if !add {
                    prop_assert_eq!(writer.remove(&key(n), n + 100), model.remove(&n).is_some());
                }
                for m in 0..40 {
                    prop_assert_eq!(reader.find(&key(m), |slot| slot == m + 100), model.get(&m).copied());
                }
            }
        }

        #[test]
        fn garbage_never_traps_a_reader(fill in proptest::collection::vec(any::<u64>(), 64)) {
            let w: Vec<_> = fill.into_iter().map(AtomicU64::new).collect();
            let reader = SaIndexReader::new(&w, 1);
            for n in 0..32 {
                let _ = reader.find(&key(n), |_| false);
            }
        }
    }

    #[test]
    fn a_full_table_refuses_and_loses_nothing() {
        let w = words(2);
        let writer = SaIndexWriter::new(&w, 7);
        let reader = SaIndexReader::new(&w, 7);
        for n in 0..16 {
            assert!(writer.insert(&key(n), n));
        }
        assert!(!writer.insert(&key(99), 99));
        for n in 0..16 {
            assert_eq!(reader.find(&key(n), |slot| slot == n), Some(n));
        }
    }
}
