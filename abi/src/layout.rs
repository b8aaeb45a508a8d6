//! Where everything lies in the two regions, computed from the capacities alone.
//!
//! The header of a region names its capacities; both processes compute every offset from them with the
//! functions here, so no offset is ever believed because it stands in shared memory.

use thiserror::Error;

use crate::forwarding::{NeighbourRecord, PortRecord, RouteRecord, Settings};
use crate::policy::{PolicyName, PolicyRecord};
use crate::sa::SaRecord;
use crate::sa_state::{SA_STATE_HEAD_WORDS, window_words};
use crate::selector_set::SelectorSet;
use crate::slots::Record;

/// Raised whenever the meaning of a byte in either region changes.
pub const LAYOUT_VERSION: u64 = 6;

/// Ports that a gateway can have, the TUN port included.
pub const MAX_PORTS: usize = 16;

/// Workers that a data plane can have.
pub const MAX_WORKERS: usize = 64;

/// First word of the policy region: `aditPOL1`, as bytes.
pub(crate) const POLICY_MAGIC: u64 = u64::from_ne_bytes(*b"aditPOL1");
/// First word of the state region: `aditSTA1`, as bytes.
pub(crate) const STATE_MAGIC: u64 = u64::from_ne_bytes(*b"aditSTA1");

/// Words of either region's header (one page).
pub(crate) const HEADER_WORDS: usize = 512;
/// Words of one worker's counters (2 KiB).
pub(crate) const WORKER_WORDS: usize = 256;
/// Events that one worker's ring holds.
pub(crate) const EVENTS: usize = 256;
/// Words of one event (a cache line).
pub(crate) const EVENT_WORDS: usize = 8;
/// Words of one worker's event ring: a line for its head, then the events.
pub(crate) const EVENT_RING_WORDS: usize = EVENT_WORDS + EVENTS * EVENT_WORDS;
/// Words of one policy's counters: packets and bytes, outbound then inbound.
pub(crate) const POLICY_COUNTER_WORDS: usize = 4;
/// Entries of one bucket of the SA index: one cache line.
pub(crate) const BUCKET: usize = 8;

/// How much the tables hold; chosen when a region is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// SAs of both directions.
    pub sas: u32,
    /// SPD entries.
    pub policies: u32,
    /// Routes.
    pub routes: u32,
    /// Neighbours.
    pub neighbours: u32,
    /// The largest anti-replay window in packets that an SA may have, 64–8192.
    pub window: u16,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            sas: 16_384,
            policies: 4_096,
            routes: 16_384,
            neighbours: 4_096,
            window: 1_024,
        }
    }
}

/// Why a region cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// Not one of our regions.
    #[error("the memory does not begin with adit's mark")]
    Magic,
    /// Made by another version.
    #[error("the region has layout version {found}, this program needs {LAYOUT_VERSION}")]
    Version {
        /// The version found.
        found: u64,
    },
    /// A capacity is out of its bounds.
    #[error("the capacity `{field}` is {value}, allowed is {allowed}")]
    Capacity {
        /// Which one.
        field: &'static str,
        /// What it is.
        value: u64,
        /// Its bounds in words.
        allowed: &'static str,
    },
    /// The memory is smaller than the tables that its header names.
    #[error("the region has {found} bytes, its tables need {needed}")]
    Size {
        /// Bytes found.
        found: usize,
        /// Bytes needed.
        needed: usize,
    },
}

impl Capacity {
    /// Checks every capacity against its bounds.
    ///
    /// # Errors
    /// Names the first capacity that is out of bounds.
    pub fn check(&self) -> Result<(), LayoutError> {
        let bound = |field, value: u32, max: u32, allowed| {
            if value == 0 || value > max {
                Err(LayoutError::Capacity {
                    field,
                    value: value.into(),
                    allowed,
                })
            } else {
                Ok(())
            }
        };
        bound("sas", self.sas, 1 << 24, "1 to 16777216")?;
        bound("policies", self.policies, 1 << 22, "1 to 4194304")?;
        bound("routes", self.routes, 1 << 24, "1 to 16777216")?;
        bound("neighbours", self.neighbours, 1 << 20, "1 to 1048576")?;
        if !(64..=8192).contains(&self.window) {
            return Err(LayoutError::Capacity {
                field: "window",
                value: self.window.into(),
                allowed: "64 to 8192",
            });
        }
        Ok(())
    }

    /// Buckets of the SA index: a power of two, at most half full at capacity.
    pub(crate) fn buckets(&self) -> usize {
        (self.sas as usize * 2).div_ceil(BUCKET).next_power_of_two()
    }

    /// Words of one SA's state, whole cache lines.
    pub(crate) fn sa_state_words(&self) -> usize {
        (SA_STATE_HEAD_WORDS + window_words(self.window)).next_multiple_of(8)
    }

    /// Places of the table that finds an SA by the fields its policy takes from packets: a power of two.
    pub(crate) fn flow_places(&self) -> usize {
        (self.sas as usize).next_power_of_two()
    }

    /// Bytes that one SA takes in both regions together, its share of index and links included.
    pub fn bytes_per_sa(&self) -> f64 {
        let fixed = (SaRecord::SLOT_WORDS + self.sa_state_words()) * 8;
        let index = (self.buckets() * BUCKET + self.flow_places() + self.sas as usize) * 8;
        fixed as f64 + index as f64 / f64::from(self.sas)
    }
}

/// A run of words in a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub start: usize,
    pub words: usize,
}

/// Lays spans out one behind the other, each on a cache line.
struct Cursor(usize);

impl Cursor {
    fn take(&mut self, words: usize) -> Span {
        let span = Span {
            start: self.0,
            words,
        };
        self.0 = (self.0 + words).next_multiple_of(8);
        span
    }
}

/// Places of the policy region's tables, in words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PolicyLayout {
    pub settings: Span,
    pub ports: Span,
    pub index: Span,
    pub sas: Span,
    pub policies: Span,
    pub links: Span,
    pub next: Span,
    pub flows: Span,
    pub selector_sets: Span,
    pub names: Span,
    pub routes: Span,
    pub neighbours: Span,
    pub total: usize,
}

impl PolicyLayout {
    pub fn of(c: &Capacity) -> Self {
        let mut at = Cursor(HEADER_WORDS);
        Self {
            settings: at.take(Settings::SLOT_WORDS),
            ports: at.take(MAX_PORTS * PortRecord::SLOT_WORDS),
            index: at.take(c.buckets() * BUCKET),
            sas: at.take(c.sas as usize * SaRecord::SLOT_WORDS),
            policies: at.take(c.policies as usize * PolicyRecord::SLOT_WORDS),
            links: at.take(c.policies as usize),
            next: at.take(c.sas as usize),
            flows: at.take(c.flow_places()),
            selector_sets: at.take(c.policies as usize * SelectorSet::SLOT_WORDS),
            names: at.take(c.policies as usize * PolicyName::SLOT_WORDS),
            routes: at.take(c.routes as usize * RouteRecord::SLOT_WORDS),
            neighbours: at.take(c.neighbours as usize * NeighbourRecord::SLOT_WORDS),
            total: at.0,
        }
    }
}

/// Places of the state region's tables, in words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateLayout {
    pub workers: Span,
    pub events: Span,
    pub policies: Span,
    pub sas: Span,
    pub total: usize,
}

impl StateLayout {
    pub fn of(c: &Capacity) -> Self {
        let mut at = Cursor(HEADER_WORDS);
        Self {
            workers: at.take(MAX_WORKERS * WORKER_WORDS),
            events: at.take(MAX_WORKERS * EVENT_RING_WORDS),
            policies: at.take(c.policies as usize * POLICY_COUNTER_WORDS),
            sas: at.take(c.sas as usize * c.sa_state_words()),
            total: at.0,
        }
    }
}

// The layout itself, asserted: a change here is a new LAYOUT_VERSION.
const _: () = assert!(SaRecord::SLOT_WORDS == 40);
const _: () = assert!(PolicyRecord::SLOT_WORDS == 16);
const _: () = assert!(PolicyName::SLOT_WORDS == 8);
const _: () = assert!(SelectorSet::SLOT_WORDS == 82);
const _: () = assert!(RouteRecord::SLOT_WORDS == 8);
const _: () = assert!(PortRecord::SLOT_WORDS == 8);
const _: () = assert!(NeighbourRecord::SLOT_WORDS == 4);
const _: () = assert!(Settings::SLOT_WORDS == 16);
const _: () = assert!(HEADER_WORDS.is_multiple_of(8) && WORKER_WORDS.is_multiple_of(8));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_sas_fit_their_budget() {
        let at = |window| {
            Capacity {
                sas: 1_000_000,
                window,
                ..Default::default()
            }
            .bytes_per_sa()
        };
        assert!(at(1024) <= 768.0, "{}", at(1024));
        assert!(at(64) < at(1024) && at(1024) < at(8192));
    }

    #[test]
    fn capacities_out_of_bounds_are_named() {
        let c = Capacity {
            window: 63,
            ..Default::default()
        };
        assert!(matches!(
            c.check(),
            Err(LayoutError::Capacity {
                field: "window",
                value: 63,
                ..
            })
        ));
        let c = Capacity {
            sas: 0,
            ..Default::default()
        };
        assert!(matches!(
            c.check(),
            Err(LayoutError::Capacity { field: "sas", .. })
        ));
        assert_eq!(Capacity::default().check(), Ok(()));
    }

    #[test]
    fn every_sa_slot_and_state_starts_on_a_cache_line() {
        let c = Capacity::default();
        assert_eq!(PolicyLayout::of(&c).sas.start % 8, 0);
        assert_eq!(StateLayout::of(&c).sas.start % 8, 0);
        assert_eq!(SaRecord::SLOT_WORDS % 8, 0);
        assert_eq!(c.sa_state_words() % 8, 0);
    }
}
