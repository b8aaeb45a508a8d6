//! Which identities a connection takes, and how well one fits.

use std::fmt;

use super::{DistinguishedName, Identity, IdentityError};
use crate::wire::v2::IdType;

/// Which identities are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityPattern {
    /// Any (`%any`).
    Any,
    /// Just this one.
    Exact(Identity),
    /// Those that fit one with `*` in it: `*.example`, `*@example`, `C=CH, CN=*`.
    Wild(Identity),
}

/// Whether the text is one of those that stand for any identity.
pub(super) fn is_any(text: &str) -> bool {
    matches!(
        text,
        "%any" | "%any4" | "%any6" | "*" | "0.0.0.0" | "::" | "::0"
    )
}

impl IdentityPattern {
    /// Parses an identity as [`Identity::parse`] does, with `%any` and `*` beside.
    ///
    /// # Errors
    /// What is wrong with the text, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        if text.trim().is_empty() || is_any(text.trim()) {
            return Ok(Self::Any);
        }
        let id = Identity::parse(text)?;
        let wild = match id.kind() {
            IdType::Fqdn | IdType::Rfc822Address => id.data().starts_with(b"*"),
            IdType::DerAsn1Dn => DistinguishedName::from_der(id.data()).is_ok_and(|n| n.is_wild()),
            _ => false,
        };
        Ok(if wild {
            Self::Wild(id)
        } else {
            Self::Exact(id)
        })
    }

    /// Whether an identity is taken.
    #[must_use]
    pub fn matches(&self, id: &Identity) -> bool {
        self.score(id).is_some()
    }

    /// How well an identity fits, more being better; none if it is not taken. Only scores of one identity can be compared.
    #[must_use]
    pub fn score(&self, id: &Identity) -> Option<u32> {
        match self {
            Self::Any => Some(0),
            Self::Exact(expected) => expected.names_the_same(id).then_some(u32::MAX),
            Self::Wild(pattern) if pattern.kind() != id.kind() => None,
            Self::Wild(pattern) if pattern.kind() == IdType::DerAsn1Dn => {
                let pattern = DistinguishedName::from_der(pattern.data()).ok()?;
                let wild = DistinguishedName::from_der(id.data())
                    .ok()?
                    .fits(&pattern)?;
                // Fewer stars are better; a name has at most 64 parts.
                Some(1_000_000 - u32::try_from(wild).ok()?)
            }
            Self::Wild(pattern) => {
                let suffix = pattern.data().get(1..)?;
                let rest = id.data().len().checked_sub(suffix.len())?;
                let (star, end) = id.data().split_at_checked(rest)?;
                // A longer suffix says more. The star stands for at least one octet.
                let fits = end.eq_ignore_ascii_case(suffix) && !star.is_empty();
                fits.then_some(1 + u32::try_from(suffix.len()).ok()?)
            }
        }
    }

    /// The one identity that is taken, if it is one.
    #[must_use]
    pub fn exact(&self) -> Option<Identity> {
        match self {
            Self::Exact(id) => Some(id.clone()),
            Self::Any | Self::Wild(_) => None,
        }
    }
}

impl fmt::Display for IdentityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("%any"),
            Self::Exact(id) | Self::Wild(id) => id.fmt(f),
        }
    }
}
