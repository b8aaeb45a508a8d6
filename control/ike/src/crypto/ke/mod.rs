//! Key exchanges: the two steps of the initiator and the one of the responder, whatever the method is.
//!
//! Everything is a pure function of a seed, so a pool of threads can run it: values are owned and `Send`.

mod ecp;
mod mlkem;
mod modp;
mod modp_primes;
mod x25519;

use super::Secret;
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A key-exchange method that can be negotiated, with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum KeMethod {
    /// Group 1, weak.
    Modp768 = 1,
    /// Group 2, weak.
    Modp1024 = 2,
    /// Group 5, weak.
    Modp1536 = 5,
    /// Group 14.
    Modp2048 = 14,
    /// Group 15.
    Modp3072 = 15,
    /// Group 16.
    Modp4096 = 16,
    /// Group 17.
    Modp6144 = 17,
    /// Group 18.
    Modp8192 = 18,
    /// P-256 (RFC 5903).
    Ecp256 = 19,
    /// P-384.
    Ecp384 = 20,
    /// P-521.
    Ecp521 = 21,
    /// X25519 (RFC 8031).
    X25519 = 31,
    /// ML-KEM-512.
    MlKem512 = 35,
    /// ML-KEM-768.
    MlKem768 = 36,
    /// ML-KEM-1024.
    MlKem1024 = 37,
}

impl KeMethod {
    /// Every method there is.
    pub const ALL: [Self; 15] = [
        Self::Modp768,
        Self::Modp1024,
        Self::Modp1536,
        Self::Modp2048,
        Self::Modp3072,
        Self::Modp4096,
        Self::Modp6144,
        Self::Modp8192,
        Self::Ecp256,
        Self::Ecp384,
        Self::Ecp521,
        Self::X25519,
        Self::MlKem512,
        Self::MlKem768,
        Self::MlKem1024,
    ];

    /// The method with this number.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|m| *m as u16 == id)
    }

    /// The method's number.
    pub fn id(self) -> u16 {
        self as u16
    }

    /// The octets of what the initiator sends.
    pub fn initiator_len(self) -> usize {
        match self {
            Self::Modp768 => 96,
            Self::Modp1024 => 128,
            Self::Modp1536 => 192,
            Self::Modp2048 => 256,
            Self::Modp3072 => 384,
            Self::Modp4096 => 512,
            Self::Modp6144 => 768,
            Self::Modp8192 => 1024,
            Self::Ecp256 => 64,
            Self::Ecp384 => 96,
            Self::Ecp521 => 132,
            Self::X25519 => 32,
            Self::MlKem512 => 800,
            Self::MlKem768 => 1184,
            Self::MlKem1024 => 1568,
        }
    }

    /// The octets of what the responder answers.
    pub fn responder_len(self) -> usize {
        match self {
            Self::MlKem512 => 768,
            Self::MlKem768 => 1088,
            Self::MlKem1024 => 1568,
            other => other.initiator_len(),
        }
    }
}

impl fmt::Display for KeMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::proposal::{Transform, TransformType};
        Transform::new(TransformType::Ke, self.id()).fmt(f)
    }
}

/// Why the peer's value was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeError {
    /// Its length is not the method's.
    #[error("the key exchange data has a wrong length")]
    Length,
    /// It is not a value of the group, or makes a secret that anyone knows.
    #[error("the key exchange data is not a valid public value")]
    Value,
}

/// Random octets for one key exchange, uniform and used once.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct KeSeed([u8; Self::LEN]);

impl KeSeed {
    /// Its octets: enough for the longest exponent and the longest scalar.
    pub const LEN: usize = 80;

    /// A seed that `fill` fills with random octets.
    pub fn from_fn(fill: impl FnOnce(&mut [u8])) -> Self {
        let mut seed = Self([0; Self::LEN]);
        fill(&mut seed.0);
        seed
    }
}

impl fmt::Debug for KeSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeSeed")
    }
}

/// The initiator's side of a key exchange between its two steps.
#[derive(Debug)]
pub struct KeSecret {
    method: KeMethod,
    seed: KeSeed,
    public: Vec<u8>,
}

impl KeSecret {
    /// Begins a key exchange.
    pub fn start(method: KeMethod, seed: KeSeed) -> Self {
        let public = ecp::public(method, &seed.0)
            .or_else(|| modp::public(method, &seed.0))
            .or_else(|| mlkem::public(method, &seed.0))
            .unwrap_or_else(|| x25519::public(&seed.0));
        Self {
            method,
            seed,
            public,
        }
    }

    /// The method.
    pub fn method(&self) -> KeMethod {
        self.method
    }

    /// What is sent.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// The shared secret, from the responder's answer.
    ///
    /// # Errors
    /// If the answer is not one of this method.
    pub fn finish(&self, answer: &[u8]) -> Result<Secret, KeError> {
        if answer.len() != self.method.responder_len() {
            return Err(KeError::Length);
        }
        mlkem::finish(self.method, &self.seed.0, answer).unwrap_or_else(|| self.agree(answer))
    }

    /// The shared secret of a Diffie-Hellman method.
    fn agree(&self, peer: &[u8]) -> Result<Secret, KeError> {
        ecp::agree(self.method, &self.seed.0, peer)
            .or_else(|| modp::agree(self.method, &self.seed.0, peer))
            .unwrap_or_else(|| x25519::agree(&self.seed.0, peer))
    }
}

/// The responder's one step: what is answered, and the shared secret.
///
/// # Errors
/// If the initiator's value is not one of this method.
pub fn respond(method: KeMethod, seed: KeSeed, peer: &[u8]) -> Result<(Vec<u8>, Secret), KeError> {
    if peer.len() != method.initiator_len() {
        return Err(KeError::Length);
    }
    if let Some(answer) = mlkem::respond(method, &seed.0, peer) {
        return answer;
    }
    let ours = KeSecret::start(method, seed);
    let shared = ours.agree(peer)?;
    Ok((ours.public, shared))
}

#[cfg(test)]
mod tests;
