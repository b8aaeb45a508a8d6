//! IKE_SA_INIT: proposals, key exchange, nonces, cookies and NAT detection, in both roles (RFC 7296 §1.2, §2.6, §2.7, §2.23).

use std::net::SocketAddr;
use std::sync::Arc;

use super::auth::{self, Handshake};
use super::exchange::Exchange;
use super::intermediate;
use super::key_exchange::{self, MOST_GROUPS};
use super::messages::notified;
use super::path::Path;
use super::payloads::{Payloads, notify};
use super::proposals;
use super::protection::Protection;
use super::sa::{Arrival, IkeSa, State};
use crate::config::{AuthMethod, Childless, Connection, Fragmentation, RemoteAuth};
use crate::crypto::auth::Hash;
use crate::crypto::{IkeKeys, KeMethod, KeSecret, KeyContext, Secret};
use crate::endpoint::{Context, Failure, IkeSaId, Output, Reason, Starts, Transmit};
use crate::proposal::{IkeSuite, Proposal, Transform, TransformType};
use crate::wire::IkeSpi;
use crate::wire::v2::{
    ExchangeType, Header, MAX_NONCE, MIN_NONCE, Message, Nonce, Notify, NotifyType, Payload,
    SecurityAssociation, SpiField,
};

/// Longest cookie taken from a responder (RFC 7296 §3.10.1).
const MAX_COOKIE: usize = 64;

/// Times a responder may send us back to the start, for cookies and groups together.
const MOST_RESTARTS: u8 = 6;

/// An initiator's IKE_SA_INIT.
pub(crate) struct Initiator {
    nonce: Vec<u8>,
    ke: KeSecret,
    cookie: Option<Vec<u8>>,
    restarts: u8,
    groups: u8,
    /// The request as it was sent last: AUTH covers it.
    request: Vec<u8>,
    /// What an unauthenticated answer says; believed if nothing better comes before the next copy is due.
    pub hint: Option<Reason>,
}

/// Begins an IKE SA as initiator; `None` if its configuration has no key exchange.
pub(crate) fn start(
    cx: &mut Context<'_>,
    id: IkeSaId,
    connection: Arc<Connection>,
    (local, remote): (SocketAddr, SocketAddr),
    starts: Starts,
) -> Option<IkeSa> {
    let method = connection
        .proposals
        .iter()
        .find_map(key_exchange::first_group)?;
    let state = Initiator {
        nonce: key_exchange::fresh_nonce(cx),
        ke: key_exchange::start_ke(cx, method),
        cookie: None,
        restarts: 0,
        groups: 0,
        request: Vec::new(),
        hint: None,
    };
    let path = Path::new(local, remote);
    let mut sa = IkeSa::new(id, connection, true, path, State::Gone);
    sa.spi_i = cx.fresh_spi();
    sa.starts = Some(starts);
    send(&mut sa, cx, Box::new(state));
    Some(sa)
}

/// The proposals that this end offers.
///
/// Additional key exchanges need IKE_INTERMEDIATE, so they stay away where the peer does not know it (RFC 9370 §2.2.1).
fn acceptable(connection: &Connection, intermediate: bool) -> Vec<Proposal> {
    let all = connection.proposals.iter();
    if intermediate {
        return all.cloned().collect();
    }
    all.map(Proposal::without_additional_ke).collect()
}

/// Whether a connection wants additional key exchanges.
fn wants_intermediate(connection: &Connection) -> bool {
    let additional = |t: &Transform| matches!(t.kind, TransformType::AddKe(_));
    let mut all = connection.proposals.iter().flat_map(|p| &p.transforms);
    all.any(additional)
}

fn send(sa: &mut IkeSa, cx: &mut Context<'_>, mut state: Box<Initiator>) {
    let mut payloads = Vec::new();
    //= RFC 7296 §2.6: the cookie comes first, the rest of the message is as it was
    if let Some(cookie) = &state.cookie {
        let cookie = Notify::new(NotifyType::Cookie, cookie.clone());
        payloads.push(Payload::Notify(cookie));
    }
    let all = acceptable(&sa.connection, true);
    let offer = proposals::offer(&all, &SpiField::None);
    payloads.push(Payload::SecurityAssociation(offer));
    payloads.push(key_exchange::ke_payload(&state.ke));
    payloads.extend(Nonce::new(state.nonce.clone()).ok().map(Payload::Nonce));
    let forced = sa.connection.encap;
    payloads.extend(sa.path.detection_payloads((sa.spi_i, sa.spi_r), forced));
    payloads.extend(capabilities(&sa.connection));
    payloads.extend(vendor_ids(cx));
    let header = sa.header(ExchangeType::IkeSaInit, 0, false);
    match Message::emit(&header, &payloads) {
        Ok(datagram) => {
            state.request.clone_from(&datagram);
            state.hint = None;
            sa.state = State::Init(state);
            sa.outgoing.next = 1;
            let exchange = Exchange::Handshake;
            sa.send_request(cx, ExchangeType::IkeSaInit, 0, vec![datagram], exchange);
        }
        Err(error) => {
            let reason = Reason::Local(format!("IKE_SA_INIT cannot be sent: {error}"));
            sa.give_up(cx, reason);
        }
    }
}

/// What this end can do, said in both directions.
fn capabilities(connection: &Connection) -> Vec<Payload> {
    let mut out = Vec::new();
    //= RFC 7427 §4: the hashes that this end has, where it may have to verify signatures
    let hashes: Vec<u8> = Hash::ANNOUNCED
        .iter()
        .flat_map(|h| h.to_be_bytes())
        .collect();
    let kind = NotifyType::SignatureHashAlgorithms;
    out.push(Payload::Notify(Notify::new(kind, hashes)));
    if wants_intermediate(connection) {
        out.push(notify(NotifyType::IntermediateExchangeSupported));
    }
    if connection.fragmentation != Fragmentation::No {
        out.push(notify(NotifyType::FragmentationSupported));
    }
    out
}

fn vendor_ids(cx: &Context<'_>) -> impl Iterator<Item = Payload> {
    cx.settings
        .vendor_ids
        .iter()
        .cloned()
        .map(Payload::VendorId)
}

/// The responder's answer to our IKE_SA_INIT.
pub(crate) fn handle_response(
    sa: &mut IkeSa,
    cx: &mut Context<'_>,
    message: Message,
    datagram: &[u8],
) {
    let header = message.header;
    if header.message_id != 0 || message.encrypted.is_some() {
        return;
    }
    // A second copy comes when the state is another already.
    let mut state = match std::mem::replace(&mut sa.state, State::Gone) {
        State::Init(state) => state,
        other => {
            sa.state = other;
            return;
        }
    };
    let p = Payloads::sort(message.payloads);
    match read_response(sa, cx, &mut state, header, &p, datagram) {
        Next::Wait => sa.state = State::Init(state),
        Next::Again => send(sa, cx, state),
        Next::Fail(reason) => sa.give_up(cx, reason),
        Next::Auth(handshake) => {
            sa.outgoing.finish();
            intermediate::go_on(sa, cx, handshake);
        }
    }
}

enum Next {
    /// Nothing to go by.
    Wait,
    /// Send it again, changed.
    Again,
    /// It cannot work.
    Fail(Reason),
    /// Go on with IKE_AUTH.
    Auth(Box<Handshake>),
}

fn read_response(
    sa: &mut IkeSa,
    cx: &mut Context<'_>,
    state: &mut Initiator,
    header: Header,
    p: &Payloads,
    datagram: &[u8],
) -> Next {
    let ours = acceptable(&sa.connection, true);
    if let Some(cookie) = p.notify(NotifyType::Cookie) {
        let fits = (1..=MAX_COOKIE).contains(&cookie.data.len());
        if !fits || state.restarts >= MOST_RESTARTS {
            return Next::Wait;
        }
        state.restarts += 1;
        state.cookie = Some(cookie.data.clone());
        return Next::Again;
    }
    if let Some(wanted) = p.notify(NotifyType::InvalidKePayload) {
        return other_group(cx, state, &ours, &wanted.data);
    }
    if let Some(error) = p.error() {
        //= RFC 7296 §2.21.1: an error in this answer is not authentic, so it is not acted upon at once
        state.hint = Some(match error.kind {
            NotifyType::NoProposalChosen => {
                proposals::refused_by_peer(&ours, proposals_key(&sa.connection))
            }
            other => notified(other),
        });
        return Next::Wait;
    }
    let (Some(choice), Some(ke), Some(nonce)) = (&p.sa, &p.ke, &p.nonce) else {
        return Next::Wait;
    };
    if header.responder_spi.is_zero() {
        return Next::Wait;
    }
    let protocol = |what: &str| Next::Fail(Reason::Protocol(what.into()));
    let Some((proposal, SpiField::None)) = proposals::check_choice(choice, &ours) else {
        return protocol("it chose an IKE proposal that was not offered");
    };
    let suite = match IkeSuite::from_chosen(&proposal) {
        Ok(suite) => suite,
        Err(error) => return protocol(&error.to_string()),
    };
    if suite.ke != state.ke.method() || ke.method != suite.ke.id() {
        return protocol("its key exchange does not fit its choice");
    }
    let shared = match state.ke.finish(&ke.data) {
        Ok(shared) => shared,
        Err(error) => return protocol(&error.to_string()),
    };
    sa.spi_r = header.responder_spi;
    sa.path.detect_nat((sa.spi_i, sa.spi_r), &p.notifies);
    sa.path.encap |= sa.connection.encap;
    take_capabilities(sa, p);
    let requests = &p.certificate_requests;
    let handshake = Handshake {
        peer_hashes: peer_hashes(p),
        certificate_wanted: !requests.is_empty(),
        peer_authorities: requests.iter().flat_map(|r| r.key_hashes()).collect(),
        init_request: std::mem::take(&mut state.request),
        init_response: datagram.to_vec(),
        nonce_i: std::mem::take(&mut state.nonce),
        nonce_r: nonce.clone(),
        ..Handshake::default()
    };
    let Some(handshake) = make_keys(sa, handshake, &suite, &shared) else {
        return protocol("no keys can be made for its choice");
    };
    //= RFC 7296 §2.23: behind a NAT everything moves to port 4500, and with MOBIKE (RFC 4555 §3.3) as well
    if sa.path.encap || sa.connection.mobike {
        sa.path.float(cx.settings.nat_port, cx.settings.port);
    }
    Next::Auth(Box::new(handshake))
}

fn other_group(
    cx: &mut Context<'_>,
    state: &mut Initiator,
    ours: &[Proposal],
    wanted: &[u8],
) -> Next {
    let id = <[u8; 2]>::try_from(wanted).map(u16::from_be_bytes);
    let Some(method) = id.ok().and_then(KeMethod::from_id) else {
        return Next::Wait;
    };
    let mut offered = ours.iter().flat_map(|p| p.of(TransformType::Ke));
    //= RFC 7296 §1.2: only a group that was offered, and another than was sent, is worth another try
    if !offered.any(|t| t.id == method.id())
        || method == state.ke.method()
        || state.groups >= MOST_GROUPS
        || state.restarts >= MOST_RESTARTS
    {
        state.hint = Some(Reason::Protocol(format!("it wants group {method}")));
        return Next::Wait;
    }
    state.groups += 1;
    state.restarts += 1;
    //= RFC 7296 §2.6.1: a cookie that was given is returned with the other group as well
    state.ke = key_exchange::start_ke(cx, method);
    Next::Again
}

fn take_capabilities(sa: &mut IkeSa, p: &Payloads) {
    let can = sa.connection.fragmentation != Fragmentation::No;
    sa.peer.fragmentation = can && p.has(NotifyType::FragmentationSupported);
    sa.peer.childless = p.has(NotifyType::ChildlessIkev2Supported);
}

/// The hashes that the peer has (RFC 7427 §4).
fn peer_hashes(p: &Payloads) -> Vec<u16> {
    let data = p
        .notify(NotifyType::SignatureHashAlgorithms)
        .map(|n| &n.data[..]);
    let hashes = data.unwrap_or_default().as_chunks::<2>().0;
    hashes.iter().map(|h| u16::from_be_bytes(*h)).collect()
}

fn proposals_key(connection: &Connection) -> String {
    format!("connections.{}.proposals", connection.name)
}

/// The keys after the key exchange, put where they are used.
fn make_keys(
    sa: &mut IkeSa,
    mut handshake: Handshake,
    suite: &IkeSuite,
    shared: &Secret,
) -> Option<Handshake> {
    let context = KeyContext {
        nonce_i: &handshake.nonce_i,
        nonce_r: &handshake.nonce_r,
        spi_i: sa.spi_i.0,
        spi_r: sa.spi_r.0,
    };
    let keys = IkeKeys::initial(suite, shared, context);
    sa.protection = Some(Box::new(Protection::new(suite, &keys, sa.initiator)?));
    sa.prf = Some(suite.prf);
    sa.sk_d = keys.d.clone();
    handshake.keys = Some((suite.clone(), keys));
    Some(handshake)
}

/// What an IKE_SA_INIT request leads to.
pub(crate) enum Verdict {
    /// An IKE SA, which has answered.
    Begun(Box<IkeSa>),
    /// Nothing is kept: this is answered.
    Refused(Notify, Option<Box<Failure>>),
    /// No answer at all.
    Dropped,
}

/// An IKE_SA_INIT request: the payloads that a decision needs first.
pub(crate) struct Request {
    pub header: Header,
    pub payloads: Payloads,
}

impl Request {
    /// Sorts a request; `None` if it is none.
    pub fn read(message: Message) -> Option<Self> {
        let header = message.header;
        let fits = header.exchange == ExchangeType::IkeSaInit
            && !header.response
            && header.from_initiator
            && header.message_id == 0
            && header.responder_spi.is_zero()
            && !header.initiator_spi.is_zero()
            && message.encrypted.is_none();
        fits.then(|| Self {
            header,
            payloads: Payloads::sort(message.payloads),
        })
    }

    /// The initiator's nonce, if it has a length that a nonce may have.
    pub fn nonce(&self) -> Option<&[u8]> {
        let nonce = self.payloads.nonce.as_deref()?;
        (MIN_NONCE..=MAX_NONCE)
            .contains(&nonce.len())
            .then_some(nonce)
    }
}

/// Answers an IKE_SA_INIT request with the first of the connections that fits.
pub(crate) fn answer(
    cx: &mut Context<'_>,
    id: IkeSaId,
    candidates: Vec<Arc<Connection>>,
    from: Arrival,
    request: Request,
    datagram: &[u8],
) -> Verdict {
    let p = &request.payloads;
    let (Some(offer), Some(nonce_i)) = (&p.sa, request.nonce()) else {
        return Verdict::Refused(Notify::new(NotifyType::InvalidSyntax, []), None);
    };
    let intermediate = p.has(NotifyType::IntermediateExchangeSupported);
    let (connection, choice) = match choose(&candidates, offer, from, intermediate) {
        Ok(chosen) => chosen,
        Err(failure) => {
            let notify = Notify::new(NotifyType::NoProposalChosen, []);
            return Verdict::Refused(notify, Some(failure));
        }
    };
    let Ok(suite) = IkeSuite::from_chosen(&choice.proposal) else {
        return Verdict::Dropped;
    };
    let (ke_payload, shared) = match key_exchange::answer_ke(cx, suite.ke, p.ke.as_ref()) {
        Ok(answered) => answered,
        Err(refusal) => return Verdict::Refused(refusal.notify, None),
    };
    let path = Path::new(from.local, from.remote);
    let mut sa = IkeSa::new(id, connection, false, path, State::Gone);
    sa.spi_i = request.header.initiator_spi;
    sa.spi_r = cx.fresh_spi();
    //= RFC 7296 §2.23: the initiator hashed its addresses with a responder's SPI of zero
    sa.path.detect_nat((sa.spi_i, IkeSpi::ZERO), &p.notifies);
    sa.path.encap |= sa.connection.encap;
    take_capabilities(&mut sa, p);

    let nonce_r = key_exchange::fresh_nonce(cx);
    let number = offer.proposals[choice.offered].number;
    let chosen = proposals::to_wire(&choice.proposal, number, SpiField::None);
    let mut payloads = vec![
        Payload::SecurityAssociation(SecurityAssociation {
            proposals: vec![chosen],
        }),
        ke_payload,
    ];
    payloads.extend(Nonce::new(nonce_r.clone()).ok().map(Payload::Nonce));
    let forced = sa.connection.encap;
    let spis = (sa.spi_i, sa.spi_r);
    payloads.extend(sa.path.detection_payloads(spis, forced));
    payloads.extend(capabilities(&sa.connection));
    let by_certificate = |c: &Arc<Connection>| {
        let key = |r: &RemoteAuth| r.method == AuthMethod::PublicKey;
        c.send_certreq && c.remote.iter().any(key)
    };
    if candidates.iter().any(by_certificate) {
        payloads.extend(auth::certificate_request(cx.authorities));
    }
    //= RFC 6023 §3: the responder says whether an IKE SA may begin without a child
    if sa.connection.childless != Childless::Never {
        payloads.push(notify(NotifyType::ChildlessIkev2Supported));
    }
    payloads.extend(vendor_ids(cx));
    let header = sa.header(ExchangeType::IkeSaInit, 0, true);
    let Ok(response) = Message::emit(&header, &payloads) else {
        return Verdict::Dropped;
    };
    let handshake = Handshake {
        init_request: datagram.to_vec(),
        init_response: response.clone(),
        nonce_i: nonce_i.to_vec(),
        nonce_r,
        candidates,
        peer_hashes: peer_hashes(p),
        proposal: Some(choice.proposal),
        ..Handshake::default()
    };
    let Some(handshake) = make_keys(&mut sa, handshake, &suite, &shared) else {
        return Verdict::Dropped;
    };
    sa.state = State::HalfOpen(Box::new(auth::Responder::new(handshake)));
    sa.patience = Some(cx.now + cx.settings.half_open_timeout);
    sa.repeat_init_response(cx, from, response.clone());
    sa.incoming.answered(vec![response]);
    Verdict::Begun(Box::new(sa))
}

/// The first connection and proposal that fit, the connections in their order.
fn choose(
    candidates: &[Arc<Connection>],
    offer: &SecurityAssociation,
    from: Arrival,
    intermediate: bool,
) -> Result<(Arc<Connection>, proposals::Choice), Box<Failure>> {
    let mut first = None;
    for connection in candidates {
        match proposals::choose(offer, &acceptable(connection, intermediate)) {
            Ok(choice) => return Ok((connection.clone(), choice)),
            Err(mismatch) => {
                first.get_or_insert((connection, mismatch));
            }
        }
    }
    let (connection, reason) = match first {
        None => (None, Reason::NoConnection),
        Some((connection, mismatch)) => {
            let key = proposals_key(connection);
            (
                Some(connection.name.clone()),
                proposals::refused_by_us(&mismatch, key),
            )
        }
    };
    Err(Box::new(Failure {
        ike: None,
        connection,
        child: None,
        local: from.local,
        remote: from.remote,
        reason,
    }))
}

impl IkeSa {
    /// The IKE_SA_INIT response, if this is the request it answered.
    pub(crate) fn init_response_to(&self, request: &[u8]) -> Option<Vec<u8>> {
        match &self.state {
            State::HalfOpen(state) => state.init_response_to(request),
            _ => None,
        }
    }

    /// Sends the IKE_SA_INIT response, the first time or again.
    pub(crate) fn repeat_init_response(
        &self,
        cx: &mut Context<'_>,
        from: Arrival,
        response: Vec<u8>,
    ) {
        cx.outputs.push_back(Output::Transmit(Transmit {
            ike: Some(self.id),
            source: from.local,
            destination: from.remote,
            message: response,
            marker: from.local.port() == cx.settings.nat_port,
        }));
    }
}

/// An answer to an IKE_SA_INIT request for which nothing is kept.
pub(crate) fn stateless(cx: &mut Context<'_>, from: Arrival, header: Header, notify: Notify) {
    let header = Header {
        response: true,
        from_initiator: false,
        ..header
    };
    if let Ok(message) = Message::emit(&header, &[Payload::Notify(notify)]) {
        cx.outputs.push_back(Output::Transmit(Transmit {
            ike: None,
            source: from.local,
            destination: from.remote,
            message,
            marker: from.local.port() == cx.settings.nat_port,
        }));
    }
}
