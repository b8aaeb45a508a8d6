//! Random numbers come from the caller: the operating system's in production, a seeded sequence in tests.

use std::time::Duration;

/// A source of random octets.
pub trait Random: Send {
    /// Fills `bytes` with random octets fit for keys, nonces and SPIs.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// A random number of 32 bits.
pub(crate) fn number(random: &mut dyn Random) -> u32 {
    let mut bytes = [0; 4];
    random.fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}

/// A random number of 64 bits.
pub(crate) fn long_number(random: &mut dyn Random) -> u64 {
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// A random share of `most`, itself included.
pub(crate) fn fraction(most: Duration, random: &mut dyn Random) -> Duration {
    let millis = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    match millis.checked_add(1) {
        Some(span) if span > 1 => Duration::from_millis(long_number(random) % span),
        _ => Duration::ZERO,
    }
}

/// A sequence of octets that follows from its seed: for tests only, and predictable.
#[derive(Clone, Debug)]
pub struct Sequence(u64);

impl Sequence {
    /// The sequence of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (SplitMix64).
    pub fn next_number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Random for Sequence {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let number = self.next_number().to_le_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
    }
}
