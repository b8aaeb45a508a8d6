//! Tunnel mode: the outer header around an inner packet, and what of it is kept when it is taken off
//! (RFC 4301 §5.1.2, RFC 6040).

use adit_abi::{DropReason, SaFlags, SaRecord};
use zerocopy::IntoBytes;
use zerocopy::byteorder::network_endian::U16;

use crate::headers::ipv4::{self, Ipv4};
use crate::headers::ipv6::{self, Ipv6};
use crate::packet::Packet;

/// The two ECN bits of a traffic class.
const ECN: u8 = 0b11;
/// "Not ECN-capable transport".
const NOT_ECT: u8 = 0b00;
/// "ECN-capable transport (1)".
const ECT_1: u8 = 0b01;
/// "Congestion experienced".
const CE: u8 = 0b11;

/// TTL or hop limit of an SA's outer header.
pub const fn outer_hop_limit(sa: &SaRecord) -> u8 {
    match sa.hop_limit {
        0 => 64,
        n => n,
    }
}

/// DSCP and ECN of the outer header.
fn outer_traffic_class(sa: &SaRecord, inner: u8) -> u8 {
    //= RFC 4301 §5.1.2.1: the DSCP is copied, unless the SA says which one to use
    let dscp = if sa.flags.contains(SaFlags::DSCP_SET) {
        sa.dscp << 2
    } else {
        inner & !ECN
    };
    //= RFC 6040 §4.1: normal mode copies the inner ECN field, compatibility mode clears it
    let ecn = if sa.flags.contains(SaFlags::NO_ECN) {
        NOT_ECT
    } else {
        inner & ECN
    };
    dscp | ecn
}

/// The outer DF bit (RFC 4301 §8.1).
fn outer_df(sa: &SaRecord, inner: &Packet) -> bool {
    if sa.flags.contains(SaFlags::DF_SET) {
        true
    } else if sa.flags.contains(SaFlags::DF_CLEAR) {
        false
    } else {
        // IPv6 is never cut on its way, which is what DF says.
        inner.v4().is_none_or(Ipv4::df)
    }
}

/// What the outer header takes from the inner packet, read before anything is written.
#[derive(Clone, Copy, Debug)]
pub struct Inherited {
    traffic_class: u8,
    df: bool,
}

impl Inherited {
    /// From the inner packet, as the SA says.
    #[inline]
    pub fn of(sa: &SaRecord, inner: &Packet) -> Self {
        Self {
            traffic_class: outer_traffic_class(sa, inner.traffic_class()),
            df: outer_df(sa, inner),
        }
    }
}

/// Writes the outer IP header at the front of `packet`, whose whole length the header will claim.
///
/// `id` identifies the packet's fragments, should a router cut it. Returns the header's length; nothing is
/// written and 0 returned if `packet` is shorter than that.
#[inline]
pub fn write_outer(
    sa: &SaRecord,
    inherited: Inherited,
    protocol: u8,
    id: u16,
    packet: &mut [u8],
) -> usize {
    let total = packet.len();
    if sa.destination.is_v4() {
        let mut ip = Ipv4::new(&sa.source, &sa.destination, protocol, outer_hop_limit(sa));
        ip.traffic_class = inherited.traffic_class;
        ip.total_len = U16::new(total as u16);
        if inherited.df {
            //= RFC 6864 §4.1: the ID of a datagram that is never fragmented means nothing
            ip.fragment = U16::new(ipv4::DF);
        } else {
            ip.id = U16::new(id);
        }
        ip.write_checksum();
        write(packet, ip.as_bytes())
    } else {
        //= RFC 4301 §5.1.2.2: the outer flow label may be configured; it is 0
        let mut ip = Ipv6::new(&sa.source, &sa.destination, protocol, outer_hop_limit(sa));
        ip.set_traffic_class(inherited.traffic_class);
        ip.payload_len = U16::new(total.saturating_sub(ipv6::LEN) as u16);
        write(packet, ip.as_bytes())
    }
}

fn write(packet: &mut [u8], header: &[u8]) -> usize {
    match packet.get_mut(..header.len()) {
        Some(head) => {
            head.copy_from_slice(header);
            header.len()
        }
        None => 0,
    }
}

/// Carries congestion marks from the outer header into the inner one (RFC 6040 §4.2, figure 4).
///
/// # Errors
/// [`DropReason::EcnCongestion`] where the network marked a packet whose transport cannot be told.
#[inline]
pub fn decapsulate_ecn(outer: u8, inner: &mut Packet) -> Result<(), DropReason> {
    let class = inner.traffic_class();
    let ecn = match (class & ECN, outer & ECN) {
        //= RFC 6040 §4.2: inner Not-ECT under outer CE is dropped
        (NOT_ECT, CE) => return Err(DropReason::EcnCongestion),
        (NOT_ECT, _) => NOT_ECT,
        (_, CE) => CE,
        (CE, _) => CE,
        //= RFC 6040 §4.2: inner ECT(0) under outer ECT(1) becomes ECT(1)
        (_, ECT_1) => ECT_1,
        (own, _) => own,
    };
    let new = class & !ECN | ecn;
    if new != class {
        if let Some(ip) = inner.v4_mut() {
            ip.set_traffic_class(new);
        } else if let Some(ip) = inner.v6_mut() {
            ip.set_traffic_class(new);
        }
    }
    Ok(())
}
