//! The responder's IKE_AUTH.

use std::sync::Arc;

use super::prove::{self, Proving};
use super::{Handshake, Progress, check, distrust, own_identity};
use crate::config::{AuthMethod, Childless, Connection, EapBackend, Unique};
use crate::crypto::Secret;
use crate::eap::{Authenticator, AuthenticatorStep, Backend};
use crate::endpoint::{Answer, Ask, AskId, Context, Effect, Reason};
use crate::identity::Identity;
use crate::proposal::{Prefer, Proposal, select};
use crate::v2::payloads::{Payloads, notify};
use crate::v2::sa::{IkeSa, State};
use crate::wire::v2::{ExchangeType, Identification, NotifyType, Payload};

/// A responder between IKE_SA_INIT and the end of IKE_AUTH.
pub(crate) struct Responder {
    pub handshake: Box<Handshake>,
    /// The first request: what it asks for counts once its sender is believed.
    request: Option<Box<Payloads>>,
    eap: Option<Box<Authenticator>>,
    /// What EAP made, once it succeeded.
    msk: Option<Secret>,
    stage: Stage,
}

enum Stage {
    /// A request of the peer is awaited.
    Waiting,
    /// Its AUTH is being checked.
    Checking(check::Checking),
    /// Our own proof is being made.
    Proving(Proving),
    /// Somebody is asked for EAP's sake.
    Eap(AskId),
}

type Boxed = Box<Responder>;

const KIND: ExchangeType = ExchangeType::IkeAuth;

impl Responder {
    pub fn new(handshake: Handshake) -> Self {
        Self {
            handshake: Box::new(handshake),
            request: None,
            eap: None,
            msk: None,
            stage: Stage::Waiting,
        }
    }

    /// The IKE_SA_INIT response, if this is the request it answered.
    pub fn init_response_to(&self, request: &[u8]) -> Option<Vec<u8>> {
        let handshake = &self.handshake;
        (handshake.init_request == request).then(|| handshake.init_response.clone())
    }

    /// Who the peer says it is.
    fn peer_id(&self) -> Option<&Identification> {
        self.request.as_ref()?.id_i.as_ref()
    }
}

/// An IKE_AUTH request of the peer.
pub(crate) fn handle_request(sa: &mut IkeSa, cx: &mut Context<'_>, p: Payloads) {
    let State::HalfOpen(state) = std::mem::replace(&mut sa.state, State::Gone) else {
        return;
    };
    sa.incoming.working = true;
    if state.request.is_none() {
        return first_request(sa, cx, state, p);
    }
    if let Some(msk) = &state.msk {
        let good = state
            .peer_id()
            .zip(p.auth.as_ref())
            .is_some_and(|(id, auth)| state.handshake.check_shared_key(true, id, msk, auth));
        return if good {
            let own = sa.local_id.as_ref().map(Identity::to_wire);
            let auth = own.and_then(|own| state.handshake.shared_key_auth(false, &own, msk));
            let proof = auth.into_iter().map(Payload::Authentication).collect();
            accept(sa, cx, *state, proof)
        } else {
            let reason = distrust(
                "AUTH does not fit what EAP made",
                "see the RADIUS server's log",
            );
            sa.refuse(cx, NotifyType::AuthenticationFailed, reason)
        };
    }
    match (p.eap, state.eap.is_some()) {
        (Some(message), true) => eap(sa, cx, state, |eap| eap.handle(&message)),
        _ => {
            let reason = Reason::Protocol("an IKE_AUTH request without EAP message".into());
            sa.refuse(cx, NotifyType::InvalidSyntax, reason);
        }
    }
}

fn first_request(sa: &mut IkeSa, cx: &mut Context<'_>, mut state: Boxed, p: Payloads) {
    let Some(id) = &p.id_i else {
        let reason = Reason::Protocol("an IKE_AUTH request without IDi".into());
        return sa.refuse(cx, NotifyType::InvalidSyntax, reason);
    };
    let identity = Identity::from_wire(id);
    let wanted = p.id_r.as_ref().map(Identity::from_wire);
    let method = check::method_of(p.auth.as_ref());
    let connection = match choose(&state.handshake, &identity, wanted.as_ref(), method) {
        Ok(connection) => connection,
        Err(problem) => {
            let remedy = "change local.id, remote.id or remote.auth of the connection";
            let reason = distrust(problem, remedy);
            return sa.refuse(cx, NotifyType::AuthenticationFailed, reason);
        }
    };
    let local = match (wanted, connection.local.first().and_then(|l| l.id.as_ref())) {
        //= RFC 7296 §2.15: who has no identity of its own takes the one it is called by
        (Some(wanted), None) => wanted,
        _ => own_identity(&connection, sa.path.local.ip()),
    };
    sa.connection = connection;
    sa.local_id = Some(local);
    let requests = &p.certificate_requests;
    state.handshake.certificate_wanted = !requests.is_empty();
    state.handshake.peer_authorities = requests.iter().flat_map(|r| r.key_hashes()).collect();
    let progress = match &p.auth {
        //= RFC 7296 §2.16: without AUTH the responder proves itself first, and begins EAP
        None => Progress::Done(()),
        Some(auth) => check::begin(sa, cx, &state.handshake, method, (id, auth, &p)),
    };
    state.request = Some(Box::new(p));
    checked(sa, cx, state, progress);
}

/// The first connection that takes both identities, the method and what was chosen before.
fn choose(
    handshake: &Handshake,
    peer: &Identity,
    wanted: Option<&Identity>,
    method: AuthMethod,
) -> Result<Arc<Connection>, String> {
    let mut problem = format!("no connection between these addresses takes the identity {peer}");
    for connection in &handshake.candidates {
        let (Some(local), Some(remote)) = (connection.local.first(), connection.remote.first())
        else {
            continue;
        };
        let name = &connection.name;
        if !remote.id.matches(peer) {
            continue;
        }
        if let (Some(own), Some(wanted)) = (&local.id, wanted)
            && !own.names_the_same(wanted)
        {
            problem = format!("the peer wants {wanted}, and connections.{name}.local.id is {own}");
            continue;
        }
        if remote.method != method {
            let expected = remote.method;
            problem = format!(
                "the peer authenticates by {method:?}, and connections.{name}.remote.auth is {expected:?}"
            );
            continue;
        }
        let proposal = handshake.proposal.as_slice();
        let plain = connection
            .proposals
            .iter()
            .map(Proposal::without_additional_ke);
        let acceptable: Vec<_> = connection.proposals.iter().cloned().chain(plain).collect();
        if select(proposal, &acceptable, Prefer::Configured).is_err() {
            problem = format!(
                "connections.{name}.proposals does not allow what was agreed on before the identities were known"
            );
            continue;
        }
        return Ok(connection.clone());
    }
    Err(problem)
}

/// Takes an answer of somebody outside.
pub(crate) fn handle_answer_as_responder(
    sa: &mut IkeSa,
    cx: &mut Context<'_>,
    id: AskId,
    answer: Answer,
) {
    let State::HalfOpen(mut state) = std::mem::replace(&mut sa.state, State::Gone) else {
        return;
    };
    match std::mem::replace(&mut state.stage, Stage::Waiting) {
        Stage::Checking(stage) => {
            let request = state.request.as_ref();
            let said = request.and_then(|p| p.id_i.as_ref().zip(p.auth.as_ref()));
            let Some(said) = said else {
                return;
            };
            let progress = check::go_on(sa, &state.handshake, stage, (id, answer), said);
            checked(sa, cx, state, progress);
        }
        Stage::Proving(stage) => {
            let progress = prove::go_on(sa, cx, &state.handshake, stage, (id, answer));
            proved(sa, cx, state, progress);
        }
        Stage::Eap(asked) if asked == id => match answer {
            Answer::Secret(password) => {
                let password = password.as_ref().map(Secret::as_bytes);
                eap(sa, cx, state, |eap| eap.password(password));
            }
            Answer::Radius(answer) => eap(sa, cx, state, |eap| eap.server(answer)),
            _ => {}
        },
        stage => {
            state.stage = stage;
            sa.state = State::HalfOpen(state);
        }
    }
}

fn checked(
    sa: &mut IkeSa,
    cx: &mut Context<'_>,
    mut state: Boxed,
    progress: Progress<check::Checking, ()>,
) {
    match progress {
        Progress::Waiting(stage) => {
            state.stage = Stage::Checking(stage);
            sa.state = State::HalfOpen(state);
        }
        Progress::Failed(reason) => sa.refuse(cx, NotifyType::AuthenticationFailed, reason),
        Progress::Done(()) => {
            sa.remote_id = state.peer_id().map(Identity::from_wire);
            match prove::begin(sa, cx, &state.handshake) {
                Some(progress) => proved(sa, cx, state, progress),
                None => {
                    let what =
                        "this end cannot prove itself by EAP as responder: change local.auth";
                    let reason = Reason::Local(what.into());
                    sa.refuse(cx, NotifyType::AuthenticationFailed, reason);
                }
            }
        }
    }
}

fn proved(
    sa: &mut IkeSa,
    cx: &mut Context<'_>,
    mut state: Boxed,
    progress: Progress<Proving, Vec<Payload>>,
) {
    match progress {
        Progress::Waiting(stage) => {
            state.stage = Stage::Proving(stage);
            sa.state = State::HalfOpen(state);
        }
        Progress::Failed(reason) => sa.refuse(cx, NotifyType::AuthenticationFailed, reason),
        Progress::Done(proof) => {
            let own = sa.local_id.as_ref().map(Identity::to_wire);
            let id = own.map(Payload::IdResponder);
            let proof: Vec<_> = id.into_iter().chain(proof).collect();
            let by_eap = state.request.as_ref().is_some_and(|p| p.auth.is_none());
            if by_eap {
                begin_eap(sa, cx, state, proof);
            } else {
                accept(sa, cx, *state, proof);
            }
        }
    }
}

fn begin_eap(sa: &mut IkeSa, cx: &mut Context<'_>, mut state: Boxed, mut proof: Vec<Payload>) {
    let backend = match sa.connection.remote.first().map(|r| r.eap) {
        Some(EapBackend::Radius) => Backend::Server,
        _ => {
            let mut challenge = [0; 16];
            cx.random.fill(&mut challenge);
            Backend::MsChapV2(challenge)
        }
    };
    let mut identifier = [0];
    cx.random.fill(&mut identifier);
    // The peer is only what EAP says it is; until then it is nobody.
    sa.remote_id = None;
    let (authenticator, step) = Authenticator::ask_identity(backend, identifier[0]);
    state.eap = Some(Box::new(authenticator));
    if let AuthenticatorStep::Send(request) = step {
        proof.push(Payload::Eap(request));
    }
    sa.respond(cx, KIND, proof);
    sa.state = State::HalfOpen(state);
}

/// A step of EAP, and what follows.
fn eap(
    sa: &mut IkeSa,
    cx: &mut Context<'_>,
    mut state: Boxed,
    act: impl FnOnce(&mut Authenticator) -> AuthenticatorStep,
) {
    let Some(authenticator) = &mut state.eap else {
        return;
    };
    let step = act(authenticator);
    let name = authenticator.name().to_vec();
    let connection = sa.connection.name.clone();
    match step {
        AuthenticatorStep::Send(request) => {
            sa.respond(cx, KIND, vec![Payload::Eap(request)]);
            sa.state = State::HalfOpen(state);
        }
        AuthenticatorStep::AskPassword(name) => {
            let ask = Ask::EapPassword { connection, name };
            state.stage = Stage::Eap(cx.ask(sa.id, ask));
            sa.state = State::HalfOpen(state);
        }
        AuthenticatorStep::AskServer(message) => {
            let ask = Ask::Radius {
                connection,
                name,
                address: sa.path.remote,
                message,
            };
            state.stage = Stage::Eap(cx.ask(sa.id, ask));
            sa.state = State::HalfOpen(state);
        }
        AuthenticatorStep::Succeeded(message, msk) => {
            state.msk = Some(Secret::copy_of(msk.as_bytes()));
            sa.eap_id = Some(name);
            sa.respond(cx, KIND, vec![Payload::Eap(message)]);
            sa.state = State::HalfOpen(state);
        }
        AuthenticatorStep::Failed(message, why) => {
            sa.respond(cx, KIND, vec![Payload::Eap(message)]);
            let who = name.escape_ascii().to_string();
            let reason = distrust(
                format!("EAP with {who:?}: {why}"),
                "compare names and passwords",
            );
            sa.fail_and_close(cx, reason);
        }
        AuthenticatorStep::Ignore => {
            let reason = Reason::Protocol("an EAP message that makes no sense".into());
            sa.refuse(cx, NotifyType::InvalidSyntax, reason);
        }
    }
}

/// The peer is who it says: only now its request counts.
fn accept(sa: &mut IkeSa, cx: &mut Context<'_>, state: Responder, proof: Vec<Payload>) {
    let Some(p) = state.request else {
        return;
    };
    sa.remote_id = p.id_i.as_ref().map(Identity::from_wire);
    let mut payloads = proof;
    sa.establish(cx);
    let initial = p.has(NotifyType::InitialContact) && sa.connection.unique != Unique::Never;
    if initial || sa.connection.unique == Unique::Replace {
        cx.effects.push(Effect::OnlyOne(sa.id));
    }
    let nonces = (&state.handshake.nonce_i[..], &state.handshake.nonce_r[..]);
    let child = if p.sa.is_none() && p.ts_i.is_none() {
        //= RFC 6023 §4: an IKE SA without a child
        payloads.extend(sa.configuration_reply(cx, &p).unwrap_or_default());
        Err(None)
    } else if sa.connection.childless == Childless::Force {
        payloads.push(notify(NotifyType::NoAdditionalSas));
        let what = "the peer asks for a child in IKE_AUTH, and childless is force";
        Err(Some(Reason::Local(what.into())))
    } else {
        let answered = sa.configuration_reply(cx, &p).and_then(|configuration| {
            payloads.extend(configuration);
            sa.answer_child(cx, &p, None, Some(nonces))
        });
        match answered {
            Ok((answer, agreed)) => {
                payloads.extend(answer);
                sa.add_child(cx, agreed).ok_or(None)
            }
            //= RFC 7296 §1.2: the IKE SA comes about even if its first child does not
            Err(refusal) => {
                payloads.push(Payload::Notify(refusal.notify));
                Err(Some(refusal.reason))
            }
        }
    };
    sa.respond(cx, KIND, payloads);
    sa.up(cx);
    match child {
        Ok(id) => sa.child_up(cx, id),
        Err(Some(reason)) => sa.child_failed(cx, None, reason),
        Err(None) => {}
    }
}

impl IkeSa {
    /// Answers that it will not be, and keeps the answer for copies of the request.
    fn refuse(&mut self, cx: &mut Context<'_>, notify: NotifyType, reason: Reason) {
        self.respond_notify(cx, KIND, notify);
        self.fail_and_close(cx, reason);
    }
}
