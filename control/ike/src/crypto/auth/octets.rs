//! What is signed, and AUTH by a shared key (RFC 7296 §2.15).

use crate::crypto::{Prf, Secret};

/// The parts of what one side signs.
#[derive(Clone, Copy, Debug)]
pub struct SignedOctets<'a> {
    /// The side's whole first message, as it went over the wire (without a non-ESP marker).
    pub message: &'a [u8],
    /// The other side's nonce.
    pub peer_nonce: &'a [u8],
    /// SK_pi for the initiator, SK_pr for the responder.
    pub sk_p: &'a Secret,
    /// The body of the side's ID payload: type, three reserved octets, data.
    pub id_payload: &'a [u8],
    /// With IKE_INTERMEDIATE: both sides' last IntAuth, the initiator's first, and the message ID of the first IKE_AUTH request.
    pub int_auth: Option<(&'a Secret, &'a Secret, u32)>,
}

impl SignedOctets<'_> {
    /// The octets, for the PRF of the IKE SA.
    pub fn build(&self, prf: Prf) -> Vec<u8> {
        //= RFC 7296 §2.15: the message, the other's nonce, and the prf of the ID payload's body
        let mac = prf.compute(self.sk_p.as_bytes(), &[self.id_payload]);
        let mut octets = [self.message, self.peer_nonce, mac.as_bytes()].concat();
        //= RFC 9242 §3.3.2: IntAuth_iN | IntAuth_rN | IKE_AUTH_MID come behind
        if let Some((initiator, responder, message_id)) = self.int_auth {
            octets.extend_from_slice(initiator.as_bytes());
            octets.extend_from_slice(responder.as_bytes());
            octets.extend_from_slice(&message_id.to_be_bytes());
        }
        octets
    }
}

/// AUTH by a shared key: a preshared one, EAP's MSK, or SK_pi or SK_pr where an EAP method makes no key.
//= RFC 7296 §2.15: AUTH = prf(prf(shared secret, "Key Pad for IKEv2"), octets)
//= RFC 7296 §2.16: EAP's shared key takes the place of the preshared one
pub fn shared_key_auth(prf: Prf, key: &Secret, octets: &[u8]) -> Secret {
    let padded = prf.compute(key.as_bytes(), &[b"Key Pad for IKEv2"]);
    prf.compute(padded.as_bytes(), &[octets])
}

/// Whether AUTH was made with this key, compared in constant time.
pub fn verify_shared_key_auth(prf: Prf, key: &Secret, octets: &[u8], auth: &[u8]) -> bool {
    shared_key_auth(prf, key, octets).matches(auth)
}
