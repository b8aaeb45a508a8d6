//! Child SAs: what is offered, what is accepted, and how it becomes a pair of SAs (RFC 7296 §1.3.1, §2.9, §2.17).
//!
//! | file | what |
//! | --- | --- |
//! | `request` | what we ask for, and what the answer agreed on |
//! | `answer` | what the peer asks for, and what we answer |
//! | `install` | a pair of SAs put in and taken out |

mod answer;
mod install;
mod request;

use std::net::IpAddr;
use std::sync::Arc;

use adit_abi::{Direction, Mode, Spi};

use crate::config::Child;
use crate::crypto::{KeMethod, Secret};
use crate::endpoint::{
    ChildId, ChildInfo, Context, Event, Failure, Install, Outer, Reason, Remove,
};
use crate::proposal::ChildSuite;
use crate::time::Instant;
use crate::v2::narrowing::{self, Selectors};
use crate::v2::sa::IkeSa;
use crate::wire::v2::{IpSelector, Notify, NotifyType, ProtocolId, SpiField};

pub(crate) use request::Create;

/// A child SA: two SAs of one child, one in each direction.
pub(crate) struct ChildSa {
    pub id: ChildId,
    pub config: Arc<Child>,
    pub protocol: adit_abi::Protocol,
    pub spi_in: Spi,
    pub spi_out: Spi,
    pub outer: Outer,
    pub selectors: Arc<Selectors>,
    pub stage: Stage,
    pub outbound: Outbound,
    /// When it gets new keys.
    pub rekey_at: Option<Instant>,
    /// When it ends; of one that is only kept for packets under way, when it is forgotten.
    pub ends_at: Option<Instant>,
}

/// Where the outbound SA of a child is.
pub(crate) enum Outbound {
    /// Kept back, until the peer shows that it has the other end.
    Waiting(Box<Install>),
    /// In the data plane.
    Installed,
    /// Taken out, or never put in and not wanted any more.
    Gone,
}

/// How far a child SA is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It carries traffic.
    Up,
    /// We asked for new keys.
    Rekeying,
    /// Another took its place; the peer or we delete it.
    Replaced(ChildId),
    /// Made by the peer when we both asked for new keys, and not wanted: the peer will delete it.
    Redundant,
    /// We asked the peer to delete it.
    Deleting,
    /// Deleted: only its inbound SA is there, for packets under way.
    Lingering,
}

impl ChildSa {
    pub fn info(&self) -> ChildInfo {
        ChildInfo {
            id: self.id,
            name: self.config.name.clone(),
            spi_in: self.spi_in,
            spi_out: self.spi_out,
            selectors: self.selectors.clone(),
        }
    }

    /// How the SA of one direction is taken out.
    pub fn removal(&self, ike: crate::endpoint::IkeSaId, direction: Direction) -> Remove {
        let (spi, destination) = match direction {
            Direction::Inbound => (self.spi_in, self.outer.local),
            Direction::Outbound => (self.spi_out, self.outer.remote),
        };
        Remove {
            ike,
            child: self.id,
            direction,
            protocol: self.protocol,
            spi,
            destination,
        }
    }

    /// Whether it is there to carry traffic, as far as this end knows.
    pub fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Up | Stage::Rekeying)
    }
}

/// Why a child did not come about.
pub(crate) struct Refusal {
    /// What the peer is told.
    pub notify: Notify,
    /// What people are told.
    pub reason: Reason,
}

impl Refusal {
    pub fn new(kind: NotifyType, reason: Reason) -> Self {
        Self {
            notify: Notify::new(kind, []),
            reason,
        }
    }

    pub fn syntax(what: &str) -> Self {
        Self::new(NotifyType::InvalidSyntax, Reason::Protocol(what.into()))
    }
}

/// Why the answer to our request made no child.
pub(crate) enum Unmade {
    /// Ask again, with this group.
    Group(KeMethod),
    /// Ask again later.
    Later,
    /// The child to be rekeyed is not there at the peer.
    NotFound,
    /// It failed. If `installed` the peer has made its end and must be told to delete it.
    Failed { reason: Reason, peer_made_it: bool },
}

impl Unmade {
    pub fn protocol(what: &str) -> Self {
        Self::Failed {
            reason: Reason::Protocol(what.into()),
            peer_made_it: true,
        }
    }
}

/// Everything that two ends agreed on.
pub(crate) struct Agreed {
    pub config: Arc<Child>,
    pub suite: ChildSuite,
    pub mode: Mode,
    pub spi_in: Spi,
    pub spi_out: Spi,
    pub selectors: Selectors,
    pub nonce_i: Vec<u8>,
    pub nonce_r: Vec<u8>,
    pub shared: Vec<Secret>,
    /// Whether this end began the exchange.
    pub initiator: bool,
    pub tfc: bool,
    pub replaces: Option<ChildId>,
}

/// The SPI of a proposal or of what was chosen of it, for ESP and AH.
pub(crate) fn child_spi(field: &SpiField) -> Option<Spi> {
    match field {
        //= RFC 4303 §2.1: SPIs of 0 to 255 are reserved
        SpiField::Child(spi) if spi.is_usable() => Some(*spi),
        _ => None,
    }
}

/// Which child a notification or a Delete of the peer speaks of: the SPI is the peer's inbound one.
pub(crate) fn named_protocol(protocol: ProtocolId) -> Option<adit_abi::Protocol> {
    match protocol {
        ProtocolId::Esp => Some(adit_abi::Protocol::Esp),
        ProtocolId::Ah => Some(adit_abi::Protocol::Ah),
        _ => None,
    }
}

fn merge(configured: &Selectors, old: &Selectors) -> Selectors {
    let add = |ours: &[IpSelector], old: &[IpSelector]| {
        let covered = |o: &IpSelector| ours.iter().any(|c| narrowing::covers(c, o));
        let missing = old.iter().filter(|o| !covered(o)).copied();
        ours.iter().copied().chain(missing).collect()
    };
    Selectors {
        local: add(&configured.local, &old.local),
        remote: add(&configured.remote, &old.remote),
    }
}

impl IkeSa {
    /// What a child's traffic selectors stand for with the addresses there are.
    pub(in crate::v2) fn configured_selectors(&self, config: &Child) -> Selectors {
        let (local, remote) = self.dynamic_addresses();
        let early = self.selectors_before_addresses(config);
        let local_ts = early.as_ref().unwrap_or(&config.local_ts);
        Selectors {
            local: narrowing::resolve(local_ts, &local),
            remote: narrowing::resolve(&config.remote_ts, &remote),
        }
    }

    /// What `dynamic` stands for on either side: virtual addresses where there are any.
    fn dynamic_addresses(&self) -> (Vec<IpAddr>, Vec<IpAddr>) {
        let or = |vips: &[IpAddr], address: IpAddr| match vips {
            [] => vec![address],
            vips => vips.to_vec(),
        };
        (
            or(&self.vips_here, self.path.local.ip()),
            or(&self.vips_there, self.path.remote.ip()),
        )
    }

    /// The configuration's line for a child's proposals.
    pub(in crate::v2) fn child_key(&self, child: &Child) -> String {
        let (connection, child) = (&self.connection.name, &child.name);
        format!("connections.{connection}.children.{child}.esp_proposals")
    }

    /// Tells of a child that is there.
    pub(in crate::v2) fn child_up(&self, cx: &mut Context<'_>, id: ChildId) {
        if let Some(child) = self.child(id) {
            cx.event(Event::ChildUp {
                ike: self.info(),
                child: child.info(),
            });
        }
    }

    /// Tells why a child did not come about.
    pub(in crate::v2) fn child_failed(
        &self,
        cx: &mut Context<'_>,
        child: Option<&Child>,
        reason: Reason,
    ) {
        let failure = Failure {
            child: child.map(|c| c.name.clone()),
            ..self.failure(reason)
        };
        cx.event(Event::Failed(failure));
    }

    pub(in crate::v2) fn child(&self, id: ChildId) -> Option<&ChildSa> {
        self.children.iter().find(|c| c.id == id)
    }

    pub(in crate::v2) fn child_mut(&mut self, id: ChildId) -> Option<&mut ChildSa> {
        self.children.iter_mut().find(|c| c.id == id)
    }
}
