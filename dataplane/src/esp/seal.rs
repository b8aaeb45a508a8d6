//! Sealing: from inner packets of one SA to packets for the outside (RFC 4303 §3.3).

use adit_abi::{DropReason, SaState, WorkerCounter};
use arrayvec::ArrayVec;
use zerocopy::IntoBytes;

use super::tfc;
use crate::clearance::{Cleared, sealed};
use crate::crypto::{Job, Transform};
use crate::frame::BURST;
use crate::headers::{protocol, udp};
use crate::ledger::Ledger;
use crate::lifetime;
use crate::mode;
use crate::packet::{Fragment, Packet, Packets};
use crate::sad::SaContext;
use crate::turn::Turn;
use crate::udp_encap;

/// A packet sealed under an SA.
#[derive(Debug)]
pub struct Sealed(Packet);

impl Sealed {
    /// Bytes of the outer packet.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl sealed::Sealed for Sealed {}

impl Cleared for Sealed {
    fn into_packet(self) -> Packet {
        self.0
    }
}

/// Bytes behind the inner packet: TFC padding, padding, pad length, next header, ICV.
fn trailer_len(sa: &SaContext, inner: usize) -> usize {
    let block = sa.suite.block();
    let tfc = tfc::padding(sa, inner);
    let inner = inner + tfc;
    tfc + (inner + 2).next_multiple_of(block) - inner + sa.suite.icv_len()
}

/// Seals a run of packets in place; what cannot be sealed is dropped.
pub fn seal(
    run: &mut Packets,
    sa: &SaContext,
    cipher: &dyn Transform,
    state: &SaState<'_>,
    turn: &mut Turn<'_>,
) -> ArrayVec<Sealed, BURST> {
    drop_without_room(run, sa, &mut turn.ledger);
    let Some(first) = lifetime::reserve_run(run, sa, state, turn) else {
        return ArrayVec::new();
    };
    let bytes: usize = run.iter().map(Packet::len).sum();
    turn.ledger.add(WorkerCounter::Sealed, run.len() as u64);
    turn.ledger.add(WorkerCounter::SealedBytes, bytes as u64);
    for (packet, sequence) in run.iter_mut().zip(first..) {
        if !encapsulate(packet, sa, sequence) {
            // Room was checked for the whole run; were that wrong, an empty packet cannot be sealed or sent.
            let all = packet.len();
            packet.frame.shrink_back(all);
        }
    }
    let udp = if sa.encap() { udp::LEN } else { 0 };
    let mut jobs: ArrayVec<Job<'_>, BURST> = run
        .iter_mut()
        .zip(first..)
        .map(|(packet, sequence)| {
            let at = usize::from(packet.upper) + udp;
            let esp = packet.frame.bytes_mut().get_mut(at..).unwrap_or_default();
            Job::new(esp, sequence)
        })
        .collect();
    cipher.seal(&mut jobs);
    let ok: ArrayVec<bool, BURST> = jobs.iter().map(|job| job.ok).collect();
    drop(jobs);
    let mut done = ArrayVec::new();
    for (mut packet, ok) in run.drain(..).zip(ok) {
        if !ok {
            turn.ledger.drop(packet.frame, DropReason::BadSa);
            continue;
        }
        if sa.encap() && !packet.is_v4() {
            let (source, destination) = (packet.source, packet.destination);
            udp_encap::write_checksum(packet.upper_mut(), &source, &destination);
        }
        done.push(Sealed(packet));
    }
    lifetime::note_use(state, sa.sa, &sa.record, turn.now, &mut turn.events);
    done
}

fn drop_without_room(run: &mut Packets, sa: &SaContext, ledger: &mut Ledger<'_>) {
    let fits = |packet: &Packet| {
        let back = trailer_len(sa, mode::payload_len(sa, packet));
        sa.front() <= packet.frame.headroom()
            && back <= packet.frame.tailroom()
            && sa.front() + packet.len() + back <= usize::from(u16::MAX)
    };
    // Before numbers are reserved, so that none is wasted.
    if !run.iter().all(fits) {
        for packet in std::mem::take(run) {
            if fits(&packet) {
                run.push(packet);
            } else {
                ledger.drop(packet.frame, DropReason::NoRoom);
            }
        }
    }
}

/// Writes trailer, ESP header and outer headers around a payload; `false` if there is no room for them.
fn encapsulate(packet: &mut Packet, sa: &SaContext, sequence: u64) -> bool {
    let record = &sa.record;
    let payload = mode::payload_len(sa, packet);
    let (tfc, trailer) = (tfc::padding(sa, payload), trailer_len(sa, payload));
    let dummy = tfc::is_dummy(packet);
    if !packet.frame.grow_back(trailer) {
        return false;
    }
    let outer_protocol = if sa.encap() {
        protocol::UDP
    } else {
        protocol::ESP
    };
    let room = sa.ipsec_len();
    let Some(wrapped) = mode::wrap(packet, sa, outer_protocol, room, sequence as u16) else {
        return false;
    };
    let mut at = wrapped.at;
    packet.upper = at as u16;
    let bytes = packet.frame.bytes_mut();
    let payload_end = bytes.len().saturating_sub(trailer);
    let (_, tail) = bytes.split_at_mut(payload_end);
    let next_header = match dummy {
        //= RFC 4303 §2.6: a dummy packet has the next header 59
        true => protocol::NONE,
        false => wrapped.next_header,
    };
    let (padding, tail) = tail.split_at_mut(tfc.min(tail.len()));
    padding.fill(0);
    write_trailer(tail, sa.suite.icv_len(), next_header);
    if sa.encap() {
        let header = udp_encap::header(record, bytes.len() - at - udp::LEN);
        if let Some(place) = bytes.get_mut(at..at + udp::LEN) {
            place.copy_from_slice(header.as_bytes());
        }
        at += udp::LEN;
    }
    if let Some(spi) = bytes.get_mut(at..at + 4) {
        spi.copy_from_slice(&record.spi.0.to_be_bytes());
    }
    packet.source = record.source;
    packet.destination = record.destination;
    packet.protocol = outer_protocol;
    packet.fragment = Fragment::Whole;
    packet.ports = Some([record.encap_source, record.encap_destination]);
    // From here on it is the gateway's own.
    packet.side = adit_abi::Side::Host;
    true
}

/// Padding 1, 2, 3, …, its length, the next header; the ICV is the cipher's.
fn write_trailer(tail: &mut [u8], icv: usize, next_header: u8) {
    let Some(padding) = tail.len().checked_sub(icv + 2) else {
        return;
    };
    //= RFC 4303 §2.4: the padding bytes are 1, 2, 3, …
    for (byte, n) in tail.iter_mut().take(padding).zip(1..) {
        *byte = n;
    }
    for (byte, value) in tail
        .iter_mut()
        .skip(padding)
        .zip([padding as u8, next_header])
    {
        *byte = value;
    }
}
