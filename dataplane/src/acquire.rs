//! Packets that are held for an SA: the first and the last of each flow, copied out so that they hold no frames.
//!
//! | bound | where it is |
//! | --- | --- |
//! | flows at once | [`PLACES`] a worker |
//! | flows of one source | [`PER_SOURCE`] |
//! | new flows a second | [`NEW_PER_SECOND`] a worker |
//! | time | the setting `hold_seconds`; with control dead it ends the wait |
//!
//! When all places are taken, whoever has the most gives way: of the policy with the most flows, the network with the
//! most, the source with the most, the oldest. So a flood of made-up sources in one network, or under one policy,
//! drives out its own, and others keep their places.

use adit_abi::{Address, DropReason, Flow, Side};

use crate::events::{Events, SECOND, TokenBucket};
use crate::frame::{Frame, Stock};
use crate::hash::{fold, secret_seed};
use crate::ledger::Ledger;
use crate::packet::Packet;

/// Flows held at once.
const PLACES: usize = 256;
/// Flows of one source address held at once.
const PER_SOURCE: u16 = 16;
/// New flows taken in a second: each costs a walk over the places.
const NEW_PER_SECOND: u32 = 4000;
/// After so many nanoseconds the question is asked again: the first may have gone unheard.
const ASK_AGAIN: u64 = 2 * SECOND;
/// Between two looks at the table, in nanoseconds.
const LOOK: u64 = SECOND / 1000;

/// What is held under one policy and waits for one SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldFlow {
    /// Slot of the policy.
    pub policy: u32,
    /// What selectors see of its packets.
    pub flow: Flow,
    /// Whether they show their ports.
    pub ports: bool,
}

/// A copy of a packet with where it came in.
struct Copy {
    bytes: Box<[u8]>,
    length: usize,
    port: u8,
    side: Side,
}

impl Copy {
    fn new(chunk: usize) -> Self {
        Self {
            bytes: vec![0; chunk].into_boxed_slice(),
            length: 0,
            port: 0,
            side: Side::Inside,
        }
    }

    /// Takes a packet's bytes; `false` if it has none or too many.
    fn take(&mut self, packet: &Packet) -> bool {
        let bytes = packet.frame.bytes();
        let Some(room) = self.bytes.get_mut(..bytes.len()) else {
            return false;
        };
        room.copy_from_slice(bytes);
        (self.length, self.port, self.side) = (bytes.len(), packet.port, packet.side);
        self.length > 0
    }

    fn fill(&self, stock: &mut Stock) -> Option<Released> {
        let bytes = self.bytes.get(..self.length).filter(|b| !b.is_empty())?;
        let mut frame = stock.take()?;
        if !frame.fill(bytes) {
            stock.put(frame);
            return None;
        }
        Some(Released {
            frame,
            port: self.port,
            side: self.side,
        })
    }
}

/// A held packet in a frame again, to be parsed.
pub struct Released {
    /// The frame.
    pub frame: Frame,
    /// Port that it came in through.
    pub port: u8,
    /// That port's side.
    pub side: Side,
}

struct Place {
    held: Option<HeldFlow>,
    crowds: [usize; 3],
    first: Copy,
    last: Copy,
    until: u64,
    ask_at: u64,
    number: u64,
}

/// How many places policies, networks and sources have; what shares a counter counts as one.
struct Crowds {
    counts: [[u16; Self::COUNTERS]; 3],
    seed: u64,
}

impl Crowds {
    const COUNTERS: usize = 1024;

    fn of(&self, held: &HeldFlow) -> [usize; 3] {
        let source = held.flow.local;
        let bits = if source.is_v4() { 8 } else { 80 };
        let network = Address::from_u128(source.to_u128() >> bits << bits);
        let at = |a: Address, kind: u64| {
            let [x, y] = a.to_words();
            let hash = fold(x ^ self.seed, y ^ kind ^ 0x9e37_79b9_7f4a_7c15);
            (fold(hash, self.seed) >> 20) as usize % Self::COUNTERS
        };
        let policy = Address::from_u128(held.policy.into());
        [at(policy, 1), at(network, 2), at(source, 3)]
    }

    fn change(&mut self, crowds: &[usize; 3], by: i16) {
        for (counts, at) in self.counts.iter_mut().zip(crowds) {
            if let Some(n) = counts.get_mut(*at) {
                *n = n.saturating_add_signed(by);
            }
        }
    }

    /// Their sizes if `newcomer` came in.
    fn sizes(&self, crowds: &[usize; 3], newcomer: &[usize; 3]) -> [u16; 3] {
        std::array::from_fn(|kind| {
            let n = self.counts[kind].get(crowds[kind]).copied().unwrap_or(0);
            n + u16::from(crowds[kind] == newcomer[kind])
        })
    }
}

/// The packets that a worker holds.
pub struct Held {
    places: Vec<Place>,
    used: usize,
    crowds: Box<Crowds>,
    admission: TokenBucket,
    next: u64,
    cursor: usize,
    look_at: u64,
}

impl Held {
    /// Nothing held, for packets of frames of this size.
    pub fn new(chunk: usize) -> Self {
        let place = || Place {
            held: None,
            crowds: [0; 3],
            first: Copy::new(chunk),
            last: Copy::new(chunk),
            until: 0,
            ask_at: 0,
            number: 0,
        };
        Self {
            places: std::iter::repeat_with(place).take(PLACES).collect(),
            used: 0,
            crowds: Box::new(Crowds {
                counts: [[0; Crowds::COUNTERS]; 3],
                seed: secret_seed(),
            }),
            admission: TokenBucket::default(),
            next: 0,
            cursor: 0,
            look_at: 0,
        }
    }

    /// How many flows wait.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Copies a packet out that needs an SA; what it drives out is counted. `hold` is in nanoseconds.
    pub fn hold(
        &mut self,
        policy: u32,
        packet: Packet,
        hold: u64,
        now: u64,
        ledger: &mut Ledger<'_>,
    ) {
        let held = HeldFlow {
            policy,
            flow: packet.flow_outward(),
            ports: packet.ports.is_some(),
        };
        let same = |place: &&mut Place| place.held == Some(held);
        if let Some(place) = self.places.iter_mut().find(same) {
            if place.last.length > 0 {
                ledger.count(DropReason::NoSa);
            }
            place.last.length = 0;
            if !place.last.take(&packet) {
                ledger.count(DropReason::NoSa);
            }
            return ledger.stock.put(packet.frame);
        }
        let crowds = self.crowds.of(&held);
        let place = self
            .admission
            .take(now, NEW_PER_SECOND)
            .then(|| self.room_for(&crowds))
            .flatten();
        let Some(at) = place else {
            return ledger.drop(packet.frame, DropReason::NoSa);
        };
        self.let_go(at, DropReason::NoSa, ledger);
        self.next += 1;
        let Some(place) = self.places.get_mut(at) else {
            return ledger.drop(packet.frame, DropReason::NoSa);
        };
        if !place.first.take(&packet) {
            return ledger.drop(packet.frame, DropReason::NoSa);
        }
        place.held = Some(held);
        place.crowds = crowds;
        (place.until, place.ask_at, place.number) = (now.saturating_add(hold), now, self.next);
        self.crowds.change(&crowds, 1);
        self.used += 1;
        self.look_at = 0;
        ledger.stock.put(packet.frame);
    }

    /// The place that a new flow gets.
    fn room_for(&self, crowds: &[usize; 3]) -> Option<usize> {
        let taken = || {
            let all = self.places.iter().enumerate();
            all.filter(|(_, p)| p.held.is_some())
        };
        let oldest = |(_, p): &(usize, &Place)| std::cmp::Reverse(p.number);
        if self.crowds.counts[2].get(crowds[2])? >= &PER_SOURCE {
            let own = taken().filter(|(_, p)| p.crowds[2] == crowds[2]);
            return own.max_by_key(oldest).map(|(at, _)| at);
        }
        if let Some(free) = self.places.iter().position(|p| p.held.is_none()) {
            return Some(free);
        }
        let most = |place: &(usize, &Place)| {
            let sizes = self.crowds.sizes(&place.1.crowds, crowds);
            (sizes, oldest(place))
        };
        taken().max_by_key(most).map(|(at, _)| at)
    }

    /// Drops what a place holds.
    fn let_go(&mut self, at: usize, reason: DropReason, ledger: &mut Ledger<'_>) {
        let Some(place) = self.places.get_mut(at).filter(|p| p.held.is_some()) else {
            return;
        };
        for copy in [&place.first, &place.last] {
            if copy.length > 0 {
                ledger.count(reason);
            }
        }
        self.clear(at);
    }

    fn clear(&mut self, at: usize) {
        let Some(place) = self.places.get_mut(at) else {
            return;
        };
        if place.held.take().is_some() {
            self.used -= 1;
            self.crowds.change(&place.crowds, -1);
        }
        (place.first.length, place.last.length) = (0, 0);
    }

    /// Whether it is time to look whether something can go on; once in a millisecond while anything waits.
    #[inline]
    pub fn is_due(&mut self, now: u64) -> bool {
        if self.used == 0 || now < self.look_at {
            return false;
        }
        self.look_at = now + LOOK;
        true
    }

    /// What is in a place.
    pub fn at(&self, place: usize) -> Option<HeldFlow> {
        self.places.get(place)?.held
    }

    /// How many places there are.
    pub fn places(&self) -> usize {
        self.places.len()
    }

    /// The packets of a place in frames of `stock`, the first one first; the place is free afterwards. A packet for
    /// which there is no frame is dropped.
    pub fn release(&mut self, at: usize, ledger: &mut Ledger<'_>) -> [Option<Released>; 2] {
        let Some(place) = self.places.get(at).filter(|p| p.held.is_some()) else {
            return [None, None];
        };
        let released = [&place.first, &place.last].map(|copy| {
            let released = copy.fill(ledger.stock);
            if released.is_none() && copy.length > 0 {
                ledger.count(DropReason::NoFrame);
            }
            released
        });
        self.clear(at);
        released
    }

    /// The first packet of a place in a frame, which stays held.
    pub fn peek(&self, at: usize, stock: &mut Stock) -> Option<Released> {
        self.places.get(at)?.first.fill(stock)
    }

    /// Drops a flow's packets.
    pub fn refuse(&mut self, at: usize, reason: DropReason, ledger: &mut Ledger<'_>) {
        self.let_go(at, reason, ledger);
    }

    /// Another policy covers the flow by now.
    pub fn move_to(&mut self, at: usize, policy: u32) {
        if let Some(held) = self.places.get_mut(at).and_then(|p| p.held.as_mut()) {
            held.policy = policy;
        }
    }

    /// Asks for the SAs that are missing, each flow in its turn as far as the rate allows, and gives up what has
    /// waited too long.
    pub fn ask(&mut self, now: u64, events: &mut Events<'_>, ledger: &mut Ledger<'_>) {
        let count = self.places.len();
        for step in 0..count {
            let at = (self.cursor + step) % count;
            let Some(place) = self.places.get_mut(at) else {
                return;
            };
            let Some(held) = place.held.filter(|_| now >= place.ask_at) else {
                continue;
            };
            if !events.acquire(held.policy, held.flow, held.ports) {
                // The next turn goes on here.
                self.cursor = at;
                break;
            }
            place.ask_at = now + ASK_AGAIN;
        }
        for at in 0..count {
            if self
                .places
                .get(at)
                .is_some_and(|p| p.held.is_some() && now >= p.until)
            {
                self.let_go(at, DropReason::HeldTooLong, ledger);
            }
        }
    }
}
