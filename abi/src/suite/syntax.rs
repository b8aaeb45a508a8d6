//! Suites as swanctl writes them: `aes128gcm16`, `aes256ctr-sha256`, `null-sha512`; for AH `sha256`.

use super::{AesKey, Encryption, IcvLen, Integrity, Suite, SuiteError};

impl Encryption {
    /// The transform of this keyword, strongSwan's other spellings included (`aes`, `aes128gcm128`).
    #[must_use]
    pub fn parse(keyword: &str) -> Option<Self> {
        let aes = match keyword {
            "null" => return Some(Self::Null),
            "3des" => return Some(Self::TripleDesCbc),
            "chacha20poly1305" => return Some(Self::Chacha20Poly1305),
            "aes" => return Some(Self::AesCbc(AesKey::Bits128)),
            _ => keyword.strip_prefix("aes")?,
        };
        let (bits, mode) = aes.split_at_checked(3)?;
        let key = AesKey::from_bits(bits.parse().ok()?)?;
        Some(match mode {
            "" => Self::AesCbc(key),
            "ctr" => Self::AesCtr(key),
            "gmac" => Self::NullAesGmac(key),
            _ => match mode.split_at_checked(3)? {
                ("gcm", icv) => Self::AesGcm(key, parse_icv(icv)?),
                ("ccm", icv) => Self::AesCcm(key, parse_icv(icv)?),
                _ => return None,
            },
        })
    }
}

/// An ICV's length in octets or, as strongSwan allows, in bits.
fn parse_icv(digits: &str) -> Option<IcvLen> {
    Some(match digits {
        "8" | "64" => IcvLen::Octets8,
        "12" | "96" => IcvLen::Octets12,
        "16" | "128" => IcvLen::Octets16,
        _ => return None,
    })
}

impl Integrity {
    /// The transform of this keyword, strongSwan's other spellings included (`sha`, `sha2_256`).
    #[must_use]
    pub fn parse(keyword: &str) -> Option<Self> {
        Some(match keyword {
            "md5" => Self::HmacMd5,
            "sha1" | "sha" => Self::HmacSha1,
            "aesxcbc" => Self::AesXcbc,
            "aescmac" => Self::AesCmac,
            "sha256" | "sha2_256" => Self::HmacSha256,
            "sha384" | "sha2_384" => Self::HmacSha384,
            "sha512" | "sha2_512" => Self::HmacSha512,
            "aes128gmac" => Self::AesGmac(AesKey::Bits128),
            "aes192gmac" => Self::AesGmac(AesKey::Bits192),
            "aes256gmac" => Self::AesGmac(AesKey::Bits256),
            _ => return None,
        })
    }
}

impl Suite {
    /// Parses the suite of an ESP SA: one encryption transform and, where it does not authenticate, one integrity
    /// transform, in any order.
    ///
    /// # Errors
    /// Names the word that is wrong and what to write instead.
    pub fn parse_esp(text: &str) -> Result<Self, SuiteError> {
        let (mut encryption, mut integrity) = (None, None);
        for word in text.split('-') {
            if let Some(found) = Encryption::parse(word) {
                put(&mut encryption, found, word)?;
            } else if let Some(found) = Integrity::parse(word) {
                put(&mut integrity, found, word)?;
            } else {
                return Err(SuiteError::Unknown(word.to_owned()));
            }
        }
        match (encryption, integrity) {
            (Some(encryption), integrity) => Self::esp(encryption, integrity),
            (None, Some(integrity)) => Err(SuiteError::NotEncrypted(integrity)),
            (None, None) => Err(SuiteError::Unknown(text.to_owned())),
        }
    }

    /// Parses the suite of an AH SA: one integrity transform.
    ///
    /// # Errors
    /// Names the word that is wrong and what to write instead.
    pub fn parse_ah(text: &str) -> Result<Self, SuiteError> {
        let mut integrity = None;
        for word in text.split('-') {
            match (Integrity::parse(word), Encryption::parse(word)) {
                (Some(found), _) => put(&mut integrity, found, word)?,
                (None, Some(encryption)) => return Err(SuiteError::EncryptionInAh(encryption)),
                (None, None) => return Err(SuiteError::Unknown(word.to_owned())),
            }
        }
        integrity
            .map(Self::ah)
            .ok_or_else(|| SuiteError::Unknown(text.to_owned()))
    }
}

fn put<T>(place: &mut Option<T>, found: T, word: &str) -> Result<(), SuiteError> {
    match place.replace(found) {
        None => Ok(()),
        Some(_) => Err(SuiteError::Twice(word.to_owned())),
    }
}
