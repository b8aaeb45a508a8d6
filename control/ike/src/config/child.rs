//! A child of a connection: what it protects, how, and for how long.

use std::sync::Arc;
use std::time::Duration;

use adit_abi::Mode;

use super::{ConfigError, SelectorSpec};
use crate::proposal::Proposal;

/// What is done with a child when the connection is loaded (`start_action`), closed by the peer (`close_action`), or when the peer is gone (`dpd_action`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    #[default]
    None,
    /// A packet that needs the child brings it up.
    Trap,
    /// It is brought up at once.
    Start,
}

/// How much may happen under one set of keys; zero is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Bytes of inner packets.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
}

/// A child in swanctl's vocabulary; [`Child::new`] gives swanctl's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// The name of its section.
    pub name: Arc<str>,
    /// What this end protects.
    pub local_ts: Vec<SelectorSpec>,
    /// What the peer protects.
    pub remote_ts: Vec<SelectorSpec>,
    /// Tunnel or transport.
    pub mode: Mode,
    /// Proposals of ESP or AH, the most wanted first.
    pub esp_proposals: Vec<Proposal>,
    /// Age at which it gets new keys; zero never.
    pub rekey_time: Duration,
    /// Age at which it goes.
    pub life_time: Duration,
    /// Up to this much is taken off `rekey_time` by lot.
    pub rand_time: Duration,
    /// Traffic after which it gets new keys.
    pub rekey: Volume,
    /// Traffic after which it goes.
    pub life: Volume,
    /// Up to this much is taken off `rekey` by lot.
    pub rand: Volume,
    /// When the connection is loaded.
    pub start_action: Action,
    /// When the peer closes it.
    pub close_action: Action,
    /// When the peer is gone.
    pub dpd_action: Action,
    /// It goes after this long without traffic; zero never.
    pub inactivity: Duration,
}

impl Child {
    /// A child with swanctl's defaults: `dynamic` on both sides, tunnel mode, no proposals.
    #[must_use]
    pub fn new(name: &str) -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        Self {
            name: name.into(),
            local_ts: vec![SelectorSpec::DYNAMIC],
            remote_ts: vec![SelectorSpec::DYNAMIC],
            mode: Mode::Tunnel,
            esp_proposals: Vec::new(),
            rekey_time: HOUR,
            // swanctl: a tenth more than rekey_time, the difference by lot.
            life_time: HOUR * 11 / 10,
            rand_time: HOUR / 10,
            rekey: Volume::default(),
            life: Volume::default(),
            rand: Volume::default(),
            start_action: Action::None,
            close_action: Action::None,
            dpd_action: Action::None,
            inactivity: Duration::ZERO,
        }
    }

    pub(super) fn check(&self, place: &str) -> Result<(), ConfigError> {
        let wrong = |field: &str, problem: &str, remedy: &str| {
            Err(ConfigError {
                field: format!("{place}.{}.{field}", self.name),
                problem: problem.into(),
                remedy: remedy.into(),
            })
        };
        if self.esp_proposals.is_empty() {
            return wrong(
                "esp_proposals",
                "no proposal",
                "leave the key out for the default",
            );
        }
        for (field, list) in [("local_ts", &self.local_ts), ("remote_ts", &self.remote_ts)] {
            if list.is_empty() {
                return wrong(
                    field,
                    "no traffic selector",
                    "leave the key out for `dynamic`",
                );
            }
            if list.len() > MOST_SELECTORS {
                let remedy = "split the child in two";
                return wrong(field, "more than 32 traffic selectors", remedy);
            }
        }
        if !self.life_time.is_zero() && self.rekey_time > self.life_time {
            let remedy = "keep rekey_time below life_time";
            return wrong("rekey_time", "it is longer than life_time", remedy);
        }
        Ok(())
    }
}

/// Traffic selectors of one side of a child: a TS payload counts them in one octet, and each pair of sides is an entry of the SPD.
pub const MOST_SELECTORS: usize = 32;
