//! What IKE computes: key exchanges, PRFs, keys, and the protection of messages. Randomness and IVs are arguments.
//!
//! | file | what |
//! | --- | --- |
//! | `auth` | the AUTH payload: signatures, shared keys, private and public keys |
//! | `ke` | key exchanges: MODP, ECP, X25519, ML-KEM |
//! | `prf`, `xcbc` | PRFs and prf+ |
//! | `keys` | SKEYSEED, the keys of an IKE SA and of a child SA |
//! | `integrity`, `encryption`, `sk_cipher` | the encrypted payload |
//! | `secret` | bytes that are wiped and never shown |

pub mod auth;
mod encryption;
mod integrity;
pub mod ke;
mod keys;
mod prf;
mod secret;
mod sk_cipher;
mod xcbc;

pub use encryption::{AesKey, Encryption, Icv};
pub use integrity::Integrity;
pub use ke::{KeError, KeMethod, KeSecret, KeSeed};
pub use keys::{IkeKeys, KeyContext, child_key_material, int_auth};
pub use prf::Prf;
pub use secret::Secret;
pub use sk_cipher::{OpenError, SkCipher};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
