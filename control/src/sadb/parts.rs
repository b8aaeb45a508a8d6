//! SAs that cover a part of their policy: chained for the data plane to choose from, or found by the fields that
//! the policy takes from packets (RFC 4301 §4.4.1.2). And the sets of selectors that SAs have in common.

use std::collections::HashMap;

use adit_abi::{
    Direction, PolicyLink, PolicyReader, PolicyWriter, SaRecord, SaRef, SelectorSet, TableFull,
};
use zeroize::Zeroizing;

use super::{SaEntry, Sadb};

/// SAs of one policy that cover parts and are not told apart by packets' fields, at most: the oldest falls out.
const MOST: usize = 64;

/// Where an SA that covers a part is filed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Filed {
    /// Under its policy's name.
    Policy(String),
    /// At a flow place.
    Place(u32),
}

/// SAs that cover parts, the newest first.
#[derive(Default)]
pub(super) struct Parts {
    filed: HashMap<SaRef, Filed>,
    by_policy: HashMap<String, Vec<SaRef>>,
    by_place: HashMap<u32, Vec<SaRef>>,
}

impl Sadb {
    /// Files an outbound SA that covers no selector of its policy whole.
    pub(super) fn add_part(&mut self, sa: SaRef, record: &SaRecord) {
        let Some((filed, _)) = self.part(record) else {
            return;
        };
        match &filed {
            Filed::Place(place) => {
                let sas = self.parts.by_place.entry(*place).or_default();
                sas.insert(0, sa);
                self.writer.set_flow_place(*place, sas);
            }
            Filed::Policy(name) => {
                let sas = self.parts.by_policy.entry(name.clone()).or_default();
                sas.insert(0, sa);
                if let Some(oldest) = sas.get(MOST).copied() {
                    sas.truncate(MOST);
                    self.parts.filed.remove(&oldest);
                }
                let name = name.clone();
                self.link_parts(&name);
            }
        }
        self.parts.filed.insert(sa, filed);
    }

    /// Where an SA belongs, and whether its policy has none that covers all.
    fn part(&self, record: &SaRecord) -> Option<(Filed, u32)> {
        let slot = record.policy.checked_sub(1)?;
        let entry = self.policy_in(slot)?;
        let flags = entry.spec.from_packet;
        let key = (record.selector_set == 0 && !flags.is_empty())
            .then(|| flags.key_of(&record.selector))
            .flatten();
        let filed = match key {
            Some(key) => Filed::Place(self.reader().flow_place(slot, &key)),
            None => Filed::Policy(entry.spec.name.clone()),
        };
        Some((filed, slot))
    }

    /// Points the slots of a policy that no SA covers whole at the chain of those that cover parts.
    pub(super) fn link_parts(&mut self, name: &str) {
        let Some(entry) = self.policies.get(name) else {
            return;
        };
        let none = Vec::new();
        let sas = self.parts.by_policy.get(name).unwrap_or(&none);
        self.writer.chain(sas);
        for slot in &entry.slots {
            let link = self.reader().policy_link(*slot);
            if link.sa.is_none() || link.several {
                let link = PolicyLink {
                    sa: sas.first().copied(),
                    several: !sas.is_empty(),
                    ..link
                };
                self.writer.set_link(*slot, link);
            }
        }
    }

    /// Puts an SA that has moved in the place of the one that it was, if that covers a part.
    pub(super) fn move_part(&mut self, old: &SaEntry, sa: SaRef, record: &SaRecord) {
        if self.parts.filed.contains_key(&old.sa) {
            self.add_part(sa, record);
            self.remove_part(old);
        }
    }

    /// Takes an SA out of its chain before it goes.
    pub(super) fn remove_part(&mut self, gone: &SaEntry) {
        match self.parts.filed.remove(&gone.sa) {
            None => {}
            Some(Filed::Place(place)) => {
                let Some(sas) = self.parts.by_place.get_mut(&place) else {
                    return;
                };
                sas.retain(|sa| *sa != gone.sa);
                self.writer.set_flow_place(place, sas);
                if sas.is_empty() {
                    self.parts.by_place.remove(&place);
                }
            }
            Some(Filed::Policy(name)) => {
                if let Some(sas) = self.parts.by_policy.get_mut(&name) {
                    sas.retain(|sa| *sa != gone.sa);
                    if sas.is_empty() {
                        self.parts.by_policy.remove(&name);
                    }
                }
                self.link_parts(&name);
            }
        }
    }

    /// Files the SAs of a policy anew whose selectors or flags have changed.
    pub(super) fn file_parts_again(&mut self, name: &str) {
        let slots = self.policies.get(name).map(|p| p.slots.clone());
        let theirs: Vec<_> = slots
            .iter()
            .flatten()
            .filter_map(|slot| self.by_policy.get(slot))
            .flatten()
            .filter_map(|(_, key)| self.sas.get(key).copied())
            .collect();
        for entry in theirs {
            self.remove_part(&entry);
            self.find_part(&entry);
        }
    }

    /// Files an SA of an adopted table again, if it covers a part.
    pub(super) fn find_part(&mut self, entry: &SaEntry) {
        if entry.direction != Direction::Outbound {
            return;
        }
        let Some(record) = self.reader().sa(entry.sa).map(Zeroizing::new) else {
            return;
        };
        let whole = entry
            .policy
            .and_then(|slot| self.policy_in(slot))
            .is_some_and(|p| {
                let mut selectors = p.spec.selectors.iter();
                selectors.any(|s| super::policies::carries(self.reader(), &record, s))
            });
        if !whole {
            self.add_part(entry.sa, &record);
        }
    }
}

/// Sets of selectors in the table, and how many SAs have each.
#[derive(Default)]
pub(super) struct SelectorSets {
    slots: HashMap<SelectorSet, (u32, usize)>,
}

impl SelectorSets {
    /// The slot of a set that one more SA has.
    pub fn hold(&mut self, writer: &mut PolicyWriter, set: &SelectorSet) -> Result<u32, TableFull> {
        if let Some((slot, count)) = self.slots.get_mut(set) {
            *count += 1;
            return Ok(*slot);
        }
        let slot = writer.insert_selectors(set)?;
        self.slots.insert(*set, (slot, 1));
        Ok(slot)
    }

    /// An SA with this record has gone.
    pub fn let_go(&mut self, writer: &mut PolicyWriter, record: &SaRecord) {
        let Some(set) = writer.reader().selector_set(record) else {
            return;
        };
        if let Some((slot, count)) = self.slots.get_mut(&set) {
            *count -= 1;
            if *count == 0 {
                writer.remove_selectors(*slot);
                self.slots.remove(&set);
            }
        }
    }

    /// An SA of an adopted table has a set.
    pub fn note(&mut self, reader: &PolicyReader, record: &SaRecord) {
        if let (Some(set), Some(slot)) = (
            reader.selector_set(record),
            record.selector_set.checked_sub(1),
        ) {
            self.slots.entry(set).or_insert((slot, 0)).1 += 1;
        }
    }

    /// Takes away sets of an adopted table that no SA has: of SAs that were never published.
    pub fn drop_unused(&self, writer: &mut PolicyWriter) {
        let all: Vec<_> = writer.reader().selector_sets().collect();
        for (slot, set) in all {
            if self.slots.get(&set).is_none_or(|(used, _)| *used != slot) {
                writer.remove_selectors(slot);
            }
        }
    }
}
