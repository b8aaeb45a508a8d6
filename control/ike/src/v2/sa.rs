//! One IKE SA: what it holds, and how messages, answers and time reach the file that knows what to do.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::auth;
use super::child::ChildSa;
use super::exchange::{Exchange, InFlight, Incoming, Order, Outgoing};
use super::init;
use super::path::Path;
use super::payloads::Payloads;
use super::protection::{Opened, Protection};
use crate::config::{Child, Connection, Fragmentation};
use crate::crypto::{Prf, Secret};
use crate::endpoint::{
    Answer, AskId, Context, Effect, Event, Failure, IkeInfo, IkeSaId, Output, Reason, Starts,
    Transmit, Why,
};
use crate::identity::Identity;
use crate::time::Instant;
use crate::wire::v2::{ExchangeType, Header, Message, Notify, NotifyType, Payload, parse_payloads};
use crate::wire::{Fault, IkeSpi};

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
}

/// How far an IKE SA is.
pub(crate) enum State {
    /// Initiator, IKE_SA_INIT under way.
    Init(Box<init::Initiator>),
    /// Initiator, IKE_AUTH under way.
    Auth(Box<auth::Initiator>),
    /// Responder, IKE_SA_INIT answered and no more.
    HalfOpen(Box<auth::Responder>),
    /// Both ends have proved who they are.
    Established,
    /// Refused in IKE_AUTH: only the answer is kept, for copies of the request.
    Refused,
    /// It is over; the endpoint forgets it.
    Gone,
}

/// Something to be done with an exchange of its own, once the one before is over.
pub(crate) enum Task {
    /// Bring a child up.
    CreateChild(Arc<Child>),
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
    pub outgoing: Outgoing,
    pub incoming: Incoming,
    pub tasks: VecDeque<Task>,
    pub children: Vec<ChildSa>,
    pub local_id: Option<Identity>,
    pub remote_id: Option<Identity>,
    /// Virtual addresses of this end, and of the peer.
    pub vips_here: Vec<IpAddr>,
    pub vips_there: Vec<IpAddr>,
    /// Responder: where IKE_SA_INIT came from.
    pub begun_from: SocketAddr,
    /// What is to come up with it, where we begin.
    pub starts: Starts,
    /// When a handshake must be over.
    pub patience: Option<Instant>,
}

/// A message that came in is dropped, answered, or the end of the IKE SA.
enum Unreadable {
    /// A payload that we must not ignore, or octets that are no payloads: what to answer.
    Answer(Notify),
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
            outgoing: Outgoing::default(),
            incoming: Incoming::default(),
            tasks: VecDeque::new(),
            children: Vec::new(),
            local_id: None,
            remote_id: None,
            vips_here: Vec::new(),
            vips_there: Vec::new(),
            begun_from: path.remote,
            starts: Starts::default(),
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

    /// The next moment at which time alone changes something.
    pub fn deadline(&self) -> Option<Instant> {
        let request = self.outgoing.in_flight.as_ref().map(|f| f.due);
        [request, self.patience].into_iter().flatten().min()
    }

    /// Does what the time asks for.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        if self.patience.is_some_and(|at| at <= cx.now) {
            if matches!(self.state, State::Refused) {
                self.state = State::Gone;
                return;
            }
            // Whoever began sent nothing that could be believed: no event, or anyone could make many.
            return self.end(cx, Why::Unanswered);
        }
        if self
            .outgoing
            .in_flight
            .as_ref()
            .is_some_and(|f| f.due <= cx.now)
        {
            self.retransmit(cx);
        }
    }

    fn retransmit(&mut self, cx: &mut Context<'_>) {
        let Some(mut request) = self.outgoing.in_flight.take() else {
            return;
        };
        let hint = match &mut self.state {
            State::Init(init) => init.hint.take(),
            _ => None,
        };
        if let Some(reason) = hint {
            return self.give_up(cx, reason);
        }
        let policy = &cx.settings.retransmission;
        if request.sent > policy.tries {
            let reason = Reason::Unanswered {
                sent: request.sent,
                exchange: exchange_name(request.kind),
            };
            return self.give_up(cx, reason);
        }
        request.sent += 1;
        request.due = cx.now + policy.wait(request.sent, cx.random);
        for datagram in &request.datagrams {
            self.transmit(cx, datagram.clone());
        }
        self.outgoing.in_flight = Some(request);
    }

    /// Ends it without a word to the peer, who is gone or was never there.
    pub(super) fn give_up(&mut self, cx: &mut Context<'_>, reason: Reason) {
        let why = match reason {
            Reason::Unanswered { .. } => Why::Unanswered,
            _ => Why::Failed,
        };
        cx.event(Event::Failed(self.failure(reason)));
        self.end(cx, why);
    }

    /// Forgets it and takes its children out.
    pub(super) fn end(&mut self, cx: &mut Context<'_>, why: Why) {
        while let Some(child) = self.children.last() {
            let (id, live) = (child.id, child.is_live());
            self.drop_child(cx, id, live.then_some(why));
        }
        if self.is_established() {
            let ike = self.info();
            cx.event(Event::IkeDown { ike, why });
        } else if self.initiator {
            let starts = std::mem::take(&mut self.starts);
            cx.effects
                .push(Effect::Again(self.connection.clone(), starts));
        }
        self.state = State::Gone;
    }

    /// Reads a message and does what it asks for.
    pub fn handle_message(
        &mut self,
        cx: &mut Context<'_>,
        from: Arrival,
        message: Message,
        datagram: &[u8],
    ) {
        //= RFC 7296 §2.2: a message of our own that comes back is none of the peer's
        if message.header.from_initiator == self.initiator {
            return;
        }
        if message.header.exchange == ExchangeType::IkeSaInit {
            if message.header.response {
                init::handle_response(self, cx, message, datagram);
            }
            return;
        }
        if message.header.response {
            self.handle_response(cx, message, datagram);
        } else {
            self.handle_request(cx, from, message, datagram);
        }
    }

    fn handle_response(&mut self, cx: &mut Context<'_>, message: Message, datagram: &[u8]) {
        let header = message.header;
        //= RFC 7296 §2.1: a response to nothing that is under way is ignored
        if !self.outgoing.expects(header.message_id, header.exchange) {
            return;
        }
        let (Some(encrypted), Some(protection)) = (&message.encrypted, &self.protection) else {
            return;
        };
        let opened = protection.open(encrypted, datagram, &mut self.outgoing.fragments);
        let Opened::Whole(first, text) = opened else {
            return;
        };
        let payloads = parse_payloads(first, &text);
        let Some(request) = self.outgoing.finish() else {
            return;
        };
        match payloads {
            Ok(payloads) => self.on_response(cx, request.exchange, Payloads::sort(payloads)),
            //= RFC 7296 §2.21.3: what cannot be read in a response ends the IKE SA
            Err(error) => self.give_up(cx, Reason::Protocol(error.to_string())),
        }
        self.next_task(cx);
    }

    fn on_response(&mut self, cx: &mut Context<'_>, exchange: Exchange, p: Payloads) {
        match exchange {
            Exchange::Handshake => auth::handle_response(self, cx, p),
        }
    }

    fn handle_request(
        &mut self,
        cx: &mut Context<'_>,
        from: Arrival,
        message: Message,
        datagram: &[u8],
    ) {
        let header = message.header;
        let (Some(encrypted), Some(protection)) = (&message.encrypted, &self.protection) else {
            return;
        };
        match self.incoming.order(header.message_id) {
            Order::Stray => return,
            Order::Again => {
                if protection.vouches(encrypted, datagram) {
                    for datagram in self.incoming.last.clone() {
                        self.transmit_between(cx, from.local, from.remote, datagram);
                    }
                }
                return;
            }
            Order::Next => {}
        }
        let opened = protection.open(encrypted, datagram, &mut self.incoming.fragments);
        let Opened::Whole(first, text) = opened else {
            return;
        };
        self.arrived(from);
        match read(first, &text) {
            Ok(p) => self.on_request(cx, header, p),
            Err(Unreadable::Answer(notify)) => {
                let kind = notify.kind;
                self.respond(cx, header.exchange, vec![Payload::Notify(notify)]);
                //= RFC 7296 §2.21.3: who sends INVALID_SYNTAX in a response deletes the IKE SA
                if kind == NotifyType::InvalidSyntax || !self.is_established() {
                    let what = format!("{}: {kind}", exchange_name(header.exchange));
                    self.give_up(cx, Reason::Protocol(what));
                }
            }
        }
        self.next_task(cx);
    }

    /// Where an authentic, new request came from.
    fn arrived(&mut self, from: Arrival) {
        if self.is_half_open() {
            //= RFC 7296 §2.11: answers go where the request came from; a NAT makes IKE_AUTH come from elsewhere
            self.path.local = from.local;
            self.path.remote = from.remote;
        }
    }

    fn on_request(&mut self, cx: &mut Context<'_>, header: Header, p: Payloads) {
        match (&self.state, header.exchange) {
            (State::HalfOpen(_), ExchangeType::IkeAuth) => auth::handle_request(self, cx, p),
            _ => {
                let what = format!("{} at the wrong time", exchange_name(header.exchange));
                let notify = Notify::new(NotifyType::InvalidSyntax, []);
                self.respond(cx, header.exchange, vec![Payload::Notify(notify)]);
                self.give_up(cx, Reason::Protocol(what));
            }
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
    pub(super) fn establish(&mut self, _: &mut Context<'_>) {
        self.state = State::Established;
        self.patience = None;
    }

    /// Begins the next thing to do, if nothing is under way.
    pub fn next_task(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }

    /// Sends a request with the next message ID.
    pub(super) fn request(
        &mut self,
        cx: &mut Context<'_>,
        kind: ExchangeType,
        payloads: &[Payload],
        exchange: Exchange,
    ) {
        let id = self.outgoing.next;
        let header = self.header(kind, id, false);
        let Some(datagrams) = self.seal(cx, &header, payloads) else {
            return;
        };
        self.outgoing.next = id.wrapping_add(1);
        self.send_request(cx, kind, id, datagrams, exchange);
    }

    /// Sends datagrams of a request, and remembers them until the response comes.
    pub(super) fn send_request(
        &mut self,
        cx: &mut Context<'_>,
        kind: ExchangeType,
        id: u32,
        datagrams: Vec<Vec<u8>>,
        exchange: Exchange,
    ) {
        for datagram in &datagrams {
            self.transmit(cx, datagram.clone());
        }
        self.outgoing.in_flight = Some(Box::new(InFlight {
            id,
            kind,
            datagrams,
            sent: 1,
            due: cx.now + cx.settings.retransmission.wait(1, cx.random),
            exchange,
        }));
    }

    /// Answers the request that is being worked on.
    pub(super) fn respond(
        &mut self,
        cx: &mut Context<'_>,
        kind: ExchangeType,
        payloads: Vec<Payload>,
    ) {
        let header = self.header(kind, self.incoming.next, true);
        let Some(datagrams) = self.seal(cx, &header, &payloads) else {
            return;
        };
        for datagram in &datagrams {
            self.transmit(cx, datagram.clone());
        }
        self.incoming.answered(datagrams);
    }

    pub(super) fn header(&self, exchange: ExchangeType, message_id: u32, response: bool) -> Header {
        Header {
            initiator_spi: self.spi_i,
            responder_spi: self.spi_r,
            exchange,
            from_initiator: self.initiator,
            response,
            message_id,
        }
    }

    fn seal(
        &mut self,
        cx: &mut Context<'_>,
        header: &Header,
        payloads: &[Payload],
    ) -> Option<Vec<Vec<u8>>> {
        let limit = match self.connection.fragmentation {
            Fragmentation::Yes | Fragmentation::Force if self.peer.fragmentation => {
                Some(cx.settings.fragment_size)
            }
            _ => None,
        };
        let protection = self.protection.as_mut()?;
        match protection.seal(header, payloads, limit, cx.random) {
            Ok(datagrams) => Some(datagrams),
            Err(error) => {
                let reason = Reason::Local(format!("the message cannot be sent: {error}"));
                self.give_up(cx, reason);
                None
            }
        }
    }

    fn transmit(&self, cx: &mut Context<'_>, message: Vec<u8>) {
        self.transmit_between(cx, self.path.local, self.path.remote, message);
    }

    fn transmit_between(
        &self,
        cx: &mut Context<'_>,
        source: SocketAddr,
        destination: SocketAddr,
        message: Vec<u8>,
    ) {
        cx.outputs.push_back(Output::Transmit(Transmit {
            ike: Some(self.id),
            source,
            destination,
            message,
            marker: source.port() == cx.settings.nat_port,
        }));
    }
}

fn read(first: crate::wire::v2::PayloadType, text: &[u8]) -> Result<Payloads, Unreadable> {
    match parse_payloads(first, text) {
        Ok(payloads) => Ok(Payloads::sort(payloads)),
        Err(error) => {
            debug_assert!(!matches!(error.fault, Fault::MajorVersion(_)));
            Err(Unreadable::Answer(Notify::answering(&error)))
        }
    }
}

/// An exchange's name for people.
pub(crate) fn exchange_name(kind: ExchangeType) -> &'static str {
    match kind {
        ExchangeType::IkeSaInit => "IKE_SA_INIT",
        ExchangeType::IkeAuth => "IKE_AUTH",
        ExchangeType::CreateChildSa => "CREATE_CHILD_SA",
        ExchangeType::Informational => "INFORMATIONAL",
        ExchangeType::IkeIntermediate => "IKE_INTERMEDIATE",
        _ => "an unknown exchange",
    }
}

/// What an error notification of the peer is, where nothing more is known.
pub(crate) fn notified(kind: NotifyType) -> Reason {
    Reason::Notified {
        notify: kind.number(),
        name: kind.to_string(),
    }
}
