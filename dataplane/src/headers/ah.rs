//! AH (RFC 4302 §2).

use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes in front of the ICV.
pub const LEN: usize = size_of::<Ah>();

/// What an AH header begins with.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ah {
    /// What follows the header.
    pub next_header: u8,
    /// Length of the header in units of 4 bytes, less 2.
    pub length: u8,
    /// Zero.
    pub reserved: U16,
    /// The index.
    pub spi: U32,
    /// The low half of the sequence number.
    pub sequence: U32,
}

impl Ah {
    /// Bytes of the whole header, ICV and padding included, as it says itself.
    pub const fn total_len(&self) -> usize {
        (self.length as usize + 2) * 4
    }
}
