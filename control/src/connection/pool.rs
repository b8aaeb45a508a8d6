//! From a section of `pools`, as `load-pool` carries it, to a pool of the IKE engine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use adit_abi::{Address, Prefix};
use adit_ike::pools::Pool;
use adit_ike::wire::v2::ConfigurationAttribute as Attribute;
use adit_vici::Message;

use super::section::{Foreign, Section};
use super::values;
use adit_ike::config::Host;

const UNSUPPORTED: &[Foreign] = &[
    super::foreign("split_include", &[], "it belongs to IKEv1; use `subnet`"),
    super::foreign(
        "split_exclude",
        &[],
        "it belongs to IKEv1; restrict the child's local_ts",
    ),
    super::foreign("server", &[], "give clients their servers by `dns`"),
    super::foreign(
        "netmask",
        &[],
        "clients take one address each; leave it out",
    ),
];

/// Reads a `load-pool` message: one section, named as the pool.
///
/// # Errors
/// The key that is wrong, and what was expected.
pub fn load(message: &Message) -> Result<Pool, String> {
    let sections = Section::new("pools", message).all_sections()?;
    let [(name, section)] = <[_; 1]>::try_from(sections)
        .map_err(|_| "load-pool takes one section, named as the pool".to_owned())?;
    let addresses = section.parsed("addrs", |text| match values::host(text)? {
        Host::Range(first, last) if text.contains('/') => Ok(usable(first, last)),
        Host::Range(first, last) => Ok((first, last)),
        Host::Address(address) => Ok((address, address)),
        Host::Any | Host::Name(_) => {
            Err("a prefix such as 10.3.0.0/24 or a range such as 10.3.0.1-10.3.0.99".into())
        }
    })?;
    let mut attributes = Vec::new();
    for server in section.each("dns", address)? {
        attributes.push(match server {
            IpAddr::V4(a) => Attribute::Ip4Dns(Some(a)),
            IpAddr::V6(a) => Attribute::Ip6Dns(Some(a)),
        });
    }
    for server in section.each("nbns", v4)? {
        attributes.push(Attribute::Ip4Nbns(Some(server)));
    }
    for server in section.each("dhcp", address)? {
        attributes.push(match server {
            IpAddr::V4(a) => Attribute::Ip4Dhcp(Some(a)),
            IpAddr::V6(a) => Attribute::Ip6Dhcp(Some(a)),
        });
    }
    for subnet in section.each("subnet", prefix)? {
        attributes.push(subnet);
    }
    section.finish(UNSUPPORTED)?;
    Ok(Pool {
        name: name.into(),
        addresses,
        attributes,
    })
}

/// The addresses of a prefix that hosts can have: in IPv4 neither the network's own nor the broadcast address.
fn usable(first: IpAddr, last: IpAddr) -> (IpAddr, IpAddr) {
    match (first, last) {
        (IpAddr::V4(f), IpAddr::V4(l)) if l.to_bits() - f.to_bits() > 1 => (
            Ipv4Addr::from_bits(f.to_bits() + 1).into(),
            Ipv4Addr::from_bits(l.to_bits() - 1).into(),
        ),
        // The all-zeros interface identifier is the routers' anycast address (RFC 4291 §2.6.1).
        (IpAddr::V6(f), IpAddr::V6(l)) if l.to_bits() - f.to_bits() > 1 => {
            (Ipv6Addr::from_bits(f.to_bits() + 1).into(), l.into())
        }
        _ => (first, last),
    }
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "an IPv4 or IPv6 address".into())
}

fn v4(text: &str) -> Result<Ipv4Addr, String> {
    text.parse().map_err(|_| "an IPv4 address".into())
}

fn prefix(text: &str) -> Result<Attribute, String> {
    let expected = || "a prefix such as 10.1.0.0/16".to_owned();
    let (base, length) = text.split_once('/').ok_or_else(expected)?;
    let base: IpAddr = base.parse().map_err(|_| expected())?;
    let length: u8 = length.parse().map_err(|_| expected())?;
    let prefix = Prefix::new(base, length).ok_or_else(expected)?;
    let first: IpAddr = Address::into(prefix.address);
    Ok(match first {
        IpAddr::V4(a) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            Attribute::Ip4Subnet(Some((a, Ipv4Addr::from_bits(mask))))
        }
        IpAddr::V6(a) => Attribute::Ip6Subnet(Some((a, length))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(keys: &[(&str, &str)]) -> Result<Pool, String> {
        let mut section = Message::new();
        for (key, value) in keys {
            section.add(*key, value);
        }
        load(&Message::new().with_section("remote", section))
    }

    #[test]
    fn a_pool_gives_addresses_and_what_goes_with_them() {
        let found = pool(&[
            ("addrs", "10.3.0.0/24"),
            ("dns", "10.1.0.53,fd01::53"),
            ("subnet", "10.1.0.0/16,0.0.0.0/0"),
        ])
        .unwrap();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(found.addresses, Some((ip("10.3.0.1"), ip("10.3.0.254"))));
        assert_eq!(
            found.attributes,
            [
                Attribute::Ip4Dns(Some([10, 1, 0, 53].into())),
                Attribute::Ip6Dns(Some("fd01::53".parse().unwrap())),
                Attribute::Ip4Subnet(Some(([10, 1, 0, 0].into(), [255, 255, 0, 0].into()))),
                Attribute::Ip4Subnet(Some(([0; 4].into(), [0; 4].into()))),
            ]
        );
        let range = pool(&[("addrs", "10.3.0.5-10.3.0.7")]).unwrap();
        assert_eq!(range.addresses, Some((ip("10.3.0.5"), ip("10.3.0.7"))));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (key, value, expected) in [
            ("addrs", "%any", "pools.remote.addrs is \"%any\""),
            ("dns", "resolver", "pools.remote.dns is \"resolver\""),
            ("subnet", "10.1.0.0", "pools.remote.subnet is"),
            (
                "split_include",
                "10.0.0.0/8",
                "pools.remote.split_include is not supported",
            ),
            ("colour", "red", "pools.remote.colour: unknown key"),
        ] {
            let e = pool(&[(key, value)]).unwrap_err();
            assert!(e.starts_with(expected), "{e}");
        }
    }
}
