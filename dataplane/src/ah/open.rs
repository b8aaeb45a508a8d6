//! Opening under AH: packets of one SA that came from outside, verified and given their own headers back
//! (RFC 4302 §3.4).

use adit_abi::{DropReason, Event, SaKey, SaState, SaStateFlag};
use arrayvec::ArrayVec;
use zerocopy::FromBytes;

use super::mutable;
use super::seal::MOST_ICV;
use crate::clearance::{FromSa, sealed};
use crate::crypto::Authenticator;
use crate::esp::open::Arrived;
use crate::frame::BURST;
use crate::headers::ah::{self, Ah};
use crate::headers::protocol;
use crate::lifetime;
use crate::mode;
use crate::packet::{Packet, Refused};
use crate::replay::Window;
use crate::sad::{self, SaContext};
use crate::turn::Turn;

/// A packet that was authentic. It may not be sent before it is admitted.
#[derive(Debug)]
pub struct Verified {
    packet: Packet,
    around: Option<SaKey>,
}

impl sealed::Sealed for Verified {}

impl FromSa for Verified {
    fn packet_mut(&mut self) -> &mut Packet {
        &mut self.packet
    }

    fn into_parts(self) -> (Packet, Option<SaKey>) {
        (self.packet, self.around)
    }
}

/// Opens a run of packets in place; what is not authentic, fresh and well-formed is dropped.
#[cold]
pub fn open(
    run: &mut ArrayVec<Arrived, BURST>,
    sa: &SaContext,
    integrity: &dyn Authenticator,
    state: &SaState<'_>,
    turn: &mut Turn<'_>,
) -> ArrayVec<Verified, BURST> {
    let record = &sa.record;
    if !lifetime::is_alive(state, &record.hard, turn.now) {
        lifetime::note_expiry(state, sa.sa, &mut turn.events);
        for arrived in run.drain(..) {
            turn.ledger
                .drop(arrived.packet.frame, DropReason::LifetimeExpired);
        }
        return ArrayVec::new();
    }
    let window = Window::new(
        state.sequence(),
        state.ring(record.window),
        record.window,
        record.esn(),
    );
    let mut done: ArrayVec<Verified, BURST> = ArrayVec::new();
    for arrived in run.drain(..) {
        match open_one(arrived, sa, integrity, &window, state, turn) {
            Ok(verified) => done.push(verified),
            Err(refused) => {
                sad::count_refused(state, refused.reason);
                turn.ledger.refuse(refused);
            }
        }
    }
    let sizes = done.iter().map(|verified| verified.packet.len());
    let within = lifetime::reserve(state, &record.hard, sizes);
    if within < done.len() {
        lifetime::note_expiry(state, sa.sa, &mut turn.events);
        for verified in done.drain(within..) {
            turn.ledger
                .drop(verified.packet.frame, DropReason::LifetimeExpired);
        }
    }
    if !done.is_empty() {
        lifetime::note_use(state, sa.sa, record, turn.now, &mut turn.events);
    }
    done
}

fn open_one(
    arrived: Arrived,
    sa: &SaContext,
    integrity: &dyn Authenticator,
    window: &Window<'_>,
    state: &SaState<'_>,
    turn: &mut Turn<'_>,
) -> Result<Verified, Refused> {
    let Arrived { packet, at, around } = arrived;
    let at = usize::from(at);
    let next_header = match verify(packet.frame.bytes(), at, sa, integrity, window) {
        Ok(next_header) => next_header,
        Err(reason) => return Err(packet.refuse(reason)),
    };
    if !state.raised(SaStateFlag::FirstPacketReported)
        && state.raise(SaStateFlag::FirstPacketReported)
    {
        turn.events.push(Event::FirstPacket(sa.sa));
    }
    if next_header == protocol::NONE {
        return Err(packet.refuse(DropReason::Dummy));
    }
    let packet = mode::unwrap(
        packet,
        sa,
        at + sa.ipsec_len(),
        next_header,
        &mut turn.ledger,
    )?;
    Ok(Verified { packet, around })
}

/// Verifies a packet whose AH header begins at an offset, and marks its number as received; returns what follows AH.
fn verify(
    bytes: &[u8],
    at: usize,
    sa: &SaContext,
    integrity: &dyn Authenticator,
    window: &Window<'_>,
) -> Result<u8, DropReason> {
    let (outer, rest) = bytes.split_at_checked(at).ok_or(DropReason::Truncated)?;
    let (header, _) = Ah::ref_from_prefix(rest).map_err(|_| DropReason::Truncated)?;
    //= RFC 4302 §3.3.3.2.1: padding in excess of the minimum is prohibited
    if header.total_len() != sa.ipsec_len() {
        return Err(DropReason::BadAhLength);
    }
    let (authentication, payload) = rest
        .split_at_checked(sa.ipsec_len())
        .ok_or(DropReason::Truncated)?;
    let sequence = window.check(header.sequence.get())?;
    let (fixed, icv) = authentication
        .split_at_checked(ah::LEN)
        .ok_or(DropReason::Truncated)?;
    let (icv, padding) = icv
        .split_at_checked(sa.suite.icv_len())
        .ok_or(DropReason::BadSa)?;
    let outer = mutable::covered(outer).ok_or(DropReason::BadExtension)?;
    let zeros = [0; MOST_ICV];
    let zeros = zeros.get(..icv.len()).ok_or(DropReason::BadSa)?;
    let parts = [&outer[..], fixed, zeros, padding, payload];
    if !integrity.verify(&parts, sequence, icv) {
        return Err(DropReason::BadIcv);
    }
    //= RFC 4302 §3.4.3: the window is updated only if the ICV verification succeeds
    window.advance(sequence)?;
    Ok(header.next_header)
}
