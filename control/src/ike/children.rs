//! Which SA of the table belongs to which child of the engine.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use adit_abi::{Direction, SaKey};
use adit_ike::endpoint::{ChildId, IkeSaId};

/// A half of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Half {
    /// Whose.
    pub ike: IkeSaId,
    /// The child.
    pub child: ChildId,
    /// Which way it carries traffic.
    pub direction: Direction,
}

/// A child that has SAs in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Whose.
    pub ike: IkeSaId,
    /// The policy that seals into it.
    pub policy: Arc<str>,
    /// Its SAs.
    pub sas: BTreeSet<SaKey>,
}

/// Every SA that the engine had put in.
#[derive(Debug, Default)]
pub struct Children {
    halves: HashMap<SaKey, Half>,
    children: HashMap<ChildId, Installed>,
    /// SAs that the data plane is still to prepare, by IKE SA.
    preparing: HashMap<IkeSaId, BTreeSet<SaKey>>,
    /// How many children go by each policy.
    by_policy: HashMap<Arc<str>, usize>,
}

impl Children {
    /// An SA was put in; `ready` if it is in the table already.
    pub fn insert(&mut self, key: SaKey, half: Half, policy: &Arc<str>, ready: bool) {
        self.halves.insert(key, half);
        let by_policy = &mut self.by_policy;
        let child = self.children.entry(half.child).or_insert_with(|| {
            *by_policy.entry(policy.clone()).or_default() += 1;
            Installed {
                ike: half.ike,
                policy: policy.clone(),
                sas: BTreeSet::new(),
            }
        });
        child.sas.insert(key);
        if !ready {
            self.preparing.entry(half.ike).or_default().insert(key);
        }
    }

    /// An SA is gone. The policy's name, if no child goes by it any more.
    pub fn remove(&mut self, key: &SaKey) -> Option<Arc<str>> {
        let half = self.halves.remove(key)?;
        self.ready(key, half.ike);
        let child = self.children.get_mut(&half.child)?;
        child.sas.remove(key);
        if !child.sas.is_empty() {
            return None;
        }
        let child = self.children.remove(&half.child)?;
        let left = self.by_policy.get_mut(&child.policy)?;
        *left -= 1;
        if *left > 0 {
            return None;
        }
        self.by_policy.remove(&child.policy);
        Some(child.policy)
    }

    /// An SA is in the table; the IKE SA whose last one that was which had to be waited for.
    pub fn installed(&mut self, key: &SaKey) -> Option<IkeSaId> {
        let ike = self.halves.get(key)?.ike;
        self.ready(key, ike).then_some(ike)
    }

    /// Strikes an SA off those that are waited for; whether it was the last one.
    fn ready(&mut self, key: &SaKey, ike: IkeSaId) -> bool {
        let Some(waiting) = self.preparing.get_mut(&ike) else {
            return false;
        };
        waiting.remove(key);
        let last = waiting.is_empty();
        if last {
            self.preparing.remove(&ike);
        }
        last
    }

    /// Whether SAs of this IKE SA are still on their way into the table.
    pub fn is_preparing(&self, ike: IkeSaId) -> bool {
        self.preparing.contains_key(&ike)
    }

    /// What an SA is half of.
    pub fn half(&self, key: &SaKey) -> Option<Half> {
        self.halves.get(key).copied()
    }

    /// A child that has SAs.
    pub fn child(&self, id: ChildId) -> Option<&Installed> {
        self.children.get(&id)
    }

    /// Whether children go by this policy.
    pub fn uses(&self, policy: &str) -> bool {
        self.by_policy.contains_key(policy)
    }
}

#[cfg(test)]
mod tests {
    use adit_abi::{Address, Spi};

    use super::*;

    #[test]
    fn a_policy_is_free_when_the_last_sa_of_the_last_child_is_gone() {
        let key = |spi| SaKey::esp(Spi(spi), Address::v4([192, 0, 2, 1]));
        let half = |child, direction| Half {
            ike: IkeSaId(1),
            child: ChildId(child),
            direction,
        };
        let policy: Arc<str> = "gw/net".into();
        let mut children = Children::default();
        children.insert(key(1), half(1, Direction::Inbound), &policy, false);
        children.insert(key(2), half(1, Direction::Outbound), &policy, false);
        children.insert(key(3), half(2, Direction::Inbound), &policy, true);
        assert!(children.is_preparing(IkeSaId(1)));
        assert_eq!(children.installed(&key(1)), None);
        assert_eq!(children.installed(&key(2)), Some(IkeSaId(1)));
        assert!(!children.is_preparing(IkeSaId(1)));
        assert_eq!(children.half(&key(3)), Some(half(2, Direction::Inbound)));
        for spi in [1, 2] {
            assert_eq!(children.remove(&key(spi)), None);
        }
        assert!(children.child(ChildId(1)).is_none() && children.uses("gw/net"));
        assert_eq!(children.remove(&key(3)), Some(policy));
        assert!(!children.uses("gw/net"));
    }
}
