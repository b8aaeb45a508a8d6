//! Traffic selectors as a configuration writes them: some are known only once the addresses are.

use std::net::IpAddr;

/// The addresses of one configured traffic selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Addresses {
    /// swanctl's `dynamic`: the virtual address of that side, or the address that IKE runs on.
    Dynamic,
    /// An inclusive range; both ends of one family.
    Range(IpAddr, IpAddr),
}

/// One item of `local_ts` or `remote_ts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SelectorSpec {
    /// Addresses.
    pub addresses: Addresses,
    /// IP protocol; 0 is any.
    pub protocol: u8,
    /// First and last port, host byte order; `(0, 65535)` is any, `(65535, 0)` is OPAQUE (RFC 7296 §3.13.1).
    pub ports: (u16, u16),
}

impl SelectorSpec {
    /// The address of the peer or of this end, whatever it turns out to be.
    pub const DYNAMIC: Self = Self {
        addresses: Addresses::Dynamic,
        protocol: 0,
        ports: (0, u16::MAX),
    };

    /// All traffic of a range of addresses.
    #[must_use]
    pub const fn range(first: IpAddr, last: IpAddr) -> Self {
        Self {
            addresses: Addresses::Range(first, last),
            protocol: 0,
            ports: (0, u16::MAX),
        }
    }

    /// All traffic of a prefix; host bits are ignored. `None` for a length that the family does not have.
    #[must_use]
    pub fn prefix(address: IpAddr, length: u8) -> Option<Self> {
        let prefix = adit_abi::Prefix::new(address, length)?;
        Some(Self::range(prefix.address.into(), prefix.last().into()))
    }
}
