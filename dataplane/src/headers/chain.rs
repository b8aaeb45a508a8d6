//! The chain of headers of an IPv6 packet (RFC 8200 §4).

use zerocopy::FromBytes;

use super::ipv6::{self, Extension};
use super::protocol;

/// Extension headers that a packet may have.
pub const MAX_EXTENSIONS: usize = 8;

/// Offset of the fixed header's next-header field.
const FIRST_FIELD: usize = 6;

/// One header of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub number: u8,
    /// Where it begins, from the front of the packet.
    pub at: usize,
    /// Where the field with its number lies.
    pub field: usize,
}

/// Whether a header of this number is an IPv6 extension that another header follows.
pub const fn is_extension(number: u8) -> bool {
    matches!(
        number,
        protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::FRAGMENT
            | protocol::DESTINATION_OPTIONS
    )
}

/// Every header behind the fixed one, the upper layer's last; it ends early where the packet does, and after
/// [`MAX_EXTENSIONS`] extensions.
pub fn links(packet: &[u8]) -> impl Iterator<Item = Link> + '_ {
    let first = packet.get(FIRST_FIELD).map(|number| Link {
        number: *number,
        at: ipv6::LEN,
        field: FIRST_FIELD,
    });
    std::iter::successors(first, |link| {
        if !is_extension(link.number) {
            return None;
        }
        let rest = packet.get(link.at..)?;
        let (header, _) = Extension::ref_from_prefix(rest).ok()?;
        let length = match link.number {
            protocol::FRAGMENT => size_of::<Extension>(),
            _ => header.total_len(),
        };
        Some(Link {
            number: header.next_header,
            at: link.at + length,
            field: link.at,
        })
    })
    .take(MAX_EXTENSIONS + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_walked_to_the_upper_layer_and_no_further() {
        let mut packet = vec![0x60, 0, 0, 0, 0, 40, protocol::HOP_BY_HOP, 64];
        packet.resize(ipv6::LEN, 0);
        packet.extend([protocol::ROUTING, 0, 0, 0, 0, 0, 0, 0]);
        packet.extend([protocol::UDP, 2, 4, 0, 0, 0, 0, 0]);
        packet.resize(packet.len() + 16, 0);
        packet.extend([protocol::ROUTING; 8]);
        let found: Vec<_> = links(&packet).map(|l| (l.number, l.at, l.field)).collect();
        assert_eq!(
            found,
            [
                (protocol::HOP_BY_HOP, 40, 6),
                (protocol::ROUTING, 48, 40),
                (protocol::UDP, 72, 48)
            ]
        );
    }

    #[test]
    fn a_chain_without_end_ends() {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, protocol::DESTINATION_OPTIONS, 64];
        packet.resize(ipv6::LEN, 0);
        for _ in 0..100 {
            packet.extend([protocol::DESTINATION_OPTIONS, 0, 1, 4, 0, 0, 0, 0]);
        }
        assert_eq!(links(&packet).count(), MAX_EXTENSIONS + 1);
        assert_eq!(links(&packet[..44]).count(), 1);
        assert_eq!(links(&[]).count(), 0);
    }
}
