//! Tunnel mode: the outer header around an inner packet, and what of it is kept when it is taken off
//! (RFC 4301 §5.1.2, RFC 6040).

use std::sync::OnceLock;

use adit_abi::{DropReason, SaFlags, SaRecord, WorkerCounter};
use zerocopy::IntoBytes;
use zerocopy::byteorder::network_endian::U16;

use crate::hash::{fold, secret_seed};
use crate::headers::ipv4::{self, Ipv4};
use crate::headers::ipv6::{self, Ipv6};
use crate::ledger::Ledger;
use crate::packet::{Fragment, Packet};
use crate::sad::SaContext;

/// The two ECN bits of a traffic class.
const ECN: u8 = 0b11;
/// "Not ECN-capable transport".
const NOT_ECT: u8 = 0b00;
/// "ECN-capable transport (1)".
const ECT_1: u8 = 0b01;
/// "ECN-capable transport (0)".
const ECT_0: u8 = 0b10;
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
fn outer_traffic_class(sa: &SaContext, inner: u8) -> u8 {
    let flags = sa.record.flags;
    //= RFC 4301 §5.1.2.1: the DSCP is copied, unless the SA says which one to use, or maps it
    let dscp = if flags.contains(SaFlags::DSCP_SET) {
        sa.record.dscp << 2
    } else if let Some(map) = &sa.dscp_map {
        map.get(usize::from(inner >> 2)).map_or(0, |dscp| dscp << 2)
    } else {
        inner & !ECN
    };
    //= RFC 6040 §4.1: normal mode copies the inner ECN field, compatibility mode clears it
    let ecn = if flags.contains(SaFlags::NO_ECN) {
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
    flow_label: u32,
}

impl Inherited {
    /// From the inner packet, as the SA says.
    #[inline]
    pub fn of(sa: &SaContext, inner: &Packet) -> Self {
        let labels = SaFlags::FLOW_HASH.with(SaFlags::FLOW_COPY);
        Self {
            traffic_class: outer_traffic_class(sa, inner.traffic_class()),
            df: outer_df(&sa.record, inner),
            flow_label: if sa.record.flags.intersects(labels) {
                flow_label(&sa.record, inner)
            } else {
                0
            },
        }
    }
}

/// The outer flow label, never asked for between IPv4 addresses.
#[cold]
fn flow_label(sa: &SaRecord, inner: &Packet) -> u32 {
    if sa.destination.is_v4() {
        return 0;
    }
    if sa.flags.contains(SaFlags::FLOW_COPY) {
        return inner.v6().map_or(0, Ipv6::flow_label);
    }
    //= RFC 6438 §3: a tunnel's source hashes the inner flow into the label, so that paths can be chosen by it
    static SEED: OnceLock<u64> = OnceLock::new();
    let seed = *SEED.get_or_init(secret_seed);
    let flow = inner.flow_outward();
    let ([a, b], [c, d]) = (flow.local.to_words(), flow.remote.to_words());
    let rest = u64::from(flow.local_port) << 32
        | u64::from(flow.remote_port) << 16
        | u64::from(flow.protocol);
    // Fragments of one packet belong together, whether they show ports or not.
    let rest = match inner.fragment {
        Fragment::Whole => rest,
        _ => u64::from(flow.protocol),
    };
    let hash = fold(fold(a ^ seed, b ^ c.rotate_left(32)), d ^ rest ^ seed);
    //= RFC 6437 §3: a label that says something is not 0
    (hash as u32 & 0xf_ffff).max(1)
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
        //= RFC 4301 §5.1.2.2: the outer flow label is copied or configured
        let mut ip = Ipv6::new(&sa.source, &sa.destination, protocol, outer_hop_limit(sa));
        ip.set_traffic_class(inherited.traffic_class);
        ip.set_flow_label(inherited.flow_label);
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

/// Carries congestion marks from the outer header into the inner one (RFC 6040 §4.2, figure 4), and counts
/// combinations that no tunnel makes.
///
/// # Errors
/// [`DropReason::EcnCongestion`] where the network marked a packet whose transport cannot be told.
#[inline]
pub fn decapsulate_ecn(
    outer: u8,
    inner: &mut Packet,
    ledger: &mut Ledger<'_>,
) -> Result<(), DropReason> {
    let class = inner.traffic_class();
    if class & ECN == outer & ECN {
        // What nearly every packet says: nobody marked it on its way.
        return Ok(());
    }
    merge_ecn(class, outer, inner, ledger)
}

#[cold]
fn merge_ecn(
    class: u8,
    outer: u8,
    inner: &mut Packet,
    ledger: &mut Ledger<'_>,
) -> Result<(), DropReason> {
    //= RFC 6040 §4.2: combinations that no tunnel makes are counted, the dangerous ones by themselves
    let alarm = match (class & ECN, outer & ECN) {
        (NOT_ECT, ECT_0 | ECT_1 | CE) | (CE, ECT_1) => Some(WorkerCounter::EcnInvalid),
        (ECT_1, ECT_0) => Some(WorkerCounter::EcnUnusual),
        _ => None,
    };
    if let Some(counter) = alarm {
        ledger.add(counter, 1);
    }
    let ecn = match (class & ECN, outer & ECN) {
        //= RFC 6040 §4.2: inner Not-ECT under outer CE is dropped
        (NOT_ECT, CE) => return Err(DropReason::EcnCongestion),
        (NOT_ECT, _) => NOT_ECT,
        (_, CE) | (CE, _) => CE,
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
