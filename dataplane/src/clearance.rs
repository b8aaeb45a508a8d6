//! Which packets may be sent.
//!
//! [`Forward::send`](crate::forward::Forward) takes a [`Cleared`] packet only, and each kind of those is
//! made in one place:
//!
//! | kind | made by |
//! | --- | --- |
//! | [`Sealed`](crate::esp::seal::Sealed) | `esp::seal`, from what a PROTECT policy covers |
//! | [`Authenticated`](crate::ah::seal::Authenticated) | `ah::seal`, from the same, or from a sealed packet |
//! | [`Admitted`](crate::spd::admit::Admitted) | `spd::admit`, from what `esp::open` or `ah::open` opened |
//! | [`Bypassed`](crate::spd::Bypassed) | the SPD's verdict BYPASS, or control's about a packet held for an SA |
//! | [`IcmpError`](crate::icmp::IcmpError) | `icmp`, about packets that cannot go on; it goes inside only |
//! | [`Keepalive`](crate::udp_encap::Keepalive) | `udp_encap`, from nothing but an SA's addresses |

use adit_abi::SaKey;

use crate::packet::Packet;

pub(crate) mod sealed {
    /// Keeps [`super::Cleared`] and [`super::FromSa`] to this crate.
    pub trait Sealed {}
}

/// A packet that may be sent.
pub trait Cleared: sealed::Sealed {
    /// The packet, for the sender alone.
    fn into_packet(self) -> Packet;
}

/// A packet that came through an SA and was authentic; it may not be sent before `spd::admit` has admitted it.
pub trait FromSa: sealed::Sealed {
    /// The packet, for what selectors are to know of it beside its own headers.
    fn packet_mut(&mut self) -> &mut Packet;

    /// The packet, and the key of the SA that was opened around this one, if any.
    fn into_parts(self) -> (Packet, Option<SaKey>);
}
