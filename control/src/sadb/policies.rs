//! The SPD, and which SA a PROTECT entry seals into.

use adit_abi::{
    Action, Applies, Direction, PolicyName, PolicyReader, SaKey, SaRecord, SaRef, Selector,
    SelectorSet,
};
use zeroize::Zeroizing;

use super::{PolicySpec, SaEntry, Sadb, SadbError, Stage};

/// A policy in the table.
#[derive(Clone, Debug)]
pub struct PolicyEntry {
    /// What was asked for.
    pub spec: PolicySpec,
    /// Its slots, one for each selector, in the same order.
    pub slots: Vec<u32>,
}

/// Whether an SA covers everything that a selector does.
pub(super) fn carries(reader: &PolicyReader, record: &SaRecord, selector: &Selector) -> bool {
    match reader.selector_set(record) {
        Some(set) => set.contains(selector),
        None => record.selector_set == 0 && record.selector.contains(selector),
    }
}

impl Sadb {
    /// Every policy by its name.
    pub fn policies(&self) -> impl Iterator<Item = (&str, &PolicyEntry)> {
        self.policies.iter().map(|(n, p)| (n.as_str(), p))
    }

    /// A policy by its name.
    pub fn policy(&self, name: &str) -> Option<&PolicyEntry> {
        self.policies.get(name)
    }

    /// The name of the policy in a slot.
    pub fn policy_name(&self, slot: u32) -> Option<String> {
        let name = self.reader().policy_name(slot)?;
        Some(name.as_str().to_owned())
    }

    /// The policy that has this slot.
    pub fn policy_in(&self, slot: u32) -> Option<&PolicyEntry> {
        self.policies
            .get(self.reader().policy_name(slot)?.as_str())
            .filter(|p| p.slots.contains(&slot))
    }

    /// Checks a policy against the table without putting it in.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_policy(&self, spec: &PolicySpec) -> Result<(), SadbError> {
        spec.kept_name()?;
        if spec.selectors.is_empty() {
            return Err(SadbError::NoSelector);
        }
        if spec.action == Action::Protect {
            if spec.applies != Applies::Both {
                return Err(SadbError::OneWay(spec.name.clone()));
            }
        } else if !spec.from_packet.is_empty() {
            return Err(SadbError::FromPacket(spec.name.clone()));
        }
        if self.policies.contains_key(&spec.name) {
            return Err(SadbError::NameInUse(spec.name.clone()));
        }
        Ok(())
    }

    /// Puts a policy in. What steers clear packets of it away from the kernel must be in place already.
    ///
    /// # Errors
    /// What is wrong with it, or that there is no room; then nothing of it is in.
    pub fn add_policy(&mut self, spec: PolicySpec) -> Result<(), SadbError> {
        self.check_policy(&spec)?;
        let slots = self.insert_entries(&spec, &spec.kept_name()?)?;
        self.file_policy(spec, slots);
        Ok(())
    }

    /// An SPD entry for each selector, all or none.
    pub(super) fn insert_entries(
        &mut self,
        spec: &PolicySpec,
        name: &PolicyName,
    ) -> Result<Vec<u32>, SadbError> {
        let mut slots = Vec::with_capacity(spec.selectors.len());
        for record in spec.records() {
            match self.writer.insert_policy_as(&record, Some(name)) {
                Ok(slot) => slots.push(slot),
                Err(e) => {
                    for slot in slots {
                        self.writer.remove_policy(slot);
                    }
                    return Err(e.into());
                }
            }
        }
        Ok(slots)
    }

    pub(super) fn file_policy(&mut self, spec: PolicySpec, slots: Vec<u32>) {
        let name = spec.name.clone();
        self.policies.insert(name, PolicyEntry { spec, slots });
    }

    /// Takes a policy away with the SAs that belong to it; returns what it was.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn remove_policy(&mut self, name: &str) -> Result<PolicySpec, SadbError> {
        let entry = self
            .policies
            .remove(name)
            .ok_or_else(|| SadbError::NoPolicy(name.to_owned()))?;
        // The SAs last: without them the entry drops, without the entry another one may decide.
        for slot in &entry.slots {
            self.writer.link(*slot, None);
        }
        let theirs: Vec<_> = entry
            .slots
            .iter()
            .filter_map(|slot| self.by_policy.get(slot))
            .flatten()
            .map(|(_, key)| *key)
            .collect();
        for key in theirs {
            let _ = self.remove_sa(&key);
        }
        for slot in &entry.slots {
            self.writer.remove_policy(*slot);
        }
        Ok(entry.spec)
    }

    /// Makes a PROTECT policy seal into an outbound SA that is in the table, for every selector that it covers.
    ///
    /// # Errors
    /// When one of the two is not there, or they do not fit.
    pub fn link_by_key(&mut self, name: &str, key: &SaKey) -> Result<(), SadbError> {
        let entry = self.sas.get(key).ok_or(SadbError::NoSa(*key))?;
        let record = self.writer.reader().sa(entry.sa).map(Zeroizing::new);
        let record = record
            .filter(|r| r.direction() == Some(Direction::Outbound))
            .ok_or(SadbError::NotOutbound(*key))?;
        let policy = self
            .policies
            .get(name)
            .ok_or_else(|| SadbError::NoPolicy(name.to_owned()))?;
        if policy.spec.action != Action::Protect {
            return Err(SadbError::NotProtect(name.to_owned()));
        }
        let mut covered = false;
        for (selector, slot) in policy.spec.selectors.iter().zip(&policy.slots) {
            if carries(self.writer.reader(), &record, selector) {
                self.writer.link(*slot, Some(entry.sa));
                covered = true;
            }
        }
        // One that covers a part of the policy it belongs to is found without a link.
        let part = record.policy.checked_sub(1);
        if covered || part.is_some_and(|slot| policy.slots.contains(&slot)) {
            Ok(())
        } else {
            Err(SadbError::NotCovered(name.to_owned()))
        }
    }

    /// The slot under which an SA of this policy is filed: one that it covers, or one that covers it.
    pub(super) fn protecting_slot(&self, name: &str, sa: &SelectorSet) -> Result<u32, SadbError> {
        let entry = self
            .policies
            .get(name)
            .ok_or_else(|| SadbError::NoPolicy(name.to_owned()))?;
        if entry.spec.action != Action::Protect {
            return Err(SadbError::NotProtect(name.to_owned()));
        }
        let slots = || entry.spec.selectors.iter().zip(&entry.slots);
        let within = |s: &Selector| sa.pairs().all(|pair| s.contains(&pair));
        slots()
            .find(|(s, _)| sa.contains(s))
            .or_else(|| slots().find(|(s, _)| within(s)))
            .map(|(_, slot)| *slot)
            .or_else(|| entry.slots.first().copied())
            .ok_or_else(|| SadbError::NoPolicy(name.to_owned()))
    }

    /// Makes an outbound SA the one that its policy seals into, for every selector that it covers.
    pub(super) fn link_policy_to(&mut self, sa: SaRef, record: &SaRecord) {
        if record.direction() != Some(Direction::Outbound) {
            return;
        }
        let Some(first) = record.policy.checked_sub(1) else {
            return;
        };
        let Some(entry) = self.policy_in(first) else {
            return;
        };
        let mut whole = false;
        for (selector, slot) in entry.spec.selectors.iter().zip(&entry.slots) {
            if carries(self.writer.reader(), record, selector) {
                self.writer.link(*slot, Some(sa));
                whole = true;
            }
        }
        if !whole {
            self.add_part(sa, record);
        }
    }

    /// Points the policies that sealed into this SA at the newest other one that covers them, or at none.
    pub(super) fn unlink_policy_from(&mut self, gone: &SaEntry) {
        if gone.direction != Direction::Outbound {
            return;
        }
        self.remove_part(gone);
        let Some(entry) = gone.policy.and_then(|first| self.policy_in(first)) else {
            return;
        };
        for (selector, slot) in entry.spec.selectors.iter().zip(&entry.slots) {
            let link = self.writer.reader().policy_link(*slot);
            if link.several || link.sa != Some(gone.sa) {
                continue;
            }
            self.writer
                .link(*slot, self.newest_for(selector, &entry.slots));
        }
        // Where nothing covers all of it any more, those that cover parts have their turn.
        if let Some(name) = gone.policy.and_then(|first| self.policy_name(first)) {
            self.link_parts(&name);
        }
    }

    /// The newest outbound SA in the table, of those filed under these slots, that covers a selector.
    pub(super) fn newest_for(&self, selector: &Selector, slots: &[u32]) -> Option<SaRef> {
        let fits = |e: &&SaEntry| {
            let record = self.writer.reader().sa(e.sa).map(Zeroizing::new);
            e.direction == Direction::Outbound
                && e.stage == Stage::Installed
                && record.is_some_and(|r| carries(self.writer.reader(), &r, selector))
        };
        // Newest first: the search ends at once, however many there are.
        let newest = |slot: &u32| {
            let theirs = self.by_policy.get(slot)?.iter().rev();
            theirs.filter_map(|(_, key)| self.sas.get(key)).find(fits)
        };
        let heir = slots.iter().filter_map(newest).max_by_key(|e| e.unique);
        heir.map(|e| e.sa)
    }
}
