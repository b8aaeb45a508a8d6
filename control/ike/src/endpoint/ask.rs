//! Questions to the world, and its answers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::IkeSaId;
use super::initiate::Initiation;
use crate::config::Host;
use crate::crypto::Secret;
use crate::identity::Identity;

/// A question's number; its answer bears it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// Something that the engine cannot know.
#[derive(Debug)]
pub enum Ask {
    /// The addresses of a connection that is to be brought up: names resolved, and the own address that leads there.
    Addresses {
        /// The connection's name.
        connection: Arc<str>,
        /// Where this end may be; none stands for any address.
        local: Vec<Host>,
        /// Where the peer may be.
        remote: Vec<Host>,
    },
    /// The secret that two ends share.
    Secret {
        /// The connection's name.
        connection: Arc<str>,
        /// Own identity, if there is one.
        local: Option<Identity>,
        /// The peer's identity, as far as it is known: unproved.
        remote: Option<Identity>,
        /// The peer's address.
        address: IpAddr,
    },
}

/// The answer to an [`Ask`].
#[derive(Debug)]
pub enum Answer {
    /// Addresses of both ends; none if there is no name, no route.
    Addresses(Option<(IpAddr, IpAddr)>),
    /// A secret; none if there is none.
    Secret(Option<Secret>),
}

/// Who waits for an answer.
pub(crate) enum Asker {
    Ike(IkeSaId),
    Initiation(Box<Initiation>),
}

/// Questions that are not answered yet.
#[derive(Default)]
pub(crate) struct Asks {
    next: u64,
    open: HashMap<AskId, Asker>,
}

impl Asks {
    pub fn add(&mut self, asker: Asker) -> AskId {
        self.next += 1;
        let id = AskId(self.next);
        self.open.insert(id, asker);
        id
    }

    pub fn take(&mut self, id: AskId) -> Option<Asker> {
        self.open.remove(&id)
    }

    /// Forgets what an IKE SA asked that is gone.
    pub fn forget(&mut self, ike: IkeSaId) {
        self.open
            .retain(|_, asker| !matches!(asker, Asker::Ike(id) if *id == ike));
    }
}
