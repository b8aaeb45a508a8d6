//! EAP packets (RFC 3748 §4, §5).

use thiserror::Error;

/// Longest packet taken, in octets: some methods carry chains of certificates, but in pieces.
pub const MAX_PACKET: usize = 4096;

const IDENTITY: u8 = 1;
const NOTIFICATION: u8 = 2;
const NAK: u8 = 3;
const MSCHAPV2: u8 = 26;

/// What a request or response is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// Who the peer is: a prompt in a request, a name in a response (RFC 3748 §5.1).
    Identity(Vec<u8>),
    /// A text for people (RFC 3748 §5.2).
    Notification(Vec<u8>),
    /// In a response: methods that would do instead; 0 for none (RFC 3748 §5.3.1).
    Nak(Vec<u8>),
    /// EAP-MSCHAPv2: what follows the type.
    MsChapV2(Vec<u8>),
    /// Any other method.
    Other(u8, Vec<u8>),
}

impl Method {
    /// The method's number.
    pub const fn number(&self) -> u8 {
        match self {
            Self::Identity(_) => IDENTITY,
            Self::Notification(_) => NOTIFICATION,
            Self::Nak(_) => NAK,
            Self::MsChapV2(_) => MSCHAPV2,
            Self::Other(number, _) => *number,
        }
    }

    fn new(number: u8, data: Vec<u8>) -> Self {
        match number {
            IDENTITY => Self::Identity(data),
            NOTIFICATION => Self::Notification(data),
            NAK => Self::Nak(data),
            MSCHAPV2 => Self::MsChapV2(data),
            other => Self::Other(other, data),
        }
    }

    fn data(&self) -> &[u8] {
        match self {
            Self::Identity(data)
            | Self::Notification(data)
            | Self::Nak(data)
            | Self::MsChapV2(data)
            | Self::Other(_, data) => data,
        }
    }
}

/// What a packet is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// From the authenticator.
    Request(Method),
    /// From the peer.
    Response(Method),
    /// The end: the peer is who it says.
    Success,
    /// The end: it is not.
    Failure,
}

/// An EAP packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Matches responses to requests.
    pub identifier: u8,
    /// What it is.
    pub body: Body,
}

/// Why octets are not an EAP packet; such a one is ignored (RFC 3748 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PacketError {
    /// Fewer octets than the length says, or than a packet has.
    #[error("EAP packet, length: ends early")]
    Truncated,
    /// A length that such a packet cannot have.
    #[error("EAP packet, length: {0} octets cannot be")]
    Length(usize),
    /// A code that is not 1 to 4.
    #[error("EAP packet, code: {0} is not defined")]
    Code(u8),
}

impl Packet {
    /// A request.
    pub const fn request(identifier: u8, method: Method) -> Self {
        let body = Body::Request(method);
        Self { identifier, body }
    }

    /// A response to the request with this identifier.
    pub const fn response(identifier: u8, method: Method) -> Self {
        let body = Body::Response(method);
        Self { identifier, body }
    }

    /// Reads a packet; octets beyond its length are padding (RFC 3748 §4.1).
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(octets: &[u8]) -> Result<Self, PacketError> {
        let (&[code, identifier, high, low], _) =
            octets.split_first_chunk().ok_or(PacketError::Truncated)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > MAX_PACKET {
            return Err(PacketError::Length(length));
        }
        //= RFC 3748 §4.1: octets outside the length are ignored
        let data = octets.get(..length).ok_or(PacketError::Truncated)?.get(4..);
        let data = data.ok_or(PacketError::Length(length))?;
        let method = || match data.split_first() {
            Some((number, data)) => Ok(Method::new(*number, data.to_vec())),
            None => Err(PacketError::Length(length)),
        };
        //= RFC 3748 §4.2: Success and Failure carry no data
        let empty = if data.is_empty() {
            Ok(())
        } else {
            Err(PacketError::Length(length))
        };
        let body = match code {
            1 => Body::Request(method()?),
            2 => Body::Response(method()?),
            3 => empty.map(|()| Body::Success)?,
            4 => empty.map(|()| Body::Failure)?,
            other => return Err(PacketError::Code(other)),
        };
        Ok(Self { identifier, body })
    }

    /// Its octets; data longer than a packet's length can say is cut.
    pub fn emit(&self) -> Vec<u8> {
        let (code, method) = match &self.body {
            Body::Request(method) => (1, Some(method)),
            Body::Response(method) => (2, Some(method)),
            Body::Success => (3, None),
            Body::Failure => (4, None),
        };
        let mut octets = vec![code, self.identifier, 0, 0];
        if let Some(method) = method {
            octets.push(method.number());
            octets.extend_from_slice(method.data());
        }
        octets.truncate(u16::MAX.into());
        let length = u16::try_from(octets.len()).unwrap_or(u16::MAX);
        octets[2..4].copy_from_slice(&length.to_be_bytes());
        octets
    }
}
