//! Data attributes of transforms (RFC 7296 §3.3.5, RFC 2408 §3.3): a type with two octets, or with any number.

use super::error::WireError;
use super::reader::Reader;
use super::writer::Writer;

/// The bit that tells the short form from the long one.
const SHORT: u16 = 0x8000;

/// One attribute.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attribute {
    /// Its type, of 15 bits.
    pub kind: u16,
    /// Its value.
    pub value: AttributeValue,
}

/// The value of an attribute, in the form it was or will be sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AttributeValue {
    /// Two octets.
    Short(u16),
    /// Any number of octets.
    Long(Vec<u8>),
}

impl Attribute {
    /// Reads one attribute.
    ///
    /// # Errors
    /// If the octets end inside it.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let head = reader.u16("attribute type")?;
        let second = reader.u16("attribute length")?;
        let value = if head & SHORT != 0 {
            AttributeValue::Short(second)
        } else {
            AttributeValue::Long(reader.take(second.into(), "attribute value")?.to_vec())
        };
        Ok(Self {
            kind: head & !SHORT,
            value,
        })
    }

    /// Writes it.
    pub fn emit(&self, writer: &mut Writer) {
        match &self.value {
            AttributeValue::Short(value) => {
                writer.u16(self.kind | SHORT);
                writer.u16(*value);
            }
            AttributeValue::Long(octets) => {
                writer.u16(self.kind & !SHORT);
                writer.count16("SA", "attribute value", octets.len());
                writer.bytes(octets);
            }
        }
    }
}
