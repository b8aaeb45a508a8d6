//! The state region: what the data plane counts and remembers. Written by the data plane alone; control maps
//! it read-only. It outlives its writer, so a restarted data plane goes on where the last one stopped.

use std::os::fd::{BorrowedFd, OwnedFd};

use crate::counters::WorkerCounters;
use crate::event::EventRing;
use crate::layout::{
    Capacity, EVENT_RING_WORDS, LAYOUT_VERSION, LayoutError, MAX_WORKERS, POLICY_COUNTER_WORDS,
    STATE_MAGIC, StateLayout, WORKER_WORDS,
};
use crate::policy_region::read_capacity;
use crate::region::{Region, RegionError};
use crate::sa::SaRef;
use crate::sa_state::SaState;
use crate::sync::{AtomicU64, Ordering};

// Words of the header.
const MAGIC: usize = 0;
const VERSION: usize = 1;
const CAPACITY: usize = 2;
const WORKERS: usize = 8;

/// The state region, mapped.
pub struct StateRegion {
    region: Region,
    capacity: Capacity,
    layout: StateLayout,
}

impl StateRegion {
    /// Makes an empty region and returns its file; map it with [`StateRegion::open`].
    ///
    /// # Errors
    /// When a capacity is out of bounds or the kernel refuses the memory.
    pub fn create(capacity: &Capacity) -> Result<OwnedFd, RegionError> {
        capacity.check()?;
        let layout = StateLayout::of(capacity);
        let region = Region::create("adit-state", layout.total, false)?;
        let values = [
            STATE_MAGIC,
            LAYOUT_VERSION,
            capacity.sas.into(),
            capacity.policies.into(),
            capacity.routes.into(),
            capacity.neighbours.into(),
            capacity.window.into(),
        ];
        for (word, value) in region.words().iter().zip(values) {
            word.store(value, Ordering::Release);
        }
        region
            .fd()
            .try_clone_to_owned()
            .map_err(|e| RegionError::System {
                call: "dup",
                errno: rustix::io::Errno::from_io_error(&e).unwrap_or(rustix::io::Errno::IO),
            })
    }

    /// Maps a state region and checks its header. Only the data plane maps it writable; on a read-only
    /// mapping every method that counts, prepares or pushes would kill the process.
    ///
    /// # Errors
    /// When the kernel refuses, or the content is not a state region of this layout version.
    pub fn open(fd: OwnedFd, writable: bool) -> Result<Self, RegionError> {
        let region = Region::open(fd, writable)?;
        let word = |n: usize| region.words()[n].load(Ordering::Acquire);
        let head: [u64; 7] = std::array::from_fn(|n| match n {
            0 => word(MAGIC),
            1 => word(VERSION),
            n => word(CAPACITY + n - 2),
        });
        let capacity = read_capacity(STATE_MAGIC, head)?;
        let layout = StateLayout::of(&capacity);
        let (found, needed) = (region.words().len() * 8, layout.total * 8);
        if found < needed {
            return Err(LayoutError::Size { found, needed }.into());
        }
        Ok(Self {
            region,
            capacity,
            layout,
        })
    }

    /// The file behind the region.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.region.fd()
    }

    /// How much the tables hold.
    pub fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    fn block(&self, start: usize, n: usize, words: usize) -> &[AtomicU64] {
        &self.region.words()[start + n * words..start + (n + 1) * words]
    }

    /// How many workers the data plane runs, as it last said.
    pub fn workers(&self) -> usize {
        (self.region.words()[WORKERS].load(Ordering::Acquire) as usize).min(MAX_WORKERS)
    }

    /// The data plane says how many workers it runs.
    pub fn set_workers(&self, n: usize) {
        self.region.words()[WORKERS].store(n as u64, Ordering::Release);
    }

    /// Counters of worker `n`; past [`MAX_WORKERS`] those of the last.
    pub fn worker(&self, n: usize) -> WorkerCounters<'_> {
        WorkerCounters::new(self.block(
            self.layout.workers.start,
            n.min(MAX_WORKERS - 1),
            WORKER_WORDS,
        ))
    }

    /// Event ring of worker `n`; past [`MAX_WORKERS`] that of the last.
    pub fn events(&self, n: usize) -> EventRing<'_> {
        EventRing::new(self.block(
            self.layout.events.start,
            n.min(MAX_WORKERS - 1),
            EVENT_RING_WORDS,
        ))
    }

    /// State of the SA in a slot, `None` past the table.
    #[inline]
    pub fn sa(&self, slot: u32) -> Option<SaState<'_>> {
        if slot >= self.capacity.sas {
            return None;
        }
        let words = self.capacity.sa_state_words();
        SaState::new(self.block(self.layout.sas.start, slot as usize, words))
    }

    /// State of this very SA, its old one if it has moved; `None` until it was prepared.
    #[inline]
    pub fn state_of(&self, sa: SaRef) -> Option<SaState<'_>> {
        let own = self
            .sa(sa.slot)
            .filter(|state| state.generation() == sa.generation)?;
        match own.shares() {
            None => Some(own),
            Some(slot) => self.sa(slot),
        }
    }

    fn policy(&self, slot: u32) -> Option<&[AtomicU64]> {
        (slot < self.capacity.policies).then(|| {
            self.block(
                self.layout.policies.start,
                slot as usize,
                POLICY_COUNTER_WORDS,
            )
        })
    }

    /// Adds to a policy's counters.
    #[inline]
    pub fn count_policy(&self, slot: u32, inbound: bool, packets: u64, bytes: u64) {
        if let Some(words) = self.policy(slot) {
            let at = if inbound { 2 } else { 0 };
            words[at].fetch_add(packets, Ordering::Relaxed);
            words[at + 1].fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// A policy's packets and bytes, outbound then inbound.
    pub fn policy_counts(&self, slot: u32) -> [u64; 4] {
        let mut out = [0; 4];
        for (value, word) in out.iter_mut().zip(self.policy(slot).unwrap_or_default()) {
            *value = word.load(Ordering::Relaxed);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DropReason, Event, EventReader, PortCounter, WorkerCounter};

    #[test]
    fn what_the_data_plane_counts_control_reads_through_its_own_mapping() {
        let capacity = Capacity {
            sas: 8,
            policies: 4,
            routes: 4,
            neighbours: 4,
            window: 64,
        };
        let fd = StateRegion::create(&capacity).unwrap();
        let plane = StateRegion::open(fd.try_clone().unwrap(), true).unwrap();
        let control = StateRegion::open(fd, false).unwrap();
        plane.worker(1).dropped(DropReason::Replayed, 3);
        plane.worker(1).add(WorkerCounter::Sealed, 2);
        plane.worker(1).add_port(15, PortCounter::SentBytes, 9);
        plane.worker(1).add_port(16, PortCounter::SentBytes, 9);
        assert_eq!(control.worker(1).drops(DropReason::Replayed), 3);
        assert_eq!(control.worker(1).value(WorkerCounter::Sealed), 2);
        assert_eq!(control.worker(1).port_value(15, PortCounter::SentBytes), 9);
        assert_eq!(control.worker(0).drops(DropReason::Replayed), 0);
        plane.sa(7).unwrap().prepare(5, 0);
        assert_eq!(control.sa(7).unwrap().generation(), 5);
        assert!(control.sa(8).is_none());
        plane.sa(6).unwrap().share(2, 7);
        plane.sa(7).unwrap().packets().store(9, Ordering::Relaxed);
        let moved = |generation| {
            let sa = SaRef {
                slot: 6,
                generation,
            };
            Some(control.state_of(sa)?.packets().load(Ordering::Relaxed))
        };
        assert_eq!((moved(2), moved(3)), (Some(9), None));
        plane.count_policy(3, true, 1, 100);
        plane.count_policy(4, true, 1, 100);
        assert_eq!(control.policy_counts(3), [0, 0, 1, 100]);
        let event = Event::FirstPacket(SaRef {
            slot: 7,
            generation: 5,
        });
        plane.events(2).push(1, event);
        assert_eq!(
            EventReader::default().next(&control.events(2)),
            Some((1, event, 0))
        );
    }
}
