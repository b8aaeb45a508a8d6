//! Child SAs: what is offered, what is accepted, and how it becomes a pair of SAs (RFC 7296 §1.3.1, §2.9, §2.17).

use std::net::IpAddr;
use std::sync::Arc;

use adit_abi::{Direction, Mode, Spi, Suite};

use super::narrowing::{self, Selectors};
use super::payloads::{Payloads, notify};
use super::sa::IkeSa;
use super::{proposals, sa};
use crate::config::{Child, Volume};
use crate::crypto::{self, KeMethod, KeSecret, KeSeed, Secret};
use crate::endpoint::{
    By, ChildId, ChildInfo, Context, Event, Failure, Install, Limit, Outer, Output, Reason, Remove,
    SaKeys, Why,
};
use crate::proposal::{ChildSuite, Proposal, Protocol};
use crate::random;
use crate::time::Instant;
use crate::wire::v2::{
    IpSelector, KeyExchange, Nonce, Notify, NotifyType, Payload, ProtocolId, SpiField,
    TrafficSelectors,
};

/// Octets of our nonces: as many as the strongest PRF's half key, which RFC 7296 §2.10 asks for.
pub(crate) const NONCE_LEN: usize = 32;

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
    /// The outbound SA of a rekeyed child, until the peer shows that it has the other end (DESIGN §5).
    pub waiting: Option<Box<Install>>,
    /// When it gets new keys.
    pub rekey_at: Option<Instant>,
    /// When it ends; of one that is only kept for packets under way, when it is forgotten.
    pub ends_at: Option<Instant>,
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

/// A child that we asked for.
pub(crate) struct Create {
    pub config: Arc<Child>,
    pub spi: Spi,
    pub proposals: Vec<Proposal>,
    /// Empty in IKE_AUTH, where the nonces of IKE_SA_INIT serve.
    pub nonce: Vec<u8>,
    pub ke: Option<KeSecret>,
    pub selectors: Selectors,
    /// The child whose place it takes.
    pub rekeys: Option<ChildId>,
    /// The peer's own request for the same child, which came in between.
    pub collision: Option<Collision>,
    /// How often it was asked for with another group.
    pub tries: u8,
}

/// A child that the peer made by rekeying what we rekey too.
#[derive(Clone, Copy)]
pub(crate) struct Collision {
    pub child: ChildId,
    /// The lower of that exchange's two nonces, as far as an order needs it.
    pub nonce: [u8; NONCE_LEN],
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

    fn syntax(what: &str) -> Self {
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
    fn protocol(what: &str) -> Self {
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

/// The lower of two nonces, cut or filled to one length.
//= RFC 7296 §2.8.1: the redundant SA is the one whose exchange has the lowest of the four nonces
pub(crate) fn lower(a: &[u8], b: &[u8]) -> [u8; NONCE_LEN] {
    let lowest = a.min(b);
    let mut out = [0; NONCE_LEN];
    let n = lowest.len().min(NONCE_LEN);
    out[..n].copy_from_slice(&lowest[..n]);
    out
}

/// A fresh nonce.
pub(crate) fn fresh_nonce(cx: &mut Context<'_>) -> Vec<u8> {
    let mut nonce = vec![0; NONCE_LEN];
    cx.random.fill(&mut nonce);
    nonce
}

/// The SPI of a proposal or of what was chosen of it, for ESP and AH.
pub(crate) fn child_spi(field: &SpiField) -> Option<Spi> {
    match field {
        //= RFC 4303 §2.1: SPIs of 0 to 255 are reserved
        SpiField::Child(spi) if spi.is_usable() => Some(*spi),
        _ => None,
    }
}

fn abi_protocol(protocol: Protocol) -> Option<adit_abi::Protocol> {
    match protocol {
        Protocol::Esp => Some(adit_abi::Protocol::Esp),
        Protocol::Ah => Some(adit_abi::Protocol::Ah),
        Protocol::Ike => None,
    }
}

/// What was agreed, as the data plane knows it.
fn abi_suite(suite: &ChildSuite) -> Option<Suite> {
    let integrity = match suite.integrity {
        None => None,
        Some(t) => Some(adit_abi::Integrity::from_ikev2(t.id)?),
    };
    match (suite.encryption, integrity) {
        (None, integrity) => Some(Suite::ah(integrity?)),
        (Some(t), integrity) => {
            let encryption = adit_abi::Encryption::from_ikev2(t.id, t.key_bits)?;
            Suite::esp(encryption, integrity).ok()
        }
    }
}

impl Create {
    /// What to ask for, so that a child like `config` comes about.
    ///
    /// `None` if there is nothing to ask for: no address of its own for `dynamic`, no SPI left.
    pub fn new(
        cx: &mut Context<'_>,
        ike: &IkeSa,
        config: &Arc<Child>,
        rekeys: Option<ChildId>,
        in_auth: bool,
    ) -> Option<Self> {
        let mut selectors = ike.configured_selectors(config);
        if selectors.local.is_empty() || selectors.remote.is_empty() {
            return None;
        }
        if let Some(old) = rekeys.and_then(|id| ike.child(id)) {
            //= RFC 7296 §2.9.2: a rekeyed child covers at least what the old one did
            selectors = merge(&selectors, &old.selectors);
        }
        let proposals: Vec<_> = config
            .esp_proposals
            .iter()
            .map(|p| {
                if in_auth {
                    p.without_ke()
                } else {
                    p.without_additional_ke()
                }
            })
            .collect();
        let spi = cx.spis.allocate(ike.path.local.ip(), cx.random)?;
        let mut create = Self {
            config: config.clone(),
            spi,
            proposals,
            nonce: Vec::new(),
            ke: None,
            selectors,
            rekeys,
            collision: None,
            tries: 0,
        };
        if !in_auth {
            create.nonce = fresh_nonce(cx);
            let first = create.proposals.first().and_then(first_group);
            create.ke = first.map(|method| start_ke(cx, method));
        }
        Some(create)
    }

    /// Whether `method` is one of those we offered.
    pub fn offers(&self, method: KeMethod) -> bool {
        let kind = crate::proposal::TransformType::Ke;
        let mut all = self.proposals.iter().flat_map(|p| p.of(kind));
        all.any(|t| t.id == method.id())
    }

    /// The payloads of the request; in IKE_AUTH a part of them.
    pub fn payloads(&self, ike: &IkeSa) -> Vec<Payload> {
        let mut out = Vec::new();
        if let Some(old) = self.rekeys.and_then(|id| ike.child(id)) {
            //= RFC 7296 §1.3.3: REKEY_SA names the SA by the SPI that its sender would receive on
            let kind = NotifyType::RekeySa;
            out.push(Payload::Notify(Notify::about_child(
                kind,
                old.protocol,
                old.spi_in,
            )));
        }
        if self.config.mode == Mode::Transport {
            out.push(notify(NotifyType::UseTransportMode));
        }
        let spi = SpiField::Child(self.spi);
        out.push(Payload::SecurityAssociation(proposals::offer(
            &self.proposals,
            &spi,
        )));
        out.extend(Nonce::new(self.nonce.clone()).ok().map(Payload::Nonce));
        out.extend(self.ke.as_ref().map(ke_payload));
        let (ts_i, ts_r) = (&self.selectors.local, &self.selectors.remote);
        out.push(Payload::TrafficSelectorsInitiator(narrowing::payload(ts_i)));
        out.push(Payload::TrafficSelectorsResponder(narrowing::payload(ts_r)));
        out
    }

    /// What the response agreed on; `nonces` are those of IKE_SA_INIT where this is IKE_AUTH.
    pub fn accept(
        &self,
        ike: &IkeSa,
        p: &Payloads,
        nonces: Option<(&[u8], &[u8])>,
    ) -> Result<Agreed, Unmade> {
        if let Some(error) = p.error() {
            return Err(self.refused(ike, error));
        }
        let (Some(sa), Some(ts_i), Some(ts_r)) = (&p.sa, &p.ts_i, &p.ts_r) else {
            return Err(Unmade::Failed {
                reason: Reason::Protocol("an answer without SA, TSi or TSr".into()),
                peer_made_it: false,
            });
        };
        let Some((proposal, spi)) = proposals::check_choice(sa, &self.proposals) else {
            return Err(Unmade::protocol(
                "it chose a child proposal that was not offered",
            ));
        };
        let suite = ChildSuite::from_chosen(&proposal);
        let suite = suite.map_err(|e| Unmade::protocol(&e.to_string()))?;
        let Some(spi_out) = child_spi(&spi) else {
            return Err(Unmade::protocol("its SPI is none"));
        };
        let selectors = Selectors {
            local: narrowing::narrow(&self.selectors.local, &narrowing::ip_selectors(ts_i)),
            remote: narrowing::narrow(&self.selectors.remote, &narrowing::ip_selectors(ts_r)),
        };
        if selectors.local.is_empty() || selectors.remote.is_empty() {
            return Err(Unmade::Failed {
                reason: self.selector_reason(By::Us, Some((ts_i, ts_r))),
                peer_made_it: true,
            });
        }
        let transport = p.has(NotifyType::UseTransportMode);
        if transport != (self.config.mode == Mode::Transport) {
            //= RFC 7296 §1.3.1: an initiator that does not accept tunnel mode in place of transport mode deletes the SA
            let what = format!(
                "the peer wants {} mode",
                if transport { "transport" } else { "tunnel" }
            );
            return Err(Unmade::Failed {
                reason: Reason::Local(format!(
                    "{what}: change mode of this child or of the peer's"
                )),
                peer_made_it: true,
            });
        }
        let (nonce_i, nonce_r, shared) = match nonces {
            Some((i, r)) => (i.to_vec(), r.to_vec(), Vec::new()),
            None => {
                let Some(nonce_r) = &p.nonce else {
                    return Err(Unmade::protocol("an answer without nonce"));
                };
                let shared = finish_ke(self.ke.as_ref(), suite.ke, p.ke.as_ref())
                    .ok_or_else(|| Unmade::protocol("its key exchange does not fit its choice"))?;
                (self.nonce.clone(), nonce_r.clone(), shared)
            }
        };
        Ok(Agreed {
            config: self.config.clone(),
            suite,
            mode: self.config.mode,
            spi_in: self.spi,
            spi_out,
            selectors,
            nonce_i,
            nonce_r,
            shared,
            initiator: true,
            tfc: !p.has(NotifyType::EspTfcPaddingNotSupported),
            replaces: self.rekeys,
        })
    }

    fn refused(&self, ike: &IkeSa, error: &Notify) -> Unmade {
        let reason = match error.kind {
            NotifyType::InvalidKePayload => {
                let wanted = <[u8; 2]>::try_from(&error.data[..]).map(u16::from_be_bytes);
                let method = wanted.ok().and_then(KeMethod::from_id);
                match method.filter(|m| self.offers(*m) && self.tries < MOST_GROUPS) {
                    Some(method) => return Unmade::Group(method),
                    None => Reason::Protocol("it wants a group that was not offered".into()),
                }
            }
            NotifyType::TemporaryFailure => return Unmade::Later,
            NotifyType::ChildSaNotFound if self.rekeys.is_some() => return Unmade::NotFound,
            NotifyType::NoProposalChosen => {
                proposals::refused_by_peer(&self.proposals, ike.child_key(&self.config))
            }
            NotifyType::TsUnacceptable => self.selector_reason(By::Peer, None),
            other => sa::notified(other),
        };
        Unmade::Failed {
            reason,
            peer_made_it: false,
        }
    }

    fn selector_reason(
        &self,
        by: By,
        peer: Option<(&TrafficSelectors, &TrafficSelectors)>,
    ) -> Reason {
        let theirs = |ts: &TrafficSelectors| narrowing::describe(&narrowing::ip_selectors(ts));
        Reason::Selectors {
            by,
            local: narrowing::describe(&self.selectors.local),
            remote: narrowing::describe(&self.selectors.remote),
            peer_local: peer.map(|(i, _)| theirs(i)).unwrap_or_default(),
            peer_remote: peer.map(|(_, r)| theirs(r)).unwrap_or_default(),
        }
    }
}

/// Groups tried for one exchange: a peer that names another each time would keep us busy.
pub(crate) const MOST_GROUPS: u8 = 3;

/// The first group of a proposal that has one.
pub(crate) fn first_group(proposal: &Proposal) -> Option<KeMethod> {
    let kind = crate::proposal::TransformType::Ke;
    proposal.of(kind).find_map(|t| KeMethod::from_id(t.id))
}

/// A fresh key exchange.
pub(crate) fn start_ke(cx: &mut Context<'_>, method: KeMethod) -> KeSecret {
    KeSecret::start(method, KeSeed::from_fn(|b| cx.random.fill(b)))
}

/// The KE payload of our side of a key exchange.
pub(crate) fn ke_payload(ke: &KeSecret) -> Payload {
    Payload::KeyExchange(KeyExchange {
        method: ke.method().id(),
        data: ke.public().to_vec(),
    })
}

/// The secrets of the answer's key exchange: none if the choice has none, `None` if it does not fit.
pub(crate) fn finish_ke(
    ours: Option<&KeSecret>,
    chosen: Option<KeMethod>,
    theirs: Option<&KeyExchange>,
) -> Option<Vec<Secret>> {
    let Some(chosen) = chosen else {
        return Some(Vec::new());
    };
    let (ours, theirs) = (ours?, theirs?);
    if ours.method() != chosen || theirs.method != chosen.id() {
        return None;
    }
    Some(vec![ours.finish(&theirs.data).ok()?])
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

/// The response's payloads, and what was agreed on.
pub(crate) type Answer = (Vec<Payload>, Agreed);

impl IkeSa {
    /// What a child's traffic selectors stand for with the addresses there are.
    pub(super) fn configured_selectors(&self, config: &Child) -> Selectors {
        let (local, remote) = self.dynamic_addresses();
        Selectors {
            local: narrowing::resolve(&config.local_ts, &local),
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
    pub(super) fn child_key(&self, child: &Child) -> String {
        let (connection, child) = (&self.connection.name, &child.name);
        format!("connections.{connection}.children.{child}.esp_proposals")
    }

    /// Answers a request for a child, as responder of the exchange. `nonces` are those of IKE_SA_INIT where this is IKE_AUTH.
    pub(super) fn answer_child(
        &mut self,
        cx: &mut Context<'_>,
        p: &Payloads,
        rekeys: Option<ChildId>,
        nonces: Option<(&[u8], &[u8])>,
    ) -> Result<Answer, Box<Refusal>> {
        let (Some(sa), Some(ts_i), Some(ts_r)) = (&p.sa, &p.ts_i, &p.ts_r) else {
            return Err(Box::new(Refusal::syntax(
                "a request without SA, TSi or TSr",
            )));
        };
        let (config, selectors) = self.choose_child(p, rekeys, (ts_i, ts_r))?;
        let configured: Vec<_> = config
            .esp_proposals
            .iter()
            .map(|c| match nonces {
                Some(_) => c.without_ke(),
                None => c.without_additional_ke(),
            })
            .collect();
        let choice = proposals::choose(sa, &configured).map_err(|mismatch| {
            let reason = proposals::refused_by_us(&mismatch, self.child_key(&config));
            Box::new(Refusal::new(NotifyType::NoProposalChosen, reason))
        })?;
        let syntax = |what: &str| Box::new(Refusal::syntax(what));
        let offered = &sa.proposals[choice.offered];
        let suite = ChildSuite::from_chosen(&choice.proposal);
        let suite = suite.map_err(|e| syntax(&e.to_string()))?;
        let spi_out = child_spi(&offered.spi).ok_or_else(|| syntax("its SPI is none"))?;

        let mut out = Vec::new();
        if config.mode == Mode::Transport {
            out.push(notify(NotifyType::UseTransportMode));
        }
        let full = || {
            let reason = Reason::Local("no SPI is left".into());
            Box::new(Refusal::new(NotifyType::NoAdditionalSas, reason))
        };
        let mut shared = Vec::new();
        let mut tail = Vec::new();
        let (nonce_i, nonce_r) = match nonces {
            Some((i, r)) => (i.to_vec(), r.to_vec()),
            None => {
                let nonce_i = p.nonce.clone().ok_or_else(|| syntax("no nonce"))?;
                let nonce_r = fresh_nonce(cx);
                tail.extend(Nonce::new(nonce_r.clone()).ok().map(Payload::Nonce));
                if let Some(method) = suite.ke {
                    let (payload, secret) = answer_ke(cx, method, p.ke.as_ref())?;
                    tail.push(payload);
                    shared.push(secret);
                }
                (nonce_i, nonce_r)
            }
        };
        let spi_in = cx.spis.allocate(self.path.local.ip(), cx.random);
        let spi_in = spi_in.ok_or_else(full)?;
        let chosen = proposals::to_wire(&choice.proposal, offered.number, SpiField::Child(spi_in));
        out.push(Payload::SecurityAssociation(
            crate::wire::v2::SecurityAssociation {
                proposals: vec![chosen],
            },
        ));
        out.extend(tail);
        out.push(Payload::TrafficSelectorsInitiator(narrowing::payload(
            &selectors.remote,
        )));
        out.push(Payload::TrafficSelectorsResponder(narrowing::payload(
            &selectors.local,
        )));
        let agreed = Agreed {
            mode: config.mode,
            config,
            suite,
            spi_in,
            spi_out,
            selectors,
            nonce_i,
            nonce_r,
            shared,
            initiator: false,
            tfc: !p.has(NotifyType::EspTfcPaddingNotSupported),
            replaces: rekeys,
        };
        Ok((out, agreed))
    }

    /// The first child of the configuration whose mode and selectors fit, and what both have in common.
    fn choose_child(
        &self,
        p: &Payloads,
        rekeys: Option<ChildId>,
        (ts_i, ts_r): (&TrafficSelectors, &TrafficSelectors),
    ) -> Result<(Arc<Child>, Selectors), Box<Refusal>> {
        let (theirs_i, theirs_r) = (narrowing::ip_selectors(ts_i), narrowing::ip_selectors(ts_r));
        let transport = p.has(NotifyType::UseTransportMode);
        let old = rekeys.and_then(|id| self.child(id));
        let candidates: Vec<_> = match old {
            Some(old) => vec![old.config.clone()],
            None => self.connection.children.clone(),
        };
        let mut wrong_mode = None;
        let (mut local, mut remote) = (Vec::new(), Vec::new());
        for config in candidates {
            let mut ours = self.configured_selectors(&config);
            if let Some(old) = old {
                ours = merge(&ours, &old.selectors);
            }
            let narrowed = Selectors {
                local: narrowing::narrow(&ours.local, &theirs_r),
                remote: narrowing::narrow(&ours.remote, &theirs_i),
            };
            if narrowed.local.is_empty() || narrowed.remote.is_empty() {
                local.extend(narrowing::describe(&ours.local));
                remote.extend(narrowing::describe(&ours.remote));
                continue;
            }
            if (config.mode == Mode::Transport) != transport {
                wrong_mode.get_or_insert(config);
                continue;
            }
            return Ok((config, narrowed));
        }
        if let Some(config) = wrong_mode {
            let key = format!(
                "connections.{}.children.{}.mode",
                self.connection.name, config.name
            );
            let wants = if transport { "transport" } else { "tunnel" };
            let reason = Reason::Local(format!("the peer wants {wants} mode: change {key}"));
            return Err(Box::new(Refusal::new(NotifyType::NoProposalChosen, reason)));
        }
        //= RFC 7296 §2.9: TS_UNACCEPTABLE where nothing is in common
        let reason = Reason::Selectors {
            by: By::Us,
            local,
            remote,
            peer_local: narrowing::describe(&theirs_r),
            peer_remote: narrowing::describe(&theirs_i),
        };
        Err(Box::new(Refusal::new(NotifyType::TsUnacceptable, reason)))
    }

    /// Turns what was agreed into SAs of the data plane, and into a child of this IKE SA.
    ///
    /// A responder that replaces a child keeps its outbound SA back. `None` if the keys cannot be made.
    pub(super) fn add_child(&mut self, cx: &mut Context<'_>, a: Agreed) -> Option<ChildId> {
        let protocol = abi_protocol(a.suite.protocol)?;
        let suite = abi_suite(&a.suite)?;
        let (enc, auth) = (suite.enc_key_len(), suite.auth_key_len());
        let keymat = crypto::child_key_material(
            self.prf?,
            &self.sk_d,
            &a.shared,
            &a.nonce_i,
            &a.nonce_r,
            2 * (enc + auth),
        )?;
        //= RFC 7296 §2.17: the initiator's direction first, in each the encryption key before the integrity key
        let mut rest = keymat.as_bytes();
        let mut take = |len| {
            let (key, behind) = rest.split_at(len);
            rest = behind;
            Secret::copy_of(key)
        };
        let mut pair = || SaKeys {
            enc: take(enc),
            auth: take(auth),
        };
        let (from_i, from_r) = (pair(), pair());
        let (inbound, outbound) = if a.initiator {
            (from_r, from_i)
        } else {
            (from_i, from_r)
        };

        let id = cx.numbers.child();
        let selectors = Arc::new(a.selectors);
        let (soft, hard) = limits(cx, &a.config);
        let outer = self.path.outer();
        let install = |direction, spi, keys| {
            Box::new(Install {
                ike: self.id,
                child: id,
                connection: self.connection.name.clone(),
                name: a.config.name.clone(),
                direction,
                protocol,
                spi,
                outer,
                mode: a.mode,
                suite,
                esn: a.suite.esn,
                keys,
                selectors: selectors.clone(),
                soft,
                hard,
                tfc: a.tfc,
                replaces: a.replaces,
            })
        };
        let first = install(Direction::Inbound, a.spi_in, inbound);
        let second = install(Direction::Outbound, a.spi_out, outbound);
        cx.outputs.push_back(Output::Install(first));
        let waiting = if a.initiator || a.replaces.is_none() {
            cx.outputs.push_back(Output::Install(second));
            None
        } else {
            Some(second)
        };
        self.children.push(ChildSa {
            id,
            protocol,
            spi_in: a.spi_in,
            spi_out: a.spi_out,
            outer,
            selectors,
            stage: Stage::Up,
            waiting,
            rekey_at: soft_deadline(cx.now, &a.config, &soft),
            ends_at: deadline(cx.now, hard.time),
            config: a.config,
        });
        Some(id)
    }

    /// Takes a child out at once, both SAs.
    pub(super) fn drop_child(&mut self, cx: &mut Context<'_>, id: ChildId, why: Option<Why>) {
        let Some(at) = self.children.iter().position(|c| c.id == id) else {
            return;
        };
        let child = self.children.swap_remove(at);
        cx.spis.release(child.outer.local, child.spi_in);
        let ike = self.id;
        if child.stage != Stage::Lingering && child.waiting.is_none() {
            let remove = child.removal(ike, Direction::Outbound);
            cx.outputs.push_back(Output::Remove(remove));
        }
        let remove = child.removal(ike, Direction::Inbound);
        cx.outputs.push_back(Output::Remove(remove));
        if let Some(why) = why {
            let event = Event::ChildDown {
                ike: self.info(),
                child: child.info(),
                why,
            };
            cx.event(event);
        }
    }

    /// Tells of a child that is there.
    pub(super) fn child_up(&self, cx: &mut Context<'_>, id: ChildId) {
        if let Some(child) = self.child(id) {
            cx.event(Event::ChildUp {
                ike: self.info(),
                child: child.info(),
            });
        }
    }

    /// Tells why a child did not come about.
    pub(super) fn child_failed(&self, cx: &mut Context<'_>, child: Option<&Child>, reason: Reason) {
        let failure = Failure {
            child: child.map(|c| c.name.clone()),
            ..self.failure(reason)
        };
        cx.event(Event::Failed(failure));
    }

    pub(super) fn child(&self, id: ChildId) -> Option<&ChildSa> {
        self.children.iter().find(|c| c.id == id)
    }

    pub(super) fn child_mut(&mut self, id: ChildId) -> Option<&mut ChildSa> {
        self.children.iter_mut().find(|c| c.id == id)
    }
}

/// The responder's step of a key exchange, or INVALID_KE_PAYLOAD.
pub(crate) fn answer_ke(
    cx: &mut Context<'_>,
    method: KeMethod,
    theirs: Option<&KeyExchange>,
) -> Result<(Payload, Secret), Box<Refusal>> {
    let fitting = theirs.filter(|ke| ke.method == method.id());
    let Some(theirs) = fitting else {
        //= RFC 7296 §1.3: the group we would take, in two octets
        return Err(Box::new(Refusal {
            notify: Notify::new(NotifyType::InvalidKePayload, method.id().to_be_bytes()),
            reason: Reason::Protocol(format!("it sent a value of another group than {method}")),
        }));
    };
    let seed = KeSeed::from_fn(|b| cx.random.fill(b));
    let (data, secret) = crypto::ke::respond(method, seed, &theirs.data)
        .map_err(|e| Box::new(Refusal::syntax(&e.to_string())))?;
    let method = method.id();
    let payload = Payload::KeyExchange(KeyExchange { method, data });
    Ok((payload, secret))
}

/// What the data plane counts, soft and hard; a share of the soft limits is taken off by lot.
fn limits(cx: &mut Context<'_>, config: &Child) -> (Limit, Limit) {
    let mut less = |most: u64, rand: u64| match most {
        0 => 0,
        n => {
            let span = rand.min(n.saturating_sub(1)).saturating_add(1);
            n - random::long_number(cx.random) % span
        }
    };
    let volume = Volume {
        bytes: less(config.rekey.bytes, config.rand.bytes),
        packets: less(config.rekey.packets, config.rand.packets),
    };
    let time = config
        .rekey_time
        .saturating_sub(random::fraction(config.rand_time, cx.random));
    let soft = Limit { time, volume };
    let hard = Limit {
        time: config.life_time,
        volume: config.life,
    };
    (soft, hard)
}

fn deadline(now: Instant, after: std::time::Duration) -> Option<Instant> {
    (!after.is_zero()).then(|| now + after)
}

fn soft_deadline(now: Instant, config: &Child, soft: &Limit) -> Option<Instant> {
    // A lot that takes all of rekey_time off still leaves a moment.
    let least = std::time::Duration::from_secs(1).min(config.rekey_time);
    deadline(now, soft.time.max(least))
}

/// Which child a notification or a Delete of the peer speaks of: the SPI is the peer's inbound one.
pub(crate) fn named_protocol(protocol: ProtocolId) -> Option<adit_abi::Protocol> {
    match protocol {
        ProtocolId::Esp => Some(adit_abi::Protocol::Esp),
        ProtocolId::Ah => Some(adit_abi::Protocol::Ah),
        _ => None,
    }
}
