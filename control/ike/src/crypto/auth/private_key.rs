//! Private keys, as files and control's callers bring them; wiped when dropped.

use super::{Curve, KeyKind, PublicKey};
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING,
    ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_ASN1_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use std::fmt;
use zeroize::Zeroizing;

/// Why a private key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrivateKeyError {
    /// It is encrypted.
    #[error(
        "the private key is encrypted; decrypt it first, with `openssl pkey`, or let swanctl load it with its passphrase"
    )]
    Encrypted,
    /// It is no private key.
    #[error("this is no private key in PEM or DER (PKCS#1, PKCS#8 or SEC1)")]
    Malformed,
    /// We do not have its algorithm, or it is inconsistent.
    #[error(
        "the key is not RSA with 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519, or its parts do not fit"
    )]
    Algorithm,
}

/// The keys as the library holds them, which wipes them.
pub(super) enum Pair {
    /// RSA.
    Rsa(RsaKeyPair),
    /// ECDSA with both encodings of a signature.
    Ecdsa {
        /// DER, for RFC 7427.
        asn1: EcdsaKeyPair,
        /// r and s, for RFC 4754.
        fixed: EcdsaKeyPair,
    },
    /// Ed25519.
    Ed25519(Ed25519KeyPair),
}

/// A private key.
pub struct PrivateKey {
    pair: Pair,
    public: PublicKey,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.kind())
    }
}

impl PrivateKey {
    /// Parses PEM or DER: PKCS#1, PKCS#8 or SEC1.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn parse(bytes: &[u8]) -> Result<Self, PrivateKeyError> {
        if !bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
            return Self::from_der(bytes);
        }
        // Passphrases are swanctl's: it decrypts a key before it loads it.
        let contains = |words: &[u8]| bytes.windows(words.len()).any(|w| w == words);
        if contains(b"BEGIN ENCRYPTED PRIVATE KEY") || contains(b"Proc-Type: 4,ENCRYPTED") {
            return Err(PrivateKeyError::Encrypted);
        }
        let der =
            match PrivateKeyDer::from_pem_slice(bytes).map_err(|_| PrivateKeyError::Malformed)? {
                PrivateKeyDer::Pkcs1(mut key) => wiping(key.secret_pkcs1_der().to_vec(), &mut key),
                PrivateKeyDer::Pkcs8(mut key) => wiping(key.secret_pkcs8_der().to_vec(), &mut key),
                PrivateKeyDer::Sec1(mut key) => wiping(key.secret_sec1_der().to_vec(), &mut key),
                _ => return Err(PrivateKeyError::Malformed),
            };
        Self::from_der(&der)
    }

    fn from_der(der: &[u8]) -> Result<Self, PrivateKeyError> {
        let kind = PrivateKeyDer::try_from(der).map_err(|_| PrivateKeyError::Malformed)?;
        let (rsa, ec, ed) = match kind {
            PrivateKeyDer::Pkcs1(_) => (true, false, false),
            PrivateKeyDer::Sec1(_) => (false, true, false),
            _ => (true, true, true),
        };
        let found = None
            .or_else(|| if rsa { Self::rsa(der) } else { None })
            .or_else(|| if ec { Self::ecdsa(der) } else { None })
            .or_else(|| if ed { Self::ed25519(der) } else { None });
        found.ok_or(PrivateKeyError::Algorithm)
    }

    fn rsa(der: &[u8]) -> Option<Self> {
        let pair = RsaKeyPair::from_pkcs8(der)
            .or_else(|_| RsaKeyPair::from_der(der))
            .ok()?;
        let public = PublicKey::rsa(pair.public_key().as_ref()).ok()?;
        Some(Self {
            pair: Pair::Rsa(pair),
            public,
        })
    }

    fn ecdsa(der: &[u8]) -> Option<Self> {
        let curves: [(
            Curve,
            &'static EcdsaSigningAlgorithm,
            &'static EcdsaSigningAlgorithm,
        ); 3] = [
            (
                Curve::P256,
                &ECDSA_P256_SHA256_ASN1_SIGNING,
                &ECDSA_P256_SHA256_FIXED_SIGNING,
            ),
            (
                Curve::P384,
                &ECDSA_P384_SHA384_ASN1_SIGNING,
                &ECDSA_P384_SHA384_FIXED_SIGNING,
            ),
            (
                Curve::P521,
                &ECDSA_P521_SHA512_ASN1_SIGNING,
                &ECDSA_P521_SHA512_FIXED_SIGNING,
            ),
        ];
        curves.into_iter().find_map(|(curve, asn1, fixed)| {
            let asn1 = EcdsaKeyPair::from_private_key_der(asn1, der).ok()?;
            let fixed = EcdsaKeyPair::from_private_key_der(fixed, der).ok()?;
            let public = PublicKey::ecdsa(curve, asn1.public_key().as_ref()).ok()?;
            Some(Self {
                pair: Pair::Ecdsa { asn1, fixed },
                public,
            })
        })
    }

    fn ed25519(der: &[u8]) -> Option<Self> {
        // OpenSSL writes keys without their public half, which the strict variant wants.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
        let public = PublicKey::ed25519(pair.public_key().as_ref()).ok()?;
        Some(Self {
            pair: Pair::Ed25519(pair),
            public,
        })
    }

    pub(super) fn pair(&self) -> &Pair {
        &self.pair
    }

    /// Its public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Its kind.
    pub fn kind(&self) -> KeyKind {
        self.public.kind()
    }
}

/// The copy, with the original wiped.
fn wiping(copy: Vec<u8>, original: &mut impl zeroize::Zeroize) -> Zeroizing<Vec<u8>> {
    original.zeroize();
    Zeroizing::new(copy)
}
