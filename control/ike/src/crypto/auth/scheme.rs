//! Signature schemes, and the AlgorithmIdentifiers that name them (RFC 7427 Appendix A, RFC 8420).

use super::{AuthMethod, KeyKind};
use der::asn1::{AnyRef, Null, ObjectIdentifier};
use der::{Decode, Encode, Sequence};
use std::fmt;
use x509_cert::spki::AlgorithmIdentifierRef;

const RSA_ENCRYPTION_PREFIX: &str = "1.2.840.113549.1.1";
const PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// A hash function, with its number in SIGNATURE_HASH_ALGORITHMS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub enum Hash {
    /// SHA-1; only verified, and only where a connection allows it.
    Sha1 = 1,
    /// SHA-256.
    Sha256 = 2,
    /// SHA-384.
    Sha384 = 3,
    /// SHA-512.
    Sha512 = 4,
    /// The message itself, as Ed25519 wants it (RFC 8420).
    Identity = 5,
}

impl Hash {
    /// The hashes that we announce, by their numbers, in SIGNATURE_HASH_ALGORITHMS.
    pub const ANNOUNCED: [u16; 4] = [
        Self::Sha256 as u16,
        Self::Sha384 as u16,
        Self::Sha512 as u16,
        Self::Identity as u16,
    ];

    fn oid(self) -> Option<ObjectIdentifier> {
        Some(match self {
            Self::Sha256 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1"),
            Self::Sha384 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2"),
            Self::Sha512 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3"),
            Self::Sha1 | Self::Identity => return None,
        })
    }

    fn octets(self) -> u8 {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
            Self::Identity => 0,
        }
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
            Self::Identity => "identity",
        })
    }
}

/// The curve of an ECDSA key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Curve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
}

impl Curve {
    /// The hash of the curve's strength.
    pub fn hash(self) -> Hash {
        match self {
            Self::P256 => Hash::Sha256,
            Self::P384 => Hash::Sha384,
            Self::P521 => Hash::Sha512,
        }
    }

    /// The method of RFC 4754, which has one hash only.
    pub fn method(self) -> AuthMethod {
        match self {
            Self::P256 => AuthMethod::Ecdsa256,
            Self::P384 => AuthMethod::Ecdsa384,
            Self::P521 => AuthMethod::Ecdsa521,
        }
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        })
    }
}

/// How a signature is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// RSASSA-PKCS1-v1.5.
    RsaPkcs1(Hash),
    /// RSASSA-PSS, with a salt as long as the hash.
    RsaPss(Hash),
    /// ECDSA.
    Ecdsa(Hash),
    /// Ed25519.
    Ed25519,
}

#[derive(Sequence)]
struct PssParameters<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    hash: Option<AlgorithmIdentifierRef<'a>>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    mask: Option<AlgorithmIdentifierRef<'a>>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    salt: Option<u8>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    trailer: Option<u8>,
}

impl Scheme {
    /// Every scheme that is announced and used without being named.
    const ALL: [Self; 10] = [
        Self::RsaPkcs1(Hash::Sha256),
        Self::RsaPkcs1(Hash::Sha384),
        Self::RsaPkcs1(Hash::Sha512),
        Self::RsaPss(Hash::Sha256),
        Self::RsaPss(Hash::Sha384),
        Self::RsaPss(Hash::Sha512),
        Self::Ecdsa(Hash::Sha256),
        Self::Ecdsa(Hash::Sha384),
        Self::Ecdsa(Hash::Sha512),
        Self::Ed25519,
    ];

    /// The hash it needs the peer to have.
    pub fn hash(self) -> Hash {
        match self {
            Self::RsaPkcs1(hash) | Self::RsaPss(hash) | Self::Ecdsa(hash) => hash,
            Self::Ed25519 => Hash::Identity,
        }
    }

    /// Whether a key of this kind can make it.
    pub fn fits(self, kind: KeyKind) -> bool {
        matches!(
            (self, kind),
            (Self::RsaPkcs1(_) | Self::RsaPss(_), KeyKind::Rsa { .. })
                | (Self::Ecdsa(_), KeyKind::Ecdsa(_))
                | (Self::Ed25519, KeyKind::Ed25519)
        )
    }

    /// The scheme for a key and the hashes that the peer announced; none if there is none, and the older methods are left.
    //= RFC 8247 §3.2: of RSA's schemes PSS is preferred
    //= RFC 7427 §4: a hash is used only if the peer announced it
    pub fn choose(kind: KeyKind, peer_hashes: &[u16]) -> Option<Self> {
        let preferred: &[Self] = match kind {
            KeyKind::Rsa { bits } if bits > 3072 => &[
                Self::RsaPss(Hash::Sha512),
                Self::RsaPss(Hash::Sha384),
                Self::RsaPss(Hash::Sha256),
            ],
            KeyKind::Rsa { .. } => &[
                Self::RsaPss(Hash::Sha256),
                Self::RsaPss(Hash::Sha384),
                Self::RsaPss(Hash::Sha512),
            ],
            KeyKind::Ecdsa(Curve::P256) => &[Self::Ecdsa(Hash::Sha256)],
            KeyKind::Ecdsa(Curve::P384) => &[Self::Ecdsa(Hash::Sha384)],
            KeyKind::Ecdsa(Curve::P521) => &[Self::Ecdsa(Hash::Sha512)],
            KeyKind::Ed25519 => &[Self::Ed25519],
        };
        preferred
            .iter()
            .copied()
            .find(|s| peer_hashes.contains(&(s.hash() as u16)))
    }

    /// The DER of its AlgorithmIdentifier.
    pub fn algorithm_identifier(self) -> Vec<u8> {
        // Every part is a constant; the tests encode each.
        self.encode().unwrap_or_default()
    }

    fn encode(self) -> der::Result<Vec<u8>> {
        let null = Some(AnyRef::from(Null));
        match self {
            Self::RsaPkcs1(hash) => {
                let last = match hash {
                    Hash::Sha1 | Hash::Identity => 5,
                    Hash::Sha256 => 11,
                    Hash::Sha384 => 12,
                    Hash::Sha512 => 13,
                };
                let oid = ObjectIdentifier::new(&format!("{RSA_ENCRYPTION_PREFIX}.{last}"))?;
                AlgorithmIdentifierRef {
                    oid,
                    parameters: null,
                }
                .to_der()
            }
            Self::RsaPss(hash) => {
                let oid = hash
                    .oid()
                    .ok_or_else(|| der::Error::from(der::ErrorKind::Failed))?;
                let hash_identifier = AlgorithmIdentifierRef {
                    oid,
                    parameters: null,
                };
                let inner = hash_identifier.to_der()?;
                let mask = AlgorithmIdentifierRef {
                    oid: MGF1,
                    parameters: Some(AnyRef::from_der(&inner)?),
                };
                let parameters = PssParameters {
                    hash: Some(hash_identifier),
                    mask: Some(mask),
                    salt: Some(hash.octets()),
                    trailer: Some(1),
                }
                .to_der()?;
                let parameters = Some(AnyRef::from_der(&parameters)?);
                AlgorithmIdentifierRef {
                    oid: PSS,
                    parameters,
                }
                .to_der()
            }
            Self::Ecdsa(hash) => {
                let text = match hash {
                    Hash::Sha1 | Hash::Identity => "1.2.840.10045.4.1",
                    Hash::Sha256 => "1.2.840.10045.4.3.2",
                    Hash::Sha384 => "1.2.840.10045.4.3.3",
                    Hash::Sha512 => "1.2.840.10045.4.3.4",
                };
                AlgorithmIdentifierRef {
                    oid: ObjectIdentifier::new(text)?,
                    parameters: None,
                }
                .to_der()
            }
            Self::Ed25519 => AlgorithmIdentifierRef {
                oid: ED25519,
                parameters: None,
            }
            .to_der(),
        }
    }

    /// The scheme that an AlgorithmIdentifier names; none if it is not DER, or if we do not have the scheme.
    ///
    /// SHA-1 is told apart so that a refusal can say so.
    pub fn from_algorithm_identifier(der: &[u8]) -> Option<Self> {
        let identifier = AlgorithmIdentifierRef::from_der(der).ok()?;
        if identifier.oid == PSS {
            return pss_hash(identifier.parameters?).map(Self::RsaPss);
        }
        let legacy = [Self::RsaPkcs1(Hash::Sha1), Self::Ecdsa(Hash::Sha1)];
        let same = |s: &Self| {
            let ours = s.algorithm_identifier();
            AlgorithmIdentifierRef::from_der(&ours).is_ok_and(|ours| ours.oid == identifier.oid)
        };
        let empty = identifier
            .parameters
            .is_none_or(|p| p == AnyRef::from(Null));
        Self::ALL
            .into_iter()
            .chain(legacy)
            .find(same)
            .filter(|_| empty)
    }
}

/// NULL and absent parameters are both seen, and mean the same.
fn is_bare(identifier: &AlgorithmIdentifierRef<'_>) -> bool {
    identifier
        .parameters
        .is_none_or(|p| p == AnyRef::from(Null))
}

/// The hash of PSS parameters in which everything fits together.
//= RFC 8247 §3.2: PSS with empty and with default parameters, which mean SHA-1, is refused
fn pss_hash(parameters: AnyRef<'_>) -> Option<Hash> {
    let parameters: PssParameters<'_> = parameters.decode_as().ok()?;
    let named = parameters.hash?;
    let oid = named.oid;
    let hash = [Hash::Sha256, Hash::Sha384, Hash::Sha512]
        .into_iter()
        .find(|h| h.oid() == Some(oid))?;
    let mask = parameters.mask?;
    let inner: AlgorithmIdentifierRef<'_> = mask.parameters?.decode_as().ok()?;
    let fits = mask.oid == MGF1
        && inner.oid == oid
        && is_bare(&named)
        && is_bare(&inner)
        && parameters.salt == Some(hash.octets())
        && parameters.trailer.is_none_or(|t| t == 1);
    fits.then_some(hash)
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RsaPkcs1(hash) => write!(f, "RSA PKCS#1 v1.5 with {hash}"),
            Self::RsaPss(hash) => write!(f, "RSA-PSS with {hash}"),
            Self::Ecdsa(hash) => write!(f, "ECDSA with {hash}"),
            Self::Ed25519 => f.write_str("Ed25519"),
        }
    }
}
