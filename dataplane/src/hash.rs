//! A quick hash for tables whose keys only control chooses, and for caches with a secret seed.

use std::hash::{BuildHasherDefault, Hasher, RandomState};

/// A map over addresses and such; not for keys that outsiders can insert.
pub type QuickMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<Fold>>;

/// Multiplies and folds word by word.
#[derive(Clone, Copy, Default)]
pub struct Fold(u64);

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..piece.len()].copy_from_slice(piece);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.0 = fold(self.0 ^ word, 0x9e37_79b9_7f4a_7c15);
    }

    #[inline]
    fn write_u128(&mut self, n: u128) {
        self.write_u64((n >> 64) as u64);
        self.write_u64(n as u64);
    }

    #[inline]
    fn write_u8(&mut self, n: u8) {
        self.write_u64(n.into());
    }

    #[inline]
    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }
}

/// Mixes two words into one.
#[inline]
pub fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    (wide as u64) ^ (wide >> 64) as u64
}

/// A seed that nobody outside can know.
pub fn secret_seed() -> u64 {
    use std::hash::BuildHasher;
    RandomState::new().hash_one(0u8) | 1
}
