//! Why a certificate is not believed.

use std::fmt;

use crate::crypto::auth::PublicKeyError;

/// Seconds since 1970, shown as a date in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertTime(pub u64);

impl fmt::Display for CertTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = std::time::Duration::from_secs(self.0);
        match der::DateTime::from_unix_duration(time) {
            Ok(date) => date.fmt(f),
            Err(_) => write!(f, "{} s after 1970", self.0),
        }
    }
}

/// Why a certificate or its chain is not believed; each says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertError {
    /// It is no certificate.
    #[error("this is no X.509 certificate in PEM or DER")]
    Malformed,
    /// It is too large.
    #[error("the certificate has {0} octets; adit takes {max}", max = super::MAX_CERTIFICATE)]
    TooLarge(usize),
    /// There are too many.
    #[error("the peer sent {0} certificates; adit takes {max}", max = super::MAX_CHAIN)]
    TooMany(usize),
    /// There are none, and none is known for the identity.
    #[error(
        "the peer sent no certificate, and none is loaded for its identity; load it, or let the peer send it"
    )]
    None,
    /// Its key cannot be used.
    #[error("the key of {subject} cannot be used: {reason}")]
    Key {
        /// The certificate.
        subject: String,
        /// What is wrong with the key.
        reason: PublicKeyError,
    },
    /// It has ended.
    #[error("the certificate of {subject} expired at {at}; renew it, or set the clock")]
    Expired {
        /// The certificate, which may be an authority's.
        subject: String,
        /// When it ended.
        at: CertTime,
    },
    /// It has not begun.
    #[error("the certificate of {subject} is not valid before {at}; set the clock, or wait")]
    NotYetValid {
        /// The certificate, which may be an authority's.
        subject: String,
        /// When it begins.
        at: CertTime,
    },
    /// Nobody known issued it.
    #[error(
        "no authority is known for {issuer}, which issued the certificate of {subject}; load its certificate as an authority"
    )]
    UnknownIssuer {
        /// The certificate without an issuer.
        subject: String,
        /// The issuer that it names.
        issuer: String,
    },
    /// An authority of this name is known, but it has another key.
    #[error(
        "the certificate of {subject} is not signed by the key of {issuer} that is loaded; has the authority been renewed?"
    )]
    Signature {
        /// The certificate.
        subject: String,
        /// The issuer that it names.
        issuer: String,
    },
    /// It was revoked.
    #[error("the certificate of {subject} is revoked; issue another")]
    Revoked {
        /// The certificate, which may be an authority's.
        subject: String,
    },
    /// Nothing says whether it was revoked, and the connection wants to know.
    #[error(
        "no revocation list covers the certificate of {subject}; load one, or set `revocation = relaxed`"
    )]
    RevocationUnknown {
        /// The peer's certificate.
        subject: String,
    },
    /// The revocation list is old, and the connection wants a current one.
    #[error(
        "the revocation list for the certificate of {subject} has expired; load a current one, or set `revocation = relaxed`"
    )]
    CrlExpired {
        /// The peer's certificate.
        subject: String,
    },
    /// The revocation list is not the authority's.
    #[error(
        "the revocation list for the certificate of {subject} is not signed by its issuer; load the right one"
    )]
    CrlSignature {
        /// The peer's certificate.
        subject: String,
    },
    /// An authority may not issue for these names.
    #[error(
        "the certificate of {subject} has names that its authority may not issue for (name constraints)"
    )]
    NameConstraint {
        /// The peer's certificate.
        subject: String,
    },
    /// Its extended key usages leave IKE out.
    #[error(
        "the extended key usages of {subject} leave IKE out; issue it without any, or with ipsecIKE or serverAuth"
    )]
    ExtendedKeyUsage {
        /// The peer's certificate.
        subject: String,
    },
    /// Its key may not sign.
    #[error("the key usage of {subject} leaves digitalSignature out; issue it with that")]
    KeyUsage {
        /// The peer's certificate.
        subject: String,
    },
    /// An authority's certificate is used as a peer's.
    #[error(
        "the certificate of {subject} is an authority's; issue one for the peer itself, or load it as the peer's certificate"
    )]
    AuthorityAsPeer {
        /// The peer's certificate.
        subject: String,
    },
    /// It was issued by somebody who is no authority.
    #[error(
        "the certificate of {subject} was issued by one that is no authority, or whose path length does not allow it"
    )]
    NotAnAuthority {
        /// The peer's certificate.
        subject: String,
    },
    /// The connection wants other certificates.
    #[error("the certificate of {subject} is not among those that the connection names in `certs`")]
    NotNamed {
        /// The peer's certificate.
        subject: String,
    },
    /// The connection wants other authorities.
    #[error(
        "the certificate of {subject} is trusted, but under none of the authorities that the connection names in `cacerts`"
    )]
    OtherAuthority {
        /// The peer's certificate.
        subject: String,
    },
    /// It does not name the peer's identity.
    #[error("the certificate of {subject} does not name {identity}; it names {names}")]
    Identity {
        /// The peer's certificate.
        subject: String,
        /// What the peer says it is.
        identity: String,
        /// What it could say.
        names: String,
    },
    /// Something in it is unsupported.
    #[error("the certificate of {subject} cannot be checked: {problem}")]
    Unsupported {
        /// The peer's certificate.
        subject: String,
        /// What it is.
        problem: String,
    },
}
