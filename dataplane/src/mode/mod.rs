//! What an SA's mode does to the headers of a packet: which it puts in front of ESP or AH, and which it gives
//! back (RFC 4301 §4.1, §5.1.2; RFC 7402 App. B).
//!
//! | module | before | on the wire |
//! | --- | --- | --- |
//! | `tunnel` | IP, payload | outer IP, **ESP**, IP, payload |
//! | `transport` | IP, payload | IP, **ESP**, payload |
//! | `beet` | IP of the inner addresses, payload | IP of the outer addresses, **ESP**, payload |

pub mod beet;
pub mod transport;
pub mod tunnel;

use adit_abi::{DropReason, Mode};

use crate::classify;
use crate::headers::protocol;
use crate::ledger::Ledger;
use crate::packet::{Fragment, Packet, Refused};
use crate::sad::SaContext;

/// A packet with its outer IP header in place and room behind that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrapped {
    /// Offset of the room, where UDP, ESP or AH goes: bytes of the outer IP header with its extensions.
    pub at: usize,
    /// What follows ESP or AH.
    pub next_header: u8,
}

/// Whether the SA's mode can carry a packet that its selectors cover.
///
/// # Errors
/// The reason to drop it.
#[inline]
pub fn check(sa: &SaContext, packet: &Packet) -> Result<(), DropReason> {
    match sa.mode {
        Mode::Tunnel => Ok(()),
        mode => check_whole(sa, mode, packet),
    }
}

#[cold]
fn check_whole(sa: &SaContext, mode: Mode, packet: &Packet) -> Result<(), DropReason> {
    //= RFC 4303 §3.3.4: transport mode is applied to whole IP datagrams, not to fragments
    if packet.fragment != Fragment::Whole {
        return Err(DropReason::Fragment);
    }
    if mode == Mode::Transport {
        transport::check(&sa.record, packet)
    } else {
        Ok(())
    }
}

/// Bytes that go behind ESP or AH, its own trailer not counted.
#[inline]
pub fn payload_len(sa: &SaContext, packet: &Packet) -> usize {
    match sa.mode {
        Mode::Tunnel => packet.len(),
        Mode::Transport => packet.len() - transport::kept_len(packet),
        Mode::Beet => beet::payload_len(packet),
    }
}

/// Puts the outer IP header and `room` bytes behind it in front of the payload. The length that the header
/// claims is that of all data of the frame.
///
/// `protocol` is what the header announces, `id` identifies fragments of it. `None`, and an unusable packet,
/// if there is no room in the frame.
#[inline]
pub fn wrap(
    packet: &mut Packet,
    sa: &SaContext,
    protocol: u8,
    room: usize,
    id: u16,
) -> Option<Wrapped> {
    match sa.mode {
        Mode::Tunnel => {
            let inherited = tunnel::Inherited::of(sa, packet);
            let next_header = if packet.is_v4() {
                protocol::IPV4
            } else {
                protocol::IPV6
            };
            if !packet.frame.grow_front(sa.outer_ip_len() + room) {
                return None;
            }
            let bytes = packet.frame.bytes_mut();
            let at = tunnel::write_outer(&sa.record, inherited, protocol, id, bytes);
            Some(Wrapped { at, next_header })
        }
        Mode::Transport => transport::wrap(packet, protocol, room),
        Mode::Beet => beet::wrap(packet, &sa.record, protocol, room, id),
    }
}

/// Gives an authentic packet its own headers back. Its payload begins at offset `payload` and ends with the
/// frame's data; `next_header` is what ESP or AH said of it.
///
/// # Errors
/// The frame, with the reason to drop it.
#[inline]
pub fn unwrap(
    mut packet: Packet,
    sa: &SaContext,
    payload: usize,
    next_header: u8,
    ledger: &mut Ledger<'_>,
) -> Result<Packet, Refused> {
    match sa.mode {
        Mode::Tunnel => {
            let outer_class = packet.traffic_class();
            packet.frame.shrink_front(payload);
            let version = match next_header {
                protocol::IPV4 => 4,
                protocol::IPV6 => 6,
                _ => return Err(packet.refuse(DropReason::BadNextHeader)),
            };
            let first = packet.frame.bytes().first().copied().unwrap_or_default();
            if first >> 4 != version {
                return Err(packet.refuse(DropReason::BadInner));
            }
            // Whatever follows the inner packet is padding against traffic analysis and cut off here.
            //= RFC 4303 §2.7: the receiver removes TFC padding by the inner packet's own length
            let mut inner = parse(packet)?;
            match tunnel::decapsulate_ecn(outer_class, &mut inner, ledger) {
                Ok(()) => Ok(inner),
                Err(reason) => Err(inner.refuse(reason)),
            }
        }
        Mode::Transport => unwrap_transport(packet, sa, payload, next_header),
        Mode::Beet => {
            let outer = beet::Inherited::of(&packet, 0);
            packet.frame.shrink_front(payload);
            match beet::unwrap(&mut packet, &sa.record, &outer, next_header) {
                Ok(()) => parse(packet),
                Err(reason) => Err(packet.refuse(reason)),
            }
        }
    }
}

#[cold]
fn unwrap_transport(
    mut packet: Packet,
    sa: &SaContext,
    payload: usize,
    next_header: u8,
) -> Result<Packet, Refused> {
    let kept = usize::from(packet.upper);
    if let Err(reason) = transport::unwrap(&mut packet.frame, kept, payload, next_header) {
        return Err(packet.refuse(reason));
    }
    let mut inner = parse(packet)?;
    if sa.encap() {
        transport::mend_checksum(&mut inner, sa.record.original_sum);
    }
    Ok(inner)
}

fn parse(packet: Packet) -> Result<Packet, Refused> {
    let (port, side) = (packet.port, packet.side);
    classify::parse(packet.frame, port, side).map_err(|refused| Refused {
        frame: refused.frame,
        reason: match refused.reason {
            DropReason::Fragment => DropReason::Fragment,
            _ => DropReason::BadInner,
        },
    })
}
