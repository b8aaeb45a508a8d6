//! Payloads: the generic header, the chain they form, and the enum of all of them (RFC 7296 §3.2).

use super::configuration::Configuration;
use super::encrypted::Encrypted;
use super::identity::{Authentication, Certificate, CertificateRequest, Identification};
use super::key_exchange::{KeyExchange, Nonce};
use super::message::after_header;
use super::notify::{Delete, Notify};
use super::security_association::SecurityAssociation;
use super::traffic_selector::TrafficSelectors;
use crate::wire::code::codes;
use crate::wire::error::{Fault, WireError};
use crate::wire::header::NEXT_PAYLOAD_AT;
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

/// Payloads that a message may have: a long certificate chain, every notification there is and a few dozen additional addresses fit.
pub const MAX_PAYLOADS: usize = 192;

/// Octets of the generic header.
pub(super) const GENERIC_HEADER_LEN: usize = 4;

codes! {
    /// The type of a payload (RFC 7296 §3.2, RFC 7383 §2.5); those that are not read here have no name.
    pub enum PayloadType: u8 {
        /// No payload follows.
        None = 0, "none";
        SecurityAssociation = 33, "SA";
        KeyExchange = 34, "KE";
        IdInitiator = 35, "IDi";
        IdResponder = 36, "IDr";
        Certificate = 37, "CERT";
        CertificateRequest = 38, "CERTREQ";
        Authentication = 39, "AUTH";
        Nonce = 40, "Nonce";
        Notify = 41, "N";
        Delete = 42, "D";
        VendorId = 43, "V";
        TrafficSelectorsInitiator = 44, "TSi";
        TrafficSelectorsResponder = 45, "TSr";
        Encrypted = 46, "SK";
        Configuration = 47, "CP";
        Eap = 48, "EAP";
        EncryptedFragment = 53, "SKF";
    }
}

/// A payload of a type that is not read here: private use (128–255), or newer than this code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivatePayload {
    /// Its type.
    pub kind: u8,
    /// Whether its sender insists on it. One that came in never is: such a message is refused.
    pub critical: bool,
    /// What follows the generic header.
    pub body: Vec<u8>,
}

/// Any payload but SK and SKF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Proposals (RFC 7296 §3.3).
    SecurityAssociation(SecurityAssociation),
    /// A public value (RFC 7296 §3.4).
    KeyExchange(KeyExchange),
    /// Who the initiator is (RFC 7296 §3.5).
    IdInitiator(Identification),
    /// Who the responder is (RFC 7296 §3.5).
    IdResponder(Identification),
    /// A certificate, or something in its place (RFC 7296 §3.6).
    Certificate(Certificate),
    /// Which authorities are trusted (RFC 7296 §3.7).
    CertificateRequest(CertificateRequest),
    /// The proof of identity (RFC 7296 §3.8).
    Authentication(Authentication),
    /// A nonce (RFC 7296 §3.9).
    Nonce(Nonce),
    /// An error or a statement (RFC 7296 §3.10).
    Notify(Notify),
    /// SAs that are gone (RFC 7296 §3.11).
    Delete(Delete),
    /// Who made this implementation, or what it can do (RFC 7296 §3.12).
    VendorId(Vec<u8>),
    /// The initiator's side of the traffic (RFC 7296 §3.13).
    TrafficSelectorsInitiator(TrafficSelectors),
    /// The responder's side of the traffic (RFC 7296 §3.13).
    TrafficSelectorsResponder(TrafficSelectors),
    /// Addresses and the like (RFC 7296 §3.15).
    Configuration(Configuration),
    /// An EAP message, as it is (RFC 7296 §3.16).
    Eap(Vec<u8>),
    /// A type that is not read here; ignored on receipt (RFC 7296 §2.5).
    Private(PrivatePayload),
}

impl Payload {
    /// Its type.
    pub fn kind(&self) -> PayloadType {
        match self {
            Self::SecurityAssociation(_) => PayloadType::SecurityAssociation,
            Self::KeyExchange(_) => PayloadType::KeyExchange,
            Self::IdInitiator(_) => PayloadType::IdInitiator,
            Self::IdResponder(_) => PayloadType::IdResponder,
            Self::Certificate(_) => PayloadType::Certificate,
            Self::CertificateRequest(_) => PayloadType::CertificateRequest,
            Self::Authentication(_) => PayloadType::Authentication,
            Self::Nonce(_) => PayloadType::Nonce,
            Self::Notify(_) => PayloadType::Notify,
            Self::Delete(_) => PayloadType::Delete,
            Self::VendorId(_) => PayloadType::VendorId,
            Self::TrafficSelectorsInitiator(_) => PayloadType::TrafficSelectorsInitiator,
            Self::TrafficSelectorsResponder(_) => PayloadType::TrafficSelectorsResponder,
            Self::Configuration(_) => PayloadType::Configuration,
            Self::Eap(_) => PayloadType::Eap,
            Self::Private(private) => PayloadType::from_number(private.kind),
        }
    }

    /// Reads what follows the generic header.
    fn parse(kind: PayloadType, body: &[u8]) -> Result<Self, WireError> {
        let reader = |name| Reader::new(name, body);
        Ok(match kind {
            PayloadType::SecurityAssociation => {
                Self::SecurityAssociation(SecurityAssociation::parse(&mut reader("SA"))?)
            }
            PayloadType::KeyExchange => Self::KeyExchange(KeyExchange::parse(&mut reader("KE"))?),
            PayloadType::IdInitiator => {
                Self::IdInitiator(Identification::parse(&mut reader("IDi"))?)
            }
            PayloadType::IdResponder => {
                Self::IdResponder(Identification::parse(&mut reader("IDr"))?)
            }
            PayloadType::Certificate => Self::Certificate(Certificate::parse(&mut reader("CERT"))?),
            PayloadType::CertificateRequest => {
                Self::CertificateRequest(CertificateRequest::parse(&mut reader("CERTREQ"))?)
            }
            PayloadType::Authentication => {
                Self::Authentication(Authentication::parse(&mut reader("AUTH"))?)
            }
            PayloadType::Nonce => Self::Nonce(Nonce::parse(&mut reader("Nonce"))?),
            PayloadType::Notify => Self::Notify(Notify::parse(&mut reader("N"))?),
            PayloadType::Delete => Self::Delete(Delete::parse(&mut reader("D"))?),
            PayloadType::VendorId => Self::VendorId(body.to_vec()),
            PayloadType::TrafficSelectorsInitiator => {
                Self::TrafficSelectorsInitiator(TrafficSelectors::parse(&mut reader("TSi"))?)
            }
            PayloadType::TrafficSelectorsResponder => {
                Self::TrafficSelectorsResponder(TrafficSelectors::parse(&mut reader("TSr"))?)
            }
            PayloadType::Configuration => {
                Self::Configuration(Configuration::parse(&mut reader("CP"))?)
            }
            PayloadType::Eap => Self::Eap(body.to_vec()),
            kind @ (PayloadType::None
            | PayloadType::Encrypted
            | PayloadType::EncryptedFragment
            | PayloadType::Unknown(_)) => Self::Private(PrivatePayload {
                kind: kind.number(),
                critical: false,
                body: body.to_vec(),
            }),
        })
    }

    fn emit(&self, writer: &mut Writer) {
        match self {
            Self::SecurityAssociation(sa) => sa.emit(writer),
            Self::KeyExchange(ke) => ke.emit(writer),
            Self::IdInitiator(id) | Self::IdResponder(id) => id.emit(writer),
            Self::Certificate(certificate) => certificate.emit(writer),
            Self::CertificateRequest(request) => request.emit(writer),
            Self::Authentication(auth) => auth.emit(writer),
            Self::Nonce(nonce) => writer.bytes(nonce.as_bytes()),
            Self::Notify(notify) => notify.emit(writer),
            Self::Delete(delete) => delete.emit(writer),
            Self::VendorId(octets) | Self::Eap(octets) => writer.bytes(octets),
            Self::TrafficSelectorsInitiator(ts) | Self::TrafficSelectorsResponder(ts) => {
                ts.emit(writer);
            }
            Self::Configuration(configuration) => configuration.emit(writer),
            Self::Private(private) => writer.bytes(&private.body),
        }
    }

    fn is_critical(&self) -> bool {
        //= RFC 7296 §3.2: the critical bit is zero for payloads of RFC 7296
        matches!(self, Self::Private(private) if private.critical)
    }
}

/// A generic header and what it heads.
struct Link<'a> {
    next: PayloadType,
    critical: bool,
    body: &'a [u8],
}

impl<'a> Link<'a> {
    fn parse(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let next = PayloadType::from_number(reader.u8("next payload")?);
        let critical = reader.u8("critical")? & 0x80 != 0;
        let length = usize::from(reader.u16("payload length")?);
        let body = length
            .checked_sub(GENERIC_HEADER_LEN)
            .ok_or(reader.error("payload length", Fault::Length(length)))?;
        Ok(Self {
            next,
            critical,
            body: reader.take(body, "payload")?,
        })
    }

    fn payload(&self, kind: PayloadType) -> Result<Payload, WireError> {
        //= RFC 7296 §2.5: an unrecognized payload refuses the message if it is critical, and is skipped if not
        if let (PayloadType::Unknown(number), true) = (kind, self.critical) {
            let fault = Fault::UnsupportedCritical(number);
            return Err(WireError::new("message", "critical", fault));
        }
        Payload::parse(kind, self.body)
    }
}

fn push(payloads: &mut Vec<Payload>, payload: Payload) -> Result<(), WireError> {
    if payloads.len() == MAX_PAYLOADS {
        let fault = Fault::TooMany(MAX_PAYLOADS);
        return Err(WireError::new("message", "payloads", fault));
    }
    payloads.push(payload);
    Ok(())
}

/// The payloads after the header, as far as they are readable.
pub(super) fn parse_outer(
    first: PayloadType,
    datagram: &[u8],
) -> Result<(Vec<Payload>, Option<Encrypted>), WireError> {
    let mut reader = after_header(datagram);
    let mut payloads = Vec::new();
    let (mut kind, mut announced_at) = (first, NEXT_PAYLOAD_AT);
    while kind != PayloadType::None {
        let at = datagram.len() - reader.len();
        let link = Link::parse(&mut reader)?;
        if let PayloadType::Encrypted | PayloadType::EncryptedFragment = kind {
            //= RFC 7296 §3.14: the Encrypted payload is the last one, its Next Payload the first one inside
            reader.end("payloads after SK")?;
            let is_fragment = kind == PayloadType::EncryptedFragment;
            let encrypted = Encrypted::parse(link.next, is_fragment, link.body, at, announced_at)?;
            return Ok((payloads, Some(encrypted)));
        }
        push(&mut payloads, link.payload(kind)?)?;
        (kind, announced_at) = (link.next, at);
    }
    reader.end("octets after the last payload")?;
    Ok((payloads, None))
}

/// The payloads inside SK, decrypted and without padding; `first` is the SK payload's [`Encrypted::first`].
///
/// # Errors
/// If they are not a well-formed chain that ends with the octets, or one is SK or SKF.
pub fn parse_payloads(first: PayloadType, octets: &[u8]) -> Result<Vec<Payload>, WireError> {
    let mut reader = Reader::new("SK", octets);
    let mut payloads = Vec::new();
    let mut kind = first;
    while kind != PayloadType::None {
        if let PayloadType::Encrypted | PayloadType::EncryptedFragment = kind {
            let fault = Fault::Value(kind.number().into());
            return Err(reader.error("next payload", fault));
        }
        let link = Link::parse(&mut reader)?;
        push(&mut payloads, link.payload(kind)?)?;
        kind = link.next;
    }
    reader.end("octets after the last payload")?;
    Ok(payloads)
}

/// Writes a chain that ends with `last`; returns the type of its first payload.
pub(super) fn emit_chain(
    payloads: &[Payload],
    last: PayloadType,
    writer: &mut Writer,
) -> PayloadType {
    let kinds = payloads.iter().skip(1).map(Payload::kind).chain([last]);
    for (payload, next) in payloads.iter().zip(kinds) {
        writer.u8(next.number());
        writer.u8(if payload.is_critical() { 0x80 } else { 0 });
        let length = writer.open_length(2);
        payload.emit(writer);
        writer.close(length, "message", "payload length");
    }
    payloads.first().map_or(last, Payload::kind)
}

/// The octets of a chain for the inside of SK, and the type of its first payload.
///
/// # Errors
/// If a payload outgrows its length field.
pub fn emit_payloads(payloads: &[Payload]) -> Result<(PayloadType, Vec<u8>), WireError> {
    let mut writer = Writer::new();
    let first = emit_chain(payloads, PayloadType::None, &mut writer);
    Ok((first, writer.finish()?))
}
