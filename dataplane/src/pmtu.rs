//! How large an inner packet may be so that it fits its SA's path (RFC 4301 §8.2), and TCP's MSS.
//!
//! A sealed packet always fits: the inner one is refused with the MTU, or cut before it is sealed where
//! IPv4 lets us. So a path too narrow for an inner packet of 1,280 bytes carries no IPv6 of full size:
//= RFC 2473 §7.1 (a) not done: the outer packet is not fragmented for an inner IPv6 MTU below 1280

use adit_abi::Mode;
use zerocopy::FromBytes;

use crate::headers::checksum::replaced;
use crate::headers::tcp::{self, Tcp};
use crate::headers::{ipv4, ipv6, protocol};
use crate::mode::{self, transport::plain_header};
use crate::packet::{Fragment, Packet};
use crate::sad::SaContext;

/// The largest inner packet, in bytes, whose sealed form fits `egress` bytes of IP packet; outside tunnel mode
/// of one without options or extension headers.
pub fn inner_mtu(sa: &SaContext, egress: u16) -> usize {
    payload_mtu(sa, egress, sa.outer_ip_len())
        + match sa.mode {
            Mode::Tunnel => 0,
            Mode::Transport => sa.outer_ip_len(),
            Mode::Beet => plain_header(sa.record.selector.local_first.is_v4()),
        }
}

/// The same for packets with headers like this one's.
#[inline]
pub fn inner_mtu_for(sa: &SaContext, egress: u16, mtu: usize, packet: &Packet) -> usize {
    match sa.mode {
        Mode::Tunnel => mtu,
        Mode::Transport => {
            let kept = packet.len().saturating_sub(mode::payload_len(sa, packet));
            payload_mtu(sa, egress, kept) + kept
        }
        Mode::Beet => {
            let replaced = packet.len().saturating_sub(mode::payload_len(sa, packet));
            payload_mtu(sa, egress, sa.outer_ip_len()) + replaced
        }
    }
}

/// The most that may go behind ESP, with so many bytes of IP header in front.
fn payload_mtu(sa: &SaContext, egress: u16, header: usize) -> usize {
    let outer = match sa.record.path_mtu {
        0 => egress,
        path => path.min(egress),
    };
    let fixed = header + sa.ipsec_len() + sa.suite.icv_len();
    let room = usize::from(outer).saturating_sub(fixed);
    let block = sa.suite.block();
    (room / block * block).saturating_sub(2)
}

/// Lowers the MSS option of a TCP SYN to what fits `mtu` bytes of IP packet; whether it did.
pub fn clamp_mss(packet: &mut Packet, mtu: usize) -> bool {
    if packet.protocol != protocol::TCP || packet.fragment == Fragment::Later {
        return false;
    }
    let ip = if packet.is_v4() { ipv4::LEN } else { ipv6::LEN };
    let Ok(most) = u16::try_from(mtu.saturating_sub(ip + tcp::LEN)) else {
        return false;
    };
    let segment = packet.upper_mut();
    let Some((header, at, mss)) = find_mss(segment) else {
        return false;
    };
    // Below the least that every host can take there is nothing to gain (RFC 9293 §3.7.1).
    let new = most.max(64);
    if mss <= new {
        return false;
    }
    // In an odd place the option's bytes lie in two checksum words; swapping both sums up the same.
    let (old_word, new_word) = if at % 2 == 0 {
        (mss, new)
    } else {
        (mss.swap_bytes(), new.swap_bytes())
    };
    let checksum = replaced(header.checksum.get(), old_word, new_word);
    if let Some(place) = segment.get_mut(at..at + 2) {
        place.copy_from_slice(&new.to_be_bytes());
    }
    if let Ok((header, _)) = Tcp::mut_from_prefix(segment) {
        header.checksum.set(checksum);
    }
    true
}

/// The header, the MSS's offset in the segment, and its value, of a SYN that has the option.
fn find_mss(segment: &[u8]) -> Option<(Tcp, usize, u16)> {
    let (header, _) = Tcp::read_from_prefix(segment).ok()?;
    if header.flags & tcp::SYN == 0 {
        return None;
    }
    let options = segment.get(..header.header_len())?.get(tcp::LEN..)?;
    let mut at = 0;
    while let Some(kind) = options.get(at) {
        match kind {
            0 => return None,
            1 => at += 1,
            kind => {
                let length = usize::from(*options.get(at + 1)?);
                if *kind == 2 && length == 4 {
                    let value = options.get(at + 2..at + 4)?.first_chunk::<2>()?;
                    return Some((header, tcp::LEN + at + 2, u16::from_be_bytes(*value)));
                }
                if length < 2 {
                    return None;
                }
                at += length;
            }
        }
    }
    None
}
