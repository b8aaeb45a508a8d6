//! SA payloads: proposals, their transforms and attributes (RFC 7296 §3.3).

use adit_abi::Spi;

use crate::wire::attribute::{Attribute, AttributeValue};
use crate::wire::code::codes;
use crate::wire::error::{Fault, WireError};
use crate::wire::header::IkeSpi;
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

/// Proposals in one payload; clients that send one for each combination stay well below.
pub const MAX_PROPOSALS: usize = 128;
/// Transforms in one payload, over all its proposals.
pub const MAX_TRANSFORMS: usize = 1024;
/// Attributes of one transform; one type is defined.
const MAX_ATTRIBUTES: usize = 8;
/// The only attribute type that is defined (RFC 7296 §3.3.5).
const KEY_LENGTH: u16 = 14;

codes! {
    /// What an SA or a notification is about (RFC 7296 §3.3.1).
    pub enum ProtocolId: u8 {
        /// In notifications: none.
        None = 0, "none";
        Ike = 1, "IKE";
        Ah = 2, "AH";
        Esp = 3, "ESP";
    }
}

codes! {
    /// What kind of algorithm a transform is (RFC 7296 §3.3.2, RFC 9370 §2.2.2).
    pub enum TransformType: u8 {
        Encryption = 1, "ENCR";
        Prf = 2, "PRF";
        Integrity = 3, "INTEG";
        KeyExchange = 4, "KE";
        SequenceNumbers = 5, "ESN";
        AdditionalKeyExchange1 = 6, "ADDKE1";
        AdditionalKeyExchange2 = 7, "ADDKE2";
        AdditionalKeyExchange3 = 8, "ADDKE3";
        AdditionalKeyExchange4 = 9, "ADDKE4";
        AdditionalKeyExchange5 = 10, "ADDKE5";
        AdditionalKeyExchange6 = 11, "ADDKE6";
        AdditionalKeyExchange7 = 12, "ADDKE7";
    }
}

/// One algorithm of a proposal. Those that nobody here knows are kept, so that they can be shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Transform {
    /// What kind of algorithm.
    pub kind: TransformType,
    /// Its number among those of its kind.
    pub id: u16,
    /// The Key Length attribute, in bits.
    pub key_length: Option<u16>,
    /// Attributes that are not understood; a transform that has any cannot be chosen (RFC 7296 §3.3.6).
    pub unknown_attributes: Vec<Attribute>,
}

impl Transform {
    /// A transform without attributes.
    pub const fn new(kind: TransformType, id: u16) -> Self {
        Self {
            kind,
            id,
            key_length: None,
            unknown_attributes: Vec::new(),
        }
    }

    /// A transform with a key length in bits.
    pub const fn with_key_length(kind: TransformType, id: u16, bits: u16) -> Self {
        Self {
            kind,
            id,
            key_length: Some(bits),
            unknown_attributes: Vec::new(),
        }
    }

    fn parse(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let kind = TransformType::from_number(reader.u8("transform type")?);
        reader.u8("reserved")?;
        let id = reader.u16("transform ID")?;
        let mut transform = Self::new(kind, id);
        let mut attributes = 0;
        while !reader.is_empty() {
            attributes += 1;
            if attributes > MAX_ATTRIBUTES {
                return Err(reader.error("attributes", Fault::TooMany(MAX_ATTRIBUTES)));
            }
            match Attribute::parse(reader)? {
                Attribute {
                    kind: KEY_LENGTH,
                    value: AttributeValue::Short(bits),
                } if transform.key_length.is_none() => transform.key_length = Some(bits),
                unknown => transform.unknown_attributes.push(unknown),
            }
        }
        Ok(transform)
    }

    fn emit(&self, last: bool, writer: &mut Writer) {
        writer.u8(if last { 0 } else { 3 });
        writer.u8(0);
        let length = writer.open_length(2);
        writer.u8(self.kind.number());
        writer.u8(0);
        writer.u16(self.id);
        if let Some(bits) = self.key_length {
            let value = AttributeValue::Short(bits);
            Attribute {
                kind: KEY_LENGTH,
                value,
            }
            .emit(writer);
        }
        for attribute in &self.unknown_attributes {
            attribute.emit(writer);
        }
        writer.close(length, "SA", "transform length");
    }
}

/// The SPI of a proposal or a notification.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SpiField {
    /// None: the first exchange, or a notification about the IKE SA it is sent in.
    None,
    /// Of ESP or AH, four octets.
    Child(Spi),
    /// Of IKE, eight octets.
    Ike(IkeSpi),
    /// Of a length that no protocol here has.
    Unknown(Vec<u8>),
}

impl SpiField {
    pub(super) fn from_bytes(octets: &[u8]) -> Self {
        if octets.is_empty() {
            Self::None
        } else if let Ok(spi) = octets.try_into() {
            Self::Child(Spi(u32::from_be_bytes(spi)))
        } else if let Ok(spi) = octets.try_into() {
            Self::Ike(IkeSpi(spi))
        } else {
            Self::Unknown(octets.to_vec())
        }
    }

    pub(super) fn emit(&self, writer: &mut Writer) {
        match self {
            Self::None => {}
            Self::Child(spi) => writer.u32(spi.0),
            Self::Ike(spi) => writer.bytes(&spi.0),
            Self::Unknown(octets) => writer.bytes(octets),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Child(_) => 4,
            Self::Ike(_) => 8,
            Self::Unknown(octets) => octets.len(),
        }
    }
}

/// One way to protect the SA: of each kind of transform one is to be chosen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Proposal {
    /// Counts from 1; an answer bears the number of what it chose.
    pub number: u8,
    /// The protocol of the SA.
    pub protocol: ProtocolId,
    /// The sender's SPI for it.
    pub spi: SpiField,
    /// The transforms, in the sender's order of preference within each kind.
    pub transforms: Vec<Transform>,
}

impl Proposal {
    /// Its transforms of one kind, in order.
    pub fn of(&self, kind: TransformType) -> impl Iterator<Item = &Transform> {
        self.transforms.iter().filter(move |t| t.kind == kind)
    }

    fn parse(reader: &mut Reader<'_>, room: usize) -> Result<Self, WireError> {
        let number = reader.u8("proposal number")?;
        let protocol = ProtocolId::from_number(reader.u8("protocol ID")?);
        let spi_size = reader.u8("SPI size")?;
        let count = usize::from(reader.u8("number of transforms")?);
        let spi = SpiField::from_bytes(reader.take(spi_size.into(), "SPI")?);
        if count > room {
            return Err(reader.error("transforms", Fault::TooMany(MAX_TRANSFORMS)));
        }
        let mut transforms = Vec::new();
        for at in 1..=count {
            let more = reader.u8("last substructure")?;
            check_more(reader, more, 3, at == count)?;
            let mut body = substructure(reader, "transform length")?;
            transforms.push(Transform::parse(&mut body)?);
        }
        reader.end("octets after the last transform")?;
        Ok(Self {
            number,
            protocol,
            spi,
            transforms,
        })
    }

    fn emit(&self, last: bool, writer: &mut Writer) {
        writer.u8(if last { 0 } else { 2 });
        writer.u8(0);
        let length = writer.open_length(2);
        writer.u8(self.number);
        writer.u8(self.protocol.number());
        writer.count8("SA", "SPI size", self.spi.len());
        writer.count8("SA", "number of transforms", self.transforms.len());
        self.spi.emit(writer);
        for (at, transform) in self.transforms.iter().enumerate() {
            transform.emit(at + 1 == self.transforms.len(), writer);
        }
        writer.close(length, "SA", "proposal length");
    }
}

/// Checks the octet that says whether another substructure follows.
fn check_more(reader: &Reader<'_>, said: u8, more: u8, last: bool) -> Result<(), WireError> {
    let expected = if last { 0 } else { more };
    if said == expected {
        Ok(())
    } else {
        Err(reader.error("last substructure", Fault::Value(said.into())))
    }
}

/// What follows the first octet of a proposal or transform: a reserved octet, a length, and what it counts.
fn substructure<'a>(reader: &mut Reader<'a>, field: &'static str) -> Result<Reader<'a>, WireError> {
    reader.u8("reserved")?;
    let length = usize::from(reader.u16(field)?);
    let body = length
        .checked_sub(4)
        .ok_or(reader.error(field, Fault::Length(length)))?;
    reader.part(body, field)
}

/// The SA payload: proposals in the sender's order of preference; in a response exactly the one that was chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecurityAssociation {
    /// The proposals.
    pub proposals: Vec<Proposal>,
}

impl SecurityAssociation {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut proposals: Vec<Proposal> = Vec::new();
        let mut room = MAX_TRANSFORMS;
        loop {
            let more = reader.u8("last substructure")?;
            let mut body = substructure(reader, "proposal length")?;
            check_more(reader, more, 2, reader.is_empty())?;
            if proposals.len() == MAX_PROPOSALS {
                return Err(reader.error("proposals", Fault::TooMany(MAX_PROPOSALS)));
            }
            let proposal = Proposal::parse(&mut body, room)?;
            // The RFC has them count from 1 without gaps. Gaps harm nobody, but two of one number could not be told apart in an answer.
            if proposals
                .last()
                .is_some_and(|last| last.number >= proposal.number)
            {
                let fault = Fault::Value(proposal.number.into());
                return Err(reader.error("proposal number", fault));
            }
            room -= proposal.transforms.len();
            proposals.push(proposal);
            if reader.is_empty() {
                return Ok(Self { proposals });
            }
        }
    }

    pub(super) fn emit(&self, writer: &mut Writer) {
        for (at, proposal) in self.proposals.iter().enumerate() {
            proposal.emit(at + 1 == self.proposals.len(), writer);
        }
    }
}
