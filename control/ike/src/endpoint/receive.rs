//! A datagram's way to its IKE SA, or to a new one.

use std::net::SocketAddr;

use super::{Effect, Endpoint, Event, IkeSaId};
use crate::endpoint::half_open::Initiator;
use crate::time::Instant;
use crate::v2::Arrival;
use crate::v2::init::{self, Request, Verdict};
use crate::wire::v2::{ExchangeType, Header, Message, Notify, NotifyType};
use crate::wire::{self, Fault, IkeSpi};

impl Endpoint {
    pub(super) fn receive(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        datagram: &[u8],
    ) {
        let from = Arrival { local, remote };
        let Ok(raw) = wire::Header::parse(datagram) else {
            return;
        };
        // IKEv1's sibling takes these once it is there; until then they are nobody's.
        if raw.version.major < 2 {
            return;
        }
        if raw.version.major > 2 {
            return self.refuse_version(now, from, &raw);
        }
        let own = if raw.flags & FROM_INITIATOR != 0 {
            raw.responder_spi
        } else {
            raw.initiator_spi
        };
        if own.is_zero() {
            return self.begin(now, from, datagram);
        }
        //= RFC 7296 §2.21.4: a message for an IKE SA that is not there is dropped; no INVALID_IKE_SPI, which anyone could ask for
        let Some(&id) = self.by_spi.get(&own) else {
            return;
        };
        let Ok(message) = Message::parse(datagram) else {
            return;
        };
        if !self.is_between(id, &message.header) {
            return;
        }
        self.with_sa(now, id, |sa, cx| {
            sa.handle_message(cx, from, message, datagram);
        });
    }

    /// Whether the peer's SPI in the header is the peer's.
    fn is_between(&self, id: IkeSaId, header: &Header) -> bool {
        let Some(sa) = self.sas.get(&id) else {
            return false;
        };
        // The responder's SPI comes with its answer to IKE_SA_INIT.
        let known = |ours: IkeSpi, theirs| ours.is_zero() || ours == theirs;
        sa.spi_i == header.initiator_spi && known(sa.spi_r, header.responder_spi)
    }

    //= RFC 7296 §2.5: a request of a higher major version is told which is the highest here
    fn refuse_version(&mut self, now: Instant, from: Arrival, raw: &wire::Header) {
        if raw.flags & RESPONSE != 0 || raw.flags & FROM_INITIATOR == 0 {
            return;
        }
        let header = Header {
            initiator_spi: raw.initiator_spi,
            responder_spi: raw.responder_spi,
            exchange: ExchangeType::from_number(raw.exchange),
            from_initiator: true,
            response: false,
            message_id: raw.message_id,
        };
        let notify = Notify::new(NotifyType::InvalidMajorVersion, []);
        self.context(now, |cx| init::stateless(cx, from, header, notify));
    }

    /// An IKE_SA_INIT request.
    fn begin(&mut self, now: Instant, from: Arrival, datagram: &[u8]) {
        let message = match Message::parse(datagram) {
            Ok(message) => message,
            Err(error) => return self.refuse_unreadable(now, from, datagram, error.fault),
        };
        let Some(request) = Request::read(message) else {
            return;
        };
        let who = Initiator {
            remote: from.remote,
            spi_i: u64::from_be_bytes(request.header.initiator_spi.0),
        };
        if let Some(id) = self.half_open.find(who) {
            return self.repeat(now, id, from, datagram);
        }
        if !self.may_begin(now, from, &request) {
            return;
        }
        let candidates = self.candidates(from.local.ip(), from.remote.ip());
        let id = self.numbers.ike();
        let mut verdict = Verdict::Dropped;
        let header = request.header;
        self.context(now, |cx| {
            verdict = init::answer(cx, id, candidates, from, request, datagram);
            if let Verdict::Refused(notify, failure) = &mut verdict {
                init::stateless(cx, from, header, notify.clone());
                if let Some(failure) = failure.take() {
                    cx.event(Event::Failed(*failure));
                }
            }
        });
        if let Verdict::Begun(sa) = verdict {
            self.half_open.insert(who, id);
            self.settle(sa);
        }
    }

    /// The same IKE_SA_INIT request again: the same answer.
    fn repeat(&mut self, now: Instant, id: IkeSaId, from: Arrival, datagram: &[u8]) {
        let mut effects: Vec<Effect> = Vec::new();
        if let Some(sa) = self.sas.remove(&id) {
            effects = self.context(now, |cx| {
                //= RFC 7296 §2.1: only a copy of the request, octet by octet, is answered again
                if let Some(response) = sa.init_response_to(datagram) {
                    sa.repeat_init_response(cx, from, response);
                }
            });
            self.sas.insert(id, sa);
        }
        self.apply(now, effects);
    }

    /// Whether there is room for another half-open IKE SA; asks for a cookie if that would help.
    fn may_begin(&mut self, now: Instant, from: Arrival, request: &Request) -> bool {
        let address = from.remote.ip();
        let Some(nonce) = request.nonce() else {
            return true;
        };
        let spi_i = u64::from_be_bytes(request.header.initiator_spi.0);
        let who = (nonce, address, spi_i);
        let half_open = self.half_open.len();
        if half_open >= self.settings.cookie_threshold {
            let random = &mut *self.random;
            let given = request.payloads.notify(NotifyType::Cookie);
            let good = given.is_some_and(|c| self.cookies.check(now, random, &c.data, who));
            if !good {
                //= RFC 7296 §2.6: under load nothing is kept for who does not return a cookie
                if let Some(cookie) = self.cookies.make(now, random, who) {
                    let notify = Notify::new(NotifyType::Cookie, cookie);
                    let header = request.header;
                    self.context(now, |cx| init::stateless(cx, from, header, notify));
                }
                return false;
            }
        }
        half_open < self.settings.half_open_limit
            && self.half_open.of(address) < self.settings.half_open_per_address
    }

    /// A first request that cannot be read: answered where the RFC has an answer for it.
    fn refuse_unreadable(&mut self, now: Instant, from: Arrival, datagram: &[u8], fault: Fault) {
        //= RFC 7296 §2.21.1: other faults outside an IKE SA are not answered
        let Fault::UnsupportedCritical(kind) = fault else {
            return;
        };
        let header = wire::Header::parse(datagram).and_then(|raw| Header::admit(&raw));
        let Ok(header) = header else {
            return;
        };
        if header.response || header.exchange != ExchangeType::IkeSaInit {
            return;
        }
        let notify = Notify::new(NotifyType::UnsupportedCriticalPayload, [kind]);
        self.context(now, |cx| init::stateless(cx, from, header, notify));
    }
}

/// The header's flag: sent by the original initiator (RFC 7296 §3.1).
const FROM_INITIATOR: u8 = 0x08;
/// The header's flag: a response.
const RESPONSE: u8 = 0x20;
