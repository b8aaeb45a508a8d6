//! Where packets end: every drop is counted once, under one reason, and its frame goes home.

use adit_abi::{DropReason, WorkerCounter, WorkerCounters};

use crate::frame::{Frame, Stock};
use crate::packet::Refused;

/// A worker's counters and its free frames during one turn.
pub struct Ledger<'a> {
    /// The worker's counters.
    pub counters: WorkerCounters<'a>,
    /// Its free frames.
    pub stock: &'a mut Stock,
}

impl Ledger<'_> {
    /// Ends a packet.
    #[inline]
    pub fn drop(&mut self, frame: Frame, reason: DropReason) {
        self.counters.dropped(reason, 1);
        self.stock.put(frame);
    }

    /// Ends a packet.
    #[inline]
    pub fn refuse(&mut self, refused: Refused) {
        self.drop(refused.frame, refused.reason);
    }

    /// Counts a packet that ends here but whose frame is used further, or was given back before.
    #[inline]
    pub fn count(&mut self, reason: DropReason) {
        self.counters.dropped(reason, 1);
    }

    /// Adds to a counter.
    #[inline]
    pub fn add(&mut self, counter: WorkerCounter, n: u64) {
        self.counters.add(counter, n);
    }
}
