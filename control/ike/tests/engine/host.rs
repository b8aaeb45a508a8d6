//! One end: an endpoint, a stand-in for the data plane, and answers to what the endpoint asks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use adit_abi::{Direction, Mode, Spi};
use adit_ike::config::{
    AuthMethod, Child, Connection, Host as Address, LocalAuth, RemoteAuth, SelectorSpec, Settings,
};
use adit_ike::crypto::Secret;
use adit_ike::endpoint::{
    Answer, Ask, Endpoint, Event, Input, Install, Output, RandomSpis, Reason, Transmit,
};
use adit_ike::identity::{Identity, IdentityPattern};
use adit_ike::proposal::{Protocol, parse_list};
use adit_ike::random::Sequence;
use adit_ike::time::Instant;

use crate::pki::Pki;

/// An end of the network.
pub struct Host {
    pub endpoint: Endpoint,
    pub address: SocketAddr,
    /// What the data plane would hold, by direction and SPI.
    pub sas: BTreeMap<(u8, Spi), Install>,
    pub events: Vec<Event>,
    pub sent: Vec<Transmit>,
    pub log: Vec<String>,
    pub secret: Option<&'static [u8]>,
    /// Its certificate and what it trusts; what it trusts instead.
    pub pki: Option<Pki>,
    pub trusts: Option<Pki>,
    /// The outbound SA that packets are sealed with: the last one put in.
    pub active: Option<Spi>,
    /// Inbound SAs that have opened a packet.
    pub opened: BTreeSet<Spi>,
    /// When the endpoint wants to be called.
    pub wakes: Option<Instant>,
}

impl Host {
    pub fn new(address: &str, seed: u64) -> Self {
        Self::with_settings(address, seed, Settings::default())
    }

    pub fn with_settings(address: &str, seed: u64, settings: Settings) -> Self {
        let random = Box::new(Sequence::new(seed));
        let spis = Box::new(RandomSpis::new());
        Self {
            endpoint: Endpoint::new(settings, random, spis, Instant(0)),
            address: SocketAddr::new(address.parse().unwrap(), 500),
            sas: BTreeMap::new(),
            events: Vec::new(),
            sent: Vec::new(),
            log: Vec::new(),
            secret: Some(b"a secret between two"),
            pki: None,
            trusts: None,
            active: None,
            opened: BTreeSet::new(),
            wakes: None,
        }
    }

    /// Hands an input over, does what the endpoint wants, and returns the datagrams to send.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) -> Vec<Transmit> {
        self.endpoint.handle(now, input);
        let mut out = Vec::new();
        loop {
            match self.endpoint.poll_output() {
                Output::Timeout(at) => {
                    self.wakes = at;
                    self.sent.extend(out.iter().cloned());
                    return out;
                }
                Output::Transmit(t) => {
                    self.log.push(format!(
                        "{now:?} send {} flags {:x} id {}",
                        t.message[18], t.message[19], t.message[23]
                    ));
                    out.push(t);
                }
                Output::Ask { id, ask, .. } => {
                    let answer = self.answer(&ask);
                    self.endpoint.handle(now, Input::Answer { id, answer });
                }
                Output::Install(sa) => {
                    let key = (sa.direction as u8, sa.spi);
                    self.log.push(format!(
                        "{now:?} install {key:?} {:?} {:?}",
                        sa.child, sa.replaces
                    ));
                    if sa.direction == Direction::Outbound {
                        self.active = Some(sa.spi);
                    }
                    assert!(
                        self.sas.insert(key, *sa).is_none(),
                        "installed twice: {key:?}"
                    );
                }
                Output::Remove(r) => {
                    let key = (r.direction as u8, r.spi);
                    self.log.push(format!("{now:?} remove {key:?}"));
                    if r.direction == Direction::Outbound && self.active == Some(r.spi) {
                        self.active = None;
                    }
                    let sa = self.sas.remove(&key);
                    let sa = sa.unwrap_or_else(|| panic!("removed, but never there: {r:?}"));
                    assert_eq!(sa.child, r.child);
                }
                Output::Event(event) => self.events.push(*event),
            }
        }
    }

    fn answer(&self, ask: &Ask) -> Answer {
        match ask {
            Ask::Secret { .. } | Ask::EapPassword { .. } => {
                Answer::Secret(self.secret.map(Secret::copy_of))
            }
            Ask::Credential { .. } => match &self.pki {
                Some(pki) => pki.credential(),
                None => Answer::Credential(None),
            },
            Ask::Sign {
                peer_hashes,
                octets,
                ..
            } => self.pki.as_ref().unwrap().sign(peer_hashes, octets),
            Ask::Verify(v) => {
                let trusting = self.trusts.as_ref().or(self.pki.as_ref());
                trusting.unwrap().verify(v)
            }
            Ask::Radius { .. } => panic!("no RADIUS server here"),
            Ask::Addresses { remote, .. } => {
                Answer::Addresses(remote.iter().find_map(|r| match r {
                    Address::Address(ip) => Some((self.address.ip(), *ip)),
                    _ => None,
                }))
            }
        }
    }

    pub fn of(&self, direction: Direction) -> Vec<&Install> {
        self.sas
            .values()
            .filter(|sa| sa.direction == direction)
            .collect()
    }

    /// The reasons of all failures so far.
    pub fn failures(&self) -> Vec<&Reason> {
        let reason = |e: &'_ Event| matches!(e, Event::Failed(_));
        let failed = self.events.iter().filter(|e| reason(e));
        failed
            .map(|e| match e {
                Event::Failed(f) => &f.reason,
                _ => unreachable!(),
            })
            .collect()
    }

    pub fn established(&self) -> usize {
        self.endpoint.established().count()
    }

    pub fn children(&self) -> usize {
        self.endpoint
            .established()
            .map(|(_, children)| children.len())
            .sum()
    }
}

/// Whether every outbound SA of one end is an inbound SA of the other, with the same keys.
pub fn fit_each_other(a: &Host, b: &Host) -> bool {
    let one_way = |from: &Host, to: &Host| {
        from.of(Direction::Outbound).iter().all(|out| {
            let there = to.sas.get(&(Direction::Inbound as u8, out.spi));
            there.is_some_and(|sa| {
                sa.keys == out.keys
                    && sa.suite == out.suite
                    && sa.mode == out.mode
                    && sa.selectors.local == out.selectors.remote
                    && sa.selectors.remote == out.selectors.local
            })
        })
    };
    one_way(a, b) && one_way(b, a)
}

/// A connection with a pre-shared key between two addresses and one child between two networks.
pub fn connection(name: &str, ends: (&str, &str), nets: (&str, &str)) -> Connection {
    let mut c = Connection::new(name);
    let address = |s: &str| s.parse::<IpAddr>().unwrap();
    c.local_addrs = vec![Address::Address(address(ends.0))];
    c.remote_addrs = vec![Address::Address(address(ends.1))];
    c.proposals = parse_list(Protocol::Ike, "aes256gcm16-prfsha256-x25519").unwrap();
    c.local = vec![LocalAuth::new(AuthMethod::Psk)];
    let peer = IdentityPattern::Exact(Identity::from(address(ends.1)));
    c.remote = vec![RemoteAuth::new(AuthMethod::Psk, peer)];
    c.mobike = false;
    c.children = vec![std::sync::Arc::new(child("net", nets))];
    c
}

pub fn child(name: &str, (local, remote): (&str, &str)) -> Child {
    let mut c = Child::new(name);
    let net = |s: &str| {
        let (address, length) = s.split_once('/').unwrap();
        SelectorSpec::prefix(address.parse().unwrap(), length.parse().unwrap()).unwrap()
    };
    c.local_ts = vec![net(local)];
    c.remote_ts = vec![net(remote)];
    c.esp_proposals = parse_list(Protocol::Esp, "aes256gcm16-esn").unwrap();
    c.mode = Mode::Tunnel;
    c.start_action = adit_ike::config::Action::Start;
    c
}
