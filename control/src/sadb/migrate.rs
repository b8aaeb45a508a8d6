//! Moving a live SA to other outer addresses or UDP ports, as MOBIKE (RFC 4555) and NAT rebinding ask.
//!
//! A live record is never edited, so the moved SA gets a slot of its own, whose state the data plane is told to
//! share with the first: sequence numbers, window and counters go on. The record that was left stays a while, for
//! packets that are still under way to the old address, and for workers in the midst of a burst.

use adit_abi::message::ToDataplane;
use adit_abi::{Address, Direction, Protocol, SaFlags, SaKey, SaRecord, SaRef};
use zeroize::Zeroizing;

use super::spec::is_unicast;
use super::{Change, Encap, SaEntry, Sadb, SadbError, Stage};

/// How long the record of an outbound SA stays when it has moved: a worker's burst takes far less.
const SETTLING: u64 = 1_000_000_000;

/// Where a live SA moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// The new outer source.
    pub source: Address,
    /// The new outer destination.
    pub destination: Address,
    /// The new UDP ports, or none.
    pub encap: Option<Encap>,
    /// For how many seconds an inbound SA opens what comes for its old key as well.
    pub keep: u64,
}

/// An SA on its way to another slot.
pub(super) struct Move {
    sa: SaRef,
    record: Zeroizing<SaRecord>,
    from: SaKey,
    /// The SA as it was when it was asked to move.
    old: SaRef,
    /// Whose state counts.
    root: SaRef,
    until: u64,
}

/// A record that an SA has left.
pub(super) struct Left {
    sa: SaRef,
    root: Option<SaRef>,
    /// Its key.
    pub(super) key: SaKey,
    /// The key that the SA has now.
    now: SaKey,
}

impl Sadb {
    /// Moves a live SA; returns its new key. `now` is `CLOCK_BOOTTIME` in nanoseconds.
    ///
    /// # Errors
    /// What is wrong with where it is to go, or that there is no room; then nothing has changed.
    pub fn migrate_sa(
        &mut self,
        key: &SaKey,
        to: &Migration,
        now: u64,
    ) -> Result<(SaKey, Stage), SadbError> {
        let entry = *self.sas.get(key).ok_or(SadbError::NoSa(*key))?;
        let moving = self.moves.values().any(|m| m.from == *key);
        if entry.stage == Stage::Preparing || moving {
            return Err(SadbError::UnderWay(*key));
        }
        let record = self.reader().sa(entry.sa).map(Zeroizing::new);
        let mut record = record.ok_or(SadbError::NoSa(*key))?;
        if to.source.is_v4() != to.destination.is_v4()
            || !is_unicast(&to.source)
            || !is_unicast(&to.destination)
        {
            return Err(SadbError::OuterAddresses {
                source_address: to.source,
                destination: to.destination,
            });
        }
        if record.protocol == Protocol::Ah as u8 && to.encap.is_some() {
            return Err(SadbError::Ah("does not go into UDP: leave encap out"));
        }
        record.source = to.source;
        record.destination = to.destination;
        record.flags = SaFlags(record.flags.0 & !SaFlags::UDP_ENCAP.0);
        (record.encap_source, record.encap_destination) = (0, 0);
        if let Some(encap) = to.encap {
            record.flags = record.flags.with(SaFlags::UDP_ENCAP);
            record.encap_source = encap.source;
            record.encap_destination = encap.destination;
        }
        let new = record.key();
        if new != *key && (self.sas.contains_key(&new) || self.left.values().any(|l| l.key == new))
        {
            return Err(SadbError::KeyInUse(new));
        }
        let keep = match entry.direction {
            Direction::Inbound => to.keep.saturating_mul(1_000_000_000).max(SETTLING),
            Direction::Outbound => SETTLING,
        };
        let set = self.reader().selector_set(&record);
        let sa = self.writer.reserve_sa()?;
        record.selector_set = match set.map(|set| self.selector_sets.hold(&mut self.writer, &set)) {
            None => 0,
            Some(Ok(place)) => place + 1,
            Some(Err(e)) => {
                self.writer.cancel_sa(sa);
                return Err(e.into());
            }
        };
        let step = Move {
            sa,
            record,
            from: *key,
            old: entry.sa,
            root: entry.root.unwrap_or(entry.sa),
            until: now.saturating_add(keep),
        };
        if !self.plane_up {
            self.move_over(step)?;
            return Ok((new, Stage::Installed));
        }
        let (token, sa, with) = (self.token(), step.sa, step.root);
        self.outbox
            .push_back(ToDataplane::Share { token, sa, with });
        self.moves.insert(token, step);
        Ok((new, Stage::Preparing))
    }

    /// The state is shared: publishes the SA in its new place, and lets its policies lead there.
    pub(super) fn move_over(&mut self, step: Move) -> Result<(), SadbError> {
        let new = step.record.key();
        if self.sas.get(&step.from).map(|entry| entry.sa) != Some(step.old) {
            // It was taken away in the meantime.
            self.writer.cancel_sa(step.sa);
            self.selector_sets.let_go(&mut self.writer, &step.record);
            self.changes.push_back(Change::Refused(new));
            return Err(SadbError::NoSa(step.from));
        }
        if let Err(e) = self.writer.publish_sa(step.sa, &step.record) {
            self.selector_sets.let_go(&mut self.writer, &step.record);
            self.changes.push_back(Change::Refused(new));
            return Err(e.into());
        }
        let old = self.forget(&step.from).ok_or(SadbError::NoSa(step.from))?;
        let entry = SaEntry {
            sa: step.sa,
            root: Some(step.root),
            source: step.record.source,
            ..old
        };
        self.remember(new, entry);
        *self.shared.entry(step.root.slot).or_default() += 1;
        let slots = self.policies.values().flat_map(|policy| &policy.slots);
        for slot in slots {
            let link = self.writer.reader().policy_link(*slot);
            if link.sa == Some(step.old) && !link.several {
                self.writer.link(*slot, Some(step.sa));
            }
        }
        self.move_part(&old, step.sa, &step.record);
        for left in self.left.values_mut().filter(|l| l.now == step.from) {
            left.now = new;
        }
        let left = Left {
            sa: step.old,
            root: old.root,
            key: step.from,
            now: new,
        };
        self.left.insert((step.until, step.old.slot), left);
        self.changes.push_back(Change::Installed(new));
        Ok(())
    }

    /// Takes records away that SAs have left long enough ago.
    pub(super) fn forget_left(&mut self, now: u64) {
        while let Some(first) = self.left.first_entry().filter(|e| e.key().0 <= now) {
            let left = first.remove();
            self.take_away(left.sa, left.root);
        }
    }

    /// Takes away every record that the SA of a key has left: it goes, and so do its old keys.
    pub(super) fn forget_left_by(&mut self, key: &SaKey) {
        let theirs: Vec<_> = self
            .left
            .iter()
            .filter(|(_, left)| left.now == *key)
            .map(|(at, _)| *at)
            .collect();
        for at in theirs {
            if let Some(left) = self.left.remove(&at) {
                self.take_away(left.sa, left.root);
            }
        }
    }

    /// Takes a record away. Its slot is not given out again while its state still counts for another.
    pub(super) fn take_away(&mut self, sa: SaRef, root: Option<SaRef>) {
        let record = self.reader().sa(sa).map(Zeroizing::new);
        if self.shared.contains_key(&sa.slot) {
            self.writer.retire_sa(sa);
        } else {
            self.writer.remove_sa(sa);
        }
        // After the SA: a reader that finds it live has its own selectors.
        if let Some(record) = record {
            self.selector_sets.let_go(&mut self.writer, &record);
        }
        let Some(root) = root else { return };
        let Some(count) = self.shared.get_mut(&root.slot) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.shared.remove(&root.slot);
            if !self.writer.reader().is_live(root) {
                self.writer.give_sa_back(root.slot);
            }
        }
    }

    /// The SA that a record belongs to which the SA has left.
    pub(super) fn moved_on(&self, sa: SaRef) -> Option<SaKey> {
        let left = self.left.values().find(|left| left.sa == sa)?;
        self.sas.contains_key(&left.now).then_some(left.now)
    }

    /// Finds out from the regions which SAs have moved, and which of their records they have left; returns the others.
    pub(super) fn sort_out_moved(
        &mut self,
        mut sas: Vec<(SaKey, SaEntry)>,
    ) -> Vec<(SaKey, SaEntry)> {
        for (_, entry) in &mut sas {
            let slot = self.state.sa(entry.sa.slot).and_then(|s| s.shares());
            let of_this = |slot: &u32| {
                let prepared = self.state.sa(entry.sa.slot).map(|s| s.generation());
                prepared == Some(entry.sa.generation) && *slot != entry.sa.slot
            };
            entry.root = slot.filter(of_this).and_then(|slot| {
                let generation = self.state.sa(slot)?.generation();
                Some(SaRef { slot, generation })
            });
            if let Some(root) = entry.root {
                *self.shared.entry(root.slot).or_default() += 1;
            }
        }
        for slot in self.shared.keys() {
            self.writer.hold_sa(*slot);
        }
        // Of an SA's records the one with another's state is the newer. What it has left goes at the next occasion.
        let mut kept: Vec<(SaKey, SaEntry)> = Vec::new();
        for (key, entry) in sas {
            let same = |(_, k): &&mut (SaKey, SaEntry)| {
                k.unique == entry.unique && k.root.unwrap_or(k.sa) == entry.root.unwrap_or(entry.sa)
            };
            let Some(other) = kept.iter_mut().find(same) else {
                kept.push((key, entry));
                continue;
            };
            let (new, old) = if other.1.root.is_none() {
                ((key, entry), *other)
            } else {
                (*other, (key, entry))
            };
            *other = new;
            let left = Left {
                sa: old.1.sa,
                root: old.1.root,
                key: old.0,
                now: new.0,
            };
            self.left.insert((0, old.1.sa.slot), left);
        }
        kept
    }
}
