//! One certificate: what it says, and which identities it names.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha1::{Digest, Sha1};
use std::fmt;
use std::net::IpAddr;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{
    BasicConstraints, CrlDistributionPoints, KeyUsage, SubjectAltName, SubjectKeyIdentifier,
};

use super::{CertError, CertTime, KeyHash};
use crate::crypto::auth::PublicKey;
use crate::identity::{DistinguishedName, Identity};
use crate::wire::v2::IdType;

/// The octets of a certificate, at most.
pub const MAX_CERTIFICATE: usize = 32 * 1024;

/// Names in one certificate that are looked at, at most.
const MAX_NAMES: usize = 256;

/// A certificate that was parsed, and not yet trusted.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: CertificateDer<'static>,
    subject: DistinguishedName,
    issuer: DistinguishedName,
    serial: Vec<u8>,
    not_before: CertTime,
    not_after: CertTime,
    alternative_names: Vec<Identity>,
    public_key: PublicKey,
    key_hash: KeyHash,
    subject_key_id: Option<Vec<u8>>,
    is_authority: bool,
    /// How many authorities may stand between it and a peer's certificate.
    path_len: Option<u8>,
    may_issue: bool,
    may_sign: bool,
    crl_uris: Vec<String>,
}

impl Certificate {
    /// Parses PEM or DER; of several in PEM the first.
    ///
    /// # Errors
    /// If it is no certificate, is too large, or has a key that cannot be used.
    pub fn parse(bytes: &[u8]) -> Result<Self, CertError> {
        let der = if bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
            CertificateDer::from_pem_slice(bytes).map_err(|_| CertError::Malformed)?
        } else {
            CertificateDer::from(bytes).into_owned()
        };
        if der.len() > MAX_CERTIFICATE {
            return Err(CertError::TooLarge(der.len()));
        }
        Self::from_der(der).map_err(|e| e.unwrap_or(CertError::Malformed))
    }

    /// `None` as the error stands for a malformed one.
    fn from_der(der: CertificateDer<'static>) -> Result<Self, Option<CertError>> {
        fn malformed<E>(_: E) -> Option<CertError> {
            None
        }
        let parsed = x509_cert::Certificate::from_der(&der).map_err(malformed)?;
        let tbs = parsed.tbs_certificate();
        let subject = DistinguishedName::from_name(tbs.subject()).ok_or(None)?;
        let issuer = DistinguishedName::from_name(tbs.issuer()).ok_or(None)?;
        let spki = tbs.subject_public_key_info().to_der().map_err(malformed)?;
        let public_key = PublicKey::from_spki(&spki).map_err(|reason| {
            Some(CertError::Key {
                subject: subject.to_string(),
                reason,
            })
        })?;
        let constraints = tbs.get_extension::<BasicConstraints>().map_err(malformed)?;
        let usage = tbs
            .get_extension::<KeyUsage>()
            .map_err(malformed)?
            .map(|(_, usage)| usage);
        let names = tbs.get_extension::<SubjectAltName>().map_err(malformed)?;
        let points = tbs
            .get_extension::<CrlDistributionPoints>()
            .map_err(malformed)?;
        let key_id = tbs
            .get_extension::<SubjectKeyIdentifier>()
            .map_err(malformed)?;
        let seconds = |time: x509_cert::time::Time| CertTime(time.to_unix_duration().as_secs());
        Ok(Self {
            serial: tbs.serial_number().as_bytes().to_vec(),
            not_before: seconds(tbs.validity().not_before),
            not_after: seconds(tbs.validity().not_after),
            alternative_names: names.map_or_else(Vec::new, |(_, names)| identities(&names)),
            public_key,
            key_hash: Sha1::digest(&spki).into(),
            subject_key_id: key_id.map(|(_, id)| id.0.as_bytes().to_vec()),
            is_authority: constraints.as_ref().is_some_and(|(_, c)| c.ca),
            path_len: constraints.and_then(|(_, c)| c.path_len_constraint),
            may_issue: usage.as_ref().is_none_or(KeyUsage::key_cert_sign),
            //= RFC 4945 §5.1.3.2: a key usage, if there is one, has digitalSignature or nonRepudiation
            may_sign: usage.is_none_or(|u| u.digital_signature() || u.non_repudiation()),
            crl_uris: points.map_or_else(Vec::new, |(_, points)| uris(&points)),
            subject,
            issuer,
            der,
        })
    }

    /// Its DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    pub(super) fn pki_der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// Its subject.
    #[must_use]
    pub fn subject(&self) -> &DistinguishedName {
        &self.subject
    }

    /// Its issuer.
    #[must_use]
    pub fn issuer(&self) -> &DistinguishedName {
        &self.issuer
    }

    /// Its serial number, big-endian.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// Since when it is valid.
    #[must_use]
    pub fn not_before(&self) -> CertTime {
        self.not_before
    }

    /// Until when it is valid.
    #[must_use]
    pub fn not_after(&self) -> CertTime {
        self.not_after
    }

    /// The names beside its subject.
    #[must_use]
    pub fn alternative_names(&self) -> &[Identity] {
        &self.alternative_names
    }

    /// Its key.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The SHA-1 of its SubjectPublicKeyInfo, by which CERTREQ payloads name authorities.
    #[must_use]
    pub fn key_hash(&self) -> &KeyHash {
        &self.key_hash
    }

    /// Its subject key identifier.
    #[must_use]
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.subject_key_id.as_deref()
    }

    /// Whether it may issue certificates.
    #[must_use]
    pub fn is_authority(&self) -> bool {
        self.is_authority
    }

    /// Whether subject and issuer are the same.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.subject.matches(&self.issuer)
    }

    /// Whether it may issue certificates with this many authorities between it and the peer's.
    //= RFC 5280 §6.1.4: a key usage, if there is one, has keyCertSign; the path is no longer than its constraint
    pub(super) fn may_issue(&self, between: usize) -> bool {
        self.is_authority
            && self.may_issue
            && self.path_len.is_none_or(|max| between <= usize::from(max))
    }

    /// Whether its key may sign an AUTH payload.
    #[must_use]
    pub fn may_sign(&self) -> bool {
        self.may_sign
    }

    /// Where its issuer says that revocation lists are.
    #[must_use]
    pub fn crl_uris(&self) -> &[String] {
        &self.crl_uris
    }

    /// Whether it names this identity: as its subject, in its alternative names, or by its key identifier.
    //= RFC 4945 §3.1: an identity that is a name or an address stands in the subjectAltName, a DN is the subject
    #[must_use]
    pub fn names(&self, identity: &Identity) -> bool {
        match identity.kind() {
            IdType::DerAsn1Dn => Identity::from_name(&self.subject).names_the_same(identity),
            IdType::KeyId => {
                self.key_hash == *identity.data() || self.subject_key_id() == Some(identity.data())
            }
            _ => self
                .alternative_names
                .iter()
                .any(|name| name.names_the_same(identity)),
        }
    }

    /// Why it does not name this identity.
    pub(super) fn identity_error(&self, identity: &Identity) -> CertError {
        let mut names = vec![format!("`{}`", self.subject)];
        names.extend(
            self.alternative_names
                .iter()
                .take(8)
                .map(|n| format!("`{n}`")),
        );
        if self.alternative_names.is_empty() {
            names.push("nothing in subjectAltName".to_owned());
        }
        let (subject, identity) = (self.subject.to_string(), identity.to_string());
        CertError::Identity {
            subject,
            identity,
            names: names.join(", "),
        }
    }

    /// Checks that it is valid at a time.
    pub(super) fn check_time(&self, now: CertTime) -> Result<(), CertError> {
        let subject = || self.subject.to_string();
        if now < self.not_before {
            return Err(CertError::NotYetValid {
                subject: subject(),
                at: self.not_before,
            });
        }
        if now > self.not_after {
            return Err(CertError::Expired {
                subject: subject(),
                at: self.not_after,
            });
        }
        Ok(())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.subject)
    }
}

fn identities(names: &SubjectAltName) -> Vec<Identity> {
    let identity = |name: &GeneralName| match name {
        GeneralName::DnsName(name) => Some(Identity::new(IdType::Fqdn, name.as_bytes())),
        GeneralName::Rfc822Name(name) => {
            Some(Identity::new(IdType::Rfc822Address, name.as_bytes()))
        }
        GeneralName::IpAddress(octets) => {
            let v4 = <[u8; 4]>::try_from(octets.as_bytes()).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(octets.as_bytes()).map(IpAddr::from);
            v4.or(v6).ok().map(Identity::from)
        }
        GeneralName::DirectoryName(name) => {
            DistinguishedName::from_name(name).map(|name| Identity::from_name(&name))
        }
        _ => None,
    };
    names
        .0
        .iter()
        .take(MAX_NAMES)
        .filter_map(identity)
        .collect()
}

fn uris(points: &CrlDistributionPoints) -> Vec<String> {
    let mut uris = Vec::new();
    for point in points.0.iter().take(MAX_NAMES) {
        let Some(DistributionPointName::FullName(names)) = &point.distribution_point else {
            continue;
        };
        uris.extend(names.iter().take(MAX_NAMES).filter_map(|name| match name {
            GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
            _ => None,
        }));
    }
    uris
}
