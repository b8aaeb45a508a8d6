//! IPv6 (RFC 8200) and the beginning of its extension headers.

use adit_abi::Address;
use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the fixed header.
pub const LEN: usize = size_of::<Ipv6>();

/// The smallest MTU that an IPv6 link may have (RFC 8200 §5).
pub const MINIMUM_MTU: usize = 1280;

/// The fixed header.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Ipv6 {
    /// Version, traffic class, flow label.
    pub version_class_flow: U32,
    /// Bytes after this header.
    pub payload_len: U16,
    /// What follows.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
}

impl Ipv6 {
    /// A header with flow label 0 and no payload yet.
    pub fn new(source: &Address, destination: &Address, next_header: u8, hop_limit: u8) -> Self {
        Self {
            version_class_flow: U32::new(6 << 28),
            payload_len: U16::new(0),
            next_header,
            hop_limit,
            source: source.0,
            destination: destination.0,
        }
    }

    /// DSCP and ECN.
    pub fn traffic_class(&self) -> u8 {
        (self.version_class_flow.get() >> 20) as u8
    }

    /// The flow label.
    pub fn flow_label(&self) -> u32 {
        self.version_class_flow.get() & 0xf_ffff
    }

    /// Replaces the flow label by the low 20 bits of another.
    pub fn set_flow_label(&mut self, label: u32) {
        let rest = self.version_class_flow.get() & !0xf_ffff;
        self.version_class_flow = U32::new(rest | label & 0xf_ffff);
    }

    /// Replaces DSCP and ECN.
    pub fn set_traffic_class(&mut self, class: u8) {
        let rest = self.version_class_flow.get() & !(0xff << 20);
        self.version_class_flow = U32::new(rest | u32::from(class) << 20);
    }
}

/// The first bytes of an extension header; in a fragment header the second is reserved.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Extension {
    /// What follows.
    pub next_header: u8,
    /// Length in units of 8 bytes beyond the first 8.
    pub length: u8,
    /// A routing header's type; a fragment header's offset and flag.
    pub third: U16,
    /// The rest of the first 8 bytes.
    pub fourth: U32,
}

impl Extension {
    /// Bytes of the whole header.
    pub const fn total_len(&self) -> usize {
        (self.length as usize + 1) * 8
    }

    /// As a fragment header: whether it is a fragment other than the first.
    pub fn is_later_fragment(&self) -> bool {
        self.third.get() & 0xfff8 != 0
    }

    /// As a fragment header: whether the packet is in more than one piece at all (RFC 6946).
    pub fn is_fragment(&self) -> bool {
        self.third.get() & 0xfff9 != 0
    }

    /// As a routing header: its type.
    pub fn routing_type(&self) -> u8 {
        (self.third.get() >> 8) as u8
    }
}
