//! INFORMATIONAL: deleting, and asking whether the peer is there (RFC 7296 §1.4, §2.4, §2.25).

use adit_abi::{Direction, Protocol, Spi};

use super::child::{Outbound, Stage};
use super::exchange::Exchange;
use super::payloads::Payloads;
use super::sa::{IkeSa, State, wants_restart};
use super::schedule::Task;
use crate::endpoint::{ChildId, Context, Output, Why};
use crate::wire::v2::{Delete, ExchangeType, NotifyType, Payload};

const KIND: ExchangeType = ExchangeType::Informational;

/// What an INFORMATIONAL request of ours is about.
pub(crate) enum Informational {
    /// Nothing: any answer will do.
    Liveness,
    /// A child goes; people are told why, unless another has its place.
    DeleteChild(ChildId, Option<Why>),
    /// The peer's end of a child that we never put in goes.
    DeleteUnmade,
    /// The IKE SA goes.
    DeleteIke(Why),
}

impl IkeSa {
    pub(super) fn inform(
        &mut self,
        cx: &mut Context<'_>,
        payloads: &[Payload],
        exchange: Exchange,
    ) {
        self.request(cx, KIND, payloads, exchange);
    }

    pub(super) fn begin_delete_child(
        &mut self,
        cx: &mut Context<'_>,
        id: ChildId,
        why: Option<Why>,
    ) {
        let Some(child) = self.child_mut(id) else {
            return;
        };
        if matches!(child.stage, Stage::Deleting | Stage::Lingering) {
            return;
        }
        child.stage = Stage::Deleting;
        //= RFC 7296 §1.4.1: each end deletes its inbound SA, named by the SPI it receives on
        let delete = delete(child.protocol, vec![child.spi_in]);
        let what = Informational::DeleteChild(id, why);
        self.inform(cx, &[delete], Exchange::Informational(what));
    }

    pub(super) fn begin_delete_unmade(
        &mut self,
        cx: &mut Context<'_>,
        protocol: Protocol,
        spi: Spi,
    ) {
        let what = Exchange::Informational(Informational::DeleteUnmade);
        self.inform(cx, &[delete(protocol, vec![spi])], what);
    }

    pub(super) fn begin_delete_ike(&mut self, cx: &mut Context<'_>, why: Why) {
        let what = Exchange::Informational(Informational::DeleteIke(why));
        self.inform(cx, &[Payload::Delete(Delete::Ike)], what);
        // Sealing may have failed and ended it.
        if self.outgoing.in_flight.is_some() {
            self.state = State::Closing(why);
        }
    }

    /// The peer has answered one of our requests.
    pub(super) fn informational_answered(&mut self, cx: &mut Context<'_>, what: Informational) {
        match what {
            Informational::Liveness | Informational::DeleteUnmade => {}
            Informational::DeleteChild(id, Some(why)) => self.drop_child(cx, id, Some(why)),
            Informational::DeleteChild(id, None) => self.let_linger(cx, id),
            Informational::DeleteIke(why) => self.end(cx, why),
        }
    }

    /// Takes a replaced child's outbound SA out; its inbound SA still opens what is under way.
    fn let_linger(&mut self, cx: &mut Context<'_>, id: ChildId) {
        let ike = self.id;
        let until = cx.now + cx.settings.delete_rekeyed_delay;
        if let Some(child) = self.child_mut(id)
            && child.stage != Stage::Lingering
        {
            child.stage = Stage::Lingering;
            child.rekey_at = None;
            child.ends_at = Some(until);
            let outbound = std::mem::replace(&mut child.outbound, Outbound::Gone);
            if let Outbound::Installed = outbound {
                let remove = child.removal(ike, Direction::Outbound);
                cx.outputs.push_back(Output::Remove(remove));
            }
        }
    }

    /// An INFORMATIONAL request of the peer.
    pub(super) fn answer_informational(&mut self, cx: &mut Context<'_>, p: &Payloads) {
        //= RFC 7296 §1.4.1: deleting the IKE SA is answered by an empty message, and takes all children with it
        if p.deletes.contains(&Delete::Ike) {
            self.respond(cx, KIND, Vec::new());
            let why = match self.state {
                State::Replaced => Why::Replaced,
                State::Closing(why) => why,
                _ => Why::Peer,
            };
            self.settle_collision(cx);
            return self.close(cx, why);
        }
        // One of two IKE SAs made at once, and the children are not here yet: its copy will find them.
        let of_child = |d: &Delete| matches!(d, Delete::Child { .. });
        if self.is_established() && !self.announced && p.deletes.iter().any(of_child) {
            return;
        }
        let mut answer = Vec::new();
        for deleted in &p.deletes {
            if let Delete::Child { protocol, spis } = deleted {
                let ours = self.deleted_by_peer(cx, *protocol, spis);
                if !ours.is_empty() {
                    answer.push(delete(*protocol, ours));
                }
            }
        }
        self.respond(cx, KIND, answer);
        //= RFC 7296 §2.21.2: the initiator may find out after IKE_AUTH that the peer did not believe it
        if p.has(NotifyType::AuthenticationFailed) {
            self.close(cx, Why::Peer);
        }
    }

    /// Deletes children that the peer names by its inbound SPIs; returns those of our own inbound SAs that went.
    fn deleted_by_peer(
        &mut self,
        cx: &mut Context<'_>,
        protocol: Protocol,
        spis: &[Spi],
    ) -> Vec<Spi> {
        let mut ours = Vec::new();
        for spi in spis {
            let named = self.children.iter();
            let mut named = named.filter(|c| c.protocol == protocol && c.spi_out == *spi);
            let Some((id, stage, spi_in)) = named.next().map(|c| (c.id, c.stage, c.spi_in)) else {
                continue;
            };
            match stage {
                //= RFC 7296 §1.4.1: two Deletes of one child that cross name it in the requests only
                Stage::Deleting => {}
                Stage::Lingering => {}
                Stage::Replaced(new) => {
                    ours.push(spi_in);
                    self.switch_outbound(cx, new);
                    self.let_linger(cx, id);
                }
                Stage::Redundant => {
                    ours.push(spi_in);
                    self.drop_child(cx, id, None);
                }
                Stage::Up | Stage::Rekeying => {
                    ours.push(spi_in);
                    self.closed_by_peer(cx, id);
                }
            }
        }
        ours
    }

    fn closed_by_peer(&mut self, cx: &mut Context<'_>, id: ChildId) {
        let config = self.child(id).map(|c| c.config.clone());
        self.drop_child(cx, id, Some(Why::Peer));
        if let Some(config) = config.filter(|c| wants_restart(c, Why::Peer)) {
            self.queue(Task::CreateChild(config), cx.now);
        }
    }
}

fn delete(protocol: Protocol, spis: Vec<Spi>) -> Payload {
    Payload::Delete(Delete::Child { protocol, spis })
}
