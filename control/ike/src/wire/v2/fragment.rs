//! Messages in several datagrams (RFC 7383): split before they are sealed, put together after they were opened.

use super::encrypted::{FragmentNumber, Sealing, Unsealed};
use super::message::Header;
use super::payload::{Payload, PayloadType, emit_payloads};
use crate::wire::MAX_MESSAGE;
use crate::wire::error::{Fault, WireError};

/// Most fragments of one message, in either direction: 64 KiB in datagrams of 576 octets.
pub const MAX_FRAGMENTS: u16 = 150;

/// Lays out a message as one SK payload if it fits `limit` octets (header included, UDP and non-ESP marker not), else as SKF payloads that do.
///
/// # Errors
/// If a payload outgrows its length field, or the message the limits above.
pub fn split(
    header: &Header,
    payloads: &[Payload],
    sealing: &Sealing,
    limit: usize,
) -> Result<Vec<Unsealed>, WireError> {
    let (first, text) = emit_payloads(payloads)?;
    if sealing.message_len(text.len(), false) <= limit {
        return Ok(vec![Unsealed::with_text(
            header, first, &text, None, sealing,
        )?]);
    }
    let room = sealing.room(limit, true).filter(|room| *room > 0);
    let room = room.ok_or(WireError::new("SKF", "limit", Fault::Length(limit)))?;
    let total = u16::try_from(text.len().div_ceil(room)).ok();
    let total = total
        .filter(|total| *total <= MAX_FRAGMENTS && text.len() <= MAX_MESSAGE)
        .ok_or(WireError::new(
            "SKF",
            "fragments",
            Fault::TooMany(MAX_FRAGMENTS.into()),
        ))?;
    (1..=total)
        .zip(text.chunks(room))
        .map(|(number, chunk)| {
            //= RFC 7383 §2.5: only the first fragment names the first payload
            let first = if number == 1 {
                first
            } else {
                PayloadType::None
            };
            let fragment = FragmentNumber { number, total };
            Unsealed::with_text(header, first, chunk, Some(fragment), sealing)
        })
        .collect()
}

/// What a fragment led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Others are still missing.
    Waiting,
    /// That was the last one missing: the first payload's type, and the octets inside SK as if they had come in one piece.
    Whole(PayloadType, Vec<u8>),
    /// The fragments are longer than any message: what was held is dropped, and the IKE SA had better be too (RFC 7383 §5).
    TooLong,
}

/// The fragments of one message that have come so far. Who holds it gives it a message ID and a time limit.
#[derive(Debug, Default)]
pub struct Reassembly {
    first: Option<PayloadType>,
    /// One place for each fragment of the set.
    chunks: Vec<Option<Vec<u8>>>,
    held: usize,
}

impl Reassembly {
    /// Nothing has come so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a fragment is worth the opening: none of an older set, none that is there already.
    //= RFC 7383 §2.6: replays and smaller sets are discarded before the ICV is looked at
    pub fn wants(&self, fragment: FragmentNumber) -> bool {
        let total = usize::from(fragment.total);
        let known = self
            .chunks
            .get(usize::from(fragment.number).wrapping_sub(1));
        (1..=fragment.total).contains(&fragment.number)
            && fragment.total <= MAX_FRAGMENTS
            && total >= self.chunks.len()
            && (total > self.chunks.len() || matches!(known, Some(None)))
    }

    /// Takes a fragment's payloads, opened and without padding. One that is not wanted changes nothing.
    pub fn add(&mut self, fragment: FragmentNumber, first: PayloadType, text: Vec<u8>) -> Progress {
        if !self.wants(fragment) {
            return Progress::Waiting;
        }
        if usize::from(fragment.total) > self.chunks.len() {
            //= RFC 7383 §2.6: a set of more fragments replaces what was held
            *self = Self::new();
            self.chunks = vec![None; fragment.total.into()];
        }
        self.held += text.len();
        if self.held > MAX_MESSAGE {
            *self = Self::new();
            return Progress::TooLong;
        }
        if fragment.number == 1 {
            self.first = Some(first);
        }
        if let Some(place) = self.chunks.get_mut(usize::from(fragment.number) - 1) {
            *place = Some(text);
        }
        match self.first {
            Some(first) if self.chunks.iter().all(Option::is_some) => {
                let whole = std::mem::take(self).chunks.into_iter().flatten();
                Progress::Whole(first, whole.collect::<Vec<_>>().concat())
            }
            _ => Progress::Waiting,
        }
    }
}
