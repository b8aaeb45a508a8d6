//! IKE's way into the world: sockets, secrets, threads and the books of what the engine had put into the table.
//!
//! The engine (`adit_ike`) decides; [`crate::gateway`] does what it says. Here lies what that needs.
//!
//! | file | what |
//! | --- | --- |
//! | `sockets` | UDP ports 500 and 4500 of every own address |
//! | `credentials` | certificates, authorities, revocation lists, private keys |
//! | `secrets` | pre-shared keys and passwords |
//! | `workers` | threads for public-key work and name resolution |
//! | `children` | which SA of the table belongs to which child |
//! | `failures` | the last failures, for `adit explain` |
//! | `route` | the addresses a connection runs between |

pub mod children;
pub mod credentials;
pub mod failures;
mod route;
pub mod secrets;
pub mod sockets;
mod workers;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use adit_ike::endpoint::{Answer, AskId, Endpoint, IkeSaId, RandomSpis, Remove, Transmit};
use adit_ike::random::Random;
use adit_ike::time::Instant;
use mio::{Registry, Token, Waker};

use crate::connection::Loaded;
use children::Children;
use credentials::Credentials;
use failures::Failures;
pub(crate) use route::find as find_route;
use secrets::Secrets;
use sockets::Sockets;
use workers::Workers;

/// Threads for public-key work.
const THREADS: usize = 2;
/// Messages of one IKE SA that wait for its SAs, at most: an endless rekey cannot fill the memory.
const MOST_HELD: usize = 64;

/// The operating system's random numbers.
struct System;

impl Random for System {
    fn fill(&mut self, bytes: &mut [u8]) {
        // Without random numbers there is no key that is not known to others.
        getrandom::fill(bytes).expect("the operating system gives random numbers");
    }
}

/// What waits until the SAs of an IKE SA are in the table.
#[derive(Default)]
struct Held {
    messages: VecDeque<Transmit>,
    removals: Vec<Remove>,
}

/// The engine and all that it needs of this process.
pub struct Ike {
    /// The engine.
    pub endpoint: Endpoint,
    /// The sockets.
    pub sockets: Sockets,
    /// Certificates and private keys.
    pub credentials: Credentials,
    /// Shared secrets.
    pub secrets: Secrets,
    /// Connections, by name.
    pub loaded: BTreeMap<Arc<str>, Loaded>,
    /// What is in the table.
    pub children: Children,
    /// The last failures.
    pub failures: Failures,
    workers: Workers<(AskId, Answer)>,
    /// The threads wake the loop by this.
    waker: Token,
    held: HashMap<IkeSaId, Held>,
    due: Option<Instant>,
}

impl Ike {
    /// An engine without connections. Tokens from `first` on are its own.
    ///
    /// # Errors
    /// When threads cannot be started.
    pub fn start(registry: &Registry, first: usize, now: Instant) -> io::Result<Self> {
        let settings = adit_ike::config::Settings::default();
        let ports = [settings.port, settings.nat_port];
        let waker = Arc::new(Waker::new(registry, Token(first))?);
        Ok(Self {
            endpoint: Endpoint::new(settings, Box::new(System), Box::new(RandomSpis::new()), now),
            sockets: Sockets::new(registry, first + 1, ports)?,
            credentials: Credentials::default(),
            secrets: Secrets::default(),
            loaded: BTreeMap::new(),
            children: Children::default(),
            failures: Failures::default(),
            workers: Workers::start(THREADS, &waker)?,
            waker: Token(first),
            held: HashMap::new(),
            due: None,
        })
    }

    /// Remembers what an event says; returns whether it was about the sockets or the threads.
    pub fn ready(&mut self, event: &mio::event::Event) -> bool {
        event.token() == self.waker || self.sockets.ready(event)
    }

    /// Loads a connection, in the place of an earlier one of its name.
    ///
    /// # Errors
    /// What the engine cannot work with; nothing has changed then.
    pub fn load(&mut self, loaded: Loaded) -> Result<(), String> {
        let connection = loaded.connection.clone();
        self.endpoint.load(connection).map_err(|e| e.to_string())?;
        self.loaded.insert(loaded.connection.name.clone(), loaded);
        Ok(())
    }

    /// Forgets a connection; its IKE SAs stay. Whether there was one.
    pub fn unload(&mut self, name: &str) -> bool {
        self.loaded.remove(name);
        self.endpoint.unload(name)
    }

    /// Has something found out by a thread; the answer comes by [`Ike::poll_answer`].
    pub(crate) fn find_out(
        &self,
        id: AskId,
        work: impl FnOnce() -> Answer + Send + 'static,
    ) -> bool {
        self.workers.submit(move || (id, work())).is_ok()
    }

    /// An answer that a thread has found.
    pub fn poll_answer(&self) -> Option<(AskId, Answer)> {
        self.workers.poll()
    }

    /// Sends a message, once the SAs it may speak of are in the table.
    ///
    /// # Errors
    /// As [`Sockets::send`].
    pub fn transmit(&mut self, message: Transmit) -> io::Result<()> {
        let Some(ike) = message.ike.filter(|ike| self.children.is_preparing(*ike)) else {
            return self.send(&message);
        };
        let held = &mut self.held.entry(ike).or_default().messages;
        if held.len() >= MOST_HELD {
            // Retransmission brings it back.
            held.pop_front();
        }
        held.push_back(message);
        Ok(())
    }

    /// Keeps a removal back while SAs of its IKE SA are on their way into the table: the one that goes may be all that
    /// its policy has until then. Whether it was kept back.
    pub fn hold_removal(&mut self, removal: Remove) -> bool {
        let hold = self.children.is_preparing(removal.ike);
        if hold {
            let held = self.held.entry(removal.ike).or_default();
            held.removals.push(removal);
        }
        hold
    }

    /// Sends what waited for an IKE SA's SAs, and gives the removals that did.
    pub fn release(&mut self, ike: IkeSaId) -> Vec<Remove> {
        let held = self.held.remove(&ike).unwrap_or_default();
        for message in &held.messages {
            if let Err(e) = self.send(message) {
                tracing::debug!(?message, "not sent: {e}");
            }
        }
        held.removals
    }

    fn send(&self, m: &Transmit) -> io::Result<()> {
        self.sockets
            .send(m.source, m.destination, m.marker, &m.message)
    }

    /// The engine wants to be called at this moment, or with the next input.
    pub fn set_due(&mut self, due: Option<Instant>) {
        self.due = due;
    }

    /// Whether the moment has come.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// How long nothing is due.
    pub fn timeout(&self, now: Instant) -> Option<Duration> {
        self.due.map(|due| due.since(now))
    }
}
