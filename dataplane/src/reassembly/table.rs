//! Datagrams under way: bounded in memory, number, time, and for each source.
//!
//! Nobody vouches for a fragment before the whole is opened, so anybody can send some. Two classes share
//! nothing: datagrams whose source has shown the SPI of one of its SAs, and all others. In each the oldest
//! gives way to the newest, and a source gives way to itself first. A flood of forged sources can so crowd
//! out other strangers only, and one that forges a peer's address that peer's fragments only.

use std::collections::{HashMap, VecDeque};

use adit_abi::Address;

use super::datagram::Datagram;
use super::piece::Identity;
use crate::events::SECOND;

/// How long a datagram's fragments may take to arrive, in nanoseconds.
//= RFC 791 §3.2: the suggested reassembly time is 15 seconds
pub const PATIENCE: u64 = 15 * SECOND;
/// Datagrams of one class under way.
pub const PER_CLASS: usize = 512;
/// Bytes of fragments that one class holds.
pub const BYTES_PER_CLASS: usize = 1 << 20;
/// Datagrams of one source under way.
pub const PER_SOURCE: usize = 64;
/// Bytes of fragments that one source has held: twice the largest datagram.
pub const BYTES_PER_SOURCE: usize = 1 << 17;
/// Sources remembered as peers.
const PEERS: usize = 4096;

/// Who vouches for a datagram's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It has shown the SPI of an SA of its own.
    Peer,
    /// Nobody.
    Stranger,
}

/// What is known of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first fragment is not there yet.
    Unknown,
    /// ESP or AH, in UDP or not: to be put together.
    Sealed,
    /// In clear, with these ports: its fragments go on one by one.
    Clear([u16; 2]),
    /// IKE: its fragments go on one by one.
    Ike,
    /// Worthless: what else comes of it is dropped.
    Dead,
}

/// A datagram under way.
#[derive(Debug)]
pub struct Entry {
    /// What has arrived.
    pub datagram: Datagram,
    /// What it is.
    pub kind: Kind,
    bytes: usize,
    class: Class,
    serial: u64,
    since: u64,
}

/// Entries in order of age, some of which may be gone.
type Line = VecDeque<(u64, Identity)>;

#[derive(Debug, Default)]
struct Use {
    line: Line,
    entries: usize,
    bytes: usize,
}

/// The table.
#[derive(Default)]
pub struct Table {
    // Hashed with a secret seed: outsiders choose the keys.
    entries: HashMap<Identity, Entry>,
    classes: [Use; 2],
    sources: HashMap<Address, Use>,
    peers: HashMap<Address, u64>,
    serial: u64,
}

/// What sources are told apart by: an IPv6 host has its whole /64 to choose from.
fn source_of(identity: &Identity) -> Address {
    let mut source = identity.source;
    if !source.is_v4() {
        source.0[8..].fill(0);
    }
    source
}

impl Table {
    /// The datagram of this identity, made at `now` (nanoseconds) if there is none. Datagrams that must give
    /// way to it are put into `evicted`.
    pub fn entry(
        &mut self,
        identity: Identity,
        now: u64,
        evicted: &mut Vec<Entry>,
    ) -> Option<&mut Entry> {
        if !self.entries.contains_key(&identity) {
            let source = source_of(&identity);
            let class = match self.peers.contains_key(&source) {
                true => Class::Peer,
                false => Class::Stranger,
            };
            self.make_room(class, &source, 0, evicted);
            self.serial += 1;
            let entry = Entry {
                datagram: Datagram::default(),
                kind: Kind::Unknown,
                bytes: 0,
                class,
                serial: self.serial,
                since: now,
            };
            let place = (self.serial, identity);
            for usage in [
                &mut self.classes[class as usize],
                self.sources.entry(source).or_default(),
            ] {
                usage.line.push_back(place);
                usage.entries += 1;
            }
            self.entries.insert(identity, entry);
        }
        self.entries.get_mut(&identity)
    }

    /// Makes room for `bytes` more of a datagram and counts them; `false` if it gave way itself.
    pub fn charge(&mut self, identity: &Identity, bytes: usize, evicted: &mut Vec<Entry>) -> bool {
        let Some(class) = self.entries.get(identity).map(|e| e.class) else {
            return false;
        };
        let source = source_of(identity);
        self.make_room(class, &source, bytes, evicted);
        let Some(entry) = self.entries.get_mut(identity) else {
            return false;
        };
        entry.bytes += bytes;
        self.classes[class as usize].bytes += bytes;
        if let Some(usage) = self.sources.get_mut(&source) {
            usage.bytes += bytes;
        }
        true
    }

    /// Gives back what a datagram was charged, once its fragments are taken out.
    pub fn discharge(&mut self, identity: &Identity) {
        let Some(entry) = self.entries.get_mut(identity) else {
            return;
        };
        let bytes = std::mem::take(&mut entry.bytes);
        self.classes[entry.class as usize].bytes -= bytes;
        if let Some(usage) = self.sources.get_mut(&source_of(identity)) {
            usage.bytes -= bytes;
        }
    }

    /// The source of this datagram is a peer, as of `now`.
    pub fn vouch(&mut self, identity: &Identity, now: u64) {
        let source = source_of(identity);
        if self.peers.len() >= PEERS && !self.peers.contains_key(&source) {
            // Peers are few; a table full of them is begun anew rather than searched.
            self.peers.clear();
        }
        self.peers.insert(source, now);
        let Some(entry) = self.entries.get_mut(identity) else {
            return;
        };
        if entry.class == Class::Stranger {
            entry.class = Class::Peer;
            let [peers, strangers] = &mut self.classes;
            strangers.entries -= 1;
            strangers.bytes -= entry.bytes;
            peers.entries += 1;
            peers.bytes += entry.bytes;
            peers.line.push_back((entry.serial, *identity));
        }
    }

    /// Takes a datagram out.
    pub fn remove(&mut self, identity: &Identity) -> Option<Entry> {
        let entry = self.entries.remove(identity)?;
        let source = source_of(identity);
        let class = &mut self.classes[entry.class as usize];
        class.entries -= 1;
        class.bytes -= entry.bytes;
        if let Some(usage) = self.sources.get_mut(&source) {
            usage.entries -= 1;
            usage.bytes -= entry.bytes;
            if usage.entries == 0 {
                self.sources.remove(&source);
            }
        }
        Some(entry)
    }

    /// Takes out what has taken too long at `now`, at most a few at a time.
    pub fn expire(&mut self, now: u64, expired: &mut Vec<Entry>) {
        for class in [Class::Peer, Class::Stranger] {
            for _ in 0..PER_SOURCE {
                let Some(identity) = self.oldest_of_class(class) else {
                    break;
                };
                let since = self.entries.get(&identity).map_or(0, |e| e.since);
                if now < since + PATIENCE {
                    break;
                }
                expired.extend(self.remove(&identity));
            }
        }
    }

    /// How many datagrams are under way.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many fragments they hold.
    pub fn fragments(&self) -> usize {
        self.entries.values().map(|e| e.datagram.len()).sum()
    }

    /// Bytes of fragments held.
    pub fn bytes(&self) -> usize {
        self.classes.iter().map(|class| class.bytes).sum()
    }

    fn make_room(
        &mut self,
        class: Class,
        source: &Address,
        bytes: usize,
        evicted: &mut Vec<Entry>,
    ) {
        let one_more = usize::from(bytes == 0);
        while self.sources.get(source).is_some_and(|usage| {
            usage.entries + one_more > PER_SOURCE || usage.bytes + bytes > BYTES_PER_SOURCE
        }) {
            match self.oldest_of_source(source) {
                Some(oldest) => evicted.extend(self.remove(&oldest)),
                None => break,
            }
        }
        while self.classes[class as usize].entries + one_more > PER_CLASS
            || self.classes[class as usize].bytes + bytes > BYTES_PER_CLASS
        {
            match self.oldest_of_class(class) {
                Some(oldest) => evicted.extend(self.remove(&oldest)),
                None => break,
            }
        }
    }

    fn oldest_of_class(&mut self, class: Class) -> Option<Identity> {
        let entries = &self.entries;
        let line = &mut self.classes[class as usize].line;
        oldest(line, |serial, identity| {
            let entry = entries.get(identity);
            entry.is_some_and(|e| e.serial == serial && e.class == class)
        })
    }

    fn oldest_of_source(&mut self, source: &Address) -> Option<Identity> {
        let entries = &self.entries;
        let line = &mut self.sources.get_mut(source)?.line;
        oldest(line, |serial, identity| {
            entries.get(identity).is_some_and(|e| e.serial == serial)
        })
    }
}

/// The first of a line that is still there; those before it are forgotten.
fn oldest(line: &mut Line, there: impl Fn(u64, &Identity) -> bool) -> Option<Identity> {
    while let Some((serial, identity)) = line.front() {
        if there(*serial, identity) {
            return Some(*identity);
        }
        line.pop_front();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(source: u32, id: u32) -> Identity {
        Identity {
            source: Address::v4(source.to_be_bytes()),
            destination: Address::v4([192, 0, 2, 1]),
            id,
            protocol: 50,
        }
    }

    /// A datagram with so many bytes charged.
    fn begin(table: &mut Table, id: Identity, bytes: usize) -> usize {
        let mut evicted = Vec::new();
        table.entry(id, 0, &mut evicted);
        table.charge(&id, bytes, &mut evicted);
        evicted.len()
    }

    #[test]
    fn strangers_crowd_out_strangers_only() {
        let mut table = Table::default();
        let peer = identity(7, 1);
        begin(&mut table, peer, 100);
        table.vouch(&peer, 0);
        // One that came before its first fragment, from a known peer.
        let early = identity(7, 2);
        begin(&mut table, early, 100);
        for n in 0..10_000 {
            begin(&mut table, identity(1000 + n, n), 1000);
        }
        assert!(table.entries.contains_key(&peer) && table.entries.contains_key(&early));
        assert_eq!(table.len(), PER_CLASS + 2);
        assert!(table.bytes() <= BYTES_PER_CLASS + 200);
        assert_eq!(table.sources.len(), PER_CLASS + 1);
    }

    #[test]
    fn a_source_gives_way_to_itself_first() {
        let mut table = Table::default();
        begin(&mut table, identity(7, 1), 100);
        for n in 0..1000 {
            begin(&mut table, identity(8, n), 100);
        }
        assert_eq!(table.len(), PER_SOURCE + 1);
        assert!(table.entries.contains_key(&identity(8, 999)));
        for n in 0..10 {
            begin(&mut table, identity(9, n), 60_000);
        }
        assert!(table.sources[&Address::v4([0, 0, 0, 9])].bytes <= BYTES_PER_SOURCE);
        assert!(table.entries.contains_key(&identity(7, 1)));
    }

    #[test]
    fn hosts_of_one_ipv6_network_are_one_source() {
        let mut table = Table::default();
        for n in 0..200u8 {
            let mut id = identity(1, u32::from(n));
            id.source = Address::v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, n]);
            begin(&mut table, id, 10);
        }
        assert_eq!(table.len(), PER_SOURCE);
    }

    #[test]
    fn what_takes_too_long_goes() {
        let mut table = Table::default();
        begin(&mut table, identity(1, 1), 10);
        table.entry(identity(1, 2), PATIENCE / 2, &mut Vec::new());
        let mut expired = Vec::new();
        table.expire(PATIENCE - 1, &mut expired);
        assert!(expired.is_empty());
        table.expire(PATIENCE, &mut expired);
        assert_eq!((expired.len(), table.len(), table.bytes()), (1, 1, 0));
        table.expire(PATIENCE * 2, &mut expired);
        assert_eq!((table.len(), table.sources.len()), (0, 0));
    }

    #[test]
    fn lines_do_not_grow_with_what_was_finished() {
        let mut table = Table::default();
        for n in 0..10_000 {
            begin(&mut table, identity(1, n), 10);
            table.remove(&identity(1, n));
            table.expire(1, &mut Vec::new());
        }
        assert!(table.classes.iter().all(|class| class.line.len() <= 1));
    }
}
