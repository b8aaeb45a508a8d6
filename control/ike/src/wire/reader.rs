//! A cursor over octets from outside: every step is checked, and an error names the field.

use super::error::{Fault, WireError};

/// Octets of one payload that are still to be read.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    payload: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first of these octets; errors will name this payload.
    pub const fn new(payload: &'static str, octets: &'a [u8]) -> Self {
        Self {
            payload,
            rest: octets,
        }
    }

    /// An error at a field of this payload.
    pub const fn error(&self, field: &'static str, fault: Fault) -> WireError {
        WireError::new(self.payload, field, fault)
    }

    /// How many octets are left.
    pub const fn len(&self) -> usize {
        self.rest.len()
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `length` octets.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn take(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(self.error(field, Fault::Truncated))?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `length` octets as a reader of their own.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn part(&mut self, length: usize, field: &'static str) -> Result<Self, WireError> {
        Ok(Self::new(self.payload, self.take(length, field)?))
    }

    /// The next `N` octets.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], WireError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(self.error(field, Fault::Truncated))?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One octet.
    ///
    /// # Errors
    /// If none is left.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, WireError> {
        self.array::<1>(field).map(|[octet]| octet)
    }

    /// A big-endian 16-bit number.
    ///
    /// # Errors
    /// If fewer than two octets are left.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, WireError> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// A big-endian 32-bit number.
    ///
    /// # Errors
    /// If fewer than four octets are left.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, WireError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Insists that everything was read.
    ///
    /// # Errors
    /// If octets are left after the last field.
    pub fn end(&self, field: &'static str) -> Result<(), WireError> {
        match self.rest.len() {
            0 => Ok(()),
            more => Err(self.error(field, Fault::Length(more))),
        }
    }
}
