//! One moment for each IKE SA: its next deadline.

use std::collections::{BTreeSet, HashMap};

use super::IkeSaId;
use crate::time::Instant;

/// Deadlines in order.
#[derive(Default)]
pub(crate) struct Timers {
    ordered: BTreeSet<(Instant, IkeSaId)>,
    of: HashMap<IkeSaId, Instant>,
}

impl Timers {
    /// Sets the deadline of `id`, or takes it away.
    pub fn set(&mut self, id: IkeSaId, at: Option<Instant>) {
        let old = match at {
            Some(at) => self.of.insert(id, at),
            None => self.of.remove(&id),
        };
        if old == at {
            return;
        }
        if let Some(old) = old {
            self.ordered.remove(&(old, id));
        }
        if let Some(at) = at {
            self.ordered.insert((at, id));
        }
    }

    /// The first deadline.
    pub fn next(&self) -> Option<Instant> {
        self.ordered.first().map(|(at, _)| *at)
    }

    /// Takes one deadline that has come.
    pub fn pop(&mut self, now: Instant) -> Option<IkeSaId> {
        let &(at, id) = self.ordered.first()?;
        if at > now {
            return None;
        }
        self.set(id, None);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_come_in_order_and_can_be_moved() {
        let mut t = Timers::default();
        let (a, b) = (IkeSaId(1), IkeSaId(2));
        t.set(a, Some(Instant(10)));
        t.set(b, Some(Instant(5)));
        t.set(a, Some(Instant(3)));
        assert_eq!(t.next(), Some(Instant(3)));
        assert_eq!(t.pop(Instant(4)), Some(a));
        assert_eq!(t.pop(Instant(4)), None);
        t.set(b, None);
        assert_eq!((t.next(), t.of.len()), (None, 0));
    }
}
