//! One fragment of an outer packet, taken apart: which datagram it belongs to, and which part of it.

use adit_abi::{Address, DropReason};
use zerocopy::FromBytes;

use crate::headers::ipv4::{self, Ipv4};
use crate::headers::ipv6::{self, Extension, Ipv6};
use crate::headers::protocol;

/// What all fragments of one datagram have in common (RFC 791 §3.2, RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Identification.
    pub id: u32,
    /// The protocol in IPv4; 0 in IPv6, where it does not count.
    pub protocol: u8,
}

/// A fragment, borrowed from its packet's bytes.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Whose it is.
    pub identity: Identity,
    /// What is not fragmented: the IP header, and in IPv6 the extensions in front of the fragment header.
    pub header: &'a [u8],
    /// Where in `header` an IPv6 packet names the fragment header; 0 in IPv4.
    pub link: usize,
    /// The protocol behind all headers of `header`.
    pub next_header: u8,
    /// Where `payload` belongs in the datagram's payload.
    pub offset: usize,
    /// Whether others follow behind it.
    pub more: bool,
    /// The fragment's part of the payload, never empty.
    pub payload: &'a [u8],
    /// The two ECN bits.
    pub ecn: u8,
}

impl<'a> Piece<'a> {
    /// Takes an IP packet apart whose lengths the classifier has checked.
    ///
    /// # Errors
    /// [`DropReason::BadFragment`] for a place or length that no fragment has.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DropReason> {
        let piece = match bytes.first().map(|first| first >> 4) {
            Some(4) => Self::parse_v4(bytes),
            _ => Self::parse_v6(bytes),
        };
        piece
            .filter(Self::is_possible)
            .ok_or(DropReason::BadFragment)
    }

    fn parse_v4(bytes: &'a [u8]) -> Option<Self> {
        let (ip, _) = Ipv4::ref_from_prefix(bytes).ok()?;
        let (header, payload) = bytes.split_at_checked(ip.header_len())?;
        let place = ip.fragment.get();
        Some(Self {
            identity: Identity {
                source: Address::v4(ip.source),
                destination: Address::v4(ip.destination),
                id: ip.id.get().into(),
                protocol: ip.protocol,
            },
            header,
            link: 0,
            next_header: ip.protocol,
            offset: usize::from(place & ipv4::OFFSET) * 8,
            more: place & ipv4::MF != 0,
            payload,
            ecn: ip.traffic_class & 3,
        })
    }

    fn parse_v6(bytes: &'a [u8]) -> Option<Self> {
        let (ip, _) = Ipv6::ref_from_prefix(bytes).ok()?;
        // The next-header field is the seventh octet of the IPv6 header, the first of an extension.
        let (mut link, mut at, mut next) = (6, ipv6::LEN, ip.next_header);
        loop {
            let (extension, _) = Extension::ref_from_prefix(bytes.get(at..)?).ok()?;
            match next {
                protocol::FRAGMENT => {
                    let place = extension.third.get();
                    return Some(Self {
                        identity: Identity {
                            source: Address::v6(ip.source),
                            destination: Address::v6(ip.destination),
                            id: extension.fourth.get(),
                            protocol: 0,
                        },
                        header: bytes.get(..at)?,
                        link,
                        next_header: extension.next_header,
                        offset: usize::from(place & 0xfff8),
                        more: place & 1 != 0,
                        payload: bytes.get(at + size_of::<Extension>()..)?,
                        ecn: ip.traffic_class() & 3,
                    });
                }
                protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS => {
                    (link, next) = (at, extension.next_header);
                    at += extension.total_len();
                }
                _ => return None,
            }
        }
    }

    /// Where the part behind it begins.
    pub fn end(&self) -> usize {
        self.offset + self.payload.len()
    }

    fn is_possible(&self) -> bool {
        //= RFC 8200 §4.5: a fragment with more to come has a length of whole units of 8 octets
        let whole_units = !self.more || self.payload.len().is_multiple_of(8);
        //= RFC 8200 §4.5: a fragment that would make the packet longer than 65,535 octets is discarded
        let in_bounds = self.header.len() + self.end() <= usize::from(u16::MAX);
        !self.payload.is_empty() && whole_units && in_bounds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v6(chain: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0x30, 0, 0, 0, 0, chain[0], 64];
        packet.extend_from_slice(&[1; 16]);
        packet.extend_from_slice(&[2; 16]);
        packet.extend_from_slice(&chain[1..]);
        packet.extend_from_slice(payload);
        let length = packet.len() as u16 - 40;
        packet[4..6].copy_from_slice(&length.to_be_bytes());
        packet
    }

    #[test]
    fn the_fragment_header_is_found_behind_others() {
        let chain = [
            0, 44, 0, 1, 4, 0, 0, 0, 0, // hop-by-hop options of padding
            50, 0, 0, 17, 0xde, 0xad, 0xbe, 0xef,
        ];
        let packet = v6(&chain, &[7; 16]);
        let piece = Piece::parse(&packet).unwrap();
        assert_eq!((piece.header.len(), piece.link), (48, 40));
        assert_eq!((piece.offset, piece.more, piece.end()), (16, true, 32));
        assert_eq!((piece.next_header, piece.ecn), (50, 3));
        assert_eq!(piece.identity.id, 0xdead_beef);
    }

    #[test]
    fn impossible_places_and_lengths_are_refused() {
        let with = |place: u16, length: usize| {
            let [a, b] = place.to_be_bytes();
            let packet = v6(&[44, 50, 0, a, b, 0, 0, 0, 1], &vec![0; length]);
            Piece::parse(&packet).map(|p| p.end())
        };
        assert_eq!(with(8 | 1, 16), Ok(24));
        assert_eq!(with(8, 13), Ok(21));
        assert_eq!(with(8 | 1, 13), Err(DropReason::BadFragment));
        assert_eq!(with(8 | 1, 0), Err(DropReason::BadFragment));
        assert_eq!(with(0xfff8, 8), Err(DropReason::BadFragment));
        assert!(Piece::parse(&[0x45; 12]).is_err());
        assert!(Piece::parse(&[]).is_err());
    }
}
