//! Identities as swanctl writes them: `gate.example`, `@gate.example`, `me@example`, `10.0.0.1`, `@#0a0b`, `C=CH, CN=gate`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::{DistinguishedName, Identity};
use crate::wire::v2::IdType;

/// An identity is not longer than this; a distinguished name's text is bounded alike.
const MAX_TEXT: usize = 1024;

/// Why a text is no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}: {problem}; {remedy}")]
pub struct IdentityError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub problem: &'static str,
    /// What to write instead.
    pub remedy: &'static str,
}

impl Identity {
    /// Parses an identity.
    ///
    /// A prefix `ipv4:`, `ipv6:`, `fqdn:`, `dns:`, `rfc822:`, `email:`, `userfqdn:`, `asn1dn:` or `keyid:` names the type;
    /// without one, an address is an address, a text with `=` a distinguished name, `@#` begins a key ID in hexadecimal,
    /// a text with `@` inside is a mailbox, and everything else (`@` before it or not) is a domain name.
    ///
    /// # Errors
    /// What is wrong with the text, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let text = text.trim();
        let wrong = |problem, remedy| {
            Err(IdentityError {
                text: text.chars().take(80).collect(),
                problem,
                remedy,
            })
        };
        if text.is_empty() {
            return wrong(
                "the identity is empty",
                "write `%any`, or leave the key out",
            );
        }
        if text.len() > MAX_TEXT {
            return wrong("the identity is too long", "write at most 1024 octets");
        }
        if super::pattern::is_any(text) {
            return wrong("this stands for any identity", "name one");
        }
        let (kind, rest) = prefixed(text).unwrap_or_else(|| guessed(text));
        let data = match kind {
            IdType::Ipv4Address | IdType::Ipv6Address => {
                return match rest.parse::<IpAddr>().map(Self::from) {
                    Ok(id) if id.kind() == kind => Ok(id),
                    _ => wrong(
                        "this is no address of its family",
                        "write it like 192.0.2.1 or 2001:db8::1",
                    ),
                };
            }
            IdType::DerAsn1Dn => match rest.strip_prefix('#').map(from_hex) {
                Some(Some(der)) if DistinguishedName::from_der(&der).is_ok() => der,
                Some(_) => {
                    return wrong(
                        "this is no distinguished name in DER",
                        "write it like `C=CH, CN=gate`",
                    );
                }
                None => match DistinguishedName::parse(rest) {
                    Ok(name) => name.to_der(),
                    Err(problem) => {
                        return wrong(
                            problem,
                            "write it like `C=CH, O=example, CN=gate`, or put `keyid:` before other text",
                        );
                    }
                },
            },
            _ => match rest.strip_prefix('#') {
                Some(hex) => match from_hex(hex) {
                    Some(data) => data,
                    None => {
                        return wrong(
                            "this is not hexadecimal",
                            "write pairs of digits behind the `#`",
                        );
                    }
                },
                None => rest.as_bytes().to_vec(),
            },
        };
        if data.is_empty() {
            return wrong("the identity is empty", "write the name behind its type");
        }
        Ok(Self::new(kind, data))
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        Self::parse(text)
    }
}

fn prefixed(text: &str) -> Option<(IdType, &str)> {
    let (prefix, rest) = text.split_once(':')?;
    let kind = match prefix.to_ascii_lowercase().as_str() {
        "ipv4" => IdType::Ipv4Address,
        "ipv6" => IdType::Ipv6Address,
        "fqdn" | "dns" => IdType::Fqdn,
        "rfc822" | "email" | "userfqdn" => IdType::Rfc822Address,
        "asn1dn" => IdType::DerAsn1Dn,
        "keyid" => IdType::KeyId,
        _ => return None,
    };
    Some((kind, rest.trim()))
}

fn guessed(text: &str) -> (IdType, &str) {
    match text.parse() {
        Ok(IpAddr::V4(_)) => return (IdType::Ipv4Address, text),
        Ok(IpAddr::V6(_)) => return (IdType::Ipv6Address, text),
        Err(_) => {}
    }
    if let Some(rest) = text.strip_prefix('@') {
        return match rest.strip_prefix('@') {
            Some(mailbox) => (IdType::Rfc822Address, mailbox),
            None if rest.starts_with('#') => (IdType::KeyId, rest),
            None => (IdType::Fqdn, rest),
        };
    }
    if text.contains('=') {
        (IdType::DerAsn1Dn, text)
    } else if text.contains('@') {
        (IdType::Rfc822Address, text)
    } else {
        (IdType::Fqdn, text)
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|c| *c != ':')
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect();
    let digits = digits.filter(|d| d.len().is_multiple_of(2))?;
    Some(
        digits
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect(),
    )
}

impl fmt::Display for Identity {
    /// As people write it; octets of a peer come out as plain text only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = self.address() {
            return address.fmt(f);
        }
        let readable = self.data().iter().all(|b| (b' '..=b'~').contains(b));
        match self.kind() {
            IdType::DerAsn1Dn => match DistinguishedName::from_der(self.data()) {
                Ok(name) => name.fmt(f),
                Err(_) => hex(f, self.data()),
            },
            IdType::KeyId if readable => write!(f, "keyid:{}", self.data().escape_ascii()),
            IdType::Fqdn | IdType::Rfc822Address => self.data().escape_ascii().fmt(f),
            IdType::Null => f.write_str("%null"),
            _ => hex(f, self.data()),
        }
    }
}

fn hex(f: &mut fmt::Formatter<'_>, data: &[u8]) -> fmt::Result {
    f.write_str("@#")?;
    data.iter()
        .take(64)
        .try_for_each(|b| write!(f, "{b:02x}"))?;
    f.write_str(if data.len() > 64 { "…" } else { "" })
}
