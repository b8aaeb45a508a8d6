//! Revocation lists, whose signature is checked when they are used (RFC 5280 §5).

use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use std::fmt;
use webpki::{BorrowedCertRevocationList, CertRevocationList};
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode;

use super::{CertTime, Certificate};
use crate::identity::DistinguishedName;

/// The octets of a revocation list, at most.
pub const MAX_CRL: usize = 16 * 1024 * 1024;

/// A revocation list that was parsed, and not yet trusted.
pub struct Crl {
    list: CertRevocationList<'static>,
    issuer: DistinguishedName,
    this_update: CertTime,
    next_update: Option<CertTime>,
}

impl Crl {
    /// Parses PEM or DER.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let der = if bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
            let pem = CertificateRevocationListDer::from_pem_slice(bytes);
            pem.map_err(|_| "this is no revocation list in PEM".to_owned())?
        } else {
            CertificateRevocationListDer::from(bytes)
        };
        if der.len() > MAX_CRL {
            return Err(format!(
                "the revocation list has {} octets; adit takes {MAX_CRL}",
                der.len()
            ));
        }
        let parsed = CertificateList::<x509_cert::certificate::Rfc5280>::from_der(&der)
            .map_err(|_| "this is no revocation list in PEM or DER")?;
        let list = BorrowedCertRevocationList::from_der(&der)
            .and_then(|list| list.to_owned())
            .map_err(|e| format!("the revocation list cannot be used: {e}"))?;
        let seconds = |time: x509_cert::time::Time| CertTime(time.to_unix_duration().as_secs());
        Ok(Self {
            list: list.into(),
            issuer: DistinguishedName::from_name(&parsed.tbs_cert_list.issuer)
                .ok_or("the issuer of the revocation list has too many parts")?,
            this_update: seconds(parsed.tbs_cert_list.this_update),
            next_update: parsed.tbs_cert_list.next_update.map(seconds),
        })
    }

    /// Who issued it.
    #[must_use]
    pub fn issuer(&self) -> &DistinguishedName {
        &self.issuer
    }

    /// When it was issued.
    #[must_use]
    pub fn this_update(&self) -> CertTime {
        self.this_update
    }

    /// When the next one is due.
    #[must_use]
    pub fn next_update(&self) -> Option<CertTime> {
        self.next_update
    }

    pub(super) fn list(&self) -> &CertRevocationList<'static> {
        &self.list
    }

    /// Whether both cover the same certificates, so that the newer one takes the place of the older.
    pub(super) fn covers_the_same(&self, other: &Self) -> bool {
        self.issuer.matches(&other.issuer)
            && self.list.issuing_distribution_point() == other.list.issuing_distribution_point()
    }

    /// Whether it names the certificate, whoever signed it.
    pub(super) fn lists(&self, certificate: &Certificate) -> bool {
        self.issuer.matches(certificate.issuer())
            && matches!(self.list.find_serial(certificate.serial()), Ok(Some(_)))
    }
}

impl fmt::Debug for Crl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crl({}, {})", self.issuer, self.this_update)
    }
}
