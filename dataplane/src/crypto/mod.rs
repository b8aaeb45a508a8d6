//! The cryptography of ESP: whole packets sealed and opened in place, in bursts.
//!
//! A [`Provider`] turns a suite and its keys into a [`Transform`] once per SA; a worker then hands it
//! [`Job`]s. A job's packet is the ESP packet from SPI to ICV:
//!
//! ```text
//! [SPI 4][sequence number, low half 4][IV 0, 8 or 16][payload, padding, pad length, next header][ICV 8 to 32]
//! ```
//!
//! | module | what it holds |
//! | --- | --- |
//! | `layout` | where the fields of that packet lie, and the additional authenticated data |
//! | `aead` | ESP with AES-GCM, AES-CCM, AES-GMAC and ChaCha20-Poly1305, whoever computes them |
//! | `separate` | ESP with a cipher and a MAC, whoever computes them |
//! | `cbc`, `cbc_iv`, `ctr` | CBC mode and its unpredictable IVs; counter mode |
//! | `mac`, `xcbc` | MACs, one of which no library has |
//! | `gcm` | AES-GCM with short ICVs, and AES-GMAC |
//! | `authenticator` | integrity alone, for AH |
//! | `reference` | RustCrypto's primitives: every suite |
//! | `fast` | the quickest primitive for each suite, and what was measured |
//!
//! # Nonces
//!
//! In counter modes (all but NULL and CBC) two packets with one IV under one key give the key
//! stream away and let anyone forge. The IV here is the 64-bit sequence number, so it is unique as
//! long as nobody else seals under the key: **two senders never share a key**, and a sequence number
//! is never sealed twice. Both directions of a tunnel are two SAs with two keys.

mod aead;
mod authenticator;
mod cbc;
mod cbc_iv;
mod ctr;
mod fast;
mod gcm;
mod layout;
mod mac;
mod reference;
mod separate;
#[cfg(test)]
mod tests;
mod xcbc;

use adit_abi::{Integrity, Suite};
pub use authenticator::Authenticator;
use core::fmt;

/// Who computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Provider {
    /// RustCrypto, for every suite: what the other one is checked against.
    Reference,
    /// The quickest code for each suite, by measurement.
    #[default]
    Fast,
}

/// An SA's keys as they were agreed, borrowed only while a transform is made from them.
#[derive(Clone, Copy)]
pub struct Keys<'a> {
    /// The encryption key, with the salt at its end in counter modes ([`Suite::enc_key_len`]).
    pub enc: &'a [u8],
    /// The integrity key, empty where the cipher authenticates by itself ([`Suite::auth_key_len`]).
    pub auth: &'a [u8],
}

impl fmt::Debug for Keys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys { redacted }")
    }
}

/// Why no transform could be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The encryption key has the wrong length.
    #[error("{suite} takes an encryption key of {expected} octets (salt included), not {got}")]
    Encryption {
        /// The suite asked for.
        suite: Suite,
        /// Octets it takes.
        expected: usize,
        /// Octets given.
        got: usize,
    },
    /// The integrity key has the wrong length.
    #[error("{suite} takes an integrity key of {expected} octets, not {got}")]
    Integrity {
        /// The suite asked for.
        suite: Suite,
        /// Octets it takes.
        expected: usize,
        /// Octets given.
        got: usize,
    },
    /// A suite of AH, which takes an [`Authenticator`].
    #[error("{0} is a suite of AH and makes no ESP transform")]
    Ah(Suite),
    /// The system gave no random octets for the secret behind the IVs of CBC mode.
    #[error("no random octets from the system")]
    Random,
}

impl KeyError {
    fn encryption(suite: Suite, keys: Keys<'_>) -> Self {
        Self::Encryption {
            suite,
            expected: suite.enc_key_len(),
            got: keys.enc.len(),
        }
    }

    fn integrity(suite: Suite, keys: Keys<'_>) -> Self {
        Self::Integrity {
            suite,
            expected: suite.auth_key_len(),
            got: keys.auth.len(),
        }
    }
}

/// One ESP packet to seal or to open, in place.
#[derive(Debug)]
pub struct Job<'a> {
    /// From the first octet of the SPI to the last of the ICV, and nothing else.
    pub packet: &'a mut [u8],
    /// The whole sequence number. Opening, its high half is the receiver's guess (RFC 4303 App. A2).
    pub sequence: u64,
    /// The verdict, `false` until the work is done. Where it stays `false` the packet must be
    /// dropped: it was not sealed, or it is not authentic, and what it holds now is undefined.
    pub ok: bool,
}

impl<'a> Job<'a> {
    /// A job not done yet.
    #[must_use]
    pub fn new(packet: &'a mut [u8], sequence: u64) -> Self {
        Self {
            packet,
            sequence,
            ok: false,
        }
    }
}

/// One SA's cryptography, ready for packets; shared by all workers.
///
/// Neither method allocates, locks or panics, whatever the packets hold.
pub trait Transform: Send + Sync {
    /// Seals each packet: writes sequence number and IV, encrypts, writes the ICV.
    ///
    /// The caller has written the SPI, the payload and its trailer (padding, pad length, next
    /// header), aligned to [`Suite::block`], and left room for the rest. A job fails if the packet is
    /// too short for its fixed fields, if what CBC mode encrypts is not whole blocks, or if the sequence
    /// number does not fit 32 bits on an SA without ESN.
    fn seal(&self, jobs: &mut [Job<'_>]);

    /// Opens each packet: verifies the ICV and decrypts.
    ///
    /// A job fails if the packet is malformed in one of the ways of [`Transform::seal`], if the low
    /// half of [`Job::sequence`] is not the one in the packet, or if the ICV does not match.
    fn open(&self, jobs: &mut [Job<'_>]);
}

impl Provider {
    /// Makes `suite` under `keys` ready, with extended sequence numbers if `esn`.
    ///
    /// Costs at most about a microsecond; the result holds all that depends on the keys alone, among it
    /// HMAC's inner and outer state.
    ///
    /// # Errors
    /// [`KeyError`] if a key does not have exactly the suite's length, or the system gives no random
    /// octets.
    pub fn transform(
        self,
        suite: Suite,
        keys: Keys<'_>,
        esn: bool,
    ) -> Result<Box<dyn Transform>, KeyError> {
        if keys.enc.len() != suite.enc_key_len() {
            return Err(KeyError::encryption(suite, keys));
        }
        if keys.auth.len() != suite.auth_key_len() {
            return Err(KeyError::integrity(suite, keys));
        }
        match self {
            Self::Reference => reference::transform(suite, keys, esn),
            Self::Fast => fast::transform(suite, keys, esn),
        }
    }

    /// Makes AH's `integrity` under `key` ready, with extended sequence numbers if `esn`.
    ///
    /// # Errors
    /// [`KeyError`] if the key does not have exactly the transform's length.
    pub fn authenticator(
        self,
        integrity: Integrity,
        key: &[u8],
        esn: bool,
    ) -> Result<Box<dyn Authenticator>, KeyError> {
        if key.len() != integrity.key_len() {
            return Err(KeyError::Integrity {
                suite: Suite::ah(integrity),
                expected: integrity.key_len(),
                got: key.len(),
            });
        }
        match self {
            Self::Reference => reference::authenticator(integrity, key, esn),
            Self::Fast => fast::authenticator(integrity, key, esn),
        }
    }
}
