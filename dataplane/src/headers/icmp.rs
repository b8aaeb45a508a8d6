//! ICMP (RFC 792) and ICMPv6 (RFC 4443).

use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the header that all messages share.
pub const LEN: usize = size_of::<Icmp>();

/// The header that all messages share.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Icmp {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Checksum.
    pub checksum: U16,
    /// What the type wants here: an MTU, or nothing.
    pub rest: U32,
}

/// Whether an ICMP type is an error message, about which no error may be sent (RFC 1122 §3.2.2).
pub const fn is_v4_error(kind: u8) -> bool {
    matches!(kind, 3 | 4 | 5 | 11 | 12)
}

/// Whether an ICMPv6 type is an error message or a redirect (RFC 4443 §2.4 (e)).
pub const fn is_v6_error(kind: u8) -> bool {
    kind < 128 || kind == 137
}
