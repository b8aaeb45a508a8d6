//! KE and Nonce payloads (RFC 7296 §3.4, §3.9).

use std::fmt;

use crate::wire::error::{Fault, WireError};
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

/// Fewest octets of a nonce (RFC 7296 §3.9).
pub const MIN_NONCE: usize = 16;
/// Most octets of a nonce (RFC 7296 §3.9).
pub const MAX_NONCE: usize = 256;

/// A public value of a key exchange method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyExchange {
    /// The method: the transform ID of type 4 (or of the ADDKE types).
    pub method: u16,
    /// The public value, in the method's own encoding.
    pub data: Vec<u8>,
}

impl KeyExchange {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let method = reader.u16("key exchange method")?;
        reader.u16("reserved")?;
        Ok(Self {
            method,
            data: reader.rest().to_vec(),
        })
    }

    pub(super) fn emit(&self, writer: &mut Writer) {
        writer.u16(self.method);
        writer.u16(0);
        writer.bytes(&self.data);
    }
}

/// Octets that make an exchange fresh: [`MIN_NONCE`] to [`MAX_NONCE`] of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Nonce(Vec<u8>);

impl Nonce {
    /// A nonce of these octets.
    ///
    /// # Errors
    /// If there are fewer than 16 or more than 256.
    pub fn new(octets: Vec<u8>) -> Result<Self, WireError> {
        //= RFC 7296 §3.9: a nonce has 16 to 256 octets
        if (MIN_NONCE..=MAX_NONCE).contains(&octets.len()) {
            Ok(Self(octets))
        } else {
            let fault = Fault::Length(octets.len());
            Err(WireError::new("Nonce", "nonce data", fault))
        }
    }

    /// The octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Self::new(reader.rest().to_vec())
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonce({} octets)", self.0.len())
    }
}
