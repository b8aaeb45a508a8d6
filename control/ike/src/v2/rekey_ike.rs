//! CREATE_CHILD_SA for new keys of the IKE SA itself, collisions included (RFC 7296 §1.3.2, §2.18, §2.8.2, §2.25.2).

use super::exchange::Exchange;
use super::informational::Informational;
use super::key_exchange::{self, MOST_GROUPS, NONCE_LEN, finish_ke, lower};
use super::messages::notified;
use super::payloads::Payloads;
use super::proposals;
use super::protection::Protection;
use super::sa::{IkeSa, State};
use super::schedule::Task;
use crate::crypto::{IkeKeys, KeMethod, KeSecret, KeyContext, Secret};
use crate::endpoint::{Context, Effect, Event, IkeSaId, Reason, Why};
use crate::proposal::{IkeSuite, Proposal, TransformType};
use crate::wire::IkeSpi;
use crate::wire::v2::{ExchangeType, Nonce, NotifyType, Payload, SecurityAssociation, SpiField};

const KIND: ExchangeType = ExchangeType::CreateChildSa;

/// Our request for new keys.
pub(crate) struct Rekey {
    spi: IkeSpi,
    nonce: Vec<u8>,
    ke: KeSecret,
    tries: u8,
    /// The IKE SA that the peer's own request made meanwhile, and the lower nonce of that exchange.
    collision: Option<(IkeSaId, [u8; NONCE_LEN])>,
}

/// What two ends agreed on.
struct Agreed<'a> {
    suite: &'a IkeSuite,
    shared: Vec<Secret>,
    nonce_i: &'a [u8],
    nonce_r: &'a [u8],
    spi_i: IkeSpi,
    spi_r: IkeSpi,
    initiator: bool,
}

impl IkeSa {
    fn rekey_proposals(&self) -> Vec<Proposal> {
        let all = self.connection.proposals.iter();
        all.map(Proposal::without_additional_ke).collect()
    }

    pub(super) fn begin_rekey_ike(&mut self, cx: &mut Context<'_>) {
        if !self.is_established() {
            return;
        }
        let proposals = self.rekey_proposals();
        let Some(method) = proposals.iter().find_map(key_exchange::first_group) else {
            return;
        };
        let rekey = Rekey {
            spi: cx.fresh_spi(),
            nonce: key_exchange::fresh_nonce(cx),
            ke: key_exchange::start_ke(cx, method),
            tries: 0,
            collision: None,
        };
        self.ask_for_keys(cx, rekey);
    }

    fn ask_for_keys(&mut self, cx: &mut Context<'_>, rekey: Rekey) {
        let offer = proposals::offer(&self.rekey_proposals(), &SpiField::Ike(rekey.spi));
        let mut payloads = vec![Payload::SecurityAssociation(offer)];
        payloads.extend(Nonce::new(rekey.nonce.clone()).ok().map(Payload::Nonce));
        payloads.push(key_exchange::ke_payload(&rekey.ke));
        let exchange = Exchange::RekeyIke(Box::new(rekey));
        self.request(cx, KIND, &payloads, exchange);
    }

    /// The answer to our request.
    pub(super) fn rekey_ike_answered(&mut self, cx: &mut Context<'_>, rekey: Rekey, p: &Payloads) {
        if let Some(error) = p.error() {
            let data = &error.data[..];
            return match error.kind {
                NotifyType::InvalidKePayload => self.other_group(cx, rekey, data),
                kind => self.keys_refused(cx, &rekey, kind),
            };
        }
        let collision = rekey.collision;
        match self.accept_keys(cx, &rekey, p) {
            Ok((new, ours)) => match collision {
                //= RFC 7296 §2.8.2: the IKE SA of the exchange with the lowest nonce is closed by who asked for it
                Some((other, theirs)) if ours < theirs => {
                    self.insert_redundant(cx, new);
                    self.hand_over(cx, other);
                }
                _ => {
                    let id = new.id;
                    cx.effects.push(Effect::Insert(Box::new(new)));
                    self.hand_over(cx, id);
                    if let Some((other, _)) = collision {
                        cx.effects.push(Effect::Redundant(other));
                    }
                    self.queue(Task::DeleteIke(Why::Replaced), cx.now);
                }
            },
            Err(reason) => {
                cx.event(Event::Failed(self.failure(reason)));
                match collision {
                    Some((other, _)) => self.hand_over(cx, other),
                    None => self.queue(Task::DeleteIke(Why::Failed), cx.now),
                }
            }
        }
    }

    fn other_group(&mut self, cx: &mut Context<'_>, mut rekey: Rekey, wanted: &[u8]) {
        let id = <[u8; 2]>::try_from(wanted).map(u16::from_be_bytes);
        let ours = self.rekey_proposals();
        let offered = |m: &KeMethod| {
            let mut all = ours.iter().flat_map(|p| p.of(TransformType::Ke));
            all.any(|t| t.id == m.id())
        };
        match id.ok().and_then(KeMethod::from_id).filter(offered) {
            Some(method) if rekey.tries < MOST_GROUPS => {
                rekey.tries += 1;
                rekey.ke = key_exchange::start_ke(cx, method);
                self.ask_for_keys(cx, rekey);
            }
            _ => self.keys_refused(cx, &rekey, NotifyType::InvalidKePayload),
        }
    }

    fn keys_refused(&mut self, cx: &mut Context<'_>, rekey: &Rekey, kind: NotifyType) {
        if let Some((other, _)) = rekey.collision {
            // The peer's own request made one, and it will do.
            return self.hand_over(cx, other);
        }
        if kind == NotifyType::TemporaryFailure {
            return self.retry(cx, Task::RekeyIke);
        }
        let reason = match kind {
            NotifyType::NoProposalChosen => {
                let key = format!("connections.{}.proposals", self.connection.name);
                proposals::refused_by_peer(&self.rekey_proposals(), key)
            }
            other => notified(other),
        };
        // The IKE SA lives on until its time is over; another try may do better.
        cx.event(Event::Failed(self.failure(reason)));
        self.retry(cx, Task::RekeyIke);
    }

    fn accept_keys(
        &mut self,
        cx: &mut Context<'_>,
        rekey: &Rekey,
        p: &Payloads,
    ) -> Result<(IkeSa, [u8; NONCE_LEN]), Reason> {
        let protocol = |what: &str| Reason::Protocol(what.into());
        let (Some(choice), Some(nonce_r)) = (&p.sa, &p.nonce) else {
            return Err(protocol("an answer without SA or nonce"));
        };
        let chosen = proposals::check_choice(choice, &self.rekey_proposals());
        let Some((proposal, SpiField::Ike(spi_r))) = chosen else {
            return Err(protocol("it chose an IKE proposal that was not offered"));
        };
        let suite = IkeSuite::from_chosen(&proposal).map_err(|e| protocol(&e.to_string()))?;
        let shared = finish_ke(Some(&rekey.ke), Some(suite.ke), p.ke.as_ref());
        let shared = shared.ok_or_else(|| protocol("its key exchange does not fit its choice"))?;
        let ours = lower(&rekey.nonce, nonce_r);
        let agreed = Agreed {
            suite: &suite,
            shared,
            nonce_i: &rekey.nonce,
            nonce_r,
            spi_i: rekey.spi,
            spi_r,
            initiator: true,
        };
        let new = self.rekeyed(cx, &agreed);
        let new = new.ok_or_else(|| protocol("no keys can be made for its choice"))?;
        Ok((new, ours))
    }

    /// The peer asks for new keys of the IKE SA.
    pub(super) fn answer_rekey_ike(&mut self, cx: &mut Context<'_>, p: &Payloads) {
        //= RFC 7296 §2.25.2: not while a child is created, rekeyed or closed by us
        let busy = match self.in_flight() {
            Some(Exchange::CreateChild(_)) => true,
            Some(Exchange::Informational(what)) => !matches!(what, Informational::Liveness),
            _ => false,
        };
        if busy {
            return self.respond_notify(cx, KIND, NotifyType::TemporaryFailure);
        }
        let (Some(offer), Some(nonce_i)) = (&p.sa, &p.nonce) else {
            return self.respond_notify(cx, KIND, NotifyType::InvalidSyntax);
        };
        let choice = match proposals::choose(offer, &self.rekey_proposals()) {
            Ok(choice) => choice,
            Err(mismatch) => {
                let key = format!("connections.{}.proposals", self.connection.name);
                let reason = proposals::refused_by_us(&mismatch, key);
                self.respond_notify(cx, KIND, NotifyType::NoProposalChosen);
                return cx.event(Event::Failed(self.failure(reason)));
            }
        };
        let offered = &offer.proposals[choice.offered];
        let suite = IkeSuite::from_chosen(&choice.proposal);
        let (Ok(suite), SpiField::Ike(spi_i)) = (suite, &offered.spi) else {
            return self.respond_notify(cx, KIND, NotifyType::InvalidSyntax);
        };
        let (ke, shared) = match key_exchange::answer_ke(cx, suite.ke, p.ke.as_ref()) {
            Ok(answered) => answered,
            Err(refusal) => {
                return self.respond(cx, KIND, vec![Payload::Notify(refusal.notify)]);
            }
        };
        let nonce_r = key_exchange::fresh_nonce(cx);
        let agreed = Agreed {
            suite: &suite,
            shared: vec![shared],
            nonce_i,
            nonce_r: &nonce_r,
            spi_i: *spi_i,
            spi_r: cx.fresh_spi(),
            initiator: false,
        };
        let Some(new) = self.rekeyed(cx, &agreed) else {
            return self.respond_notify(cx, KIND, NotifyType::InvalidSyntax);
        };
        let spi = SpiField::Ike(agreed.spi_r);
        let chosen = proposals::to_wire(&choice.proposal, offered.number, spi);
        let mut payloads = vec![Payload::SecurityAssociation(SecurityAssociation {
            proposals: vec![chosen],
        })];
        payloads.extend(Nonce::new(nonce_r.clone()).ok().map(Payload::Nonce));
        payloads.push(ke);
        self.respond(cx, KIND, payloads);
        let id = new.id;
        let nonce = lower(nonce_i, &nonce_r);
        cx.effects.push(Effect::Insert(Box::new(new)));
        //= RFC 7296 §2.25.2: both asked: both are answered, and the nonces decide once our own answer is here
        if let Some(flight) = &mut self.outgoing.in_flight
            && let Exchange::RekeyIke(rekey) = &mut flight.exchange
        {
            rekey.collision = Some((id, nonce));
            return;
        }
        self.hand_over(cx, id);
        self.patience = Some(cx.now + cx.settings.half_open_timeout * 4);
    }

    /// The IKE SA that takes this one's place, still without children.
    fn rekeyed(&self, cx: &mut Context<'_>, a: &Agreed<'_>) -> Option<IkeSa> {
        // Of the old keys only SK_d is kept, and only SK_d counts here.
        let none = Secret::default;
        let old = IkeKeys {
            d: self.sk_d.clone(),
            ai: none(),
            ar: none(),
            ei: none(),
            er: none(),
            pi: none(),
            pr: none(),
        };
        let context = KeyContext {
            nonce_i: a.nonce_i,
            nonce_r: a.nonce_r,
            spi_i: a.spi_i.0,
            spi_r: a.spi_r.0,
        };
        let keys = old.rekeyed(self.prf?, a.suite, &a.shared, context);
        let id = cx.numbers.ike();
        let connection = self.connection.clone();
        let mut new = IkeSa::new(id, connection, a.initiator, self.path, State::Established);
        new.spi_i = a.spi_i;
        new.spi_r = a.spi_r;
        new.peer = self.peer;
        new.prf = Some(a.suite.prf);
        new.sk_d = keys.d.clone();
        new.protection = Some(Box::new(Protection::new(a.suite, &keys, a.initiator)?));
        new.local_id.clone_from(&self.local_id);
        new.remote_id.clone_from(&self.remote_id);
        new.vips_here.clone_from(&self.vips_here);
        new.vips_there.clone_from(&self.vips_there);
        new.dns.clone_from(&self.dns);
        new.eap_id.clone_from(&self.eap_id);
        new.heard = cx.now;
        //= RFC 7296 §2.8: reauthentication is another matter; its time goes on
        new.reauth_at = self.reauth_at;
        new.set_lifetimes(cx);
        Some(new)
    }

    /// Gives children and what is still to be done to the IKE SA that takes this one's place.
    fn hand_over(&mut self, cx: &mut Context<'_>, to: IkeSaId) {
        let moving = |task: &Task| !matches!(task, Task::RekeyIke | Task::Liveness);
        let queue = std::mem::take(&mut self.queue);
        let heir = crate::endpoint::Heir {
            from: self.info(),
            children: std::mem::take(&mut self.children),
            queue: queue.into_iter().filter(|q| moving(&q.task)).collect(),
        };
        // The leases are the other's now.
        self.vips_there.clear();
        cx.effects.push(Effect::HandOver(to, Box::new(heir)));
        self.announced = false;
        self.state = State::Replaced;
    }

    /// Our own of two IKE SAs made at once, which is not wanted: made known only to be deleted.
    fn insert_redundant(&mut self, cx: &mut Context<'_>, mut new: IkeSa) {
        new.vips_there.clear();
        new.queue(Task::DeleteIke(Why::Replaced), cx.now);
        cx.effects.push(Effect::Insert(Box::new(new)));
        self.patience = Some(cx.now + cx.settings.half_open_timeout * 4);
    }

    /// The peer deletes this IKE SA while we still wait for the answer to our own request: its exchange has won.
    pub(super) fn settle_collision(&mut self, cx: &mut Context<'_>) {
        if let Some(Exchange::RekeyIke(rekey)) = self.in_flight()
            && let Some((other, _)) = rekey.collision
        {
            self.hand_over(cx, other);
        }
    }

    /// Takes over what another IKE SA had.
    pub(crate) fn inherit(&mut self, cx: &mut Context<'_>, heir: crate::endpoint::Heir) {
        self.children.extend(heir.children);
        self.queue.extend(heir.queue);
        if !self.announced {
            self.announced = true;
            cx.event(Event::IkeRekeyed {
                old: heir.from,
                new: self.info(),
            });
        }
        self.next_task(cx);
    }

    /// The peer has another IKE SA in this one's place and will delete it.
    pub(crate) fn is_redundant(&mut self, cx: &mut Context<'_>) {
        self.vips_there.clear();
        self.patience = Some(cx.now + cx.settings.half_open_timeout * 4);
    }
}
