//! What an IKE SA does by itself: requests one after another, copies, lifetimes, liveness.

use std::sync::Arc;
use std::time::Duration;

use super::child::{Outbound, Stage};
use super::exchange::Exchange;
use super::informational::Informational;
use super::messages::exchange_name;
use super::sa::{IkeSa, State};
use crate::config::Child;
use crate::endpoint::{ChildId, Context, Effect, Reason, Starts, Why};
use crate::random;
use crate::time::Instant;
use adit_abi::Spi;

/// Something to be done with an exchange of its own, once the one before is over.
#[derive(Clone, PartialEq)]
pub(crate) enum Task {
    /// Bring a child up.
    CreateChild(Arc<Child>),
    /// Give a child new keys.
    RekeyChild(ChildId),
    /// Delete a child, and tell people why if it did not just make room for another.
    DeleteChild(ChildId, Option<Why>),
    /// Delete the peer's end of a child that we have not put in.
    DeleteUnmade(adit_abi::Protocol, Spi),
    /// Give the IKE SA new keys.
    RekeyIke,
    /// Delete the IKE SA.
    DeleteIke(Why),
    /// Ask whether the peer is there.
    Liveness,
}

/// A task and the moment before which it is not begun.
pub(crate) struct Queued {
    pub not_before: Instant,
    pub task: Task,
}

/// Tasks that may wait: a command for each of the children that a connection may have, and some more.
const MOST_QUEUED: usize = 256;

/// How long to wait after TEMPORARY_FAILURE, and how much more by lot, so that two ends do not meet again.
//= RFC 7296 §2.25: a request that met TEMPORARY_FAILURE is tried again, not at once
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));

impl IkeSa {
    /// Whether exchanges of our own make sense.
    fn does_tasks(&self) -> bool {
        matches!(self.state, State::Established | State::Replaced)
    }

    /// Queues a task, unless it waits already.
    pub fn queue(&mut self, task: Task, not_before: Instant) {
        let room = self.queue.len() < MOST_QUEUED;
        if room && !self.queue.iter().any(|q| q.task == task) {
            self.queue.push_back(Queued { not_before, task });
        }
    }

    /// Whether a child can be asked for here, now or once the handshake is over.
    pub fn takes_children(&self) -> bool {
        matches!(
            self.state,
            State::Established | State::Init(_) | State::Intermediate(_) | State::Auth(_)
        )
    }

    /// Queues a child that is not there and not on its way.
    pub fn want_child(&mut self, cx: &mut Context<'_>, config: &Arc<Child>) {
        let there = |c: &super::child::ChildSa| c.is_live() && c.config.name == config.name;
        let coming = match self.in_flight() {
            Some(Exchange::CreateChild(create)) => create.config.name == config.name,
            _ => false,
        };
        if let Some(starts) = &mut self.starts {
            if !starts.children.iter().any(|c| c.name == config.name) {
                starts.children.push_back(config.clone());
            }
        } else if !coming && !self.children.iter().any(there) {
            self.queue(Task::CreateChild(config.clone()), cx.now);
        }
    }

    /// Ends it: with a Delete where the peer knows of it, at once where not.
    pub fn terminate(&mut self, cx: &mut Context<'_>, why: Why) {
        match self.state {
            State::Established => {
                self.queue(Task::DeleteIke(why), cx.now);
                self.next_task(cx);
            }
            State::Init(_) | State::Intermediate(_) | State::Auth(_) | State::HalfOpen(_) => {
                self.starts = None;
                self.end(cx, why);
            }
            State::Replaced | State::Closing(_) | State::Closed | State::Gone => {}
        }
    }

    /// The peer uses a rekeyed child: it has the other end, and the outbound SA can follow.
    pub fn first_packet(&mut self, cx: &mut Context<'_>, id: ChildId) {
        self.heard = cx.now;
        self.switch_outbound(cx, id);
    }

    /// The data plane counted to a limit.
    pub fn child_expired(&mut self, cx: &mut Context<'_>, id: ChildId, hard: bool) {
        if !hard {
            return self.rekey_child(cx, id);
        }
        let live = self.child(id).is_some_and(|c| c.stage != Stage::Lingering);
        if live {
            self.queue(Task::DeleteChild(id, Some(Why::Expired)), cx.now);
        }
    }

    /// The data plane has no place for a child.
    pub fn install_failed(&mut self, cx: &mut Context<'_>, id: ChildId, reason: String) {
        let config = self.child(id).map(|c| c.config.clone());
        self.child_failed(cx, config.as_deref(), Reason::Local(reason));
        self.queue(Task::DeleteChild(id, Some(Why::Failed)), cx.now);
    }

    /// Queues a task that the peer could not do just now.
    pub(super) fn retry(&mut self, cx: &mut Context<'_>, task: Task) {
        let wait = RETRY.0 + random::fraction(RETRY.1, cx.random);
        self.queue(task, cx.now + wait);
    }

    /// The next moment at which time alone changes something.
    pub fn deadline(&self) -> Option<Instant> {
        let mut all = vec![self.patience];
        all.push(self.outgoing.in_flight.as_ref().map(|f| f.due));
        all.extend(self.children.iter().map(|c| c.ends_at));
        if self.is_established() {
            all.extend([self.rekey_at, self.reauth_at, self.ends_at]);
            let live = self.children.iter().filter(|c| c.stage == Stage::Up);
            all.extend(live.map(|c| c.rekey_at));
            all.push(self.liveness_at());
        }
        if self.outgoing.in_flight.is_none() && self.does_tasks() {
            all.extend(self.queue.iter().map(|q| Some(q.not_before)));
        }
        all.into_iter().flatten().min()
    }

    /// When the peer is asked whether it is there; not while it owes us an answer anyway.
    fn liveness_at(&self) -> Option<Instant> {
        let delay = self.connection.dpd_delay;
        let due = !delay.is_zero() && self.outgoing.in_flight.is_none();
        due.then(|| self.heard + delay)
    }

    /// Does what the time asks for.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        let now = cx.now;
        let come = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if come(self.patience) {
            // Nothing that could be believed came of it: no failure is told, or anyone could make many.
            return self.end(cx, Why::Unanswered);
        }
        if come(self.outgoing.in_flight.as_ref().map(|f| f.due)) {
            self.retransmit(cx);
        }
        self.children_in_time(cx);
        if !self.is_established() {
            return;
        }
        if come(self.ends_at) {
            self.ends_at = None;
            self.queue(Task::DeleteIke(Why::Expired), now);
        } else if come(self.reauth_at) {
            self.reauth_at = None;
            self.reauthenticate(cx);
        } else if come(self.rekey_at) {
            self.rekey_at = None;
            self.queue(Task::RekeyIke, now);
        }
        if come(self.liveness_at()) {
            self.queue(Task::Liveness, now);
        }
    }

    fn children_in_time(&mut self, cx: &mut Context<'_>) {
        let now = cx.now;
        let come = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let ids: Vec<_> = self.children.iter().map(|c| c.id).collect();
        for id in ids {
            let Some(child) = self.child_mut(id) else {
                continue;
            };
            if come(child.ends_at) {
                child.ends_at = None;
                match child.stage {
                    Stage::Lingering => self.drop_child(cx, id, None),
                    _ => self.queue(Task::DeleteChild(id, Some(Why::Expired)), now),
                }
            } else if come(child.rekey_at) && child.stage == Stage::Up && self.is_established() {
                self.rekey_child(cx, id);
            }
        }
    }

    /// Queues the rekeying of a child.
    pub fn rekey_child(&mut self, cx: &mut Context<'_>, id: ChildId) {
        let now = cx.now;
        if let Some(child) = self.child_mut(id)
            && child.stage == Stage::Up
        {
            child.rekey_at = None;
            self.queue(Task::RekeyChild(id), now);
        }
    }

    /// Begins a new IKE SA with the same children beside this one; once it is up, this one goes.
    fn reauthenticate(&mut self, cx: &mut Context<'_>) {
        let live = self.children.iter().filter(|c| c.is_live());
        let starts = Starts {
            children: live.map(|c| c.config.clone()).collect(),
            replaces: Some(self.id),
            in_auth: false,
            tries: 0,
        };
        cx.effects
            .push(Effect::Begin(self.connection.clone(), starts));
    }

    fn retransmit(&mut self, cx: &mut Context<'_>) {
        let hint = match &mut self.state {
            State::Init(init) => init.hint.take(),
            _ => None,
        };
        if let Some(reason) = hint {
            return self.give_up(cx, reason);
        }
        let Some(mut request) = self.outgoing.in_flight.take() else {
            return;
        };
        let policy = &cx.settings.retransmission;
        if request.sent > policy.tries {
            return self.unanswered(cx, request.sent, exchange_name(request.kind));
        }
        request.sent += 1;
        request.due = cx.now + policy.wait(request.sent, cx.random);
        for datagram in &request.datagrams {
            self.transmit(cx, datagram.clone());
        }
        self.outgoing.in_flight = Some(request);
    }

    /// The peer answers nothing.
    //= RFC 7296 §2.4: after several copies the peer counts as gone, and with it the IKE SA and its children
    fn unanswered(&mut self, cx: &mut Context<'_>, sent: u32, exchange: &'static str) {
        match self.state {
            State::Closing(why) => self.end(cx, why),
            State::Replaced => self.end(cx, Why::Replaced),
            _ => self.give_up(cx, Reason::Unanswered { sent, exchange }),
        }
    }

    /// Begins the next thing to do, if nothing is under way.
    pub fn next_task(&mut self, cx: &mut Context<'_>) {
        while self.outgoing.in_flight.is_none() && self.does_tasks() {
            let urgent = |q: &Queued| matches!(q.task, Task::DeleteIke(_));
            let due = |q: &Queued| q.not_before <= cx.now;
            let at = self.queue.iter().position(urgent);
            let Some(at) = at.or_else(|| self.queue.iter().position(due)) else {
                return;
            };
            if let Some(next) = self.queue.remove(at) {
                self.begin_task(cx, next.task);
            }
        }
    }

    fn begin_task(&mut self, cx: &mut Context<'_>, task: Task) {
        match task {
            Task::CreateChild(config) => self.begin_child(cx, &config, None),
            Task::RekeyChild(id) => {
                let Some(child) = self.child(id).filter(|c| c.stage == Stage::Up) else {
                    return;
                };
                // While nothing shows that the peer has it, the peer would not know what we speak of.
                if let Outbound::Waiting(_) = child.outbound {
                    return self.retry(cx, Task::RekeyChild(id));
                }
                let config = child.config.clone();
                self.begin_child(cx, &config, Some(id));
            }
            Task::DeleteChild(id, why) => self.begin_delete_child(cx, id, why),
            Task::DeleteUnmade(protocol, spi) => self.begin_delete_unmade(cx, protocol, spi),
            Task::RekeyIke => self.begin_rekey_ike(cx),
            Task::DeleteIke(why) => self.begin_delete_ike(cx, why),
            Task::Liveness => {
                let exchange = Exchange::Informational(Informational::Liveness);
                self.inform(cx, &[], exchange);
            }
        }
    }
}
