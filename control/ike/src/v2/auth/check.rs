//! The peer's proof.

use super::{Handshake, Progress, distrust};
use crate::config::AuthMethod;
use crate::endpoint::{Answer, Ask, AskId, Context, Verification};
use crate::identity::Identity;
use crate::v2::payloads::Payloads;
use crate::v2::sa::IkeSa;
use crate::wire::v2::{Authentication, CertificateEncoding, Identification};

/// What a check waits for.
pub(super) enum Checking {
    Secret(AskId),
    Signature(AskId),
}

/// Certificates of a peer that are looked at: a chain is short, and each costs a signature check.
const MOST_CERTIFICATES: usize = 8;

/// Begins to check the AUTH payload of a peer that says it is `id`.
pub(super) fn begin(
    sa: &IkeSa,
    cx: &mut Context<'_>,
    hs: &Handshake,
    method: AuthMethod,
    (id, auth, p): (&Identification, &Authentication, &Payloads),
) -> Progress<Checking, ()> {
    let connection = sa.connection.name.clone();
    let identity = Identity::from_wire(id);
    match method {
        AuthMethod::Psk => {
            let ask = Ask::Secret {
                connection,
                local: sa.local_id.clone(),
                remote: Some(identity),
                address: sa.path.remote.ip(),
            };
            Progress::Waiting(Checking::Secret(cx.ask(sa.id, ask)))
        }
        AuthMethod::PublicKey => {
            let (Some(octets), Some(remote)) = (
                hs.signed_octets(!sa.initiator, id),
                sa.connection.remote.first(),
            ) else {
                return Progress::Failed(distrust("AUTH cannot be checked", "see the log"));
            };
            let of = |kind| {
                let all = p.certificates.iter().filter(move |c| c.encoding == kind);
                all.take(MOST_CERTIFICATES).map(|c| c.data.clone())
            };
            let ask = Ask::Verify(Box::new(Verification {
                connection,
                identity,
                chain: of(CertificateEncoding::X509Signature).collect(),
                raw_key: of(CertificateEncoding::RawPublicKey).next(),
                certs: remote.certs.clone(),
                cacerts: remote.cacerts.clone(),
                method: auth.method.number(),
                data: auth.data.clone(),
                octets,
            }));
            Progress::Waiting(Checking::Signature(cx.ask(sa.id, ask)))
        }
        AuthMethod::Eap | AuthMethod::Null => Progress::Failed(distrust(
            format!("{identity} cannot prove itself this way"),
            "change remote.auth",
        )),
    }
}

/// Goes on with an answer; the stage comes back where it answers something else.
pub(super) fn go_on(
    sa: &IkeSa,
    hs: &Handshake,
    stage: Checking,
    (id, answer): (AskId, Answer),
    (peer, auth): (&Identification, &Authentication),
) -> Progress<Checking, ()> {
    match (stage, answer) {
        (Checking::Secret(asked), Answer::Secret(secret)) if asked == id => {
            let who = Identity::from_wire(peer);
            let Some(secret) = secret else {
                return Progress::Failed(distrust(
                    format!("there is no secret for {who}"),
                    "add one that names both identities under `secrets`",
                ));
            };
            if hs.check_shared_key(!sa.initiator, peer, &secret, auth) {
                Progress::Done(())
            } else {
                Progress::Failed(distrust(
                    format!("AUTH of {who} does not fit the secret"),
                    "give both ends the same secret, under names that fit both identities",
                ))
            }
        }
        (Checking::Signature(asked), Answer::Verified(verdict)) if asked == id => match verdict {
            Ok(()) => Progress::Done(()),
            Err((problem, remedy)) => Progress::Failed(distrust(problem, remedy)),
        },
        (stage, _) => Progress::Waiting(stage),
    }
}

/// How a peer that sent this AUTH payload means to prove who it is.
pub(super) fn method_of(auth: Option<&Authentication>) -> AuthMethod {
    use crate::wire::v2::AuthMethod as Wire;
    match auth.map(|a| a.method) {
        None => AuthMethod::Eap,
        Some(Wire::SharedKey) => AuthMethod::Psk,
        Some(Wire::Null) => AuthMethod::Null,
        Some(_) => AuthMethod::PublicKey,
    }
}
