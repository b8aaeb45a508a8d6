//! Connections: loaded, unloaded, brought up.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_ike::config::{Action as Start, Addresses, Child, SelectorSpec};
use adit_ike::endpoint::Input;
use tracing::{info, warn};

use super::{PRIORITY, selectors_of};
use crate::connection::Loaded;
use crate::gateway::Gateway;
use crate::sadb::{Origin, PolicySpec};
use crate::vici::{Answer, Ticket, failure, success};

/// Commands that wait until something is up, at most.
const MOST_WAITING: usize = 1024;

/// A command that waits until something is up.
#[derive(Debug)]
pub struct Initiation {
    connection: Arc<str>,
    child: Option<Arc<str>>,
    ticket: Ticket,
    until: Option<Instant>,
}

impl Gateway {
    /// Loads a connection, puts in the policies of children that wait for traffic, and brings up those that start by
    /// themselves. The same connection once more changes nothing.
    ///
    /// # Errors
    /// What is wrong with it; nothing has changed then.
    pub fn load_connection(&mut self, loaded: Loaded) -> Result<(), String> {
        let name = loaded.connection.name.clone();
        let before = self.ike.loaded.get(&name);
        if before.is_some_and(|before| *before == loaded) {
            return Ok(());
        }
        let children = loaded.connection.children.clone();
        self.ike.load(loaded)?;
        info!(connection = %name, "loaded");
        self.follow_addresses();
        self.drop_traps(&name);
        for child in &children {
            match child.start_action {
                Start::None => {}
                Start::Trap => self.set_trap(&name, child)?,
                Start::Start => {
                    self.bring_up(name.clone(), Some(child.name.clone()), None, None);
                }
            }
        }
        Ok(())
    }

    /// Forgets a connection; its IKE SAs stay. Whether there was one.
    pub fn unload_connection(&mut self, name: &str) -> bool {
        let found = self.ike.unload(name);
        self.drop_traps(name);
        self.follow_addresses();
        found
    }

    /// The policy that makes traffic of a child wait for it, and never leave in clear.
    fn set_trap(&mut self, connection: &str, child: &Child) -> Result<(), String> {
        let policy = format!("{connection}/{}", child.name);
        let sides = |specs: &[SelectorSpec]| specs.iter().map(fixed).collect::<Option<Vec<_>>>();
        let (Some(local), Some(remote)) = (sides(&child.local_ts), sides(&child.remote_ts)) else {
            let remedy =
                "write the addresses into local_ts and remote_ts, or use start_action = start";
            return Err(format!(
                "{policy}: start_action is trap, but its traffic selectors are dynamic; {remedy}"
            ));
        };
        let settings = self.ike.loaded.get(connection);
        let settings = settings.and_then(|loaded| loaded.children.get(&child.name));
        let priority = settings.map_or(0, |s| s.priority);
        self.add_policy(PolicySpec {
            name: policy.clone(),
            selectors: selectors_of(&local, &remote),
            action: adit_abi::Action::Protect,
            priority: if priority == 0 { PRIORITY } else { priority },
            applies: Default::default(),
            from_packet: Default::default(),
            origin: Origin::Ike,
        })
        .map_err(|e| format!("{policy}: {e}"))
    }

    /// Takes the policies of a connection away that wait for traffic, but those that children go by.
    fn drop_traps(&mut self, connection: &str) {
        let prefix = format!("{connection}/");
        let theirs: Vec<_> = self
            .sadb
            .policies()
            .filter(|(name, p)| name.starts_with(&prefix) && p.spec.origin == Origin::Ike)
            .map(|(name, _)| name.to_owned())
            .collect();
        for policy in theirs {
            if !self.ike.children.uses(&policy)
                && let Err(e) = self.remove_policy(&policy)
            {
                warn!(policy, "cannot be removed: {e}");
            }
        }
    }

    /// Whether the policy of a child waits for traffic, with or without the child.
    pub(super) fn is_trap(&self, policy: &str) -> bool {
        let Some((connection, child)) = policy.split_once('/') else {
            return false;
        };
        let loaded = self.ike.loaded.get(connection);
        let child = loaded.and_then(|loaded| loaded.connection.child(child));
        child.is_some_and(|child| child.start_action == Start::Trap)
    }

    /// Opens and closes IKE's sockets: none without a connection, one pair for each own address with one.
    pub(crate) fn follow_addresses(&mut self) {
        let idle = self.ike.loaded.is_empty() && self.ike.endpoint.ike_sa_count() == 0;
        let own: BTreeSet<IpAddr> = if idle {
            BTreeSet::new()
        } else {
            let own = self.follower.mirror().own_addresses();
            own.into_iter().filter(is_spoken_on).collect()
        };
        for e in self.ike.sockets.follow(&own) {
            warn!("{e}");
        }
    }

    /// Brings a connection or a child up. With a ticket the command is answered when it is up, or why not.
    pub(crate) fn bring_up(
        &mut self,
        connection: Arc<str>,
        child: Option<Arc<str>>,
        ticket: Option<Ticket>,
        until: Option<Instant>,
    ) -> Answer {
        let answer = match ticket {
            None => Answer::Done(success()),
            Some(_) if self.initiations.len() >= MOST_WAITING => {
                return Answer::Done(failure(
                    "too many commands wait for a connection: try later",
                ));
            }
            Some(ticket) => {
                self.initiations.push(Initiation {
                    connection: connection.clone(),
                    child: child.clone(),
                    ticket,
                    until,
                });
                Answer::Later
            }
        };
        self.tell_ike(Input::Initiate { connection, child });
        answer
    }

    /// Answers the commands that waited for this; `child` is none for the IKE SA itself.
    pub(super) fn settle_initiations(
        &mut self,
        connection: &str,
        child: Option<&str>,
        result: &Result<(), String>,
    ) {
        let answers = &mut self.answers;
        self.initiations.retain(|waiting| {
            let fits = *waiting.connection == *connection
                && match (waiting.child.as_deref(), child) {
                    (Some(asked), Some(child)) => asked == child,
                    // A connection that fails takes its children along.
                    (Some(_), None) => result.is_err(),
                    (None, _) => true,
                };
            if fits {
                let answer = match result {
                    Ok(()) => success(),
                    Err(reason) => failure(reason),
                };
                answers.push_back((waiting.ticket, answer));
            }
            !fits
        });
    }

    /// Answers the commands whose time is over.
    pub(super) fn expire_initiations(&mut self, now: Instant) {
        let answers = &mut self.answers;
        self.initiations.retain(|waiting| {
            let over = waiting.until.is_some_and(|until| until <= now);
            if over {
                let reason = "it is not up yet; it goes on in the background";
                answers.push_back((waiting.ticket, failure(reason)));
            }
            !over
        });
    }

    /// How long no command's time is over.
    pub(crate) fn initiations_timeout(&self, now: Instant) -> Option<Duration> {
        let ends = self.initiations.iter().filter_map(|waiting| waiting.until);
        ends.min().map(|until| until.saturating_duration_since(now))
    }
}

/// The addresses, protocol and ports of a traffic selector that depends on nobody's address.
fn fixed(spec: &SelectorSpec) -> Option<super::Side> {
    match spec.addresses {
        Addresses::Dynamic => None,
        Addresses::Range(first, last) => Some(super::Side {
            first: first.into(),
            last: last.into(),
            protocol: spec.protocol,
            ports: spec.ports,
        }),
    }
}

fn is_spoken_on(address: &IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(a) => a.is_link_local(),
        IpAddr::V6(a) => a.is_unicast_link_local(),
    };
    !(address.is_loopback() || address.is_multicast() || address.is_unspecified() || link_local)
}
