//! What an IKE SA sees of the endpoint while it does something.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::ask::{Asker, Asks};
use super::{Ask, AskId, ChildId, Event, IkeInfo, IkeSaId, Output, SpiSource, Why};
use crate::config::{Child, Connection, Settings};
use crate::pools::Pools;
use crate::random::Random;
use crate::time::Instant;
use crate::v2::{ChildSa, IkeSa, Queued};
use crate::wire::IkeSpi;

/// The world outside one IKE SA.
pub(crate) struct Context<'a> {
    pub now: Instant,
    pub settings: &'a Settings,
    pub random: &'a mut dyn Random,
    pub spis: &'a mut dyn SpiSource,
    pub outputs: &'a mut VecDeque<Output>,
    pub numbers: &'a mut Numbers,
    pub asks: &'a mut Asks,
    pub by_spi: &'a HashMap<IkeSpi, IkeSaId>,
    pub effects: &'a mut Vec<Effect>,
    pub pools: &'a mut Pools,
    /// Key hashes of the authorities that are trusted.
    pub authorities: &'a [[u8; 20]],
    /// The other IKE SAs.
    pub others: &'a HashMap<IkeSaId, Box<IkeSa>>,
}

/// What an IKE SA wants done beyond itself.
pub(crate) enum Effect {
    /// It did not come about: try again, if the connection's `keyingtries` allow it.
    Again(Arc<Connection>, Starts),
    /// Begin an IKE SA.
    Begin(Arc<Connection>, Starts),
    /// Here is another IKE SA.
    Insert(Box<IkeSa>),
    /// That IKE SA takes over what this one had.
    HandOver(IkeSaId, Box<Heir>),
    /// Nobody needs that IKE SA; the peer will delete it.
    Redundant(IkeSaId),
    /// Delete that IKE SA.
    Delete(IkeSaId, Why),
    /// Forget every other IKE SA between the two identities of this one.
    OnlyOne(IkeSaId),
}

/// What is to come up with an IKE SA that we begin.
#[derive(Clone, Default)]
pub(crate) struct Starts {
    /// Children, the first in IKE_AUTH.
    pub children: VecDeque<Arc<Child>>,
    /// The IKE SA that goes once this one is up.
    pub replaces: Option<IkeSaId>,
    /// Whether the first child was asked for in IKE_AUTH.
    pub in_auth: bool,
    /// How often it was tried before.
    pub tries: u32,
}

/// What a rekeyed IKE SA leaves to the one in its place.
pub(crate) struct Heir {
    pub from: IkeInfo,
    pub children: Vec<ChildSa>,
    pub queue: Vec<Queued>,
}

/// Numbers that are given once.
#[derive(Default)]
pub(crate) struct Numbers {
    ike: u32,
    child: u32,
}

impl Numbers {
    pub fn ike(&mut self) -> IkeSaId {
        self.ike = self.ike.wrapping_add(1);
        IkeSaId(self.ike)
    }

    pub fn child(&mut self) -> ChildId {
        self.child = self.child.wrapping_add(1);
        ChildId(self.child)
    }
}

impl Context<'_> {
    /// Asks something in the name of an IKE SA.
    pub fn ask(&mut self, ike: IkeSaId, ask: Ask) -> AskId {
        let id = self.asks.add(Asker::Ike(ike));
        self.outputs.push_back(Output::Ask {
            id,
            ike: Some(ike),
            ask,
        });
        id
    }

    /// Whether there is another established IKE SA of this connection.
    pub fn has_other(&self, connection: &str) -> bool {
        let mut others = self.others.values();
        others.any(|sa| sa.is_established() && &*sa.connection.name == connection)
    }

    pub fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(Box::new(event)));
    }

    /// An SPI for this end of an IKE SA, which no other of ours has.
    pub fn fresh_spi(&mut self) -> IkeSpi {
        loop {
            let mut spi = IkeSpi::ZERO;
            self.random.fill(&mut spi.0);
            if !spi.is_zero() && !self.by_spi.contains_key(&spi) {
                return spi;
            }
        }
    }
}
