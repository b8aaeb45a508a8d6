//! Public keys: from certificates, or raw as a SubjectPublicKeyInfo (RFC 7670).

use super::Curve;
use der::asn1::{AnyRef, BitStringRef, Null, ObjectIdentifier};
use der::{Decode, Encode, Sequence, asn1::UintRef};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use std::fmt;
use x509_cert::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// RSA.
    Rsa {
        /// The bits of the modulus.
        bits: usize,
    },
    /// ECDSA.
    Ecdsa(Curve),
    /// Ed25519.
    Ed25519,
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "RSA {bits}"),
            Self::Ecdsa(curve) => write!(f, "ECDSA {curve}"),
            Self::Ed25519 => f.write_str("Ed25519"),
        }
    }
}

/// Why a public key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// It is no SubjectPublicKeyInfo.
    #[error("this is no public key in PEM or DER (SubjectPublicKeyInfo)")]
    Malformed,
    /// We do not have its algorithm.
    #[error("the key is not RSA, ECDSA on P-256, P-384 or P-521, or Ed25519")]
    Algorithm,
    /// It is too small or too large.
    #[error("an RSA key has 2048 to 8192 bits, this one {0}")]
    Size(usize),
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PublicKey {
    kind: KeyKind,
    /// RSAPublicKey, an uncompressed point, or the 32 octets of Ed25519.
    bytes: Vec<u8>,
}

#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

impl PublicKey {
    /// Parses PEM (`PUBLIC KEY`) or the DER of a SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn parse(bytes: &[u8]) -> Result<Self, PublicKeyError> {
        if bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
            let pem = SubjectPublicKeyInfoDer::from_pem_slice(bytes);
            return Self::from_spki(&pem.map_err(|_| PublicKeyError::Malformed)?);
        }
        Self::from_spki(bytes)
    }

    /// Parses the DER of a SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn from_spki(der: &[u8]) -> Result<Self, PublicKeyError> {
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| PublicKeyError::Malformed)?;
        let bytes = spki
            .subject_public_key
            .as_bytes()
            .ok_or(PublicKeyError::Malformed)?;
        match spki.algorithm.oid {
            RSA => Self::rsa(bytes),
            EC => {
                let parameters = spki.algorithm.parameters.ok_or(PublicKeyError::Malformed)?;
                let oid: ObjectIdentifier = parameters
                    .decode_as()
                    .map_err(|_| PublicKeyError::Algorithm)?;
                let curve = match oid {
                    P256 => Curve::P256,
                    P384 => Curve::P384,
                    P521 => Curve::P521,
                    _ => return Err(PublicKeyError::Algorithm),
                };
                Self::ecdsa(curve, bytes)
            }
            ED25519 => Self::ed25519(bytes),
            _ => Err(PublicKeyError::Algorithm),
        }
    }

    /// An RSA key from the DER of RSAPublicKey.
    pub(super) fn rsa(bytes: &[u8]) -> Result<Self, PublicKeyError> {
        let key = RsaPublicKey::from_der(bytes).map_err(|_| PublicKeyError::Malformed)?;
        let modulus = key.modulus.as_bytes();
        let top = modulus.first().map_or(0, |b| b.leading_zeros() as usize);
        let bits = modulus.len() * 8 - top;
        if !(2048..=8192).contains(&bits) {
            return Err(PublicKeyError::Size(bits));
        }
        Ok(Self {
            kind: KeyKind::Rsa { bits },
            bytes: bytes.to_vec(),
        })
    }

    /// An ECDSA key from an uncompressed point, which is checked when it is used.
    pub(super) fn ecdsa(curve: Curve, point: &[u8]) -> Result<Self, PublicKeyError> {
        let coordinate = match curve {
            Curve::P256 => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        };
        if point.len() != 2 * coordinate + 1 || point.first() != Some(&4) {
            return Err(PublicKeyError::Malformed);
        }
        Ok(Self {
            kind: KeyKind::Ecdsa(curve),
            bytes: point.to_vec(),
        })
    }

    /// An Ed25519 key from its 32 octets.
    pub(super) fn ed25519(bytes: &[u8]) -> Result<Self, PublicKeyError> {
        if bytes.len() != 32 {
            return Err(PublicKeyError::Malformed);
        }
        Ok(Self {
            kind: KeyKind::Ed25519,
            bytes: bytes.to_vec(),
        })
    }

    /// Its kind.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// RSAPublicKey, an uncompressed point, or the 32 octets of Ed25519.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The DER of its SubjectPublicKeyInfo.
    pub fn to_spki(&self) -> Vec<u8> {
        let (oid, curve) = match self.kind {
            KeyKind::Rsa { .. } => (RSA, None),
            KeyKind::Ecdsa(Curve::P256) => (EC, Some(P256)),
            KeyKind::Ecdsa(Curve::P384) => (EC, Some(P384)),
            KeyKind::Ecdsa(Curve::P521) => (EC, Some(P521)),
            KeyKind::Ed25519 => (ED25519, None),
        };
        let parameters = match (&curve, self.kind) {
            (Some(curve), _) => Some(AnyRef::from(curve)),
            (None, KeyKind::Rsa { .. }) => Some(AnyRef::from(Null)),
            (None, _) => None,
        };
        let algorithm = AlgorithmIdentifierRef { oid, parameters };
        // Keys of at most some thousand octets always encode.
        BitStringRef::from_bytes(&self.bytes)
            .and_then(|subject_public_key| {
                SubjectPublicKeyInfoRef {
                    algorithm,
                    subject_public_key,
                }
                .to_der()
            })
            .unwrap_or_default()
    }
}
