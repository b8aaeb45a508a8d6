//! What people and programs want to know of: connections up and down, and why something failed.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use adit_abi::Spi;

use super::{ChildId, IkeSaId};
use crate::identity::Identity;
use crate::v2::Selectors;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// An IKE SA is established.
    IkeUp(IkeInfo),
    /// An established IKE SA is gone, with all its children.
    IkeDown {
        /// Which.
        ike: IkeInfo,
        /// Why.
        why: Why,
    },
    /// An IKE SA has new keys.
    IkeRekeyed {
        /// The one that was.
        old: IkeInfo,
        /// The one that is; the children are its own now.
        new: IkeInfo,
    },
    /// The peer is at another address, or this end is.
    IkeMoved {
        /// As it is now.
        ike: IkeInfo,
    },
    /// A child carries traffic.
    ChildUp {
        /// Whose.
        ike: IkeInfo,
        /// The child.
        child: ChildInfo,
    },
    /// A child is gone.
    ChildDown {
        /// Whose.
        ike: IkeInfo,
        /// The child.
        child: ChildInfo,
        /// Why.
        why: Why,
    },
    /// A child has new keys.
    ChildRekeyed {
        /// Whose.
        ike: IkeInfo,
        /// The child that was.
        old: ChildInfo,
        /// The child that is.
        new: ChildInfo,
    },
    /// Something did not work.
    Failed(Failure),
}

/// Why something went down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A command.
    Command,
    /// The peer deleted it.
    Peer,
    /// The peer is gone: it answers nothing.
    Unanswered,
    /// Its lifetime is over.
    Expired,
    /// It carried nothing for too long.
    Idle,
    /// Another took its place.
    Replaced,
    /// Something failed, as an event told before.
    Failed,
}

/// An IKE SA, as an event shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeInfo {
    /// Its number.
    pub id: IkeSaId,
    /// The connection's name.
    pub connection: Arc<str>,
    /// SPI of the original initiator.
    pub spi_i: u64,
    /// SPI of the original responder.
    pub spi_r: u64,
    /// Whether this end is the original initiator.
    pub initiator: bool,
    /// Own address and port.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// Own identity, once known.
    pub local_id: Option<Identity>,
    /// The peer's identity, once proved.
    pub remote_id: Option<Identity>,
    /// The name that the peer proved by EAP.
    pub eap_id: Option<Vec<u8>>,
    /// Virtual addresses that the peer gave us.
    pub vips_here: Vec<IpAddr>,
    /// Virtual addresses that we gave the peer.
    pub vips_there: Vec<IpAddr>,
    /// DNS servers that the peer gave us.
    pub dns: Vec<IpAddr>,
}

/// A child, as an event shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildInfo {
    /// Its number.
    pub id: ChildId,
    /// Its name.
    pub name: Arc<str>,
    /// SPI of the inbound SA.
    pub spi_in: Spi,
    /// SPI of the outbound SA.
    pub spi_out: Spi,
    /// What it carries.
    pub selectors: Arc<Selectors>,
}

/// A failure, with everything that helps to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The IKE SA, if there is one.
    pub ike: Option<IkeSaId>,
    /// The connection's name, if one was chosen.
    pub connection: Option<Arc<str>>,
    /// The child's name, where it is about a child.
    pub child: Option<Arc<str>>,
    /// Own address and port.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// What failed.
    pub reason: Reason,
}

/// Which end said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// This one.
    Us,
    /// The peer.
    Peer,
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Us => "this gateway",
            Self::Peer => "the peer",
        })
    }
}

/// Why something failed, both sides as far as this end saw them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nobody answered.
    Unanswered {
        /// How often the request was sent.
        sent: u32,
        /// Which exchange.
        exchange: &'static str,
    },
    /// No connection fits these addresses.
    NoConnection,
    /// NO_PROPOSAL_CHOSEN.
    NoProposal {
        /// Who refused.
        by: By,
        /// `proposals` or `esp_proposals`: the line to change.
        key: String,
        /// What this end's configuration says.
        ours: Vec<String>,
        /// What the peer offered; empty where it refused without showing any.
        theirs: Vec<String>,
        /// The first transform of each pair of proposals that does not fit.
        mismatches: Vec<String>,
    },
    /// TS_UNACCEPTABLE.
    Selectors {
        /// Who refused.
        by: By,
        /// This side's local selectors.
        local: Vec<String>,
        /// This side's remote selectors.
        remote: Vec<String>,
        /// What the peer offered for this side; empty where it refused ours.
        peer_local: Vec<String>,
        /// What the peer offered for its own side.
        peer_remote: Vec<String>,
    },
    /// AUTHENTICATION_FAILED: of the peer as we see it, or of us as the peer sees it.
    Authentication {
        /// Who refused.
        by: By,
        /// What was wrong, as far as known here.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
    /// Another error notification of the peer.
    Notified {
        /// Its number (RFC 7296 §3.10.1).
        notify: u16,
        /// Its name, or the number again.
        name: String,
    },
    /// The peer broke the protocol.
    Protocol(String),
    /// This end cannot go on: a table is full, a worker failed.
    Local(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered { sent, exchange } => {
                write!(f, "no answer to {exchange}, sent {sent} times")
            }
            Self::NoConnection => write!(
                f,
                "no connection fits these addresses: see local_addrs and remote_addrs"
            ),
            Self::NoProposal {
                by,
                key,
                ours,
                theirs,
                mismatches,
            } => {
                write!(
                    f,
                    "{by} found no proposal acceptable; ours: {}",
                    ours.join(", ")
                )?;
                if theirs.is_empty() {
                    write!(f, "; the peer showed none of its own")?;
                } else {
                    write!(f, "; offered: {}", theirs.join(", "))?;
                }
                for m in mismatches {
                    write!(f, "; {m}")?;
                }
                write!(f, "; change {key}")
            }
            Self::Selectors {
                by,
                local,
                remote,
                peer_local,
                peer_remote,
            } => {
                write!(
                    f,
                    "{by} found no traffic selectors acceptable; ours: {} === {}",
                    local.join(" "),
                    remote.join(" ")
                )?;
                if !peer_local.is_empty() || !peer_remote.is_empty() {
                    write!(
                        f,
                        "; offered: {} === {}",
                        peer_local.join(" "),
                        peer_remote.join(" ")
                    )?;
                }
                write!(f, "; change local_ts or remote_ts")
            }
            Self::Authentication {
                by,
                problem,
                remedy,
            } => write!(
                f,
                "{by} did not accept the authentication: {problem}; {remedy}"
            ),
            Self::Notified { notify, name } => write!(f, "the peer answered {name} ({notify})"),
            Self::Protocol(what) => write!(f, "the peer broke the protocol: {what}"),
            Self::Local(what) => f.write_str(what),
        }
    }
}
