//! Two ends, the network between them, and the clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use adit_abi::{Direction, Spi};
use adit_ike::config::{Connection, Settings};
use adit_ike::endpoint::{Input, Transmit};
use adit_ike::random::Sequence;
use adit_ike::time::Instant;

use crate::host::{Host, connection};

/// What the network does to datagrams, in percent of them.
#[derive(Clone, Copy, Default)]
pub struct Faults {
    pub lost: u64,
    pub repeated: u64,
    /// Up to this many milliseconds on top of the way's 10: later datagrams overtake earlier ones.
    pub jitter: u64,
}

/// A datagram in the network, and to which end it goes.
#[derive(Clone)]
enum Flying {
    Ike(usize, Transmit),
    /// A packet of the data plane, sealed with the SA of this SPI.
    Esp(usize, Spi),
}

/// What a test does to a datagram on its way.
pub enum Fate {
    Pass,
    Drop,
}

/// From which end, and the datagram.
type Meddle = dyn FnMut(usize, &Transmit) -> Fate;

/// Two ends and what lies between.
pub struct Network {
    pub now: Instant,
    pub ends: [Host; 2],
    pub faults: Faults,
    /// Looks at each datagram: its number from this end, whose it is, and the datagram.
    pub meddle: Box<Meddle>,
    random: Sequence,
    /// Ordered by time, then by when it was sent.
    flying: BTreeMap<(Instant, u64), Flying>,
    count: u64,
    /// Packets of the data planes: all, those for which there was no SA to seal with, and none to open with.
    pub packets: u64,
    pub unsent: u64,
    pub lost: u64,
}

pub const A: usize = 0;
pub const B: usize = 1;

impl Network {
    pub fn between(a: Host, b: Host) -> Self {
        Self {
            now: Instant(1),
            ends: [a, b],
            faults: Faults::default(),
            meddle: Box::new(|_, _| Fate::Pass),
            random: Sequence::new(99),
            flying: BTreeMap::new(),
            count: 0,
            packets: 0,
            unsent: 0,
            lost: 0,
        }
    }

    /// Two gateways with one connection, changed as a test wants it.
    pub fn pair(change: impl Fn(usize, &mut Connection)) -> Self {
        Self::pair_with(|_| {}, change)
    }

    /// The same with other settings at both ends.
    pub fn pair_with(set: impl Fn(&mut Settings), change: impl Fn(usize, &mut Connection)) -> Self {
        let mut settings = Settings::default();
        set(&mut settings);
        let mut net = Self::between(
            Host::with_settings("192.0.2.1", 1, settings.clone()),
            Host::with_settings("192.0.2.2", 2, settings),
        );
        let mut a = connection(
            "gw",
            ("192.0.2.1", "192.0.2.2"),
            ("10.1.0.0/16", "10.2.0.0/16"),
        );
        let mut b = connection(
            "gw",
            ("192.0.2.2", "192.0.2.1"),
            ("10.2.0.0/16", "10.1.0.0/16"),
        );
        change(A, &mut a);
        change(B, &mut b);
        net.ends[A].endpoint.load(a).unwrap();
        net.ends[B].endpoint.load(b).unwrap();
        net
    }

    /// The same with another seed, for chance's sake.
    pub fn reseed(&mut self, seed: u64) {
        self.random = Sequence::new(seed);
    }

    pub fn input(&mut self, end: usize, input: Input<'_>) {
        let out = self.ends[end].handle(self.now, input);
        self.send(end, out);
    }

    pub fn initiate(&mut self, end: usize) {
        let connection: Arc<str> = "gw".into();
        let child = None;
        self.input(end, Input::Initiate { connection, child });
    }

    fn send(&mut self, from: usize, out: Vec<Transmit>) {
        for datagram in out {
            assert!(datagram.message.len() >= 28);
            if let Fate::Drop = (self.meddle)(from, &datagram) {
                continue;
            }
            let chance = |random: &mut Sequence| random.next_number() % 100;
            if chance(&mut self.random) < self.faults.lost {
                continue;
            }
            let copies = 1 + usize::from(chance(&mut self.random) < self.faults.repeated);
            for _ in 0..copies {
                let jitter = self.random.next_number() % (self.faults.jitter + 1);
                let at = self.now + Duration::from_millis(10 + jitter);
                self.count += 1;
                let flying = Flying::Ike(1 - from, datagram.clone());
                self.flying.insert((at, self.count), flying);
            }
        }
    }

    /// Lets the data plane of one end send a packet. Without an outbound SA there is none.
    pub fn packet(&mut self, from: usize) {
        self.packets += 1;
        let Some(spi) = self.ends[from].active else {
            self.unsent += 1;
            return;
        };
        let jitter = self.random.next_number() % (self.faults.jitter.min(500) + 1);
        let at = self.now + Duration::from_millis(10 + jitter);
        self.count += 1;
        self.flying
            .insert((at, self.count), Flying::Esp(1 - from, spi));
    }

    fn open(&mut self, end: usize, spi: Spi) {
        let host = &mut self.ends[end];
        match host
            .sas
            .get(&(Direction::Inbound as u8, spi))
            .map(|sa| sa.child)
        {
            None => {
                self.lost += 1;
            }
            Some(child) => {
                if host.opened.insert(spi) {
                    self.input(end, Input::FirstPacket(child));
                }
            }
        }
    }

    /// Does the next thing that time brings; whether there was one before `until`.
    fn step(&mut self, until: Instant) -> bool {
        let arrival = self.flying.keys().next().map(|(at, _)| *at);
        let wakes = self
            .ends
            .iter()
            .enumerate()
            .filter_map(|(n, e)| Some((e.wakes?, n)))
            .min();
        let next = [arrival, wakes.map(|(at, _)| at)]
            .into_iter()
            .flatten()
            .min();
        let Some(at) = next.filter(|at| *at <= until) else {
            return false;
        };
        self.now = self.now.max(at);
        if arrival == Some(at)
            && let Some((_, flying)) = self.flying.pop_first()
        {
            let (to, datagram) = match flying {
                Flying::Ike(to, datagram) => (to, datagram),
                Flying::Esp(to, spi) => {
                    self.open(to, spi);
                    return true;
                }
            };
            if datagram.destination.ip() == self.ends[to].address.ip() {
                let input = Input::Datagram {
                    local: datagram.destination,
                    remote: datagram.source,
                    message: &datagram.message,
                };
                self.input(to, input);
            }
        } else if let Some((_, end)) = wakes {
            self.input(end, Input::Timeout);
        }
        true
    }

    /// Lets this much time pass.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        let mut steps = 0;
        while self.step(until) {
            steps += 1;
            assert!(
                steps < 100_000,
                "time stands still: {:?} {:?}",
                self.ends[A].wakes,
                self.ends[B].wakes
            );
        }
        self.now = until;
    }

    /// Lets time pass until something holds.
    ///
    /// Panics after an hour: it never will.
    pub fn run_until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let until = self.now + Duration::from_secs(3600);
        while !holds(self) {
            assert!(
                self.step(until),
                "{what} does not come about: {:?} {:?}",
                self.ends[A].events,
                self.ends[B].events
            );
        }
    }
}
