//! The header that every version of IKE begins with (RFC 7296 §3.1, RFC 2408 §3.1).

use std::fmt;

use super::error::{Fault, WireError};
use super::reader::Reader;

/// Octets of the header.
pub const HEADER_LEN: usize = 28;
/// Where the octet lies that names the first payload.
pub(super) const NEXT_PAYLOAD_AT: usize = 16;

/// An IKE SA's identifier at one of its ends; IKEv1 calls it a cookie. All zero stands for *none yet*.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IkeSpi(pub [u8; 8]);

impl IkeSpi {
    /// The responder's in the first message.
    pub const ZERO: Self = Self([0; 8]);

    /// Whether it stands for *none yet*.
    pub const fn is_zero(self) -> bool {
        u64::from_ne_bytes(self.0) == 0
    }
}

impl fmt::Display for IkeSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for IkeSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The version octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// 1 or 2 so far; a change means that old implementations cannot follow.
    pub major: u8,
    /// 0 so far; ignored on receipt (RFC 7296 §3.1).
    pub minor: u8,
}

/// The header before its version is acted upon: exchange, flags and payload are bare numbers, which each version reads its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Chosen by the initiator of the IKE SA.
    pub initiator_spi: IkeSpi,
    /// Chosen by the responder; zero in the first message.
    pub responder_spi: IkeSpi,
    /// Type of the first payload.
    pub next_payload: u8,
    /// Version of the protocol.
    pub version: Version,
    /// Exchange type.
    pub exchange: u8,
    /// Flags.
    pub flags: u8,
    /// Message ID.
    pub message_id: u32,
    /// Octets of the whole message, header included.
    pub length: u32,
}

impl Header {
    /// Reads the header and nothing beyond it.
    ///
    /// # Errors
    /// If the datagram is shorter than a header.
    pub fn parse(datagram: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("header", datagram);
        let initiator_spi = IkeSpi(reader.array("initiator SPI")?);
        let responder_spi = IkeSpi(reader.array("responder SPI")?);
        let next_payload = reader.u8("next payload")?;
        let version = reader.u8("version")?;
        Ok(Self {
            initiator_spi,
            responder_spi,
            next_payload,
            version: Version {
                major: version >> 4,
                minor: version & 0x0f,
            },
            exchange: reader.u8("exchange type")?,
            flags: reader.u8("flags")?,
            message_id: reader.u32("message ID")?,
            length: reader.u32("length")?,
        })
    }

    /// The header's octets.
    pub fn emit(&self) -> [u8; HEADER_LEN] {
        let mut octets = [0; HEADER_LEN];
        octets[..8].copy_from_slice(&self.initiator_spi.0);
        octets[8..16].copy_from_slice(&self.responder_spi.0);
        octets[16] = self.next_payload;
        octets[17] = self.version.major << 4 | self.version.minor & 0x0f;
        octets[18] = self.exchange;
        octets[19] = self.flags;
        octets[20..24].copy_from_slice(&self.message_id.to_be_bytes());
        octets[24..].copy_from_slice(&self.length.to_be_bytes());
        octets
    }

    /// Insists that the header speaks of exactly this datagram.
    ///
    /// # Errors
    /// If the length field says otherwise.
    pub fn check_length(&self, datagram: &[u8]) -> Result<(), WireError> {
        let said = usize::try_from(self.length).unwrap_or(usize::MAX);
        if said == datagram.len() {
            Ok(())
        } else {
            Err(WireError::new("header", "length", Fault::Length(said)))
        }
    }
}
