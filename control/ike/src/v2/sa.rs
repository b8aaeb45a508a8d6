//! One IKE SA: what it holds, and how it begins and ends.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::auth;
use super::child::ChildSa;
use super::exchange::{Exchange, Incoming, Outgoing};
use super::init;
use super::intermediate;
use super::path::Path;
use super::protection::Protection;
use super::schedule::{Queued, Task};
use crate::config::{Action, Child, Connection};
use crate::crypto::{Prf, Secret};
use crate::endpoint::{
    Answer, AskId, Context, Effect, Event, Failure, IkeInfo, IkeSaId, Reason, Starts, Why,
};
use crate::identity::Identity;
use crate::random;
use crate::time::Instant;
use crate::wire::IkeSpi;

/// Where a datagram came in, and from where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

/// What the peer said it can do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peer {
    /// RFC 7383.
    pub fragmentation: bool,
    /// RFC 6023.
    pub childless: bool,
}

/// How far an IKE SA is.
pub(crate) enum State {
    /// Initiator, IKE_SA_INIT under way.
    Init(Box<init::Initiator>),
    /// Initiator, IKE_INTERMEDIATE under way.
    Intermediate(Box<intermediate::Initiator>),
    /// Initiator, IKE_AUTH under way.
    Auth(Box<auth::Initiator>),
    /// Responder, IKE_SA_INIT answered and no more.
    HalfOpen(Box<auth::Responder>),
    /// Both ends have proved who they are.
    Established,
    /// Another has its children; it is to be deleted, by us or by the peer.
    Replaced,
    /// We asked the peer to delete it.
    Closing(Why),
    /// Over: only the last answer is kept, for copies of its request.
    Closed,
    /// The endpoint forgets it.
    Gone,
}

/// An IKE SA.
pub(crate) struct IkeSa {
    pub id: IkeSaId,
    pub connection: Arc<Connection>,
    /// Whether this end is the original initiator.
    pub initiator: bool,
    pub spi_i: IkeSpi,
    pub spi_r: IkeSpi,
    pub path: Path,
    pub peer: Peer,
    pub state: State,
    pub prf: Option<Prf>,
    pub sk_d: Secret,
    pub protection: Option<Box<Protection>>,
    /// The keys before the last IKE_INTERMEDIATE, for copies of its request.
    pub earlier: Option<Box<Protection>>,
    pub outgoing: Outgoing,
    pub incoming: Incoming,
    pub queue: VecDeque<Queued>,
    pub children: Vec<ChildSa>,
    pub local_id: Option<Identity>,
    pub remote_id: Option<Identity>,
    /// Virtual addresses of this end, and of the peer.
    pub vips_here: Vec<IpAddr>,
    pub vips_there: Vec<IpAddr>,
    /// DNS servers that the peer gave us.
    pub dns: Vec<IpAddr>,
    /// The name that the peer proved by EAP.
    pub eap_id: Option<Vec<u8>>,
    /// Responder: where IKE_SA_INIT came from.
    pub begun_from: SocketAddr,
    /// What is to come up with it, where we begin and are not there yet.
    pub starts: Option<Starts>,
    /// Whether people were told that it is up, so that they must be told when it goes.
    pub announced: bool,
    /// The last sign of life of the peer.
    pub heard: Instant,
    /// When it gets new keys, when the peer is authenticated anew, when it ends.
    pub rekey_at: Option<Instant>,
    pub reauth_at: Option<Instant>,
    pub ends_at: Option<Instant>,
    /// When something that should have happened by then makes it end: a handshake, a Delete of the peer.
    pub patience: Option<Instant>,
}

impl IkeSa {
    pub fn new(
        id: IkeSaId,
        connection: Arc<Connection>,
        initiator: bool,
        path: Path,
        state: State,
    ) -> Self {
        Self {
            id,
            connection,
            initiator,
            spi_i: IkeSpi::ZERO,
            spi_r: IkeSpi::ZERO,
            path,
            peer: Peer::default(),
            state,
            prf: None,
            sk_d: Secret::default(),
            protection: None,
            earlier: None,
            outgoing: Outgoing::default(),
            incoming: Incoming::default(),
            queue: VecDeque::new(),
            children: Vec::new(),
            local_id: None,
            remote_id: None,
            vips_here: Vec::new(),
            vips_there: Vec::new(),
            dns: Vec::new(),
            eap_id: None,
            begun_from: path.remote,
            starts: None,
            announced: false,
            heard: Instant::default(),
            rekey_at: None,
            reauth_at: None,
            ends_at: None,
            patience: None,
        }
    }

    /// This end's SPI, under which the endpoint knows the IKE SA.
    pub fn own_spi(&self) -> IkeSpi {
        if self.initiator {
            self.spi_i
        } else {
            self.spi_r
        }
    }

    pub fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone)
    }

    pub fn is_established(&self) -> bool {
        matches!(self.state, State::Established)
    }

    /// Whether it counts among the half-open ones of responders.
    pub fn is_half_open(&self) -> bool {
        matches!(self.state, State::HalfOpen(_))
    }

    pub fn info(&self) -> IkeInfo {
        IkeInfo {
            id: self.id,
            connection: self.connection.name.clone(),
            spi_i: u64::from_be_bytes(self.spi_i.0),
            spi_r: u64::from_be_bytes(self.spi_r.0),
            initiator: self.initiator,
            local: self.path.local,
            remote: self.path.remote,
            local_id: self.local_id.clone(),
            remote_id: self.remote_id.clone(),
            eap_id: self.eap_id.clone(),
            vips_here: self.vips_here.clone(),
            vips_there: self.vips_there.clone(),
            dns: self.dns.clone(),
        }
    }

    /// A failure of this IKE SA, for an event.
    pub fn failure(&self, reason: Reason) -> Failure {
        Failure {
            ike: Some(self.id),
            connection: Some(self.connection.name.clone()),
            child: None,
            local: self.path.local,
            remote: self.path.remote,
            reason,
        }
    }

    /// Takes an answer of somebody outside.
    pub fn handle_answer(&mut self, cx: &mut Context<'_>, id: AskId, answer: Answer) {
        match self.state {
            State::Auth(_) => auth::handle_answer_as_initiator(self, cx, id, answer),
            State::HalfOpen(_) => auth::handle_answer_as_responder(self, cx, id, answer),
            _ => {}
        }
        self.next_task(cx);
    }

    /// Both ends have proved who they are.
    pub(super) fn establish(&mut self, cx: &mut Context<'_>) {
        self.state = State::Established;
        self.earlier = None;
        self.patience = None;
        self.heard = cx.now;
        self.announced = true;
        self.set_lifetimes(cx);
    }

    /// Counts the IKE SA's lifetimes from now.
    pub(super) fn set_lifetimes(&mut self, cx: &mut Context<'_>) {
        let c = &self.connection;
        let mut soft = |time: Duration| {
            let less = random::fraction(c.rand_time, cx.random);
            let time = time.saturating_sub(less).max(LEAST_LIFETIME.min(time));
            (!time.is_zero()).then(|| cx.now + time)
        };
        self.rekey_at = soft(c.rekey_time);
        self.reauth_at = self.reauth_at.or_else(|| soft(c.reauth_time));
        let first = [self.rekey_at, self.reauth_at].into_iter().flatten().min();
        self.ends_at = first.map(|at| at + c.over_time.max(LEAST_OVER_TIME));
    }

    /// Tells that it is up, and queues what is to come up with it beyond the child of IKE_AUTH.
    pub(super) fn up(&mut self, cx: &mut Context<'_>) {
        cx.event(Event::IkeUp(self.info()));
        let Some(starts) = self.starts.take() else {
            return;
        };
        for child in starts
            .children
            .into_iter()
            .skip(usize::from(starts.in_auth))
        {
            self.queue(Task::CreateChild(child), cx.now);
        }
        if let Some(old) = starts.replaces {
            cx.effects.push(Effect::Delete(old, Why::Replaced));
        }
    }

    /// Forgets the request that is under way, and gives back what it holds.
    fn abandon_request(&mut self, cx: &mut Context<'_>) {
        let here = self.path.local.ip();
        if let Some(request) = self.outgoing.finish()
            && let Exchange::CreateChild(create) = request.exchange
        {
            cx.spis.release(here, create.spi);
        }
    }

    /// Ends it without a word to the peer, who is gone, was never there, or broke the protocol.
    pub(super) fn give_up(&mut self, cx: &mut Context<'_>, reason: Reason) {
        let why = match reason {
            Reason::Unanswered { .. } => Why::Unanswered,
            _ => Why::Failed,
        };
        cx.event(Event::Failed(self.failure(reason)));
        self.end(cx, why);
    }

    /// Forgets it and takes its children out; what the configuration wants up again begins anew.
    pub(super) fn end(&mut self, cx: &mut Context<'_>, why: Why) {
        let mut again = Starts::default();
        while let Some(child) = self.children.last() {
            let (id, live) = (child.id, child.is_live());
            let config = child.config.clone();
            self.drop_child(cx, id, live.then_some(why));
            if live && wants_restart(&config, why) {
                again.children.push_front(config);
            }
        }
        self.abandon_request(cx);
        if std::mem::take(&mut self.announced) {
            let ike = self.info();
            self.release_addresses(cx);
            cx.event(Event::IkeDown { ike, why });
            if !again.children.is_empty() {
                cx.effects
                    .push(Effect::Begin(self.connection.clone(), again));
            }
        } else if let Some(starts) = self.starts.take() {
            let connection = self.connection.clone();
            cx.effects.push(Effect::Again(connection, starts));
        }
        self.state = State::Gone;
    }

    /// Ends it without a word: the peer has another in its place, and knows nothing of this one.
    pub fn forget(&mut self, cx: &mut Context<'_>) {
        self.end(cx, Why::Replaced);
    }

    /// Ends it, but keeps the answer just given for copies of its request.
    pub(super) fn close(&mut self, cx: &mut Context<'_>, why: Why) {
        self.end(cx, why);
        self.state = State::Closed;
        self.queue.clear();
        self.outgoing = Outgoing::default();
        self.patience = Some(cx.now + cx.settings.half_open_timeout);
    }
}

/// No lot makes a lifetime shorter than this.
const LEAST_LIFETIME: Duration = Duration::from_secs(1);

/// However little time a configuration leaves for it, a rekey gets this much.
const LEAST_OVER_TIME: Duration = Duration::from_secs(10);

/// Whether a child that went for this reason is to be brought up again.
pub(super) fn wants_restart(child: &Child, why: Why) -> bool {
    let action = match why {
        Why::Unanswered => child.dpd_action,
        Why::Peer => child.close_action,
        Why::Command | Why::Expired | Why::Idle | Why::Replaced | Why::Failed => return false,
    };
    action == Action::Start
}
