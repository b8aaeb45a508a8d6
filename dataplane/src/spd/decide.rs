//! From the policy that covers a packet to what happens to it.

use adit_abi::{Action, DropReason, Side};

use super::table::{Match, Spd};
use super::{Decision, NO_POLICY};
use crate::forward::fib::{Fib, Hop};
use crate::packet::Packet;

/// Decides about a packet on its way out: from inside, from the host, or on its way from one SA to
/// the next (RFC 4301 §5.1).
pub fn outbound(spd: &Spd, fib: &Fib, packet: &Packet) -> Decision {
    match spd.find_outbound(&packet.flow_outward(), packet.ports.is_some()) {
        Match::Policy { slot, action } => match action {
            Action::Discard => Decision::Drop(DropReason::PolicyDiscard, slot),
            Action::Bypass => Decision::Bypass(slot),
            Action::Protect if is_for_gateway(fib, packet) => Decision::Bypass(NO_POLICY),
            // Also where a route leads inside: a wrong route must not turn PROTECT into clear.
            Action::Protect => Decision::Seal(slot),
        },
        //= RFC 4301 §3.1: what stays on the protected side does not cross the IPsec boundary
        _ if stays_inside(fib, packet) => Decision::Bypass(NO_POLICY),
        Match::Unclear => Decision::Drop(DropReason::Fragment, NO_POLICY),
        Match::None => unmatched(spd),
    }
}

/// Whether it ends in the gateway: a host inside may talk to it under a policy that protects all the world.
fn is_for_gateway(fib: &Fib, packet: &Packet) -> bool {
    packet.side == Side::Inside && matches!(fib.hop(&packet.destination), Hop::Host { local: true })
}

fn stays_inside(fib: &Fib, packet: &Packet) -> bool {
    is_for_gateway(fib, packet)
        || packet.side != Side::Outside
            && matches!(fib.hop(&packet.destination), Hop::Wire(wire) if wire.side == Side::Inside)
}

/// Decides about a packet that came in clear from outside (RFC 4301 §5.2).
pub fn clear_inbound(spd: &Spd, packet: &Packet) -> Decision {
    match spd.find_inbound(&packet.flow_inward(), packet.ports.is_some()) {
        Match::Policy { slot, action } => match action {
            Action::Bypass => Decision::Bypass(slot),
            Action::Discard => Decision::Drop(DropReason::PolicyDiscard, slot),
            //= RFC 4301 §5.2: what should have been protected and was not is discarded
            Action::Protect => Decision::Drop(DropReason::ClearUnderProtect, slot),
        },
        Match::Unclear => Decision::Drop(DropReason::Fragment, NO_POLICY),
        Match::None => unmatched(spd),
    }
}

fn unmatched(spd: &Spd) -> Decision {
    match Action::from_u8(spd.settings().unmatched) {
        Action::Bypass => Decision::Bypass(NO_POLICY),
        //= RFC 4301 §5.1: what no policy covers is discarded
        Action::Discard | Action::Protect => Decision::Drop(DropReason::NoPolicy, NO_POLICY),
    }
}
