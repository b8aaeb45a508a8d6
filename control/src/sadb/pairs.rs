//! Which inbound and which outbound SA belong together: those of one policy between the same two addresses, the
//! oldest with the oldest. It only matters to people, who know the two as one child SA.

use std::collections::{BTreeSet, HashMap};

use adit_abi::{Address, Direction, SaKey};

/// Where SAs meet.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    policy: u32,
    protocol: u8,
    here: Address,
    there: Address,
}

/// An SA as far as pairing goes.
#[derive(Clone, Copy)]
pub(super) struct Single {
    pub key: SaKey,
    pub unique: u32,
    pub direction: Direction,
    pub source: Address,
    pub policy: u32,
}

impl Single {
    fn place(&self) -> Place {
        let (here, there) = match self.direction {
            Direction::Inbound => (self.key.destination, self.source),
            Direction::Outbound => (self.source, self.key.destination),
        };
        Place {
            policy: self.policy,
            protocol: self.key.protocol,
            here,
            there,
        }
    }

    fn opposite(&self) -> Direction {
        match self.direction {
            Direction::Inbound => Direction::Outbound,
            Direction::Outbound => Direction::Inbound,
        }
    }
}

/// Pairs, and those who wait for a partner.
#[derive(Default)]
pub(super) struct Pairs {
    waiting: HashMap<(Place, Direction), BTreeSet<(u32, SaKey)>>,
    partners: HashMap<SaKey, (u32, SaKey)>,
}

impl Pairs {
    pub fn insert(&mut self, sa: &Single) {
        let opposite = (sa.place(), sa.opposite());
        if let Some(others) = self.waiting.get_mut(&opposite)
            && let Some((unique, other)) = others.pop_first()
        {
            if others.is_empty() {
                self.waiting.remove(&opposite);
            }
            self.partners.insert(sa.key, (unique, other));
            self.partners.insert(other, (sa.unique, sa.key));
            return;
        }
        let place = (sa.place(), sa.direction);
        let waiting = self.waiting.entry(place).or_default();
        waiting.insert((sa.unique, sa.key));
    }

    pub fn remove(&mut self, sa: &Single) {
        if let Some((unique, other)) = self.partners.remove(&sa.key) {
            self.partners.remove(&other);
            let place = (sa.place(), sa.opposite());
            let waiting = self.waiting.entry(place).or_default();
            waiting.insert((unique, other));
            return;
        }
        let place = (sa.place(), sa.direction);
        if let Some(waiting) = self.waiting.get_mut(&place) {
            waiting.remove(&(sa.unique, sa.key));
            if waiting.is_empty() {
                self.waiting.remove(&place);
            }
        }
    }

    pub fn partner(&self, key: &SaKey) -> Option<SaKey> {
        self.partners.get(key).map(|(_, partner)| *partner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_abi::Spi;

    const HERE: Address = Address::v4([192, 0, 2, 1]);
    const THERE: Address = Address::v4([192, 0, 2, 2]);

    fn single(unique: u32, direction: Direction, policy: u32) -> Single {
        let (source, destination) = match direction {
            Direction::Inbound => (THERE, HERE),
            Direction::Outbound => (HERE, THERE),
        };
        Single {
            key: SaKey::esp(Spi(0x1000 + unique), destination),
            unique,
            direction,
            source,
            policy,
        }
    }

    #[test]
    fn the_oldest_belong_together_and_a_widow_finds_the_next() {
        use Direction::{Inbound, Outbound};
        let all = [
            single(1, Inbound, 0),
            single(2, Inbound, 0),
            single(3, Outbound, 0),
            single(4, Outbound, 0),
            single(5, Outbound, 1),
        ];
        let mut pairs = Pairs::default();
        all.iter().for_each(|sa| pairs.insert(sa));
        let partner =
            |pairs: &Pairs, n: usize| pairs.partner(&all[n].key).map(|k| k.spi.0 - 0x1000);
        assert_eq!((partner(&pairs, 0), partner(&pairs, 2)), (Some(3), Some(1)));
        assert_eq!((partner(&pairs, 1), partner(&pairs, 3)), (Some(4), Some(2)));
        assert_eq!(partner(&pairs, 4), None, "of another policy");
        pairs.remove(&all[0]);
        assert_eq!(partner(&pairs, 2), None);
        pairs.insert(&single(6, Inbound, 0));
        assert_eq!(partner(&pairs, 2), Some(6));
        for sa in [&all[1], &all[2], &all[3], &all[4], &single(6, Inbound, 0)] {
            pairs.remove(sa);
        }
        assert!(pairs.waiting.is_empty() && pairs.partners.is_empty());
    }
}
