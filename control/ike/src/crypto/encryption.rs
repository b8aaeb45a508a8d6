//! The ciphers of the encrypted payload, and their sizes.

use crate::proposal::registry::{ENCR_3DES, ENCR_AES_CBC, ENCR_AES_CTR, ENCR_CHACHA20_POLY1305};

/// The length of an AES key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AesKey {
    /// 128 bits.
    Bits128,
    /// 192 bits.
    Bits192,
    /// 256 bits.
    Bits256,
}

impl AesKey {
    fn from_bits(bits: u16) -> Option<Self> {
        Some(match bits {
            128 => Self::Bits128,
            192 => Self::Bits192,
            256 => Self::Bits256,
            _ => return None,
        })
    }

    /// Its octets.
    pub fn octets(self) -> usize {
        match self {
            Self::Bits128 => 16,
            Self::Bits192 => 24,
            Self::Bits256 => 32,
        }
    }
}

/// The length of a combined mode's ICV.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Icv {
    /// 8 octets.
    Octets8,
    /// 12 octets.
    Octets12,
    /// 16 octets.
    Octets16,
}

impl Icv {
    /// Its octets.
    pub fn octets(self) -> usize {
        match self {
            Self::Octets8 => 8,
            Self::Octets12 => 12,
            Self::Octets16 => 16,
        }
    }

    fn nth(n: u16) -> Option<Self> {
        [Self::Octets8, Self::Octets12, Self::Octets16]
            .get(usize::from(n))
            .copied()
    }
}

/// A cipher that can be negotiated for IKE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encryption {
    /// 3DES-CBC, weak.
    TripleDes,
    /// AES-CBC.
    AesCbc(AesKey),
    /// AES-CTR (RFC 5930).
    AesCtr(AesKey),
    /// AES-CCM (RFC 5282).
    AesCcm(AesKey, Icv),
    /// AES-GCM (RFC 5282).
    AesGcm(AesKey, Icv),
    /// ChaCha20-Poly1305 (RFC 7634).
    ChaCha20Poly1305,
}

impl Encryption {
    /// The cipher of a transform; none if we do not have it, or if its key length is missing or wrong.
    pub fn from_transform(id: u16, key_bits: Option<u16>) -> Option<Self> {
        //= RFC 7296 §3.3.5: ciphers of one key length carry no attribute, the others must
        if matches!(id, ENCR_3DES | ENCR_CHACHA20_POLY1305) {
            let cipher = if id == ENCR_3DES {
                Self::TripleDes
            } else {
                Self::ChaCha20Poly1305
            };
            return key_bits.is_none().then_some(cipher);
        }
        let key = AesKey::from_bits(key_bits?)?;
        Some(match id {
            ENCR_AES_CBC => Self::AesCbc(key),
            ENCR_AES_CTR => Self::AesCtr(key),
            14..=16 => Self::AesCcm(key, Icv::nth(id - 14)?),
            18..=20 => Self::AesGcm(key, Icv::nth(id - 18)?),
            _ => return None,
        })
    }

    /// Whether it gives integrity too.
    pub fn is_combined_mode(self) -> bool {
        matches!(
            self,
            Self::AesCcm(..) | Self::AesGcm(..) | Self::ChaCha20Poly1305
        )
    }

    /// The octets of key material: the key, and the salt behind it.
    pub fn key_len(self) -> usize {
        let key = match self {
            Self::TripleDes => 24,
            Self::AesCbc(key) | Self::AesCtr(key) | Self::AesCcm(key, _) | Self::AesGcm(key, _) => {
                key.octets()
            }
            Self::ChaCha20Poly1305 => 32,
        };
        key + self.salt_len()
    }

    /// The octets of the salt at the end of the key material.
    pub fn salt_len(self) -> usize {
        match self {
            Self::TripleDes | Self::AesCbc(_) => 0,
            Self::AesCcm(..) => 3,
            Self::AesCtr(_) | Self::AesGcm(..) | Self::ChaCha20Poly1305 => 4,
        }
    }

    /// The octets of the IV in each message.
    pub fn iv_len(self) -> usize {
        match self {
            Self::AesCbc(_) => 16,
            _ => 8,
        }
    }

    /// Whether the IV must be unpredictable; where it is not, it must never repeat under one key.
    pub fn needs_random_iv(self) -> bool {
        matches!(self, Self::TripleDes | Self::AesCbc(_))
    }

    /// To how many octets the plaintext is padded.
    pub fn block_len(self) -> usize {
        match self {
            Self::TripleDes => 8,
            Self::AesCbc(_) => 16,
            _ => 1,
        }
    }

    /// The octets of a combined mode's ICV; 0 for the others.
    pub fn icv_len(self) -> usize {
        match self {
            Self::AesCcm(_, icv) | Self::AesGcm(_, icv) => icv.octets(),
            Self::ChaCha20Poly1305 => 16,
            Self::TripleDes | Self::AesCbc(_) | Self::AesCtr(_) => 0,
        }
    }
}
