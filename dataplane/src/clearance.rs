//! Which packets may be sent.
//!
//! [`Forward::send`](crate::forward::Forward) takes a [`Cleared`] packet only, and each kind of those is
//! made in one place:
//!
//! | kind | made by |
//! | --- | --- |
//! | [`Sealed`](crate::esp::seal::Sealed) | `esp::seal`, from what a PROTECT policy covers |
//! | [`Admitted`](crate::spd::admit::Admitted) | `spd::admit`, from what `esp::open` opened |
//! | [`Bypassed`](crate::spd::Bypassed) | the SPD's verdict BYPASS |
//! | [`IcmpError`](crate::icmp::IcmpError) | `icmp`, about packets that cannot go on; it goes inside only |
//! | [`Keepalive`](crate::udp_encap::Keepalive) | `udp_encap`, from nothing but an SA's addresses |

use crate::packet::Packet;

pub(crate) mod sealed {
    /// Keeps [`super::Cleared`] to this crate.
    pub trait Sealed {}
}

/// A packet that may be sent.
pub trait Cleared: sealed::Sealed {
    /// The packet, for the sender alone.
    fn into_packet(self) -> Packet;
}
