//! The initiator's IKE_AUTH.

use super::prove::{self, Proving};
use super::{Handshake, Progress, check, distrust, own_identity};
use crate::config::{AuthMethod, Childless, Unique};
use crate::crypto::Secret;
use crate::eap::{Peer as EapPeer, PeerStep};
use crate::endpoint::{Answer, Ask, AskId, By, Context, Reason};
use crate::identity::Identity;
use crate::v2::child::{Create, Unmade};
use crate::v2::exchange::Exchange;
use crate::v2::messages::notified;
use crate::v2::payloads::{Payloads, notify};
use crate::v2::sa::{IkeSa, State};
use crate::wire::v2::{
    CertificateEncoding, CertificateRequest, ExchangeType, Identification, Notify, NotifyType,
    Payload,
};

/// An initiator between IKE_SA_INIT and the end of IKE_AUTH.
pub(crate) struct Initiator {
    handshake: Box<Handshake>,
    /// The child that is asked for in IKE_AUTH.
    create: Option<Create>,
    /// Who the peer says it is, once it has said so.
    peer_id: Option<Identification>,
    eap: Option<Box<EapPeer>>,
    /// What EAP made, once it succeeded: AUTH is made and checked with it.
    msk: Option<Secret>,
    stage: Stage,
}

enum Stage {
    /// Something is asked for, to prove ourselves with.
    Proving(Proving),
    /// A request is under way.
    Sent,
    /// The answer is here, and something is asked for to check its AUTH with.
    Checking(check::Checking, Box<Payloads>),
    /// The peer wants EAP, and the password is asked for.
    Password(AskId, Vec<u8>),
}

type Boxed = Box<Initiator>;

/// Goes on after IKE_SA_INIT.
pub(crate) fn begin(sa: &mut IkeSa, cx: &mut Context<'_>, handshake: Box<Handshake>) {
    let mut state = Box::new(Initiator {
        handshake,
        create: None,
        peer_id: None,
        eap: None,
        msk: None,
        stage: Stage::Sent,
    });
    sa.local_id = Some(own_identity(&sa.connection, sa.path.local.ip()));
    sa.patience = None;
    match prove::begin(sa, cx, &state.handshake) {
        //= RFC 7296 §2.16: leaving AUTH out says that EAP is wanted
        None => send(sa, cx, state, Vec::new()),
        Some(Progress::Waiting(stage)) => {
            state.stage = Stage::Proving(stage);
            sa.state = State::Auth(state);
        }
        Some(Progress::Done(proof)) => send(sa, cx, state, proof),
        Some(Progress::Failed(reason)) => fail(sa, cx, &state, reason),
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
    match std::mem::replace(&mut state.stage, Stage::Sent) {
        Stage::Proving(stage) => {
            match prove::go_on(sa, cx, &state.handshake, stage, (id, answer)) {
                Progress::Waiting(stage) => {
                    state.stage = Stage::Proving(stage);
                    sa.state = State::Auth(state);
                }
                Progress::Done(proof) => send(sa, cx, state, proof),
                Progress::Failed(reason) => fail(sa, cx, &state, reason),
            }
        }
        Stage::Checking(stage, p) => {
            let (Some(peer), Some(auth)) = (&state.peer_id, &p.auth) else {
                return;
            };
            match check::go_on(sa, &state.handshake, stage, (id, answer), (peer, auth)) {
                Progress::Waiting(stage) => {
                    state.stage = Stage::Checking(stage, p);
                    sa.state = State::Auth(state);
                }
                Progress::Done(()) => believed(sa, cx, state, &p),
                Progress::Failed(reason) => fail(sa, cx, &state, reason),
            }
        }
        Stage::Password(asked, request) if asked == id => {
            let Answer::Secret(Some(password)) = answer else {
                let reason = distrust("there is no EAP password", "add one under `secrets`");
                return fail(sa, cx, &state, reason);
            };
            let mut challenge = [0; 16];
            cx.random.fill(&mut challenge);
            let name = eap_name(sa);
            state.eap = Some(Box::new(EapPeer::new(name, password.as_bytes(), challenge)));
            eap(sa, cx, state, &request);
        }
        stage => {
            state.stage = stage;
            sa.state = State::Auth(state);
        }
    }
}

/// Sends the first request: who we are, the proof unless EAP is to come, what we want.
fn send(sa: &mut IkeSa, cx: &mut Context<'_>, mut state: Boxed, proof: Vec<Payload>) {
    let Some(own) = sa.local_id.as_ref().map(Identity::to_wire) else {
        return;
    };
    let mut payloads = vec![Payload::IdInitiator(own)];
    let connection = sa.connection.clone();
    let remote = connection.remote.first();
    if remote.is_some_and(|r| r.method == AuthMethod::PublicKey) && connection.send_certreq {
        payloads.extend(certificate_request(cx.authorities));
    }
    if let Some(id) = remote.and_then(|r| r.id.exact()) {
        payloads.push(Payload::IdResponder(id.to_wire()));
    }
    //= RFC 7296 §2.4: INITIAL_CONTACT says that this is the only IKE SA with the peer
    let first = sa.starts.as_ref().is_none_or(|s| s.replaces.is_none());
    if connection.unique != Unique::Never && first && !cx.has_other(&connection.name) {
        payloads.push(notify(NotifyType::InitialContact));
    }
    payloads.extend(proof);
    payloads.extend(sa.configuration_request());
    let mut child = sa.starts.as_ref().and_then(|s| s.children.front().cloned());
    match (connection.childless, sa.peer.childless) {
        (Childless::Prefer | Childless::Force, true) => child = None,
        (Childless::Force, false) => {
            let what = "the peer knows no IKE SAs without children: change childless";
            return fail(sa, cx, &state, Reason::Local(what.into()));
        }
        _ => {}
    }
    if let Some(starts) = &mut sa.starts {
        starts.in_auth = child.is_some();
    }
    if let Some(child) = child {
        state.create = Create::new(cx, sa, &child, None, true);
        let Some(create) = &state.create else {
            let what = "no SPI is left, or a side has no address for its selectors";
            return fail(sa, cx, &state, Reason::Local(what.into()));
        };
        payloads.extend(create.payloads(sa));
    } else if !sa.peer.childless {
        let what = "there is no child to begin with, and the peer knows no IKE SAs without";
        return fail(sa, cx, &state, Reason::Local(what.into()));
    }
    request(sa, cx, state, &payloads);
}

/// A CERTREQ with the key hashes of the authorities that we trust.
pub(crate) fn certificate_request(authorities: &[[u8; 20]]) -> Option<Payload> {
    (!authorities.is_empty()).then(|| {
        Payload::CertificateRequest(CertificateRequest {
            encoding: CertificateEncoding::X509Signature,
            authorities: authorities.concat(),
        })
    })
}

fn request(sa: &mut IkeSa, cx: &mut Context<'_>, mut state: Boxed, payloads: &[Payload]) {
    state.stage = Stage::Sent;
    sa.state = State::Auth(state);
    sa.request(cx, ExchangeType::IkeAuth, payloads, Exchange::Handshake);
}

/// An answer to one of our IKE_AUTH requests.
pub(crate) fn handle_response(sa: &mut IkeSa, cx: &mut Context<'_>, p: Payloads) {
    let State::Auth(mut state) = std::mem::replace(&mut sa.state, State::Gone) else {
        return;
    };
    if state.peer_id.is_some() && p.auth.is_none() {
        return match &p.eap {
            Some(request) => eap(sa, cx, state, request),
            None => fail(sa, cx, &state, refusal(&p)),
        };
    }
    if let (Some(auth), Some(peer), Some(msk)) = (&p.auth, &state.peer_id, &state.msk) {
        //= RFC 7296 §2.16: after EAP the responder proves itself again, by what EAP made
        return if state.handshake.check_shared_key(false, peer, msk, auth) {
            finish(sa, cx, state, &p)
        } else {
            let what = "AUTH of the peer does not fit what EAP made";
            fail(
                sa,
                cx,
                &state,
                distrust(what, "the peer and its RADIUS server disagree"),
            )
        };
    }
    let (Some(id), Some(auth)) = (&p.id_r, &p.auth) else {
        return fail(sa, cx, &state, refusal(&p));
    };
    let identity = Identity::from_wire(id);
    let Some(expected) = sa.connection.remote.first() else {
        return;
    };
    let method = check::method_of(p.auth.as_ref());
    if !expected.id.matches(&identity) {
        let problem = format!("the peer is {identity}, and {} was expected", expected.id);
        let remedy = format!("change connections.{}.remote.id", sa.connection.name);
        return fail(sa, cx, &state, distrust(problem, remedy));
    }
    if method != expected.method {
        let problem = format!(
            "the peer authenticates by {method:?}, not {:?}",
            expected.method
        );
        let remedy = format!("change connections.{}.remote.auth", sa.connection.name);
        return fail(sa, cx, &state, distrust(problem, remedy));
    }
    state.peer_id = Some(id.clone());
    match check::begin(sa, cx, &state.handshake, method, (id, auth, &p)) {
        Progress::Waiting(stage) => {
            state.stage = Stage::Checking(stage, Box::new(p));
            sa.state = State::Auth(state);
        }
        Progress::Done(()) => believed(sa, cx, state, &p),
        Progress::Failed(reason) => fail(sa, cx, &state, reason),
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

/// The peer's own proof is good. With EAP it is our turn now.
fn believed(sa: &mut IkeSa, cx: &mut Context<'_>, state: Boxed, p: &Payloads) {
    sa.remote_id = state.peer_id.as_ref().map(Identity::from_wire);
    let by_eap = sa
        .connection
        .local
        .first()
        .is_some_and(|l| l.method == AuthMethod::Eap);
    if !by_eap {
        return finish(sa, cx, state, p);
    }
    //= RFC 7296 §2.16: EAP begins only after the responder has proved itself
    match &p.eap {
        Some(request) => eap(sa, cx, state, request),
        None => {
            let what = Reason::Protocol("the peer does not begin EAP".into());
            fail(sa, cx, &state, what);
        }
    }
}

fn eap_name(sa: &IkeSa) -> Vec<u8> {
    let named = sa.connection.local.first().and_then(|l| l.eap_id.clone());
    match (named, &sa.local_id) {
        (Some(name), _) => name.into_bytes(),
        (None, Some(id)) => id.to_wire().data,
        (None, None) => Vec::new(),
    }
}

/// A message of EAP.
fn eap(sa: &mut IkeSa, cx: &mut Context<'_>, mut state: Boxed, message: &[u8]) {
    let Some(peer) = &mut state.eap else {
        let ask = Ask::EapPassword {
            connection: sa.connection.name.clone(),
            name: eap_name(sa),
        };
        state.stage = Stage::Password(cx.ask(sa.id, ask), message.to_vec());
        sa.state = State::Auth(state);
        return;
    };
    match peer.handle(message) {
        PeerStep::Send(answer) => request(sa, cx, state, &[Payload::Eap(answer)]),
        PeerStep::Succeeded(msk) => {
            let msk = Secret::copy_of(msk.as_bytes());
            let own = sa.local_id.as_ref().map(Identity::to_wire);
            let auth = own.and_then(|own| state.handshake.shared_key_auth(true, &own, &msk));
            state.msk = Some(msk);
            match auth {
                Some(auth) => request(sa, cx, state, &[Payload::Authentication(auth)]),
                None => fail(sa, cx, &state, Reason::Local("AUTH cannot be made".into())),
            }
        }
        PeerStep::Failed(why) => {
            let reason = distrust(format!("EAP: {why}"), "compare names and passwords");
            fail(sa, cx, &state, reason);
        }
        PeerStep::Ignore => {
            let reason = Reason::Protocol("an EAP message that makes no sense".into());
            fail(sa, cx, &state, reason);
        }
    }
}

/// Ends it. Where the peer believes that it is up, it is told.
fn fail(sa: &mut IkeSa, cx: &mut Context<'_>, state: &Initiator, reason: Reason) {
    release(sa, cx, state);
    //= RFC 7296 §2.21.2: who does not believe the responder says so in an INFORMATIONAL, as it may have installed SAs
    if state.peer_id.is_some() && sa.outgoing.in_flight.is_none() {
        let told = Notify::new(NotifyType::AuthenticationFailed, []);
        sa.say(cx, ExchangeType::Informational, &[Payload::Notify(told)]);
    }
    sa.give_up(cx, reason);
}

fn release(sa: &IkeSa, cx: &mut Context<'_>, state: &Initiator) {
    if let Some(create) = &state.create {
        cx.spis.release(sa.path.local.ip(), create.spi);
    }
}

/// The peer is who it says: only now the rest of its answer counts.
fn finish(sa: &mut IkeSa, cx: &mut Context<'_>, mut state: Boxed, p: &Payloads) {
    sa.establish(cx);
    sa.take_configuration(p);
    let nonces = (&state.handshake.nonce_i[..], &state.handshake.nonce_r[..]);
    let Some(create) = &mut state.create else {
        return sa.up(cx);
    };
    create.with_addresses(sa);
    match create.accept(sa, p, Some(nonces)) {
        Ok(agreed) => {
            let made = sa.add_child(cx, agreed);
            sa.up(cx);
            if let Some(id) = made {
                sa.child_up(cx, id);
            }
        }
        Err(unmade) => {
            let (config, proposals) = (create.config.clone(), create.proposals.clone());
            let spi = create.spi;
            release(sa, cx, &state);
            sa.up(cx);
            let (reason, made) = match unmade {
                Unmade::Failed {
                    reason,
                    peer_made_it,
                } => (reason, peer_made_it),
                Unmade::Later | Unmade::NotFound | Unmade::Group(_) => {
                    let what = "an answer that does not fit IKE_AUTH".into();
                    (Reason::Protocol(what), false)
                }
            };
            sa.child_failed(cx, Some(&config), reason);
            if made {
                sa.delete_unmade(cx, &proposals, spi);
            }
        }
    }
}
