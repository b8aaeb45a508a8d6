//! What every stage of one turn is lent.

use adit_abi::{DropReason, PolicyReader, StateRegion, WorkerCounter};

use crate::events::Events;
use crate::icmp::{IcmpErrors, Problem};
use crate::ledger::Ledger;
use crate::packet::Packet;
use crate::snapshot::Snapshot;

/// One turn of a worker.
pub struct Turn<'a> {
    /// `CLOCK_BOOTTIME` in nanoseconds, read once.
    pub now: u64,
    /// The policy region, for SAs and links.
    pub policy: &'a PolicyReader,
    /// The state region.
    pub state: &'a StateRegion,
    /// The compiled tables.
    pub snapshot: &'a Snapshot,
    /// Counters and free frames.
    pub ledger: Ledger<'a>,
    /// The way to tell control something.
    pub events: Events<'a>,
    /// ICMP errors to send.
    pub icmp: &'a mut IcmpErrors,
    /// Policy counters not yet written.
    pub tally: PolicyTally,
}

impl Turn<'_> {
    /// Ends a packet under `reason` and tells its sender where that is allowed; see
    /// [`IcmpErrors::report`].
    #[cold]
    pub fn report(
        &mut self,
        packet: Packet,
        reason: DropReason,
        problem: Problem,
        through_sa: bool,
    ) {
        match self
            .icmp
            .report(packet, problem, through_sa, self.snapshot, self.now)
        {
            Ok(()) => {
                self.ledger.count(reason);
                self.ledger.add(WorkerCounter::IcmpSent, 1);
            }
            Err(packet) => self.ledger.drop(packet.frame, reason),
        }
    }

    /// Counts a packet for the policy that decided about it.
    #[inline]
    pub fn count_policy(&mut self, slot: u32, inbound: bool, bytes: usize) {
        self.tally.add(self.state, slot, inbound, bytes);
    }
}

/// Counts of one policy, gathered over packets in a row so that shared counters are touched once for all.
#[derive(Debug, Default)]
pub struct PolicyTally {
    slot: u32,
    inbound: bool,
    packets: u64,
    bytes: u64,
}

impl PolicyTally {
    #[inline]
    fn add(&mut self, state: &StateRegion, slot: u32, inbound: bool, bytes: usize) {
        if (slot, inbound) != (self.slot, self.inbound) {
            self.write(state);
            (self.slot, self.inbound) = (slot, inbound);
        }
        self.packets += 1;
        self.bytes += bytes as u64;
    }

    /// Writes what was gathered. [`crate::spd::NO_POLICY`] has no counters.
    pub fn write(&mut self, state: &StateRegion) {
        if self.packets > 0 {
            state.count_policy(self.slot, self.inbound, self.packets, self.bytes);
        }
        (self.packets, self.bytes) = (0, 0);
    }
}
