//! What we ask for, and what the answer agreed on.

use std::sync::Arc;

use adit_abi::{Mode, Spi};

use super::{Agreed, Unmade, child_spi, merge};
use crate::config::Child;
use crate::crypto::{KeMethod, KeSecret};
use crate::endpoint::{By, ChildId, Context, Reason};
use crate::proposal::{ChildSuite, Proposal};
use crate::v2::key_exchange::{
    MOST_GROUPS, NONCE_LEN, finish_ke, first_group, fresh_nonce, ke_payload, start_ke,
};
use crate::v2::narrowing::{self, Selectors};
use crate::v2::payloads::{Payloads, notify};
use crate::v2::sa::IkeSa;
use crate::v2::{messages, proposals};
use crate::wire::v2::{Nonce, Notify, NotifyType, Payload, SpiField, TrafficSelectors};

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
    /// The peer's own request for the same child came in between: what it made, and the lower of that exchange's two nonces.
    pub collision: Option<(ChildId, [u8; NONCE_LEN])>,
    /// How often it was asked for with another group.
    pub tries: u8,
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

    /// Keeps to the virtual addresses that have come with the answer.
    pub fn with_addresses(&mut self, ike: &IkeSa) {
        if !ike.vips_here.is_empty() {
            self.selectors.local = ike.configured_selectors(&self.config).local;
        }
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
            other => messages::notified(other),
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
