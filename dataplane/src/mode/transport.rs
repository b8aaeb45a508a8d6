//! Transport mode: a packet keeps its own IP header, and ESP or AH goes between that and the payload
//! (RFC 4303 §3.1.1, RFC 4302 §3.1.1); what NAT did to checksums is mended behind it (RFC 3948 §3.1.2).

use adit_abi::{DropReason, SaRecord, Side};
use zerocopy::FromBytes;
use zerocopy::byteorder::network_endian::U16;

use super::Wrapped;
use crate::frame::Frame;
use crate::headers::checksum::Sum;
use crate::headers::ipv4::{self, Ipv4};
use crate::headers::ipv6::{self, Extension, Ipv6};
use crate::headers::tcp::Tcp;
use crate::headers::udp::Udp;
use crate::headers::{chain, protocol};
use crate::packet::Packet;

/// The Home Address option of Mobile IPv6 (RFC 6275 §6.3).
const HOME_ADDRESS: u8 = 201;

/// Whether an SA between its own two addresses may carry a packet in transport mode.
///
/// # Errors
/// [`DropReason::NotOwn`] for what does not begin at this gateway and end at the peer.
pub fn check(sa: &SaRecord, packet: &Packet) -> Result<(), DropReason> {
    //= RFC 4301 §4.1: a gateway uses transport mode only for packets whose source address is its own
    if packet.side == Side::Host
        && (packet.source, packet.destination) == (sa.source, sa.destination)
    {
        Ok(())
    } else {
        Err(DropReason::NotOwn)
    }
}

/// Where a packet is cut: the headers before stay in front of ESP or AH.
struct Cut {
    /// Bytes before.
    at: usize,
    /// Offset of the field that names what follows.
    field: usize,
    /// What follows.
    next_header: u8,
}

fn cut(packet: &Packet) -> Cut {
    if packet.is_v4() {
        return Cut {
            at: packet.upper.into(),
            field: PROTOCOL,
            next_header: packet.protocol,
        };
    }
    let bytes = packet.frame.bytes();
    let whole = |link: chain::Link| Cut {
        at: link.at.min(bytes.len()),
        field: link.field,
        next_header: link.number,
    };
    let mut place = Cut {
        at: ipv6::LEN,
        field: NEXT_HEADER,
        next_header: packet.protocol,
    };
    let mut after_kept = true;
    for link in chain::links(bytes) {
        if after_kept {
            place = whole(link);
        }
        //= RFC 4303 §3.1.1: ESP comes after hop-by-hop, routing and fragmentation headers
        //= RFC 4302 §3.1.1: so does AH
        after_kept = match link.number {
            protocol::HOP_BY_HOP | protocol::ROUTING | protocol::FRAGMENT => true,
            //= RFC 3776 §3.1: a home address stands in front of ESP, for the SA is found by it
            protocol::DESTINATION_OPTIONS => has_home_address(bytes, link.at),
            _ => false,
        };
    }
    place
}

/// Offset of the protocol field of an IPv4 header.
const PROTOCOL: usize = 9;
/// Offset of the next-header field of an IPv6 header.
const NEXT_HEADER: usize = 6;

/// Whether the destination options that begin at an offset hold a home address.
fn has_home_address(packet: &[u8], at: usize) -> bool {
    let Some(rest) = packet.get(at..) else {
        return false;
    };
    let Ok((header, _)) = Extension::ref_from_prefix(rest) else {
        return false;
    };
    let mut options = rest.get(2..header.total_len()).unwrap_or_default();
    while let Some((kind, after)) = options.split_first() {
        // Pad1 is one byte without a length.
        if *kind == 0 {
            options = after;
            continue;
        }
        let Some((length, after)) = after.split_first() else {
            return false;
        };
        if *kind == HOME_ADDRESS {
            return true;
        }
        options = after.get(usize::from(*length)..).unwrap_or_default();
    }
    false
}

/// Bytes of a packet's headers that stay in front of ESP or AH.
#[cold]
pub fn kept_len(packet: &Packet) -> usize {
    cut(packet).at
}

/// Opens a gap of `room` bytes behind the headers that stay in front; see [`super::wrap`].
#[cold]
pub fn wrap(packet: &mut Packet, protocol: u8, room: usize) -> Option<Wrapped> {
    let Cut {
        at,
        field,
        next_header,
    } = cut(packet);
    if !packet.frame.grow_front(room) {
        return None;
    }
    packet.frame.bytes_mut().copy_within(room..room + at, 0);
    rewrite(&mut packet.frame, at, field, protocol)?;
    Some(Wrapped { at, next_header })
}

/// Closes the gap between the headers of `kept` bytes and the payload that begins at `payload`, and lets the
/// headers announce the payload; the frame ends with it.
///
/// # Errors
/// [`DropReason::BadInner`] where the headers do not lead to the gap.
#[cold]
pub fn unwrap(
    frame: &mut Frame,
    kept: usize,
    payload: usize,
    next_header: u8,
) -> Result<(), DropReason> {
    let gap = payload.checked_sub(kept).ok_or(DropReason::BadInner)?;
    let v4 = frame.bytes().first().is_some_and(|first| first >> 4 == 4);
    let field = if v4 {
        Some(PROTOCOL)
    } else {
        chain::links(frame.bytes())
            .find(|link| link.at == kept)
            .map(|link| link.field)
    };
    let field = field.ok_or(DropReason::BadInner)?;
    if payload > frame.len() {
        return Err(DropReason::BadInner);
    }
    frame.bytes_mut().copy_within(..kept, gap);
    frame.shrink_front(gap);
    rewrite(frame, kept, field, next_header).ok_or(DropReason::BadInner)
}

/// Writes a next-header field, and makes the lengths and the checksum of a header of `header` bytes right.
fn rewrite(frame: &mut Frame, header: usize, field: usize, number: u8) -> Option<()> {
    let total = frame.len();
    let bytes = frame.bytes_mut();
    *bytes.get_mut(field)? = number;
    if bytes.first()? >> 4 == 4 {
        let (ip, _) = Ipv4::mut_from_prefix(bytes).ok()?;
        ip.total_len = U16::new(total as u16);
        ip.checksum = U16::new(0);
        let sum = Sum::new().add_bytes(bytes.get(..header)?).finish();
        let (ip, _) = Ipv4::mut_from_prefix(bytes).ok()?;
        ip.checksum = U16::new(sum);
    } else {
        let (ip, _) = Ipv6::mut_from_prefix(bytes).ok()?;
        ip.payload_len = U16::new(total.checked_sub(ipv6::LEN)? as u16);
    }
    Some(())
}

/// Bytes of the plain header of a packet's family.
pub const fn plain_header(v4: bool) -> usize {
    if v4 { ipv4::LEN } else { ipv6::LEN }
}

/// Mends the checksum of a packet that came through a NAT: the sender reckoned with addresses that are no
/// longer in the header. `original` is [`SaRecord::original_sum`].
#[cold]
pub fn mend_checksum(packet: &mut Packet, original: u16) {
    let now = Sum::new()
        .add_bytes(&packet.source.0)
        .add_bytes(&packet.destination.0)
        .fold();
    let number = packet.protocol;
    let (source, destination) = (packet.source, packet.destination);
    let segment = packet.upper_mut();
    // The checksum's place, and whether a zero there means none.
    let (place, may_be_none) = match number {
        protocol::TCP => (std::mem::offset_of!(Tcp, checksum), false),
        protocol::UDP => (std::mem::offset_of!(Udp, checksum), true),
        protocol::DCCP => (6, false),
        protocol::ICMPV6 => (2, false),
        _ => return,
    };
    let Some(Ok(old)) = segment.get(place..place + 2).map(<[u8; 2]>::try_from) else {
        return;
    };
    let old = u16::from_be_bytes(old);
    if may_be_none && old == 0 {
        return;
    }
    let sum = if original != 0 {
        //= RFC 3948 §3.1.2: from the original addresses the checksum is recomputed incrementally
        crate::headers::checksum::replaced(old, original, now)
    } else if number == protocol::DCCP {
        // It may cover a part of the segment only (RFC 4340 §9.2), which takes the original addresses.
        return;
    } else {
        //= RFC 3948 §3.1.2: without them it is computed anew; the ICV vouches for the payload
        if let Some(field) = segment.get_mut(place..place + 2) {
            field.fill(0);
        }
        Sum::new()
            .add_pseudo_header(&source, &destination, number, segment.len())
            .add_bytes(segment)
            .finish()
    };
    let sum = if may_be_none && sum == 0 { 0xffff } else { sum };
    if let Some(field) = segment.get_mut(place..place + 2) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
}
