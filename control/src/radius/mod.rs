//! RADIUS client: passes EAP on to a server and tells it who is connected (RFC 2865, RFC 2866, RFC 2869, RFC 3579, RFC 2548).
//!
//! [`Client`] is the pure half: packets, retransmission, several servers, on a clock and random octets that it is given.
//! [`Sockets`] is the thin half. Every answer to an EAP message must bear a valid Message-Authenticator: without it, whoever sits on
//! the path could turn a refusal into an acceptance.

mod accounting;
mod authenticity;
mod client;
mod packet;
mod sockets;
mod terms;

pub use accounting::{Record, Status, TerminateCause, Traffic};
pub use authenticity::Discarded;
pub use client::Client;
pub use packet::{Attribute, Code, MAX_PACKET, Packet, PacketError, kind};
pub use sockets::Sockets;
pub use terms::{
    ConversationId, Destination, Grant, Nas, Output, Purpose, Question, RecordId, ServerSettings,
};

#[cfg(test)]
mod tests;
