//! `list-sas` and `list-policies`: strongSwan's listings, streamed.

use adit_abi::Direction as SaDirection;
use adit_abi::FromPacket;
use adit_ike::endpoint::ChildInfo;
use adit_vici::Message;

use crate::clock;
use crate::gateway::Gateway;
use crate::sadb::{PolicyEntry, SaView, Stage};
use crate::selector_syntax::{show_end, show_local, show_remote};
use crate::vici::listings::{ChildSa, Direction, IkeSa, Policy, list_policy, list_sa};
use crate::vici::{Answer, Reply};

const SECOND: u64 = 1_000_000_000;
/// A cursor below is the number of an IKE SA; from here on it is a slot of the SA table.
const SLOTS: u64 = 1 << 32;

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
        let first = match cursor.checked_sub(SLOTS) {
            Some(slot) => u32::try_from(slot).unwrap_or(u32::MAX),
            None => {
                if let Some(answer) = self.list_ike_sas(request, cursor, reply) {
                    return answer;
                }
                for sa in self.sadb.preparing() {
                    tell(reply, &sa);
                }
                0
            }
        };
        for slot in first..self.sadb.capacity().sas {
            if !reply.has_room() {
                return Answer::More(SLOTS + u64::from(slot));
            }
            if let Some(sa) = self.sadb.sa_in_slot(slot) {
                tell(reply, &sa);
            }
        }
        Answer::Done(Message::new())
    }

    /// IKE SAs, from this number on; what to answer if they do not all fit.
    fn list_ike_sas(&self, request: &Message, first: u64, reply: &mut Reply<'_>) -> Option<Answer> {
        let mut all: Vec<_> = self
            .ike
            .endpoint
            .established()
            .filter(|(ike, _)| u64::from(ike.id.0) >= first)
            .collect();
        all.sort_unstable_by_key(|(ike, _)| ike.id);
        for (ike, children) in all {
            if !reply.has_room() {
                return Some(Answer::More(ike.id.0.into()));
            }
            let listed = self.listed(&ike, &children, "ESTABLISHED");
            if is_asked_for(&listed, request) {
                reply.event("list-sa", &list_sa(&listed));
            }
        }
        None
    }

    /// A child of an IKE SA, if its SAs are in the table.
    pub(crate) fn listed_child(&self, child: &ChildInfo) -> Option<ChildSa> {
        let installed = self.ike.children.child(child.id)?;
        let views = installed.sas.iter().filter_map(|key| self.sadb.by_key(key));
        let (mut inbound, mut outbound) = (None, None);
        for view in views {
            match view.record.direction()? {
                SaDirection::Inbound if view.record.spi == child.spi_in => inbound = Some(view),
                SaDirection::Outbound if view.record.spi == child.spi_out => outbound = Some(view),
                _ => {}
            }
        }
        let sa = inbound.or(outbound)?;
        let mut listed = child_sa(
            &child.name,
            &sa,
            inbound.as_ref(),
            outbound.as_ref(),
            clock::now(),
        );
        listed.unique_id = child.id.0.into();
        Some(listed)
    }

    /// The child SA that this SA stands for: an inbound one for the pair, an outbound one only if it is alone.
    fn ike_sa(&self, sa: &SaView, now: u64) -> Option<IkeSa> {
        if self.ike.children.half(&sa.key()).is_some() {
            return None;
        }
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
        if let Some(set) = self.sadb.reader().selector_set(&sa.record) {
            child.local_ts = set.local().iter().map(show_end).collect();
            child.remote_ts = set.remote().iter().map(show_end).collect();
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
            direction: entry.spec.applies.name(),
            from_packet: FromPacket::NAMES
                .iter()
                .filter(|(_, flag)| entry.spec.from_packet.contains(*flag))
                .map(|(name, _)| *name)
                .collect(),
            counts: entry.slots.iter().fold([0; 4], |mut sum, slot| {
                let counts = self.sadb.state().policy_counts(*slot);
                sum.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
                sum
            }),
            sa,
            local_ts: unique(entry.spec.selectors.iter().map(show_local).collect()),
            remote_ts: unique(entry.spec.selectors.iter().map(show_remote).collect()),
        }
    }
}

/// A child's policy bears the names of its connection and of itself; behind `#` the number that tells it from
/// another child of that name.
fn split_name(name: &str) -> (&str, &str) {
    let (connection, child) = name.split_once('/').unwrap_or((name, name));
    (
        connection,
        child.split_once('#').map_or(child, |(child, _)| child),
    )
}

pub(crate) fn child_sa(
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
        mode: sa
            .record
            .mode()
            .map_or("UNKNOWN".to_owned(), |mode| mode.name().to_uppercase()),
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
