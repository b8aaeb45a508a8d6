//! What the engine wants done.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use adit_abi::{Direction, Mode, Protocol, Spi, Suite};

use super::{Ask, AskId, ChildId, Event, IkeSaId};
use crate::config::Volume;
use crate::crypto::Secret;
use crate::time::Instant;
use crate::v2::Selectors;

/// One thing to do; they are done in order.
///
/// A [`Output::Transmit`] must not leave before every earlier [`Output::Install`] of the same IKE SA has reached the data
/// plane: the peer may use an SA as soon as it has read of it.
#[derive(Debug)]
pub enum Output {
    /// Send a datagram.
    Transmit(Transmit),
    /// Find something out, and answer with [`super::Input::Answer`].
    Ask {
        /// To be repeated in the answer.
        id: AskId,
        /// The IKE SA that waits, none for the endpoint's own questions.
        ike: Option<IkeSaId>,
        /// The question.
        ask: Ask,
    },
    /// Put one SA in. An outbound SA becomes the one that its child's policies seal into.
    Install(Box<Install>),
    /// Take one SA out.
    Remove(Remove),
    /// Something people and programs want to know.
    Event(Box<Event>),
    /// Nothing more to do before this moment, or before the next input; none: just wait for inputs.
    Timeout(Option<Instant>),
}

/// A datagram to send.
#[derive(Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Whose it is, none where there is no IKE SA (a cookie, an INVALID_KE_PAYLOAD).
    pub ike: Option<IkeSaId>,
    /// Own address and port.
    pub source: SocketAddr,
    /// The peer's address and port.
    pub destination: SocketAddr,
    /// The IKE message, without a non-ESP marker.
    pub message: Vec<u8>,
    /// Whether four zero octets go in front of it (RFC 3948 §2.2).
    pub marker: bool,
}

impl std::fmt::Debug for Transmit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} > {} {} octets",
            self.source,
            self.destination,
            self.message.len()
        )
    }
}

/// UDP encapsulation (RFC 3948), host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encap {
    /// Port of this end.
    pub local: u16,
    /// Port of the peer.
    pub remote: u16,
}

/// Where an SA's packets run on the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// Address of this end.
    pub local: IpAddr,
    /// Address of the peer.
    pub remote: IpAddr,
    /// UDP encapsulation, if any.
    pub encap: Option<Encap>,
    /// Whether this end sends NAT keepalives: it is behind a NAT (RFC 3948 §4).
    pub keepalive: bool,
}

/// Keys of one SA, as RFC 7296 §2.17 takes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SaKeys {
    /// Encryption key, the salt of counter-mode suites at its end.
    pub enc: Secret,
    /// Integrity key, empty where the suite has none.
    pub auth: Secret,
}

/// When an SA is to be replaced or ends; zero is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// After this long.
    pub time: Duration,
    /// After this much traffic.
    pub volume: Volume,
}

/// An SA to be put in.
#[derive(Clone, Debug)]
pub struct Install {
    /// Whose.
    pub ike: IkeSaId,
    /// The child it is half of.
    pub child: ChildId,
    /// The connection's name.
    pub connection: Arc<str>,
    /// The child's name in the configuration.
    pub name: Arc<str>,
    /// Which way it carries traffic.
    pub direction: Direction,
    /// ESP or AH.
    pub protocol: Protocol,
    /// The index: of this end's choice inbound, of the peer's outbound.
    pub spi: Spi,
    /// Outside.
    pub outer: Outer,
    /// Tunnel or transport.
    pub mode: Mode,
    /// What encrypts and authenticates.
    pub suite: Suite,
    /// 64-bit sequence numbers (RFC 4304).
    pub esn: bool,
    /// Its keys.
    pub keys: SaKeys,
    /// What it may carry.
    pub selectors: Arc<Selectors>,
    /// Replaced after this: tell it with [`super::Input::Expired`]. The time limit is the engine's own affair.
    pub soft: Limit,
    /// Ends after this, whoever is still there to end it.
    pub hard: Limit,
    /// Whether TFC padding may be sent to the peer (RFC 7296 §3.10.1, ESP_TFC_PADDING_NOT_SUPPORTED).
    pub tfc: bool,
    /// The child whose place it takes, at a rekey.
    pub replaces: Option<ChildId>,
}

/// An SA to be taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remove {
    /// Whose.
    pub ike: IkeSaId,
    /// The child it is half of.
    pub child: ChildId,
    /// Which half.
    pub direction: Direction,
    /// ESP or AH.
    pub protocol: Protocol,
    /// Its index.
    pub spi: Spi,
    /// Its outer destination: with protocol and index its key.
    pub destination: IpAddr,
}
