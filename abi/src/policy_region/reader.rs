//! The reading side of the policy region.

use std::mem::offset_of;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::*;
use crate::forwarding::{NeighbourRecord, PortRecord, RouteRecord, Settings};
use crate::index::SaIndexReader;
use crate::layout::{
    Capacity, LAYOUT_VERSION, LayoutError, MAX_PORTS, POLICY_MAGIC, PolicyLayout, Span,
};
use crate::policy::{PolicyName, PolicyRecord};
use crate::region::{Region, RegionError};
use crate::sa::{SaFlags, SaKey, SaRecord, SaRef};
use crate::selector_set::SelectorSet;
use crate::slots::{self, Record};
use crate::sync::{AtomicU64, Ordering};

/// The reading side of the policy region.
pub struct PolicyReader {
    pub(super) region: Arc<Region>,
    pub(super) capacity: Capacity,
    pub(super) layout: PolicyLayout,
    pub(super) seed: u64,
}

impl PolicyReader {
    /// Maps a region received from control, read-only, and checks its header.
    ///
    /// # Errors
    /// When the kernel refuses, or the content is not a policy region of this layout version.
    pub fn open(fd: OwnedFd) -> Result<Self, RegionError> {
        Self::over(Arc::new(Region::open(fd, false)?))
    }

    pub(super) fn over(region: Arc<Region>) -> Result<Self, RegionError> {
        let word = |n: usize| region.words()[n].load(Ordering::Acquire);
        let capacity = read_capacity(
            POLICY_MAGIC,
            [
                MAGIC,
                VERSION,
                CAP_SAS,
                CAP_POLICIES,
                CAP_ROUTES,
                CAP_NEIGHBOURS,
                CAP_WINDOW,
            ]
            .map(word),
        )?;
        let layout = PolicyLayout::of(&capacity);
        let (found, needed) = (region.words().len() * 8, layout.total * 8);
        if found < needed {
            return Err(LayoutError::Size { found, needed }.into());
        }
        let seed = word(SEED);
        Ok(Self {
            region,
            capacity,
            layout,
            seed,
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

    pub(super) fn span(&self, span: Span) -> &[AtomicU64] {
        &self.region.words()[span.start..span.start + span.words]
    }

    pub(super) fn slot<T: Record>(&self, table: Span, n: u32) -> Option<&[AtomicU64]> {
        self.span(table)
            .get(n as usize * T::SLOT_WORDS..)?
            .get(..T::SLOT_WORDS)
    }

    pub(super) fn word(&self, n: usize) -> u64 {
        self.region.words()[n].load(Ordering::Acquire)
    }

    pub(super) fn high_water(&self, mark: Mark, capacity: u32) -> u32 {
        u32::try_from(self.word(HIGH_WATER + mark as usize))
            .unwrap_or(u32::MAX)
            .min(capacity)
    }

    fn records<T: Record>(&self, table: Span, end: u32) -> impl Iterator<Item = (u32, u32, T)> {
        (0..end).filter_map(move |n| {
            let (generation, record) = slots::read::<T>(self.slot::<T>(table, n)?)?;
            Some((n, generation, record))
        })
    }

    /// Rises when an SA comes or goes.
    #[inline]
    pub fn sad_generation(&self) -> u64 {
        self.word(SAD_GENERATION)
    }

    /// Rises when a policy or a setting comes, goes or changes; policy→SA links do not count.
    #[inline]
    pub fn spd_generation(&self) -> u64 {
        self.word(SPD_GENERATION)
    }

    /// Rises when a port, a route or a neighbour changes.
    #[inline]
    pub fn forwarding_generation(&self) -> u64 {
        self.word(FORWARDING_GENERATION)
    }

    fn index(&self) -> SaIndexReader<'_> {
        SaIndexReader::new(self.span(self.layout.index), self.seed)
    }

    /// The word to prefetch before [`PolicyReader::find_sa`] for this key.
    #[inline]
    pub fn sa_home(&self, key: &SaKey) -> &AtomicU64 {
        self.index().home(key)
    }

    /// Looks an SA up (RFC 4301 §4.1: SPI, protocol and destination).
    #[inline]
    pub fn find_sa(&self, key: &SaKey) -> Option<SaRef> {
        let mut found = None;
        self.index().find(key, |slot| {
            let Some(words) = self.slot::<SaRecord>(self.layout.sas, slot) else {
                return false;
            };
            let Some(generation) = slots::live_generation(words) else {
                return false;
            };
            let head = words[1].load(Ordering::Relaxed).to_ne_bytes();
            let [hi, lo] = key.destination.to_words();
            let same = head[..4] == key.spi.0.to_ne_bytes()
                && head[4] == key.protocol
                && words[2].load(Ordering::Relaxed) == hi
                && words[3].load(Ordering::Relaxed) == lo;
            // Whoever uses the slot checks this generation again when it reads the record or its state.
            if same {
                found = Some(SaRef { slot, generation });
            }
            same
        })?;
        found
    }

    /// The generation of a live SA slot.
    #[inline]
    pub fn sa_generation(&self, slot: u32) -> Option<u32> {
        slots::live_generation(self.slot::<SaRecord>(self.layout.sas, slot)?)
    }

    /// Whether the slot still holds this very SA.
    #[inline]
    pub fn is_live(&self, sa: SaRef) -> bool {
        self.sa_generation(sa.slot) == Some(sa.generation)
    }

    /// Direction and flags of whatever SA lives in a slot: what a scan over the whole table needs, and no keys.
    pub fn sa_summary(&self, slot: u32) -> Option<(SaRef, u8, SaFlags)> {
        let words = self.slot::<SaRecord>(self.layout.sas, slot)?;
        let generation = slots::live_generation(words)?;
        let direction = words[1].load(Ordering::Relaxed).to_ne_bytes()[5];
        let flags = words[1 + offset_of!(SaRecord, flags) / 8]
            .load(Ordering::Relaxed)
            .to_ne_bytes();
        let flags = SaFlags(u32::from_ne_bytes([flags[0], flags[1], flags[2], flags[3]]));
        let sa = SaRef { slot, generation };
        self.is_live(sa).then_some((sa, direction, flags))
    }

    /// Slots of SAs in use so far: live ones lie below this number.
    pub fn sa_high_water(&self) -> u32 {
        self.high_water(Mark::Sas, self.capacity.sas)
    }

    /// Copies an SA out, if the slot still holds this very one. The copy holds keys: wipe it.
    pub fn sa(&self, sa: SaRef) -> Option<SaRecord> {
        let (generation, record) = slots::read(self.slot::<SaRecord>(self.layout.sas, sa.slot)?)?;
        (generation == sa.generation).then_some(record)
    }

    /// Every live SA: slot, generation, record. The copies hold keys: wipe them.
    pub fn sas(&self) -> impl Iterator<Item = (SaRef, SaRecord)> {
        self.records::<SaRecord>(
            self.layout.sas,
            self.high_water(Mark::Sas, self.capacity.sas),
        )
        .map(|(slot, generation, record)| (SaRef { slot, generation }, record))
    }

    /// Every live policy: slot, generation, record; not in the order of priority.
    pub fn policies(&self) -> impl Iterator<Item = (u32, u32, PolicyRecord)> {
        self.records(
            self.layout.policies,
            self.high_water(Mark::Policies, self.capacity.policies),
        )
    }

    /// The set of selectors that a live SA's record names. Look whether the SA is still live afterwards: only
    /// then is it surely its own.
    pub fn selector_set(&self, record: &SaRecord) -> Option<SelectorSet> {
        let n = record.selector_set.checked_sub(1)?;
        slots::read(self.slot::<SelectorSet>(self.layout.selector_sets, n)?).map(|(_, set)| set)
    }

    /// Every set of selectors with its slot.
    pub fn selector_sets(&self) -> impl Iterator<Item = (u32, SelectorSet)> {
        self.records(
            self.layout.selector_sets,
            self.high_water(Mark::SelectorSets, self.capacity.policies),
        )
        .map(|(slot, _, set)| (slot, set))
    }

    /// The name that control gave a policy.
    pub fn policy_name(&self, policy: u32) -> Option<PolicyName> {
        slots::read(self.slot::<PolicyName>(self.layout.names, policy)?).map(|(_, name)| name)
    }

    /// Every route.
    pub fn routes(&self) -> impl Iterator<Item = RouteRecord> {
        self.records(
            self.layout.routes,
            self.high_water(Mark::Routes, self.capacity.routes),
        )
        .map(|(_, _, r)| r)
    }

    /// Every neighbour.
    pub fn neighbours(&self) -> impl Iterator<Item = NeighbourRecord> {
        self.records(
            self.layout.neighbours,
            self.high_water(Mark::Neighbours, self.capacity.neighbours),
        )
        .map(|(_, _, r)| r)
    }

    /// A port by its number.
    pub fn port(&self, n: usize) -> Option<PortRecord> {
        let slot = self.slot::<PortRecord>(self.layout.ports, u32::try_from(n).ok()?)?;
        slots::read(slot).map(|(_, record)| record)
    }

    /// Every port with its number.
    pub fn ports(&self) -> impl Iterator<Item = (usize, PortRecord)> {
        (0..MAX_PORTS).filter_map(|n| Some((n, self.port(n)?)))
    }

    /// The settings in force.
    pub fn settings(&self) -> Settings {
        self.slot::<Settings>(self.layout.settings, 0)
            .and_then(slots::read)
            .map_or_else(Settings::default, |(_, s)| s)
    }
}

/// Reads and checks the capacities of either region's header.
pub(crate) fn read_capacity(magic: u64, words: [u64; 7]) -> Result<Capacity, LayoutError> {
    let [found, version, sas, policies, routes, neighbours, window] = words;
    if found != magic {
        return Err(LayoutError::Magic);
    }
    if version != LAYOUT_VERSION {
        return Err(LayoutError::Version { found: version });
    }
    let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    let capacity = Capacity {
        sas: narrow(sas),
        policies: narrow(policies),
        routes: narrow(routes),
        neighbours: narrow(neighbours),
        window: u16::try_from(window).unwrap_or(u16::MAX),
    };
    capacity.check()?;
    Ok(capacity)
}
