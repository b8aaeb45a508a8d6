//! Who a peer is: the identities of IKE, and patterns that take some of them (RFC 7296 §3.5, RFC 4945 §3.1).
//!
//! | file | what |
//! | --- | --- |
//! | this | an identity as it goes over the wire |
//! | `text` | identities as swanctl writes them |
//! | `distinguished_name` | `C=CH, O=adit, CN=gateway` and its DER |
//! | `pattern` | which identities a connection takes, and how well they fit |

mod distinguished_name;
mod pattern;
mod text;

pub use distinguished_name::DistinguishedName;
pub use pattern::IdentityPattern;
pub use text::IdentityError;

use std::net::IpAddr;

use crate::wire::v2::{IdType, Identification};

/// An identity of any type; two are equal if type and octets are.
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

    /// An identity of this type and these octets.
    #[must_use]
    pub fn new(kind: IdType, data: impl Into<Vec<u8>>) -> Self {
        let data = data.into();
        Self(Identification { kind, data })
    }

    /// The identity of a certificate's subject.
    #[must_use]
    pub fn from_name(name: &DistinguishedName) -> Self {
        Self::new(IdType::DerAsn1Dn, name.to_der())
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> IdType {
        self.0.kind
    }

    /// Its octets.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.0.data
    }

    /// The address, if it is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self.kind() {
            IdType::Ipv4Address => <[u8; 4]>::try_from(self.data()).ok().map(IpAddr::from),
            IdType::Ipv6Address => <[u8; 16]>::try_from(self.data()).ok().map(IpAddr::from),
            _ => None,
        }
    }

    /// Whether both name the same: names of domains and mailboxes whatever their case, distinguished names by their meaning.
    //= RFC 4945 §3.1.2, §3.1.3: names of domains and mailboxes are compared without regard to case
    #[must_use]
    pub fn names_the_same(&self, other: &Self) -> bool {
        if self.kind() != other.kind() {
            return false;
        }
        match self.kind() {
            IdType::Fqdn | IdType::Rfc822Address => self.data().eq_ignore_ascii_case(other.data()),
            IdType::DerAsn1Dn => {
                let names = (
                    DistinguishedName::from_der(self.data()),
                    DistinguishedName::from_der(other.data()),
                );
                match names {
                    (Ok(a), Ok(b)) => a.matches(&b),
                    _ => self == other,
                }
            }
            _ => self == other,
        }
    }
}

impl From<IpAddr> for Identity {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(a) => Self::new(IdType::Ipv4Address, a.octets()),
            IpAddr::V6(a) => Self::new(IdType::Ipv6Address, a.octets()),
        }
    }
}

#[cfg(test)]
mod tests;
