//! The AUTH payload: what is signed, with which scheme, and by which key (RFC 7296 §2.15, §2.16; RFC 7427; RFC 8420).
//!
//! Public-key work comes as values, [`SignJob`] and [`VerifyJob`], that are owned and `Send`: a pool of threads runs them.
//! The random parts of ECDSA and PSS signatures come from `aws-lc`, since its signing functions take none; nothing but the
//! signature depends on them.
//!
//! | file | what |
//! | --- | --- |
//! | `octets` | what is signed; AUTH by a shared key |
//! | `scheme` | hashes, curves and schemes, and their AlgorithmIdentifiers |
//! | `private_key`, `public_key` | keys and how they are read |
//! | `jobs` | signing and verifying |

mod jobs;
mod octets;
mod private_key;
mod public_key;
mod scheme;

pub use jobs::{SignError, SignJob, Signature, VerifyError, VerifyJob};
pub use octets::{SignedOctets, shared_key_auth, verify_shared_key_auth};
pub use private_key::{PrivateKey, PrivateKeyError};
pub use public_key::{KeyKind, PublicKey, PublicKeyError};
pub use scheme::{Curve, Hash, Scheme};

/// The authentication method of an AUTH payload (RFC 7296 §3.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum AuthMethod {
    /// RSASSA-PKCS1-v1.5.
    Rsa = 1,
    /// A shared key: a preshared one, or the one that EAP made.
    SharedKey = 2,
    /// ECDSA on P-256 with SHA-256 (RFC 4754).
    Ecdsa256 = 9,
    /// ECDSA on P-384 with SHA-384 (RFC 4754).
    Ecdsa384 = 10,
    /// ECDSA on P-521 with SHA-512 (RFC 4754).
    Ecdsa521 = 11,
    /// A signature that names its algorithm (RFC 7427).
    Digital = 14,
}

impl AuthMethod {
    /// The method with this number, if we have it.
    pub fn from_id(id: u8) -> Option<Self> {
        [
            Self::Rsa,
            Self::SharedKey,
            Self::Ecdsa256,
            Self::Ecdsa384,
            Self::Ecdsa521,
            Self::Digital,
        ]
        .into_iter()
        .find(|m| *m as u8 == id)
    }
}

#[cfg(test)]
mod tests;
