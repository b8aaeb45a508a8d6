//! EAP inside IKE_AUTH (RFC 3748, RFC 7296 §2.16): the peer's side, the authenticator's side with a method of its own or with a RADIUS
//! server behind it, and the method EAP-MSCHAPv2.
//!
//! Random octets are handed in, so that nothing here draws any; messages are whole EAP packets, which the IKE payload carries as they are.

mod authenticator;
mod mschapv2;
mod packet;
mod peer;

use std::fmt;

use zeroize::Zeroizing;

pub use authenticator::{Authenticator, AuthenticatorStep, Backend, ServerAnswer};
pub use packet::{Body, MAX_PACKET, Method, Packet, PacketError};
pub use peer::{Peer, PeerStep};

/// The master session key that both ends of a method end up with (RFC 3748 §7.10): IKE's AUTH is made with it.
#[derive(Clone, PartialEq, Eq)]
pub struct Msk(Zeroizing<[u8; 64]>);

impl Msk {
    /// A key of two halves, as EAP-MSCHAPv2 and RADIUS have it: what the server receives with, then what it sends with, then zeros.
    /// `None` if they are empty, or longer than 64 octets together.
    pub fn from_halves(receive: &[u8], send: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; 64]);
        let total = receive.len().checked_add(send.len())?;
        if receive.is_empty() || send.is_empty() {
            return None;
        }
        key.get_mut(..receive.len())?.copy_from_slice(receive);
        key.get_mut(receive.len()..total)?.copy_from_slice(send);
        Some(Self(key))
    }

    /// The 64 octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0[..]
    }
}

impl fmt::Debug for Msk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Msk(…)")
    }
}

/// Why an EAP conversation failed, for logs and explanations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EapFailure {
    /// The name is not known, or has no password.
    #[error("no password is known for this name")]
    UnknownName,
    /// The peer does not know the password.
    #[error("the password is wrong")]
    WrongPassword,
    /// The server does not know the password, so it is not to be trusted.
    #[error("the server did not prove that it knows the password")]
    WrongServer,
    /// The other side wants a method that is not spoken here.
    #[error("no EAP method is common to both sides (the other side wants {0:?})")]
    Method(Option<u8>),
    /// The other side said so, and no more.
    #[error("the other side ended the conversation")]
    Refused,
    /// A message that makes no sense at this point.
    #[error("a message does not follow the method")]
    OutOfOrder,
    /// The RADIUS server refused, or did not answer, or gave no key.
    #[error("the RADIUS server accepted nobody: {0}")]
    Server(ServerFault),
    /// More round trips than any method needs.
    #[error("the conversation does not end")]
    TooLong,
}

/// What went wrong behind the authenticator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServerFault {
    /// Access-Reject.
    #[error("it rejected the name or its proof")]
    Rejected,
    /// No server answered.
    #[error("none answered in time")]
    Silent,
    /// More questions are open than can be.
    #[error("too many questions are open")]
    Busy,
    /// An answer without what it needs.
    #[error("its answer lacks a message or a key")]
    Incomplete,
}

#[cfg(test)]
mod tests;
