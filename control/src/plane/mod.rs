//! The link to the data plane: who is connected, what it sent, what waits to be sent to it.
//!
//! One data plane counts at a time: the one that said Hello last. What its messages mean is decided elsewhere
//! ([`crate::gateway`]); nothing that it sends can do more than get it disconnected.

pub mod events;
pub mod session;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_abi::link::{Link, Listener, Received};
use adit_abi::message::{Setup, ToControl, ToDataplane};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use tracing::warn;

/// Connections that have not said Hello yet, at most.
const CANDIDATES: usize = 4;
/// How long they may take.
const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// Messages that wait for a data plane that does not read, at most. A million SAs are a thousand messages.
const OUTBOX: usize = 1 << 16;
/// Messages taken from one connection before others have their turn.
const TURN: usize = 64;

/// Something from the data plane.
#[derive(Debug)]
pub enum Incoming {
    /// A data plane introduces itself. It takes the place of any other.
    Hello {
        /// Its layout version.
        layout: u64,
        /// Its process.
        pid: u32,
        /// What it runs already.
        running: Option<Setup>,
        /// Policy and state region that it kept.
        fds: Vec<OwnedFd>,
    },
    /// A message of the data plane that counts.
    Message(ToControl, Vec<OwnedFd>),
    /// The data plane that counted is gone.
    Gone,
}

struct Peer {
    link: Link,
    token: usize,
    since: Instant,
    readable: bool,
    outbox: VecDeque<(Vec<u8>, Vec<Arc<OwnedFd>>)>,
    broken: bool,
}

impl Peer {
    fn send(&mut self, message: &ToDataplane, fds: &[Arc<OwnedFd>]) {
        if self.outbox.len() >= OUTBOX {
            self.broken = true;
            return;
        }
        self.outbox.push_back((message.emit(), fds.to_vec()));
        self.flush();
    }

    fn flush(&mut self) {
        while let Some((bytes, fds)) = self.outbox.front() {
            let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(|fd| fd.as_fd()).collect();
            match self.link.send(bytes, &borrowed) {
                Ok(()) => {
                    self.outbox.pop_front();
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.broken = true;
                    return;
                }
            }
        }
    }

    /// The next message; `Err` for a peer that is gone or does not keep to the protocol.
    fn receive(&mut self) -> Result<Option<(ToControl, Vec<OwnedFd>)>, ()> {
        if self.broken {
            return Err(());
        }
        if !self.readable {
            return Ok(None);
        }
        match self.link.receive() {
            Ok(Received::Message(bytes, fds)) => match ToControl::parse(&bytes) {
                Ok(message) => Ok(Some((message, fds))),
                Err(e) => {
                    warn!("the data plane sent what cannot be read: {e}");
                    Err(())
                }
            },
            Ok(Received::Nothing) => {
                self.readable = false;
                Ok(None)
            }
            Ok(Received::Closed) => Err(()),
            Err(e) => {
                warn!("the link to the data plane failed: {e}");
                Err(())
            }
        }
    }
}

/// Where data planes connect.
pub struct Plane {
    listener: Listener,
    acceptable: bool,
    first_token: usize,
    candidates: Vec<Peer>,
    current: Option<Peer>,
    taken: usize,
}

impl Plane {
    /// Tokens that a plane needs, from its first on.
    pub const TOKENS: usize = 1 + CANDIDATES + 1;

    /// Listens at `path`, for this user's processes only.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn bind(path: &Path, registry: &Registry, first_token: usize) -> io::Result<Self> {
        let listener = Listener::bind(path)?;
        registry.register(
            &mut SourceFd(&listener.as_fd().as_raw_fd()),
            Token(first_token),
            Interest::READABLE,
        )?;
        Ok(Self {
            listener,
            acceptable: true,
            first_token,
            candidates: Vec::new(),
            current: None,
            taken: 0,
        })
    }

    /// Whether a data plane that said Hello is connected.
    pub fn is_connected(&self) -> bool {
        self.current.is_some()
    }

    /// Remembers what an event says; returns whether it was ours.
    pub fn ready(&mut self, event: &mio::event::Event) -> bool {
        let Some(n) = event
            .token()
            .0
            .checked_sub(self.first_token)
            .filter(|n| *n < Self::TOKENS)
        else {
            return false;
        };
        if n == 0 {
            self.acceptable = true;
        }
        for peer in self.candidates.iter_mut().chain(&mut self.current) {
            if peer.token == n {
                peer.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
                if event.is_writable() {
                    peer.flush();
                }
            }
        }
        true
    }

    /// Sends to the data plane that counts; lost if there is none.
    pub fn send(&mut self, message: &ToDataplane, fds: &[Arc<OwnedFd>]) {
        if let Some(peer) = &mut self.current {
            peer.send(message, fds);
        }
    }

    /// Breaks with the data plane that counts; [`Incoming::Gone`] follows.
    pub fn disconnect(&mut self) {
        if let Some(peer) = &mut self.current {
            peer.broken = true;
        }
    }

    /// The next thing that happened, [`None`] when there is nothing.
    pub fn poll(&mut self, registry: &Registry, now: Instant) -> Option<Incoming> {
        self.accept(registry, now);
        if let Some(hello) = self.hear_candidates(registry, now) {
            return Some(hello);
        }
        let peer = self.current.as_mut()?;
        match peer.receive() {
            Ok(Some((ToControl::Hello { .. }, _))) => {
                warn!("the data plane said Hello twice");
                peer.broken = true;
            }
            Ok(Some((message, fds))) => {
                self.taken += 1;
                return Some(Incoming::Message(message, fds));
            }
            Ok(None) => {
                self.taken = 0;
                return None;
            }
            Err(()) => {}
        }
        let peer = self.current.take()?;
        deregister(registry, &peer);
        Some(Incoming::Gone)
    }

    /// Whether the data plane has had its turn, and others should have theirs.
    pub fn turn_over(&mut self) -> bool {
        let over = self.taken >= TURN;
        if over {
            self.taken = 0;
        }
        over
    }

    fn accept(&mut self, registry: &Registry, now: Instant) {
        while self.acceptable {
            let link = match self.listener.accept() {
                Ok(Some(link)) => link,
                Ok(None) => {
                    self.acceptable = false;
                    return;
                }
                Err(e) => {
                    warn!("no data plane can connect: {e}");
                    self.acceptable = false;
                    return;
                }
            };
            if let Err(e) = self.admit(link, registry, now) {
                warn!("a data plane was not let in: {e}");
            }
        }
    }

    fn admit(&mut self, link: Link, registry: &Registry, now: Instant) -> io::Result<()> {
        let peer = rustix::net::sockopt::socket_peercred(&link)?;
        if !peer.uid.is_root() && peer.uid != rustix::process::geteuid() {
            return Err(io::Error::other(format!(
                "user {} may not",
                peer.uid.as_raw()
            )));
        }
        if self.candidates.len() >= CANDIDATES {
            // The oldest has had its time.
            let oldest = self.candidates.remove(0);
            deregister(registry, &oldest);
        }
        let used = |n: &usize| {
            let mut peers = self.candidates.iter().chain(&self.current);
            peers.any(|p| p.token == *n)
        };
        let token = (1..Self::TOKENS)
            .find(|n| !used(n))
            .ok_or_else(|| io::Error::other("too many connections"))?;
        registry.register(
            &mut SourceFd(&link.as_fd().as_raw_fd()),
            Token(self.first_token + token),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        self.candidates.push(Peer {
            link,
            token,
            since: now,
            readable: true,
            outbox: VecDeque::new(),
            broken: false,
        });
        Ok(())
    }

    fn hear_candidates(&mut self, registry: &Registry, now: Instant) -> Option<Incoming> {
        let mut n = 0;
        while let Some(peer) = self.candidates.get_mut(n) {
            match peer.receive() {
                Ok(None) if now.duration_since(peer.since) < HELLO_WITHIN => n += 1,
                Ok(Some((
                    ToControl::Hello {
                        layout,
                        pid,
                        running,
                    },
                    fds,
                ))) => {
                    let peer = self.candidates.remove(n);
                    if let Some(former) = self.current.replace(peer) {
                        deregister(registry, &former);
                    }
                    self.taken = 0;
                    return Some(Incoming::Hello {
                        layout,
                        pid,
                        running,
                        fds,
                    });
                }
                other => {
                    if matches!(other, Ok(Some(_))) {
                        warn!("a data plane did not say Hello first");
                    }
                    let gone = self.candidates.remove(n);
                    deregister(registry, &gone);
                }
            }
        }
        None
    }

    /// When a connection that says nothing is to be closed.
    pub fn deadline(&self) -> Option<Instant> {
        self.candidates.iter().map(|p| p.since + HELLO_WITHIN).min()
    }
}

fn deregister(registry: &Registry, peer: &Peer) {
    let _ = registry.deregister(&mut SourceFd(&peer.link.as_fd().as_raw_fd()));
}
