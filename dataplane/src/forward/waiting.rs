//! Packets that wait for a neighbour's Ethernet address, copied out so that they hold no frames.

use adit_abi::DropReason;

use super::fib::{Fib, Wire};
use crate::events::SECOND;
use crate::frame::{Frame, Stock};
use crate::turn::Turn;

/// Packets that may wait at once.
const PLACES: usize = 64;
/// Packets that may wait for one neighbour.
const PER_NEIGHBOUR: usize = 8;
/// How long one waits, in nanoseconds.
const PATIENCE: u64 = 3 * SECOND;

struct Place {
    wire: Option<Wire>,
    until: u64,
    ask_again: u64,
    number: u64,
    length: usize,
    bytes: Box<[u8]>,
}

/// The queue: bounded in packets, per neighbour and in time; the oldest gives way.
pub struct Waiting {
    places: Vec<Place>,
    used: usize,
    next: u64,
}

impl Waiting {
    /// An empty queue for packets of frames of this size.
    pub fn new(chunk: usize) -> Self {
        let place = || Place {
            wire: None,
            until: 0,
            ask_again: 0,
            number: 0,
            length: 0,
            bytes: vec![0; chunk].into_boxed_slice(),
        };
        Self {
            places: std::iter::repeat_with(place).take(PLACES).collect(),
            used: 0,
            next: 0,
        }
    }

    /// Copies a packet out and asks for its neighbour.
    pub fn hold(&mut self, frame: Frame, wire: Wire, turn: &mut Turn<'_>) {
        let ledger = &mut turn.ledger;
        //= RFC 1122 §2.3.2.2: keep at least the latest packet until the address is resolved
        turn.events.need_neighbour(wire.port, wire.via);
        let same = |w: &Wire| w.port == wire.port && w.via == wire.via;
        let of_neighbour = self
            .places
            .iter()
            .filter(|p| p.wire.as_ref().is_some_and(same))
            .count();
        let full = self.used == self.places.len();
        let victim = if of_neighbour >= PER_NEIGHBOUR || full {
            self.places
                .iter_mut()
                .filter(|p| match &p.wire {
                    Some(w) => full && of_neighbour < PER_NEIGHBOUR || same(w),
                    None => false,
                })
                .min_by_key(|p| p.number)
        } else {
            self.places.iter_mut().find(|p| p.wire.is_none())
        };
        let (Some(place), bytes) = (victim, frame.bytes()) else {
            ledger.drop(frame, DropReason::NoNeighbour);
            return;
        };
        let Some(room) = place.bytes.get_mut(..bytes.len()) else {
            ledger.drop(frame, DropReason::NoNeighbour);
            return;
        };
        room.copy_from_slice(bytes);
        place.length = bytes.len();
        if place.wire.replace(wire).is_some() {
            ledger.count(DropReason::NoNeighbour);
        } else {
            self.used += 1;
        }
        self.next += 1;
        (place.number, place.until) = (self.next, turn.now + PATIENCE);
        place.ask_again = turn.now + SECOND;
        ledger.stock.put(frame);
    }

    /// A packet whose neighbour is known by now, in a frame of `stock`; the oldest first.
    pub fn resolved(&mut self, fib: &Fib, stock: &mut Stock) -> Option<(Frame, Wire)> {
        if self.used == 0 {
            return None;
        }
        let known = |p: &&mut Place| {
            p.wire
                .as_ref()
                .is_some_and(|w| fib.neighbour(w.port, &w.via).is_some())
        };
        let place = self
            .places
            .iter_mut()
            .filter(known)
            .min_by_key(|p| p.number)?;
        let mut wire = place.wire?;
        wire.mac = fib.neighbour(wire.port, &wire.via);
        let mut frame = stock.take()?;
        if !frame.fill(place.bytes.get(..place.length).unwrap_or_default()) {
            stock.put(frame);
            return None;
        }
        place.wire = None;
        self.used -= 1;
        Some((frame, wire))
    }

    /// Gives up on packets that have waited too long, and asks again for the neighbours of the others: the first question may have gone
    /// unheard, with control away or the neighbour just asked for.
    pub fn expire(&mut self, turn: &mut Turn<'_>) {
        if self.used == 0 {
            return;
        }
        for place in &mut self.places {
            let Some(wire) = &place.wire else { continue };
            if turn.now >= place.until {
                place.wire = None;
                self.used -= 1;
                turn.ledger.count(DropReason::NoNeighbour);
            } else if turn.now >= place.ask_again {
                place.ask_again = turn.now + SECOND;
                turn.events.need_neighbour(wire.port, wire.via);
            }
        }
    }

    /// How many packets wait.
    pub fn len(&self) -> usize {
        self.used
    }
}
