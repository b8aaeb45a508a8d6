//! A worker: one thread's ports, caches and frames, and the turn in which it moves packets.
//!
//! ```text
//! inside, host ─ classify ─ spd ─ sad ─ pmtu ─ lifetime ─ esp::seal ─ udp_encap ─┐
//!                             └── BYPASS ───────────────────────────────────────┤
//!                                                                               forward ─ ports
//!                             ┌── BYPASS ───────────────────────────────────────┤
//! outside ────── classify ─ sad ─ replay ─ esp::open ─ lifetime ─ spd::admit ────┘
//! ```
//!
//! Nothing here allocates, locks or logs per packet. A context is allocated once per SA.

mod acquire;
mod inbound;
mod outbound;
mod turn_count;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use adit_abi::{
    Direction, DropReason, PolicyReader, SaFlags, SaRef, Side, StateRegion, WorkerCounter,
};

pub use crate::forward::ports::WorkerPort;
pub use acquire::Answer;
pub use turn_count::TurnCount;

use crate::acquire::Held;
use crate::classify::{Ingress, classify};
use crate::crypto::Provider;
use crate::esp::tfc::DummyLengths;
use crate::events::{EventLimits, Events, SECOND};
use crate::forward::Forward;
use crate::forward::ports::Ports;
use crate::frame::{Burst, Stock};
use crate::icmp::IcmpErrors;
use crate::ledger::Ledger;
use crate::packet::Packets;
use crate::reassembly::Reassembly;
use crate::reassembly::handoff::Seat;
use crate::sad::Sad;
use crate::snapshot::Snapshot;
use crate::spd::flow_cache::FlowCache;
use crate::spd::fragments::FragmentPorts;
use crate::threads::Waker;
use crate::turn::{PolicyTally, Turn};
use crate::udp_encap;

/// Keepalives that may wait for the next turn.
const MAX_KEEPALIVES: usize = 1024;

/// Answers about held packets that may wait for the next turn.
const MAX_ANSWERS: usize = 256;

/// What a worker is told between turns.
pub enum Change {
    /// Other regions are in force.
    Tables {
        /// The policy region.
        policy: Arc<PolicyReader>,
        /// The state region.
        state: Arc<StateRegion>,
    },
    /// Other compiled tables are in force.
    Snapshot(Arc<Snapshot>),
    /// Send a NAT keepalive for this outbound SA (RFC 3948 §4).
    Keepalive(SaRef),
    /// Send so many dummy packets through this outbound SA (RFC 4303 §2.6).
    Dummies(SaRef, u16),
    /// Control says what becomes of packets held for an SA.
    Answer(Answer),
}

/// The regions and the snapshot in force.
struct Tables {
    policy: Arc<PolicyReader>,
    state: Arc<StateRegion>,
    snapshot: Arc<Snapshot>,
}

/// What the stages keep between turns.
pub(crate) struct Stages {
    sad: Sad,
    flows: FlowCache,
    forward: Forward,
    reassembly: Reassembly,
    fragments: FragmentPorts,
    dummy_lengths: DummyLengths,
    held: Held,
}

/// One worker.
pub struct Worker {
    number: usize,
    tables: Tables,
    stages: Stages,
    stock: Stock,
    icmp: IcmpErrors,
    event_limits: EventLimits,
    keepalives: Vec<SaRef>,
    dummies: Vec<(SaRef, u16)>,
    answers: Vec<Answer>,
    notify: Option<OwnedFd>,
    /// The snapshot changed since the last turn.
    fresh: bool,
    /// When port statistics are published next, `CLOCK_BOOTTIME` nanoseconds.
    statistics_due: u64,
    turns: TurnCount,
}

impl Worker {
    /// Worker `number` over its own ports and frames.
    pub fn new(
        number: usize,
        policy: Arc<PolicyReader>,
        state: Arc<StateRegion>,
        snapshot: Arc<Snapshot>,
        ports: Vec<WorkerPort>,
        stock: Stock,
        provider: Provider,
    ) -> Self {
        let chunk = stock.umem().chunk_size().bytes();
        Self {
            number,
            stages: Stages {
                sad: Sad::new(&policy, provider),
                flows: FlowCache::default(),
                forward: Forward::new(Ports::new(ports), chunk),
                reassembly: Reassembly::default(),
                fragments: FragmentPorts::default(),
                dummy_lengths: DummyLengths::default(),
                held: Held::new(chunk),
            },
            tables: Tables {
                policy,
                state,
                snapshot,
            },
            stock,
            icmp: IcmpErrors::default(),
            event_limits: EventLimits::default(),
            keepalives: Vec::with_capacity(MAX_KEEPALIVES),
            dummies: Vec::new(),
            answers: Vec::with_capacity(MAX_ANSWERS),
            notify: None,
            fresh: false,
            statistics_due: 0,
            turns: TurnCount::default(),
        }
    }

    /// Takes a change over, between turns.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Tables { policy, state } => {
                self.stages.sad.change_tables(&policy);
                self.stages.flows.clear();
                (self.tables.policy, self.tables.state) = (policy, state);
            }
            Change::Snapshot(snapshot) => {
                self.tables.snapshot = snapshot;
                self.stages.flows.clear();
                self.stages.forward.change_snapshot();
                self.fresh = true;
            }
            Change::Keepalive(sa) => {
                if self.keepalives.len() < MAX_KEEPALIVES {
                    self.keepalives.push(sa);
                }
            }
            Change::Dummies(sa, count) => {
                if self.dummies.len() < MAX_KEEPALIVES {
                    self.dummies.push((sa, count));
                }
            }
            Change::Answer(answer) => {
                if self.answers.len() < MAX_ANSWERS {
                    self.answers.push(answer);
                }
            }
        }
    }

    /// One turn: receives a burst from each port, moves it on, sends. Returns how many packets came in.
    ///
    /// `now` is `CLOCK_BOOTTIME` in nanoseconds.
    pub fn turn(&mut self, now: u64) -> usize {
        self.turns.begin();
        let received = self.take_turn(now);
        self.turns.end();
        received
    }

    fn take_turn(&mut self, now: u64) -> usize {
        let counters = self.tables.state.worker(self.number);
        let ring = self.tables.state.events(self.number);
        let mut turn = Turn {
            now,
            policy: &self.tables.policy,
            state: &self.tables.state,
            snapshot: &self.tables.snapshot,
            ledger: Ledger {
                counters,
                stock: &mut self.stock,
            },
            events: Events::new(ring, now, &mut self.event_limits),
            icmp: &mut self.icmp,
            tally: PolicyTally::default(),
        };
        let stages = &mut self.stages;
        let fresh = std::mem::take(&mut self.fresh);
        if fresh {
            stages
                .forward
                .send_resolved(&turn.snapshot.fib, &mut turn.ledger);
        }
        stages.send_keepalives(&mut turn, &mut self.keepalives);
        for (sa, count) in self.dummies.drain(..) {
            // An SA that has gone or cannot be used sends none.
            let _ = stages.send_dummies(&mut turn, sa, count);
        }
        let mut received = 0;
        for at in 0..stages.forward.ports.len() {
            received += stages.receive(&mut turn, at);
        }
        stages.reassemble(&mut turn);
        stages.serve_held(&mut turn, &mut self.answers, fresh);
        stages.send_errors(&mut turn);
        stages.forward.expire(&mut turn);
        stages.sad.sweep(turn.policy);
        stages.forward.ports.finish_turn(&mut turn.ledger);
        if now >= self.statistics_due {
            self.statistics_due = now.saturating_add(SECOND);
            stages.forward.ports.publish_statistics(&mut turn.ledger);
        }
        stages.count_turn(&mut turn, received);
        if turn.events.pushed()
            && let Some(eventfd) = &self.notify
        {
            // It fails only when the counter is full, and then its reader is awake already.
            let _ = rustix::io::write(eventfd, &1u64.to_ne_bytes());
        }
        received
    }

    /// Gives the worker its place among those of one data plane, for fragments that arrive on any queue.
    pub fn sit(&mut self, seat: Seat) {
        self.stages.reassembly.sit(seat);
    }

    /// What other workers wake this one with, if there are any.
    pub fn waker(&self) -> Option<Waker> {
        self.stages.reassembly.waker()
    }

    /// For whoever must know when this worker is between turns.
    pub fn turn_count(&self) -> TurnCount {
        self.turns.clone()
    }

    /// What to poll for readability while idle.
    pub fn poll_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.stages
            .forward
            .ports
            .iter()
            .filter_map(|port| port.port.poll_fd())
    }

    /// An eventfd to add 1 to after each turn that pushed events, so that control looks at them.
    pub fn set_notify(&mut self, eventfd: OwnedFd) {
        self.notify = Some(eventfd);
    }

    /// Packets that wait for a neighbour's address: while there are any, turns are due though nothing
    /// comes in.
    pub fn waiting(&self) -> usize {
        self.stages.forward.waiting()
    }

    /// Fragments of outer packets that wait for the others.
    pub fn fragments_held(&self) -> usize {
        self.stages.reassembly.fragments()
    }

    /// Flows that wait for an SA.
    pub fn held(&self) -> usize {
        self.stages.held.len()
    }

    /// Free frames at hand.
    pub fn free_frames(&self) -> usize {
        self.stock.len()
    }

    /// SA contexts at hand.
    pub fn contexts(&self) -> usize {
        self.stages.sad.len()
    }
}

impl Stages {
    /// Receives a burst from the port in a place and moves it on.
    fn receive(&mut self, turn: &mut Turn<'_>, at: usize) -> usize {
        let mut burst = Burst::new();
        let count = self.forward.ports.receive(at, &mut burst, &mut turn.ledger);
        let Some((port, side)) = self.forward.ports.identity(at).filter(|_| count > 0) else {
            return 0;
        };
        let Some(record) = turn.snapshot.fib.port(port) else {
            for frame in burst {
                turn.ledger.drop(frame, DropReason::NoPort);
            }
            return count;
        };
        let ingress = Ingress {
            port,
            side,
            mac: record.mac,
        };
        let mut packets = Packets::new();
        for frame in burst {
            match classify(frame, &ingress) {
                Ok(packet) => packets.push(packet),
                Err(refused) => turn.ledger.refuse(refused),
            }
        }
        match side {
            Side::Inside | Side::Host => self.outbound(turn, &mut packets),
            Side::Outside => self.inbound(turn, &mut packets),
        }
        count
    }

    /// Sends the keepalives asked for, for SAs that still want them.
    fn send_keepalives(&mut self, turn: &mut Turn<'_>, keepalives: &mut Vec<SaRef>) {
        let window = turn.state.capacity().window;
        for sa in keepalives.drain(..) {
            if !turn.policy.is_live(sa) {
                continue;
            }
            let Ok(context) = self.sad.context(turn.policy, window, sa) else {
                continue;
            };
            if context.direction != Direction::Outbound
                || !context.record.flags.contains(SaFlags::UDP_ENCAP)
            {
                continue;
            }
            let Ok(wire) = outbound::outer_wire(context, &mut self.forward, turn) else {
                continue;
            };
            let Some(frame) = turn.ledger.stock.take() else {
                return;
            };
            match udp_encap::keepalive(&context.record, frame) {
                Ok(keepalive) => {
                    turn.ledger.add(WorkerCounter::KeepalivesSent, 1);
                    self.forward.send(keepalive, &wire, turn);
                }
                Err(frame) => turn.ledger.stock.put(frame),
            }
        }
    }

    fn count_turn(&mut self, turn: &mut Turn<'_>, received: usize) {
        turn.tally.write(turn.state);
        let counters = &turn.ledger.counters;
        if received > 0 {
            let (hits, misses) = self.flows.take_counts();
            counters.add(WorkerCounter::Bursts, 1);
            counters.add(WorkerCounter::FlowHits, hits);
            counters.add(WorkerCounter::FlowMisses, misses);
        }
        counters.set(WorkerCounter::Heartbeat, turn.now);
        counters.set(WorkerCounter::FreeFrames, turn.ledger.stock.len() as u64);
    }
}
