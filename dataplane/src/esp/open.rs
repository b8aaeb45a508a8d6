//! Opening: from packets of one SA that came from outside to their inner packets (RFC 4303 §3.4).

use adit_abi::{DropReason, Event, SaKey, SaState, SaStateFlag};
use arrayvec::ArrayVec;
use zerocopy::FromBytes;

use crate::clearance::{FromSa, sealed};
use crate::crypto::{Job, Transform};
use crate::frame::BURST;
use crate::headers::esp::{self, Esp};
use crate::headers::protocol;
use crate::lifetime;
use crate::mode;
use crate::packet::{Packet, Refused};
use crate::replay::Window;
use crate::sad::{SaContext, count_refused};
use crate::turn::Turn;

/// A packet from outside and where its ESP or AH header begins.
#[derive(Debug)]
pub struct Arrived {
    /// The packet.
    pub packet: Packet,
    /// Offset of the ESP or AH header in its data.
    pub at: u16,
    /// The SA that was opened around it, if any.
    pub around: Option<SaKey>,
}

/// An inner packet that was authentic. It may not be sent before it is admitted.
#[derive(Debug)]
pub struct Opened {
    packet: Packet,
    around: Option<SaKey>,
}

impl sealed::Sealed for Opened {}

impl FromSa for Opened {
    fn packet_mut(&mut self) -> &mut Packet {
        &mut self.packet
    }

    fn into_parts(self) -> (Packet, Option<SaKey>) {
        (self.packet, self.around)
    }
}

/// Opens a run of packets in place; what is not authentic, fresh and well-formed is dropped.
pub fn open(
    run: &mut ArrayVec<Arrived, BURST>,
    sa: &SaContext,
    cipher: &dyn Transform,
    state: &SaState<'_>,
    turn: &mut Turn<'_>,
) -> ArrayVec<Opened, BURST> {
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
    let mut worth: ArrayVec<(Arrived, u64), BURST> = ArrayVec::new();
    for arrived in run.drain(..) {
        match before_icv(&arrived, sa, &window) {
            Ok(sequence) => worth.push((arrived, sequence)),
            Err(reason) => {
                count_refused(state, reason);
                turn.ledger.drop(arrived.packet.frame, reason);
            }
        }
    }
    let mut jobs: ArrayVec<Job<'_>, BURST> = worth
        .iter_mut()
        .map(|(arrived, sequence)| {
            let at = arrived.at as usize;
            let bytes = arrived.packet.frame.bytes_mut();
            Job::new(bytes.get_mut(at..).unwrap_or_default(), *sequence)
        })
        .collect();
    cipher.open(&mut jobs);
    let ok: ArrayVec<bool, BURST> = jobs.iter().map(|job| job.ok).collect();
    drop(jobs);
    let mut done = ArrayVec::new();
    for ((arrived, sequence), ok) in worth.into_iter().zip(ok) {
        let verified = if ok {
            window.advance(sequence)
        } else {
            Err(DropReason::BadIcv)
        };
        let opened = match verified {
            Ok(()) => after_icv(arrived, sa, state, turn),
            Err(reason) => Err(arrived.packet.refuse(reason)),
        };
        match opened {
            Ok(opened) => done.push(opened),
            Err(refused) => {
                count_refused(state, refused.reason);
                turn.ledger.refuse(refused);
            }
        }
    }
    within_lifetime(&mut done, sa, state, turn);
    if !done.is_empty() {
        lifetime::note_use(state, sa.sa, record, turn.now, &mut turn.events);
    }
    done
}

/// What is checked before any cryptography: lengths and the window.
fn before_icv(arrived: &Arrived, sa: &SaContext, window: &Window<'_>) -> Result<u64, DropReason> {
    let bytes = arrived.packet.frame.bytes();
    let packet = bytes
        .get(arrived.at as usize..)
        .ok_or(DropReason::Truncated)?;
    let (header, rest) = Esp::ref_from_prefix(packet).map_err(|_| DropReason::Truncated)?;
    let fixed = sa.suite.iv_len() + sa.suite.icv_len();
    let body = rest.len().checked_sub(fixed).ok_or(DropReason::Truncated)?;
    if body < sa.suite.block() {
        return Err(DropReason::Truncated);
    }
    //= RFC 4303 §2.4: payload and trailer are a multiple of 4 octets, or of the cipher's block
    if !body.is_multiple_of(sa.suite.block()) {
        return Err(DropReason::BadLength);
    }
    window.check(header.sequence.get())
}

/// Takes the inner packet out of an authentic one.
fn after_icv(
    arrived: Arrived,
    sa: &SaContext,
    state: &SaState<'_>,
    turn: &mut Turn<'_>,
) -> Result<Opened, Refused> {
    if !state.raised(SaStateFlag::FirstPacketReported)
        && state.raise(SaStateFlag::FirstPacketReported)
    {
        turn.events.push(Event::FirstPacket(sa.sa));
    }
    let Arrived {
        mut packet,
        at,
        around,
    } = arrived;
    let front = at as usize + esp::LEN + sa.suite.iv_len();
    let payload = packet
        .frame
        .bytes()
        .get(front..packet.len().saturating_sub(sa.suite.icv_len()))
        .unwrap_or_default();
    let (length, next_header) = match check_trailer(payload) {
        Ok(found) => found,
        Err(reason) => return Err(packet.refuse(reason)),
    };
    let excess = packet.len() - front - length;
    packet.frame.shrink_back(excess);
    let packet = mode::unwrap(packet, sa, front, next_header, &mut turn.ledger)?;
    Ok(Opened { packet, around })
}

/// Length of what precedes the padding, and the next header.
fn check_trailer(payload: &[u8]) -> Result<(usize, u8), DropReason> {
    let Some(([pad_length, next_header], body)) = payload
        .split_last_chunk::<2>()
        .map(|(body, trailer)| (*trailer, body))
    else {
        return Err(DropReason::BadPadding);
    };
    //= RFC 4303 §2.6: a dummy packet is discarded without further ado
    if next_header == protocol::NONE {
        return Err(DropReason::Dummy);
    }
    let length = body
        .len()
        .checked_sub(pad_length.into())
        .ok_or(DropReason::BadPadding)?;
    let padding = body.get(length..).unwrap_or_default();
    //= RFC 4303 §2.4: the receiver SHOULD inspect the padding
    if padding.iter().zip(1..=u8::MAX).any(|(byte, n)| *byte != n) {
        return Err(DropReason::BadPadding);
    }
    Ok((length, next_header))
}

/// Counts opened packets against the hard limits and drops those past them.
fn within_lifetime(
    done: &mut ArrayVec<Opened, BURST>,
    sa: &SaContext,
    state: &SaState<'_>,
    turn: &mut Turn<'_>,
) {
    let sizes = done.iter().map(|opened| opened.packet.len());
    let within = lifetime::reserve(state, &sa.record.hard, sizes);
    if within < done.len() {
        lifetime::note_expiry(state, sa.sa, &mut turn.events);
        for opened in done.drain(within..) {
            turn.ledger
                .drop(opened.packet.frame, DropReason::LifetimeExpired);
        }
    }
}
