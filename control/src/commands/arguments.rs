//! Reading a command's arguments: every key once, every key known.

use std::net::IpAddr;
use std::str::FromStr;

use adit_abi::{Address, FromPacket, Protocol, SaKey, Spi};
use adit_vici::{Element, Message};

use crate::config::{flag_named, flag_names};
use crate::selector_syntax::SelectorSide;

/// The arguments of a command whose keys are all known.
pub(super) struct Arguments<'a> {
    message: &'a Message,
}

impl<'a> Arguments<'a> {
    /// Refuses what is not in the list of keys, and what is there twice.
    pub fn check(message: &'a Message, known: &[&str]) -> Result<Self, String> {
        let mut seen = Vec::new();
        for (key, _) in message.elements() {
            if !known.contains(&key) {
                return Err(format!(
                    "unknown key {key:?}: the keys are {}",
                    known.join(", ")
                ));
            }
            if seen.contains(&key) {
                return Err(format!("the key {key:?} is there twice"));
            }
            seen.push(key);
        }
        Ok(Self { message })
    }

    /// Octets.
    pub fn bytes(&self, key: &str) -> Result<Option<&'a [u8]>, String> {
        match self.message.element(key) {
            None => Ok(None),
            Some(Element::Value(_)) => Ok(self.message.bytes(key)),
            Some(_) => Err(format!("{key} must be a value")),
        }
    }

    /// Text.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>, String> {
        self.bytes(key)?
            .map(|b| std::str::from_utf8(b).map_err(|_| format!("{key} must be text")))
            .transpose()
    }

    /// Text that must be there.
    pub fn needed(&self, key: &str) -> Result<&'a str, String> {
        self.text(key)?.ok_or_else(|| format!("{key} is missing"))
    }

    /// A number, decimal or hexadecimal after `0x`.
    pub fn number<T: TryFrom<u64>>(&self, key: &str) -> Result<Option<T>, String> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        let number = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        };
        number
            .and_then(|n| T::try_from(n).ok())
            .map(Some)
            .ok_or_else(|| format!("{key} is {text:?}, expected a number that fits"))
    }

    /// `yes` or `no`, `no` where it is left out.
    pub fn flag(&self, key: &str) -> Result<bool, String> {
        match self.text(key)? {
            None | Some("no") => Ok(false),
            Some("yes") => Ok(true),
            Some(other) => Err(format!("{key} is {other:?}, expected yes or no")),
        }
    }

    /// One word of a list.
    pub fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Result<Option<T>, String> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        match words.iter().find(|(w, _)| *w == text) {
            Some((_, value)) => Ok(Some(*value)),
            None => {
                let names: Vec<_> = words.iter().map(|(w, _)| *w).collect();
                Err(format!(
                    "{key} is {text:?}, expected {}",
                    names.join(" or ")
                ))
            }
        }
    }

    /// An address that must be there.
    pub fn address(&self, key: &str) -> Result<Address, String> {
        let text = self.needed(key)?;
        IpAddr::from_str(text)
            .map(Address::from)
            .map_err(|_| format!("{key} is {text:?}, expected an IPv4 or IPv6 address"))
    }

    /// An address that may be left out.
    pub fn optional_address(&self, key: &str) -> Result<Option<Address>, String> {
        match self.text(key)? {
            None => Ok(None),
            Some(_) => self.address(key).map(Some),
        }
    }

    /// An SPI that must be there.
    pub fn spi(&self) -> Result<Spi, String> {
        let spi = self.number("spi")?.ok_or("spi is missing")?;
        Ok(Spi(spi))
    }

    /// `esp` or `ah`; the first where it is left out.
    pub fn protocol(&self) -> Result<Protocol, String> {
        let words = [("esp", Protocol::Esp), ("ah", Protocol::Ah)];
        Ok(self.word("protocol", &words)?.unwrap_or(Protocol::Esp))
    }

    /// `spi`, `protocol` and `dst`.
    pub fn sa_key(&self) -> Result<SaKey, String> {
        let (protocol, spi) = (self.protocol()?, self.spi()?);
        Ok(SaKey::of(protocol, spi, self.address("dst")?))
    }

    /// A list of selector sides that must be there.
    pub fn sides(&self, key: &str) -> Result<Vec<SelectorSide>, String> {
        let Some(element) = self.message.element(key) else {
            return Err(format!("{key} is missing"));
        };
        let items = match element {
            Element::List(items) if !items.is_empty() => items,
            _ => return Err(format!("{key} must be a list with at least one item")),
        };
        let mut sides = Vec::new();
        for item in items {
            let text = item.as_str();
            let text = text.ok_or_else(|| format!("{key} must be text"))?;
            let some = SelectorSide::parse_list(text)
                .map_err(|e| format!("{key}: {text:?} found, expected {e}"))?;
            sides.extend(some);
        }
        Ok(sides)
    }

    /// Whether a key is there.
    pub fn has(&self, key: &str) -> bool {
        self.message.element(key).is_some()
    }

    /// PFP flags: a list of their names.
    pub fn packet_fields(&self, key: &str) -> Result<FromPacket, String> {
        let items = match self.message.element(key) {
            None => return Ok(FromPacket::default()),
            Some(Element::List(items)) => items,
            Some(_) => return Err(format!("{key} must be a list")),
        };
        items.iter().try_fold(FromPacket::default(), |flags, item| {
            let name = item.as_str().unwrap_or_default();
            flag_named(name)
                .map(|flag| flags.with(flag))
                .ok_or_else(|| format!("{key}: {name:?} found, expected {}", flag_names()))
        })
    }
}
