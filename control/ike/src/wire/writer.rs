//! Octets going out: fields in network byte order, lengths filled in afterwards.

use super::error::{Fault, WireError};

/// A message being built. A part that outgrows its length field is remembered and told by [`Writer::finish`].
#[derive(Debug, Default)]
pub struct Writer {
    octets: Vec<u8>,
    outgrown: Option<WireError>,
}

/// Where a 16-bit length is to be filled in, and where what it counts begins.
#[derive(Debug)]
#[must_use = "the length is not filled in"]
pub struct Length {
    at: usize,
    from: usize,
}

impl Writer {
    /// An empty message.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many octets were written.
    pub fn len(&self) -> usize {
        self.octets.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// Adds one octet.
    pub fn u8(&mut self, value: u8) {
        self.octets.push(value);
    }

    /// Adds a 16-bit number.
    pub fn u16(&mut self, value: u16) {
        self.octets.extend(value.to_be_bytes());
    }

    /// Adds a 32-bit number.
    pub fn u32(&mut self, value: u32) {
        self.octets.extend(value.to_be_bytes());
    }

    /// Adds octets as they are.
    pub fn bytes(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    /// Adds this many zero octets, for what is filled in later.
    pub fn zeros(&mut self, count: usize) {
        self.octets.resize(self.octets.len() + count, 0);
    }

    /// Adds a count in one octet; one that does not fit is told at the end.
    pub fn count8(&mut self, payload: &'static str, field: &'static str, count: usize) {
        let fitting = u8::try_from(count);
        self.note(
            fitting.is_err(),
            WireError::new(payload, field, Fault::TooMany(255)),
        );
        self.u8(fitting.unwrap_or(u8::MAX));
    }

    /// Adds a count in two octets; one that does not fit is told at the end.
    pub fn count16(&mut self, payload: &'static str, field: &'static str, count: usize) {
        let fitting = u16::try_from(count);
        self.note(
            fitting.is_err(),
            WireError::new(payload, field, Fault::TooMany(65_535)),
        );
        self.u16(fitting.unwrap_or(u16::MAX));
    }

    /// Adds a 16-bit length, to be filled in by [`Writer::close`]; it counts from `back` octets before itself.
    pub fn open_length(&mut self, back: usize) -> Length {
        let at = self.octets.len();
        self.u16(0);
        Length {
            at,
            from: at.saturating_sub(back),
        }
    }

    /// Fills in a length with what was written since.
    pub fn close(&mut self, length: Length, payload: &'static str, field: &'static str) {
        let count = self.octets.len() - length.from;
        let fitting = u16::try_from(count);
        self.note(
            fitting.is_err(),
            WireError::new(payload, field, Fault::Length(count)),
        );
        let octets = fitting.unwrap_or(u16::MAX).to_be_bytes();
        self.octets[length.at..length.at + 2].copy_from_slice(&octets);
    }

    /// Overwrites octets that were written before.
    pub(crate) fn overwrite(&mut self, at: usize, octets: &[u8]) {
        self.octets[at..at + octets.len()].copy_from_slice(octets);
    }

    fn note(&mut self, wrong: bool, error: WireError) {
        if wrong {
            self.outgrown.get_or_insert(error);
        }
    }

    /// The octets.
    ///
    /// # Errors
    /// The first part that outgrew its length field.
    pub fn finish(self) -> Result<Vec<u8>, WireError> {
        match self.outgrown {
            None => Ok(self.octets),
            Some(error) => Err(error),
        }
    }
}
