//! The framing of SK and SKF: IV, ciphertext, padding, ICV (RFC 7296 §3.14, RFC 7383 §2.5). The cryptography is the caller's.
//!
//! ```text
//! | header | payloads outside | generic header [number, total] | IV | text … padding, pad length | ICV |
//! |<──────────────── associated data (AEAD) ──────────────────►|
//! |<──────────────────── authenticated (encryption + integrity) ─────────────────────────────►|
//! ```

use super::message::{Header, checked_length};
use super::payload::{GENERIC_HEADER_LEN, Payload, PayloadType, emit_payloads};
use crate::wire::error::{Fault, WireError};
use crate::wire::header::HEADER_LEN;
use crate::wire::reader::Reader;

/// Octets of the two numbers of SKF.
const FRAGMENT_LEN: usize = 4;

/// Sizes that an IKE SA's algorithms ask for, in octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealing {
    /// The initialization vector as it is sent.
    pub iv: usize,
    /// The plaintext with padding is a multiple of this: a block cipher's block, else 1.
    pub block: usize,
    /// The ICV.
    pub icv: usize,
}

impl Sealing {
    /// Octets of plaintext, padding and pad length for this many octets of payloads.
    const fn padded(&self, text: usize) -> usize {
        let block = if self.block == 0 { 1 } else { self.block };
        (text + 1).next_multiple_of(block)
    }

    /// Octets of a message with SK (or SKF) for this many octets of payloads.
    pub const fn message_len(&self, text: usize, fragment: bool) -> usize {
        let numbers = if fragment { FRAGMENT_LEN } else { 0 };
        HEADER_LEN + GENERIC_HEADER_LEN + numbers + self.iv + self.padded(text) + self.icv
    }

    /// Octets of payloads that fit a message of this length; `None` if none do.
    pub const fn room(&self, message: usize, fragment: bool) -> Option<usize> {
        let block = if self.block == 0 { 1 } else { self.block };
        let around = self.message_len(0, fragment) - self.padded(0);
        match message.checked_sub(around) {
            Some(padded) => (padded / block * block).checked_sub(1),
            None => None,
        }
    }
}

/// Which part of how many an SKF payload is (RFC 7383 §2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentNumber {
    /// From 1 to `total`.
    pub number: u16,
    /// How many there are.
    pub total: u16,
}

impl FragmentNumber {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let number = reader.u16("fragment number")?;
        let total = reader.u16("total fragments")?;
        //= RFC 7383 §2.6: neither number is zero, and the first is at most the second
        if number == 0 || number > total {
            return Err(reader.error("fragment number", Fault::Value(number.into())));
        }
        Ok(Self { number, total })
    }
}

/// An SK or SKF payload of a datagram that its methods are then given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encrypted {
    /// Type of the first payload inside; of a fragment, only the first one says so.
    pub first: PayloadType,
    /// Which fragment it is; `None` for SK.
    pub fragment: Option<FragmentNumber>,
    /// Where the octet lies that says that this payload comes next.
    announced_at: usize,
    /// Where the generic header begins.
    at: usize,
}

/// The parts of a sealed message.
#[derive(Debug, Clone, Copy)]
pub struct Sealed<'a> {
    /// What an AEAD algorithm takes as associated data (RFC 5282 §5.1).
    pub associated: &'a [u8],
    /// What a separate integrity algorithm covers.
    pub authenticated: &'a [u8],
    /// The initialization vector.
    pub iv: &'a [u8],
    /// The ciphertext.
    pub text: &'a [u8],
    /// The ICV.
    pub icv: &'a [u8],
}

impl Encrypted {
    /// Reads the numbers of a fragment; the rest of the body can be read once the algorithms are known.
    pub(super) fn parse(
        first: PayloadType,
        is_fragment: bool,
        body: &[u8],
        at: usize,
        announced_at: usize,
    ) -> Result<Self, WireError> {
        let mut reader = Reader::new("SKF", body);
        let fragment = if is_fragment {
            Some(FragmentNumber::parse(&mut reader)?)
        } else {
            None
        };
        Ok(Self {
            first,
            fragment,
            announced_at,
            at,
        })
    }

    fn body_at(&self) -> usize {
        let numbers = self.fragment.map_or(0, |_| FRAGMENT_LEN);
        self.at + GENERIC_HEADER_LEN + numbers
    }

    /// The parts of the datagram this payload was read from.
    ///
    /// # Errors
    /// If they do not fit the algorithms' sizes.
    pub fn parts<'a>(
        &self,
        datagram: &'a [u8],
        sealing: &Sealing,
    ) -> Result<Sealed<'a>, WireError> {
        let mut reader = Reader::new("SK", datagram);
        let associated = reader.take(self.body_at(), "payload header")?;
        let iv = reader.take(sealing.iv, "IV")?;
        let length = reader
            .len()
            .checked_sub(sealing.icv)
            .filter(|length| *length > 0 && length.is_multiple_of(sealing.block.max(1)))
            .ok_or(reader.error("encrypted text", Fault::Length(reader.len())))?;
        let text = reader.take(length, "encrypted text")?;
        let icv = reader.rest();
        let authenticated = &datagram[..datagram.len() - icv.len()];
        Ok(Sealed {
            associated,
            authenticated,
            iv,
            text,
            icv,
        })
    }

    /// What of an IKE_INTERMEDIATE message stands before its payloads, for AUTH (`IntAuth_*A` of RFC 9242 §3.3.2): as if it had been sent
    /// in one piece, with lengths that count neither IV, padding nor ICV. `text` is the length of the payloads inside; `datagram` the one
    /// this payload was read from, of fragments the first.
    ///
    /// # Errors
    /// If the datagram is another, or the whole is longer than a message.
    pub fn intermediate_prefix(&self, datagram: &[u8], text: usize) -> Result<Vec<u8>, WireError> {
        let mut reader = Reader::new("SK", datagram);
        let end = self.at + GENERIC_HEADER_LEN;
        let mut prefix = reader.take(end, "payload header")?.to_vec();
        let length = checked_length(end + text)?;
        let payload_length = u16::try_from(GENERIC_HEADER_LEN + text)
            .map_err(|_| reader.error("payload length", Fault::Length(text)))?;
        prefix[self.announced_at] = PayloadType::Encrypted.number();
        prefix[HEADER_LEN - 4..HEADER_LEN].copy_from_slice(&length.to_be_bytes());
        prefix[end - 2..].copy_from_slice(&payload_length.to_be_bytes());
        Ok(prefix)
    }
}

/// Decrypted octets without padding and pad length.
///
/// # Errors
/// If the pad length reaches beyond the octets.
pub fn without_padding(text: &[u8]) -> Result<&[u8], WireError> {
    //= RFC 7296 §3.14: any padding is accepted that makes a proper length
    let error = |fault| WireError::new("SK", "pad length", fault);
    let (&pad, rest) = text.split_last().ok_or(error(Fault::Truncated))?;
    let length = rest.len().checked_sub(pad.into());
    let length = length.ok_or(error(Fault::Length(pad.into())))?;
    Ok(&rest[..length])
}

/// A message laid out for sealing: the text in clear and padded, IV and ICV zero.
#[derive(Debug)]
pub struct Unsealed {
    datagram: Vec<u8>,
    iv_at: usize,
    text_at: usize,
    icv_at: usize,
}

/// The parts of an [`Unsealed`] message.
#[derive(Debug)]
pub struct UnsealedParts<'a> {
    /// What an AEAD algorithm takes as associated data (RFC 5282 §5.1).
    pub associated: &'a [u8],
    /// To be filled with the initialization vector.
    pub iv: &'a mut [u8],
    /// To be encrypted in place.
    pub text: &'a mut [u8],
    /// To be filled with the AEAD algorithm's ICV.
    pub icv: &'a mut [u8],
}

impl Unsealed {
    /// Lays out a message with these payloads inside SK, and none outside.
    ///
    /// # Errors
    /// If a payload outgrows its length field, or the message [`MAX_MESSAGE`](crate::wire::MAX_MESSAGE).
    pub fn new(
        header: &Header,
        payloads: &[Payload],
        sealing: &Sealing,
    ) -> Result<Self, WireError> {
        let (first, text) = emit_payloads(payloads)?;
        Self::with_text(header, first, &text, None, sealing)
    }

    /// Lays out a message with these octets inside SK or SKF.
    pub(super) fn with_text(
        header: &Header,
        first: PayloadType,
        text: &[u8],
        fragment: Option<FragmentNumber>,
        sealing: &Sealing,
    ) -> Result<Self, WireError> {
        let total = sealing.message_len(text.len(), fragment.is_some());
        let length = checked_length(total)?;
        let payload_length = u16::try_from(total - HEADER_LEN)
            .map_err(|_| WireError::new("SK", "payload length", Fault::Length(total)))?;
        let kind = match fragment {
            None => PayloadType::Encrypted,
            Some(_) => PayloadType::EncryptedFragment,
        };
        let mut datagram = Vec::with_capacity(total);
        datagram.extend(header.emit(kind, length));
        datagram.extend([first.number(), 0]);
        datagram.extend(payload_length.to_be_bytes());
        if let Some(FragmentNumber { number, total }) = fragment {
            datagram.extend(number.to_be_bytes());
            datagram.extend(total.to_be_bytes());
        }
        let iv_at = datagram.len();
        let text_at = iv_at + sealing.iv;
        let icv_at = total - sealing.icv;
        datagram.resize(text_at, 0);
        datagram.extend_from_slice(text);
        let pad = icv_at - datagram.len() - 1;
        datagram.resize(icv_at - 1, 0);
        // At most 255, as no block is longer than 256 octets.
        let pad = u8::try_from(pad)
            .map_err(|_| WireError::new("SK", "pad length", Fault::Length(pad)))?;
        datagram.push(pad);
        datagram.resize(total, 0);
        Ok(Self {
            datagram,
            iv_at,
            text_at,
            icv_at,
        })
    }

    /// The parts, for an AEAD algorithm or for encryption alone.
    pub fn parts(&mut self) -> UnsealedParts<'_> {
        let (associated, rest) = self.datagram.split_at_mut(self.iv_at);
        let (iv, rest) = rest.split_at_mut(self.text_at - self.iv_at);
        let (text, icv) = rest.split_at_mut(self.icv_at - self.text_at);
        UnsealedParts {
            associated,
            iv,
            text,
            icv,
        }
    }

    /// Everything a separate integrity algorithm covers, once encrypted, and the place of its ICV.
    pub fn authenticated(&mut self) -> (&[u8], &mut [u8]) {
        let (covered, icv) = self.datagram.split_at_mut(self.icv_at);
        (covered, icv)
    }

    /// The datagram, sealed by now.
    pub fn finish(self) -> Vec<u8> {
        self.datagram
    }
}
