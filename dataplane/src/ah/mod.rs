//! The Authentication Header (RFC 4302): a packet stays readable, and whoever changes what must not change on the
//! way is found out.

pub mod mutable;
pub mod open;
pub mod seal;

use adit_abi::{SaFlags, SaRecord};

use crate::headers::ah;

/// Bytes of the AH header of an SA: fixed part, ICV and padding.
pub const fn header_len(sa: &SaRecord, v4: bool, icv: usize) -> usize {
    //= RFC 4302 §3.3.3.2.1: the header is a multiple of 4 bytes over IPv4 and of 8 over IPv6, and no longer
    let align = if v4 && !sa.flags.contains(SaFlags::AH_ALIGN_8) {
        4
    } else {
        8
    };
    (ah::LEN + icv).next_multiple_of(align)
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    #[test]
    fn headers_are_as_long_as_their_family_wants_and_linuxs_as_long_as_linux_wants() {
        let strict = SaRecord::new_zeroed();
        let mut linux = SaRecord::new_zeroed();
        linux.flags = SaFlags::AH_ALIGN_8;
        // ICV of SHA-1, SHA-256, SHA-384, SHA-512.
        let lengths = [12, 16, 24, 32].map(|icv| {
            [
                header_len(&strict, true, icv),
                header_len(&strict, false, icv),
                header_len(&linux, true, icv),
                header_len(&linux, false, icv),
            ]
        });
        assert_eq!(
            lengths,
            [
                [24; 4],
                [28, 32, 32, 32],
                [36, 40, 40, 40],
                [44, 48, 48, 48]
            ]
        );
    }
}
