//! The header as IKEv2 reads it, and the message as far as it can be read without keys.

use super::encrypted::Encrypted;
use super::payload::{Payload, PayloadType, parse_outer};
use crate::wire::MAX_MESSAGE;
use crate::wire::code::codes;
use crate::wire::error::{Fault, WireError};
use crate::wire::header::{self, HEADER_LEN, IkeSpi, Version};
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

/// Sent by the original initiator of the IKE SA.
const INITIATOR: u8 = 0x08;
/// A response.
const RESPONSE: u8 = 0x20;

codes! {
    /// What kind of exchange a message belongs to (RFC 7296 §3.1).
    pub enum ExchangeType: u8 {
        IkeSaInit = 34, "IKE_SA_INIT";
        IkeAuth = 35, "IKE_AUTH";
        CreateChildSa = 36, "CREATE_CHILD_SA";
        Informational = 37, "INFORMATIONAL";
        /// RFC 5723.
        IkeSessionResume = 38, "IKE_SESSION_RESUME";
        /// RFC 9242.
        IkeIntermediate = 43, "IKE_INTERMEDIATE";
        /// RFC 9370.
        IkeFollowupKe = 44, "IKE_FOLLOWUP_KE";
    }
}

/// The header of an IKEv2 message; lengths and the first payload's type follow from the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Chosen by the original initiator of the IKE SA.
    pub initiator_spi: IkeSpi,
    /// Chosen by the original responder; zero in the first request.
    pub responder_spi: IkeSpi,
    /// The exchange.
    pub exchange: ExchangeType,
    /// Whether the sender is the original initiator of the IKE SA.
    pub from_initiator: bool,
    /// Whether this is a response.
    pub response: bool,
    /// Message ID: matches responses to requests.
    pub message_id: u32,
}

impl Header {
    /// Reads a header whose version and length were not yet looked at.
    ///
    /// # Errors
    /// If its major version is not 2.
    pub fn admit(header: &header::Header) -> Result<Self, WireError> {
        //= RFC 7296 §2.5: a higher major version is refused, minor version and the version flag are ignored
        if header.version.major != 2 {
            let fault = Fault::MajorVersion(header.version.major);
            return Err(WireError::new("header", "version", fault));
        }
        Ok(Self {
            initiator_spi: header.initiator_spi,
            responder_spi: header.responder_spi,
            exchange: ExchangeType::from_number(header.exchange),
            from_initiator: header.flags & INITIATOR != 0,
            response: header.flags & RESPONSE != 0,
            message_id: header.message_id,
        })
    }

    /// The header's octets.
    //= RFC 7296 §3.1: the reserved flags and the version flag are sent as zero
    pub fn emit(&self, next: PayloadType, length: u32) -> [u8; HEADER_LEN] {
        let flag = |set, bit| if set { bit } else { 0 };
        header::Header {
            initiator_spi: self.initiator_spi,
            responder_spi: self.responder_spi,
            next_payload: next.number(),
            version: Version { major: 2, minor: 0 },
            exchange: self.exchange.number(),
            flags: flag(self.from_initiator, INITIATOR) | flag(self.response, RESPONSE),
            message_id: self.message_id,
            length,
        }
        .emit()
    }
}

/// A message as far as it can be read without keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The header.
    pub header: Header,
    /// Payloads outside SK and SKF, in order. Beside an [`Encrypted`] one nothing vouches for them until its ICV was verified.
    pub payloads: Vec<Payload>,
    /// The SK or SKF payload, always the last; its octets stay in the datagram.
    pub encrypted: Option<Encrypted>,
}

impl Message {
    /// Reads a whole datagram (without the non-ESP marker of port 4500).
    ///
    /// # Errors
    /// If it is not a well-formed IKEv2 message; [`Notify::answering`](super::Notify::answering) says with what a request is to be answered.
    pub fn parse(datagram: &[u8]) -> Result<Self, WireError> {
        let raw = header::Header::parse(datagram)?;
        let header = Header::admit(&raw)?;
        if datagram.len() > MAX_MESSAGE {
            let fault = Fault::Length(datagram.len());
            return Err(WireError::new("header", "length", fault));
        }
        raw.check_length(datagram)?;
        let (payloads, encrypted) =
            parse_outer(PayloadType::from_number(raw.next_payload), datagram)?;
        Ok(Self {
            header,
            payloads,
            encrypted,
        })
    }

    /// The octets of a message without SK: IKE_SA_INIT, or a notification outside any IKE SA.
    ///
    /// # Errors
    /// If a payload outgrows its length field, or the message [`MAX_MESSAGE`].
    pub fn emit(header: &Header, payloads: &[Payload]) -> Result<Vec<u8>, WireError> {
        let mut writer = Writer::new();
        writer.zeros(HEADER_LEN);
        let next = super::payload::emit_chain(payloads, PayloadType::None, &mut writer);
        let length = checked_length(writer.len())?;
        writer.overwrite(0, &header.emit(next, length));
        writer.finish()
    }
}

/// A message's length for its header.
pub(super) fn checked_length(octets: usize) -> Result<u32, WireError> {
    u32::try_from(octets)
        .ok()
        .filter(|_| octets <= MAX_MESSAGE)
        .ok_or(WireError::new("header", "length", Fault::Length(octets)))
}

/// A reader over everything after the header.
pub(super) fn after_header(datagram: &[u8]) -> Reader<'_> {
    Reader::new("message", datagram.get(HEADER_LEN..).unwrap_or_default())
}
