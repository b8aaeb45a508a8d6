//! CREATE_CHILD_SA for children: new ones, and new keys for those that are there, collisions included (RFC 7296 §1.3, §2.8, §2.25).

use std::sync::Arc;

use super::child::{ChildSa, Create, Outbound, Refusal, Stage, Unmade, named_protocol};
use super::exchange::Exchange;
use super::key_exchange::{lower, start_ke};
use super::payloads::Payloads;
use super::sa::IkeSa;
use super::schedule::Task;
use crate::config::Child;
use crate::endpoint::{ChildId, Context, Event, Output, Reason};
use crate::proposal::{Proposal, Protocol};
use crate::wire::v2::{ExchangeType, Notify, NotifyType, Payload, ProtocolId, SpiField};
use adit_abi::Spi;

const KIND: ExchangeType = ExchangeType::CreateChildSa;

impl IkeSa {
    /// Asks for a child, in the place of another where `rekeys` names one.
    pub(super) fn begin_child(
        &mut self,
        cx: &mut Context<'_>,
        config: &Arc<Child>,
        rekeys: Option<ChildId>,
    ) {
        if !self.is_established() {
            return;
        }
        match Create::new(cx, self, config, rekeys, false) {
            Some(create) => {
                if let Some(old) = rekeys.and_then(|id| self.child_mut(id)) {
                    old.stage = Stage::Rekeying;
                }
                self.ask_for_child(cx, create);
            }
            None => {
                let what = "no SPI is left, or a side has no address for its selectors";
                self.child_failed(cx, Some(config), Reason::Local(what.into()));
            }
        }
    }

    fn ask_for_child(&mut self, cx: &mut Context<'_>, create: Create) {
        let payloads = create.payloads(self);
        let exchange = Exchange::CreateChild(Box::new(create));
        self.request(cx, KIND, &payloads, exchange);
    }

    /// The answer to our request for a child.
    pub(super) fn child_answered(&mut self, cx: &mut Context<'_>, create: Create, p: &Payloads) {
        let here = self.path.local.ip();
        let agreed = match create.accept(self, p, None) {
            Ok(agreed) => agreed,
            Err(unmade) => {
                if !matches!(unmade, Unmade::Group(_)) {
                    cx.spis.release(here, create.spi);
                }
                return self.child_unmade(cx, create, unmade, p);
            }
        };
        let ours = lower(&agreed.nonce_i, &agreed.nonce_r);
        if create.collision.is_some_and(|(_, theirs)| ours < theirs) {
            //= RFC 7296 §2.8.1: of two children made at once, whose exchange has the lowest nonce is closed by who asked for it
            cx.spis.release(here, create.spi);
            self.delete_unmade(cx, &create.proposals, create.spi);
            return self.peer_has_replaced(cx, &create);
        }
        let Some(new) = self.add_child(cx, agreed) else {
            let what = Reason::Local("the keys of the child cannot be made".into());
            return self.child_failed(cx, Some(&create.config), what);
        };
        match create.rekeys {
            None => self.child_up(cx, new),
            Some(old) => {
                //= RFC 7296 §2.8: who asked for the new child deletes the old one
                self.replace_child(cx, old, new);
                self.supersede(new);
                if let Some((redundant, _)) = create.collision
                    && let Some(child) = self.child_mut(redundant)
                {
                    child.stage = Stage::Redundant;
                    child.outbound = Outbound::Gone;
                    child.rekey_at = None;
                }
                self.queue(Task::DeleteChild(old, None), cx.now);
            }
        }
    }

    fn child_unmade(&mut self, cx: &mut Context<'_>, create: Create, unmade: Unmade, p: &Payloads) {
        let now = cx.now;
        // A rekeying that failed leaves the child as it was; the peer's own may have replaced it meanwhile.
        if let Some(old) = create.rekeys.and_then(|id| self.child_mut(id))
            && old.stage == Stage::Rekeying
            && !matches!(unmade, Unmade::Group(_))
        {
            old.stage = Stage::Up;
        }
        if !matches!(unmade, Unmade::Group(_)) {
            self.peer_has_replaced(cx, &create);
        }
        let still_wanted = create
            .rekeys
            .is_none_or(|id| self.child(id).is_some_and(|c| c.stage == Stage::Up));
        match unmade {
            Unmade::Group(method) => {
                let mut create = create;
                create.ke = Some(start_ke(cx, method));
                create.tries += 1;
                self.ask_for_child(cx, create);
            }
            Unmade::Later if still_wanted => {
                let task = match create.rekeys {
                    Some(id) => Task::RekeyChild(id),
                    None => Task::CreateChild(create.config),
                };
                self.retry(cx, task);
            }
            //= RFC 7296 §2.25: a child that the peer does not know goes, and another is asked for from scratch
            Unmade::NotFound if still_wanted => {
                if let Some(id) = create.rekeys {
                    self.drop_child(cx, id, Some(crate::endpoint::Why::Peer));
                }
                self.queue(Task::CreateChild(create.config), now);
            }
            Unmade::Later | Unmade::NotFound => {}
            Unmade::Failed {
                reason,
                peer_made_it,
            } => {
                self.child_failed(cx, Some(&create.config), reason);
                if peer_made_it && p.sa.is_some() {
                    self.delete_unmade(cx, &create.proposals, create.spi);
                }
            }
        }
    }

    /// Has the peer delete its end of a child that we asked for and do not put in.
    pub(super) fn delete_unmade(&mut self, cx: &mut Context<'_>, offered: &[Proposal], spi: Spi) {
        let ah = offered.first().is_some_and(|p| p.protocol == Protocol::Ah);
        let protocol = if ah {
            adit_abi::Protocol::Ah
        } else {
            adit_abi::Protocol::Esp
        };
        self.queue(Task::DeleteUnmade(protocol, spi), cx.now);
    }

    /// The child that the peer made by its own request is the one that stays.
    fn peer_has_replaced(&mut self, cx: &mut Context<'_>, create: &Create) {
        if let (Some(old), Some((new, _))) = (create.rekeys, create.collision) {
            self.replace_child(cx, old, new);
        }
    }

    /// Puts `new` in the place of `old`, which is deleted later.
    fn replace_child(&mut self, cx: &mut Context<'_>, old: ChildId, new: ChildId) {
        let new_info = self.child(new).map(|c| c.info());
        let Some(child) = self.child_mut(old) else {
            return self.child_up(cx, new);
        };
        // The peer may have deleted it already.
        if child.stage != Stage::Lingering {
            child.stage = Stage::Replaced(new);
        }
        child.rekey_at = None;
        let old = child.info();
        if let Some(new) = new_info {
            let ike = self.info();
            cx.event(Event::ChildRekeyed { ike, old, new });
        }
    }

    /// Puts the outbound SA of a rekeyed child in, if it is kept back.
    pub(super) fn switch_outbound(&mut self, cx: &mut Context<'_>, id: ChildId) {
        if let Some(child) = self.child_mut(id)
            && let Outbound::Waiting(_) = child.outbound
            && let Outbound::Waiting(sa) =
                std::mem::replace(&mut child.outbound, Outbound::Installed)
        {
            cx.outputs.push_back(Output::Install(sa));
            self.supersede(id);
        }
    }

    /// Keeps those that `new` has replaced from being switched to: their first packet may come after its own.
    fn supersede(&mut self, new: ChildId) {
        let replaced = |c: &&mut ChildSa| c.stage == Stage::Replaced(new);
        let mut older = Vec::new();
        for child in self.children.iter_mut().filter(replaced) {
            if let Outbound::Waiting(_) = child.outbound {
                child.outbound = Outbound::Gone;
            }
            older.push(child.id);
        }
        // Each is replaced by one, later than itself, so this ends.
        older.into_iter().for_each(|id| self.supersede(id));
    }

    /// A CREATE_CHILD_SA request of the peer.
    pub(super) fn answer_create_child(&mut self, cx: &mut Context<'_>, p: &Payloads) {
        //= RFC 7296 §2.25.2: nothing new on an IKE SA that is closed, has been replaced, or is one of two made at once
        if !self.is_established() || !self.announced {
            return self.respond_notify(cx, KIND, NotifyType::TemporaryFailure);
        }
        let is_ike = p.sa.as_ref().and_then(|sa| sa.proposals.first());
        if is_ike.is_some_and(|p| p.protocol == ProtocolId::Ike) {
            return self.answer_rekey_ike(cx, p);
        }
        //= RFC 7296 §2.25.1: no children while the IKE SA gets new keys
        if matches!(self.in_flight(), Some(Exchange::RekeyIke(_))) {
            return self.respond_notify(cx, KIND, NotifyType::TemporaryFailure);
        }
        match p.notify(NotifyType::RekeySa) {
            None => self.answer_new_child(cx, p),
            Some(rekey) => self.answer_rekey_child(cx, p, rekey),
        }
    }

    /// What we wait for an answer to.
    pub(super) fn in_flight(&self) -> Option<&Exchange> {
        self.outgoing.in_flight.as_ref().map(|f| &f.exchange)
    }

    fn answer_new_child(&mut self, cx: &mut Context<'_>, p: &Payloads) {
        match self.answer_child(cx, p, None, None) {
            Ok((payloads, agreed)) => {
                let made = self.add_child(cx, agreed);
                self.respond(cx, KIND, payloads);
                if let Some(id) = made {
                    self.child_up(cx, id);
                }
            }
            Err(refusal) => self.refuse_child(cx, *refusal),
        }
    }

    fn refuse_child(&mut self, cx: &mut Context<'_>, refusal: Refusal) {
        let told = refusal.notify.kind != NotifyType::InvalidKePayload;
        self.respond(cx, KIND, vec![Payload::Notify(refusal.notify)]);
        if told {
            self.child_failed(cx, None, refusal.reason);
        }
    }

    fn answer_rekey_child(&mut self, cx: &mut Context<'_>, p: &Payloads, rekey: &Notify) {
        let SpiField::Child(spi) = rekey.spi else {
            return self.respond_notify(cx, KIND, NotifyType::InvalidSyntax);
        };
        let protocol = named_protocol(rekey.protocol);
        let named = |c: &&ChildSa| c.spi_out == spi && Some(c.protocol) == protocol;
        let Some(old) = self.children.iter().find(named).map(|c| (c.id, c.stage)) else {
            // It may be what the peer has made of our own request, whose answer is not here yet.
            if let Some(Exchange::CreateChild(_)) = self.in_flight() {
                return self.respond_notify(cx, KIND, NotifyType::TemporaryFailure);
            }
            return self.not_found(cx, rekey);
        };
        let (id, stage) = old;
        match stage {
            //= RFC 7296 §2.25.1: a child that is being closed gets no new keys
            Stage::Deleting | Stage::Redundant | Stage::Replaced(_) => {
                return self.respond_notify(cx, KIND, NotifyType::TemporaryFailure);
            }
            Stage::Lingering => return self.not_found(cx, rekey),
            Stage::Up | Stage::Rekeying => {}
        }
        if self
            .queue
            .iter()
            .any(|q| matches!(q.task, Task::DeleteChild(c, _) if c == id))
        {
            return self.respond_notify(cx, KIND, NotifyType::TemporaryFailure);
        }
        match self.answer_child(cx, p, Some(id), None) {
            Ok((payloads, agreed)) => {
                let nonce = lower(&agreed.nonce_i, &agreed.nonce_r);
                let made = self.add_child(cx, agreed);
                self.respond(cx, KIND, payloads);
                let Some(new) = made else {
                    return;
                };
                //= RFC 7296 §2.25.1: both asked for new keys: both are answered, and one of the two is closed later
                if let Some(flight) = &mut self.outgoing.in_flight
                    && let Exchange::CreateChild(create) = &mut flight.exchange
                    && create.rekeys == Some(id)
                {
                    create.collision = Some((new, nonce));
                    if let Some(old) = self.child_mut(id) {
                        old.stage = Stage::Replaced(new);
                    }
                } else {
                    self.replace_child(cx, id, new);
                }
            }
            Err(refusal) => self.refuse_child(cx, *refusal),
        }
    }

    //= RFC 7296 §2.25: the notification names the SA as the request did
    fn not_found(&mut self, cx: &mut Context<'_>, rekey: &Notify) {
        let notify = Notify {
            kind: NotifyType::ChildSaNotFound,
            data: Vec::new(),
            ..rekey.clone()
        };
        self.respond(cx, KIND, vec![Payload::Notify(notify)]);
    }
}
