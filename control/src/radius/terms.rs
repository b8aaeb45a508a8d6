//! What the client is asked and what it answers: servers, questions, outputs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use adit_ike::eap::ServerAnswer;

use super::packet::{Attribute, Packet, kind};
use crate::secret::Secret;

/// One server.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Where it authenticates, port 1812 as a rule.
    pub authentication: SocketAddr,
    /// Where it keeps accounts, port 1813 as a rule; `None` if it does not.
    pub accounting: Option<SocketAddr>,
    /// What it and we know.
    pub secret: Secret,
    /// How often it is asked before the next one is, at least once.
    pub tries: u8,
    /// How long it has for the first answer; for each further one half as much again.
    pub timeout: Duration,
}

/// How we present ourselves to servers.
#[derive(Debug, Clone)]
pub struct Nas {
    /// NAS-Identifier.
    pub identifier: String,
    /// NAS-IP-Address or NAS-IPv6-Address.
    pub address: Option<IpAddr>,
}

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Access requests.
    Authentication,
    /// Accounting requests.
    Accounting,
}

/// A server, by its place among the settings, and which of its ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Destination {
    /// The server's place.
    pub server: usize,
    /// Which port.
    pub purpose: Purpose,
}

/// An EAP conversation, by a number of the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConversationId(pub u64);

/// An accounting record, by a number of the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordId(pub u64);

/// The next message of a conversation.
#[derive(Debug, Clone)]
pub struct Question {
    /// The conversation; its first question begins it.
    pub conversation: ConversationId,
    /// The peer's name.
    pub name: Vec<u8>,
    /// The peer's EAP message.
    pub eap: Vec<u8>,
    /// The connection's name.
    pub connection: String,
    /// Our address, as text.
    pub called: String,
    /// The peer's address, as text.
    pub calling: String,
}

/// What comes with an acceptance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The name under which accounts are to be kept, if the server gives another.
    pub name: Option<Vec<u8>>,
    /// To be sent back with accounts.
    pub class: Vec<Vec<u8>>,
    /// Inner addresses that the peer is to have.
    pub addresses: Vec<IpAddr>,
    /// How long the peer may stay.
    pub session_timeout: Option<Duration>,
    /// How often the server wants interim records.
    pub interim_interval: Option<Duration>,
    /// Everything the server said, keys and messages left out.
    pub attributes: Vec<Attribute>,
}

/// What is to be done.
#[derive(Debug)]
pub enum Output {
    /// Send a datagram.
    Send {
        /// To whom.
        to: Destination,
        /// The packet.
        datagram: Vec<u8>,
    },
    /// A question is answered. After an acceptance or refusal the conversation is over.
    Answer {
        /// The conversation.
        conversation: ConversationId,
        /// The answer.
        answer: ServerAnswer,
        /// What comes with an acceptance.
        grant: Option<Box<Grant>>,
    },
    /// A record was written down, or nobody could be found who does.
    Accounted {
        /// The record.
        record: RecordId,
        /// Whether it was written down.
        written: bool,
    },
}

impl Grant {
    /// What a believed acceptance grants.
    pub(super) fn of(packet: &Packet) -> Self {
        let v4 = packet.all(kind::FRAMED_IP_ADDRESS).filter_map(|value| {
            let octets: [u8; 4] = value.try_into().ok()?;
            //= RFC 2865 §5.8: all ones and all ones but the last leave the choice to the peer or to us
            let chosen = octets[..3] != [255; 3] || octets[3] < 254;
            chosen.then(|| IpAddr::V4(Ipv4Addr::from(octets)))
        });
        let v6 = packet.all(kind::FRAMED_IPV6_ADDRESS).filter_map(|value| {
            let octets: [u8; 16] = value.try_into().ok()?;
            Some(IpAddr::V6(Ipv6Addr::from(octets)))
        });
        let seconds = |kind| {
            let octets = packet.first(kind)?.try_into().ok()?;
            Some(Duration::from_secs(u32::from_be_bytes(octets).into()))
        };
        let private = [
            kind::EAP_MESSAGE,
            kind::MESSAGE_AUTHENTICATOR,
            kind::VENDOR_SPECIFIC,
        ];
        let shown = packet
            .attributes
            .iter()
            .filter(|a| !private.contains(&a.kind));
        Self {
            name: packet.first(kind::USER_NAME).map(<[u8]>::to_vec),
            class: packet.all(kind::CLASS).map(<[u8]>::to_vec).collect(),
            addresses: v4.chain(v6).collect(),
            session_timeout: seconds(kind::SESSION_TIMEOUT),
            interim_interval: seconds(kind::ACCT_INTERIM_INTERVAL),
            attributes: shown.cloned().collect(),
        }
    }
}
