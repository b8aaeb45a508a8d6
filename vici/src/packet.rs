//! Segments and packets: what stands around a message on the socket.
//!
//! A segment is a 32-bit big-endian length (not counting itself) and that many octets: one packet
//! type octet, for some types a name (8-bit length, then ASCII), and for some a message.

use thiserror::Error;
use zeroize::Zeroizing;

/// The most octets a segment may hold after its length field.
pub const MAX_SEGMENT: usize = 512 * 1024;

/// Octets of a segment's length field.
pub const LENGTH_FIELD: usize = 4;

const REQUEST: u8 = 0;
const RESPONSE: u8 = 1;
const COMMAND_UNKNOWN: u8 = 2;
const REGISTER: u8 = 3;
const UNREGISTER: u8 = 4;
const CONFIRM: u8 = 5;
const EVENT_UNKNOWN: u8 = 6;
const EVENT: u8 = 7;

/// One packet; a `message` is still encoded, see [`Message::parse`](crate::Message::parse).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A client asks for a command.
    Request {
        /// The command's name.
        name: &'a str,
        /// The encoded arguments.
        message: &'a [u8],
    },
    /// The answer to a command.
    Response {
        /// The encoded result.
        message: &'a [u8],
    },
    /// The answer to a command that the server does not know.
    CommandUnknown,
    /// A client wants the events of this name.
    Register {
        /// The event's name.
        name: &'a str,
    },
    /// A client no longer wants the events of this name.
    Unregister {
        /// The event's name.
        name: &'a str,
    },
    /// The answer to a [`Packet::Register`] or [`Packet::Unregister`] that took effect.
    Confirm,
    /// The answer to one that names an event that the server does not know.
    EventUnknown,
    /// An event that the client registered for.
    Event {
        /// The event's name.
        name: &'a str,
        /// The encoded event.
        message: &'a [u8],
    },
}

/// Why octets are not a segment or packet, or a packet cannot be put into a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PacketError {
    /// A segment with no packet type.
    #[error("segment is empty")]
    Empty,
    /// A segment longer than [`MAX_SEGMENT`].
    #[error("segment of {0} octets is longer than {MAX_SEGMENT}")]
    TooLong(usize),
    /// A packet type the protocol does not define.
    #[error("packet type {0} is not defined")]
    Type(u8),
    /// A name that goes beyond the segment's end.
    #[error("name of a type {0} packet goes beyond the segment")]
    NameTruncated(u8),
    /// A name that is empty, longer than 255 octets, or not printable ASCII.
    #[error("name of a type {0} packet is not 1 to 255 printable ASCII characters")]
    Name(u8),
    /// Octets after the end of a packet that carries no message.
    #[error("type {0} packet has {1} octets too many")]
    Trailing(u8, usize),
}

impl<'a> Packet<'a> {
    /// Parses what one segment holds after its length field.
    ///
    /// # Errors
    /// Any [`PacketError`]; the message inside is not looked at.
    pub fn parse(segment: &'a [u8]) -> Result<Self, PacketError> {
        if segment.len() > MAX_SEGMENT {
            return Err(PacketError::TooLong(segment.len()));
        }
        let (&kind, rest) = segment.split_first().ok_or(PacketError::Empty)?;
        let bare = |packet| {
            if rest.is_empty() {
                Ok(packet)
            } else {
                Err(PacketError::Trailing(kind, rest.len()))
            }
        };
        match kind {
            REQUEST => {
                parse_name(kind, rest).map(|(name, message)| Packet::Request { name, message })
            }
            RESPONSE => Ok(Packet::Response { message: rest }),
            COMMAND_UNKNOWN => bare(Packet::CommandUnknown),
            REGISTER | UNREGISTER => {
                let (name, trailing) = parse_name(kind, rest)?;
                if !trailing.is_empty() {
                    return Err(PacketError::Trailing(kind, trailing.len()));
                }
                Ok(if kind == REGISTER {
                    Packet::Register { name }
                } else {
                    Packet::Unregister { name }
                })
            }
            CONFIRM => bare(Packet::Confirm),
            EVENT_UNKNOWN => bare(Packet::EventUnknown),
            EVENT => parse_name(kind, rest).map(|(name, message)| Packet::Event { name, message }),
            other => Err(PacketError::Type(other)),
        }
    }

    /// Emits the packet as a whole segment, length field included.
    ///
    /// # Errors
    /// [`PacketError::Name`] for a name that cannot be sent, [`PacketError::TooLong`] for a message
    /// that does not fit.
    pub fn emit(&self) -> Result<Zeroizing<Vec<u8>>, PacketError> {
        let kind = self.kind();
        let (name, message) = match *self {
            Packet::Request { name, message } | Packet::Event { name, message } => {
                (Some(name), message)
            }
            Packet::Register { name } | Packet::Unregister { name } => (Some(name), &[][..]),
            Packet::Response { message } => (None, message),
            Packet::CommandUnknown | Packet::Confirm | Packet::EventUnknown => (None, &[][..]),
        };
        let length = 1 + name.map_or(0, |n| 1 + n.len()) + message.len();
        if length > MAX_SEGMENT {
            return Err(PacketError::TooLong(length));
        }
        // Allocated once at its full size, so that no grown-out-of copy of a key stays behind.
        let mut out = Zeroizing::new(Vec::with_capacity(LENGTH_FIELD + length));
        out.extend_from_slice(&(length as u32).to_be_bytes());
        out.push(kind);
        if let Some(name) = name {
            let octets = u8::try_from(name.len()).map_err(|_| PacketError::Name(kind))?;
            check_name(kind, name.as_bytes())?;
            out.push(octets);
            out.extend_from_slice(name.as_bytes());
        }
        out.extend_from_slice(message);
        Ok(out)
    }

    fn kind(&self) -> u8 {
        match self {
            Packet::Request { .. } => REQUEST,
            Packet::Response { .. } => RESPONSE,
            Packet::CommandUnknown => COMMAND_UNKNOWN,
            Packet::Register { .. } => REGISTER,
            Packet::Unregister { .. } => UNREGISTER,
            Packet::Confirm => CONFIRM,
            Packet::EventUnknown => EVENT_UNKNOWN,
            Packet::Event { .. } => EVENT,
        }
    }
}

/// Shows type, name and message length: a message may hold keys.
impl std::fmt::Debug for Packet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Packet::Request { name, message } => {
                write!(f, "Request({name}, {} octets)", message.len())
            }
            Packet::Response { message } => write!(f, "Response({} octets)", message.len()),
            Packet::CommandUnknown => f.write_str("CommandUnknown"),
            Packet::Register { name } => write!(f, "Register({name})"),
            Packet::Unregister { name } => write!(f, "Unregister({name})"),
            Packet::Confirm => f.write_str("Confirm"),
            Packet::EventUnknown => f.write_str("EventUnknown"),
            Packet::Event { name, message } => write!(f, "Event({name}, {} octets)", message.len()),
        }
    }
}

/// Finds the first whole segment in `buffer`: what it holds, and how many octets of the buffer it
/// takes up with its length field; `None` while more octets are needed.
///
/// # Errors
/// [`PacketError::TooLong`] or [`PacketError::Empty`] as soon as the length field is there, so that
/// nobody waits for, or stores, what would be refused.
pub fn first_segment(buffer: &[u8]) -> Result<Option<(&[u8], usize)>, PacketError> {
    let Some(field) = buffer.first_chunk::<LENGTH_FIELD>() else {
        return Ok(None);
    };
    let length = checked_length(*field)?;
    let end = LENGTH_FIELD + length;
    Ok(buffer.get(LENGTH_FIELD..end).map(|segment| (segment, end)))
}

/// Reads a length field.
///
/// # Errors
/// As [`first_segment`].
pub fn checked_length(field: [u8; LENGTH_FIELD]) -> Result<usize, PacketError> {
    match u32::from_be_bytes(field) as usize {
        0 => Err(PacketError::Empty),
        length if length > MAX_SEGMENT => Err(PacketError::TooLong(length)),
        length => Ok(length),
    }
}

fn parse_name(kind: u8, rest: &[u8]) -> Result<(&str, &[u8]), PacketError> {
    let (&length, rest) = rest.split_first().ok_or(PacketError::NameTruncated(kind))?;
    let (name, rest) = rest
        .split_at_checked(usize::from(length))
        .ok_or(PacketError::NameTruncated(kind))?;
    Ok((check_name(kind, name)?, rest))
}

fn check_name(kind: u8, name: &[u8]) -> Result<&str, PacketError> {
    if name.is_empty()
        || !name
            .iter()
            .all(|octet| octet.is_ascii_graphic() || *octet == b' ')
    {
        return Err(PacketError::Name(kind));
    }
    std::str::from_utf8(name).map_err(|_| PacketError::Name(kind))
}
