//! Taking the table back from a data plane that outlived an earlier control.

use std::os::fd::OwnedFd;

use adit_abi::{PolicyReader, PolicyWriter, RegionError, StateRegion};
use thiserror::Error;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::spec::Origin;
use super::{PolicyEntry, PolicySpec, SaEntry, Sadb, Stage};

/// Why an old table cannot be taken back.
#[derive(Debug, Error)]
pub enum AdoptError {
    /// One of the regions cannot be used.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// The two do not belong together.
    #[error("the policy region and the state region have different capacities")]
    Capacities,
}

impl Sadb {
    /// Takes over what an earlier control wrote and the data plane kept.
    ///
    /// What this control has put in so far comes on top: policies whose name, and SAs whose key, the old table
    /// does not have. What the old table has from a file that no longer names it goes away. An SA that is in
    /// both stays as it is in the old table, with its sequence number and its window.
    ///
    /// # Errors
    /// When a region cannot be mapped; then nothing has changed.
    pub fn adopt(&mut self, policy: OwnedFd, state: OwnedFd) -> Result<(), AdoptError> {
        let old = PolicyReader::open(policy)?;
        let state = StateRegion::open(state, false)?;
        if old.capacity() != state.capacity() {
            return Err(AdoptError::Capacities);
        }
        if old.capacity() != self.capacity() {
            warn!(
                kept = ?old.capacity(),
                configured = ?self.capacity(),
                "the tables keep their sizes until both processes are restarted"
            );
        }
        let mut adopted = Self::over(PolicyWriter::copy_of(&old)?, state);
        adopted.rebuild();
        info!(
            sas = adopted.sas.len(),
            policies = adopted.policies.len(),
            "took the table back"
        );
        adopted.drop_what_the_file_dropped(self);
        adopted.take_additions(self);
        adopted.writer.set_settings(&self.reader().settings());
        for (n, port) in self.reader().ports() {
            adopted.writer.set_port(n, Some(&port));
        }
        *self = adopted;
        Ok(())
    }

    /// Fills the maps from the region.
    fn rebuild(&mut self) {
        let mut policies: Vec<_> = self.reader().policies().collect();
        // In the order of slots: that is the order of a policy's selectors.
        policies.sort_unstable_by_key(|(slot, ..)| *slot);
        for (slot, _, record) in policies {
            let name = self
                .policy_name(slot)
                .filter(|n| !n.is_empty())
                .unwrap_or_else(|| format!("policy-{slot}"));
            let entry = self
                .policies
                .entry(name.clone())
                .or_insert_with(|| PolicyEntry {
                    spec: PolicySpec {
                        name,
                        selectors: Vec::new(),
                        action: record.action(),
                        priority: record.priority,
                        applies: record.applies(),
                        from_packet: record.from_packet(),
                        origin: Origin::from_cookie(record.cookie),
                    },
                    slots: Vec::new(),
                });
            entry.spec.selectors.push(record.selector);
            entry.slots.push(slot);
        }
        let mut sas = Vec::new();
        for (sa, record) in self.writer.reader().sas() {
            let record = Zeroizing::new(record);
            let entry = SaEntry::new(sa, Stage::Installed, &record, 0);
            sas.push((record.key(), entry));
            self.selector_sets.note(self.writer.reader(), &record);
        }
        // In the order in which they were put in, so that the same ones belong together.
        sas.sort_unstable_by_key(|(_, entry)| entry.unique);
        let sas = self.sort_out_moved(sas);
        for (key, entry) in sas {
            self.next_unique = self.next_unique.max(entry.unique.saturating_add(1));
            self.remember(key, entry);
            self.find_part(&entry);
        }
        self.selector_sets.drop_unused(&mut self.writer);
    }

    fn drop_what_the_file_dropped(&mut self, file: &Self) {
        let gone: Vec<_> = self
            .policies
            .values()
            .filter(|p| p.spec.origin == Origin::File)
            .filter(|p| !file.policies.contains_key(&p.spec.name))
            .map(|p| p.spec.name.clone())
            .collect();
        for name in gone {
            info!(policy = %name, "the file no longer names it: taken away");
            let _ = self.remove_policy(&name);
        }
        let gone: Vec<_> = self
            .sas()
            .filter(|sa| sa.origin == Origin::File && !file.sas.contains_key(&sa.key()))
            .map(|sa| sa.key())
            .collect();
        for key in gone {
            info!(sa = ?key, "the file no longer names it: taken away");
            let _ = self.remove_sa(&key);
        }
    }

    fn take_additions(&mut self, new: &Self) {
        for (name, entry) in &new.policies {
            match self.policies.get(name) {
                None => {
                    if let Err(e) = self.add_policy(entry.spec.clone()) {
                        warn!(policy = %name, "not put in: {e}");
                    }
                }
                Some(old) if old.spec != entry.spec => {
                    warn!(policy = %name, "differs from the file and stays as it is: delete it first");
                }
                Some(_) => {}
            }
        }
        for (sa, record) in new.reader().sas() {
            let mut record = Zeroizing::new(record);
            let key = record.key();
            if self.sas.contains_key(&key) {
                continue;
            }
            let last_sequence = new.sas.get(&key).map_or(0, |e| e.last_sequence);
            // Slots of policies differ between the tables; names do not.
            let policy = record.policy.checked_sub(1).and_then(|slot| {
                let name = new.policy_name(slot)?;
                let set = new.reader().selector_set(&record);
                let set = set.unwrap_or_else(|| record.selector.into());
                self.protecting_slot(&name, &set).ok()
            });
            record.policy = policy.map_or(0, |slot| slot + 1);
            record.cookie = Origin::from_cookie(record.cookie.into()).cookie(self.next_unique);
            self.next_unique = super::spec::unique_after(self.next_unique);
            let selectors = new.reader().selector_set(&record);
            if let Err(e) = self.put(record, selectors, last_sequence) {
                warn!(slot = sa.slot, sa = ?key, "not put in: {e}");
            }
        }
    }
}
