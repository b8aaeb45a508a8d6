//! Bound end-to-end tunnel mode (RFC 7402 App. B): the wire shows the outer addresses only, and both ends know
//! the inner ones, which the SA's selector names.

use adit_abi::{Address, DropReason, SaRecord};
use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Wrapped;
use super::transport::plain_header;
use crate::headers::ipv4::{self, Ipv4};
use crate::headers::ipv6::{self, Ipv6};
use crate::headers::protocol;
use crate::packet::Packet;

/// IPv4's no-operation option.
const NOP: u8 = 1;
/// Bytes of options that an IPv4 header can have.
const MAX_OPTIONS: usize = 40;
/// The flow label of an IPv6 header's first word.
const FLOW: u32 = 0x000f_ffff;

/// What stands in front of IPv4 options behind ESP (RFC 7402 App. B.1.7).
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct PseudoHeader {
    next_header: u8,
    /// Units of 8 bytes beyond the first.
    length: u8,
    /// Bytes of no-operations in front of the options, 0 or 4.
    padding: u8,
    reserved: u8,
}

/// Bytes of the pseudo header for so many bytes of options.
const fn pseudo_len(options: usize) -> usize {
    if options == 0 {
        0
    } else {
        (size_of::<PseudoHeader>() + options).next_multiple_of(8)
    }
}

/// Room that the pseudo header of any options takes, beyond the options themselves.
pub const PSEUDO_ROOM: usize = 8;

/// Whether the selector names one address on either side, and the families fit.
pub fn is_bound(sa: &SaRecord) -> bool {
    let s = &sa.selector;
    s.local_first == s.local_last
        && s.remote_first == s.remote_last
        && s.local_first.is_v4() == s.remote_first.is_v4()
}

fn options_len(packet: &Packet) -> usize {
    packet
        .v4()
        .map_or(0, |ip| ip.header_len().saturating_sub(ipv4::LEN))
}

/// Bytes behind ESP: the payload, and the pseudo header of IPv4 options.
#[cold]
pub fn payload_len(packet: &Packet) -> usize {
    let options = options_len(packet);
    packet.len() - plain_header(packet.is_v4()) - options + pseudo_len(options)
}

/// Replaces the inner header by one of the outer addresses, with `room` bytes behind it; see [`super::wrap`].
#[cold]
pub fn wrap(
    packet: &mut Packet,
    sa: &SaRecord,
    protocol: u8,
    room: usize,
    id: u16,
) -> Option<Wrapped> {
    let inherited = Inherited::of(packet, id);
    let v4 = packet.is_v4();
    let mut next_header = match packet.v6() {
        // Extension headers stay with the payload.
        Some(ip) => ip.next_header,
        None => packet.protocol,
    };
    let mut options = [0; MAX_OPTIONS];
    let count = options_len(packet);
    let kept = options.get_mut(..count)?;
    kept.copy_from_slice(packet.frame.bytes().get(ipv4::LEN..ipv4::LEN + count)?);
    packet.frame.shrink_front(plain_header(v4) + count);
    if count > 0 {
        //= RFC 7402 App. B.1.7: options travel behind a pseudo header, padded in front to 8 bytes
        let length = pseudo_len(count);
        if !packet.frame.grow_front(length) {
            return None;
        }
        let padding = length - size_of::<PseudoHeader>() - count;
        let header = PseudoHeader {
            next_header,
            length: (length / 8 - 1) as u8,
            padding: padding as u8,
            reserved: 0,
        };
        let bytes = packet.frame.bytes_mut();
        let (head, rest) = bytes.split_at_mut_checked(size_of::<PseudoHeader>())?;
        head.copy_from_slice(header.as_bytes());
        let (pad, rest) = rest.split_at_mut_checked(padding)?;
        pad.fill(NOP);
        rest.get_mut(..count)?.copy_from_slice(kept);
        next_header = protocol::BEET;
    }
    let at = inherited.write(packet, &sa.source, &sa.destination, protocol, &[], room)?;
    Some(Wrapped { at, next_header })
}

/// Gives the payload that the frame holds its inner header back: addresses from the SA, the other fields from
/// the `outer` header.
///
/// # Errors
/// [`DropReason::BadNextHeader`] or [`DropReason::BadInner`] for a pseudo header that cannot be.
#[cold]
pub fn unwrap(
    packet: &mut Packet,
    sa: &SaRecord,
    outer: &Inherited,
    next_header: u8,
) -> Result<(), DropReason> {
    let (source, destination) = (sa.selector.remote_first, sa.selector.local_first);
    let mut options = [0; MAX_OPTIONS];
    let (options, next_header) = if next_header == protocol::BEET {
        if !source.is_v4() {
            return Err(DropReason::BadNextHeader);
        }
        let (count, next_header) =
            take_options(packet, &mut options).ok_or(DropReason::BadInner)?;
        (options.get(..count).unwrap_or_default(), next_header)
    } else {
        (&[][..], next_header)
    };
    outer
        .write(packet, &source, &destination, next_header, options, 0)
        .map(|_| ())
        .ok_or(DropReason::NoRoom)
}

/// Takes the pseudo header off the front: how many bytes of options it held, and what follows.
fn take_options(packet: &mut Packet, options: &mut [u8; MAX_OPTIONS]) -> Option<(usize, u8)> {
    let bytes = packet.frame.bytes();
    let (header, rest) = PseudoHeader::ref_from_prefix(bytes).ok()?;
    let (padding, next_header) = (usize::from(header.padding), header.next_header);
    let length = (usize::from(header.length) + 1) * 8;
    //= RFC 7402 App. B.1.7: valid padding lengths are 0 or 4 bytes
    if padding != 0 && padding != 4 {
        return None;
    }
    let held = rest.get(padding..length.checked_sub(size_of::<PseudoHeader>())?)?;
    options.get_mut(..held.len())?.copy_from_slice(held);
    let count = held.len();
    packet.frame.shrink_front(length);
    Some((count, next_header))
}

/// What one IP header takes from the other, whichever families they are of.
//= RFC 7402 App. B.1.4: the new header copies the fields of the old one, but for the addresses
#[derive(Clone, Copy, Debug)]
pub struct Inherited {
    class: u8,
    hops: u8,
    df: bool,
    id: u16,
    flow: u32,
}

impl Inherited {
    /// From the header of a packet; `id` where IPv6 has none.
    pub fn of(packet: &Packet, id: u16) -> Self {
        let flow = packet.v6().map_or(0, |ip| ip.version_class_flow.get()) & FLOW;
        Self {
            class: packet.traffic_class(),
            hops: packet.hop_limit(),
            df: !packet.may_be_fragmented(),
            id: packet.v4().map_or(id, |ip| ip.id.get()),
            flow,
        }
    }

    /// Puts a header with these addresses and IPv4 options and `room` bytes in front of the frame's data;
    /// returns the header's length, `None` without room.
    fn write(
        &self,
        packet: &mut Packet,
        source: &Address,
        destination: &Address,
        number: u8,
        options: &[u8],
        room: usize,
    ) -> Option<usize> {
        let length = plain_header(source.is_v4()) + options.len();
        if !packet.frame.grow_front(length + room) {
            return None;
        }
        let total = packet.frame.len();
        let bytes = packet.frame.bytes_mut();
        let (head, _) = bytes.split_at_mut_checked(length)?;
        if source.is_v4() {
            let mut ip = Ipv4::new(source, destination, number, self.hops);
            ip.version_ihl = 0x40 | (length / 4) as u8;
            ip.traffic_class = self.class;
            ip.total_len = U16::new(total as u16);
            ip.id = U16::new(self.id);
            ip.fragment = U16::new(if self.df { ipv4::DF } else { 0 });
            let (fixed, rest) = head.split_at_mut_checked(ipv4::LEN)?;
            fixed.copy_from_slice(ip.as_bytes());
            rest.copy_from_slice(options);
            let sum = crate::headers::checksum::Sum::new()
                .add_bytes(head)
                .finish();
            let (ip, _) = Ipv4::mut_from_prefix(head).ok()?;
            ip.checksum = U16::new(sum);
        } else {
            let mut ip = Ipv6::new(source, destination, number, self.hops);
            ip.version_class_flow = U32::new(ip.version_class_flow.get() | self.flow);
            ip.set_traffic_class(self.class);
            ip.payload_len = U16::new(total.checked_sub(ipv6::LEN)? as u16);
            head.copy_from_slice(ip.as_bytes());
        }
        Some(length)
    }
}
