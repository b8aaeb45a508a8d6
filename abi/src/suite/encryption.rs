//! ESP's encryption transforms, those that authenticate by themselves among them.

use core::fmt;

/// The length of an AES key, salt or nonce not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum AesKey {
    /// 16 octets.
    Bits128 = 1,
    /// 24 octets.
    Bits192 = 2,
    /// 32 octets.
    Bits256 = 3,
}

impl AesKey {
    /// Every length.
    pub const ALL: [Self; 3] = [Self::Bits128, Self::Bits192, Self::Bits256];

    /// Octets of the key.
    #[must_use]
    pub const fn octets(self) -> usize {
        8 + 8 * self as usize
    }

    /// Bits of the key, as IKE's Key Length attribute has them (RFC 7296 §3.3.5).
    #[must_use]
    pub const fn bits(self) -> u16 {
        64 + 64 * self as u16
    }

    /// The length of this many bits.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Option<Self> {
        Some(match bits {
            128 => Self::Bits128,
            192 => Self::Bits192,
            256 => Self::Bits256,
            _ => return None,
        })
    }

    const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Bits128,
            2 => Self::Bits192,
            3 => Self::Bits256,
            _ => return None,
        })
    }
}

/// The length of the ICV of AES-GCM and AES-CCM (RFC 4106 §6, RFC 4309 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum IcvLen {
    /// 8 octets.
    Octets8 = 1,
    /// 12 octets.
    Octets12 = 2,
    /// 16 octets.
    Octets16 = 3,
}

impl IcvLen {
    /// Every length.
    pub const ALL: [Self; 3] = [Self::Octets8, Self::Octets12, Self::Octets16];

    /// Octets of the ICV.
    #[must_use]
    pub const fn octets(self) -> usize {
        4 + 4 * self as usize
    }

    const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Octets8,
            2 => Self::Octets12,
            3 => Self::Octets16,
            _ => return None,
        })
    }
}

/// An ESP encryption transform: IKEv2's transform type 1 (RFC 7296 §3.3.2).
///
/// Its text is strongSwan's keyword, `aes128gcm16` for instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Encryption {
    /// Nothing is encrypted (RFC 2410).
    Null,
    /// 3DES in CBC mode (RFC 2451). Legacy.
    TripleDesCbc,
    /// AES in CBC mode (RFC 3602).
    AesCbc(AesKey),
    /// AES in counter mode (RFC 3686).
    AesCtr(AesKey),
    /// AES-GCM (RFC 4106).
    AesGcm(AesKey, IcvLen),
    /// AES-CCM (RFC 4309).
    AesCcm(AesKey, IcvLen),
    /// Nothing is encrypted, AES-GMAC authenticates: ENCR_NULL_AUTH_AES_GMAC (RFC 4543 §3).
    NullAesGmac(AesKey),
    /// ChaCha20-Poly1305 (RFC 7634).
    Chacha20Poly1305,
}

// The algorithm's half of a code; the other half is the key's length and the ICV's, two bits each.
const NULL: u8 = 1;
const TRIPLE_DES_CBC: u8 = 2;
const AES_CBC: u8 = 3;
const AES_CTR: u8 = 4;
const AES_GCM: u8 = 5;
const AES_CCM: u8 = 6;
const NULL_AES_GMAC: u8 = 7;
const CHACHA20_POLY1305: u8 = 8;

impl Encryption {
    /// Every encryption transform.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).filter_map(Self::from_code)
    }

    /// The byte in shared memory, never 0: part of the layout, never renumbered.
    #[must_use]
    pub const fn code(self) -> u8 {
        let (algorithm, key, icv) = match self {
            Self::Null => (NULL, 0, 0),
            Self::TripleDesCbc => (TRIPLE_DES_CBC, 0, 0),
            Self::AesCbc(key) => (AES_CBC, key as u8, 0),
            Self::AesCtr(key) => (AES_CTR, key as u8, 0),
            Self::AesGcm(key, icv) => (AES_GCM, key as u8, icv as u8),
            Self::AesCcm(key, icv) => (AES_CCM, key as u8, icv as u8),
            Self::NullAesGmac(key) => (NULL_AES_GMAC, key as u8, 0),
            Self::Chacha20Poly1305 => (CHACHA20_POLY1305, 0, 0),
        };
        algorithm << 4 | key << 2 | icv
    }

    /// The transform of this byte, [`None`] if it names none.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        let key = AesKey::from_code(code >> 2 & 3);
        let icv = IcvLen::from_code(code & 3);
        Some(match (code >> 4, key, icv) {
            (NULL, None, None) => Self::Null,
            (TRIPLE_DES_CBC, None, None) => Self::TripleDesCbc,
            (AES_CBC, Some(key), None) => Self::AesCbc(key),
            (AES_CTR, Some(key), None) => Self::AesCtr(key),
            (AES_GCM, Some(key), Some(icv)) => Self::AesGcm(key, icv),
            (AES_CCM, Some(key), Some(icv)) => Self::AesCcm(key, icv),
            (NULL_AES_GMAC, Some(key), None) => Self::NullAesGmac(key),
            (CHACHA20_POLY1305, None, None) => Self::Chacha20Poly1305,
            _ => return None,
        })
    }

    /// Octets of keying material, the salt or nonce at its end included where there is one.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::Null => 0,
            //= RFC 2451 §2.2: three keys of 64 bits, parity included
            Self::TripleDesCbc => 24,
            Self::AesCbc(key) => key.octets(),
            //= RFC 3686 §5.1: the AES key, then 4 octets of nonce
            //= RFC 4106 §8.1: the AES key, then 4 octets of salt
            //= RFC 4543 §5.4: the same for AES-GMAC
            Self::AesCtr(key) | Self::AesGcm(key, _) | Self::NullAesGmac(key) => key.octets() + 4,
            //= RFC 4309 §7.1: the AES key, then 3 octets of salt
            Self::AesCcm(key, _) => key.octets() + 3,
            //= RFC 7634 §2: 36 octets, the last 4 of them the salt
            Self::Chacha20Poly1305 => 32 + 4,
        }
    }

    /// Octets of IV in the packet, between sequence number and payload.
    #[must_use]
    pub const fn iv_len(self) -> usize {
        match self {
            Self::Null => 0,
            Self::AesCbc(_) => 16,
            Self::TripleDesCbc
            | Self::AesCtr(_)
            | Self::AesGcm(..)
            | Self::AesCcm(..)
            | Self::NullAesGmac(_)
            | Self::Chacha20Poly1305 => 8,
        }
    }

    /// Payload, padding, pad length and next header together are a multiple of this many octets.
    #[must_use]
    pub const fn block(self) -> usize {
        //= RFC 4303 §2.4: at least 4 octets, more where the cipher's block is larger
        match self {
            Self::AesCbc(_) => 16,
            Self::TripleDesCbc => 8,
            _ => 4,
        }
    }

    /// Octets of ICV where the transform authenticates by itself, [`None`] where it needs an
    /// [`Integrity`](super::Integrity) beside it.
    #[must_use]
    pub const fn icv_len(self) -> Option<usize> {
        match self {
            Self::Null | Self::TripleDesCbc | Self::AesCbc(_) | Self::AesCtr(_) => None,
            Self::AesGcm(_, icv) | Self::AesCcm(_, icv) => Some(icv.octets()),
            Self::NullAesGmac(_) | Self::Chacha20Poly1305 => Some(16),
        }
    }

    /// Whether the packet's content is hidden.
    #[must_use]
    pub const fn is_confidential(self) -> bool {
        !matches!(self, Self::Null | Self::NullAesGmac(_))
    }

    /// Whether a repeated IV under one key gives away the key stream or lets anyone forge.
    ///
    /// Such a transform must not be keyed from a file (RFC 8221 §3).
    #[must_use]
    pub const fn is_counter_mode(self) -> bool {
        !matches!(self, Self::Null | Self::TripleDesCbc | Self::AesCbc(_))
    }

    /// Whether nobody gets it unless a connection names it, and its use is logged.
    #[must_use]
    pub const fn is_legacy(self) -> bool {
        //= RFC 8221 §5: 3DES SHOULD NOT be implemented; here only for peers that have nothing else
        matches!(self, Self::TripleDesCbc)
    }

    /// IKEv2's transform ID and, in bits, its Key Length attribute where it has one (RFC 7296 §3.3.2 and
    /// §3.3.5, IANA "IKEv2 Transform Type 1").
    #[must_use]
    pub const fn ikev2(self) -> (u16, Option<u16>) {
        match self {
            Self::TripleDesCbc => (3, None),
            Self::Null => (11, None),
            Self::AesCbc(key) => (12, Some(key.bits())),
            Self::AesCtr(key) => (13, Some(key.bits())),
            Self::AesCcm(key, icv) => (13 + icv as u16, Some(key.bits())),
            Self::AesGcm(key, icv) => (17 + icv as u16, Some(key.bits())),
            Self::NullAesGmac(key) => (21, Some(key.bits())),
            Self::Chacha20Poly1305 => (28, None),
        }
    }

    /// The inverse of [`Encryption::ikev2`]; [`None`] for what adit has not, and for a Key Length that is missing,
    /// too much or of no use.
    #[must_use]
    pub const fn from_ikev2(id: u16, key_length: Option<u16>) -> Option<Self> {
        Some(match (id, key_length) {
            (3, None) => Self::TripleDesCbc,
            (11, None) => Self::Null,
            (28, None) => Self::Chacha20Poly1305,
            (_, Some(bits)) => match (id, AesKey::from_bits(bits)) {
                (12, Some(key)) => Self::AesCbc(key),
                (13, Some(key)) => Self::AesCtr(key),
                (14, Some(key)) => Self::AesCcm(key, IcvLen::Octets8),
                (15, Some(key)) => Self::AesCcm(key, IcvLen::Octets12),
                (16, Some(key)) => Self::AesCcm(key, IcvLen::Octets16),
                (18, Some(key)) => Self::AesGcm(key, IcvLen::Octets8),
                (19, Some(key)) => Self::AesGcm(key, IcvLen::Octets12),
                (20, Some(key)) => Self::AesGcm(key, IcvLen::Octets16),
                (21, Some(key)) => Self::NullAesGmac(key),
                _ => return None,
            },
            _ => return None,
        })
    }
}

impl fmt::Display for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::TripleDesCbc => f.write_str("3des"),
            Self::AesCbc(key) => write!(f, "aes{}", key.bits()),
            Self::AesCtr(key) => write!(f, "aes{}ctr", key.bits()),
            Self::AesGcm(key, icv) => write!(f, "aes{}gcm{}", key.bits(), icv.octets()),
            Self::AesCcm(key, icv) => write!(f, "aes{}ccm{}", key.bits(), icv.octets()),
            Self::NullAesGmac(key) => write!(f, "aes{}gmac", key.bits()),
            Self::Chacha20Poly1305 => f.write_str("chacha20poly1305"),
        }
    }
}
