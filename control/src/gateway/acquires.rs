//! Questions for SAs and discarded packets: what the data plane tells, and who hears of it.

use std::time::{Duration, Instant};

use adit_abi::message::Verdict;
use adit_abi::{DropReason, Flow, Selector, has_type};
use adit_vici::Message;
use tracing::{debug, info};

use super::Gateway;
use crate::sadb::{Acquire, SadbError};
use crate::selector_syntax::{show_local, show_remote};

/// An SA that was asked for is not asked for again for so long.
const QUIET: Duration = Duration::from_secs(1);
/// SAs asked for lately that are remembered.
const REMEMBERED: usize = 1024;

impl Gateway {
    /// A packet needs an SA. Without anybody who answers, the data plane drops it when its time is over.
    pub(super) fn handle_acquire(&mut self, acquire: &Acquire) {
        let now = Instant::now();
        let key = (acquire.slot, acquire.wanted);
        if self
            .asked
            .get(&key)
            .is_some_and(|at| now.duration_since(*at) < QUIET)
        {
            return;
        }
        if self.asked.len() >= REMEMBERED {
            self.asked.retain(|_, at| now.duration_since(*at) < QUIET);
        }
        if self.asked.len() >= REMEMBERED {
            return;
        }
        self.asked.insert(key, now);
        debug!(policy = %acquire.policy, flow = ?acquire.flow, "a packet needs an SA");
        let message = Message::new()
            .with("event", "acquire")
            .with("policy", &acquire.policy);
        let message = with_flow(message, &acquire.flow, acquire.ports)
            .with_list("local_ts", [show_local(&acquire.wanted)])
            .with_list("remote_ts", [show_remote(&acquire.wanted)]);
        self.raise("adit-event", message);
        self.ike_acquire(&acquire.policy);
    }

    /// A packet was discarded: for the log, with what RFC 4301 §4.4.1 wants in it.
    pub(super) fn audit_discard(
        &mut self,
        policy: u32,
        reason: DropReason,
        inbound: bool,
        flow: &Flow,
        ports: bool,
    ) {
        let Some(quiet) = self.limit.admit("discarded", Instant::now()) else {
            return;
        };
        let name = self.sadb.policy_name(policy).unwrap_or_default();
        let direction = if inbound { "in" } else { "out" };
        info!(target: "audit", policy = %name, reason = reason.name(), direction, ?flow, ports, quiet, "packet discarded");
        let message = Message::new()
            .with("event", "discarded")
            .with("policy", &name)
            .with("reason", reason.name())
            .with("direction", direction);
        self.raise("adit-event", with_flow(message, flow, ports));
    }

    /// Lets go of packets that are held under a policy.
    ///
    /// # Errors
    /// When there is no such policy, or it is not one that protects.
    pub fn release_held(
        &mut self,
        policy: &str,
        only: Option<&[Selector]>,
        verdict: Verdict,
    ) -> Result<(), SadbError> {
        self.sadb.release_held(policy, only, verdict)?;
        self.forward_sadb();
        Ok(())
    }
}

fn with_flow(message: Message, flow: &Flow, ports: bool) -> Message {
    let message = message
        .with("local", flow.local.to_string())
        .with("remote", flow.remote.to_string())
        .with("protocol", flow.protocol.to_string());
    if !ports {
        return message;
    }
    if has_type(flow.protocol) {
        let [kind, code] = flow.local_port.to_be_bytes();
        return message
            .with("type", kind.to_string())
            .with("code", code.to_string());
    }
    message
        .with("local_port", flow.local_port.to_string())
        .with("remote_port", flow.remote_port.to_string())
}
