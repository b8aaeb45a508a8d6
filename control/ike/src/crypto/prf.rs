//! Pseudorandom functions and prf+ (RFC 7296 §2.13).

use super::Secret;
use super::xcbc::xcbc;
use aes::Aes128;
use cmac::Cmac;
use hmac::{EagerHash, Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

/// A pseudorandom function that can be negotiated, with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Prf {
    /// HMAC-MD5, weak.
    HmacMd5 = 1,
    /// HMAC-SHA-1, weak.
    HmacSha1 = 2,
    /// AES-XCBC-PRF-128 (RFC 4434).
    AesXcbc = 4,
    /// HMAC-SHA-256.
    HmacSha256 = 5,
    /// HMAC-SHA-384.
    HmacSha384 = 6,
    /// HMAC-SHA-512.
    HmacSha512 = 7,
    /// AES-CMAC-PRF-128 (RFC 4615).
    AesCmac = 8,
}

impl Prf {
    /// Every PRF there is.
    pub const ALL: [Self; 7] = [
        Self::HmacMd5,
        Self::HmacSha1,
        Self::AesXcbc,
        Self::HmacSha256,
        Self::HmacSha384,
        Self::HmacSha512,
        Self::AesCmac,
    ];

    /// The PRF with this number.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|p| *p as u16 == id)
    }

    /// The octets of its output, which is its preferred key length too.
    pub fn output_len(self) -> usize {
        match self {
            Self::HmacMd5 | Self::AesXcbc | Self::AesCmac => 16,
            Self::HmacSha1 => 20,
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }

    /// Whether its key has one length, so that only 64 bits of each nonce make SKEYSEED's key.
    pub fn has_fixed_key(self) -> bool {
        matches!(self, Self::AesXcbc | Self::AesCmac)
    }

    /// prf(key, the concatenated parts).
    pub fn compute(self, key: &[u8], parts: &[&[u8]]) -> Secret {
        match self {
            Self::HmacMd5 => hmac::<Md5>(key, parts),
            Self::HmacSha1 => hmac::<Sha1>(key, parts),
            Self::HmacSha256 => hmac::<Sha256>(key, parts),
            Self::HmacSha384 => hmac::<Sha384>(key, parts),
            Self::HmacSha512 => hmac::<Sha512>(key, parts),
            Self::AesXcbc => {
                let mac = |key: &[u8; 16], parts: &[&[u8]]| xcbc(key, parts);
                let key = fit_key(key, mac, true);
                Secret::copy_of(&*xcbc(&key, parts))
            }
            Self::AesCmac => {
                let key = fit_key(key, cmac, false);
                Secret::copy_of(&*cmac(&key, parts))
            }
        }
    }

    /// prf+(key, the concatenated seed), as many octets as are asked for; none beyond 255 rounds.
    //= RFC 7296 §2.13: prf+ is defined for 255 rounds only
    pub fn plus(self, key: &[u8], seed: &[&[u8]], len: usize) -> Option<Secret> {
        let rounds = len.div_ceil(self.output_len());
        if rounds > 255 {
            return None;
        }
        let mut out = Vec::with_capacity(rounds * self.output_len());
        let mut last = Secret::default();
        for round in 1..=rounds as u8 {
            let mut parts = Vec::with_capacity(seed.len() + 2);
            parts.push(last.as_bytes());
            parts.extend_from_slice(seed);
            let counter = [round];
            parts.push(&counter);
            let next = self.compute(key, &parts);
            out.extend_from_slice(next.as_bytes());
            last = next;
        }
        // Truncating leaves the rest in the allocation, which is wiped whole.
        out.truncate(len);
        Some(Secret::new(out))
    }
}

pub(super) fn hmac<D: EagerHash>(key: &[u8], parts: &[&[u8]]) -> Secret
where
    Hmac<D>: Mac + KeyInit,
{
    let Ok(mut mac) = <Hmac<D> as KeyInit>::new_from_slice(key) else {
        unreachable!("HMAC takes a key of any length");
    };
    parts.iter().for_each(|p| mac.update(p));
    let mut output = mac.finalize().into_bytes();
    let secret = Secret::copy_of(&output);
    zeroize::Zeroize::zeroize(output.as_mut_slice());
    secret
}

pub(super) fn cmac(key: &[u8; 16], parts: &[&[u8]]) -> Zeroizing<[u8; 16]> {
    let mut mac = <Cmac<Aes128> as KeyInit>::new(&(*key).into());
    parts.iter().for_each(|p| mac.update(p));
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// Makes a key of 16 octets from one of any length.
//= RFC 4434 §2: shorter keys are padded with zeros, longer ones hashed
//= RFC 4615 §3: keys of any other length are hashed
fn fit_key(
    key: &[u8],
    mac: impl Fn(&[u8; 16], &[&[u8]]) -> Zeroizing<[u8; 16]>,
    pad: bool,
) -> Zeroizing<[u8; 16]> {
    let mut fitted = Zeroizing::new([0; 16]);
    if key.len() == 16 || (pad && key.len() < 16) {
        fitted[..key.len()].copy_from_slice(key);
        return fitted;
    }
    mac(&[0; 16], &[key])
}
