//! Where a connection's ends may be: one item of `local_addrs` or `remote_addrs`.

use std::net::IpAddr;
use std::sync::Arc;

/// Addresses that an end of a connection may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// Any address of either family (`%any`).
    Any,
    /// Just this one.
    Address(IpAddr),
    /// An inclusive range (a prefix is one); both ends of one family.
    Range(IpAddr, IpAddr),
    /// A name that is resolved each time the connection is initiated.
    Name(Arc<str>),
}

/// How well an address fits: the higher, the more particular.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// It is one of all addresses.
    Any,
    /// It lies in a range that was named.
    Range,
    /// It was named itself.
    Exact,
}

impl Host {
    /// How well `address` fits, `None` if it does not. A name fits nothing by itself: its addresses are asked for.
    #[must_use]
    pub fn fit(&self, address: IpAddr) -> Option<Fit> {
        match self {
            Self::Any => Some(Fit::Any),
            Self::Address(a) => (*a == address).then_some(Fit::Exact),
            Self::Range(first, last) => {
                let same_family = first.is_ipv4() == address.is_ipv4();
                (same_family && *first <= address && address <= *last).then_some(Fit::Range)
            }
            Self::Name(_) => None,
        }
    }

    /// How well `address` fits the best of `hosts`; no hosts at all stand for any.
    #[must_use]
    pub fn best(hosts: &[Self], address: IpAddr) -> Option<Fit> {
        if hosts.is_empty() {
            return Some(Fit::Any);
        }
        hosts.iter().filter_map(|h| h.fit(address)).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_particular_host_counts() {
        let ip = |s: &str| s.parse::<IpAddr>().unwrap();
        let hosts = [
            Host::Any,
            Host::Range(ip("192.0.2.0"), ip("192.0.2.255")),
            Host::Address(ip("192.0.2.7")),
        ];
        assert_eq!(Host::best(&hosts, ip("192.0.2.7")), Some(Fit::Exact));
        assert_eq!(Host::best(&hosts, ip("192.0.2.8")), Some(Fit::Range));
        assert_eq!(Host::best(&hosts, ip("2001:db8::1")), Some(Fit::Any));
        assert_eq!(Host::best(&hosts[1..], ip("2001:db8::1")), None);
        assert_eq!(Host::best(&[], ip("192.0.2.8")), Some(Fit::Any));
    }
}
