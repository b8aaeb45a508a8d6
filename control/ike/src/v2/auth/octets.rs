//! What AUTH covers, and the AUTH payload of a shared key (RFC 7296 §2.15).

use crate::crypto::{Prf, Secret};
use crate::wire::v2::Identification;

/// The octets that one end signs.
//= RFC 7296 §2.15: its own first message, the other's nonce, and prf(SK_p, its ID payload's body)
pub(super) fn signed(
    prf: Prf,
    sk_p: &Secret,
    message: &[u8],
    other_nonce: &[u8],
    id: &Identification,
) -> Vec<u8> {
    let maced_id = prf.compute(sk_p.as_bytes(), &[&id.body()]);
    [message, other_nonce, maced_id.as_bytes()].concat()
}

/// AUTH by a shared key.
//= RFC 7296 §2.15: prf(prf(Shared Secret, "Key Pad for IKEv2"), the signed octets)
pub(super) fn shared_key(prf: Prf, secret: &Secret, octets: &[u8]) -> Secret {
    let key = prf.compute(secret.as_bytes(), &[b"Key Pad for IKEv2"]);
    prf.compute(key.as_bytes(), &[octets])
}
