//! The initiator's IKE_AUTH.

use super::{Handshake, own_identity};
use crate::config::AuthMethod;
use crate::crypto::Secret;
use crate::endpoint::{Answer, Ask, AskId, By, Context, Reason};
use crate::identity::Identity;
use crate::v2::child::{Create, Unmade};
use crate::v2::exchange::Exchange;
use crate::v2::messages::notified;
use crate::v2::payloads::Payloads;
use crate::v2::sa::{IkeSa, State};
use crate::wire::v2::{ExchangeType, Identification, NotifyType, Payload};

/// An initiator between IKE_SA_INIT and the end of IKE_AUTH.
pub(crate) struct Initiator {
    handshake: Box<Handshake>,
    own_id: Identification,
    /// The child that is asked for in IKE_AUTH.
    create: Option<Create>,
    stage: Stage,
}

enum Stage {
    /// The secret to prove ourselves with is asked for.
    OwnSecret(AskId),
    /// The request is under way.
    Sent,
    /// The answer is here, and the secret to check it with is asked for.
    PeerSecret(AskId, Box<Payloads>),
}

/// Goes on after IKE_SA_INIT.
pub(crate) fn begin(sa: &mut IkeSa, cx: &mut Context<'_>, handshake: Box<Handshake>) {
    let id = own_identity(&sa.connection, sa.path.local.ip());
    let state = Initiator {
        handshake,
        own_id: id.to_wire(),
        create: None,
        stage: Stage::Sent,
    };
    sa.local_id = Some(id);
    sa.patience = None;
    prove(sa, cx, Box::new(state));
}

fn prove(sa: &mut IkeSa, cx: &mut Context<'_>, mut state: Box<Initiator>) {
    match sa.connection.local.first().map(|l| l.method) {
        Some(AuthMethod::Psk) => {
            let remote = sa.connection.remote.first().and_then(|r| r.id.exact());
            let ask = secret(sa, remote);
            state.stage = Stage::OwnSecret(cx.ask(sa.id, ask));
            sa.state = State::Auth(state);
        }
        _ => {
            let problem = "this way of authentication is not supported".to_owned();
            sa.give_up(cx, Reason::Local(problem));
        }
    }
}

fn secret(sa: &IkeSa, remote: Option<Identity>) -> Ask {
    Ask::Secret {
        connection: sa.connection.name.clone(),
        local: sa.local_id.clone(),
        remote,
        address: sa.path.remote.ip(),
    }
}

/// Takes an answer of somebody outside.
pub(crate) fn handle_answer_as_initiator(
    sa: &mut IkeSa,
    cx: &mut Context<'_>,
    id: AskId,
    answer: Answer,
) {
    let State::Auth(mut state) = std::mem::replace(&mut sa.state, State::Gone) else {
        return;
    };
    match (std::mem::replace(&mut state.stage, Stage::Sent), answer) {
        (Stage::OwnSecret(asked), Answer::Secret(secret)) if asked == id => match secret {
            Some(secret) => send_with_secret(sa, cx, state, &secret),
            None => refuse_own(sa, cx, "there is no secret for this peer"),
        },
        (Stage::PeerSecret(asked, p), Answer::Secret(secret)) if asked == id => {
            check_secret(sa, cx, state, *p, secret);
        }
        (stage, _) => {
            state.stage = stage;
            sa.state = State::Auth(state);
        }
    }
}

fn refuse_own(sa: &mut IkeSa, cx: &mut Context<'_>, problem: &str) {
    sa.give_up(
        cx,
        Reason::Authentication {
            by: By::Us,
            problem: problem.into(),
            remedy: "add one that names both identities under `secrets`".into(),
        },
    );
}

fn send_with_secret(sa: &mut IkeSa, cx: &mut Context<'_>, state: Box<Initiator>, secret: &Secret) {
    match state.handshake.shared_key_auth(true, &state.own_id, secret) {
        Some(auth) => send(sa, cx, state, vec![Payload::Authentication(auth)]),
        None => sa.give_up(cx, Reason::Local("AUTH cannot be made".into())),
    }
}

/// Sends the request: who we are, the proof, and the first child.
fn send(sa: &mut IkeSa, cx: &mut Context<'_>, mut state: Box<Initiator>, proof: Vec<Payload>) {
    let mut payloads = vec![Payload::IdInitiator(state.own_id.clone())];
    if let Some(id) = sa.connection.remote.first().and_then(|r| r.id.exact()) {
        payloads.push(Payload::IdResponder(id.to_wire()));
    }
    payloads.extend(proof);
    let first = sa.starts.as_ref().and_then(|s| s.children.front().cloned());
    state.create = first.and_then(|child| Create::new(cx, sa, &child, None, true));
    let Some(create) = &state.create else {
        let what = "there is no child to begin with, or no address for its selectors";
        return sa.give_up(cx, Reason::Local(what.into()));
    };
    payloads.extend(create.payloads(sa));
    state.stage = Stage::Sent;
    sa.state = State::Auth(state);
    sa.request(cx, ExchangeType::IkeAuth, &payloads, Exchange::Handshake);
}

/// The answer to our IKE_AUTH.
pub(crate) fn handle_response(sa: &mut IkeSa, cx: &mut Context<'_>, p: Payloads) {
    let State::Auth(mut state) = std::mem::replace(&mut sa.state, State::Gone) else {
        return;
    };
    let (Some(id), Some(_)) = (&p.id_r, &p.auth) else {
        let reason = refusal(&p);
        return fail(sa, cx, &state, reason);
    };
    let identity = Identity::from_wire(id);
    let expected = sa.connection.remote.first();
    if !expected.is_some_and(|r| r.id.matches(&identity)) {
        let expected = expected.map(|r| r.id.to_string()).unwrap_or_default();
        let reason = Reason::Authentication {
            by: By::Us,
            problem: format!("the peer is {identity}, and {expected} was expected"),
            remedy: format!("change connections.{}.remote.id", sa.connection.name),
        };
        return fail(sa, cx, &state, reason);
    }
    match expected.map(|r| r.method) {
        Some(AuthMethod::Psk) => {
            let ask = secret(sa, Some(identity));
            state.stage = Stage::PeerSecret(cx.ask(sa.id, ask), Box::new(p));
            sa.state = State::Auth(state);
        }
        _ => {
            let problem = "this way of authentication is not supported".to_owned();
            fail(sa, cx, &state, Reason::Local(problem));
        }
    }
}

/// Why an answer without IDr and AUTH came.
fn refusal(p: &Payloads) -> Reason {
    match p.error().map(|n| n.kind) {
        Some(NotifyType::AuthenticationFailed) => Reason::Authentication {
            by: By::Peer,
            problem: "the peer did not accept our identity or its proof, and does not say why"
                .into(),
            remedy: "compare the identities and secrets on both ends; the peer's log tells more"
                .into(),
        },
        Some(other) => notified(other),
        None => Reason::Protocol("an IKE_AUTH response without IDr or AUTH".into()),
    }
}

/// Ends it, telling the peer nothing: it has no reason to trust us, or has refused us itself.
fn fail(sa: &mut IkeSa, cx: &mut Context<'_>, state: &Initiator, reason: Reason) {
    release(sa, cx, state);
    sa.give_up(cx, reason);
}

fn release(sa: &IkeSa, cx: &mut Context<'_>, state: &Initiator) {
    if let Some(create) = &state.create {
        cx.spis.release(sa.path.local.ip(), create.spi);
    }
}

fn check_secret(
    sa: &mut IkeSa,
    cx: &mut Context<'_>,
    state: Box<Initiator>,
    p: Payloads,
    secret: Option<Secret>,
) {
    let (Some(id), Some(auth)) = (&p.id_r, &p.auth) else {
        return;
    };
    let good = secret.is_some_and(|s| state.handshake.check_shared_key(false, id, &s, auth));
    if !good {
        let reason = Reason::Authentication {
            by: By::Us,
            problem: format!(
                "AUTH of {} does not fit the secret",
                Identity::from_wire(id)
            ),
            remedy: "give both ends the same secret".into(),
        };
        return fail(sa, cx, &state, reason);
    }
    finish(sa, cx, state, &p);
}

/// The peer is who it says: only now the rest of its answer counts.
fn finish(sa: &mut IkeSa, cx: &mut Context<'_>, state: Box<Initiator>, p: &Payloads) {
    sa.remote_id = p.id_r.as_ref().map(Identity::from_wire);
    sa.establish(cx);
    let nonces = (&state.handshake.nonce_i[..], &state.handshake.nonce_r[..]);
    let Some(create) = &state.create else {
        return;
    };
    match create.accept(sa, p, Some(nonces)) {
        Ok(agreed) => {
            let made = sa.add_child(cx, agreed);
            sa.up(cx);
            if let Some(id) = made {
                sa.child_up(cx, id);
            }
        }
        Err(unmade) => {
            release(sa, cx, &state);
            sa.up(cx);
            let reason = match unmade {
                Unmade::Failed { reason, .. } => reason,
                Unmade::Later | Unmade::NotFound | Unmade::Group(_) => {
                    Reason::Protocol("an answer that does not fit IKE_AUTH".into())
                }
            };
            sa.child_failed(cx, Some(&create.config), reason);
        }
    }
}
