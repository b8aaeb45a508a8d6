//! The quickest primitive for each suite.
//!
//! AEADs come from aws-lc; AES-CBC interleaves the packets of a burst over RustCrypto's AES, and
//! HMAC-SHA-256 is RustCrypto's (aws-lc needs 1.1 times as long for 1,424 octets, 2 times for 64).
//!
//! Nanoseconds per packet, reference / fast, by octets of the encrypted part: the best of four medians
//! of `benches/aead.rs` on a shared virtual AMD EPYC (family 25, model 1: AES, VAES, AVX2, SHA, no
//! AVX-512), default code generation.
//!
//! | suite | seal 64 | seal 576 | seal 1420 | open 64 | open 576 | open 1420 |
//! | --- | ---: | ---: | ---: | ---: | ---: | ---: |
//! | aes128gcm16 | 151 / 146 | 338 / 287 | 684 / 500 | 147 / 132 | 349 / 253 | 719 / 500 |
//! | aes256gcm16 | 152 / 154 | 402 / 277 | 834 / 557 | 163 / 143 | 376 / 279 | 786 / 548 |
//! | chacha20poly1305 | 1830 / 217 | 2296 / 470 | 3220 / 874 | 1798 / 196 | 2262 / 389 | 3231 / 792 |
//! | aes128-sha256 | 298 / 224 | 1054 / 658 | 2489 / 1420 | 244 / 241 | 614 / 647 | 1233 / 1273 |
//! | aes256-sha256 | 257 / 221 | 1241 / 667 | 2915 / 1378 | 255 / 245 | 650 / 657 | 1305 / 1288 |
//!
//! Making an SA ready takes 0.1 to 0.25 microseconds with an AEAD, 0.8 with AES-CBC (the random octets
//! behind its IVs).

mod interleaved_cbc;

use super::aead::{Aead, Nonce};
use super::authenticator::Authenticator;
use super::cbc::{Cbc, CbcCipher};
use super::reference::{self, aead, separate};
use super::{KeyError, Keys, Transform};
use adit_abi::{AesKey, Encryption, IcvLen, Integrity, Suite};
use aes::cipher::KeyInit;
use aes::{Aes128, Aes192, Aes256};
use aws_lc_rs::aead::{
    AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey,
    UnboundKey,
};
pub(super) use interleaved_cbc::InterleavedCbc;

/// Makes `suite` ready. The keys' lengths have been checked.
pub(super) fn transform(
    suite: Suite,
    keys: Keys<'_>,
    esn: bool,
) -> Result<Box<dyn Transform>, KeyError> {
    let aws_lc = |algorithm| aead(|key| AwsLcAead::new(algorithm, key), suite, keys, esn);
    match suite.encryption() {
        Some(Encryption::AesGcm(AesKey::Bits128, IcvLen::Octets16)) => aws_lc(&AES_128_GCM),
        Some(Encryption::AesGcm(AesKey::Bits192, IcvLen::Octets16)) => aws_lc(&AES_192_GCM),
        Some(Encryption::AesGcm(AesKey::Bits256, IcvLen::Octets16)) => aws_lc(&AES_256_GCM),
        Some(Encryption::Chacha20Poly1305) => aws_lc(&CHACHA20_POLY1305),
        Some(Encryption::AesCbc(AesKey::Bits128)) => aes_cbc::<Aes128>(suite, keys, esn),
        Some(Encryption::AesCbc(AesKey::Bits192)) => aes_cbc::<Aes192>(suite, keys, esn),
        Some(Encryption::AesCbc(AesKey::Bits256)) => aes_cbc::<Aes256>(suite, keys, esn),
        _ => reference::transform(suite, keys, esn),
    }
}

/// Makes AH's `integrity` ready. The key's length has been checked.
pub(super) fn authenticator(
    integrity: Integrity,
    key: &[u8],
    esn: bool,
) -> Result<Box<dyn Authenticator>, KeyError> {
    reference::authenticator(integrity, key, esn)
}

fn aes_cbc<C>(suite: Suite, keys: Keys<'_>, esn: bool) -> Result<Box<dyn Transform>, KeyError>
where
    C: KeyInit + 'static,
    InterleavedCbc<C>: Cbc<16>,
{
    let cipher = InterleavedCbc::<C>::new(keys.enc).ok_or(KeyError::encryption(suite, keys))?;
    separate(CbcCipher::new(cipher)?, suite, keys, esn)
}

/// An AEAD of aws-lc.
pub(super) struct AwsLcAead(LessSafeKey);

impl AwsLcAead {
    /// `None` if `key` has the wrong length.
    pub fn new(algorithm: &'static Algorithm, key: &[u8]) -> Option<Self> {
        let key = UnboundKey::new(algorithm, key).ok()?;
        Some(Self(LessSafeKey::new(key)))
    }
}

impl Aead<16> for AwsLcAead {
    fn encrypt(&self, nonce: &Nonce, aad: &[u8], body: &mut [u8]) -> Option<[u8; 16]> {
        let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(*nonce);
        let mut tag = [0; 16];
        self.0
            .seal_in_place_scatter(nonce, Aad::from(aad), body, &[], &mut tag)
            .ok()?;
        Some(tag)
    }

    fn decrypt(&self, nonce: &Nonce, aad: &[u8], body: &mut [u8], tag: &[u8; 16]) -> bool {
        let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(*nonce);
        self.0
            .open_in_place_separate_tag(nonce, Aad::from(aad), tag, body)
            .is_ok()
    }
}
