//! Neighbours of managed ports.

use std::collections::{BTreeSet, HashMap};

use adit_abi::{Address, NeighbourRecord, PolicyWriter};

use super::mirror::{Effect, MirrorPort};
use super::update::Neighbour;

struct Entry {
    mac: [u8; 6],
    slot: Option<u32>,
}

/// Every usable neighbour, and where it lies in the table.
#[derive(Default)]
pub(super) struct Neighbours {
    entries: HashMap<(u32, Address), Entry>,
}

impl Neighbours {
    pub fn put(&mut self, table: &mut PolicyWriter, ports: &[MirrorPort], n: Neighbour) -> Effect {
        let mut effect = Effect::default();
        let Some(mac) = n.mac else {
            effect.forwarding = self.remove(table, n.ifindex, n.address);
            return effect;
        };
        if !ports.iter().any(|p| p.ifindex == n.ifindex) {
            return effect;
        }
        let key = (n.ifindex, n.address);
        if let Some(known) = self.entries.get(&key)
            && known.mac == mac
            && known.slot.is_some()
        {
            return effect;
        }
        let slot = write(table, ports, key, mac);
        effect.refused = u32::from(slot.is_none());
        effect.forwarding = true;
        let stale = self.entries.insert(key, Entry { mac, slot });
        if let Some(slot) = stale.and_then(|s| s.slot) {
            table.remove_neighbour(slot);
        }
        effect
    }

    pub fn remove(&mut self, table: &mut PolicyWriter, ifindex: u32, address: Address) -> bool {
        let removed = self.entries.remove(&(ifindex, address));
        if let Some(slot) = removed.as_ref().and_then(|e| e.slot) {
            table.remove_neighbour(slot);
        }
        removed.is_some()
    }

    pub fn remove_interface(&mut self, table: &mut PolicyWriter, ifindex: u32) -> bool {
        self.retain(table, |(i, _)| *i != ifindex)
    }

    pub fn keep_only(
        &mut self,
        table: &mut PolicyWriter,
        there: &BTreeSet<(u32, Address)>,
    ) -> bool {
        self.retain(table, |key| there.contains(key))
    }

    fn retain(
        &mut self,
        table: &mut PolicyWriter,
        stays: impl Fn(&(u32, Address)) -> bool,
    ) -> bool {
        let before = self.entries.len();
        self.entries.retain(|key, entry| {
            if !stays(key)
                && let Some(slot) = entry.slot
            {
                table.remove_neighbour(slot);
            }
            stays(key)
        });
        self.entries.len() != before
    }

    pub fn replay(&mut self, table: &mut PolicyWriter, ports: &[MirrorPort]) -> Effect {
        let mut effect = Effect {
            forwarding: true,
            ..Effect::default()
        };
        for (key, entry) in &mut self.entries {
            entry.slot = write(table, ports, *key, entry.mac);
            effect.refused += u32::from(entry.slot.is_none());
        }
        effect
    }
}

fn write(
    table: &mut PolicyWriter,
    ports: &[MirrorPort],
    (ifindex, address): (u32, Address),
    mac: [u8; 6],
) -> Option<u32> {
    let port = ports.iter().find(|p| p.ifindex == ifindex)?.number;
    let record = NeighbourRecord {
        address,
        mac,
        port,
        reserved: 0,
    };
    table.insert_neighbour(&record).ok()
}
