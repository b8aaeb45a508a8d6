//! Single values: numbers within bounds, words of a list, times, addresses, selectors.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use adit_abi::{Address, FromPacket};
use toml::Spanned;

use super::error::{Report, join};
use super::raw::{Field, RawTime};
use crate::selector_syntax::SelectorSide;

/// A section under check.
pub(super) struct Section<'r, 'a> {
    pub report: &'r mut Report<'a>,
    pub name: String,
    /// Where the section begins, for keys that are missing.
    pub span: std::ops::Range<usize>,
}

impl Section<'_, '_> {
    pub fn key(&self, key: &str) -> String {
        join(&self.name, key)
    }

    pub fn wrong<T>(
        &mut self,
        key: &str,
        at: &Spanned<T>,
        found: impl Into<String>,
        expected: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let key = self.key(key);
        self.report.add(at.span(), key, found, expected, remedy);
    }

    pub fn missing(&mut self, key: &str, expected: &str, remedy: impl Into<String>) {
        let key = self.key(key);
        self.report
            .add(self.span.clone(), key, "missing", expected, remedy);
    }

    /// A number within bounds; `default` where it is left out or wrong.
    pub fn number<T: TryFrom<i64>>(
        &mut self,
        key: &str,
        field: &Field<i64>,
        bounds: RangeInclusive<i64>,
        default: T,
        remedy: &str,
    ) -> T {
        let Some(value) = field else { return default };
        let n = *value.get_ref();
        if bounds.contains(&n)
            && let Ok(n) = T::try_from(n)
        {
            return n;
        }
        let expected = format!("{} to {}", bounds.start(), bounds.end());
        self.wrong(key, value, format!("{n} found"), expected, remedy);
        default
    }

    /// One word of a list.
    pub fn word<T: Copy>(
        &mut self,
        key: &str,
        field: &Field<String>,
        words: &[(&str, T)],
        default: T,
    ) -> T {
        let Some(value) = field else { return default };
        let text = value.get_ref().as_str();
        if let Some((_, t)) = words.iter().find(|(w, _)| w.eq_ignore_ascii_case(text)) {
            return *t;
        }
        let names: Vec<_> = words.iter().map(|(w, _)| format!("{w:?}")).collect();
        let near: Vec<_> = words.iter().map(|(w, _)| (*w).to_owned()).collect();
        let remedy = super::error::nearest(text, &near)
            .map_or(String::new(), |w| format!("did you mean {w:?}?"));
        let expected = names.join(" or ");
        self.wrong(key, value, format!("{text:?} found"), expected, remedy);
        default
    }

    /// A flag.
    pub fn flag(&self, field: &Field<bool>, default: bool) -> bool {
        field.as_ref().map_or(default, |v| *v.get_ref())
    }

    /// A time in seconds; 0 where it is left out or wrong.
    pub fn time(&mut self, key: &str, field: &Field<RawTime>) -> u64 {
        let Some(value) = field else { return 0 };
        let seconds = match value.get_ref() {
            RawTime::Seconds(n) => u64::try_from(*n).ok(),
            RawTime::Text(text) => parse_time(text),
        };
        seconds.unwrap_or_else(|| {
            let found = match value.get_ref() {
                RawTime::Seconds(n) => format!("{n} found"),
                RawTime::Text(text) => format!("{text:?} found"),
            };
            self.wrong(
                key,
                value,
                found,
                "seconds, or a number with s, m, h or d behind it",
                "write for example 3600 or \"1h\"",
            );
            0
        })
    }

    /// The one unicast address of a list.
    pub fn one_address(
        &mut self,
        key: &str,
        field: &Field<Vec<Spanned<String>>>,
    ) -> Option<Address> {
        const EXPECTED: &str = "one IPv4 or IPv6 address";
        let Some(list) = field else {
            self.missing(key, EXPECTED, format!("add {key} = [\"192.0.2.1\"]"));
            return None;
        };
        let [one] = list.get_ref().as_slice() else {
            let n = list.get_ref().len();
            let remedy = "a manually keyed SA has one address on each side";
            self.wrong(key, list, format!("{n} addresses found"), EXPECTED, remedy);
            return None;
        };
        match one.get_ref().parse::<IpAddr>() {
            Ok(ip) if !ip.is_unspecified() && !ip.is_multicast() => Some(ip.into()),
            _ => {
                let found = format!("{:?} found", one.get_ref());
                self.wrong(
                    key,
                    one,
                    found,
                    EXPECTED,
                    "host names are not resolved here",
                );
                None
            }
        }
    }

    /// One side of a selector, in swanctl's syntax.
    pub fn sides(&mut self, key: &str, field: &Field<Vec<Spanned<String>>>) -> Vec<SelectorSide> {
        let Some(list) = field.as_ref().filter(|l| !l.get_ref().is_empty()) else {
            let remedy = format!("add {key} = [\"10.1.0.0/24\"]");
            self.missing(key, "at least one prefix or range", remedy);
            return Vec::new();
        };
        let mut out = Vec::new();
        for item in list.get_ref() {
            match SelectorSide::parse_list(item.get_ref()) {
                Ok(sides) => out.extend(sides),
                Err(expected) => {
                    let found = format!("{:?} found", item.get_ref());
                    let remedy = "write for example \"10.1.0.0/24\" or \"10.1.0.0/24[tcp/80]\"";
                    self.wrong(key, item, found, expected, remedy);
                }
            }
        }
        out
    }
}

impl Section<'_, '_> {
    /// The PFP flags of a policy (RFC 4301 §4.4.1.2).
    pub fn packet_fields(&mut self, field: &Field<Vec<Spanned<String>>>) -> FromPacket {
        let mut flags = FromPacket::default();
        for item in field.iter().flat_map(|list| list.get_ref()) {
            match flag_named(item.get_ref()) {
                Some(flag) => flags = flags.with(flag),
                None => {
                    let found = format!("{:?} found", item.get_ref());
                    let remedy = "an SA takes these fields from the packet that asks for it";
                    self.wrong("pfp", item, found, flag_names(), remedy);
                }
            }
        }
        flags
    }
}

/// The PFP flag of this name.
pub(crate) fn flag_named(name: &str) -> Option<FromPacket> {
    let mut flags = FromPacket::NAMES.iter();
    flags.find(|(n, _)| *n == name).map(|(_, flag)| *flag)
}

/// All their names.
pub(crate) fn flag_names() -> String {
    FromPacket::NAMES.map(|(name, _)| name).join(", ")
}

fn parse_time(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return text.parse().ok(),
    };
    text[..text.len() - 1]
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(unit)
}
