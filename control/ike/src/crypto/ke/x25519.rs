//! X25519 (RFC 7748, RFC 8031).

use super::{KeError, Secret};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

fn secret(seed: &[u8]) -> StaticSecret {
    let mut bytes = Zeroizing::new([0; 32]);
    bytes.copy_from_slice(&seed[..32]);
    StaticSecret::from(*bytes)
}

pub(super) fn public(seed: &[u8]) -> Vec<u8> {
    PublicKey::from(&secret(seed)).to_bytes().to_vec()
}

pub(super) fn agree(seed: &[u8], peer: &[u8]) -> Result<Secret, KeError> {
    let peer: [u8; 32] = peer.try_into().map_err(|_| KeError::Length)?;
    let shared = secret(seed).diffie_hellman(&PublicKey::from(peer));
    //= RFC 7748 §6.1: an all-zero shared secret is refused
    if !shared.was_contributory() {
        return Err(KeError::Value);
    }
    Ok(Secret::copy_of(shared.as_bytes()))
}
