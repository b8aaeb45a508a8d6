//! The responder's IKE_AUTH.

use std::sync::Arc;

use super::{Handshake, own_identity};
use crate::config::{AuthMethod, Connection};
use crate::crypto::Secret;
use crate::endpoint::{Answer, Ask, AskId, By, Context, Reason};
use crate::identity::Identity;
use crate::proposal::{Prefer, select};
use crate::v2::payloads::Payloads;
use crate::v2::sa::{IkeSa, State};
use crate::wire::v2::{self as wire, ExchangeType, NotifyType, Payload};

/// A responder between IKE_SA_INIT and the end of IKE_AUTH.
pub(crate) struct Responder {
    handshake: Box<Handshake>,
    stage: Stage,
}

enum Stage {
    /// The peer's IKE_AUTH is awaited.
    Waiting,
    /// It is here, and the secret to check it with is asked for.
    PeerSecret(AskId, Box<Payloads>),
}

impl Responder {
    /// The IKE_SA_INIT response, if this is the request it answered.
    pub fn init_response_to(&self, request: &[u8]) -> Option<Vec<u8>> {
        let handshake = &self.handshake;
        (handshake.init_request == request).then(|| handshake.init_response.clone())
    }

    pub fn new(handshake: Handshake) -> Self {
        Self {
            handshake: Box::new(handshake),
            stage: Stage::Waiting,
        }
    }
}

/// The peer's IKE_AUTH.
pub(crate) fn handle_request(sa: &mut IkeSa, cx: &mut Context<'_>, p: Payloads) {
    let State::HalfOpen(mut state) = std::mem::replace(&mut sa.state, State::Gone) else {
        return;
    };
    let Some(id) = &p.id_i else {
        let reason = Reason::Protocol("an IKE_AUTH request without IDi".into());
        return sa.refuse(cx, NotifyType::InvalidSyntax, reason);
    };
    let identity = Identity::from_wire(id);
    let wanted = p.id_r.as_ref().map(Identity::from_wire);
    let method = method_of(&p);
    let handshake = &state.handshake;
    let connection = match choose(handshake, &identity, wanted.as_ref(), method) {
        Ok(connection) => connection,
        Err(problem) => {
            let reason = Reason::Authentication {
                by: By::Us,
                problem,
                remedy: "change local.id, remote.id or remote.auth of the connection".into(),
            };
            return sa.refuse(cx, NotifyType::AuthenticationFailed, reason);
        }
    };
    let local = match (wanted, connection.local.first().and_then(|l| l.id.as_ref())) {
        //= RFC 7296 §2.15: who has no identity of its own takes the one it is called by
        (Some(wanted), None) => wanted,
        _ => own_identity(&connection, sa.path.local.ip()),
    };
    sa.connection = connection;
    sa.local_id = Some(local.clone());
    sa.incoming.working = true;
    let ask = Ask::Secret {
        connection: sa.connection.name.clone(),
        local: Some(local),
        remote: Some(identity),
        address: sa.path.remote.ip(),
    };
    state.stage = Stage::PeerSecret(cx.ask(sa.id, ask), Box::new(p));
    sa.state = State::HalfOpen(state);
}

/// How the peer means to prove who it is.
fn method_of(p: &Payloads) -> AuthMethod {
    match p.auth.as_ref().map(|a| a.method) {
        None => AuthMethod::Eap,
        Some(wire::AuthMethod::SharedKey) => AuthMethod::Psk,
        Some(wire::AuthMethod::Null) => AuthMethod::Null,
        Some(_) => AuthMethod::PublicKey,
    }
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
        if !remote.id.matches(peer) {
            continue;
        }
        if let (Some(own), Some(wanted)) = (&local.id, wanted)
            && own != wanted
        {
            problem = format!(
                "the peer wants {wanted}, and connections.{}.local.id is {own}",
                connection.name
            );
            continue;
        }
        if remote.method != method || local.method != AuthMethod::Psk {
            let expected = remote.method;
            problem = format!(
                "the peer authenticates by {method:?}, and connections.{}.remote.auth is {expected:?}",
                connection.name
            );
            continue;
        }
        let proposal = handshake.proposal.as_slice();
        if select(proposal, &connection.proposals, Prefer::Configured).is_err() {
            problem = format!(
                "connections.{}.proposals does not allow what was agreed on before the identities were known",
                connection.name
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
    match (std::mem::replace(&mut state.stage, Stage::Waiting), answer) {
        (Stage::PeerSecret(asked, p), Answer::Secret(secret)) if asked == id => {
            check_secret(sa, cx, &state, *p, secret);
        }
        (stage, _) => {
            state.stage = stage;
            sa.state = State::HalfOpen(state);
        }
    }
}

fn check_secret(
    sa: &mut IkeSa,
    cx: &mut Context<'_>,
    state: &Responder,
    p: Payloads,
    secret: Option<Secret>,
) {
    let (Some(id), Some(auth)) = (&p.id_i, &p.auth) else {
        return;
    };
    let problem = match &secret {
        None => "there is no secret for these identities",
        Some(s) if !state.handshake.check_shared_key(true, id, s, auth) => {
            "AUTH does not fit the secret"
        }
        Some(_) => "",
    };
    let (Some(secret), true) = (secret, problem.is_empty()) else {
        let reason = Reason::Authentication {
            by: By::Us,
            problem: format!("{problem} ({})", Identity::from_wire(id)),
            remedy: "give both ends the same secret, under names that fit both identities".into(),
        };
        return sa.refuse(cx, NotifyType::AuthenticationFailed, reason);
    };
    sa.remote_id = Some(Identity::from_wire(id));
    let Some(own) = sa.local_id.as_ref().map(Identity::to_wire) else {
        return;
    };
    match state.handshake.shared_key_auth(false, &own, &secret) {
        Some(auth) => {
            let proof = vec![Payload::IdResponder(own), Payload::Authentication(auth)];
            accept(sa, cx, state, &p, proof);
        }
        None => sa.give_up(cx, Reason::Local("AUTH cannot be made".into())),
    }
}

/// The peer is who it says: only now the rest of its request counts.
fn accept(
    sa: &mut IkeSa,
    cx: &mut Context<'_>,
    state: &Responder,
    p: &Payloads,
    proof: Vec<Payload>,
) {
    let mut payloads = proof;
    sa.establish(cx);
    let nonces = (&state.handshake.nonce_i[..], &state.handshake.nonce_r[..]);
    let child = match sa.answer_child(cx, p, None, Some(nonces)) {
        Ok((answer, agreed)) => {
            payloads.extend(answer);
            sa.add_child(cx, agreed).ok_or(None)
        }
        //= RFC 7296 §1.2: the IKE SA comes about even if its first child does not
        Err(refusal) => {
            payloads.push(Payload::Notify(refusal.notify));
            Err(Some(refusal.reason))
        }
    };
    sa.respond(cx, ExchangeType::IkeAuth, payloads);
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
        self.respond_notify(cx, ExchangeType::IkeAuth, notify);
        self.fail_and_close(cx, reason);
    }
}
