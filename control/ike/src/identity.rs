//! Who a peer is: the identities of IKE, and patterns that take some of them (RFC 7296 §3.5).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::v2::{IdType, Identification};

/// An identity of any type; two are the same if type and octets are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity(Identification);

impl Identity {
    /// The identity of an ID payload.
    #[must_use]
    pub fn from_wire(id: &Identification) -> Self {
        Self(id.clone())
    }

    /// The ID payload of an identity.
    #[must_use]
    pub fn to_wire(&self) -> Identification {
        self.0.clone()
    }

    /// The identity that swanctl makes of a text: an address, a name with `@` inside, else a domain name.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if let Ok(address) = text.parse::<IpAddr>() {
            return address.into();
        }
        let (kind, text) = match text.strip_prefix('@') {
            Some(rest) => (IdType::Fqdn, rest),
            None if text.contains('@') => (IdType::Rfc822Address, text),
            None => (IdType::Fqdn, text),
        };
        Self(Identification {
            kind,
            data: text.into(),
        })
    }
}

impl From<IpAddr> for Identity {
    fn from(address: IpAddr) -> Self {
        let (kind, data) = match address {
            IpAddr::V4(a) => (IdType::Ipv4Address, a.octets().to_vec()),
            IpAddr::V6(a) => (IdType::Ipv6Address, a.octets().to_vec()),
        };
        Self(Identification { kind, data })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = &self.0.data[..];
        match self.0.kind {
            IdType::Ipv4Address => match <[u8; 4]>::try_from(data) {
                Ok(octets) => Ipv4Addr::from(octets).fmt(f),
                Err(_) => f.write_str("?"),
            },
            IdType::Ipv6Address => match <[u8; 16]>::try_from(data) {
                Ok(octets) => Ipv6Addr::from(octets).fmt(f),
                Err(_) => f.write_str("?"),
            },
            // Octets of a peer go to terminals and logs: nothing but plain text.
            _ => data.escape_ascii().fmt(f),
        }
    }
}

/// Which identities are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityPattern {
    /// Any (`%any`).
    Any,
    /// Just this one.
    Exact(Identity),
}

impl IdentityPattern {
    /// Whether an identity is taken.
    #[must_use]
    pub fn matches(&self, id: &Identity) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(expected) => expected == id,
        }
    }

    /// The one identity that is taken, if it is one.
    #[must_use]
    pub fn exact(&self) -> Option<Identity> {
        match self {
            Self::Any => None,
            Self::Exact(id) => Some(id.clone()),
        }
    }
}

impl fmt::Display for IdentityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("%any"),
            Self::Exact(id) => id.fmt(f),
        }
    }
}
