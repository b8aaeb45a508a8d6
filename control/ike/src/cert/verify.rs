//! Whether a peer's certificates can be trusted: path, time, revocation, usages, and the identity that they name.

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use std::sync::Arc;
use std::time::Duration;
use webpki::{
    ALL_VERIFICATION_ALGS, EndEntityCert, Error, ExpirationPolicy, RevocationCheckDepth,
    RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};

use super::usage::IkeUsage;
use super::{CertError, CertTime, Certificate, TrustStore};
use crate::identity::Identity;

/// The certificates that a peer may send, at most.
pub const MAX_CHAIN: usize = 8;

/// How much is wanted to know about revocation, as swanctl's `revocation` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Revocation {
    /// What is known to be revoked is refused.
    #[default]
    Relaxed,
    /// A current list is needed for a certificate that names where lists are.
    IfUri,
    /// A current list is needed for every certificate of the chain.
    Strict,
}

/// A peer's certificates that are to be verified: owned and `Send`, so that a pool of threads can run it.
#[derive(Clone, Debug)]
pub struct ChainJob {
    /// What is trusted.
    pub store: Arc<TrustStore>,
    /// DER as the peer sent it, its own certificate first; empty if it sent none.
    pub chain: Vec<Vec<u8>>,
    /// What the peer says it is.
    pub identity: Identity,
    /// The time.
    pub now: CertTime,
    /// The certificates of which the peer must have one, DER (swanctl's `certs`); empty for any that is trusted.
    pub certs: Vec<Arc<[u8]>>,
    /// The authorities of which one must stand in the chain, DER (swanctl's `cacerts`); empty for any.
    pub cacerts: Vec<Arc<[u8]>>,
    /// How much is wanted to know about revocation.
    pub revocation: Revocation,
}

/// A certificate that is trusted and names the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The peer's certificate; its key verifies AUTH.
    pub certificate: Arc<Certificate>,
    /// Where its path ends; none if it is trusted as it is.
    pub anchor: Option<Arc<Certificate>>,
}

impl ChainJob {
    /// Verifies.
    ///
    /// # Errors
    /// Why the peer is not believed.
    pub fn run(&self) -> Result<Verified, CertError> {
        if self.chain.len() > MAX_CHAIN {
            return Err(CertError::TooMany(self.chain.len()));
        }
        let certificate = match self.chain.first() {
            Some(der) => Arc::new(Certificate::parse(der)?),
            None => self
                .store
                .certificate_of(&self.identity)
                .ok_or(CertError::None)?
                .clone(),
        };
        let subject = || certificate.subject().to_string();
        //= RFC 7296 §3.5: what the ID payload says must be what the certificate names
        if !certificate.names(&self.identity) {
            return Err(certificate.identity_error(&self.identity));
        }
        let named = self.certs.iter().any(|der| **der == *certificate.der());
        if !self.certs.is_empty() && !named {
            return Err(CertError::NotNamed { subject: subject() });
        }
        if !certificate.may_sign() {
            return Err(CertError::KeyUsage { subject: subject() });
        }
        // What the configuration names itself needs no authority, unless it asks for one.
        let trusted = named || self.store.certificates().contains(&certificate);
        if trusted && self.cacerts.is_empty() && self.revocation == Revocation::Relaxed {
            certificate.check_time(self.now)?;
            if self.store.crls().iter().any(|crl| crl.lists(&certificate)) {
                return Err(CertError::Revoked { subject: subject() });
            }
            return Ok(Verified {
                certificate,
                anchor: None,
            });
        }
        let anchor = self.path(&certificate)?;
        Ok(Verified {
            certificate,
            anchor: Some(anchor),
        })
    }

    /// Finds a path to an anchor.
    fn path(&self, certificate: &Certificate) -> Result<Arc<Certificate>, CertError> {
        let mut others = Vec::new();
        for der in self.chain.iter().skip(1) {
            others.push(Arc::new(Certificate::parse(der)?));
        }
        others.extend(self.store.intermediates().cloned());
        let intermediates: Vec<CertificateDer<'_>> =
            others.iter().map(|c| c.pki_der().clone()).collect();
        let anchors: Vec<&Arc<Certificate>> = self.store.anchors().collect();
        let mut trust_anchors = Vec::new();
        let mut usable = Vec::new();
        for anchor in anchors {
            if let Ok(trust_anchor) = webpki::anchor_from_trusted_cert(anchor.pki_der()) {
                trust_anchors.push(trust_anchor);
                usable.push(anchor);
            }
        }
        let lists: Vec<_> = self.store.crls().iter().map(super::Crl::list).collect();
        let revocation = self.revocation_options(certificate, &lists)?;
        let explain = |error| self.explain(certificate, &others, error);
        let end_entity = EndEntityCert::try_from(certificate.pki_der()).map_err(explain)?;
        let anchor_of = |anchor: &TrustAnchor<'_>| {
            trust_anchors
                .iter()
                .position(|a| a == anchor)
                .and_then(|at| usable.get(at).copied())
        };
        let check = |path: &VerifiedPath<'_>| {
            let anchor = anchor_of(path.anchor()).ok_or(Error::UnknownIssuer)?;
            self.check_path(path, anchor)
        };
        let path = end_entity
            .verify_for_usage(
                ALL_VERIFICATION_ALGS,
                &trust_anchors,
                &intermediates,
                UnixTime::since_unix_epoch(Duration::from_secs(self.now.0)),
                IkeUsage,
                revocation,
                Some(&check),
            )
            .map_err(explain)?;
        let anchor = anchor_of(path.anchor()).ok_or_else(|| explain(Error::UnknownIssuer))?;
        Ok(anchor.clone())
    }

    /// What the library leaves out: the anchor's own time and path length, the authorities' key usages, and the authorities that the connection names.
    fn check_path(&self, path: &VerifiedPath<'_>, anchor: &Certificate) -> Result<(), Error> {
        let time = |at: CertTime| UnixTime::since_unix_epoch(Duration::from_secs(at.0));
        match anchor.check_time(self.now) {
            Err(CertError::Expired { at, .. }) => {
                return Err(Error::CertExpired {
                    time: time(self.now),
                    not_after: time(at),
                });
            }
            Err(_) => {
                let not_before = time(anchor.not_before());
                return Err(Error::CertNotValidYet {
                    time: time(self.now),
                    not_before,
                });
            }
            Ok(()) => {}
        }
        // From the peer's issuer upwards.
        let mut between = 0;
        for der in path.intermediate_certificates() {
            let issuer = Certificate::parse(&der.der()).map_err(|_| Error::BadDer)?;
            if !issuer.may_issue(between) {
                return Err(Error::EndEntityUsedAsCa);
            }
            between += usize::from(!issuer.is_self_issued());
        }
        if !anchor.may_issue(between) {
            return Err(Error::PathLenConstraintViolated);
        }
        let named = |der: &[u8]| self.cacerts.iter().any(|wanted| **wanted == *der);
        let under =
            named(anchor.der()) || path.intermediate_certificates().any(|c| named(&c.der()));
        if self.cacerts.is_empty() || under {
            Ok(())
        } else {
            Err(Error::CertDistrusted)
        }
    }

    fn revocation_options<'a>(
        &self,
        certificate: &Certificate,
        lists: &'a [&'a webpki::CertRevocationList<'a>],
    ) -> Result<Option<RevocationOptions<'a>>, CertError> {
        let needed = match self.revocation {
            Revocation::Strict => true,
            Revocation::IfUri => !certificate.crl_uris().is_empty(),
            Revocation::Relaxed => false,
        };
        let Ok(builder) = RevocationOptionsBuilder::new(lists) else {
            let subject = certificate.subject().to_string();
            return if needed {
                Err(CertError::RevocationUnknown { subject })
            } else {
                Ok(None)
            };
        };
        let (status, expiration) = if needed {
            (UnknownStatusPolicy::Deny, ExpirationPolicy::Enforce)
        } else {
            (UnknownStatusPolicy::Allow, ExpirationPolicy::Ignore)
        };
        let options = builder
            .with_depth(RevocationCheckDepth::Chain)
            .with_status_policy(status)
            .with_expiration_policy(expiration)
            .build();
        Ok(Some(options))
    }

    /// The reason in our words, with the certificate that it is about.
    fn explain(
        &self,
        certificate: &Certificate,
        others: &[Arc<Certificate>],
        error: Error,
    ) -> CertError {
        let subject = certificate.subject().to_string();
        let ours = || self.store.authorities().iter().map(|a| &*a.certificate);
        let all = || {
            std::iter::once(certificate)
                .chain(others.iter().map(|c| &**c))
                .chain(ours())
        };
        match error {
            Error::CertExpired { .. } | Error::CertNotValidYet { .. } => {
                // The library does not say which: the first of the path whose time is not now.
                let wrong = self
                    .walk(certificate, others)
                    .into_iter()
                    .find_map(|c| c.check_time(self.now).err());
                let wrong = wrong.or_else(|| all().find_map(|c| c.check_time(self.now).err()));
                wrong.unwrap_or(CertError::Unsupported {
                    subject,
                    problem: error.to_string(),
                })
            }
            Error::UnknownIssuer => {
                let last = self.walk(certificate, others).pop().unwrap_or(certificate);
                let (subject, issuer) = (last.subject().to_string(), last.issuer().to_string());
                CertError::UnknownIssuer { subject, issuer }
            }
            Error::InvalidSignatureForPublicKey
            | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => CertError::Signature {
                subject,
                issuer: certificate.issuer().to_string(),
            },
            Error::CertRevoked => {
                let listed = |c: &&Certificate| self.store.crls().iter().any(|crl| crl.lists(c));
                let revoked = all().find(listed).unwrap_or(certificate);
                CertError::Revoked {
                    subject: revoked.subject().to_string(),
                }
            }
            Error::UnknownRevocationStatus => CertError::RevocationUnknown { subject },
            Error::CrlExpired { .. } => CertError::CrlExpired { subject },
            Error::InvalidCrlSignatureForPublicKey | Error::IssuerNotCrlSigner => {
                CertError::CrlSignature { subject }
            }
            Error::NameConstraintViolation => CertError::NameConstraint { subject },
            // Our rule for usages answers with this.
            Error::EmptyEkuExtension | Error::RequiredEkuNotFoundContext(_) => {
                CertError::ExtendedKeyUsage { subject }
            }
            Error::CaUsedAsEndEntity => CertError::AuthorityAsPeer { subject },
            Error::EndEntityUsedAsCa | Error::PathLenConstraintViolated => {
                CertError::NotAnAuthority { subject }
            }
            // Our check of the path answers with this.
            Error::CertDistrusted => CertError::OtherAuthority { subject },
            other => CertError::Unsupported {
                subject,
                problem: other.to_string(),
            },
        }
    }

    /// The certificate, its issuer, the issuer's, by their names alone, as far as they are there.
    fn walk<'a>(
        &'a self,
        certificate: &'a Certificate,
        others: &'a [Arc<Certificate>],
    ) -> Vec<&'a Certificate> {
        let mut path = vec![certificate];
        let mut last = certificate;
        while path.len() <= MAX_CHAIN && !last.is_self_issued() {
            let known = self.store.authorities().iter().map(|a| &*a.certificate);
            let next = others
                .iter()
                .map(|c| &**c)
                .chain(known)
                .find(|c| c.subject().matches(last.issuer()));
            let Some(next) = next else { break };
            path.push(next);
            last = next;
        }
        path
    }
}
