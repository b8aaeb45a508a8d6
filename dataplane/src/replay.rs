//! Anti-replay (RFC 4303 §3.4.3, appendix A), for any number of workers on one SA at once.
//!
//! The window lies in shared memory as a ring of words, one for each block of 32 sequence numbers:
//!
//! ```text
//! word of block n, at place n mod ring length:   n mod 2^32 << 32 | one bit per number received
//! ```
//!
//! Number and bits change together in one compare-and-swap. Under a given top (the highest number
//! verified) each place belongs to exactly one block, so a word that names another block is a leaving
//! of an older one and counts as empty.
//!
//! Two rules make it right for several workers:
//!
//! * `advance` raises the top *before* it writes the word. Whoever sees a word of a newer block therefore
//!   sees a top under which that block is valid, and never takes it for an old one.
//! * `advance` reads the word *before* the top. If another worker takes the place in between, the
//!   compare-and-swap fails and the look at the top is repeated.

use std::sync::atomic::{AtomicU64, Ordering};

use adit_abi::DropReason;

/// Sequence numbers in one word.
const BLOCK: u64 = 32;

/// The window that ESN numbers are inferred with where replays are not checked.
const INFERENCE_WINDOW: u64 = 64;

/// One inbound SA's window: its top and its ring in the state region.
#[derive(Clone, Copy)]
pub struct Window<'a> {
    top: &'a AtomicU64,
    ring: &'a [AtomicU64],
    size: u64,
    esn: bool,
}

impl<'a> Window<'a> {
    /// A window of `size` numbers, 0 to check nothing, over a ring of `size / 32 + 1` words (rounded up).
    pub fn new(top: &'a AtomicU64, ring: &'a [AtomicU64], size: u16, esn: bool) -> Self {
        debug_assert!(size == 0 || ring.len() >= adit_abi::window_words(size));
        Self {
            top,
            ring,
            size: size.into(),
            esn,
        }
    }

    /// The whole sequence number of a packet that shows `low`, if it is worth verifying.
    ///
    /// # Errors
    /// [`DropReason::SequenceZero`], [`DropReason::TooOld`] or [`DropReason::Replayed`].
    #[inline]
    pub fn check(&self, low: u32) -> Result<u64, DropReason> {
        // One look at the top, for the high half and for the window alike.
        let top = self.top.load(Ordering::Acquire);
        let sequence = self.infer(low, top)?;
        if self.size != 0 && sequence <= top {
            if top - sequence >= self.size {
                return Err(DropReason::TooOld);
            }
            let (place, tag, bit) = self.place(sequence)?;
            let word = place.load(Ordering::Acquire);
            if word >> 32 == tag && word & bit != 0 {
                return Err(DropReason::Replayed);
            }
        }
        Ok(sequence)
    }

    /// Marks a verified number as received.
    ///
    /// # Errors
    /// [`DropReason::TooOld`] or [`DropReason::Replayed`] if another packet made it so since the check.
    #[inline]
    pub fn advance(&self, sequence: u64) -> Result<(), DropReason> {
        //= RFC 4303 §3.4.3: the window is updated only if the ICV verification succeeds
        if self.top.load(Ordering::Relaxed) < sequence {
            self.top.fetch_max(sequence, Ordering::AcqRel);
        }
        if self.size == 0 {
            return Ok(());
        }
        let (place, tag, bit) = self.place(sequence)?;
        let mut word = place.load(Ordering::Acquire);
        loop {
            let top = self.top.load(Ordering::Acquire);
            if sequence <= top && top - sequence >= self.size {
                return Err(DropReason::TooOld);
            }
            let bits = if word >> 32 == tag {
                word & u64::from(u32::MAX)
            } else {
                0
            };
            if bits & bit != 0 {
                return Err(DropReason::Replayed);
            }
            let new = tag << 32 | bits | bit;
            match place.compare_exchange_weak(word, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(()),
                Err(seen) => word = seen,
            }
        }
    }

    /// The word of a number's block, the block's tag, and the number's bit.
    #[inline]
    fn place(&self, sequence: u64) -> Result<(&'a AtomicU64, u64, u64), DropReason> {
        let block = sequence / BLOCK;
        let at = block % (self.ring.len().max(1) as u64);
        let place = self.ring.get(at as usize).ok_or(DropReason::BadSa)?;
        Ok((place, block & u64::from(u32::MAX), 1 << (sequence % BLOCK)))
    }

    /// The whole number behind its low half (RFC 4303 appendix A2.2).
    #[inline]
    fn infer(&self, low: u32, top: u64) -> Result<u64, DropReason> {
        let sequence = if self.esn {
            let window = if self.size == 0 {
                INFERENCE_WINDOW
            } else {
                self.size
            };
            let (top_high, top_low) = (top >> 32, top as u32);
            let bottom = top_low.wrapping_sub(window as u32 - 1);
            let high = if u64::from(top_low) >= window - 1 {
                //= RFC 4303 App. A2.2 case A: the window lies in one subspace
                if low >= bottom {
                    Some(top_high)
                } else {
                    (top_high < u64::from(u32::MAX)).then_some(top_high + 1)
                }
            } else if low >= bottom {
                //= RFC 4303 App. A2.2 case B: the window spans two subspaces
                top_high.checked_sub(1)
            } else {
                Some(top_high)
            };
            high.ok_or(DropReason::TooOld)? << 32 | u64::from(low)
        } else {
            u64::from(low)
        };
        //= RFC 4303 §3.3.3: the first packet of an SA has number 1, so 0 is never sent
        if sequence == 0 {
            return Err(DropReason::SequenceZero);
        }
        Ok(sequence)
    }
}

#[cfg(test)]
mod tests;
