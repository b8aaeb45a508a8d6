//! What happened outside the engine.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Answer, AskId, ChildId, IkeSaId};

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
    /// A packet needs a child that is not there (RFC 4301 §5.1). Harmless if it is there, or on its way.
    Acquire {
        /// The connection's name.
        connection: Arc<str>,
        /// The child's name.
        child: Arc<str>,
    },
    /// Bring IKE SAs or children down.
    Terminate(Target),
    /// Give IKE SAs or children new keys.
    Rekey(Target),
    /// The first packet was opened with a child's inbound SA.
    FirstPacket(ChildId),
    /// Something authentic came in from the peer of a child: it is there.
    Heard(ChildId),
    /// One of a child's SAs reached a limit.
    Expired {
        /// The child.
        child: ChildId,
        /// Whether it is the hard one: the SA carries nothing any more.
        hard: bool,
    },
    /// The data plane could not take an SA of this child: the child must go.
    InstallFailed {
        /// The child.
        child: ChildId,
        /// What people should read.
        reason: String,
    },
}

/// What a command speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every IKE SA of a connection.
    Connection(Arc<str>),
    /// One IKE SA.
    Ike(IkeSaId),
    /// Children by name: of all connections, or of one.
    ChildNamed {
        /// The connection's name.
        connection: Option<Arc<str>>,
        /// The child's name.
        child: Arc<str>,
    },
    /// One child.
    Child(ChildId),
}
