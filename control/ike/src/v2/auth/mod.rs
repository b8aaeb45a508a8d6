//! IKE_AUTH: both ends prove who they are, and the first child comes about (RFC 7296 §1.2, §2.15).
//!
//! | file | what |
//! | --- | --- |
//! | `octets` | what AUTH covers |
//! | `initiator` | the request, and what comes back |
//! | `responder` | which connection it is, and the answer |

mod initiator;
mod octets;
mod responder;

use std::sync::Arc;

use crate::config::Connection;
use crate::crypto::{IkeKeys, Prf, Secret};
use crate::identity::Identity;
use crate::proposal::{IkeSuite, Proposal};
use crate::wire::v2::{AuthMethod, Authentication, Identification};

pub(crate) use initiator::{Initiator, begin, handle_answer_as_initiator, handle_response};
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
    /// Responder: connections that fit the addresses, the best first.
    pub candidates: Vec<Arc<Connection>>,
    /// Responder: what was chosen.
    pub proposal: Option<Proposal>,
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
        let (message, nonce) = if by_initiator {
            (&self.init_request, &self.nonce_r)
        } else {
            (&self.init_response, &self.nonce_i)
        };
        Some(octets::signed(prf, sk_p, message, nonce, id))
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
            data: octets::shared_key(prf, secret, &octets).as_bytes().to_vec(),
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
        let expected = self.proof_key(by_initiator).and_then(|(prf, _)| {
            let octets = self.signed_octets(by_initiator, id)?;
            Some(octets::shared_key(prf, secret, &octets))
        });
        //= RFC 7296 §2.15: compared in a time that tells nothing of the secret
        auth.method == AuthMethod::SharedKey && expected.is_some_and(|e| e.matches(&auth.data))
    }
}

/// The identity that this end shows: what the connection names, else its address.
fn own_identity(connection: &Connection, address: std::net::IpAddr) -> Identity {
    let named = connection.local.first().and_then(|l| l.id.clone());
    named.unwrap_or_else(|| Identity::from(address))
}
