//! The values of `swanctl.conf`: times, amounts, hosts, traffic selectors.

use std::net::IpAddr;
use std::time::Duration;

use adit_abi::{PortRange, Prefix};
use adit_ike::config::{Addresses, Host, SelectorSpec};
use adit_ike::identity::{Identity, IdentityPattern};

use crate::selector_syntax::{SelectorSide, show_protocol, show_range};

/// A time: a number and `s`, `m`, `h` or `d`; seconds without one.
///
/// # Errors
/// What was expected.
pub fn time(text: &str) -> Result<Duration, String> {
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    let (digits, unit) = match units.iter().find(|(suffix, _)| text.ends_with(*suffix)) {
        Some((suffix, unit)) => (text.trim_end_matches(*suffix), *unit),
        None => (text, 1),
    };
    digits
        .trim()
        .parse::<u32>()
        .map(|n| Duration::from_secs(u64::from(n) * unit))
        .map_err(|_| "a time such as 30s, 5m, 4h or 1d".into())
}

/// An amount: a number and `k`, `m` or `g` for powers of 1024.
///
/// # Errors
/// What was expected.
pub fn amount(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let (digits, shift) = match lower.strip_suffix(['k', 'm', 'g']) {
        Some(digits) if lower.ends_with('k') => (digits, 10),
        Some(digits) if lower.ends_with('m') => (digits, 20),
        Some(digits) => (digits, 30),
        None => (lower.as_str(), 0),
    };
    let number: Option<u64> = digits.trim().parse().ok();
    number
        .and_then(|n| n.checked_mul(1 << shift))
        .ok_or_else(|| "a number such as 1000000, 500m or 10g".into())
}

/// One of `local_addrs` and `remote_addrs`: an address, a prefix, a range, a name or `%any`.
///
/// # Errors
/// What was expected.
pub fn host(text: &str) -> Result<Host, String> {
    let expected = || {
        "an address, a prefix such as 192.0.2.0/24, a range such as 192.0.2.1-192.0.2.9, a host name or %any"
            .to_owned()
    };
    if matches!(text, "%any" | "%any4" | "%any6") {
        return Ok(match text {
            "%any4" => Host::Range([0; 4].into(), [255; 4].into()),
            "%any6" => Host::Range([0; 16].into(), [255; 16].into()),
            _ => Host::Any,
        });
    }
    if let Ok(address) = text.parse() {
        return Ok(Host::Address(address));
    }
    if let Some((address, length)) = text.split_once('/') {
        let address: IpAddr = address.parse().map_err(|_| expected())?;
        let length = length.parse().map_err(|_| expected())?;
        let prefix = Prefix::new(address, length).ok_or_else(expected)?;
        return Ok(Host::Range(prefix.address.into(), prefix.last().into()));
    }
    if let Some((first, last)) = text.split_once('-')
        && let (Ok(first), Ok(last)) = (
            first.trim().parse::<IpAddr>(),
            last.trim().parse::<IpAddr>(),
        )
    {
        let ordered = first.is_ipv4() == last.is_ipv4() && first <= last;
        return if ordered {
            Ok(Host::Range(first, last))
        } else {
            Err("a range of one family, its lower end first".into())
        };
    }
    let named = text.len() <= 253
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        && text.bytes().any(|b| b.is_ascii_alphabetic());
    if named {
        Ok(Host::Name(text.into()))
    } else {
        Err(expected())
    }
}

/// One of `local_ts` and `remote_ts`: `dynamic`, a prefix or a range, each with `[protocol/port]` or without.
///
/// # Errors
/// What was expected.
pub fn selector(text: &str) -> Result<SelectorSpec, String> {
    let (dynamic, text) = match text.strip_prefix("dynamic") {
        Some(rest) => (true, format!("0.0.0.0/0{rest}")),
        None => (false, text.to_owned()),
    };
    let side = SelectorSide::parse(&text)?;
    let addresses = if dynamic {
        Addresses::Dynamic
    } else {
        Addresses::Range(side.first.into(), side.last.into())
    };
    Ok(SelectorSpec {
        addresses,
        protocol: side.protocol,
        ports: (side.ports.first, side.ports.last),
    })
}

/// Who an end is.
///
/// # Errors
/// What is wrong with the text, and what to write instead.
pub fn identity(text: &str) -> Result<Identity, String> {
    Identity::parse(text).map_err(|e| e.to_string())
}

/// Who the other end may be.
///
/// # Errors
/// What is wrong with the text, and what to write instead.
pub fn identity_pattern(text: &str) -> Result<IdentityPattern, String> {
    IdentityPattern::parse(text).map_err(|e| e.to_string())
}

/// A host as `swanctl.conf` writes it.
pub fn show_host(host: &Host) -> String {
    match host {
        Host::Any => "%any".into(),
        Host::Address(address) => address.to_string(),
        Host::Range(first, last) => show_range((*first).into(), (*last).into()),
        Host::Name(name) => name.to_string(),
    }
}

/// A traffic selector as `swanctl.conf` writes it.
pub fn show_selector(spec: &SelectorSpec) -> String {
    let ports = PortRange {
        first: spec.ports.0,
        last: spec.ports.1,
    };
    let addresses = match spec.addresses {
        Addresses::Dynamic => "dynamic".into(),
        Addresses::Range(first, last) => show_range(first.into(), last.into()),
    };
    addresses + &show_protocol(spec.protocol, ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_amounts_have_units() {
        for (text, seconds) in [
            ("0", 0),
            ("90", 90),
            ("30s", 30),
            ("5m", 300),
            ("4h", 14_400),
            ("2d", 172_800),
        ] {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "h", "-1s", "1w", "5mm5", "1.5h"] {
            assert!(time(text).is_err(), "{text}");
        }
        for (text, n) in [
            ("0", 0),
            ("7", 7),
            ("2k", 2048),
            ("3M", 3 << 20),
            ("1g", 1 << 30),
        ] {
            assert_eq!(amount(text), Ok(n), "{text}");
        }
        for text in [
            "",
            "g",
            "-1",
            "99999999999999999999",
            "18446744073709551615k",
        ] {
            assert!(amount(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_are_addresses_ranges_and_names() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(host("%any"), Ok(Host::Any));
        assert_eq!(host("2001:db8::1"), Ok(Host::Address(ip("2001:db8::1"))));
        let range = Host::Range(ip("192.0.2.0"), ip("192.0.2.255"));
        assert_eq!(host("192.0.2.9/24"), Ok(range));
        let range = Host::Range(ip("192.0.2.1"), ip("192.0.2.9"));
        assert_eq!(host("192.0.2.1-192.0.2.9"), Ok(range));
        assert_eq!(
            host("vpn.example.org"),
            Ok(Host::Name("vpn.example.org".into()))
        );
        for text in [
            "",
            "192.0.2.1/33",
            "192.0.2.9-192.0.2.1",
            "192.0.2.1-2001:db8::1",
            "a b",
            "1.2.3",
        ] {
            assert!(host(text).is_err(), "{text}");
        }
    }

    #[test]
    fn selectors_may_be_dynamic() {
        assert_eq!(selector("dynamic"), Ok(SelectorSpec::DYNAMIC));
        let udp = selector("dynamic[udp/53]").unwrap();
        assert_eq!(
            (udp.addresses, udp.protocol, udp.ports),
            (Addresses::Dynamic, 17, (53, 53))
        );
        let net = SelectorSpec::prefix("10.1.0.0".parse().unwrap(), 16);
        assert_eq!(selector("10.1.0.0/16").ok(), net);
        assert!(selector("10.1.0.0/40").is_err());
        for text in [
            "dynamic",
            "dynamic[udp/53]",
            "10.1.0.0/16",
            "10.1.0.1-10.1.0.9[tcp]",
        ] {
            assert_eq!(
                selector(text).map(|s| show_selector(&s)).as_deref(),
                Ok(text)
            );
        }
    }
}
