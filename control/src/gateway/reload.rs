//! The configuration file is read again while the gateway runs.

use adit_abi::SaKey;
use thiserror::Error;
use tracing::{info, warn};

use super::Gateway;
use crate::config::{self, ConfigErrors};
use crate::sadb::SadbError;

/// Why the file is not taken up; nothing has changed then.
#[derive(Debug, Error)]
pub enum ReloadError {
    /// What is wrong with the file, line by line.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// What does not go together with what is in the tables.
    #[error("{0}")]
    Table(#[from] SadbError),
}

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Policies and SAs that were put in.
    pub added: Vec<String>,
    /// Policies that were given other contents; their SAs stay.
    pub replaced: Vec<String>,
    /// Policies and SAs that were taken away.
    pub removed: Vec<String>,
    /// SAs of the file that were there and went. They stay away: their keys have been used.
    pub used_up: Vec<String>,
    /// Keys of section `gateway` that count from the next start on.
    pub restart: Vec<&'static str>,
}

fn shown(key: &SaKey) -> String {
    format!("SA {:?} to {}", key.spi, key.destination)
}

impl Gateway {
    /// Reads the file again and makes policies and SAs what it says. What stays wanted is not touched, and what
    /// commands put in stays.
    ///
    /// # Errors
    /// What is wrong with the file, or does not go together with the tables: then nothing has changed.
    pub fn reload(&mut self) -> Result<Reloaded, ReloadError> {
        let new = config::load(&self.config.file)?;
        let plan = self
            .sadb
            .plan_reload(&self.config.sas, &new.policies, &new.sas)?;
        // Steering and routes first, as for one policy.
        let coming: Vec<_> = plan.add.iter().chain(&plan.replace).cloned().collect();
        if let Err(e) = self.sync_steering(&coming) {
            self.sync_host();
            return Err(SadbError::Steering(e.to_string()).into());
        }
        self.sync_routes(&coming);

        let mut done = Reloaded {
            restart: self.config.gateway.needs_restart_for(&new.gateway),
            used_up: plan.used_up.iter().map(shown).collect(),
            ..Reloaded::default()
        };
        // Room was made sure of, so what is refused now is no fault of the file.
        let report = |what: &str, result: Result<(), SadbError>| {
            if let Err(e) = &result {
                warn!("{what}: {e}");
            }
            result.is_ok()
        };
        for spec in plan.replace {
            let name = spec.name.clone();
            if report(&name, self.sadb.replace_policy(spec)) {
                done.replaced.push(name);
            }
        }
        for spec in plan.add {
            let name = spec.name.clone();
            if report(&name, self.sadb.add_policy(spec)) {
                done.added.push(name);
            }
        }
        // The new before the old: their policies go over from one to the other.
        for spec in &plan.add_sas {
            let name = shown(&spec.key());
            if report(&name, self.add_sa(spec).map(drop)) {
                done.added.push(name);
            }
        }
        for key in &plan.remove_sas {
            if report(&shown(key), self.remove_sa(key)) {
                done.removed.push(shown(key));
            }
        }
        for name in plan.remove {
            if report(&name, self.sadb.remove_policy(&name).map(drop)) {
                done.removed.push(name);
            }
        }
        self.sadb.forwarding().set_settings(&new.gateway.settings);
        self.config.gateway.settings = new.gateway.settings;
        (self.config.policies, self.config.sas) = (new.policies, new.sas);
        self.tell_changed();
        self.sync_host();
        self.forward_sadb();
        info!(
            added = done.added.len(),
            replaced = done.replaced.len(),
            removed = done.removed.len(),
            "the file was read again"
        );
        Ok(done)
    }
}
