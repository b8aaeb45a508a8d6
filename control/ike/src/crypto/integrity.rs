//! Integrity algorithms: the ICV of the encrypted payload beside a cipher without integrity of its own.

use super::Secret;
use super::prf::{cmac, hmac};
use super::xcbc::xcbc;
use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

/// An integrity algorithm that can be negotiated for IKE, with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Integrity {
    /// HMAC-MD5-96, weak.
    HmacMd5_96 = 1,
    /// HMAC-SHA-1-96, weak.
    HmacSha1_96 = 2,
    /// AES-XCBC-MAC-96 (RFC 3566).
    AesXcbc96 = 5,
    /// AES-CMAC-96 (RFC 4494).
    AesCmac96 = 8,
    /// HMAC-SHA-256-128 (RFC 4868).
    HmacSha256_128 = 12,
    /// HMAC-SHA-384-192 (RFC 4868).
    HmacSha384_192 = 13,
    /// HMAC-SHA-512-256 (RFC 4868).
    HmacSha512_256 = 14,
}

impl Integrity {
    /// Every one there is.
    pub const ALL: [Self; 7] = [
        Self::HmacMd5_96,
        Self::HmacSha1_96,
        Self::AesXcbc96,
        Self::AesCmac96,
        Self::HmacSha256_128,
        Self::HmacSha384_192,
        Self::HmacSha512_256,
    ];

    /// The algorithm with this number.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|i| *i as u16 == id)
    }

    /// The octets of its key.
    pub fn key_len(self) -> usize {
        match self {
            Self::HmacMd5_96 | Self::AesXcbc96 | Self::AesCmac96 => 16,
            Self::HmacSha1_96 => 20,
            Self::HmacSha256_128 => 32,
            Self::HmacSha384_192 => 48,
            Self::HmacSha512_256 => 64,
        }
    }

    /// The octets of its ICV.
    pub fn icv_len(self) -> usize {
        match self {
            Self::HmacMd5_96 | Self::HmacSha1_96 | Self::AesXcbc96 | Self::AesCmac96 => 12,
            Self::HmacSha256_128 => 16,
            Self::HmacSha384_192 => 24,
            Self::HmacSha512_256 => 32,
        }
    }

    /// The ICV of the concatenated parts; none if the key's length is wrong.
    pub fn compute(self, key: &[u8], parts: &[&[u8]]) -> Option<Secret> {
        if key.len() != self.key_len() {
            return None;
        }
        let full = match self {
            Self::HmacMd5_96 => hmac::<Md5>(key, parts),
            Self::HmacSha1_96 => hmac::<Sha1>(key, parts),
            Self::HmacSha256_128 => hmac::<Sha256>(key, parts),
            Self::HmacSha384_192 => hmac::<Sha384>(key, parts),
            Self::HmacSha512_256 => hmac::<Sha512>(key, parts),
            Self::AesXcbc96 => Secret::copy_of(&*xcbc(key.try_into().ok()?, parts)),
            Self::AesCmac96 => Secret::copy_of(&*cmac(key.try_into().ok()?, parts)),
        };
        full.as_bytes().get(..self.icv_len()).map(Secret::copy_of)
    }
}
