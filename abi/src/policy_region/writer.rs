//! The writing side of the policy region: free places, publishing, generations.

use std::sync::Arc;

use thiserror::Error;

use super::*;
use crate::forwarding::{NeighbourRecord, PortRecord, RouteRecord, Settings};
use crate::index::SaIndexWriter;
use crate::layout::{Capacity, LAYOUT_VERSION, POLICY_MAGIC, PolicyLayout, Span};
use crate::policy::{PolicyName, PolicyRecord};
use crate::region::{Region, RegionError};
use crate::sa::{SaRecord, SaRef};
use crate::selector_set::SelectorSet;
use crate::slots::{self, Record};
use crate::sync::Ordering;

/// A table has no free place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the table of {table} is full ({capacity} entries); raise `gateway.table.{table}`")]
pub struct TableFull {
    /// `sas`, `policies` (selector sets have as many places), `routes` or `neighbours`.
    pub table: &'static str,
    /// How many it holds.
    pub capacity: u32,
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
    free: [FreeSlots; 5],
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
            scan::<SelectorSet>(
                r,
                r.layout.selector_sets,
                r.high_water(Mark::SelectorSets, c.policies),
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

    /// Makes a reserved SA visible to the data plane. The key is in the table at most where the SA has moved and the
    /// record that it left is there a while yet: either leads to the same state.
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
        let removed = self.retire_sa(sa);
        if removed {
            self.give(Mark::Sas, sa.slot);
        }
        removed
    }

    /// Gives a slot back that [`PolicyWriter::retire_sa`] or [`PolicyWriter::hold_sa`] kept.
    pub fn give_sa_back(&mut self, slot: u32) {
        self.give(Mark::Sas, slot);
    }

    /// Keeps a free slot from being given out: its state counts for an SA elsewhere.
    pub fn hold_sa(&mut self, slot: u32) {
        self.free[Mark::Sas as usize].freed.retain(|n| *n != slot);
    }

    /// Takes an SA away and wipes its keys, but keeps its slot: its state counts for an SA elsewhere. `false` if the
    /// slot holds another one by now.
    pub fn retire_sa(&mut self, sa: SaRef) -> bool {
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
        let unlinked = PolicyLink {
            sa: None,
            several: false,
            from_packet: record.from_packet(),
        };
        self.insert_policy_linked(record, name, unlinked)
    }

    /// Adds a policy whose link is in place before anybody can see it; returns its slot.
    ///
    /// # Errors
    /// When the table is full.
    pub fn insert_policy_linked(
        &mut self,
        record: &PolicyRecord,
        name: Option<&PolicyName>,
        link: PolicyLink,
    ) -> Result<u32, TableFull> {
        let n = self.take(Mark::Policies, "policies", self.reader.capacity.policies)?;
        self.set_link(n, link);
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

    /// Writes another record into a policy's slot; name and link stay. There is a moment in which the slot reads as
    /// empty, for which another policy must decide. `false` if there is none in that slot.
    pub fn replace_policy(&mut self, n: u32, record: &PolicyRecord) -> bool {
        let Some(slot) = self
            .reader
            .slot::<PolicyRecord>(self.reader.layout.policies, n)
        else {
            return false;
        };
        if slots::live_generation(slot).is_none() {
            return false;
        }
        slots::publish(slot, record);
        self.bump(SPD_GENERATION);
        true
    }

    /// Takes a policy away; `false` if there is none in that slot.
    pub fn remove_policy(&mut self, n: u32) -> bool {
        let removed = self.withdraw_policy(n);
        if removed {
            self.set_link(n, PolicyLink::default());
        }
        removed
    }

    /// Takes a policy away whose link stays, until the slot is used again, for readers that have not noticed yet.
    pub fn withdraw_policy(&mut self, n: u32) -> bool {
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

    /// Puts a set of selectors in, for SAs to name in their record; returns its slot.
    ///
    /// # Errors
    /// When the table is full.
    pub fn insert_selectors(&mut self, set: &SelectorSet) -> Result<u32, TableFull> {
        let n = self.take(
            Mark::SelectorSets,
            "policies",
            self.reader.capacity.policies,
        )?;
        if let Some(slot) = self
            .reader
            .slot::<SelectorSet>(self.reader.layout.selector_sets, n)
        {
            slots::publish(slot, set);
        }
        Ok(n)
    }

    /// Takes a set of selectors away. Every SA that names it must be gone: a reader that finds its SA live after
    /// it read the set has the right one.
    pub fn remove_selectors(&mut self, n: u32) {
        if let Some(slot) = self
            .reader
            .slot::<SelectorSet>(self.reader.layout.selector_sets, n)
            && slots::live_generation(slot).is_some()
        {
            slots::retire(slot);
            self.give(Mark::SelectorSets, n);
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
