//! Taking up another state of the file: what is still wanted is not touched.

use adit_abi::{Action, PolicyLink, SaKey, TableFull};

use super::{Origin, PolicySpec, SaSpec, Sadb, SadbError};

/// What leads from the table to what a file wants.
#[derive(Clone, Debug, Default)]
pub struct Reload {
    /// Policies that are not there.
    pub add: Vec<PolicySpec>,
    /// Policies that are there under the name, and are others.
    pub replace: Vec<PolicySpec>,
    /// Names of policies that are not wanted any more.
    pub remove: Vec<String>,
    /// SAs that are not there.
    pub add_sas: Vec<SaSpec>,
    /// SAs that are not wanted any more.
    pub remove_sas: Vec<SaKey>,
    /// SAs that were there and went: their keys have been used.
    pub used_up: Vec<SaKey>,
}

impl Sadb {
    /// What is to be done for the table to hold these policies and SAs of a file; `before` are the SAs that the
    /// file had when it was read last. What a command put in stays.
    ///
    /// # Errors
    /// What keeps the whole from being done; nothing is changed here.
    pub fn plan_reload(
        &self,
        before: &[SaSpec],
        policies: &[PolicySpec],
        sas: &[SaSpec],
    ) -> Result<Reload, SadbError> {
        let mut plan = Reload::default();
        for spec in policies {
            spec.kept_name()?;
            match self.policies.get(&spec.name).map(|p| &p.spec) {
                None => plan.add.push(spec.clone()),
                Some(there) if there == spec => {}
                Some(there) if there.origin == Origin::File => plan.replace.push(spec.clone()),
                Some(_) => return Err(SadbError::NameInUse(spec.name.clone())),
            }
        }
        for (name, policy) in &self.policies {
            let is_wanted = policies.iter().any(|p| p.name == *name);
            if policy.spec.origin == Origin::File && !is_wanted {
                plan.remove.push(name.clone());
            }
        }
        for spec in sas {
            let key = spec.key();
            let is_there = self.sas.contains_key(&key);
            match before.iter().find(|b| b.key() == key) {
                Some(same) if same == spec && is_there => {}
                // Under the same keys its sequence numbers must not begin again.
                Some(same) if same == spec => plan.used_up.push(key),
                Some(_) => return Err(SadbError::ChangedInUse(key)),
                None if is_there => return Err(SadbError::KeyInUse(key)),
                None => {
                    spec.check(self.capacity().window)?;
                    plan.add_sas.push(spec.clone());
                }
            }
        }
        let gone = before.iter().map(SaSpec::key);
        let gone = gone.filter(|key| !sas.iter().any(|spec| spec.key() == *key));
        plan.remove_sas = gone.filter(|key| self.sas.contains_key(key)).collect();
        self.check_room(&plan)?;
        Ok(plan)
    }

    /// Whether everything finds room while what it takes the place of is still there.
    fn check_room(&self, plan: &Reload) -> Result<(), SadbError> {
        let capacity = self.capacity();
        let entries = |specs: &[PolicySpec]| specs.iter().map(|p| p.selectors.len()).sum::<usize>();
        let used: usize = self.policies.values().map(|p| p.slots.len()).sum();
        // For a moment the old, the new and twins are there.
        let policies = used + entries(&plan.add) + 2 * entries(&plan.replace);
        let sas = self.sas.len() + plan.add_sas.len();
        for (table, needed, capacity) in [
            ("policies", policies, capacity.policies),
            ("sas", sas, capacity.sas),
        ] {
            if needed > capacity as usize {
                return Err(TableFull { table, capacity }.into());
            }
        }
        Ok(())
    }

    /// Puts a policy in the place of the one of its name. SAs that belong to it stay as long as it protects, and
    /// there is no moment in which neither of the two decides, or one without its SA.
    ///
    /// # Errors
    /// When there is none of this name, or no room; then nothing has changed.
    pub fn replace_policy(&mut self, spec: PolicySpec) -> Result<(), SadbError> {
        let name = spec.kept_name()?;
        let old = self
            .policies
            .get(&spec.name)
            .ok_or_else(|| SadbError::NoPolicy(spec.name.clone()))?
            .clone();
        self.check_room(&Reload {
            replace: vec![spec.clone()],
            ..Reload::default()
        })?;
        if old.spec.action != Action::Protect || spec.action != Action::Protect {
            let slots = self.insert_entries(&spec, &name)?;
            self.remove_policy(&spec.name)?;
            self.file_policy(spec, slots);
            return Ok(());
        }
        // SAs bear the number of their policy's slot, so selectors that stay keep theirs. While a slot is written
        // anew, a twin of it decides.
        let (mut slots, mut twins) = (Vec::new(), Vec::new());
        for (selector, record) in spec.selectors.iter().zip(spec.records()) {
            let mut places = old.spec.selectors.iter().zip(&old.slots);
            let kept = places.find(|(s, slot)| *s == selector && !slots.contains(*slot));
            let kept = kept.map(|(_, slot)| *slot);
            let from_packet = record.from_packet();
            let link = match kept {
                Some(slot) => PolicyLink {
                    from_packet,
                    ..self.reader().policy_link(slot)
                },
                None => PolicyLink {
                    sa: self.newest_for(selector, &old.slots),
                    several: false,
                    from_packet,
                },
            };
            let slot = self
                .writer
                .insert_policy_linked(&record, Some(&name), link)?;
            match kept {
                Some(kept) => {
                    twins.push(slot);
                    slots.push(kept);
                    self.writer.set_link(kept, link);
                    self.writer.replace_policy(kept, &record);
                }
                None => slots.push(slot),
            }
        }
        for twin in twins {
            self.writer.withdraw_policy(twin);
        }
        let (gone, theirs) = self.left_behind(&old.slots, &slots);
        for key in theirs {
            let _ = self.remove_sa(&key);
        }
        for slot in gone {
            self.writer.remove_policy(slot);
        }
        let name = spec.name.clone();
        self.file_policy(spec, slots);
        self.file_parts_again(&name);
        Ok(())
    }

    /// The slots that a policy no longer has, and the SAs that are filed under them.
    fn left_behind(&self, old: &[u32], new: &[u32]) -> (Vec<u32>, Vec<SaKey>) {
        let gone: Vec<_> = old.iter().copied().filter(|s| !new.contains(s)).collect();
        let theirs = gone.iter().filter_map(|slot| self.by_policy.get(slot));
        let keys = theirs.flatten().map(|(_, key)| *key).collect();
        (gone, keys)
    }
}
