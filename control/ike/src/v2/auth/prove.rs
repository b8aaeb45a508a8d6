//! This end's proof: a secret or a signature.

use super::{Handshake, Progress, distrust};
use crate::config::{AuthMethod, SendCertificate};
use crate::endpoint::{Answer, Ask, AskId, Context, Credential, Reason};
use crate::identity::Identity;
use crate::v2::sa::IkeSa;
use crate::wire::v2::{self as wire, Authentication, Certificate, CertificateEncoding, Payload};

/// What a proof waits for.
pub(super) enum Proving {
    Secret(AskId),
    Credential(AskId),
    Signature(AskId, Credential),
}

/// CERT payloads, then AUTH.
type Proof = Progress<Proving, Vec<Payload>>;

/// Begins; `None` where this end proves itself by EAP.
pub(super) fn begin(sa: &IkeSa, cx: &mut Context<'_>, hs: &Handshake) -> Option<Proof> {
    let local = sa.connection.local.first()?;
    Some(match local.method {
        AuthMethod::Psk => {
            let remote = sa.remote_id.clone().or_else(|| {
                let expected = sa.connection.remote.first();
                expected.and_then(|r| r.id.exact())
            });
            let ask = Ask::Secret {
                connection: sa.connection.name.clone(),
                local: sa.local_id.clone(),
                remote,
                address: sa.path.remote.ip(),
            };
            Progress::Waiting(Proving::Secret(cx.ask(sa.id, ask)))
        }
        AuthMethod::PublicKey => {
            let ask = Ask::Credential {
                connection: sa.connection.name.clone(),
                authorities: hs.peer_authorities.clone(),
            };
            Progress::Waiting(Proving::Credential(cx.ask(sa.id, ask)))
        }
        AuthMethod::Eap => return None,
        AuthMethod::Null => {
            //= RFC 7619 §2.1 not done: NULL authentication comes with opportunistic connections
            Progress::Failed(Reason::Local("NULL authentication is not supported".into()))
        }
    })
}

/// Goes on with an answer; the stage comes back where it answers something else.
pub(super) fn go_on(
    sa: &mut IkeSa,
    cx: &mut Context<'_>,
    hs: &Handshake,
    stage: Proving,
    (id, answer): (AskId, Answer),
) -> Proof {
    match (stage, answer) {
        (Proving::Secret(asked), Answer::Secret(secret)) if asked == id => {
            let own = sa.local_id.as_ref().map(Identity::to_wire);
            let Some(secret) = secret else {
                return Progress::Failed(distrust(
                    "there is no secret for this peer",
                    "add one that names both identities under `secrets`",
                ));
            };
            match own.and_then(|own| hs.shared_key_auth(sa.initiator, &own, &secret)) {
                Some(auth) => Progress::Done(vec![Payload::Authentication(auth)]),
                None => Progress::Failed(Reason::Local("AUTH cannot be made".into())),
            }
        }
        (Proving::Credential(asked), Answer::Credential(credential)) if asked == id => {
            match credential {
                Some(credential) => ask_signature(sa, cx, hs, *credential),
                None => Progress::Failed(distrust(
                    "there is no certificate with a private key for this connection",
                    "load one, and name it in local.certs",
                )),
            }
        }
        (Proving::Signature(asked, credential), Answer::Signature(signature)) if asked == id => {
            match signature {
                Ok((method, data)) => {
                    let mut payloads = certificates(sa, hs, &credential);
                    payloads.push(Payload::Authentication(Authentication {
                        method: wire::AuthMethod::from_number(method),
                        data,
                    }));
                    Progress::Done(payloads)
                }
                Err(problem) => Progress::Failed(distrust(problem, "use another key")),
            }
        }
        (stage, _) => Progress::Waiting(stage),
    }
}

fn ask_signature(
    sa: &mut IkeSa,
    cx: &mut Context<'_>,
    hs: &Handshake,
    credential: Credential,
) -> Proof {
    let named = sa.connection.local.first().is_some_and(|l| l.id.is_some());
    if let (false, Some(identity)) = (named, &credential.identity) {
        sa.local_id = Some(identity.clone());
    }
    let own = sa.local_id.as_ref().map(Identity::to_wire);
    let Some(octets) = own.and_then(|own| hs.signed_octets(sa.initiator, &own)) else {
        return Progress::Failed(Reason::Local("AUTH cannot be made".into()));
    };
    let ask = Ask::Sign {
        connection: sa.connection.name.clone(),
        key: credential.key,
        peer_hashes: hs.peer_hashes.clone(),
        octets,
    };
    Progress::Waiting(Proving::Signature(cx.ask(sa.id, ask), credential))
}

fn certificates(sa: &IkeSa, hs: &Handshake, credential: &Credential) -> Vec<Payload> {
    let send = match sa.connection.send_cert {
        SendCertificate::Always => true,
        SendCertificate::IfAsked => hs.certificate_wanted,
        SendCertificate::Never => false,
    };
    if !send {
        return Vec::new();
    }
    //= RFC 7296 §3.6: the own certificate first, those of the chain in any order
    let encoding = if credential.raw {
        CertificateEncoding::RawPublicKey
    } else {
        CertificateEncoding::X509Signature
    };
    let payload = |data: &Vec<u8>| {
        Payload::Certificate(Certificate {
            encoding,
            data: data.clone(),
        })
    };
    credential.chain.iter().map(payload).collect()
}
