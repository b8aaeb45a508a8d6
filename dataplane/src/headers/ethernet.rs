//! Ethernet II, with at most one VLAN tag.

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// EtherType of an IEEE 802.1Q tag.
pub const VLAN: u16 = 0x8100;

/// Bytes of an untagged header.
pub const LEN: usize = size_of::<Ethernet>();

/// An untagged header.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Ethernet {
    /// Destination.
    pub destination: [u8; 6],
    /// Source.
    pub source: [u8; 6],
    /// EtherType of what follows.
    pub ethertype: U16,
}

impl Ethernet {
    /// Whether the destination is a group address, broadcast included.
    pub const fn is_group(&self) -> bool {
        self.destination[0] & 1 != 0
    }
}

/// What follows the EtherType [`VLAN`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct VlanTag {
    /// Priority, drop eligibility, VLAN number.
    pub control: U16,
    /// EtherType of what follows.
    pub ethertype: U16,
}

impl VlanTag {
    /// The VLAN's number; 0 means that the tag carries a priority only.
    pub fn vlan(&self) -> u16 {
        self.control.get() & 0x0fff
    }
}
