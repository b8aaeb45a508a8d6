//! IKE's bytes: what both versions share here, [`v2`]'s messages and payloads beside it.
//!
//! ```text
//! datagram ─► Header::parse ─► version.major 2 ─► v2::Message::parse ─► payloads outside SK
//!                                                                  └──► Encrypted ─► (caller opens it) ─► v2::parse_payloads
//! ```
//!
//! Everything read comes from a checked [`Reader`]; what is kept is owned and bounded. Nothing here
//! encrypts, draws random numbers or knows the time. The four zero octets in front of a message on
//! UDP port 4500 (RFC 7296 §3.1) belong to whoever owns the socket.

mod attribute;
mod code;
mod error;
mod header;
mod reader;
pub mod v2;
mod writer;

pub use attribute::{Attribute, AttributeValue};
pub use error::{Fault, WireError};
pub use header::{HEADER_LEN, Header, IkeSpi, Version};
pub use reader::Reader;
pub use writer::Writer;

/// Longest message taken or made, in octets: what a UDP datagram can carry (RFC 7296 §2 asks for 3,000 at least).
pub const MAX_MESSAGE: usize = 65_507;

#[cfg(test)]
mod tests;
