//! ESP (RFC 4303 §2).

use zerocopy::byteorder::network_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of SPI and sequence number.
pub const LEN: usize = size_of::<Esp>();

/// What an ESP packet begins with.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Esp {
    /// The index.
    pub spi: U32,
    /// The low half of the sequence number.
    pub sequence: U32,
}
