//! What the data plane says, and what follows.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use adit_abi::message::{Setup, ToControl, ToDataplane};
use adit_abi::{Event, LAYOUT_VERSION, SaKey, SaRef};
use adit_vici::Message;
use tracing::{debug, error, info, warn};

use super::ike::Told;
use super::{Gateway, GatewayPort};
use crate::plane::Incoming;
use crate::plane::events::Events;
use crate::plane::session::{Binding, Session, Stage, differences};

/// Notices that wait for the loop to pass them on, at most.
const NOTICES: usize = 256;

impl Gateway {
    /// Takes in what the data plane sent; returns whether more waits.
    pub fn serve_plane(&mut self, registry: &mio::Registry) -> bool {
        while !self.plane.turn_over() {
            let Some(incoming) = self.plane.poll(registry, Instant::now()) else {
                return false;
            };
            match incoming {
                Incoming::Hello {
                    layout,
                    pid,
                    running,
                    fds,
                } => self.handle_hello(layout, pid, running, fds),
                Incoming::Message(message, fds) => self.handle_message(message, fds),
                Incoming::Gone => self.handle_gone(),
            }
            self.forward_sadb();
        }
        true
    }

    fn handle_gone(&mut self) {
        warn!(
            pid = self.session.pid,
            "the data plane is gone; what policy protects is dropped until one is back"
        );
        // Why it went is still to be read when it is gone, until another one is here.
        self.session = Session {
            failure: self.session.failure.take(),
            ..Session::default()
        };
        self.sadb.handle_plane_down();
    }

    fn handle_hello(&mut self, layout: u64, pid: u32, running: Option<Setup>, fds: Vec<OwnedFd>) {
        if self.session.stage != Stage::Absent {
            self.handle_gone();
        }
        info!(pid, running = running.is_some(), "a data plane is here");
        if layout != LAYOUT_VERSION {
            error!(
                theirs = layout,
                ours = LAYOUT_VERSION,
                "the data plane is of another version: install both from one"
            );
            self.plane.disconnect();
            return;
        }
        self.session = Session {
            stage: Stage::Mapping,
            pid,
            running,
            // That of an earlier one, until this one is ready.
            failure: self.session.failure.take(),
            ..Session::default()
        };
        if !self.settled {
            self.adopt(fds);
        }
        let region = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned().map(Arc::new);
        match (
            region(self.sadb.reader().fd()),
            region(self.sadb.state().fd()),
        ) {
            (Ok(policy), Ok(state)) => {
                let fds = [policy, state, self.notify.clone()];
                self.plane.send(&ToDataplane::Regions, &fds);
            }
            (Err(e), _) | (_, Err(e)) => {
                error!("the regions cannot be handed over: {e}");
                self.plane.disconnect();
            }
        }
    }

    /// Takes the table back that the data plane kept, if it kept one.
    fn adopt(&mut self, fds: Vec<OwnedFd>) {
        self.settled = true;
        if let Ok([policy, state]) = <[OwnedFd; 2]>::try_from(fds) {
            match self.sadb.adopt(policy, state) {
                Ok(()) => {
                    // What the old control mirrored may be out of date, and its slots are not known here.
                    self.sadb.forwarding().clear_forwarding();
                    self.follower.replay(self.sadb.forwarding());
                    self.events = Events::from_now(self.sadb.state());
                }
                Err(e) => warn!("the table that the data plane kept cannot be used: {e}"),
            }
        }
        self.sync_host();
    }

    fn handle_message(&mut self, message: ToControl, fds: Vec<OwnedFd>) {
        match message {
            // The link lets only a first one through.
            ToControl::Hello { .. } => {}
            ToControl::Mapped => self.handle_mapped(),
            ToControl::Bound {
                port,
                queue,
                zero_copy,
                reason,
            } => {
                let binding = Binding { zero_copy, reason };
                self.handle_bound(port, queue, binding, fds);
            }
            ToControl::Ready => self.handle_ready(),
            ToControl::Prepared { token } => self.sadb.handle_prepared(token),
            ToControl::Failed { reason } => {
                if self.limit.admit("failed", Instant::now()).is_some() {
                    error!("the data plane: {reason}");
                }
                self.session.failure = Some(reason);
            }
        }
    }

    fn handle_mapped(&mut self) {
        if self.session.stage != Stage::Mapping {
            return;
        }
        self.sadb.handle_plane_up();
        self.forward_sadb();
        match &self.session.running {
            None => {
                if self.tun.is_none() {
                    // Whoever held it is gone.
                    self.open_tun();
                    self.sync_routes(&[]);
                }
                let tun: Vec<_> = self.tun.iter().cloned().collect();
                self.plane
                    .send(&ToDataplane::Setup(self.setup.clone()), &tun);
            }
            Some(running) => {
                let differ = differences(&self.setup, running);
                if !differ.is_empty() {
                    warn!(
                        settings = differ.join(", "),
                        "the running data plane was set up otherwise: restart it for these to take effect"
                    );
                }
            }
        }
        self.session.stage = Stage::Opening;
    }

    fn handle_ready(&mut self) {
        let is_steered = |p: &GatewayPort| {
            (0..p.queues).all(|q| self.session.bindings.contains_key(&(p.number, q)))
        };
        // What is bound and not steered to gets nothing: the failure says why.
        if !self.real_ports().all(is_steered) {
            return;
        }
        self.session.failure = None;
        self.session.stage = Stage::Ready;
        info!(pid = self.session.pid, "the data plane is ready");
    }

    fn handle_bound(&mut self, port: u8, queue: u16, binding: Binding, fds: Vec<OwnedFd>) {
        let known = self.real_ports().find(|p| p.number == port).cloned();
        let socket = fds.first();
        let (Some(known), Some(socket)) = (known.filter(|p| queue < p.queues), socket) else {
            if self.limit.admit("bound", Instant::now()).is_some() {
                warn!(port, queue, "the data plane bound what was not agreed");
            }
            return;
        };
        match self.steer.set_socket(known.ifindex, queue, socket.as_fd()) {
            Ok(()) => {
                let mode = if binding.zero_copy {
                    "zero-copy"
                } else {
                    "copy"
                };
                info!(port = %known.name, queue, mode, reason = %binding.reason, "bound");
                self.session.bindings.insert((port, queue), binding);
                self.plane.send(&ToDataplane::Steered { port, queue }, &[]);
            }
            Err(e) => {
                error!(port = %known.name, queue, "frames cannot be steered to the data plane: {e}");
                self.session.failure = Some(e.to_string());
            }
        }
    }

    /// Takes in what the data plane pushed; returns whether more waits.
    pub fn handle_events(&mut self) -> bool {
        let mut count = [0; 8];
        // Only the wake-up matters, not how many there were.
        while rustix::io::read(&*self.notify, &mut count).is_ok() {}
        let mut found = Vec::new();
        let more = self.events.drain(self.sadb.state(), |e| found.push(e));
        for event in found {
            self.handle_event(event);
        }
        self.forward_sadb();
        more
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::NeighbourNeeded { port, address } => self.resolve(port, address),
            Event::SoftExpired(sa) => {
                self.tell_of_sa("soft-expired", sa);
                self.ike_traffic(sa, Told::SoftLimit);
            }
            Event::HardExpired(sa) => self.sadb.handle_hard_expired(sa),
            Event::FirstPacket(sa) => {
                self.tell_of_sa("first-packet", sa);
                self.ike_traffic(sa, Told::FirstPacket);
            }
            Event::SequenceExhausted(sa) => {
                self.tell_of_sa("sequence-exhausted", sa);
                self.ike_traffic(sa, Told::SoftLimit);
            }
            Event::PathMtu { sa, bytes } => {
                let Some(quiet) = self.limit.admit("path-mtu", Instant::now()) else {
                    return;
                };
                if let Some(key) = self.sadb.key_of(sa) {
                    info!(sa = ?key, bytes, quiet, "path-mtu: a router on the way takes less");
                    self.notice("path-mtu", &key);
                }
            }
            Event::Acquire {
                policy,
                flow,
                ports,
            } => {
                if let Some(acquire) = self.sadb.acquire(policy, flow, ports) {
                    self.handle_acquire(&acquire);
                }
            }
            Event::Discarded {
                policy,
                reason,
                inbound,
                flow,
                ports,
            } => self.audit_discard(policy, reason, inbound, &flow, ports),
        }
    }

    fn tell_of_sa(&mut self, what: &'static str, sa: SaRef) {
        let Some(key) = self.sadb.key_of(sa) else {
            return;
        };
        let Some(quiet) = self.limit.admit(what, Instant::now()) else {
            return;
        };
        if what == "first-packet" {
            debug!(sa = ?key, quiet, "{what}");
        } else {
            info!(sa = ?key, quiet, "{what}");
        }
        self.notice(what, &key);
    }

    /// Queues an `adit-event` about an SA.
    pub(super) fn notice(&mut self, what: &str, key: &SaKey) {
        let message = Message::new()
            .with("event", what)
            .with("spi", key.spi.to_string())
            .with("dst", key.destination.to_string());
        self.raise("adit-event", message);
    }

    /// Queues an event.
    pub(super) fn raise(&mut self, event: &'static str, message: Message) {
        if self.notices.len() >= NOTICES {
            self.notices.pop_front();
        }
        self.notices.push_back((event, message));
    }

    /// Says good-bye: everything stays attached and closed.
    pub fn stop(&mut self) {
        info!("control ends; the data plane goes on, and what is attached stays attached");
    }
}
