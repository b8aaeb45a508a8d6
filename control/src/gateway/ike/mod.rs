//! What the IKE engine is told, and doing what it says.

mod connections;
mod events;

use std::sync::Arc;

use adit_abi::{
    Action, Address, Direction, PortRange, SaKey, SaRef, Selector, SelectorEnd, SelectorSet,
};
use adit_ike::endpoint::{Answer, Ask, AskId, IkeSaId, Input, Install, Output, Remove, Selectors};
use adit_ike::time::Instant;
use adit_ike::wire::v2::IpSelector;
use tracing::{debug, warn};

pub use connections::Initiation;

use super::Gateway;
use crate::clock;
use crate::esp_proposal::EspProposal;
use crate::ike::children::Half;
use crate::ike::secrets::Kind;
use crate::sadb::{
    DontFragment, Encap, Lifetime, Origin, PacketRules, PolicySpec, SaSpec, SadbError, Stage,
};
use crate::secret::Secret;

/// Order of a child's policies where the connection names none: that of children in `adit.toml`.
const PRIORITY: u64 = crate::config::connections::CHILD_PRIORITY;
/// The anti-replay window where the connection names none.
const WINDOW: u16 = 1024;

fn now() -> Instant {
    Instant(clock::now())
}

impl Gateway {
    /// Remembers what an event says about IKE's sockets and threads; returns whether it was about them.
    pub fn ike_ready(&mut self, event: &mio::event::Event) -> bool {
        self.ike.ready(event)
    }

    /// Takes in what came from peers, from threads and from the clock; returns whether more may wait.
    pub fn serve_ike(&mut self) -> bool {
        while let Some((id, answer)) = self.ike.poll_answer() {
            self.tell_ike(Input::Answer { id, answer });
        }
        while let Some(received) = self.ike.sockets.receive() {
            let input = Input::Datagram {
                local: received.local,
                remote: received.remote,
                message: received.message,
            };
            self.ike.endpoint.handle(now(), input);
            self.obey_ike();
        }
        if self.ike.is_due(now()) {
            self.tell_ike(Input::Timeout);
        }
        self.expire_initiations(std::time::Instant::now());
        self.ike.sockets.next_turn()
    }

    /// Tells the engine something, and does what it says.
    pub(crate) fn tell_ike(&mut self, input: Input<'_>) {
        self.ike.endpoint.handle(now(), input);
        self.obey_ike();
    }

    fn obey_ike(&mut self) {
        loop {
            match self.ike.endpoint.poll_output() {
                Output::Timeout(due) => {
                    self.ike.set_due(due);
                    return;
                }
                Output::Transmit(message) => {
                    let (from, to) = (message.source, message.destination);
                    if let Err(e) = self.ike.transmit(message) {
                        debug!(%from, %to, "an IKE message was not sent: {e}");
                    }
                }
                Output::Ask { id, ask, .. } => self.answer_ike(id, ask),
                Output::Install(install) => self.install(&install),
                Output::Remove(remove) => self.remove(&remove),
                Output::Event(event) => self.ike_event(&event),
            }
        }
    }

    fn answer_ike(&mut self, id: AskId, ask: Ask) {
        let answer = match ask {
            Ask::Addresses {
                local,
                remote,
                connection,
            } => {
                let port = self
                    .ike
                    .loaded
                    .get(&connection)
                    .map_or(500, |l| l.connection.remote_port);
                let work = move || Answer::Addresses(crate::ike::find_route(&local, &remote, port));
                if self.ike.find_out(id, work) {
                    return;
                }
                Answer::Addresses(None)
            }
            Ask::Secret { local, remote, .. } => {
                let found = self
                    .ike
                    .secrets
                    .find(Kind::Ike, local.as_ref(), remote.as_ref());
                Answer::Secret(found.map(|octets| adit_ike::crypto::Secret::copy_of(&octets)))
            }
            Ask::Credential {
                connection,
                authorities,
            } => {
                let loaded = self.ike.loaded.get(&connection);
                let local = loaded.and_then(|l| l.connection.local.first());
                let credentials = &self.ike.credentials;
                let found = local.and_then(|l| credentials.credential(l, &authorities));
                Answer::Credential(found.map(Box::new))
            }
            Ask::Sign {
                key,
                peer_hashes,
                octets,
                ..
            } => {
                let busy = match self.ike.credentials.sign(key, &peer_hashes, octets) {
                    Ok(job) => {
                        if self.ike.find_out(id, move || Answer::Signature(job())) {
                            return;
                        }
                        "too much public-key work waits".into()
                    }
                    Err(problem) => problem,
                };
                Answer::Signature(Err(busy))
            }
            Ask::Verify(verification) => {
                let job = self
                    .ike
                    .credentials
                    .verify(*verification, clock::wall_seconds());
                if self.ike.find_out(id, move || Answer::Verified(job())) {
                    return;
                }
                let problem = "too much public-key work waits at this gateway".to_owned();
                Answer::Verified(Err((problem, "try again later".into())))
            }
            Ask::EapPassword { name, .. } => {
                let name = std::str::from_utf8(&name).ok();
                let name = name.and_then(|n| adit_ike::identity::Identity::parse(n).ok());
                let found = self.ike.secrets.find(Kind::Eap, None, name.as_ref());
                Answer::Secret(found.map(|octets| adit_ike::crypto::Secret::copy_of(&octets)))
            }
            Ask::Radius { .. } => Answer::Secret(None),
        };
        self.ike
            .endpoint
            .handle(now(), Input::Answer { id, answer });
    }

    /// Puts one SA of a child in, and before it the policy that leads to it.
    fn install(&mut self, install: &Install) {
        let half = Half {
            ike: install.ike,
            child: install.child,
            direction: install.direction,
        };
        let policy = match self.policy_for(install) {
            Ok(policy) => policy,
            Err(e) => return self.install_failed(install, &e),
        };
        let Some(spec) = self.sa_spec(install, &policy) else {
            return self.install_failed(install, &SadbError::NoSelector);
        };
        let key = spec.key();
        match self.add_sa(&spec) {
            Ok(stage) => {
                let ready = stage == Stage::Installed;
                self.ike.children.insert(key, half, &policy, ready);
            }
            Err(e) => {
                self.release_policy(&policy);
                self.install_failed(install, &e);
            }
        }
    }

    fn install_failed(&mut self, install: &Install, error: &SadbError) {
        warn!(
            connection = %install.connection, child = %install.name,
            "an SA cannot be put in: {error}"
        );
        let input = Input::InstallFailed {
            child: install.child,
            reason: error.to_string(),
        };
        self.ike.endpoint.handle(now(), input);
    }

    /// The policy of a child, put in if it is not there: `CONNECTION/CHILD`, with the child's number behind it where
    /// another child of that name covers something else.
    fn policy_for(&mut self, install: &Install) -> Result<Arc<str>, SadbError> {
        let earlier = install.replaces.unwrap_or(install.child);
        for child in [install.child, earlier] {
            if let Some(installed) = self.ike.children.child(child) {
                return Ok(installed.policy.clone());
            }
        }
        let selectors = selectors(&install.selectors);
        let mut name = format!("{}/{}", install.connection, install.name);
        if let Some(there) = self.sadb.policy(&name) {
            if there.spec.selectors == selectors {
                return Ok(name.into());
            }
            name = format!("{name}#{}", install.child);
        }
        let settings = self.ike.loaded.get(&install.connection);
        let settings = settings.and_then(|loaded| loaded.children.get(&install.name));
        let priority = settings.map_or(0, |s| s.priority);
        self.add_policy(PolicySpec {
            name: name.clone(),
            selectors,
            action: Action::Protect,
            priority: if priority == 0 { PRIORITY } else { priority },
            applies: Default::default(),
            from_packet: Default::default(),
            origin: Origin::Ike,
        })?;
        Ok(name.into())
    }

    fn sa_spec(&self, install: &Install, policy: &Arc<str>) -> Option<SaSpec> {
        let ends = |of: &[IpSelector]| of.iter().map(|s| Side::from(s).end()).collect::<Vec<_>>();
        let selectors = SelectorSet::new(
            &ends(&install.selectors.local),
            &ends(&install.selectors.remote),
        )?;
        let settings = self.ike.loaded.get(&install.connection);
        let settings = settings.and_then(|loaded| loaded.children.get(&install.name));
        let most = self.sadb.capacity().window;
        let window = match settings.map_or(0, |s| s.replay_window) {
            0 => WINDOW,
            asked => asked,
        };
        let outer = &install.outer;
        let (source, destination) = match install.direction {
            Direction::Outbound => (outer.local, outer.remote),
            Direction::Inbound => (outer.remote, outer.local),
        };
        let encap = outer.encap.map(|ports| match install.direction {
            Direction::Outbound => Encap {
                source: ports.local,
                destination: ports.remote,
            },
            Direction::Inbound => Encap {
                source: ports.remote,
                destination: ports.local,
            },
        });
        let lifetime = |limit: &adit_ike::endpoint::Limit| Lifetime {
            seconds: limit.time.as_secs(),
            bytes: limit.volume.bytes,
            packets: limit.volume.packets,
        };
        Some(SaSpec {
            spi: install.spi,
            direction: install.direction,
            source: source.into(),
            destination: destination.into(),
            mode: install.mode,
            proposal: EspProposal {
                suite: install.suite,
                esn: install.esn,
            },
            enc_key: Secret::new(install.keys.enc.as_bytes().to_vec()),
            auth_key: Secret::new(install.keys.auth.as_bytes().to_vec()),
            encap,
            window: window.min(most),
            // The engine keeps the time itself.
            soft: Lifetime {
                seconds: 0,
                ..lifetime(&install.soft)
            },
            hard: lifetime(&install.hard),
            selectors,
            policy: Some(policy.to_string()),
            keepalive: outer.keepalive && install.direction == Direction::Outbound,
            dscp: settings.is_some_and(|s| !s.copy_dscp).then_some(0),
            df: settings.map_or(DontFragment::Copy, |s| s.df),
            packets: PacketRules {
                clear_ecn: settings.is_some_and(|s| !s.copy_ecn),
                tfc_padding: settings
                    .filter(|_| install.tfc && install.direction == Direction::Outbound)
                    .map_or(0, |s| s.tfc_padding),
                ..PacketRules::default()
            },
            around: None,
            ah_align_8: false,
            original: None,
            last_sequence: 0,
            origin: Origin::Ike,
        })
    }

    fn remove(&mut self, remove: &Remove) {
        if !self.ike.hold_removal(*remove) {
            self.remove_now(remove);
        }
    }

    fn remove_now(&mut self, remove: &Remove) {
        let key = SaKey {
            spi: remove.spi,
            protocol: remove.protocol as u8,
            destination: remove.destination.into(),
        };
        // It may be gone already: past its hard lifetime.
        let _ = self.remove_sa(&key);
        self.forget_half(&key);
    }

    /// Strikes an SA that is gone off the books, and takes its policy away if it was the last one.
    fn forget_half(&mut self, key: &SaKey) {
        let half = self.ike.children.half(key);
        if let Some(policy) = self.ike.children.remove(key) {
            self.release_policy(&policy);
        }
        // It may be what others waited for.
        if let Some(half) = half
            && !self.ike.children.is_preparing(half.ike)
        {
            self.finish_held(half.ike);
        }
    }

    /// Does what waited for an IKE SA's SAs to be in the table.
    fn finish_held(&mut self, ike: IkeSaId) {
        for removal in self.ike.release(ike) {
            self.remove_now(&removal);
        }
    }

    /// Takes a policy away that no child goes by, unless it waits for traffic.
    fn release_policy(&mut self, policy: &str) {
        let ours = |p: &crate::sadb::PolicyEntry| p.spec.origin == Origin::Ike;
        if !self.ike.children.uses(policy)
            && !self.is_trap(policy)
            && self.sadb.policy(policy).is_some_and(ours)
            && let Err(e) = self.remove_policy(policy)
        {
            warn!(policy, "cannot be removed: {e}");
        }
    }

    /// An SA is in the table: messages that speak of it may leave.
    pub(super) fn ike_installed(&mut self, key: &SaKey) {
        if let Some(ike) = self.ike.children.installed(key) {
            self.finish_held(ike);
        }
    }

    /// An SA is gone by itself: past its hard lifetime, or refused by the table.
    pub(super) fn ike_lost(&mut self, key: &SaKey) {
        let Some(half) = self.ike.children.half(key) else {
            return;
        };
        self.forget_half(key);
        self.tell_ike(Input::Expired {
            child: half.child,
            hard: true,
        });
    }

    /// The data plane says something of an SA.
    pub(super) fn ike_traffic(&mut self, sa: SaRef, told: Told) {
        let key = self.sadb.key_of(sa);
        let Some(half) = key.and_then(|key| self.ike.children.half(&key)) else {
            return;
        };
        let child = half.child;
        self.tell_ike(match told {
            Told::FirstPacket => Input::FirstPacket(child),
            Told::SoftLimit => Input::Expired { child, hard: false },
        });
    }

    /// A packet needs an SA of this policy.
    pub(super) fn ike_acquire(&mut self, policy: &str) {
        let Some((connection, child)) = policy.split_once('/') else {
            return;
        };
        if let Some((name, loaded)) = self.ike.loaded.get_key_value(connection)
            && let Some(child) = loaded.connection.child(child)
        {
            let (connection, child) = (name.clone(), child.name.clone());
            self.tell_ike(Input::Acquire { connection, child });
        }
    }
}

/// What the data plane tells of an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It opened its first packet.
    FirstPacket,
    /// It reached a soft limit of traffic, or its sequence numbers come to their end.
    SoftLimit,
}

/// One side of a traffic selector.
#[derive(Clone, Copy, Debug)]
struct Side {
    first: Address,
    last: Address,
    protocol: u8,
    ports: (u16, u16),
}

impl Side {
    fn end(&self) -> SelectorEnd {
        let (first, last) = self.ports;
        let mut end = SelectorEnd::new(self.first, self.last);
        end.protocol = self.protocol;
        end.ports = PortRange { first, last };
        end
    }
}

impl From<&IpSelector> for Side {
    fn from(s: &IpSelector) -> Self {
        Self {
            first: s.addresses.first().into(),
            last: s.addresses.last().into(),
            protocol: s.protocol,
            ports: (s.start_port, s.end_port),
        }
    }
}

/// Each pair of a local and a remote traffic selector.
fn selectors(of: &Selectors) -> Vec<Selector> {
    let sides = |of: &[IpSelector]| of.iter().map(Side::from).collect::<Vec<_>>();
    selectors_of(&sides(&of.local), &sides(&of.remote))
}

/// Each pair of two sides of one family whose protocols agree, as the table has it.
fn selectors_of(local: &[Side], remote: &[Side]) -> Vec<Selector> {
    let pairs = local
        .iter()
        .flat_map(|l| remote.iter().map(move |r| (l, r)));
    pairs
        .filter_map(|(l, r)| Selector::of_ends(&l.end(), &r.end()))
        .collect()
}
