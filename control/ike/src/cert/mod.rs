//! Certificates: reading them, trusting them, and saying why not (RFC 4945, RFC 5280).
//!
//! | file | what |
//! | --- | --- |
//! | `certificate` | one certificate, and the identities it names |
//! | `crl` | revocation lists |
//! | `store` | authorities, trusted certificates and lists, as control loaded them |
//! | `verify` | whether a peer's chain can be trusted, at a time that is an argument |
//! | `usage` | the rules for key usages |
//! | `error` | the reasons, told apart |

mod certificate;
mod crl;
mod error;
mod store;
mod usage;
mod verify;

pub use certificate::{Certificate, MAX_CERTIFICATE};
pub use crl::{Crl, MAX_CRL};
pub use error::{CertError, CertTime};
pub use store::{Authority, KeyHash, TrustStore};
pub use verify::{ChainJob, MAX_CHAIN, Revocation, Verified};

#[cfg(test)]
mod tests;
