//! Signing and verifying as values that any thread can run.

use super::private_key::Pair;
use super::{AuthMethod, Curve, Hash, KeyKind, PrivateKey, PublicKey, Scheme};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature as lc;
use lc::{UnparsedPublicKey, VerificationAlgorithm};
use std::sync::Arc;

/// Why nothing was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The key cannot make a signature by this method.
    #[error("a key of kind {0} cannot sign by the method chosen")]
    Key(KeyKind),
    /// The peer announced hashes, and none that the key can be used with.
    #[error(
        "the peer takes no hash that a key of kind {0} signs with; have it announce SHA-256, SHA-384 and SHA-512"
    )]
    Hashes(KeyKind),
    /// The library failed.
    #[error("the signing function failed")]
    Failed,
}

/// Why a signature was not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The authentication data is too short for what it announces.
    #[error("the AUTH payload is malformed")]
    Malformed,
    /// It names an algorithm that we do not have.
    #[error("the peer signed with an algorithm that adit does not have")]
    Algorithm,
    /// The method needs another kind of key than the peer's certificate has.
    #[error("the peer's key is {0}, which does not fit the method of its AUTH payload")]
    Key(KeyKind),
    /// SHA-1, which the connection does not allow, or which RFC 7427's method never allows.
    #[error("the peer signed with SHA-1; have it use SHA-256 or better")]
    Sha1,
    /// It is wrong.
    #[error("the peer's signature is wrong")]
    Wrong,
}

/// What goes into an AUTH payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The method.
    pub method: AuthMethod,
    /// The authentication data.
    pub data: Vec<u8>,
    /// The scheme, for the log.
    pub scheme: Scheme,
}

/// A signature to be made.
#[derive(Clone, Debug)]
pub struct SignJob {
    key: Arc<PrivateKey>,
    method: AuthMethod,
    scheme: Scheme,
    octets: Vec<u8>,
}

impl SignJob {
    /// A signature over `octets`, by the best method that the peer has: `peer_hashes` are the numbers of its
    /// SIGNATURE_HASH_ALGORITHMS, empty without that notify.
    ///
    /// # Errors
    /// If the key can do nothing that the peer can.
    //= RFC 7427 §3: with a peer that announced hashes method 14 is used, and no other
    //= RFC 7296 §2.15 not done: SHA-1 with method 1; a peer that has no RFC 7427 gets SHA-256
    pub fn new(
        key: Arc<PrivateKey>,
        peer_hashes: &[u16],
        octets: Vec<u8>,
    ) -> Result<Self, SignError> {
        if let Some(scheme) = Scheme::choose(key.kind(), peer_hashes) {
            return Ok(Self {
                key,
                method: AuthMethod::Digital,
                scheme,
                octets,
            });
        }
        if !peer_hashes.is_empty() {
            return Err(SignError::Hashes(key.kind()));
        }
        let (method, scheme) = match key.kind() {
            KeyKind::Rsa { .. } => (AuthMethod::Rsa, Scheme::RsaPkcs1(Hash::Sha256)),
            KeyKind::Ecdsa(curve) => (curve.method(), Scheme::Ecdsa(curve.hash())),
            KeyKind::Ed25519 => return Err(SignError::Key(KeyKind::Ed25519)),
        };
        Ok(Self {
            key,
            method,
            scheme,
            octets,
        })
    }

    /// A signature that names this scheme (RFC 7427), whatever else could be chosen.
    ///
    /// # Errors
    /// If the key cannot make it.
    pub fn with_scheme(
        key: Arc<PrivateKey>,
        scheme: Scheme,
        octets: Vec<u8>,
    ) -> Result<Self, SignError> {
        let kind = key.kind();
        let strong = match kind {
            KeyKind::Ecdsa(curve) => scheme.hash() == curve.hash(),
            KeyKind::Rsa { .. } | KeyKind::Ed25519 => scheme.hash() != Hash::Sha1,
        };
        if !scheme.fits(kind) || !strong {
            return Err(SignError::Key(kind));
        }
        Ok(Self {
            key,
            method: AuthMethod::Digital,
            scheme,
            octets,
        })
    }

    /// Signs.
    ///
    /// # Errors
    /// If the library fails.
    pub fn run(&self) -> Result<Signature, SignError> {
        let signature = self.sign()?;
        let mut data = Vec::new();
        if self.method == AuthMethod::Digital {
            //= RFC 7427 §3: one octet of length, the AlgorithmIdentifier, the signature
            let identifier = self.scheme.algorithm_identifier();
            data.push(u8::try_from(identifier.len()).map_err(|_| SignError::Failed)?);
            data.extend_from_slice(&identifier);
        }
        data.extend_from_slice(&signature);
        Ok(Signature {
            method: self.method,
            data,
            scheme: self.scheme,
        })
    }

    fn sign(&self) -> Result<Vec<u8>, SignError> {
        let random = SystemRandom::new();
        match self.key.pair() {
            Pair::Rsa(pair) => {
                let encoding: &'static dyn lc::RsaEncoding = match self.scheme {
                    Scheme::RsaPss(Hash::Sha256) => &lc::RSA_PSS_SHA256,
                    Scheme::RsaPss(Hash::Sha384) => &lc::RSA_PSS_SHA384,
                    Scheme::RsaPss(Hash::Sha512) => &lc::RSA_PSS_SHA512,
                    Scheme::RsaPkcs1(Hash::Sha256) => &lc::RSA_PKCS1_SHA256,
                    Scheme::RsaPkcs1(Hash::Sha384) => &lc::RSA_PKCS1_SHA384,
                    Scheme::RsaPkcs1(Hash::Sha512) => &lc::RSA_PKCS1_SHA512,
                    _ => return Err(SignError::Key(self.key.kind())),
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, &self.octets, &mut signature)
                    .map_err(|_| SignError::Failed)?;
                Ok(signature)
            }
            Pair::Ecdsa { asn1, fixed } => {
                let pair = if self.method == AuthMethod::Digital {
                    asn1
                } else {
                    fixed
                };
                let signature = pair
                    .sign(&random, &self.octets)
                    .map_err(|_| SignError::Failed)?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::Ed25519(pair) => {
                let signature = pair.try_sign(&self.octets).map_err(|_| SignError::Failed)?;
                Ok(signature.as_ref().to_vec())
            }
        }
    }
}

/// A signature to be verified.
#[derive(Clone, Debug)]
pub struct VerifyJob {
    /// The peer's key.
    pub key: PublicKey,
    /// The method of its AUTH payload.
    pub method: AuthMethod,
    /// The authentication data.
    pub data: Vec<u8>,
    /// What it should have signed.
    pub octets: Vec<u8>,
    /// Whether the connection allows SHA-1 by name, for the method of RFC 7296 that has no other way to say its hash.
    pub allow_sha1: bool,
}

impl VerifyJob {
    /// Verifies; the scheme that the peer used.
    ///
    /// # Errors
    /// Why the signature was not believed.
    pub fn run(&self) -> Result<Scheme, VerifyError> {
        match (self.method, self.key.kind()) {
            (AuthMethod::Digital, _) => self.digital(),
            (AuthMethod::Rsa, KeyKind::Rsa { .. }) => self.rsa(),
            (method, KeyKind::Ecdsa(curve)) if method == curve.method() => {
                let algorithm: &'static dyn VerificationAlgorithm = match curve {
                    Curve::P256 => &lc::ECDSA_P256_SHA256_FIXED,
                    Curve::P384 => &lc::ECDSA_P384_SHA384_FIXED,
                    Curve::P521 => &lc::ECDSA_P521_SHA512_FIXED,
                };
                self.check(algorithm, &self.data)?;
                Ok(Scheme::Ecdsa(curve.hash()))
            }
            (AuthMethod::SharedKey, _) => Err(VerifyError::Algorithm),
            (_, kind) => Err(VerifyError::Key(kind)),
        }
    }

    fn digital(&self) -> Result<Scheme, VerifyError> {
        let (len, rest) = self.data.split_first().ok_or(VerifyError::Malformed)?;
        let (identifier, signature) = rest
            .split_at_checked(usize::from(*len))
            .ok_or(VerifyError::Malformed)?;
        let scheme = Scheme::from_algorithm_identifier(identifier).ok_or(VerifyError::Algorithm)?;
        if !scheme.fits(self.key.kind()) {
            return Err(VerifyError::Key(self.key.kind()));
        }
        //= RFC 8247 §3.2: signatures with SHA-1 are refused, whoever names them
        if scheme.hash() == Hash::Sha1 {
            return Err(VerifyError::Sha1);
        }
        self.check(
            algorithm_of(scheme, self.key.kind()).ok_or(VerifyError::Algorithm)?,
            signature,
        )?;
        Ok(scheme)
    }

    /// Method 1 does not say its hash: each is tried. SHA-1 is what RFC 7296 names for it.
    fn rsa(&self) -> Result<Scheme, VerifyError> {
        let verifies = |hash| {
            let scheme = Scheme::RsaPkcs1(hash);
            let algorithm = algorithm_of(scheme, self.key.kind())?;
            self.check(algorithm, &self.data).is_ok().then_some(scheme)
        };
        if let Some(scheme) = [Hash::Sha256, Hash::Sha384, Hash::Sha512]
            .into_iter()
            .find_map(verifies)
        {
            return Ok(scheme);
        }
        match verifies(Hash::Sha1) {
            Some(scheme) if self.allow_sha1 => Ok(scheme),
            Some(_) => Err(VerifyError::Sha1),
            None => Err(VerifyError::Wrong),
        }
    }

    fn check(
        &self,
        algorithm: &'static dyn VerificationAlgorithm,
        signature: &[u8],
    ) -> Result<(), VerifyError> {
        let key = UnparsedPublicKey::new(algorithm, self.key.bytes());
        key.verify(&self.octets, signature)
            .map_err(|_| VerifyError::Wrong)
    }
}

/// The one list of what is verified: what is not here is refused.
fn algorithm_of(scheme: Scheme, kind: KeyKind) -> Option<&'static dyn VerificationAlgorithm> {
    use Curve::{P256, P384, P521};
    use Hash::{Sha1, Sha256, Sha384, Sha512};
    Some(match (scheme, kind) {
        (Scheme::RsaPkcs1(Sha1), _) => &lc::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
        (Scheme::RsaPkcs1(Sha256), _) => &lc::RSA_PKCS1_2048_8192_SHA256,
        (Scheme::RsaPkcs1(Sha384), _) => &lc::RSA_PKCS1_2048_8192_SHA384,
        (Scheme::RsaPkcs1(Sha512), _) => &lc::RSA_PKCS1_2048_8192_SHA512,
        (Scheme::RsaPss(Sha256), _) => &lc::RSA_PSS_2048_8192_SHA256,
        (Scheme::RsaPss(Sha384), _) => &lc::RSA_PSS_2048_8192_SHA384,
        (Scheme::RsaPss(Sha512), _) => &lc::RSA_PSS_2048_8192_SHA512,
        (Scheme::Ecdsa(Sha256), KeyKind::Ecdsa(P256)) => &lc::ECDSA_P256_SHA256_ASN1,
        (Scheme::Ecdsa(Sha384), KeyKind::Ecdsa(P256)) => &lc::ECDSA_P256_SHA384_ASN1,
        (Scheme::Ecdsa(Sha512), KeyKind::Ecdsa(P256)) => &lc::ECDSA_P256_SHA512_ASN1,
        (Scheme::Ecdsa(Sha256), KeyKind::Ecdsa(P384)) => &lc::ECDSA_P384_SHA256_ASN1,
        (Scheme::Ecdsa(Sha384), KeyKind::Ecdsa(P384)) => &lc::ECDSA_P384_SHA384_ASN1,
        (Scheme::Ecdsa(Sha512), KeyKind::Ecdsa(P384)) => &lc::ECDSA_P384_SHA512_ASN1,
        (Scheme::Ecdsa(Sha256), KeyKind::Ecdsa(P521)) => &lc::ECDSA_P521_SHA256_ASN1,
        (Scheme::Ecdsa(Sha384), KeyKind::Ecdsa(P521)) => &lc::ECDSA_P521_SHA384_ASN1,
        (Scheme::Ecdsa(Sha512), KeyKind::Ecdsa(P521)) => &lc::ECDSA_P521_SHA512_ASN1,
        (Scheme::Ed25519, _) => &lc::ED25519,
        _ => return None,
    })
}
