//! RADIUS packets: a code, an identifier, an authenticator and attributes (RFC 2865 §3).

use thiserror::Error;

/// Longest packet, in octets (RFC 2865 §3).
pub const MAX_PACKET: usize = 4096;
/// Octets before the attributes.
pub(super) const HEADER_LEN: usize = 20;
/// Most octets of one attribute's value.
const MAX_VALUE: usize = 253;

/// Numbers of the attributes that are read or sent, named as in the RFCs.
pub mod kind {
    /// The peer's name (RFC 2865 §5.1).
    pub const USER_NAME: u8 = 1;
    /// Our IPv4 address (RFC 2865 §5.4).
    pub const NAS_IP_ADDRESS: u8 = 4;
    /// What the peer wants (RFC 2865 §5.6).
    pub const SERVICE_TYPE: u8 = 6;
    /// The peer's inner IPv4 address (RFC 2865 §5.8).
    pub const FRAMED_IP_ADDRESS: u8 = 8;
    /// Octets that an EAP message to the peer may have (RFC 2865 §5.12, RFC 3579 §2.4).
    pub const FRAMED_MTU: u8 = 12;
    /// What the server wants to hear again (RFC 2865 §5.24).
    pub const STATE: u8 = 24;
    /// What the server wants to find in accounts (RFC 2865 §5.25).
    pub const CLASS: u8 = 25;
    /// A vendor's own attributes (RFC 2865 §5.26).
    pub const VENDOR_SPECIFIC: u8 = 26;
    /// Seconds that the peer may stay (RFC 2865 §5.27).
    pub const SESSION_TIMEOUT: u8 = 27;
    /// Our address, as text (RFC 2865 §5.30).
    pub const CALLED_STATION_ID: u8 = 30;
    /// The peer's address, as text (RFC 2865 §5.31).
    pub const CALLING_STATION_ID: u8 = 31;
    /// Our name (RFC 2865 §5.32).
    pub const NAS_IDENTIFIER: u8 = 32;
    /// What happened to the session (RFC 2866 §5.1).
    pub const ACCT_STATUS_TYPE: u8 = 40;
    /// Octets from the peer, the low 32 bits (RFC 2866 §5.3).
    pub const ACCT_INPUT_OCTETS: u8 = 42;
    /// Octets to the peer, the low 32 bits (RFC 2866 §5.4).
    pub const ACCT_OUTPUT_OCTETS: u8 = 43;
    /// The session (RFC 2866 §5.5).
    pub const ACCT_SESSION_ID: u8 = 44;
    /// Seconds since it began (RFC 2866 §5.7).
    pub const ACCT_SESSION_TIME: u8 = 46;
    /// Packets from the peer (RFC 2866 §5.8).
    pub const ACCT_INPUT_PACKETS: u8 = 47;
    /// Packets to the peer (RFC 2866 §5.9).
    pub const ACCT_OUTPUT_PACKETS: u8 = 48;
    /// Why it ended (RFC 2866 §5.10).
    pub const ACCT_TERMINATE_CAUSE: u8 = 49;
    /// Octets from the peer, the high 32 bits (RFC 2869 §5.1).
    pub const ACCT_INPUT_GIGAWORDS: u8 = 52;
    /// Octets to the peer, the high 32 bits (RFC 2869 §5.2).
    pub const ACCT_OUTPUT_GIGAWORDS: u8 = 53;
    /// Seconds since 1970 when it happened (RFC 2869 §5.3).
    pub const EVENT_TIMESTAMP: u8 = 55;
    /// How the peer is connected (RFC 2865 §5.41).
    pub const NAS_PORT_TYPE: u8 = 61;
    /// A piece of an EAP message (RFC 3579 §3.1).
    pub const EAP_MESSAGE: u8 = 79;
    /// HMAC-MD5 over the packet (RFC 3579 §3.2).
    pub const MESSAGE_AUTHENTICATOR: u8 = 80;
    /// Seconds between two interim records (RFC 2869 §5.16).
    pub const ACCT_INTERIM_INTERVAL: u8 = 85;
    /// Where the peer is connected, as text (RFC 2869 §5.17).
    pub const NAS_PORT_ID: u8 = 87;
    /// Our IPv6 address (RFC 3162 §2.1).
    pub const NAS_IPV6_ADDRESS: u8 = 95;
    /// The peer's inner IPv6 address (RFC 6911 §3.1).
    pub const FRAMED_IPV6_ADDRESS: u8 = 168;
}

/// What a packet is for (RFC 2865 §3, RFC 2866 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// From us: who is this?
    AccessRequest,
    /// The peer is who it says.
    AccessAccept,
    /// It is not, or may not.
    AccessReject,
    /// From us: someone came, is here, has gone.
    AccountingRequest,
    /// It was written down.
    AccountingResponse,
    /// Ask the peer this.
    AccessChallenge,
    /// Any other.
    Unknown(u8),
}

impl Code {
    const fn number(self) -> u8 {
        match self {
            Self::AccessRequest => 1,
            Self::AccessAccept => 2,
            Self::AccessReject => 3,
            Self::AccountingRequest => 4,
            Self::AccountingResponse => 5,
            Self::AccessChallenge => 11,
            Self::Unknown(number) => number,
        }
    }

    const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::AccessRequest,
            2 => Self::AccessAccept,
            3 => Self::AccessReject,
            4 => Self::AccountingRequest,
            5 => Self::AccountingResponse,
            11 => Self::AccessChallenge,
            number => Self::Unknown(number),
        }
    }
}

/// One attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its number.
    pub kind: u8,
    /// Its value, at most 253 octets.
    pub value: Vec<u8>,
}

/// A packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// What it is for.
    pub code: Code,
    /// Matches responses to requests.
    pub identifier: u8,
    /// The request's or the response's authenticator.
    pub authenticator: [u8; 16],
    /// The attributes, in order.
    pub attributes: Vec<Attribute>,
}

/// Why octets are not a RADIUS packet; such a one is discarded in silence (RFC 2865 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PacketError {
    /// Fewer octets than a header has, or than the length says.
    #[error("RADIUS packet, length: ends early")]
    Truncated,
    /// A length that no packet has.
    #[error("RADIUS packet, length: {0} octets cannot be")]
    Length(usize),
    /// An attribute that is shorter than its own head or reaches beyond the packet.
    #[error("RADIUS packet, attribute {0}: its length does not fit")]
    Attribute(u8),
}

impl Packet {
    /// Reads a packet; octets beyond its length are padding (RFC 2865 §3).
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(datagram: &[u8]) -> Result<Self, PacketError> {
        let octets = within_length(datagram)?;
        let (head, mut rest) = octets
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(PacketError::Truncated)?;
        let mut authenticator = [0; 16];
        authenticator.copy_from_slice(&head[4..]);
        let mut attributes = Vec::new();
        while let Some((&kind, after)) = rest.split_first() {
            let error = PacketError::Attribute(kind);
            let (&length, after) = after.split_first().ok_or(error)?;
            let length = usize::from(length).checked_sub(2).ok_or(error)?;
            let (value, after) = after.split_at_checked(length).ok_or(error)?;
            let value = value.to_vec();
            attributes.push(Attribute { kind, value });
            rest = after;
        }
        Ok(Self {
            code: Code::from_number(head[0]),
            identifier: head[1],
            authenticator,
            attributes,
        })
    }

    /// Its octets.
    ///
    /// # Errors
    /// If an attribute or the whole is too long.
    pub fn emit(&self) -> Result<Vec<u8>, PacketError> {
        let mut octets = vec![self.code.number(), self.identifier, 0, 0];
        octets.extend(self.authenticator);
        for Attribute { kind, value } in &self.attributes {
            if value.len() > MAX_VALUE {
                return Err(PacketError::Attribute(*kind));
            }
            octets.extend([*kind, value.len() as u8 + 2]);
            octets.extend_from_slice(value);
        }
        if octets.len() > MAX_PACKET {
            return Err(PacketError::Length(octets.len()));
        }
        let length = (octets.len() as u16).to_be_bytes();
        octets[2..4].copy_from_slice(&length);
        Ok(octets)
    }

    /// The value of the first attribute of this kind.
    pub fn first(&self, kind: u8) -> Option<&[u8]> {
        self.all(kind).next()
    }

    /// The values of all attributes of this kind, in order.
    pub fn all(&self, kind: u8) -> impl Iterator<Item = &[u8]> {
        let of_kind = move |attribute: &&Attribute| attribute.kind == kind;
        self.attributes
            .iter()
            .filter(of_kind)
            .map(|attribute| &attribute.value[..])
    }

    /// Adds an attribute.
    pub fn add(&mut self, kind: u8, value: impl Into<Vec<u8>>) {
        let value = value.into();
        self.attributes.push(Attribute { kind, value });
    }

    /// The EAP message, put together; `None` if there is none (RFC 3579 §3.1).
    pub fn eap(&self) -> Option<Vec<u8>> {
        let whole = self.all(kind::EAP_MESSAGE).collect::<Vec<_>>().concat();
        (!whole.is_empty()).then_some(whole)
    }

    /// Adds an EAP message in as many attributes as it needs.
    pub fn add_eap(&mut self, message: &[u8]) {
        for chunk in message.chunks(MAX_VALUE) {
            self.add(kind::EAP_MESSAGE, chunk);
        }
    }

    /// The values of a vendor's attributes of this type (RFC 2865 §5.26).
    pub fn vendor(&self, vendor: u32, kind: u8) -> Option<&[u8]> {
        self.all(kind::VENDOR_SPECIFIC).find_map(|value| {
            let (id, mut rest) = value.split_first_chunk()?;
            if u32::from_be_bytes(*id) != vendor {
                return None;
            }
            while let [found, length, ..] = *rest {
                let (whole, after) = rest.split_at_checked(length.into())?;
                let value = whole.get(2..)?;
                if found == kind {
                    return Some(value);
                }
                rest = after;
            }
            None
        })
    }
}

/// The octets that a packet's own length counts.
pub(super) fn within_length(datagram: &[u8]) -> Result<&[u8], PacketError> {
    let length = datagram.get(2..4).ok_or(PacketError::Truncated)?;
    let length = usize::from(length[0]) << 8 | usize::from(length[1]);
    if !(HEADER_LEN..=MAX_PACKET).contains(&length) {
        return Err(PacketError::Length(length));
    }
    datagram.get(..length).ok_or(PacketError::Truncated)
}
