//! Integrity transforms of AH, and of ESP beside a cipher that does not authenticate.

use core::fmt;

use super::encryption::AesKey;

/// An integrity transform: IKEv2's transform type 3 (RFC 7296 §3.3.2).
///
/// Its text is strongSwan's keyword, `sha256` for instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Integrity {
    /// HMAC-MD5-96 (RFC 2403). Legacy.
    HmacMd5,
    /// HMAC-SHA1-96 (RFC 2404).
    HmacSha1,
    /// AES-XCBC-MAC-96 (RFC 3566).
    AesXcbc,
    /// AES-CMAC-96 (RFC 4494).
    AesCmac,
    /// HMAC-SHA-256-128 (RFC 4868).
    HmacSha256,
    /// HMAC-SHA-384-192 (RFC 4868).
    HmacSha384,
    /// HMAC-SHA-512-256 (RFC 4868).
    HmacSha512,
    /// AES-GMAC, for AH only: in ESP it is an encryption transform (RFC 4543).
    AesGmac(AesKey),
}

impl Integrity {
    /// Every integrity transform that ESP takes beside a cipher.
    pub const ESP: [Self; 7] = [
        Self::HmacMd5,
        Self::HmacSha1,
        Self::AesXcbc,
        Self::AesCmac,
        Self::HmacSha256,
        Self::HmacSha384,
        Self::HmacSha512,
    ];

    /// Every integrity transform: AH takes them all.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).filter_map(Self::from_code)
    }

    /// The byte in shared memory, never 0: part of the layout, never renumbered.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::HmacMd5 => 1,
            Self::HmacSha1 => 2,
            Self::AesXcbc => 3,
            Self::AesCmac => 4,
            Self::HmacSha256 => 5,
            Self::HmacSha384 => 6,
            Self::HmacSha512 => 7,
            Self::AesGmac(AesKey::Bits128) => 8,
            Self::AesGmac(AesKey::Bits192) => 9,
            Self::AesGmac(AesKey::Bits256) => 10,
        }
    }

    /// The transform of this byte, [`None`] if it names none.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::HmacMd5,
            2 => Self::HmacSha1,
            3 => Self::AesXcbc,
            4 => Self::AesCmac,
            5 => Self::HmacSha256,
            6 => Self::HmacSha384,
            7 => Self::HmacSha512,
            8 => Self::AesGmac(AesKey::Bits128),
            9 => Self::AesGmac(AesKey::Bits192),
            10 => Self::AesGmac(AesKey::Bits256),
            _ => return None,
        })
    }

    /// Octets of key, AES-GMAC's 4 octets of salt at its end included.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            //= RFC 2403 §2: the key has 128 bits; RFC 3566 §4 and RFC 4494 §2 have the same
            Self::HmacMd5 | Self::AesXcbc | Self::AesCmac => 16,
            //= RFC 2404 §3: the key has 160 bits
            Self::HmacSha1 => 20,
            //= RFC 4868 §2.1.1: the key is as long as the hash
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
            Self::AesGmac(key) => key.octets() + 4,
        }
    }

    /// Octets of the ICV field. AES-GMAC's begins with the 8 octets of its IV (RFC 4543 §4).
    #[must_use]
    pub const fn icv_len(self) -> usize {
        match self {
            Self::HmacMd5 | Self::HmacSha1 | Self::AesXcbc | Self::AesCmac => 12,
            Self::HmacSha256 => 16,
            Self::HmacSha384 => 24,
            Self::HmacSha512 => 32,
            Self::AesGmac(_) => 8 + 16,
        }
    }

    /// Whether a repeated IV under one key lets anyone forge (RFC 8221 §3).
    #[must_use]
    pub const fn is_counter_mode(self) -> bool {
        matches!(self, Self::AesGmac(_))
    }

    /// Whether nobody gets it unless a connection names it, and its use is logged.
    #[must_use]
    pub const fn is_legacy(self) -> bool {
        //= RFC 8221 §6: HMAC-MD5-96 MUST NOT be implemented; here only for peers that have nothing else
        matches!(self, Self::HmacMd5)
    }

    /// IKEv2's transform ID (IANA "IKEv2 Transform Type 3").
    #[must_use]
    pub const fn ikev2(self) -> u16 {
        match self {
            Self::HmacMd5 => 1,
            Self::HmacSha1 => 2,
            Self::AesXcbc => 5,
            Self::AesCmac => 8,
            Self::AesGmac(AesKey::Bits128) => 9,
            Self::AesGmac(AesKey::Bits192) => 10,
            Self::AesGmac(AesKey::Bits256) => 11,
            Self::HmacSha256 => 12,
            Self::HmacSha384 => 13,
            Self::HmacSha512 => 14,
        }
    }

    /// The inverse of [`Integrity::ikev2`]; [`None`] for what adit has not.
    #[must_use]
    pub const fn from_ikev2(id: u16) -> Option<Self> {
        Some(match id {
            1 => Self::HmacMd5,
            2 => Self::HmacSha1,
            5 => Self::AesXcbc,
            8 => Self::AesCmac,
            9 => Self::AesGmac(AesKey::Bits128),
            10 => Self::AesGmac(AesKey::Bits192),
            11 => Self::AesGmac(AesKey::Bits256),
            12 => Self::HmacSha256,
            13 => Self::HmacSha384,
            14 => Self::HmacSha512,
            _ => return None,
        })
    }
}

impl fmt::Display for Integrity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HmacMd5 => "md5",
            Self::HmacSha1 => "sha1",
            Self::AesXcbc => "aesxcbc",
            Self::AesCmac => "aescmac",
            Self::HmacSha256 => "sha256",
            Self::HmacSha384 => "sha384",
            Self::HmacSha512 => "sha512",
            Self::AesGmac(key) => return write!(f, "aes{}gmac", key.bits()),
        })
    }
}
