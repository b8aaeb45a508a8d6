//! ICMP errors through SAs, judged by the packet that they quote (RFC 4301 §6.2).

use adit_abi::{Action, SaFlags};

use super::table::{Match, Spd};
use crate::packet::{Fragment, Packet};
use crate::quoted::Quoted;
use crate::sad::SaContext;

/// Whether a packet is an ICMP error that shows what it quotes.
pub fn is_error(packet: &Packet) -> bool {
    packet.fragment == Fragment::Whole && packet.is_icmp_error()
}

/// The PROTECT policy that covers the traffic which the packet quoted by an outbound error is the answer to.
#[cold]
pub fn policy_of(spd: &Spd, error: &Packet) -> Option<u32> {
    let quoted = Quoted::of(error).filter(|quoted| quoted.source == error.destination)?;
    let (flow, ports) = quoted.flow_outward();
    //= RFC 4301 §6.2: an error without a policy of its own goes where the return traffic of its cause would
    match spd.find_outbound(&flow.reversed(), ports) {
        Match::Policy {
            slot,
            action: Action::Protect,
        } => Some(slot),
        _ => None,
    }
}

/// Whether an SA would carry the return traffic of what an outbound error quotes.
#[cold]
pub fn may_leave(sa: &SaContext, error: &Packet) -> bool {
    Quoted::of(error).is_some_and(|quoted| {
        let (flow, ports) = quoted.flow_outward();
        quoted.source == error.destination && sa.covers(&flow.reversed(), ports) == Some(true)
    })
}

/// Whether what an inbound error quotes is traffic that the SA's counterpart carried out.
#[cold]
pub fn may_enter(sa: &SaContext, error: &Packet) -> bool {
    Quoted::of(error).is_some_and(|quoted| {
        let (flow, ports) = quoted.flow_outward();
        //= RFC 4301 §6.2: the quoted header, reversed, is consistent with the SA's selectors
        quoted.source == error.destination && sa.covers(&flow, ports) == Some(true)
    })
}

/// Whether errors through the SA are judged by what they quote even where their own header fits.
#[inline]
pub fn are_checked(sa: &SaContext) -> bool {
    sa.record.flags.contains(SaFlags::ICMP_CHECK)
}
