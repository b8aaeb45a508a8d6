//! The policy region: SAD, SPD, forwarding. Written by control alone.

use std::mem::offset_of;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use thiserror::Error;

use crate::forwarding::{NeighbourRecord, PortRecord, RouteRecord, Settings};
use crate::index::{SaIndexReader, SaIndexWriter};
use crate::layout::{
    Capacity, LAYOUT_VERSION, LayoutError, MAX_PORTS, POLICY_MAGIC, PolicyLayout, Span,
};
use crate::policy::{PolicyName, PolicyRecord};
use crate::region::{Region, RegionError};
use crate::sa::{SaFlags, SaKey, SaRecord, SaRef};
use crate::slots::{self, Record};
use crate::sync::{AtomicU64, Ordering};

// Words of the header. 0–7 never change; each of the rest has a line of its own.
const MAGIC: usize = 0;
const VERSION: usize = 1;
const SEED: usize = 2;
const CAP_SAS: usize = 3;
const CAP_POLICIES: usize = 4;
const CAP_ROUTES: usize = 5;
const CAP_NEIGHBOURS: usize = 6;
const CAP_WINDOW: usize = 7;
const SAD_GENERATION: usize = 8;
const SPD_GENERATION: usize = 16;
const FORWARDING_GENERATION: usize = 24;
const HIGH_WATER: usize = 32;

/// Which high-water mark of the header.
#[derive(Clone, Copy)]
enum Mark {
    Sas = 0,
    Policies = 1,
    Routes = 2,
    Neighbours = 3,
}

/// A table has no free place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the table of {table} is full ({capacity} entries); raise `gateway.table.{table}`")]
pub struct TableFull {
    /// `sas`, `policies`, `routes` or `neighbours`.
    pub table: &'static str,
    /// How many it holds.
    pub capacity: u32,
}

/// The reading side of the policy region.
pub struct PolicyReader {
    region: Arc<Region>,
    capacity: Capacity,
    layout: PolicyLayout,
    seed: u64,
}

impl PolicyReader {
    /// Maps a region received from control, read-only, and checks its header.
    ///
    /// # Errors
    /// When the kernel refuses, or the content is not a policy region of this layout version.
    pub fn open(fd: OwnedFd) -> Result<Self, RegionError> {
        Self::over(Arc::new(Region::open(fd, false)?))
    }

    fn over(region: Arc<Region>) -> Result<Self, RegionError> {
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

    fn span(&self, span: Span) -> &[AtomicU64] {
        &self.region.words()[span.start..span.start + span.words]
    }

    fn slot<T: Record>(&self, table: Span, n: u32) -> Option<&[AtomicU64]> {
        self.span(table)
            .get(n as usize * T::SLOT_WORDS..)?
            .get(..T::SLOT_WORDS)
    }

    fn word(&self, n: usize) -> u64 {
        self.region.words()[n].load(Ordering::Acquire)
    }

    fn high_water(&self, mark: Mark, capacity: u32) -> u32 {
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

    /// The SA that a PROTECT policy seals into now.
    #[inline]
    pub fn link(&self, policy: u32) -> Option<SaRef> {
        SaRef::from_word(
            self.span(self.layout.links)
                .get(policy as usize)?
                .load(Ordering::Acquire),
        )
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

/// Places of one table that are free, known to the writer only.
#[derive(Default)]
struct FreeSlots {
    freed: Vec<u32>,
    next: u32,
}

impl FreeSlots {
    fn take(&mut self, capacity: u32) -> Option<u32> {
        if let Some(n) = self.freed.pop() {
            return Some(n);
        }
        (self.next < capacity).then(|| {
            self.next += 1;
            self.next - 1
        })
    }
}

/// The writing side of the policy region; control has the only one.
pub struct PolicyWriter {
    reader: PolicyReader,
    free: [FreeSlots; 4],
}

impl PolicyWriter {
    /// Makes an empty region. `seed` is random: it keys the SA index.
    ///
    /// # Errors
    /// When a capacity is out of bounds or the kernel refuses the memory.
    pub fn create(capacity: &Capacity, seed: u64) -> Result<Self, RegionError> {
        capacity.check()?;
        let layout = PolicyLayout::of(capacity);
        let region = Region::create("adit-policy", layout.total, true)?;
        let values = [
            (VERSION, LAYOUT_VERSION),
            (SEED, seed),
            (CAP_SAS, capacity.sas.into()),
            (CAP_POLICIES, capacity.policies.into()),
            (CAP_ROUTES, capacity.routes.into()),
            (CAP_NEIGHBOURS, capacity.neighbours.into()),
            (CAP_WINDOW, capacity.window.into()),
            (MAGIC, POLICY_MAGIC),
        ];
        for (n, value) in values {
            region.words()[n].store(value, Ordering::Release);
        }
        let reader = PolicyReader::over(Arc::new(region))?;
        Ok(Self {
            reader,
            free: Default::default(),
        })
    }

    /// Takes over what an earlier control wrote: a fresh region with the same content, because the old one
    /// can never be mapped writable again. Slot numbers and generations stay.
    ///
    /// # Errors
    /// When the kernel refuses the memory.
    pub fn copy_of(old: &PolicyReader) -> Result<Self, RegionError> {
        let region = Region::create("adit-policy", old.layout.total, true)?;
        for (to, from) in region.words().iter().zip(old.region.words()) {
            let word = from.load(Ordering::Relaxed);
            if word != 0 {
                to.store(word, Ordering::Relaxed);
            }
        }
        let reader = PolicyReader::over(Arc::new(region))?;
        let mut writer = Self {
            reader,
            free: Default::default(),
        };
        writer.find_free();
        Ok(writer)
    }

    fn find_free(&mut self) {
        fn scan<T: Record>(reader: &PolicyReader, table: Span, end: u32) -> FreeSlots {
            let live = |n| {
                reader
                    .slot::<T>(table, n)
                    .and_then(slots::live_generation)
                    .is_some()
            };
            FreeSlots {
                freed: (0..end).rev().filter(|n| !live(*n)).collect(),
                next: end,
            }
        }
        let (r, c) = (&self.reader, self.reader.capacity);
        self.free = [
            scan::<SaRecord>(r, r.layout.sas, r.high_water(Mark::Sas, c.sas)),
            scan::<PolicyRecord>(
                r,
                r.layout.policies,
                r.high_water(Mark::Policies, c.policies),
            ),
            scan::<RouteRecord>(r, r.layout.routes, r.high_water(Mark::Routes, c.routes)),
            scan::<NeighbourRecord>(
                r,
                r.layout.neighbours,
                r.high_water(Mark::Neighbours, c.neighbours),
            ),
        ];
    }

    /// The same region as a reader sees it.
    pub fn reader(&self) -> &PolicyReader {
        &self.reader
    }

    fn bump(&self, generation: usize) {
        let word = &self.reader.region.words()[generation];
        word.store(word.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    fn take(&mut self, mark: Mark, table: &'static str, capacity: u32) -> Result<u32, TableFull> {
        let n = self.free[mark as usize]
            .take(capacity)
            .ok_or(TableFull { table, capacity })?;
        let word = &self.reader.region.words()[HIGH_WATER + mark as usize];
        if u64::from(n) >= word.load(Ordering::Relaxed) {
            word.store(u64::from(n) + 1, Ordering::Release);
        }
        Ok(n)
    }

    fn give(&mut self, mark: Mark, n: u32) {
        self.free[mark as usize].freed.push(n);
    }

    /// Sets a slot aside for an SA and says which generation it will have, so that the data plane can
    /// prepare its state first.
    ///
    /// # Errors
    /// When the table is full.
    pub fn reserve_sa(&mut self) -> Result<SaRef, TableFull> {
        let slot = self.take(Mark::Sas, "sas", self.reader.capacity.sas)?;
        let generation = self
            .reader
            .slot::<SaRecord>(self.reader.layout.sas, slot)
            .map_or(1, slots::next_generation);
        Ok(SaRef { slot, generation })
    }

    /// Gives a reserved slot back unused. Its generation is not used again: the data plane may have prepared it.
    pub fn cancel_sa(&mut self, sa: SaRef) {
        if let Some(slot) = self
            .reader
            .slot::<SaRecord>(self.reader.layout.sas, sa.slot)
        {
            slots::skip_generation(slot);
        }
        self.give(Mark::Sas, sa.slot);
    }

    /// Makes a reserved SA visible to the data plane. The key must not be in the table.
    ///
    /// # Errors
    /// When the index has no room within reach; the slot is given back.
    pub fn publish_sa(&mut self, sa: SaRef, record: &SaRecord) -> Result<(), TableFull> {
        let full = TableFull {
            table: "sas",
            capacity: self.reader.capacity.sas,
        };
        let slot = self
            .reader
            .slot::<SaRecord>(self.reader.layout.sas, sa.slot)
            .ok_or(full)?;
        slots::publish(slot, record);
        let index =
            SaIndexWriter::new(self.reader.span(self.reader.layout.index), self.reader.seed);
        if !index.insert(&record.key(), sa.slot) {
            slots::retire(slot);
            self.give(Mark::Sas, sa.slot);
            return Err(full);
        }
        self.bump(SAD_GENERATION);
        Ok(())
    }

    /// Takes an SA away and wipes its keys; `false` if the slot holds another one by now.
    pub fn remove_sa(&mut self, sa: SaRef) -> bool {
        let Some(record) = self.reader.sa(sa) else {
            return false;
        };
        let Some(slot) = self
            .reader
            .slot::<SaRecord>(self.reader.layout.sas, sa.slot)
        else {
            return false;
        };
        slots::retire(slot);
        let index =
            SaIndexWriter::new(self.reader.span(self.reader.layout.index), self.reader.seed);
        index.remove(&record.key(), sa.slot);
        self.give(Mark::Sas, sa.slot);
        self.bump(SAD_GENERATION);
        true
    }

    /// Adds a policy without a name, not yet linked to an SA; returns its slot.
    ///
    /// # Errors
    /// When the table is full.
    pub fn insert_policy(&mut self, record: &PolicyRecord) -> Result<u32, TableFull> {
        self.insert_policy_as(record, None)
    }

    /// Adds a policy under a name, not yet linked to an SA; returns its slot.
    ///
    /// # Errors
    /// When the table is full.
    pub fn insert_policy_as(
        &mut self,
        record: &PolicyRecord,
        name: Option<&PolicyName>,
    ) -> Result<u32, TableFull> {
        let n = self.take(Mark::Policies, "policies", self.reader.capacity.policies)?;
        self.link(n, None);
        // Before the policy: whoever finds the policy after a crash finds its name.
        self.set_policy_name(n, name);
        if let Some(slot) = self
            .reader
            .slot::<PolicyRecord>(self.reader.layout.policies, n)
        {
            slots::publish(slot, record);
        }
        self.bump(SPD_GENERATION);
        Ok(n)
    }

    /// Takes a policy away; `false` if there is none in that slot.
    pub fn remove_policy(&mut self, n: u32) -> bool {
        let Some(slot) = self
            .reader
            .slot::<PolicyRecord>(self.reader.layout.policies, n)
        else {
            return false;
        };
        if slots::live_generation(slot).is_none() {
            return false;
        }
        slots::retire(slot);
        self.link(n, None);
        self.set_policy_name(n, None);
        self.give(Mark::Policies, n);
        self.bump(SPD_GENERATION);
        true
    }

    fn set_policy_name(&self, n: u32, name: Option<&PolicyName>) {
        if let Some(slot) = self.reader.slot::<PolicyName>(self.reader.layout.names, n) {
            match name {
                Some(name) => {
                    slots::publish(slot, name);
                }
                None => slots::retire(slot),
            }
        }
    }

    /// Points a PROTECT policy at the SA to seal into, or at none, by one store.
    pub fn link(&self, policy: u32, sa: Option<SaRef>) {
        if let Some(word) = self
            .reader
            .span(self.reader.layout.links)
            .get(policy as usize)
        {
            word.store(SaRef::to_word(sa), Ordering::Release);
        }
    }

    /// Adds a route; returns its slot. Call [`PolicyWriter::forwarding_changed`] after a batch.
    ///
    /// # Errors
    /// When the table is full.
    pub fn insert_route(&mut self, record: &RouteRecord) -> Result<u32, TableFull> {
        let n = self.take(Mark::Routes, "routes", self.reader.capacity.routes)?;
        if let Some(slot) = self
            .reader
            .slot::<RouteRecord>(self.reader.layout.routes, n)
        {
            slots::publish(slot, record);
        }
        Ok(n)
    }

    /// Takes a route away.
    pub fn remove_route(&mut self, n: u32) {
        if let Some(slot) = self
            .reader
            .slot::<RouteRecord>(self.reader.layout.routes, n)
            && slots::live_generation(slot).is_some()
        {
            slots::retire(slot);
            self.give(Mark::Routes, n);
        }
    }

    /// Adds a neighbour; returns its slot. Call [`PolicyWriter::forwarding_changed`] after a batch.
    ///
    /// # Errors
    /// When the table is full.
    pub fn insert_neighbour(&mut self, record: &NeighbourRecord) -> Result<u32, TableFull> {
        let n = self.take(
            Mark::Neighbours,
            "neighbours",
            self.reader.capacity.neighbours,
        )?;
        if let Some(slot) = self
            .reader
            .slot::<NeighbourRecord>(self.reader.layout.neighbours, n)
        {
            slots::publish(slot, record);
        }
        Ok(n)
    }

    /// Takes a neighbour away.
    pub fn remove_neighbour(&mut self, n: u32) {
        if let Some(slot) = self
            .reader
            .slot::<NeighbourRecord>(self.reader.layout.neighbours, n)
            && slots::live_generation(slot).is_some()
        {
            slots::retire(slot);
            self.give(Mark::Neighbours, n);
        }
    }

    /// Takes every route and neighbour away, for a mirror that starts afresh.
    pub fn clear_forwarding(&mut self) {
        for n in 0..self
            .reader
            .high_water(Mark::Routes, self.reader.capacity.routes)
        {
            self.remove_route(n);
        }
        for n in 0..self
            .reader
            .high_water(Mark::Neighbours, self.reader.capacity.neighbours)
        {
            self.remove_neighbour(n);
        }
    }

    /// Writes or replaces port `n`, or takes it away.
    pub fn set_port(&self, n: usize, record: Option<&PortRecord>) {
        let Ok(number) = u32::try_from(n) else { return };
        if let Some(slot) = self
            .reader
            .slot::<PortRecord>(self.reader.layout.ports, number)
        {
            match record {
                Some(r) => {
                    slots::publish(slot, r);
                }
                None => slots::retire(slot),
            }
            self.bump(FORWARDING_GENERATION);
        }
    }

    /// Tells the data plane that ports, routes or neighbours have changed.
    pub fn forwarding_changed(&self) {
        self.bump(FORWARDING_GENERATION);
    }

    /// Writes the settings.
    pub fn set_settings(&self, settings: &Settings) {
        if let Some(slot) = self.reader.slot::<Settings>(self.reader.layout.settings, 0) {
            slots::publish(slot, settings);
            self.bump(SPD_GENERATION);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Address, Prefix, Selector, Spi};
    use zerocopy::FromZeros;

    fn record(spi: u32) -> SaRecord {
        let mut r = SaRecord::new_zeroed();
        r.spi = Spi(spi);
        r.protocol = 50;
        r.direction = 2;
        r.flags = SaFlags::ESN;
        r.destination = Address::v4([192, 0, 2, 1]);
        r.enc_key = [spi as u8; 36];
        r
    }

    fn small() -> Capacity {
        Capacity {
            sas: 64,
            policies: 16,
            routes: 16,
            neighbours: 16,
            window: 64,
        }
    }

    fn open(writer: &PolicyWriter) -> PolicyReader {
        PolicyReader::open(writer.reader().fd().try_clone_to_owned().unwrap()).unwrap()
    }

    fn add(w: &mut PolicyWriter, spi: u32) -> SaRef {
        let sa = w.reserve_sa().unwrap();
        w.publish_sa(sa, &record(spi)).unwrap();
        sa
    }

    #[test]
    fn an_sa_is_found_by_its_whole_key_in_another_mapping() {
        let mut w = PolicyWriter::create(&small(), 9).unwrap();
        let reader = open(&w);
        let sa = add(&mut w, 0x1234);
        let key = SaKey::esp(Spi(0x1234), Address::v4([192, 0, 2, 1]));
        assert_eq!(reader.find_sa(&key), Some(sa));
        assert_eq!(
            reader.find_sa(&SaKey {
                protocol: 51,
                ..key
            }),
            None
        );
        assert_eq!(
            reader.find_sa(&SaKey {
                spi: Spi(0x1235),
                ..key
            }),
            None
        );
        assert_eq!(
            reader.find_sa(&SaKey {
                destination: Address::v4([192, 0, 2, 2]),
                ..key
            }),
            None
        );
        assert_eq!(reader.sa(sa).unwrap().enc_key, [0x34; 36]);
        assert_eq!(reader.sa_summary(sa.slot), Some((sa, 2, SaFlags::ESN)));
        assert!(w.remove_sa(sa));
        assert_eq!(reader.find_sa(&key), None);
        assert!(reader.sa(sa).is_none());
        assert!(!w.remove_sa(sa));
    }

    #[test]
    fn a_reused_slot_has_a_higher_generation() {
        let mut w = PolicyWriter::create(&small(), 9).unwrap();
        let first = add(&mut w, 300);
        w.remove_sa(first);
        let second = add(&mut w, 301);
        assert_eq!(first.slot, second.slot);
        assert!(second.generation > first.generation);
        assert!(w.reader().sa(first).is_none());
    }

    #[test]
    fn a_cancelled_slot_does_not_lend_its_generation_to_another_sa() {
        let mut w = PolicyWriter::create(&small(), 9).unwrap();
        let cancelled = w.reserve_sa().unwrap();
        w.cancel_sa(cancelled);
        let next = add(&mut w, 300);
        assert_eq!(next.slot, cancelled.slot);
        assert!(next.generation > cancelled.generation);
        assert_eq!(w.reader().sa(next).unwrap().spi, Spi(300));
    }

    #[test]
    fn the_table_holds_its_capacity_and_no_more() {
        let mut w = PolicyWriter::create(&small(), 9).unwrap();
        let sas: Vec<_> = (0..64).map(|n| add(&mut w, 1000 + n)).collect();
        assert_eq!(
            w.reserve_sa(),
            Err(TableFull {
                table: "sas",
                capacity: 64
            })
        );
        w.remove_sa(sas[5]);
        add(&mut w, 5000);
        assert_eq!(w.reader().sas().count(), 64);
    }

    #[test]
    fn a_successor_takes_everything_over_with_numbers_and_generations() {
        let mut w = PolicyWriter::create(&small(), 9).unwrap();
        let gone = add(&mut w, 300);
        let kept = add(&mut w, 301);
        w.remove_sa(gone);
        let net = |s: &str| Prefix::new(s.parse().unwrap(), 24).unwrap();
        let policy = PolicyRecord::new(
            Selector::between(net("10.1.0.0"), net("10.2.0.0")),
            5,
            Action::Protect,
        );
        let name = PolicyName::new("site-b/net").unwrap();
        let p = w.insert_policy_as(&policy, Some(&name)).unwrap();
        w.link(p, Some(kept));
        let old = open(&w);
        drop(w);
        let mut w = PolicyWriter::copy_of(&old).unwrap();
        let r = open(&w);
        assert_eq!(r.find_sa(&record(301).key()), Some(kept));
        assert_eq!(r.link(p), Some(kept));
        assert_eq!(r.policy_name(p).unwrap().as_str(), "site-b/net");
        assert_eq!(
            r.policies().map(|(n, _, p)| (n, p)).collect::<Vec<_>>(),
            vec![(p, policy)]
        );
        let again = add(&mut w, 302);
        assert_eq!(again.slot, gone.slot);
        assert!(again.generation > gone.generation);
    }

    #[test]
    fn nobody_maps_a_policy_region_writable_a_second_time() {
        let w = PolicyWriter::create(&small(), 9).unwrap();
        let fd = w.reader().fd().try_clone_to_owned().unwrap();
        assert!(Region::open(fd, true).is_err());
    }

    #[test]
    fn foreign_memory_is_refused_with_its_reason() {
        let r = Region::create("not-adit", 4096, false).unwrap();
        let fd = r.fd().try_clone_to_owned().unwrap();
        let e = PolicyReader::open(fd).err().unwrap();
        assert!(matches!(e, RegionError::Layout(LayoutError::Magic)), "{e}");
        r.words()[MAGIC].store(POLICY_MAGIC, Ordering::Relaxed);
        r.words()[VERSION].store(99, Ordering::Relaxed);
        let e = PolicyReader::open(r.fd().try_clone_to_owned().unwrap())
            .err()
            .unwrap();
        assert!(
            matches!(e, RegionError::Layout(LayoutError::Version { found: 99 })),
            "{e}"
        );
    }

    #[test]
    fn a_region_full_of_garbage_is_read_without_harm() {
        let layout = PolicyLayout::of(&small());
        let r = Region::create("garbage", layout.total, false).unwrap();
        for (n, word) in r.words().iter().enumerate().skip(8) {
            word.store(
                (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
                Ordering::Relaxed,
            );
        }
        let head = [POLICY_MAGIC, LAYOUT_VERSION, 9, 64, 16, 16, 16, 64];
        for (word, value) in r.words().iter().zip(head) {
            word.store(value, Ordering::Relaxed);
        }
        let p = PolicyReader::open(r.fd().try_clone_to_owned().unwrap()).unwrap();
        let _ = (
            p.sas().count(),
            p.policies().count(),
            p.routes().count(),
            p.neighbours().count(),
        );
        let _ = (p.ports().count(), p.settings());
        for spi in 0..2000 {
            let _ = p.find_sa(&SaKey::esp(Spi(spi), Address::UNSPECIFIED));
            let _ = p.link(spi);
        }
    }
}
