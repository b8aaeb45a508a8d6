//! What happened outside the engine.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Answer, AskId};

/// One thing that happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram came in on one of the IKE ports, any non-ESP marker taken off.
    Datagram {
        /// Own address and port it came to.
        local: SocketAddr,
        /// Where it came from.
        remote: SocketAddr,
        /// The message.
        message: &'a [u8],
    },
    /// The moment of the last [`super::Output::Timeout`] has come; harmless at any other time.
    Timeout,
    /// The answer to an [`super::Output::Ask`].
    Answer {
        /// The question's.
        id: AskId,
        /// The answer.
        answer: Answer,
    },
    /// Bring something up.
    Initiate {
        /// The connection's name.
        connection: Arc<str>,
        /// The child's name; none: the IKE SA and whatever starts with it.
        child: Option<Arc<str>>,
    },
}
