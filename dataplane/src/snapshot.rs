//! What workers read without locks: SPD and forwarding tables, compiled from the policy region.

use std::sync::Arc;

use adit_abi::PolicyReader;

use crate::forward::fib::Fib;
use crate::spd::table::Spd;

/// The compiled tables, never changed: the steward makes another one and hands it to the workers.
pub struct Snapshot {
    /// The SPD and the settings.
    pub spd: Arc<Spd>,
    /// Ports, routes and neighbours.
    pub fib: Arc<Fib>,
    generations: (u64, u64),
}

impl Snapshot {
    /// Compiles everything.
    pub fn compile(policy: &PolicyReader) -> Self {
        // Generations first: what changes while it is compiled shows as a newer generation afterwards.
        let generations = current(policy);
        Self {
            spd: Arc::new(Spd::compile(policy)),
            fib: Arc::new(Fib::compile(policy)),
            generations,
        }
    }

    /// Compiles what has changed in the same region since this snapshot, and keeps the rest.
    #[must_use]
    pub fn recompile(&self, policy: &PolicyReader) -> Self {
        let generations = current(policy);
        let keep = |of: fn((u64, u64)) -> u64| of(generations) == of(self.generations);
        Self {
            spd: if keep(|g| g.0) {
                Arc::clone(&self.spd)
            } else {
                Arc::new(Spd::compile(policy))
            },
            fib: if keep(|g| g.1) {
                Arc::clone(&self.fib)
            } else {
                Arc::new(Fib::compile(policy))
            },
            generations,
        }
    }

    /// The SPD and forwarding generations it was compiled from.
    pub fn generations(&self) -> (u64, u64) {
        self.generations
    }

    /// Whether the region has changed since.
    pub fn is_stale(&self, policy: &PolicyReader) -> bool {
        current(policy) != self.generations
    }
}

fn current(policy: &PolicyReader) -> (u64, u64) {
    (policy.spd_generation(), policy.forwarding_generation())
}
