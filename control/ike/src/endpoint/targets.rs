//! Commands and the data plane's news, brought to the IKE SAs they concern.

use super::{ChildId, Context, Endpoint, IkeSaId, Target, Why};
use crate::time::Instant;
use crate::v2::{IkeSa, Task};

impl Endpoint {
    /// Lets the IKE SA of a child do something; a child that is gone concerns nobody.
    pub(super) fn with_child(
        &mut self,
        now: Instant,
        child: ChildId,
        act: impl FnOnce(&mut IkeSa, &mut Context<'_>),
    ) {
        if let Some(&ike) = self.by_child.get(&child) {
            self.with_sa(now, ike, |sa, cx| {
                act(sa, cx);
                sa.next_task(cx);
            });
        }
    }

    pub(super) fn terminate(&mut self, now: Instant, target: &Target) {
        if let Target::Connection(name) = target {
            self.retries.retain(|(_, c, _)| c.name != *name);
        }
        for id in self.ikes_of(target) {
            self.with_sa(now, id, |sa, cx| sa.terminate(cx, Why::Command));
        }
        for id in self.children_of(target) {
            self.with_child(now, id, |sa, cx| {
                sa.queue(Task::DeleteChild(id, Some(Why::Command)), cx.now);
            });
        }
    }

    pub(super) fn rekey(&mut self, now: Instant, target: &Target) {
        for id in self.ikes_of(target) {
            self.with_sa(now, id, |sa, cx| {
                sa.queue(Task::RekeyIke, cx.now);
                sa.next_task(cx);
            });
        }
        for id in self.children_of(target) {
            self.with_child(now, id, |sa, cx| sa.rekey_child(cx, id));
        }
    }

    /// Forgets the other IKE SAs between the same identities, which the peer has forgotten.
    //= RFC 7296 §2.4: after INITIAL_CONTACT, older IKE SAs of the peer go without a Delete
    pub(super) fn only_one(&mut self, now: Instant, id: IkeSaId) {
        let Some(new) = self.sas.get(&id) else {
            return;
        };
        let older = self.sas.values().filter(|sa| {
            let ids = (&sa.local_id, &sa.remote_id) == (&new.local_id, &new.remote_id);
            sa.id != id && sa.is_established() && ids && sa.eap_id == new.eap_id
        });
        let mut older: Vec<_> = older.map(|sa| sa.id).collect();
        older.sort_unstable();
        for id in older {
            self.with_sa(now, id, |sa, cx| sa.forget(cx));
        }
    }

    fn ikes_of(&self, target: &Target) -> Vec<IkeSaId> {
        let mut found: Vec<_> = match target {
            Target::Ike(id) => vec![*id],
            Target::Connection(name) => {
                let named = self.sas.values().filter(|sa| sa.connection.name == *name);
                named.map(|sa| sa.id).collect()
            }
            Target::ChildNamed { .. } | Target::Child(_) => Vec::new(),
        };
        found.sort_unstable();
        found
    }

    fn children_of(&self, target: &Target) -> Vec<ChildId> {
        let mut found: Vec<_> = match target {
            Target::Child(id) => vec![*id],
            Target::ChildNamed { connection, child } => self
                .sas
                .values()
                .filter(|sa| connection.as_ref().is_none_or(|c| sa.connection.name == *c))
                .flat_map(|sa| &sa.children)
                .filter(|c| c.is_live() && c.config.name == *child)
                .map(|c| c.id)
                .collect(),
            Target::Ike(_) | Target::Connection(_) => Vec::new(),
        };
        found.sort_unstable();
        found
    }
}
