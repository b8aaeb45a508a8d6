//! The fragments of one datagram that have arrived, each once, without overlap.

use adit_abi::{DropReason, Side};
use zerocopy::FromBytes;
use zerocopy::byteorder::network_endian::U16;

use super::piece::Piece;
use crate::frame::Frame;
use crate::headers::checksum::Sum;
use crate::headers::ipv4::Ipv4;
use crate::headers::ipv6::{self, Ipv6};
use crate::packet::Packet;

/// Fragments that one datagram may come in: as many as 64 KiB make on links of 1,280 bytes, and some.
const MAX_PIECES: usize = 64;

/// A fragment copied out of the UMEM: the whole IP packet.
#[derive(Debug)]
pub struct Held {
    /// The IP packet.
    pub bytes: Box<[u8]>,
    /// Number of the port it came in through.
    pub port: u8,
    /// That port's side.
    pub side: Side,
}

impl Held {
    /// A copy of a packet; the frame is the caller's to give home.
    pub fn copy_of(packet: &Packet) -> Self {
        Self {
            bytes: packet.frame.bytes().into(),
            port: packet.port,
            side: packet.side,
        }
    }
}

/// What has arrived of a datagram, in order of place.
#[derive(Debug, Default)]
pub struct Datagram {
    pieces: Vec<Held>,
    /// Payload bytes in `pieces`.
    payload: usize,
    /// Payload bytes altogether, once the last fragment is there.
    total: Option<usize>,
}

/// Why a fragment does not join the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// It is there already, byte for byte.
    Duplicate,
    /// It makes the whole datagram worthless.
    Fatal(DropReason),
}

impl Datagram {
    /// Adds a fragment.
    ///
    /// # Errors
    /// Why it was not.
    pub fn insert(&mut self, held: Held) -> Result<(), Misfit> {
        let bad = Misfit::Fatal(DropReason::BadFragment);
        let overlap = Misfit::Fatal(DropReason::FragmentOverlap);
        let piece = Piece::parse(&held.bytes).map_err(Misfit::Fatal)?;
        let mut at = 0;
        for (n, other) in self.pieces.iter().enumerate() {
            let other = Piece::parse(&other.bytes).map_err(Misfit::Fatal)?;
            if other.offset == piece.offset && other.payload == piece.payload {
                //= RFC 8200 §4.5: an exact duplicate of a fragment may be ignored
                return match other.more == piece.more {
                    true => Err(Misfit::Duplicate),
                    false => Err(bad),
                };
            }
            //= RFC 5722 §4: a datagram with overlapping fragments is discarded as a whole
            if piece.offset < other.end() && other.offset < piece.end() {
                return Err(overlap);
            }
            if other.offset < piece.offset {
                at = n + 1;
            }
        }
        let end = piece.end();
        if !piece.more {
            if self.total.is_some() {
                return Err(bad);
            }
            self.total = Some(end);
        }
        let beyond = self.last_end().max(end);
        if self.total.is_some_and(|total| beyond > total) || self.pieces.len() >= MAX_PIECES {
            return Err(bad);
        }
        self.payload += piece.payload.len();
        self.pieces.insert(at, held);
        Ok(())
    }

    fn last_end(&self) -> usize {
        let last = self.pieces.last().and_then(|p| Piece::parse(&p.bytes).ok());
        last.map_or(0, |p| p.end())
    }

    /// Whether every byte is there.
    pub fn is_complete(&self) -> bool {
        self.total == Some(self.payload)
    }

    /// How many fragments there are.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// The first fragment, once it is there.
    pub fn first(&self) -> Option<Piece<'_>> {
        let piece = Piece::parse(&self.pieces.first()?.bytes).ok()?;
        (piece.offset == 0).then_some(piece)
    }

    /// Bytes of the IP packet that the fragments at hand make at least.
    pub fn least_len(&self) -> usize {
        let header = self.first().map_or(0, |first| first.header.len());
        header + self.total.unwrap_or_default().max(self.last_end())
    }

    /// Takes the fragments out, in order of place.
    pub fn take(&mut self) -> Vec<Held> {
        self.payload = 0;
        std::mem::take(&mut self.pieces)
    }

    /// Writes the IP packet that complete fragments make into a frame.
    ///
    /// # Errors
    /// The reason to drop it.
    pub fn write(&self, frame: &mut Frame) -> Result<(), DropReason> {
        let first = self.first().ok_or(DropReason::BadFragment)?;
        let header = first.header.len();
        if !frame.fill(first.header) || !frame.grow_back(self.payload) {
            return Err(DropReason::ReassembledTooBig);
        }
        let bytes = frame.bytes_mut();
        let (head, body) = bytes
            .split_at_mut_checked(header)
            .ok_or(DropReason::BadFragment)?;
        let (mut marked, mut incapable) = (false, false);
        for held in &self.pieces {
            let piece = Piece::parse(&held.bytes)?;
            body.get_mut(piece.offset..piece.end())
                .ok_or(DropReason::BadFragment)?
                .copy_from_slice(piece.payload);
            marked |= piece.ecn == 0b11;
            incapable |= piece.ecn == 0b00;
        }
        //= RFC 3168 §5.3: CE on one fragment is CE on the packet; with Not-ECT on another it is dropped
        if marked && incapable {
            return Err(DropReason::EcnCongestion);
        }
        let ecn = if marked { 0b11 } else { first.ecn };
        write_header(head, first.link, first.next_header, self.payload, ecn);
        Ok(())
    }
}

/// Makes the first fragment's header that of the whole packet.
fn write_header(head: &mut [u8], link: usize, next_header: u8, payload: usize, ecn: u8) {
    let length = head.len();
    if link == 0 {
        if let Ok((ip, _)) = Ipv4::mut_from_prefix(head) {
            ip.traffic_class = ip.traffic_class & !3 | ecn;
            ip.fragment = U16::new(0);
            ip.total_len = U16::new((length + payload) as u16);
            ip.checksum = U16::new(0);
        }
        let sum = Sum::new().add_bytes(head).finish();
        if let Ok((ip, _)) = Ipv4::mut_from_prefix(head) {
            ip.checksum = U16::new(sum);
        }
        return;
    }
    if let Some(place) = head.get_mut(link) {
        *place = next_header;
    }
    if let Ok((ip, _)) = Ipv6::mut_from_prefix(head) {
        ip.payload_len = U16::new((length - ipv6::LEN + payload) as u16);
        ip.set_traffic_class(ip.traffic_class() & !3 | ecn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{ChunkSize, HugePages, Umem};
    use proptest::prelude::*;

    const LENGTH: usize = 100;

    fn payload() -> Vec<u8> {
        (0..LENGTH as u8).collect()
    }

    fn held(range: std::ops::Range<usize>, payload: &[u8], ecn: u8) -> Held {
        let more = range.end < LENGTH;
        let mut ip = Ipv4::new(
            &adit_abi::Address::v4([192, 0, 2, 1]),
            &adit_abi::Address::v4([192, 0, 2, 2]),
            50,
            64,
        );
        ip.traffic_class = ecn;
        ip.id = U16::new(9);
        ip.fragment = U16::new((range.start as u16 / 8) | if more { 0x2000 } else { 0 });
        ip.total_len = U16::new(20 + range.len() as u16);
        ip.write_checksum();
        let mut bytes = zerocopy::IntoBytes::as_bytes(&ip).to_vec();
        bytes.extend_from_slice(&payload[range]);
        Held {
            bytes: bytes.into(),
            port: 1,
            side: Side::Outside,
        }
    }

    fn written(datagram: &Datagram) -> Result<Vec<u8>, DropReason> {
        let umem = Umem::new(1, ChunkSize::K2, HugePages::Off).unwrap();
        let mut frame = umem.stock(1).take().unwrap();
        datagram.write(&mut frame)?;
        Ok(frame.bytes().to_vec())
    }

    proptest! {
        #[test]
        fn in_any_order_they_make_the_same_packet(
            cuts in proptest::collection::btree_set(1usize..LENGTH / 8, 1..6),
            order in any::<u64>(),
        ) {
            let mut edges = vec![0];
            edges.extend(cuts.iter().map(|c| c * 8));
            edges.push(LENGTH);
            let mut ranges: Vec<_> = edges.windows(2).map(|w| w[0]..w[1]).collect();
            let n = ranges.len();
            ranges.rotate_left(order as usize % n);
            if order & 1 << 40 != 0 {
                ranges.reverse();
            }
            let mut datagram = Datagram::default();
            for range in ranges {
                prop_assert!(!datagram.is_complete());
                datagram.insert(held(range.clone(), &payload(), 2)).unwrap();
                prop_assert_eq!(datagram.insert(held(range, &payload(), 2)), Err(Misfit::Duplicate));
            }
            prop_assert!(datagram.is_complete());
            let whole = written(&datagram).unwrap();
            prop_assert_eq!(&whole[20..], &payload()[..]);
            prop_assert_eq!(Sum::new().add_bytes(&whole[..20]).fold(), 0xffff);
            prop_assert_eq!((whole[1], usize::from(whole[3]), whole[6]), (2, 120, 0));
        }

        #[test]
        fn whatever_overlaps_is_fatal(a in 0usize..11, b in 0usize..11, c in 1usize..8, d in 1usize..8) {
            let (one, two) = (a * 8..(a + c).min(12) * 8, b * 8..(b + d).min(12) * 8);
            prop_assume!(!one.is_empty() && !two.is_empty() && one != two);
            let mut datagram = Datagram::default();
            datagram.insert(held(one.clone(), &payload(), 0)).unwrap();
            let overlaps = one.start < two.end && two.start < one.end;
            let expected = if overlaps { Err(Misfit::Fatal(DropReason::FragmentOverlap)) } else { Ok(()) };
            prop_assert_eq!(datagram.insert(held(two, &payload(), 0)), expected);
        }
    }

    #[test]
    fn the_same_place_with_other_bytes_is_an_overlap() {
        let mut datagram = Datagram::default();
        datagram.insert(held(0..16, &payload(), 0)).unwrap();
        let other = held(0..16, &[0xee; LENGTH], 0);
        let overlap = Misfit::Fatal(DropReason::FragmentOverlap);
        assert_eq!(datagram.insert(other), Err(overlap));
    }

    #[test]
    fn congestion_on_one_fragment_is_congestion_on_the_packet() {
        let with = |a, b| {
            let mut datagram = Datagram::default();
            datagram.insert(held(0..48, &payload(), a)).unwrap();
            datagram.insert(held(48..LENGTH, &payload(), b)).unwrap();
            written(&datagram).map(|packet| packet[1])
        };
        assert_eq!(with(2, 3), Ok(3));
        assert_eq!(with(1, 1), Ok(1));
        assert_eq!(with(0, 3), Err(DropReason::EcnCongestion));
    }

    #[test]
    fn no_more_pieces_than_a_bound() {
        let mut datagram = Datagram::default();
        let bytes = vec![0; 2000];
        let mut inserted = 0;
        for n in 0..70 {
            // Each second unit, so that none is the last.
            let mut piece = held(n * 16..n * 16 + 8, &bytes, 0);
            piece.bytes[6] |= 0x20;
            inserted += usize::from(datagram.insert(piece).is_ok());
        }
        assert_eq!(inserted, MAX_PIECES);
    }
}
