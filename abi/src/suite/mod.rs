//! Suites: what was agreed to encrypt and to authenticate, and the lengths that follow.

mod encryption;
mod integrity;
mod syntax;
#[cfg(test)]
mod tests;

use core::fmt;

pub use encryption::{AesKey, Encryption, IcvLen};
pub use integrity::Integrity;
use thiserror::Error;

/// Why two transforms are no suite, or a text is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SuiteError {
    /// RFC 8221 §4: encryption must be authenticated.
    #[error("{0} does not authenticate: write {0}-sha256, or take aes128gcm16")]
    Unauthenticated(Encryption),
    /// A second integrity transform beside one that is built in.
    #[error("{0} authenticates by itself: leave -{1} out")]
    AlreadyAuthenticated(Encryption, Integrity),
    /// RFC 4543 §3: in ESP, GMAC is an encryption transform.
    #[error("{1} is an integrity transform of AH only: write {1} alone, or {0}-sha256")]
    GmacBesideEncryption(Encryption, Integrity),
    /// ESP without an encryption transform.
    #[error("{0} alone encrypts nothing: write null-{0} if only integrity is wanted")]
    NotEncrypted(Integrity),
    /// AH with an encryption transform.
    #[error("AH encrypts nothing: write an integrity transform such as sha256 in place of {0}")]
    EncryptionInAh(Encryption),
    /// A word that names no transform.
    #[error(
        "{0:?} is no transform that adit has: encryption is one of aes128gcm16, aes128ccm16 (or 12, 8), aes128gmac, \
         chacha20poly1305, aes128, aes128ctr, null, 3des (192 and 256 for 128 alike); integrity is one of sha256, \
         sha384, sha512, sha1, aesxcbc, aescmac, md5"
    )]
    Unknown(String),
    /// Two transforms of one kind.
    #[error("{0:?} is a second transform of its kind: leave one of them out")]
    Twice(String),
}

/// What was agreed for an SA: an encryption and an integrity transform for ESP, an integrity transform for AH.
///
/// There is no value that encrypts without authenticating. Its text is strongSwan's proposal: `aes128gcm16`,
/// `aes256-sha256`, for AH `sha256`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Suite {
    encryption: Option<Encryption>,
    integrity: Option<Integrity>,
    // What every packet needs, worked out once.
    iv_len: u8,
    block: u8,
    icv_len: u8,
}

impl Suite {
    /// AES-GCM with a 128-bit key and a 16-octet ICV.
    pub const AES128_GCM16: Self =
        Self::combined(Encryption::AesGcm(AesKey::Bits128, IcvLen::Octets16));
    /// AES-GCM with a 256-bit key and a 16-octet ICV.
    pub const AES256_GCM16: Self =
        Self::combined(Encryption::AesGcm(AesKey::Bits256, IcvLen::Octets16));
    /// ChaCha20-Poly1305.
    pub const CHACHA20_POLY1305: Self = Self::combined(Encryption::Chacha20Poly1305);
    /// AES-CBC with a 128-bit key and HMAC-SHA-256-128.
    pub const AES128_SHA256: Self =
        Self::separate(Encryption::AesCbc(AesKey::Bits128), Integrity::HmacSha256);
    /// AES-CBC with a 192-bit key and HMAC-SHA-256-128.
    pub const AES192_SHA256: Self =
        Self::separate(Encryption::AesCbc(AesKey::Bits192), Integrity::HmacSha256);
    /// AES-CBC with a 256-bit key and HMAC-SHA-256-128.
    pub const AES256_SHA256: Self =
        Self::separate(Encryption::AesCbc(AesKey::Bits256), Integrity::HmacSha256);

    /// The suite of an ESP SA.
    ///
    /// # Errors
    /// [`SuiteError`] unless exactly one of the two authenticates.
    pub const fn esp(
        encryption: Encryption,
        integrity: Option<Integrity>,
    ) -> Result<Self, SuiteError> {
        //= RFC 8221 §4: encryption without authentication MUST NOT be used
        //= RFC 8221 §6: AUTH_NONE cannot be combined with ESP NULL encryption either
        match (encryption.icv_len(), integrity) {
            (None, None) => Err(SuiteError::Unauthenticated(encryption)),
            (None, Some(integrity @ Integrity::AesGmac(_))) => {
                Err(SuiteError::GmacBesideEncryption(encryption, integrity))
            }
            (Some(_), Some(integrity)) => {
                Err(SuiteError::AlreadyAuthenticated(encryption, integrity))
            }
            (None, Some(integrity)) => Ok(Self::separate(encryption, integrity)),
            (Some(_), None) => Ok(Self::combined(encryption)),
        }
    }

    /// The suite of an AH SA.
    #[must_use]
    pub const fn ah(integrity: Integrity) -> Self {
        Self {
            encryption: None,
            integrity: Some(integrity),
            iv_len: 0,
            block: 4,
            icv_len: integrity.icv_len() as u8,
        }
    }

    const fn combined(encryption: Encryption) -> Self {
        let icv_len = encryption.icv_len().expect("it authenticates by itself");
        Self {
            encryption: Some(encryption),
            integrity: None,
            iv_len: encryption.iv_len() as u8,
            block: encryption.block() as u8,
            icv_len: icv_len as u8,
        }
    }

    const fn separate(encryption: Encryption, integrity: Integrity) -> Self {
        Self {
            encryption: Some(encryption),
            integrity: Some(integrity),
            iv_len: encryption.iv_len() as u8,
            block: encryption.block() as u8,
            icv_len: integrity.icv_len() as u8,
        }
    }

    /// The suite of two bytes in shared memory, [`None`] if they name none.
    #[must_use]
    pub fn from_codes(encryption: u8, integrity: u8) -> Option<Self> {
        let integrity = match integrity {
            0 => None,
            code => Some(Integrity::from_code(code)?),
        };
        match encryption {
            0 => integrity.map(Self::ah),
            code => Self::esp(Encryption::from_code(code)?, integrity).ok(),
        }
    }

    /// The two bytes in shared memory: encryption, integrity; 0 for none.
    #[must_use]
    pub const fn codes(self) -> (u8, u8) {
        let encryption = match self.encryption {
            Some(encryption) => encryption.code(),
            None => 0,
        };
        let integrity = match self.integrity {
            Some(integrity) => integrity.code(),
            None => 0,
        };
        (encryption, integrity)
    }

    /// Every suite that an ESP SA can have.
    pub fn every_esp() -> impl Iterator<Item = Self> {
        Encryption::all().flat_map(|encryption| {
            let beside = Integrity::ESP.map(Some).into_iter().chain([None]);
            beside.filter_map(move |integrity| Self::esp(encryption, integrity).ok())
        })
    }

    /// ESP suites in which each encryption and each integrity transform comes at least once: far fewer than
    /// [`Suite::every_esp`], for what costs time.
    pub fn each_esp_transform() -> impl Iterator<Item = Self> {
        let mut beside = Integrity::ESP.into_iter().rev().cycle();
        Encryption::all().filter_map(move |encryption| {
            let integrity = match encryption.icv_len() {
                Some(_) => None,
                None => beside.next(),
            };
            Self::esp(encryption, integrity).ok()
        })
    }

    /// Every suite that an AH SA can have.
    pub fn every_ah() -> impl Iterator<Item = Self> {
        Integrity::all().map(Self::ah)
    }

    /// What encrypts; [`None`] for AH.
    #[inline]
    #[must_use]
    pub const fn encryption(self) -> Option<Encryption> {
        self.encryption
    }

    /// What authenticates; [`None`] where the encryption transform does that itself.
    #[inline]
    #[must_use]
    pub const fn integrity(self) -> Option<Integrity> {
        self.integrity
    }

    /// Whether it is AH's.
    #[inline]
    #[must_use]
    pub const fn is_ah(self) -> bool {
        self.encryption.is_none()
    }

    /// Octets of encryption key, the salt or nonce at its end included where there is one.
    #[must_use]
    pub const fn enc_key_len(self) -> usize {
        match self.encryption {
            Some(encryption) => encryption.key_len(),
            None => 0,
        }
    }

    /// Octets of integrity key: 0 where the cipher authenticates by itself.
    #[must_use]
    pub const fn auth_key_len(self) -> usize {
        match self.integrity {
            Some(integrity) => integrity.key_len(),
            None => 0,
        }
    }

    /// Octets of IV in the packet, between sequence number and payload.
    #[inline]
    #[must_use]
    pub const fn iv_len(self) -> usize {
        self.iv_len as usize
    }

    /// Payload, padding, pad length and next header together are a multiple of this many octets.
    #[inline]
    #[must_use]
    pub const fn block(self) -> usize {
        self.block as usize
    }

    /// Octets of the ICV: at the end of an ESP packet, or of AH's ICV field.
    #[inline]
    #[must_use]
    pub const fn icv_len(self) -> usize {
        self.icv_len as usize
    }

    /// Whether a repeated IV under one key gives away the key stream or lets anyone forge.
    ///
    /// Such a suite must not be keyed from a file (RFC 8221 §3).
    #[must_use]
    pub const fn is_counter_mode(self) -> bool {
        matches!(self.encryption, Some(encryption) if encryption.is_counter_mode())
            || matches!(self.integrity, Some(integrity) if integrity.is_counter_mode())
    }

    /// Whether a part of it is used only where it is asked for by name, and logged then (RFC 8221).
    #[must_use]
    pub const fn is_legacy(self) -> bool {
        matches!(self.encryption, Some(encryption) if encryption.is_legacy())
            || matches!(self.integrity, Some(integrity) if integrity.is_legacy())
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.encryption, self.integrity) {
            (Some(encryption), Some(integrity)) => write!(f, "{encryption}-{integrity}"),
            (Some(encryption), None) => encryption.fmt(f),
            (None, Some(integrity)) => integrity.fmt(f),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Suite({self})")
    }
}
