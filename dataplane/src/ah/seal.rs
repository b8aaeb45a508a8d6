//! Sealing under AH: an ICV over the packet and what of its headers does not change on the way (RFC 4302 §3.3).

use adit_abi::{DropReason, SaState, WorkerCounter};
use arrayvec::ArrayVec;
use zerocopy::IntoBytes;
use zerocopy::byteorder::network_endian::{U16, U32};

use super::mutable;
use crate::clearance::{Cleared, sealed};
use crate::crypto::Authenticator;
use crate::frame::BURST;
use crate::headers::ah::{self, Ah};
use crate::headers::protocol;
use crate::lifetime;
use crate::mode;
use crate::packet::{Fragment, Packet, Packets};
use crate::sad::SaContext;
use crate::turn::Turn;

/// A packet sealed under an AH SA: authentic, but for all to read.
#[derive(Debug)]
pub struct Authenticated(Packet);

impl Authenticated {
    /// Bytes of the outer packet.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl sealed::Sealed for Authenticated {}

impl Cleared for Authenticated {
    fn into_packet(self) -> Packet {
        self.0
    }
}

/// Seals a run of packets in place; what cannot be sealed is dropped.
#[cold]
pub fn seal(
    run: &mut Packets,
    sa: &SaContext,
    integrity: &dyn Authenticator,
    state: &SaState<'_>,
    turn: &mut Turn<'_>,
) -> ArrayVec<Authenticated, BURST> {
    let fits = |packet: &Packet| {
        sa.front() <= packet.frame.headroom() && sa.front() + packet.len() <= usize::from(u16::MAX)
    };
    // Before numbers are reserved, so that none is wasted.
    for packet in std::mem::take(run) {
        if fits(&packet) {
            run.push(packet);
        } else {
            turn.ledger.drop(packet.frame, DropReason::NoRoom);
        }
    }
    let Some(first) = lifetime::reserve_run(run, sa, state, turn) else {
        return ArrayVec::new();
    };
    let mut done = ArrayVec::new();
    for (mut packet, sequence) in run.drain(..).zip(first..) {
        let bytes = packet.len();
        match seal_one(&mut packet, sa, integrity, sequence) {
            Ok(()) => {
                turn.ledger.add(WorkerCounter::Sealed, 1);
                turn.ledger.add(WorkerCounter::SealedBytes, bytes as u64);
                done.push(Authenticated(packet));
            }
            Err(reason) => turn.ledger.drop(packet.frame, reason),
        }
    }
    lifetime::note_use(state, sa.sa, &sa.record, turn.now, &mut turn.events);
    done
}

fn seal_one(
    packet: &mut Packet,
    sa: &SaContext,
    integrity: &dyn Authenticator,
    sequence: u64,
) -> Result<(), DropReason> {
    let record = &sa.record;
    let room = sa.ipsec_len();
    let wrapped =
        mode::wrap(packet, sa, protocol::AH, room, sequence as u16).ok_or(DropReason::NoRoom)?;
    let header = Ah {
        next_header: wrapped.next_header,
        length: (room / 4).saturating_sub(2) as u8,
        reserved: U16::new(0),
        spi: U32::new(record.spi.0),
        sequence: U32::new(sequence as u32),
    };
    packet.upper = wrapped.at as u16;
    packet.source = record.source;
    packet.destination = record.destination;
    packet.protocol = protocol::AH;
    packet.fragment = Fragment::Whole;
    packet.ports = Some([0, 0]);
    // From here on it is the gateway's own.
    packet.side = adit_abi::Side::Host;
    let bytes = packet.frame.bytes_mut();
    let (outer, rest) = bytes
        .split_at_mut_checked(wrapped.at)
        .ok_or(DropReason::NoRoom)?;
    let (authentication, payload) = rest.split_at_mut_checked(room).ok_or(DropReason::NoRoom)?;
    authentication.fill(0);
    let (fixed, icv) = authentication
        .split_at_mut_checked(ah::LEN)
        .ok_or(DropReason::NoRoom)?;
    fixed.copy_from_slice(header.as_bytes());
    let outer = mutable::covered(outer).ok_or(DropReason::BadExtension)?;
    //= RFC 4302 §3.3.3: the ICV field counts as zero, its padding as sent
    let (icv, padding) = icv
        .split_at_mut_checked(sa.suite.icv_len())
        .ok_or(DropReason::BadSa)?;
    let zeros = [0; MOST_ICV];
    let zeros = zeros.get(..icv.len()).ok_or(DropReason::BadSa)?;
    let parts = [&outer[..], &*fixed, zeros, &*padding, &*payload];
    if integrity.sign(&parts, sequence, icv) {
        Ok(())
    } else {
        Err(DropReason::BadSa)
    }
}

/// Bytes of the longest ICV field.
pub(super) const MOST_ICV: usize = 32;
