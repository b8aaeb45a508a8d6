//! Messages of one IKE SA: read, sorted to who understands them, sealed and sent.

use std::net::SocketAddr;

use super::auth;
use super::exchange::{Exchange, InFlight, Order};
use super::init;
use super::intermediate::{self, Inside};
use super::payloads::Payloads;
use super::protection::Opened;
use super::sa::{Arrival, IkeSa, State};
use crate::config::Fragmentation;
use crate::endpoint::{Context, Event, Output, Reason, Transmit, Why};
use crate::wire::v2::{
    ExchangeType, Header, Message, Notify, NotifyType, Payload, PayloadType, parse_payloads,
};

impl IkeSa {
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
        if header.exchange == ExchangeType::IkeIntermediate {
            let inside = Inside { first, text: &text };
            return intermediate::handle_response(self, cx, &header, &inside);
        }
        self.heard = cx.now;
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
            Exchange::CreateChild(create) => self.child_answered(cx, *create, &p),
            Exchange::RekeyIke(rekey) => self.rekey_ike_answered(cx, *rekey, &p),
            Exchange::Informational(informational) => {
                self.informational_answered(cx, informational);
            }
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
                let earlier = self.earlier.as_ref();
                let by_earlier = || earlier.is_some_and(|p| p.vouches(encrypted, datagram));
                if protection.vouches(encrypted, datagram) || by_earlier() {
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
        self.heard = cx.now;
        if header.exchange == ExchangeType::IkeIntermediate && self.is_half_open() {
            let inside = Inside { first, text: &text };
            return intermediate::handle_request(self, cx, &header, &inside);
        }
        match read(first, &text) {
            Ok(p) => self.on_request(cx, header, p),
            Err(notify) => {
                let kind = notify.kind;
                self.respond(cx, header.exchange, vec![Payload::Notify(notify)]);
                //= RFC 7296 §2.21.3: who sends INVALID_SYNTAX in a response deletes the IKE SA
                if kind == NotifyType::InvalidSyntax || !self.is_established() {
                    let what = format!("{}: {kind}", exchange_name(header.exchange));
                    self.fail_and_close(cx, Reason::Protocol(what));
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
            (State::Established | State::Replaced | State::Closing(_), kind) => match kind {
                ExchangeType::CreateChildSa => self.answer_create_child(cx, &p),
                ExchangeType::Informational => self.answer_informational(cx, &p),
                //= RFC 7296 §2.21.3: an exchange that makes no sense here is answered, and nothing else happens
                _ => self.respond_notify(cx, header.exchange, NotifyType::InvalidSyntax),
            },
            (State::Closed, _) => {}
            _ => {
                let what = format!("{} at the wrong time", exchange_name(header.exchange));
                let notify = Notify::new(NotifyType::InvalidSyntax, []);
                self.respond(cx, header.exchange, vec![Payload::Notify(notify)]);
                self.give_up(cx, Reason::Protocol(what));
            }
        }
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

    /// Sends a request once and forgets it: for the last word of an IKE SA.
    pub(super) fn say(&mut self, cx: &mut Context<'_>, kind: ExchangeType, payloads: &[Payload]) {
        let header = self.header(kind, self.outgoing.next, false);
        for datagram in self.seal(cx, &header, payloads).unwrap_or_default() {
            self.transmit(cx, datagram);
        }
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

    /// Answers with one notification.
    pub(super) fn respond_notify(
        &mut self,
        cx: &mut Context<'_>,
        kind: ExchangeType,
        notify: NotifyType,
    ) {
        let notify = Notify::new(notify, []);
        self.respond(cx, kind, vec![Payload::Notify(notify)]);
    }

    /// Ends it with this failure; the answer just given stays for copies of its request.
    pub(super) fn fail_and_close(&mut self, cx: &mut Context<'_>, reason: Reason) {
        cx.event(Event::Failed(self.failure(reason)));
        self.close(cx, Why::Failed);
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

    pub(super) fn transmit(&self, cx: &mut Context<'_>, message: Vec<u8>) {
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

/// The payloads of a request, or what to answer.
fn read(first: PayloadType, text: &[u8]) -> Result<Payloads, Notify> {
    let payloads = parse_payloads(first, text);
    payloads
        .map(Payloads::sort)
        .map_err(|error| Notify::answering(&error))
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
