//! What control loaded: authorities, certificates that are trusted as they are, and revocation lists.

use std::sync::Arc;

use super::{CertError, Certificate, Crl, MAX_CHAIN};
use crate::identity::Identity;

/// The SHA-1 of a SubjectPublicKeyInfo.
pub type KeyHash = [u8; 20];

/// An authority, as swanctl's `authorities` and its `x509ca` folder name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Its name in the configuration, if it has one.
    pub name: Option<String>,
    /// Its certificate.
    pub certificate: Arc<Certificate>,
    /// Where its revocation lists are, beside what certificates say.
    pub crl_uris: Vec<String>,
}

impl Authority {
    /// An authority without a name.
    ///
    /// # Errors
    /// If the certificate is not an authority's.
    pub fn new(certificate: Certificate) -> Result<Self, CertError> {
        if !certificate.is_authority() {
            return Err(CertError::NotAnAuthority {
                subject: certificate.subject().to_string(),
            });
        }
        Ok(Self {
            name: None,
            certificate: Arc::new(certificate),
            crl_uris: Vec::new(),
        })
    }
}

/// Everything that is trusted, and the lists of what is no longer.
#[derive(Debug, Default)]
pub struct TrustStore {
    authorities: Vec<Authority>,
    certificates: Vec<Arc<Certificate>>,
    crls: Vec<Crl>,
}

impl TrustStore {
    /// Trusts an authority; one with the same certificate is replaced.
    pub fn add_authority(&mut self, authority: Authority) {
        self.authorities
            .retain(|a| a.certificate != authority.certificate);
        self.authorities.push(authority);
    }

    /// Trusts a peer's certificate as it is, whoever issued it.
    pub fn add_certificate(&mut self, certificate: Certificate) {
        if !self.certificates.iter().any(|c| **c == certificate) {
            self.certificates.push(Arc::new(certificate));
        }
    }

    /// Adds a revocation list, unless there is a newer one for the same certificates; whether it was added.
    pub fn add_crl(&mut self, crl: Crl) -> bool {
        let newer = |c: &Crl| c.covers_the_same(&crl) && c.this_update() > crl.this_update();
        if self.crls.iter().any(newer) {
            return false;
        }
        self.crls.retain(|c| !c.covers_the_same(&crl));
        self.crls.push(crl);
        true
    }

    /// Forgets every revocation list.
    pub fn flush_crls(&mut self) {
        self.crls.clear();
    }

    /// The authorities.
    #[must_use]
    pub fn authorities(&self) -> &[Authority] {
        &self.authorities
    }

    /// The certificates that are trusted as they are.
    #[must_use]
    pub fn certificates(&self) -> &[Arc<Certificate>] {
        &self.certificates
    }

    /// The revocation lists.
    #[must_use]
    pub fn crls(&self) -> &[Crl] {
        &self.crls
    }

    /// What a CERTREQ payload lists: the key hash of each authority, each once.
    //= RFC 7296 §3.7: the SHA-1 of the SubjectPublicKeyInfo of each trusted authority
    #[must_use]
    pub fn certreq(&self) -> Vec<KeyHash> {
        let mut hashes: Vec<_> = self
            .authorities
            .iter()
            .map(|a| *a.certificate.key_hash())
            .collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes
    }

    /// A certificate that is trusted as it is and names the identity, for a peer that sends none.
    #[must_use]
    pub fn certificate_of(&self, identity: &Identity) -> Option<&Arc<Certificate>> {
        self.certificates.iter().find(|c| c.names(identity))
    }

    /// The authorities between a certificate of ours and the root, in the order in which they are sent, without the root.
    #[must_use]
    pub fn intermediates_of(&self, certificate: &Certificate) -> Vec<Arc<Certificate>> {
        self.issuers_of(certificate)
            .into_iter()
            .filter(|c| !c.is_self_issued())
            .cloned()
            .collect()
    }

    /// Whether a certificate of ours stands under one of the authorities that a CERTREQ names; none named are all.
    #[must_use]
    pub fn is_wanted(&self, certificate: &Certificate, certreq: &[KeyHash]) -> bool {
        certreq.is_empty()
            || self
                .issuers_of(certificate)
                .iter()
                .any(|c| certreq.contains(c.key_hash()))
    }

    /// The issuer, its issuer and so on, as far as they are loaded.
    fn issuers_of(&self, certificate: &Certificate) -> Vec<&Arc<Certificate>> {
        let mut issuers: Vec<&Arc<Certificate>> = Vec::new();
        let mut issuer = certificate.issuer();
        while issuers.len() < MAX_CHAIN {
            let found = self
                .authorities
                .iter()
                .map(|a| &a.certificate)
                .find(|c| c.subject().matches(issuer) && !issuers.contains(c));
            let Some(found) = found else { break };
            issuers.push(found);
            if found.is_self_issued() {
                break;
            }
            issuer = found.issuer();
        }
        issuers
    }

    /// Where a path may end: roots, and authorities whose issuer is not loaded.
    pub(super) fn anchors(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.authorities
            .iter()
            .map(|a| &a.certificate)
            .filter(|c| self.is_anchor(c))
    }

    /// The other authorities, which a path may lead through.
    pub(super) fn intermediates(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.authorities
            .iter()
            .map(|a| &a.certificate)
            .filter(|c| !self.is_anchor(c))
    }

    fn is_anchor(&self, certificate: &Certificate) -> bool {
        certificate.is_self_issued()
            || !self
                .authorities
                .iter()
                .any(|a| a.certificate.subject().matches(certificate.issuer()))
    }
}
