//! The quickest primitive for each suite.
//!
//! AES-GCM and ChaCha20-Poly1305 come from aws-lc; with a short ICV only to seal, since aws-lc verifies whole tags
//! alone. AES-CBC interleaves the packets of a burst over RustCrypto's AES. Everything else is the reference's:
//! HMAC of aws-lc takes 1.1 to 1.5 times as long with SHA-1 and SHA-256 and as long with SHA-384 and SHA-512.
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
//! | aes128gmac | 113 | 237 | 460 | 128 | 252 | 476 |
//! | aes128ccm16 | 218 | 910 | 1961 | 200 | 865 | 1978 |
//! | aes128ctr-sha1 | 212 | 584 | 1195 | 227 | 600 | 1210 |
//! | aes256ctr-sha512 | 880 | 2187 | 4861 | 931 | 1824 | 3697 |
//! | null-sha512 | 655 | 1612 | 3284 | 702 | 1656 | 3314 |
//! | 3des-sha384 | 6721 | 56745 | 140550 | 6720 | 56432 | 147057 |
//!
//! Making an SA ready takes 0.1 to 0.25 microseconds with an AEAD, 0.8 with AES-CBC (the random octets
//! behind its IVs).

mod interleaved_cbc;

use super::aead::{Aead, Nonce};
use super::authenticator::Authenticator;
use super::cbc::{Cbc, CbcCipher};
use super::gcm::{self, Gcm};
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
        Some(Encryption::AesGcm(AesKey::Bits128, icv)) => {
            short_gcm::<Aes128>(icv, &AES_128_GCM, suite, keys, esn)
        }
        Some(Encryption::AesGcm(AesKey::Bits192, icv)) => {
            short_gcm::<Aes192>(icv, &AES_192_GCM, suite, keys, esn)
        }
        Some(Encryption::AesGcm(AesKey::Bits256, icv)) => {
            short_gcm::<Aes256>(icv, &AES_256_GCM, suite, keys, esn)
        }
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

fn short_gcm<C: gcm::Block + KeyInit + 'static>(
    icv: IcvLen,
    algorithm: &'static Algorithm,
    suite: Suite,
    keys: Keys<'_>,
    esn: bool,
) -> Result<Box<dyn Transform>, KeyError> {
    let make = |key: &[u8]| ShortGcm::<C>::new(algorithm, key);
    match icv {
        IcvLen::Octets8 => aead::<_, 8>(make, suite, keys, esn),
        IcvLen::Octets12 => aead::<_, 12>(make, suite, keys, esn),
        IcvLen::Octets16 => aead::<_, 16>(make, suite, keys, esn),
    }
}

fn aes_cbc<C>(suite: Suite, keys: Keys<'_>, esn: bool) -> Result<Box<dyn Transform>, KeyError>
where
    C: KeyInit + 'static,
    InterleavedCbc<C>: Cbc<16>,
{
    let cipher = InterleavedCbc::<C>::new(keys.enc).ok_or(KeyError::encryption(suite, keys))?;
    separate(CbcCipher::new(cipher)?, suite, keys, esn)
}

/// AES-GCM whose tag is cut: aws-lc seals, and our own opens.
pub(super) struct ShortGcm<C> {
    sealer: AwsLcAead,
    opener: Gcm<C>,
}

impl<C: gcm::Block + KeyInit> ShortGcm<C> {
    /// `None` if `key` has the wrong length.
    pub fn new(algorithm: &'static Algorithm, key: &[u8]) -> Option<Self> {
        Some(Self {
            sealer: AwsLcAead::new(algorithm, key)?,
            opener: Gcm::new(key)?,
        })
    }
}

impl<C: gcm::Block, const ICV: usize> Aead<ICV> for ShortGcm<C> {
    fn encrypt(&self, nonce: &Nonce, aad: &[u8], body: &mut [u8]) -> Option<[u8; ICV]> {
        let tag = self.sealer.encrypt(nonce, aad, body)?;
        tag.first_chunk().copied()
    }

    fn decrypt(&self, nonce: &Nonce, aad: &[u8], body: &mut [u8], tag: &[u8; ICV]) -> bool {
        self.opener.decrypt(nonce, aad, body, tag)
    }
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
