//! IPv4 (RFC 791).

use adit_abi::Address;
use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::{Sum, replaced};

/// Bytes of a header without options.
pub const LEN: usize = size_of::<Ipv4>();
/// Don't fragment, in [`Ipv4::fragment`].
pub const DF: u16 = 0x4000;
/// More fragments, in [`Ipv4::fragment`].
pub const MF: u16 = 0x2000;
/// The fragment offset in units of 8 bytes, in [`Ipv4::fragment`].
pub const OFFSET: u16 = 0x1fff;

/// The fixed part of the header.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Ipv4 {
    /// Version and header length in words.
    pub version_ihl: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Header and payload in bytes.
    pub total_len: U16,
    /// Identification.
    pub id: U16,
    /// Flags and fragment offset.
    pub fragment: U16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol.
    pub protocol: u8,
    /// Header checksum.
    pub checksum: U16,
    /// Source address.
    pub source: [u8; 4],
    /// Destination address.
    pub destination: [u8; 4],
}

impl Ipv4 {
    /// A header without options, its checksum not yet written.
    pub fn new(source: &Address, destination: &Address, protocol: u8, ttl: u8) -> Self {
        Self {
            version_ihl: 0x45,
            traffic_class: 0,
            total_len: U16::new(0),
            id: U16::new(0),
            fragment: U16::new(0),
            ttl,
            protocol,
            checksum: U16::new(0),
            source: source.v4_bytes(),
            destination: destination.v4_bytes(),
        }
    }

    /// Header length in bytes as the header itself says; less than [`LEN`] in a malformed one.
    pub const fn header_len(&self) -> usize {
        (self.version_ihl & 0x0f) as usize * 4
    }

    /// The don't-fragment bit.
    pub fn df(&self) -> bool {
        self.fragment.get() & DF != 0
    }

    /// Writes the checksum of a header without options.
    pub fn write_checksum(&mut self) {
        self.checksum = U16::new(0);
        self.checksum = U16::new(Sum::new().add_bytes(self.as_bytes()).finish());
    }

    /// Counts the TTL down by one, the checksum along with it (RFC 1812 §5.3.1).
    pub fn decrement_ttl(&mut self) {
        let old = u16::from_be_bytes([self.ttl, self.protocol]);
        self.ttl = self.ttl.saturating_sub(1);
        let new = u16::from_be_bytes([self.ttl, self.protocol]);
        self.checksum = U16::new(replaced(self.checksum.get(), old, new));
    }

    /// Replaces DSCP and ECN, the checksum along with it.
    pub fn set_traffic_class(&mut self, class: u8) {
        let old = u16::from_be_bytes([self.version_ihl, self.traffic_class]);
        self.traffic_class = class;
        let new = u16::from_be_bytes([self.version_ihl, class]);
        self.checksum = U16::new(replaced(self.checksum.get(), old, new));
    }
}
