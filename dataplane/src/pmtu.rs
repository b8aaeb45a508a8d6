//! How large an inner packet may be so that it fits its SA's path (RFC 4301 §8.2), and TCP's MSS.
//!
//! What does not fit is refused with the MTU, cut before it is sealed, or sealed whole and cut then, as its
//! headers and its SA say:
//!
//! | inner packet | before sealing | [`SaFlags::FRAGMENT_AFTER`] | and [`SaFlags::DF_CLEAR`] |
//! | --- | --- | --- | --- |
//! | IPv4 without DF | cut inside | cut outside | cut outside |
//! | IPv4 with DF | refused | refused | cut outside |
//! | IPv6 of at most 1,280 bytes | cut outside | cut outside | cut outside |
//! | IPv6 of more | refused | refused | cut outside |
//!
//! Outside tunnel mode a packet that may be cut is always cut after it is sealed.

use adit_abi::{Mode, SaFlags};
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
    sa.payload_in(usize::from(outer).saturating_sub(header + sa.ipsec_len()))
}

/// The size that inner packets are padded to, where so many bytes fit the path; 0 for none.
#[inline]
pub fn pad_to(sa: &SaContext, mtu: usize) -> u16 {
    match sa.record.tfc_size {
        0 => 0,
        size if sa.mode == Mode::Tunnel => mtu.min(size.into()) as u16,
        _ => 0,
    }
}

/// Whether a packet that does not fit its SA's path is sealed whole, the outer packet cut afterwards.
#[cold]
pub fn is_cut_after_sealing(sa: &SaContext, packet: &Packet) -> bool {
    //= RFC 2473 §7.1 (a): an IPv6 packet that fits 1280 bytes is carried, in fragments of the tunnel packet
    if !packet.is_v4() && packet.len() <= ipv6::MINIMUM_MTU {
        return true;
    }
    if sa.mode != Mode::Tunnel {
        //= RFC 4303 §3.3.4: in transport mode fragmentation comes after ESP
        return packet.may_be_fragmented();
    }
    let flags = sa.record.flags;
    let never = flags.contains(SaFlags::DF_SET) && sa.record.destination.is_v4();
    flags.contains(SaFlags::FRAGMENT_AFTER)
        && !never
        && (flags.contains(SaFlags::DF_CLEAR) || packet.may_be_fragmented())
}

/// The MTU that the sender of a packet is told where `mtu` fits.
#[cold]
pub fn told(packet: &Packet, mtu: usize) -> usize {
    //= RFC 2473 §7.1 (b): no sender of IPv6 is told less than 1280
    if packet.is_v4() {
        mtu
    } else {
        mtu.max(ipv6::MINIMUM_MTU)
    }
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
