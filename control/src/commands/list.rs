//! `list-sas` and `list-policies`: strongSwan's listings, streamed.

use adit_abi::Direction as SaDirection;
use adit_vici::Message;

use crate::clock;
use crate::gateway::Gateway;
use crate::sadb::{PolicyEntry, SaView, Stage};
use crate::selector_syntax::{show_local, show_remote};
use crate::vici::listings::{ChildSa, Direction, IkeSa, Policy, list_policy, list_sa};
use crate::vici::{Answer, Reply};

const SECOND: u64 = 1_000_000_000;

impl Gateway {
    /// An inbound SA and the outbound one that goes with it are one child SA; the cursor is a slot.
    pub(super) fn list_sas(&self, request: &Message, cursor: u64, reply: &mut Reply<'_>) -> Answer {
        let now = clock::now();
        let tell = |reply: &mut Reply<'_>, sa: &SaView| {
            if let Some(ike) = self.ike_sa(sa, now)
                && is_asked_for(&ike, request)
            {
                reply.event("list-sa", &list_sa(&ike));
            }
        };
        let first = u32::try_from(cursor).unwrap_or(u32::MAX);
        if first == 0 {
            for sa in self.sadb.preparing() {
                tell(reply, &sa);
            }
        }
        for slot in first..self.sadb.capacity().sas {
            if !reply.has_room() {
                return Answer::More(slot.into());
            }
            if let Some(sa) = self.sadb.sa_in_slot(slot) {
                tell(reply, &sa);
            }
        }
        Answer::Done(Message::new())
    }

    /// The child SA that this SA stands for: an inbound one for the pair, an outbound one only if it is alone.
    fn ike_sa(&self, sa: &SaView, now: u64) -> Option<IkeSa> {
        let direction = sa.record.direction()?;
        let partner = self.sadb.partner(&sa.key());
        if direction == SaDirection::Outbound && partner.is_some() {
            return None;
        }
        let (inbound, outbound) = match direction {
            SaDirection::Inbound => (Some(*sa), partner),
            SaDirection::Outbound => (None, Some(*sa)),
        };
        let (local, remote) = match direction {
            SaDirection::Inbound => (sa.record.destination, sa.record.source),
            SaDirection::Outbound => (sa.record.source, sa.record.destination),
        };
        let name = sa
            .policy()
            .and_then(|slot| self.sadb.policy_name(slot))
            .unwrap_or_else(|| format!("sa-{}", sa.record.spi));
        let (connection, child) = split_name(&name);
        let mut child = child_sa(child, sa, inbound.as_ref(), outbound.as_ref(), now);
        let seconds = self.sadb.reader().settings().path_mtu_seconds;
        if let (Some(out), Some(view)) = (&mut child.outbound, &outbound) {
            out.path_mtu = view.path_mtu(now, seconds);
        }
        Some(IkeSa::manual(
            connection,
            sa.unique.into(),
            &local.to_string(),
            &remote.to_string(),
            vec![child],
        ))
    }

    /// The cursor is how many policies were told.
    pub(super) fn list_policies(
        &self,
        request: &Message,
        cursor: u64,
        reply: &mut Reply<'_>,
    ) -> Answer {
        let first = usize::try_from(cursor).unwrap_or(usize::MAX);
        for (n, (name, policy)) in self.sadb.policies().enumerate().skip(first) {
            if !reply.has_room() {
                return Answer::More(n as u64);
            }
            let policy = self.policy(name, policy);
            if policy.is_asked_for(request) {
                reply.event("list-policy", &list_policy(&policy));
            }
        }
        Answer::Done(Message::new())
    }

    fn policy(&self, name: &str, entry: &PolicyEntry) -> Policy {
        let first = entry.slots.first().copied().unwrap_or(0);
        let sa = entry
            .slots
            .iter()
            .find_map(|slot| self.sadb.reader().link(*slot))
            .and_then(|sa| self.sadb.sa(sa))
            .map(|sa| (sa.record.spi.0, sa.record.destination.to_string()));
        let (connection, child) = split_name(name);
        let unique = |sides: Vec<String>| {
            let mut out: Vec<String> = Vec::new();
            for side in sides {
                if !out.contains(&side) {
                    out.push(side);
                }
            }
            out
        };
        Policy {
            name: child.to_owned(),
            ike: (connection != child).then(|| connection.to_owned()),
            reqid: u64::from(first) + 1,
            action: entry.spec.action,
            priority: entry.spec.priority,
            sa,
            local_ts: unique(entry.spec.selectors.iter().map(show_local).collect()),
            remote_ts: unique(entry.spec.selectors.iter().map(show_remote).collect()),
        }
    }
}

/// A child's policy bears the names of its connection and of itself.
fn split_name(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or((name, name))
}

fn child_sa(
    name: &str,
    sa: &SaView,
    inbound: Option<&SaView>,
    outbound: Option<&SaView>,
    now: u64,
) -> ChildSa {
    let state = match sa.stage {
        Stage::Preparing => "INSTALLING",
        Stage::Installed => "INSTALLED",
    };
    let soonest = |limit: fn(&SaView) -> u64| {
        [inbound, outbound]
            .into_iter()
            .flatten()
            .map(limit)
            .filter(|at| *at != 0)
            .min()
            .map(|at| (at as i64 - now as i64) / SECOND as i64)
    };
    ChildSa {
        name: name.to_owned(),
        unique_id: sa.unique.into(),
        reqid: u64::from(sa.record.policy),
        state: state.to_owned(),
        mode: "TUNNEL".to_owned(),
        encap: sa.record.flags.contains(adit_abi::SaFlags::UDP_ENCAP),
        suite: sa.record.suite(),
        esn: sa.record.esn(),
        inbound: inbound.map(|sa| direction(sa, now, true)),
        outbound: outbound.map(|sa| direction(sa, now, false)),
        rekey_time: soonest(|sa| sa.record.soft.expires),
        life_time: soonest(|sa| sa.record.hard.expires),
        install_time: (now / SECOND).saturating_sub(sa.record.installed.into()),
        local_ts: vec![show_local(&sa.record.selector)],
        remote_ts: vec![show_remote(&sa.record.selector)],
    }
}

fn direction(sa: &SaView, now: u64, inbound: bool) -> Direction {
    let last = sa.counts.last_used;
    Direction {
        spi: sa.record.spi.0,
        bytes: sa.counts.bytes,
        packets: sa.counts.packets,
        last_use: (last != 0).then(|| now.saturating_sub(last) / SECOND),
        window: inbound.then_some(sa.record.window),
        path_mtu: None,
        dummies: sa.counts.dummies,
    }
}

fn is_asked_for(ike: &IkeSa, request: &Message) -> bool {
    let text = |key: &str, is: &dyn Fn(&str) -> bool| request.str(key).is_none_or(is);
    let child = |is: &dyn Fn(&ChildSa) -> bool| ike.children.iter().any(is);
    text("ike", &|name| name == ike.name)
        && text("ike-id", &|id| id.parse() == Ok(ike.unique_id))
        && text("child", &|name| child(&|c| c.name == name))
        && text("child-id", &|id| child(&|c| id.parse() == Ok(c.unique_id)))
}
