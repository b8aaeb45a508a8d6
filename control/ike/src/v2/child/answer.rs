//! What the peer asks for, and what we answer.

use std::sync::Arc;

use adit_abi::Mode;

use super::{Agreed, Refusal, child_spi, merge};
use crate::config::Child;
use crate::endpoint::{By, ChildId, Context, Reason};
use crate::proposal::ChildSuite;
use crate::v2::key_exchange::{answer_ke, fresh_nonce};
use crate::v2::narrowing::{self, Selectors};
use crate::v2::payloads::{Payloads, notify};
use crate::v2::proposals;
use crate::v2::sa::IkeSa;
use crate::wire::v2::{Nonce, NotifyType, Payload, SpiField, TrafficSelectors};

/// The response's payloads, and what was agreed on.
pub(crate) type Answer = (Vec<Payload>, Agreed);

impl IkeSa {
    /// Answers a request for a child, as responder of the exchange. `nonces` are those of IKE_SA_INIT where this is IKE_AUTH.
    pub(in crate::v2) fn answer_child(
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
}
