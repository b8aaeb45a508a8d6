//! Distinguished names: swanctl's text, the DER, and whether two mean the same (RFC 5280 §7.1).

use der::asn1::{Any, Ia5StringRef, ObjectIdentifier, PrintableStringRef, SetOfVec, Utf8StringRef};
use der::{Decode, Encode, Tag, Tagged};
use std::fmt;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};

/// Relative names in one name, at most.
const MAX_PARTS: usize = 64;

/// The attributes that have a short name, as swanctl knows them.
static ATTRIBUTES: &[(&str, &str)] = &[
    ("CN", "2.5.4.3"),
    ("SN", "2.5.4.5"),
    ("S", "2.5.4.4"),
    ("C", "2.5.4.6"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("STREET", "2.5.4.9"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("T", "2.5.4.12"),
    ("D", "2.5.4.13"),
    ("N", "2.5.4.41"),
    ("G", "2.5.4.42"),
    ("I", "2.5.4.43"),
    ("dnQualifier", "2.5.4.46"),
    ("E", "1.2.840.113549.1.9.1"),
    ("unstructuredName", "1.2.840.113549.1.9.2"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("DC", "0.9.2342.19200300.100.1.25"),
];

/// Other spellings of them.
static ALIASES: &[(&str, &str)] = &[
    ("Email", "E"),
    ("emailAddress", "E"),
    ("serialNumber", "SN"),
    ("UN", "unstructuredName"),
];

/// A distinguished name: relative names in their order, the largest unit first as swanctl writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistinguishedName(Vec<Vec<Attribute>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Attribute {
    oid: ObjectIdentifier,
    value: Any,
}

impl DistinguishedName {
    /// Parses `C=CH, O=example, CN=gate` or `/C=CH/O=example/CN=gate`.
    ///
    /// A backslash takes away the meaning of the sign behind it, and quotation marks of what is between them.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let separator = if text.starts_with('/') { '/' } else { ',' };
        let mut parts = Vec::new();
        for part in split(text.strip_prefix('/').unwrap_or(text), separator)? {
            let (name, value) = part
                .split_once('=')
                .ok_or("a part of the distinguished name has no `=`")?;
            parts.push(vec![Attribute::from_text(
                name.trim(),
                &unescape(value.trim()),
            )?]);
        }
        if parts.len() > MAX_PARTS {
            return Err("the distinguished name has too many parts");
        }
        Ok(Self(parts))
    }

    /// The name that the DER is.
    ///
    /// # Errors
    /// If it is not one, or has more than 64 parts.
    pub fn from_der(der: &[u8]) -> Result<Self, der::Error> {
        Self::from_name(&Name::from_der(der)?).ok_or_else(|| der::ErrorKind::Failed.into())
    }

    pub(crate) fn from_name(name: &Name) -> Option<Self> {
        let attributes = |rdn: &RelativeDistinguishedName| {
            rdn.iter()
                .map(|a| Attribute {
                    oid: a.oid,
                    value: a.value.clone(),
                })
                .collect()
        };
        (name.len() <= MAX_PARTS).then(|| Self(name.iter_rdn().map(attributes).collect()))
    }

    /// Its DER.
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        let mut sequence = RdnSequence::default();
        for part in &self.0 {
            let attributes: Vec<_> = part
                .iter()
                .map(|a| AttributeTypeAndValue {
                    oid: a.oid,
                    value: a.value.clone(),
                })
                .collect();
            // Parts come from a text, with one attribute each, or were parsed from such a set.
            if let Ok(set) = SetOfVec::try_from(attributes) {
                sequence.push(RelativeDistinguishedName::from(set));
            }
        }
        sequence.to_der().unwrap_or_default()
    }

    /// Whether there are no parts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether both mean the same: the same attributes in the same order, texts compared without regard to case and to
    /// how many spaces there are.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().zip(&other.0).all(|(a, b)| {
                a.len() == b.len()
                    && a.iter()
                        .zip(b)
                        .all(|(a, b)| a.oid == b.oid && a.has_value_of(b))
            })
    }

    /// Whether this name fits a pattern in which the value `*` stands for any, and how many of them it has.
    pub(super) fn fits(&self, pattern: &Self) -> Option<usize> {
        if self.0.len() != pattern.0.len() {
            return None;
        }
        let mut wild = 0;
        for (ours, theirs) in self.0.iter().zip(&pattern.0) {
            if ours.len() != theirs.len() {
                return None;
            }
            for (ours, theirs) in ours.iter().zip(theirs) {
                if ours.oid != theirs.oid {
                    return None;
                }
                if theirs.is_wild() {
                    wild += 1;
                } else if !ours.has_value_of(theirs) {
                    return None;
                }
            }
        }
        Some(wild)
    }

    /// Whether a value is `*`.
    pub(super) fn is_wild(&self) -> bool {
        self.0.iter().flatten().any(Attribute::is_wild)
    }
}

impl Attribute {
    fn from_text(name: &str, value: &str) -> Result<Self, &'static str> {
        let alias = ALIASES
            .iter()
            .find(|(alias, _)| alias.eq_ignore_ascii_case(name));
        let name = alias.map_or(name, |(_, name)| name);
        let known = ATTRIBUTES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        let oid = known.map_or(name, |(_, oid)| oid);
        let oid = ObjectIdentifier::new(oid)
            .map_err(|_| "the distinguished name has an attribute that is not known")?;
        if value.is_empty() {
            return Err("a part of the distinguished name has no value");
        }
        let ia5 = matches!(known, Some(("E" | "DC" | "unstructuredName", _)));
        let value = match (Ia5StringRef::new(value), PrintableStringRef::new(value)) {
            (Ok(text), _) if ia5 => Any::from(text),
            (_, Ok(text)) => Any::from(text),
            _ => Utf8StringRef::new(value)
                .map(Any::from)
                .map_err(|_| "a value is too long")?,
        };
        Ok(Self { oid, value })
    }

    fn text(&self) -> Option<&str> {
        match self.value.tag() {
            Tag::PrintableString | Tag::Utf8String | Tag::Ia5String => {
                std::str::from_utf8(self.value.value()).ok()
            }
            // Latin-1, of which the part that is ASCII is common.
            Tag::TeletexString => std::str::from_utf8(self.value.value())
                .ok()
                .filter(|t| t.is_ascii()),
            _ => None,
        }
    }

    fn is_wild(&self) -> bool {
        self.value.value() == b"*"
    }

    fn has_value_of(&self, other: &Self) -> bool {
        match (self.text(), other.text()) {
            //= RFC 5280 §7.1: case and repeated spaces have no meaning
            (Some(a), Some(b)) => {
                let words = |t: &str| {
                    t.split_whitespace()
                        .map(str::to_lowercase)
                        .collect::<Vec<_>>()
                };
                a == b || words(a) == words(b)
            }
            _ => self.value == other.value,
        }
    }
}

/// Splits at separators that are neither escaped nor quoted; empty parts are left out.
fn split(text: &str, separator: char) -> Result<Vec<String>, &'static str> {
    let mut parts = vec![String::new()];
    let (mut escaped, mut quoted) = (false, false);
    for c in text.chars() {
        if c == separator && !escaped && !quoted {
            parts.push(String::new());
            continue;
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    if quoted || escaped {
        return Err("a quotation mark or a backslash has no end");
    }
    parts.retain(|p| !p.trim().is_empty());
    Ok(parts)
}

fn unescape(value: &str) -> String {
    let value = match value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) {
        Some(inner) => inner,
        None => value,
    };
    let mut escaped = false;
    value
        .chars()
        .filter(|c| {
            let keep = *c != '\\' || escaped;
            escaped = !keep;
            keep
        })
        .collect()
}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for part in &self.0 {
            for attribute in part {
                write!(f, "{between}{attribute}")?;
                between = "+";
            }
            between = ", ";
        }
        Ok(())
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let oid = self.oid.to_string();
        let name = ATTRIBUTES
            .iter()
            .find(|(_, known)| *known == oid)
            .map_or(&*oid, |(name, _)| name);
        write!(f, "{name}=")?;
        let Some(text) = self.text() else {
            return write!(
                f,
                "#{}",
                self.value
                    .value()
                    .iter()
                    .map(|b| format!("{b:02x}"))
                    .collect::<String>()
            );
        };
        // A name comes from a certificate: nothing in it reaches a terminal as a control sequence.
        for c in text.chars() {
            match c {
                ',' | '\\' | '"' => write!(f, "\\{c}")?,
                c if c.is_control() => write!(f, "{}", c.escape_unicode())?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}
