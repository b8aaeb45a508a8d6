//! What the data plane keeps about one SA: sequence number, anti-replay window, counts.

use crate::sync::{AtomicU64, Ordering};

/// Words before the ring of window words.
pub(crate) const SA_STATE_HEAD_WORDS: usize = 15;

/// Words of the ring for a window of this many packets: 32 packets a word, and one word of slack so that
/// the whole window stays valid while the newest word fills.
pub const fn window_words(window: u16) -> usize {
    (window as usize).div_ceil(32) + 1
}

/// Things that happen once in an SA's life and must not be reported twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum SaStateFlag {
    /// The soft lifetime was reported.
    SoftReported = 1,
    /// The hard lifetime was reported.
    HardReported = 2,
    /// The first packet was reported.
    FirstPacketReported = 4,
    /// The end of the sequence numbers was reported.
    SequenceReported = 8,
}

/// A path MTU that somebody on the way told, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnedMtu {
    /// Bytes of an outer IP packet.
    pub bytes: u16,
    /// `CLOCK_BOOTTIME`, milliseconds.
    pub at: u64,
}

impl LearnedMtu {
    /// One word for shared memory.
    pub const fn to_word(self) -> u64 {
        self.at << 16 | self.bytes as u64
    }

    /// The inverse of [`LearnedMtu::to_word`]; `None` where nothing was learned.
    pub const fn from_word(word: u64) -> Option<Self> {
        match word as u16 {
            0 => None,
            bytes => Some(Self {
                bytes,
                at: word >> 16,
            }),
        }
    }

    /// Whether it still counts at `now` (`CLOCK_BOOTTIME` nanoseconds), if it does so for `seconds`.
    pub const fn holds(self, now: u64, seconds: u32) -> bool {
        now / 1_000_000 < self.at + seconds as u64 * 1000
    }
}

/// One SA's state in the state region. All counters are native-endian words, added to by any worker.
#[derive(Clone, Copy)]
pub struct SaState<'a> {
    words: &'a [AtomicU64],
}

impl<'a> SaState<'a> {
    /// A view over the state's words; `None` if there are too few for any window.
    pub fn new(words: &'a [AtomicU64]) -> Option<Self> {
        (words.len() > SA_STATE_HEAD_WORDS + 1).then_some(Self { words })
    }

    fn word(&self, n: usize) -> &'a AtomicU64 {
        &self.words[n]
    }

    /// Which generation of the slot this state was prepared for; anything else is not ready.
    #[inline]
    pub fn generation(&self) -> u32 {
        self.word(0).load(Ordering::Acquire) as u32
    }

    /// The slot whose state counts for this one's SA: an SA that has moved goes on with its old state.
    #[inline]
    pub fn shares(&self) -> Option<u32> {
        ((self.word(0).load(Ordering::Acquire) >> 32) as u32).checked_sub(1)
    }

    /// Outbound: the last number used. Inbound: the highest one verified.
    pub fn sequence(&self) -> &'a AtomicU64 {
        self.word(1)
    }

    /// Packets sealed or opened.
    pub fn packets(&self) -> &'a AtomicU64 {
        self.word(2)
    }

    /// Bytes of inner packets sealed or opened.
    pub fn bytes(&self) -> &'a AtomicU64 {
        self.word(3)
    }

    /// First use, `CLOCK_BOOTTIME` nanoseconds, 0 for never.
    pub fn first_used(&self) -> &'a AtomicU64 {
        self.word(4)
    }

    /// Last use, `CLOCK_BOOTTIME` nanoseconds, 0 for never.
    pub fn last_used(&self) -> &'a AtomicU64 {
        self.word(5)
    }

    /// Packets that were replays or older than the window (RFC 4303 §3.4.3).
    pub fn replays(&self) -> &'a AtomicU64 {
        self.word(7)
    }

    /// Packets whose ICV was wrong.
    pub fn icv_failures(&self) -> &'a AtomicU64 {
        self.word(8)
    }

    /// Opened packets outside the SA's selectors.
    pub fn selector_mismatches(&self) -> &'a AtomicU64 {
        self.word(9)
    }

    /// Packets with a malformed trailer or inner header.
    pub fn malformed(&self) -> &'a AtomicU64 {
        self.word(10)
    }

    /// The path MTU that too-big messages have brought about, for [`LearnedMtu::from_word`].
    pub fn learned_mtu(&self) -> &'a AtomicU64 {
        self.word(11)
    }

    /// Dummy packets sent or received (RFC 4303 §2.6).
    pub fn dummies(&self) -> &'a AtomicU64 {
        self.word(12)
    }

    /// The ring of window words, see [`window_words`].
    pub fn ring(&self, window: u16) -> &'a [AtomicU64] {
        let end = (SA_STATE_HEAD_WORDS + window_words(window)).min(self.words.len());
        &self.words[SA_STATE_HEAD_WORDS..end]
    }

    /// Sets a flag; `true` for the one caller that set it first.
    pub fn raise(&self, flag: SaStateFlag) -> bool {
        self.word(6).fetch_or(flag as u64, Ordering::Relaxed) & flag as u64 == 0
    }

    /// Whether a flag is set.
    pub fn raised(&self, flag: SaStateFlag) -> bool {
        self.word(6).load(Ordering::Relaxed) & flag as u64 != 0
    }

    /// Makes the state ready for no generation: no worker begins to use it any more.
    pub fn retire(&self) {
        self.word(0).store(0, Ordering::Release);
    }

    /// Makes the state in `slot` count for a generation of this one's slot; as with [`SaState::prepare`],
    /// only the steward may call this.
    pub fn share(&self, generation: u32, slot: u32) {
        let word = (u64::from(slot) + 1) << 32 | u64::from(generation);
        self.word(0).store(word, Ordering::Release);
    }

    /// Makes the state ready for a generation of its slot, outbound numbers following `last_sequence`.
    ///
    /// Only the data plane's steward may call this, before control publishes the SA, and after every worker
    /// that might be using the retired state has ended its turn.
    pub fn prepare(&self, generation: u32, last_sequence: u64) {
        self.word(0).store(0, Ordering::Release);
        for word in &self.words[1..] {
            word.store(0, Ordering::Relaxed);
        }
        // A ring word is `block number << 32 | bits`: block 0 is where an empty ring starts.
        self.sequence().store(last_sequence, Ordering::Relaxed);
        self.word(0).store(generation.into(), Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_prepared_state_forgets_its_last_life() {
        let words: Vec<_> = (0..48).map(|_| AtomicU64::new(u64::MAX)).collect();
        let s = SaState::new(&words).unwrap();
        s.prepare(3, 41);
        assert_eq!(s.generation(), 3);
        assert_eq!(s.sequence().load(Ordering::Relaxed), 41);
        assert!(s.ring(1024).iter().all(|w| w.load(Ordering::Relaxed) == 0));
        assert_eq!(s.ring(1024).len(), 33);
        assert!(s.raise(SaStateFlag::SoftReported));
        assert!(!s.raise(SaStateFlag::SoftReported));
    }
}
