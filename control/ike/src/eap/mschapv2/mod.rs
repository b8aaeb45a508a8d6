//! EAP-MSCHAPv2 (draft-kamath-pppext-eap-mschapv2, RFC 2759, RFC 3079): a password proven in both directions, and a key.
//!
//! MD4, DES and SHA-1 are what it is made of. Inside IKE the server is authenticated by its certificate first, which hides the proof
//! from anyone else; without that it would be worth little.

pub(super) mod message;
pub(super) mod password;
