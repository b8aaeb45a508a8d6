//! The engine as its caller sees it: inputs go in, outputs come out, and nothing else happens.
//!
//! ```text
//! loop {
//!     endpoint.handle(now, input);
//!     while let output = endpoint.poll_output() { do it, or on Output::Timeout(t) wait for the next input until t }
//! }
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `input`, `output` | what happened, what to do |
//! | `ask` | questions and answers |
//! | `event` | what people want to know, and why something failed |
//! | `receive` | a datagram's way to its IKE SA, or to a new one |
//! | `initiate` | bringing connections up |
//! | `targets` | commands and the data plane's news, to the IKE SAs they concern |
//! | `context` | what an IKE SA sees of the endpoint |
//! | `half_open`, `timers`, `spis` | bookkeeping |

mod ask;
mod context;
mod event;
mod half_open;
mod initiate;
mod input;
mod output;
mod receive;
mod spis;
mod targets;
mod timers;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

pub use ask::{Answer, Ask, AskId, Credential, Verification};
pub(crate) use context::{Context, Effect, Heir, Starts};
pub use event::{By, ChildInfo, Event, Failure, IkeInfo, Reason, Why};
pub use input::{Input, Target};
pub use output::{Encap, Install, Limit, Outer, Output, Remove, SaKeys, Transmit};
pub use spis::{RandomSpis, SpiSource};

use crate::config::{ConfigError, Connection, Host, Settings, Version};
use crate::pools::Pools;
use crate::random::Random;
use crate::time::Instant;
use crate::v2::IkeSa;
pub use crate::v2::Selectors;
use crate::v2::cookie::CookieMaker;
use crate::wire::IkeSpi;
use ask::Asks;
use context::Numbers;
use half_open::{HalfOpen, Initiator};
use timers::Timers;

/// An IKE SA's number, unique as long as the endpoint lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IkeSaId(pub u32);

/// A child's number, unique as long as the endpoint lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId(pub u32);

impl fmt::Display for IkeSaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Every IKE SA of a gateway, and the connections they are made from.
pub struct Endpoint {
    settings: Settings,
    connections: Vec<Arc<Connection>>,
    random: Box<dyn Random>,
    spis: Box<dyn SpiSource>,
    outputs: VecDeque<Output>,
    numbers: Numbers,
    asks: Asks,
    sas: HashMap<IkeSaId, Box<IkeSa>>,
    /// By our own SPI.
    by_spi: HashMap<IkeSpi, IkeSaId>,
    half_open: HalfOpen,
    cookies: CookieMaker,
    timers: Timers,
    /// Whose each child is.
    by_child: HashMap<ChildId, IkeSaId>,
    /// What failed and is tried again, and when.
    retries: Vec<(Instant, Arc<Connection>, Starts)>,
    /// Virtual addresses.
    pools: Pools,
    /// For CERTREQ.
    authorities: Vec<[u8; 20]>,
}

impl Endpoint {
    /// An endpoint without connections.
    #[must_use]
    pub fn new(
        settings: Settings,
        mut random: Box<dyn Random>,
        spis: Box<dyn SpiSource>,
        now: Instant,
    ) -> Self {
        Self {
            cookies: CookieMaker::new(now, &mut *random),
            settings,
            connections: Vec::new(),
            random,
            spis,
            outputs: VecDeque::new(),
            numbers: Numbers::default(),
            asks: Asks::default(),
            sas: HashMap::new(),
            by_spi: HashMap::new(),
            half_open: HalfOpen::default(),
            timers: Timers::default(),
            by_child: HashMap::new(),
            retries: Vec::new(),
            pools: Pools::default(),
            authorities: Vec::new(),
        }
    }

    /// Adds a connection, or puts it in the place of the one with its name. IKE SAs that are there keep what they began with.
    ///
    /// # Errors
    ///
    /// The field that cannot be used; nothing has changed then.
    pub fn load(&mut self, connection: Connection) -> Result<(), ConfigError> {
        connection.check()?;
        let connection = Arc::new(connection);
        match self
            .connections
            .iter_mut()
            .find(|c| c.name == connection.name)
        {
            Some(old) => *old = connection,
            None => self.connections.push(connection),
        }
        Ok(())
    }

    /// Forgets a connection; its IKE SAs stay. Whether there was one.
    pub fn unload(&mut self, name: &str) -> bool {
        let before = self.connections.len();
        self.connections.retain(|c| &*c.name != name);
        self.connections.len() < before
    }

    /// The pools of virtual addresses.
    pub fn pools(&self) -> &Pools {
        &self.pools
    }

    /// The pools of virtual addresses, to change them.
    pub fn pools_mut(&mut self) -> &mut Pools {
        &mut self.pools
    }

    /// Sets what CERTREQ payloads ask for: SHA-1 hashes of the public keys of trusted authorities (RFC 7296 §3.7).
    pub fn trust(&mut self, key_hashes: Vec<[u8; 20]>) {
        self.authorities = key_hashes;
    }

    /// The connections, in the order they were first loaded.
    pub fn connections(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.connections.iter()
    }

    /// The established IKE SAs with their children, in no order.
    pub fn established(&self) -> impl Iterator<Item = (IkeInfo, Vec<ChildInfo>)> {
        self.sas
            .values()
            .filter(|sa| sa.is_established())
            .map(|sa| {
                let children = sa.children.iter().filter(|c| c.is_live());
                (sa.info(), children.map(|c| c.info()).collect())
            })
    }

    /// How many IKE SAs there are, established or not.
    #[must_use]
    pub fn ike_sa_count(&self) -> usize {
        self.sas.len()
    }

    /// How many IKE SAs of other initiators are half-open.
    #[must_use]
    pub fn half_open_count(&self) -> usize {
        self.half_open.len()
    }

    /// Takes one thing that happened.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Datagram {
                local,
                remote,
                message,
            } => self.receive(now, local, remote, message),
            Input::Timeout => {}
            Input::Answer { id, answer } => self.answered(now, id, answer),
            Input::Initiate { connection, child } => {
                self.initiate(now, &connection, child.as_deref());
            }
            Input::Acquire { connection, child } => {
                self.initiate(now, &connection, Some(&child));
            }
            Input::Terminate(target) => self.terminate(now, &target),
            Input::Rekey(target) => self.rekey(now, &target),
            Input::FirstPacket(child) => {
                self.with_child(now, child, |sa, cx| sa.first_packet(cx, child));
            }
            Input::Heard(child) => self.with_child(now, child, |sa, cx| sa.heard = cx.now),
            Input::Expired { child, hard } => {
                self.with_child(now, child, |sa, cx| sa.child_expired(cx, child, hard));
            }
            Input::InstallFailed { child, reason } => {
                self.with_child(now, child, |sa, cx| sa.install_failed(cx, child, reason));
            }
        }
        self.run_timers(now);
    }

    /// The next thing to do; [`Output::Timeout`] once there is nothing more.
    pub fn poll_output(&mut self) -> Output {
        self.outputs
            .pop_front()
            .unwrap_or_else(|| Output::Timeout(self.next_deadline()))
    }

    fn next_deadline(&self) -> Option<Instant> {
        let retry = self.retries.iter().map(|(at, ..)| *at).min();
        [self.timers.next(), retry].into_iter().flatten().min()
    }

    fn run_timers(&mut self, now: Instant) {
        while let Some(at) = self.retries.iter().position(|(at, ..)| *at <= now) {
            let (_, connection, starts) = self.retries.swap_remove(at);
            self.ask_addresses(now, connection, starts);
        }
        while let Some(id) = self.timers.pop(now) {
            self.with_sa(now, id, |sa, cx| {
                sa.handle_timeout(cx);
                sa.next_task(cx);
            });
        }
    }

    fn answered(&mut self, now: Instant, id: AskId, answer: Answer) {
        match self.asks.take(id) {
            Some(ask::Asker::Ike(ike)) => {
                self.with_sa(now, ike, |sa, cx| sa.handle_answer(cx, id, answer));
            }
            Some(ask::Asker::Initiation(initiation)) => {
                self.addresses_answered(now, *initiation, answer);
            }
            None => {}
        }
    }

    /// Lets an IKE SA do something, and keeps the books about what became of it.
    fn with_sa(
        &mut self,
        now: Instant,
        id: IkeSaId,
        act: impl FnOnce(&mut IkeSa, &mut Context<'_>),
    ) {
        // Out of the map meanwhile, so that the context can borrow the rest.
        let Some(mut sa) = self.sas.remove(&id) else {
            return;
        };
        let before: Vec<_> = sa.children.iter().map(|c| c.id).collect();
        let effects = self.context(now, |cx| act(&mut sa, cx));
        for child in before {
            self.by_child.remove(&child);
        }
        self.settle(sa);
        self.apply(now, effects);
    }

    /// Runs something with a context of this endpoint; what it wants done to other IKE SAs comes back.
    fn context(&mut self, now: Instant, act: impl FnOnce(&mut Context<'_>)) -> Vec<Effect> {
        let mut effects = Vec::new();
        act(&mut Context {
            now,
            settings: &self.settings,
            random: &mut *self.random,
            spis: &mut *self.spis,
            outputs: &mut self.outputs,
            numbers: &mut self.numbers,
            asks: &mut self.asks,
            by_spi: &self.by_spi,
            effects: &mut effects,
            pools: &mut self.pools,
            authorities: &self.authorities,
            others: &self.sas,
        });
        effects
    }

    fn apply(&mut self, now: Instant, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Again(connection, starts) => self.initiate_again(now, connection, starts),
                Effect::Begin(connection, starts) => self.ask_addresses(now, connection, starts),
                Effect::Insert(sa) => {
                    let id = sa.id;
                    self.settle(sa);
                    self.with_sa(now, id, |sa, cx| sa.next_task(cx));
                }
                Effect::HandOver(to, heir) => {
                    self.with_sa(now, to, |sa, cx| sa.inherit(cx, *heir));
                }
                Effect::Redundant(id) => self.with_sa(now, id, |sa, cx| sa.is_redundant(cx)),
                Effect::OnlyOne(id) => self.only_one(now, id),
                Effect::Delete(id, why) => {
                    self.with_sa(now, id, |sa, cx| sa.terminate(cx, why));
                }
            }
        }
    }

    /// Puts an IKE SA back after it did something, or forgets it.
    fn settle(&mut self, sa: Box<IkeSa>) {
        let id = sa.id;
        if !sa.initiator && !sa.is_half_open() {
            self.half_open.remove(Initiator {
                remote: sa.begun_from,
                spi_i: u64::from_be_bytes(sa.spi_i.0),
            });
        }
        if sa.is_gone() {
            self.by_spi.remove(&sa.own_spi());
            self.timers.set(id, None);
            self.asks.forget(id);
            return;
        }
        self.by_spi.insert(sa.own_spi(), id);
        for child in &sa.children {
            self.by_child.insert(child.id, id);
        }
        self.timers.set(id, sa.deadline());
        self.sas.insert(id, sa);
    }

    /// The connections that may run between two addresses, the most particular first.
    fn candidates(&self, local: IpAddr, remote: IpAddr) -> Vec<Arc<Connection>> {
        let mut fitting: Vec<_> = self
            .connections
            .iter()
            .filter(|c| c.version != Version::V1)
            .filter_map(|c| {
                let here = Host::best(&c.local_addrs, local)?;
                let there = Host::best(&c.remote_addrs, remote)?;
                Some(((there, here), c.clone()))
            })
            .collect();
        // Stable: of equals the one that was loaded first.
        fitting.sort_by_key(|(fit, _)| std::cmp::Reverse(*fit));
        fitting.into_iter().map(|(_, c)| c).collect()
    }
}
