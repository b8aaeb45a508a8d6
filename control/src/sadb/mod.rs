//! The SAD and the SPD: the only writer of the policy region.
//!
//! An SA goes in by two steps. A slot is set aside and the data plane is asked to prepare the SA's state
//! there ([`Sadb::poll_message`]); when it says that it has ([`Sadb::handle_prepared`]), the SA is published
//! and its policy is linked to it. With no data plane there is nobody to repeat a sequence number: the SA is
//! published at once, and prepared when a data plane comes ([`Sadb::handle_plane_up`]).
//!
//! Names live in maps here and, for policies, in the region; [`Sadb::adopt`] finds them again after a restart.

mod acquires;
mod adopt;
mod migrate;
#[cfg(test)]
mod migrate_tests;
mod packet_rules;
mod pairs;
mod parts;
mod policies;
mod reload;
#[cfg(test)]
mod reload_tests;
mod spec;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use adit_abi::message::{MAX_PREPARE, Prepare, ToDataplane};
use adit_abi::{
    Address, Capacity, Direction, PolicyReader, PolicyWriter, RegionError, SaKey, SaRecord, SaRef,
    SelectorSet, StateRegion,
};
use zeroize::Zeroizing;

pub use acquires::{Acquire, Answer};
pub use migrate::Migration;
use migrate::{Left, Move};
pub use packet_rules::{Cut, FlowLabel, PacketRules, parse_tfc_padding};
use pairs::{Pairs, Single};
use parts::{Parts, SelectorSets};
pub use policies::PolicyEntry;
pub use reload::Reload;
pub use spec::{DontFragment, Encap, Lifetime, Origin, PolicySpec, SaSpec, SadbError};
pub use view::{SaCounts, SaView};

/// Where an SA is on its way into the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The data plane prepares its state.
    Preparing,
    /// It is in the table.
    Installed,
}

/// What is known of an SA beside its record.
#[derive(Clone, Copy, Debug)]
struct SaEntry {
    sa: SaRef,
    stage: Stage,
    direction: Direction,
    unique: u32,
    /// The last sequence number that counts as used, until its state is prepared.
    last_sequence: u64,
    /// Hard lifetime, `CLOCK_BOOTTIME` nanoseconds, 0 for none.
    expires: u64,
    /// The first of its policy's slots.
    policy: Option<u32>,
    /// Outer source.
    source: Address,
    /// The place whose state counts, if the SA has moved from there.
    root: Option<SaRef>,
}

impl SaEntry {
    fn new(sa: SaRef, stage: Stage, record: &SaRecord, last_sequence: u64) -> Self {
        Self {
            sa,
            stage,
            direction: record.direction().unwrap_or(Direction::Inbound),
            unique: spec::unique_of(record),
            last_sequence,
            expires: record.hard.expires,
            policy: record.policy.checked_sub(1),
            source: record.source,
            root: None,
        }
    }

    /// As far as pairing goes, for one that belongs to a policy.
    fn single(&self, key: SaKey) -> Option<Single> {
        Some(Single {
            key,
            unique: self.unique,
            direction: self.direction,
            source: self.source,
            policy: self.policy?,
        })
    }
}

/// An SA that waits for the data plane.
struct Pending {
    sa: SaRef,
    record: Zeroizing<SaRecord>,
}

/// Something that happened to the table by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// An SA is in the table now.
    Installed(SaKey),
    /// An SA reached its hard lifetime and is gone.
    Expired(SaKey),
    /// An SA could not be put in after all.
    Refused(SaKey),
}

/// The databases.
pub struct Sadb {
    writer: PolicyWriter,
    state: StateRegion,
    policies: BTreeMap<String, PolicyEntry>,
    sas: HashMap<SaKey, SaEntry>,
    by_slot: HashMap<u32, SaKey>,
    /// SAs by the first slot of their policy, the oldest first.
    by_policy: HashMap<u32, BTreeSet<(u32, SaKey)>>,
    pairs: Pairs,
    parts: Parts,
    selector_sets: SelectorSets,
    /// Outer destinations of outbound SAs, and of how many.
    far_ends: BTreeMap<Address, u32>,
    pending: HashMap<u64, Pending>,
    /// SAs on their way to another place, by token.
    moves: HashMap<u64, Move>,
    /// Records that SAs have left, by when they go.
    left: BTreeMap<(u64, u32), Left>,
    /// Slots whose state counts for SAs elsewhere, and for how many.
    shared: HashMap<u32, u32>,
    expiries: BTreeSet<(u64, SaKey)>,
    outbox: VecDeque<ToDataplane>,
    changes: VecDeque<Change>,
    plane_up: bool,
    next_token: u64,
    next_unique: u32,
}

impl Sadb {
    /// Makes empty regions. `seed` is random: it keys the SA index.
    ///
    /// # Errors
    /// When a capacity is out of bounds or the kernel refuses the memory.
    pub fn create(capacity: &Capacity, seed: u64) -> Result<Self, RegionError> {
        let writer = PolicyWriter::create(capacity, seed)?;
        let state = StateRegion::open(StateRegion::create(capacity)?, false)?;
        Ok(Self::over(writer, state))
    }

    fn over(writer: PolicyWriter, state: StateRegion) -> Self {
        Self {
            writer,
            state,
            policies: BTreeMap::new(),
            sas: HashMap::new(),
            by_slot: HashMap::new(),
            by_policy: HashMap::new(),
            pairs: Pairs::default(),
            parts: Parts::default(),
            selector_sets: SelectorSets::default(),
            far_ends: BTreeMap::new(),
            pending: HashMap::new(),
            moves: HashMap::new(),
            left: BTreeMap::new(),
            shared: HashMap::new(),
            expiries: BTreeSet::new(),
            outbox: VecDeque::new(),
            changes: VecDeque::new(),
            plane_up: false,
            next_token: 1,
            next_unique: 1,
        }
    }

    /// The policy region as a reader sees it.
    pub fn reader(&self) -> &PolicyReader {
        self.writer.reader()
    }

    /// The state region, mapped for reading.
    pub fn state(&self) -> &StateRegion {
        &self.state
    }

    /// The writer, for the mirror of routes and neighbours.
    pub fn forwarding(&mut self) -> &mut PolicyWriter {
        &mut self.writer
    }

    /// Sizes of the tables.
    pub fn capacity(&self) -> &Capacity {
        self.writer.reader().capacity()
    }

    /// How many SAs there are, those that are being prepared included.
    pub fn sa_count(&self) -> usize {
        self.sas.len()
    }

    /// A message for the data plane, if there is one.
    pub fn poll_message(&mut self) -> Option<ToDataplane> {
        self.outbox.pop_front()
    }

    /// Something that happened to the table by itself, if there is anything.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// Puts an SA in. `now` is `CLOCK_BOOTTIME` in nanoseconds.
    ///
    /// # Errors
    /// What is wrong with it, or that there is no room.
    pub fn add_sa(&mut self, spec: &SaSpec, now: u64) -> Result<Stage, SadbError> {
        spec.check(self.capacity().window)?;
        let policy = match &spec.policy {
            Some(name) => Some(self.protecting_slot(name, &spec.selectors)?),
            None => None,
        };
        let unique = self.next_unique;
        let record = spec.record(now, policy, unique);
        let several = spec.selectors.single().is_none();
        let stage = self.put(
            record,
            several.then_some(spec.selectors),
            spec.last_sequence,
        )?;
        self.next_unique = spec::unique_after(unique);
        Ok(stage)
    }

    /// Puts a record in, with its selectors if it has several.
    fn put(
        &mut self,
        mut record: Zeroizing<SaRecord>,
        selectors: Option<SelectorSet>,
        last_sequence: u64,
    ) -> Result<Stage, SadbError> {
        let key = record.key();
        if self.sas.contains_key(&key) || self.left.values().any(|left| left.key == key) {
            return Err(SadbError::KeyInUse(key));
        }
        record.selector_set = 0;
        if let Some(set) = selectors {
            record.selector_set = self.selector_sets.hold(&mut self.writer, &set)? + 1;
        }
        let sa = match self.writer.reserve_sa() {
            Ok(sa) => sa,
            Err(e) => {
                self.selector_sets.let_go(&mut self.writer, &record);
                return Err(e.into());
            }
        };
        let entry = SaEntry::new(sa, Stage::Preparing, &record, last_sequence);
        self.remember(key, entry);
        let pending = Pending { sa, record };
        if !self.plane_up {
            self.publish(&pending)?;
            return Ok(Stage::Installed);
        }
        let token = self.token();
        self.outbox.push_back(ToDataplane::Prepare {
            token,
            sas: vec![Prepare { sa, last_sequence }],
        });
        self.pending.insert(token, pending);
        Ok(Stage::Preparing)
    }

    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    fn publish(&mut self, pending: &Pending) -> Result<(), SadbError> {
        let key = pending.record.key();
        if let Err(e) = self.writer.publish_sa(pending.sa, &pending.record) {
            // The writer gave the slot back.
            self.forget(&key);
            self.selector_sets.let_go(&mut self.writer, &pending.record);
            self.changes.push_back(Change::Refused(key));
            return Err(e.into());
        }
        if let Some(entry) = self.sas.get_mut(&key) {
            entry.stage = Stage::Installed;
        }
        self.link_policy_to(pending.sa, &pending.record);
        self.changes.push_back(Change::Installed(key));
        Ok(())
    }

    fn remember(&mut self, key: SaKey, entry: SaEntry) {
        self.sas.insert(key, entry);
        self.by_slot.insert(entry.sa.slot, key);
        if entry.expires != 0 {
            self.expiries.insert((entry.expires, key));
        }
        if let Some(single) = entry.single(key) {
            self.pairs.insert(&single);
        }
        if let Some(policy) = entry.policy {
            let theirs = self.by_policy.entry(policy).or_default();
            theirs.insert((entry.unique, key));
        }
        if entry.direction == Direction::Outbound {
            *self.far_ends.entry(key.destination).or_default() += 1;
        }
    }

    fn forget(&mut self, key: &SaKey) -> Option<SaEntry> {
        let entry = self.sas.remove(key)?;
        self.by_slot.remove(&entry.sa.slot);
        self.expiries.remove(&(entry.expires, *key));
        if let Some(single) = entry.single(*key) {
            self.pairs.remove(&single);
        }
        if let Some(policy) = entry.policy
            && let Some(theirs) = self.by_policy.get_mut(&policy)
        {
            theirs.remove(&(entry.unique, *key));
            if theirs.is_empty() {
                self.by_policy.remove(&policy);
            }
        }
        if entry.direction == Direction::Outbound
            && let Some(n) = self.far_ends.get_mut(&key.destination)
        {
            *n -= 1;
            if *n == 0 {
                self.far_ends.remove(&key.destination);
            }
        }
        Some(entry)
    }

    /// The data plane has prepared what the token stands for. A token that nobody waits for is fine.
    pub fn handle_prepared(&mut self, token: u64) {
        if let Some(pending) = self.pending.remove(&token) {
            // A refusal is among the changes.
            let _ = self.publish(&pending);
        }
        if let Some(step) = self.moves.remove(&token) {
            let _ = self.move_over(step);
        }
    }

    /// A data plane has mapped the regions: SAs whose state is not theirs are to be prepared.
    pub fn handle_plane_up(&mut self) {
        self.plane_up = true;
        let (mut stale, mut moved) = (Vec::new(), Vec::new());
        for entry in self.sas.values() {
            let is_ready = |sa: SaRef| {
                let prepared = self.state.sa(sa.slot).map(|s| s.generation());
                prepared == Some(sa.generation)
            };
            if entry.stage != Stage::Installed || is_ready(entry.sa) {
                continue;
            }
            let own = entry.root.unwrap_or(entry.sa);
            if !is_ready(own) {
                stale.push(Prepare {
                    sa: own,
                    last_sequence: entry.last_sequence,
                });
            }
            if entry.root.is_some() {
                moved.push((entry.sa, own));
            }
        }
        for sas in stale.chunks(MAX_PREPARE) {
            let (token, sas) = (self.token(), sas.to_vec());
            self.outbox.push_back(ToDataplane::Prepare { token, sas });
        }
        for (sa, with) in moved {
            let token = self.token();
            self.outbox
                .push_back(ToDataplane::Share { token, sa, with });
        }
    }

    /// The data plane is gone: what waited for it is published now, and prepared by the next one.
    pub fn handle_plane_down(&mut self) {
        self.plane_up = false;
        self.outbox.clear();
        let mut waiting: Vec<_> = self.pending.drain().collect();
        waiting.sort_unstable_by_key(|(token, _)| *token);
        let mut moves: Vec<_> = self.moves.drain().collect();
        moves.sort_unstable_by_key(|(token, _)| *token);
        for (_, step) in moves {
            let _ = self.move_over(step);
        }
        for (_, pending) in waiting {
            let _ = self.publish(&pending);
        }
    }

    /// Takes an SA away and wipes its keys.
    ///
    /// # Errors
    /// When there is none with this key.
    pub fn remove_sa(&mut self, key: &SaKey) -> Result<(), SadbError> {
        let entry = self.forget(key).ok_or(SadbError::NoSa(*key))?;
        match entry.stage {
            Stage::Preparing => {
                let gone: Vec<_> = self.pending.extract_if(|_, p| p.sa == entry.sa).collect();
                self.writer.cancel_sa(entry.sa);
                for (_, pending) in gone {
                    self.selector_sets.let_go(&mut self.writer, &pending.record);
                }
            }
            Stage::Installed => {
                self.unlink_policy_from(&entry);
                self.forget_left_by(key);
                self.take_away(entry.sa, entry.root);
            }
        }
        Ok(())
    }

    /// Takes away what is past its hard lifetime in seconds.
    pub fn expire(&mut self, now: u64) {
        self.forget_left(now);
        while let Some((at, key)) = self.expiries.first().copied() {
            if at > now {
                break;
            }
            self.expiries.pop_first();
            if self.remove_sa(&key).is_ok() {
                self.changes.push_back(Change::Expired(key));
            }
        }
    }

    /// When the next hard lifetime ends or a record that was left goes, `CLOCK_BOOTTIME` nanoseconds.
    pub fn next_expiry(&self) -> Option<u64> {
        let expiry = self.expiries.first().map(|(at, _)| *at);
        let left = self.left.first_key_value().map(|((at, _), _)| *at);
        expiry.into_iter().chain(left).min()
    }

    /// The data plane says that an SA is past its hard lifetime in packets or bytes.
    pub fn handle_hard_expired(&mut self, sa: SaRef) {
        if let Some(key) = self.key_of(sa)
            && self.remove_sa(&key).is_ok()
        {
            self.changes.push_back(Change::Expired(key));
        }
    }

    /// The key of the SA that a slot holds in this generation.
    pub fn key_of(&self, sa: SaRef) -> Option<SaKey> {
        let holds = |key: &&SaKey| self.sas.get(*key).is_some_and(|entry| entry.sa == sa);
        let key = self.by_slot.get(&sa.slot).filter(holds);
        key.copied().or_else(|| self.moved_on(sa))
    }
}
