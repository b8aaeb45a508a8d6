//! IP addresses and prefixes of both families in one 16-byte form.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An IPv4 or IPv6 address, network byte order; IPv4 in its IPv4-mapped form (RFC 4291 §2.5.5.2).
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Address(pub [u8; 16]);

impl Address {
    /// `::`, which also means "none" where an address is optional.
    pub const UNSPECIFIED: Self = Self([0; 16]);

    /// An IPv4 address from its four bytes.
    #[inline]
    pub const fn v4(b: [u8; 4]) -> Self {
        Self([
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, b[0], b[1], b[2], b[3],
        ])
    }

    /// An IPv6 address from its sixteen bytes.
    #[inline]
    pub const fn v6(b: [u8; 16]) -> Self {
        Self(b)
    }

    /// Whether this is an IPv4 address.
    #[inline]
    pub fn is_v4(&self) -> bool {
        self.0[..12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
    }

    /// The four bytes of an IPv4 address (of an IPv6 one, its last four).
    #[inline]
    pub fn v4_bytes(&self) -> [u8; 4] {
        [self.0[12], self.0[13], self.0[14], self.0[15]]
    }

    /// Whether this is `::` ("none").
    #[inline]
    pub fn is_unspecified(&self) -> bool {
        *self == Self::UNSPECIFIED
    }

    /// The address as a number, for comparing and for ranges.
    #[inline]
    pub const fn to_u128(self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// The inverse of [`Address::to_u128`].
    #[inline]
    pub const fn from_u128(n: u128) -> Self {
        Self(n.to_be_bytes())
    }

    /// Two words in native byte order, for hashing and comparing.
    #[inline]
    pub fn to_words(self) -> [u64; 2] {
        let (a, b) = self.0.split_at(8);
        [
            u64::from_ne_bytes(a.try_into().unwrap_or_default()),
            u64::from_ne_bytes(b.try_into().unwrap_or_default()),
        ]
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(a) => Self::v4(a.octets()),
            IpAddr::V6(a) => Self::v6(a.octets()),
        }
    }
}

impl From<Address> for IpAddr {
    fn from(a: Address) -> Self {
        if a.is_v4() {
            IpAddr::V4(Ipv4Addr::from(a.v4_bytes()))
        } else {
            IpAddr::V6(Ipv6Addr::from(a.0))
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An address and a prefix length; the length counts in the 128-bit form (IPv4 /24 is 120 here).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// Network address, host bits zero.
    pub address: Address,
    /// Number of leading bits that count, 0–128 of the IPv4-mapped or IPv6 form.
    pub length: u8,
}

impl Prefix {
    /// A prefix from an address and a length in the address's own family (IPv4 0–32, IPv6 0–128).
    ///
    /// Returns `None` for a length that the family does not have. Host bits are cleared.
    pub fn new(ip: IpAddr, length: u8) -> Option<Self> {
        let (max, add) = if ip.is_ipv4() { (32, 96) } else { (128, 0) };
        (length <= max).then(|| Self::from_mapped(Address::from(ip), length + add))
    }

    /// A prefix from the 128-bit form; a length past 128 counts as 128.
    pub fn from_mapped(address: Address, length: u8) -> Self {
        let length = length.min(128);
        let address = Address::from_u128(address.to_u128() & Self::mask(length));
        Self { address, length }
    }

    const fn mask(length: u8) -> u128 {
        if length == 0 {
            0
        } else {
            u128::MAX << (128 - length as u32)
        }
    }

    /// Whether `address` lies in the prefix.
    #[inline]
    pub fn contains(&self, address: Address) -> bool {
        address.to_u128() & Self::mask(self.length) == self.address.to_u128()
    }

    /// The highest address of the prefix.
    pub fn last(&self) -> Address {
        Address::from_u128(self.address.to_u128() | !Self::mask(self.length))
    }

    /// The length in the family's own terms: IPv4 0–32, IPv6 0–128.
    pub fn family_length(&self) -> u8 {
        if self.is_v4() {
            self.length - 96
        } else {
            self.length
        }
    }

    /// Whether this is an IPv4 prefix.
    pub fn is_v4(&self) -> bool {
        self.length >= 96 && self.address.is_v4()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.family_length())
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v4_prefix_covers_its_range_and_nothing_else() {
        let p = Prefix::new("10.1.2.3".parse().unwrap(), 24).unwrap();
        assert_eq!(p.to_string(), "10.1.2.0/24");
        assert!(p.contains(Address::v4([10, 1, 2, 255])));
        assert!(!p.contains(Address::v4([10, 1, 3, 0])));
        assert_eq!(p.last(), Address::v4([10, 1, 2, 255]));
        assert!(Prefix::new("10.1.2.3".parse().unwrap(), 33).is_none());
    }

    #[test]
    fn v4_default_route_does_not_cover_v6() {
        let p = Prefix::new("0.0.0.0".parse().unwrap(), 0).unwrap();
        assert!(p.is_v4());
        assert!(!p.contains(Address::from("2001:db8::1".parse::<IpAddr>().unwrap())));
    }
}
