//! The SPD as workers see it: what to do with a packet (RFC 4301 §4.4.1, §5).
//!
//! | module | what it holds |
//! | --- | --- |
//! | `table` | the ordered policies of each direction, compiled |
//! | `tree` | the decision tree that makes look-ups quick |
//! | `decide` | from a policy to a decision: outbound, and in clear from outside |
//! | `flow_cache` | each worker's memory of decisions |
//! | `fragments` | ports of fragments that do not show theirs |
//! | `icmp_errors` | ICMP errors, judged by the packet that they quote |
//! | `admit` | what came through an SA, against that SA's selectors |

pub mod admit;
pub mod decide;
pub mod flow_cache;
pub(crate) mod fragments;
pub(crate) mod icmp_errors;
pub mod table;
mod tree;

use adit_abi::DropReason;

use crate::clearance::{Cleared, sealed};
use crate::packet::Packet;

/// Stands for "no policy" where a slot is expected.
pub const NO_POLICY: u32 = u32::MAX;

/// What happens to a packet, and the slot of the policy that says so ([`NO_POLICY`] for none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Into the SA that the policy is linked to.
    Seal(u32),
    /// Forward in clear.
    Bypass(u32),
    /// Drop.
    Drop(DropReason, u32),
}

impl Decision {
    /// The policy's slot, or [`NO_POLICY`].
    pub const fn policy(self) -> u32 {
        match self {
            Self::Seal(slot) | Self::Bypass(slot) | Self::Drop(_, slot) => slot,
        }
    }
}

/// A packet that may be forwarded in clear.
#[derive(Debug)]
pub struct Bypassed(Packet);

impl sealed::Sealed for Bypassed {}

impl Cleared for Bypassed {
    fn into_packet(self) -> Packet {
        self.0
    }
}

impl Bypassed {
    /// The packet, if the decision lets it pass in clear.
    ///
    /// # Errors
    /// The packet, if it does not.
    pub fn under(packet: Packet, decision: Decision) -> Result<Self, Packet> {
        match decision {
            Decision::Bypass(_) => Ok(Self(packet)),
            _ => Err(packet),
        }
    }

    /// A packet that was held for an SA, and control said that it goes on in clear.
    pub(crate) fn answered(packet: Packet) -> Self {
        Self(packet)
    }

    /// An IKE message on its way to this gateway's own IKE.
    pub(crate) fn ike(packet: Packet) -> Self {
        //= RFC 4301 §4.4.1: IKE traffic is bypassed, whatever the SPD says
        Self(packet)
    }
}
