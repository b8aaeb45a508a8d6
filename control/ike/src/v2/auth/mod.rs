//! IKE_AUTH: both ends prove who they are, and the first child comes about (RFC 7296 §1.2, §2.15, §2.16).
//!
//! | file | what |
//! | --- | --- |
//! | `prove` | this end's proof: a secret or a signature |
//! | `check` | the peer's proof |
//! | `initiator` | the requests, and what comes back, EAP included |
//! | `responder` | which connection it is, and the answers, EAP included |

mod check;
mod initiator;
mod prove;
mod responder;

use std::net::IpAddr;
use std::sync::Arc;

use crate::config::Connection;
use crate::crypto::auth::{SignedOctets, shared_key_auth, verify_shared_key_auth};
use crate::crypto::{IkeKeys, Prf, Secret};
use crate::endpoint::{By, Reason};
use crate::identity::Identity;
use crate::proposal::{IkeSuite, Proposal};
use crate::wire::v2::{AuthMethod, Authentication, Identification};

pub(crate) use initiator::{
    Initiator, begin, certificate_request, handle_answer_as_initiator, handle_response,
};
pub(crate) use responder::{Responder, handle_answer_as_responder, handle_request};

/// What is kept of IKE_SA_INIT until both ends have proved who they are.
#[derive(Default)]
pub(crate) struct Handshake {
    /// The messages as they were on the wire.
    pub init_request: Vec<u8>,
    pub init_response: Vec<u8>,
    pub nonce_i: Vec<u8>,
    pub nonce_r: Vec<u8>,
    pub keys: Option<(IkeSuite, IkeKeys)>,
    /// How many additional key exchanges are over, and what AUTH covers of them (RFC 9242).
    pub done: usize,
    pub int_auth_i: Option<Secret>,
    pub int_auth_r: Option<Secret>,
    /// Hashes of SIGNATURE_HASH_ALGORITHMS that the peer has (RFC 7427).
    pub peer_hashes: Vec<u16>,
    /// Key hashes of the authorities that the peer trusts, of its CERTREQ.
    pub peer_authorities: Vec<[u8; 20]>,
    /// Whether the peer sent a CERTREQ at all.
    pub certificate_wanted: bool,
    /// Responder: connections that fit the addresses, the best first.
    pub candidates: Vec<Arc<Connection>>,
    /// Responder: what was chosen.
    pub proposal: Option<Proposal>,
}

/// Where a proof, or the check of one, has got to.
enum Progress<S, T> {
    /// Something was asked for.
    Waiting(S),
    Done(T),
    Failed(Reason),
}

impl Handshake {
    /// The PRF, and SK_pi or SK_pr: the one that `initiator` signs its identity with.
    fn proof_key(&self, initiator: bool) -> Option<(Prf, &Secret)> {
        let (suite, keys) = self.keys.as_ref()?;
        Some((suite.prf, if initiator { &keys.pi } else { &keys.pr }))
    }

    /// What the AUTH payload of one end covers.
    fn signed_octets(&self, by_initiator: bool, id: &Identification) -> Option<Vec<u8>> {
        let (prf, sk_p) = self.proof_key(by_initiator)?;
        let (message, peer_nonce) = if by_initiator {
            (&self.init_request, &self.nonce_r)
        } else {
            (&self.init_response, &self.nonce_i)
        };
        let octets = SignedOctets {
            message,
            peer_nonce,
            sk_p,
            id_payload: &id.body(),
            int_auth: self.int_auth(),
        };
        Some(octets.build(prf))
    }

    /// The AUTH payload of one end, by a shared secret.
    fn shared_key_auth(
        &self,
        by_initiator: bool,
        id: &Identification,
        secret: &Secret,
    ) -> Option<Authentication> {
        let (prf, _) = self.proof_key(by_initiator)?;
        let octets = self.signed_octets(by_initiator, id)?;
        Some(Authentication {
            method: AuthMethod::SharedKey,
            data: shared_key_auth(prf, secret, &octets).as_bytes().to_vec(),
        })
    }

    /// Whether the peer's AUTH payload was made with this secret.
    fn check_shared_key(
        &self,
        by_initiator: bool,
        id: &Identification,
        secret: &Secret,
        auth: &Authentication,
    ) -> bool {
        let octets = self.signed_octets(by_initiator, id);
        let prf = self.proof_key(by_initiator).map(|(prf, _)| prf);
        auth.method == AuthMethod::SharedKey
            && octets.zip(prf).is_some_and(|(octets, prf)| {
                verify_shared_key_auth(prf, secret, &octets, &auth.data)
            })
    }
}

/// The identity that this end shows: what the connection names, else its address.
fn own_identity(connection: &Connection, address: IpAddr) -> Identity {
    let named = connection.local.first().and_then(|l| l.id.clone());
    named.unwrap_or_else(|| Identity::from(address))
}

/// A refusal of the peer's proof, or of our own.
fn distrust(problem: impl Into<String>, remedy: impl Into<String>) -> Reason {
    Reason::Authentication {
        by: By::Us,
        problem: problem.into(),
        remedy: remedy.into(),
    }
}
