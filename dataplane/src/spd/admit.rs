//! The last check of what came through an SA: does the SA cover it?

use adit_abi::DropReason;

use super::icmp_errors;
use crate::clearance::{Cleared, FromSa, sealed};
use crate::packet::{Packet, Refused};
use crate::sad::SaContext;

/// An opened packet that the SA's selectors cover.
///
/// It may go inside or to the host; on its way out again it is decided about anew, see
/// [`crate::worker`].
#[derive(Debug)]
pub struct Admitted(Packet);

impl sealed::Sealed for Admitted {}

impl Cleared for Admitted {
    fn into_packet(self) -> Packet {
        self.0
    }
}

impl Admitted {
    /// The packet's fields.
    pub fn packet(&self) -> &Packet {
        &self.0
    }

    /// Gives the clearance up, so that the SPD decides about the packet as about any other.
    pub fn into_transit(self) -> Packet {
        self.0
    }

    /// The packet, for changes on its way through (hop limit, MSS) that leave its selectors alone.
    pub(crate) fn packet_mut(&mut self) -> &mut Packet {
        &mut self.0
    }
}

/// Admits an opened packet if the SA it came through covers it, and if that was nested as it must be
/// (RFC 4301 §5.2 step 4).
///
/// # Errors
/// The frame, with the reason to drop it.
pub fn admit<T: FromSa>(opened: T, sa: &SaContext) -> Result<Admitted, Refused> {
    let (packet, around) = opened.into_parts();
    if sa.record.around.0 != 0 && around != sa.record.around() {
        return Err(packet.refuse(DropReason::NotNested));
    }
    match sa.covers(&packet.flow_inward(), packet.ports.is_some()) {
        Some(true) if icmp_errors::are_checked(sa) => admit_checked(packet, sa),
        Some(true) => Ok(Admitted(packet)),
        //= RFC 4301 §7.1: a fragment whose ports an SA selects by does not belong in it
        Some(false) => Err(packet.refuse(DropReason::Fragment)),
        None if icmp_errors::is_error(&packet) => admit_checked(packet, sa),
        None => Err(packet.refuse(DropReason::SelectorMismatch)),
    }
}

/// Admits an ICMP error by what it quotes, and anything else.
#[cold]
fn admit_checked(packet: Packet, sa: &SaContext) -> Result<Admitted, Refused> {
    if !icmp_errors::is_error(&packet) || icmp_errors::may_enter(sa, &packet) {
        Ok(Admitted(packet))
    } else {
        Err(packet.refuse(DropReason::IcmpQuote))
    }
}
