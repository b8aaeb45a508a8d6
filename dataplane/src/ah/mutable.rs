//! What of the headers in front of AH the ICV covers: fields that change on the way count as zero, those whose end
//! is known count as they will arrive (RFC 4302 §3.3.3.1, App. A).

use arrayvec::ArrayVec;
use zerocopy::FromBytes;

use crate::headers::ipv6::Extension;
use crate::headers::{chain, ipv4, ipv6, protocol};

/// Bytes of headers in front of AH, with AH itself, that there is room for.
pub const MOST: usize = 512;

/// Headers as the ICV sees them.
pub type Covered = ArrayVec<u8, MOST>;

/// The IP header and its options or extensions, which are all of `headers`, as the ICV sees them. `None` if they are
/// malformed, too long, or of a kind whose end cannot be foretold.
pub fn covered(headers: &[u8]) -> Option<Covered> {
    match headers.first()? >> 4 {
        4 => ipv4_covered(headers),
        6 => ipv6_covered(headers),
        _ => None,
    }
}

fn ipv4_covered(headers: &[u8]) -> Option<Covered> {
    let mut out = Covered::new();
    out.try_extend_from_slice(headers).ok()?;
    let (fixed, options) = out.split_at_mut_checked(ipv4::LEN)?;
    //= RFC 4302 §3.3.3.1.1.1: DSCP, ECN, flags, offset, TTL and checksum count as zero
    *fixed.get_mut(1)? = 0;
    fixed.get_mut(6..9)?.fill(0);
    fixed.get_mut(10..12)?.fill(0);
    if let Some(last) = zero_options(options)? {
        //= RFC 4302 §3.3.3.1.1.1: with source routing the destination counts as it will be at the end
        fixed.get_mut(16..20)?.copy_from_slice(&last);
    }
    Some(out)
}

/// Zeroes mutable options as a whole; returns where an unfinished source route leads.
fn zero_options(mut options: &mut [u8]) -> Option<Option<[u8; 4]>> {
    let mut last = None;
    loop {
        let (kind, length) = match *options {
            [] | [0, ..] => return Some(last),
            [1, ..] => (1, 1),
            [kind, length, ..] => (kind, usize::from(length)),
            [_] => return None,
        };
        if length == 0 || (kind != 1 && length < 2) {
            return None;
        }
        let (option, rest) = options.split_at_mut_checked(length)?;
        match kind {
            //= RFC 4302 App. A1: security labels, router alert and multi-destination delivery are immutable
            1 | 130 | 133 | 134 | 148 | 149 => {}
            131 | 137 => {
                last = end_of_route(option).or(last);
                option.fill(0);
            }
            //= RFC 4302 §3.3.3.1: an option that is mutable or not known is zeroed as a whole
            _ => option.fill(0),
        }
        options = rest;
    }
}

/// The last address of a source route that has not been travelled to its end.
fn end_of_route(option: &[u8]) -> Option<[u8; 4]> {
    let pointer = usize::from(*option.get(2)?);
    (pointer <= option.len())
        .then(|| option.get(3..)?.last_chunk::<4>().copied())
        .flatten()
}

fn ipv6_covered(headers: &[u8]) -> Option<Covered> {
    let mut out = Covered::new();
    out.try_extend_from_slice(headers.get(..ipv6::LEN)?).ok()?;
    //= RFC 4302 §3.3.3.1.2.1: DSCP, ECN, flow label and hop limit count as zero
    out.get_mut(..4)?.copy_from_slice(&[0x60, 0, 0, 0]);
    *out.get_mut(7)? = 0;
    // Where the field that announces the next header lies in `out`.
    let mut field = NEXT_HEADER;
    for link in chain::links(headers) {
        if link.at == headers.len() {
            // The end: AH itself.
            *out.get_mut(field)? = link.number;
            return Some(out);
        }
        let rest = headers.get(link.at..)?;
        let (header, _) = Extension::ref_from_prefix(rest).ok()?;
        let whole = rest.get(..header.total_len());
        match link.number {
            //= RFC 4302 App. A2: a fragmentation header is skipped, as if it had been removed
            protocol::FRAGMENT => {
                let length = out.get(4..6)?.try_into().ok()?;
                let length = u16::from_be_bytes(length).checked_sub(8)?;
                out.get_mut(4..6)?.copy_from_slice(&length.to_be_bytes());
                continue;
            }
            protocol::HOP_BY_HOP | protocol::DESTINATION_OPTIONS => {
                let at = append(&mut out, &mut field, link.number, whole?)?;
                let (fixed, options) = out.split_at_mut_checked(at)?;
                zero_option_data(fixed, options.get_mut(2..)?)?;
            }
            protocol::ROUTING => {
                let at = append(&mut out, &mut field, link.number, whole?)?;
                let (fixed, routing) = out.split_at_mut_checked(at)?;
                arrive(fixed, routing)?;
            }
            _ => return None,
        }
    }
    None
}

/// Offset of the next-header field of an IPv6 header.
const NEXT_HEADER: usize = 6;
/// Where the source address lies in an IPv6 header.
const SOURCE: std::ops::Range<usize> = 8..24;
/// Where the destination address lies in an IPv6 header.
const DESTINATION: std::ops::Range<usize> = 24..40;
/// Mobile IPv6's home address option (RFC 6275 §6.3).
const HOME_ADDRESS: u8 = 201;

/// Appends a header and lets the one before announce it; returns where it begins.
fn append(out: &mut Covered, field: &mut usize, number: u8, header: &[u8]) -> Option<usize> {
    let at = out.len();
    out.try_extend_from_slice(header).ok()?;
    *out.get_mut(*field)? = number;
    *field = at;
    Some(at)
}

/// Zeroes the data of options that may change on the way.
fn zero_option_data(fixed: &mut [u8], mut options: &mut [u8]) -> Option<()> {
    loop {
        let (kind, length) = match *options {
            [] => return Some(()),
            // Pad1 is one byte without a length.
            [0, ..] => {
                options = options.get_mut(1..)?;
                continue;
            }
            [kind, length, ..] => (kind, usize::from(length)),
            [_] => return None,
        };
        let (option, rest) = options.split_at_mut_checked(2 + length)?;
        let data = option.get_mut(2..)?;
        //= RFC 4302 §3.3.3.1.2.2: an option whose third-highest bit is set may change, so its data count as zero
        if kind & 0x20 != 0 {
            data.fill(0);
        } else if kind == HOME_ADDRESS && length == 16 {
            //= RFC 6275 §9.3.1: AH is computed with the home address as source and the care-of address in the option
            fixed.get_mut(SOURCE)?.swap_with_slice(data);
        }
        options = rest;
    }
}

/// Brings a routing header and the destination to what they will be at the journey's end.
fn arrive(fixed: &mut [u8], routing: &mut [u8]) -> Option<()> {
    let [_, _, kind, left, ..] = routing else {
        return None;
    };
    match (*kind, *left) {
        //= RFC 4302 App. A2: a routing header counts as it appears at the receiver
        (_, 0) => Some(()),
        // RFC 6275 §6.4: one address, the home address.
        (2, 1) => {
            *left = 0;
            let home = routing.get_mut(8..24)?;
            fixed.get_mut(DESTINATION)?.swap_with_slice(home);
            Some(())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
