//! The data plane's questions for SAs, and the answers.

use adit_abi::message::{ToDataplane, Verdict};
use adit_abi::{Action, Flow, SaKey, SaRef, Selector};
use zeroize::Zeroizing;

use super::{Sadb, SadbError};

/// A packet that needs an SA which is not there (RFC 4301 §5.1). The data plane holds it for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquire {
    /// The policy's name.
    pub policy: String,
    /// The slot of the policy's selector that covers the packet.
    pub slot: u32,
    /// What selectors see of the packet; `local` is its source.
    pub flow: Flow,
    /// Whether it shows its ports.
    pub ports: bool,
    /// What the SA asked for is to cover: the policy's selector, with the fields that the policy takes from packets
    /// (PFP, RFC 4301 §4.4.1.2).
    pub wanted: Selector,
}

/// What becomes of the packets that wait for an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// They go into this outbound SA, which is in the table. An SA that was added under the policy's name needs no
    /// answer: it is found.
    Use(SaKey),
    /// They go on in clear, those that are held now. What follows needs a BYPASS policy, put in first.
    Clear,
    /// They are dropped, those that are held now.
    Drop,
}

impl Sadb {
    /// What the data plane asks for; `None` where the policy is gone by now.
    pub fn acquire(&self, slot: u32, flow: Flow, ports: bool) -> Option<Acquire> {
        let entry = self.policy_in(slot)?;
        let at = entry.slots.iter().position(|s| *s == slot)?;
        let selector = entry.spec.selectors.get(at)?;
        Some(Acquire {
            policy: entry.spec.name.clone(),
            slot,
            flow,
            ports,
            wanted: entry.spec.from_packet.narrow(selector, &flow, ports),
        })
    }

    /// The SA that a packet under a policy's slot is sealed into, found as the data plane finds it.
    pub fn sa_of(&self, slot: u32, flow: &Flow, ports: bool) -> Option<SaKey> {
        let reader = self.reader();
        let link = reader.policy_link(slot);
        let carries = |sa: &SaRef, by_flow: bool| {
            let record = reader.sa(*sa).map(Zeroizing::new)?;
            let covered = match reader.selector_set(&record) {
                Some(set) => set.covers_shown(flow, ports),
                None => record.selector.covers_shown(flow, ports),
            };
            let own = !by_flow || record.policy.checked_sub(1) == Some(slot);
            (own && covered == Some(true)).then(|| record.key())
        };
        reader
            .sas_by_flow(slot, &link, flow)
            .find_map(|sa| carries(&sa, true))
            .or_else(|| reader.sas_of(&link).find_map(|sa| carries(&sa, false)))
    }

    /// Answers a question. Nobody has to: after the time limit the data plane drops what it holds.
    ///
    /// # Errors
    /// When the SA to use is not there or does not fit the policy.
    pub fn answer(&mut self, acquire: &Acquire, answer: Answer) -> Result<(), SadbError> {
        let verdict = match answer {
            Answer::Use(key) => return self.link_by_key(&acquire.policy, &key),
            Answer::Clear => Verdict::Clear,
            Answer::Drop => Verdict::Drop,
        };
        self.outbox.push_back(ToDataplane::Answer {
            policy: acquire.slot,
            selector: acquire.wanted,
            verdict,
        });
        Ok(())
    }

    /// Lets go of all packets that are held under a policy, or of those that a selector covers.
    ///
    /// # Errors
    /// When there is no such policy, or it is not one that protects.
    pub fn release_held(
        &mut self,
        name: &str,
        only: Option<&[Selector]>,
        verdict: Verdict,
    ) -> Result<(), SadbError> {
        let entry = self
            .policy(name)
            .ok_or_else(|| SadbError::NoPolicy(name.to_owned()))?;
        if entry.spec.action != Action::Protect {
            return Err(SadbError::NotProtect(name.to_owned()));
        }
        let mut messages = Vec::new();
        for (selector, slot) in entry.spec.selectors.iter().zip(&entry.slots) {
            for selector in only.unwrap_or(std::slice::from_ref(selector)) {
                messages.push(ToDataplane::Answer {
                    policy: *slot,
                    selector: *selector,
                    verdict,
                });
            }
        }
        self.outbox.extend(messages);
        Ok(())
    }
}
