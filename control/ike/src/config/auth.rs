//! How an end proves who it is.

use std::sync::Arc;

use crate::identity::{Identity, IdentityPattern};

/// A way of proving an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthMethod {
    /// A secret that both ends know (RFC 7296 §2.15).
    Psk,
    /// A signature with a private key, certificate or raw public key (RFC 7296 §2.15, RFC 7427).
    PublicKey,
    /// EAP (RFC 7296 §2.16).
    Eap,
    /// None at all (RFC 7619).
    Null,
}

/// Who knows the passwords of EAP peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EapBackend {
    /// We do, by EAP-MSCHAPv2.
    #[default]
    Local,
    /// A RADIUS server does, by whatever method it likes.
    Radius,
}

/// What this end does to prove who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalAuth {
    /// The identity to show; none: the certificate's subject, or the address.
    pub id: Option<Identity>,
    /// The way.
    pub method: AuthMethod,
    /// The identity of an EAP client, where it differs from `id`.
    pub eap_id: Option<String>,
    /// Certificates that may be used, DER; none stands for any with a private key.
    pub certs: Vec<Arc<[u8]>>,
}

impl LocalAuth {
    /// This way, nothing else set.
    #[must_use]
    pub const fn new(method: AuthMethod) -> Self {
        Self {
            id: None,
            method,
            eap_id: None,
            certs: Vec::new(),
        }
    }
}

/// What the peer must do to prove who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteAuth {
    /// Which identities are taken.
    pub id: IdentityPattern,
    /// The way.
    pub method: AuthMethod,
    /// Certificates or raw public keys of which the peer must have one, DER; none stands for any that is trusted.
    pub certs: Vec<Arc<[u8]>>,
    /// Authorities of which one must stand in the peer's chain, DER; none stands for any that is trusted.
    pub cacerts: Vec<Arc<[u8]>>,
    /// With EAP: who knows the passwords.
    pub eap: EapBackend,
}

impl RemoteAuth {
    /// This way, for identities of this pattern.
    #[must_use]
    pub const fn new(method: AuthMethod, id: IdentityPattern) -> Self {
        Self {
            id,
            method,
            certs: Vec::new(),
            cacerts: Vec::new(),
            eap: EapBackend::Local,
        }
    }
}
