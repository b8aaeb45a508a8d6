//! Policies and SAs, with what belongs to them outside the table: steering first, then the SPD entry; the other
//! way round when they go.

use adit_abi::{Direction, SaKey};
use adit_bpf::SteeringError;
use tracing::{error, info, warn};

use super::Gateway;
use crate::clock;
use crate::host::protected_routes::{self, Surroundings};
use crate::sadb::{Change, Migration, PolicySpec, SaSpec, SadbError, Stage};
use crate::steer;
use crate::vici::{failure, success};

impl Gateway {
    /// Every policy in the table, and those that are about to come.
    fn policies_and(&self, coming: &[PolicySpec]) -> Vec<PolicySpec> {
        let filed = self.sadb.policies().map(|(_, p)| p.spec.clone());
        filed.chain(coming.iter().cloned()).collect()
    }

    /// Makes the steering program's own addresses fit the policies, those included that are about to come.
    ///
    /// # Errors
    /// What the kernel refuses: then the program knows less than it should.
    pub(super) fn sync_steering(&mut self, coming: &[PolicySpec]) -> Result<(), SteeringError> {
        let policies = self.policies_and(coming);
        let mirror = self.follower.mirror();
        let own = mirror
            .own_addresses()
            .into_iter()
            .chain(mirror.broadcasts());
        let mut wanted = steer::own_addresses(own, policies.iter());
        if !self.settled {
            self.steer.keep_protected(&mut wanted);
        }
        let known = self.steer.set_own_addresses(&wanted);
        known.and(self.sync_unaddressed())
    }

    /// Tells the steering program which ports still wait for an IPv4 address.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub(super) fn sync_unaddressed(&mut self) -> Result<(), SteeringError> {
        let mirror = self.follower.mirror();
        self.steer
            .set_unaddressed(|ifindex| !mirror.has_v4(ifindex))
    }

    /// Makes the kernel's routes under protected prefixes fit the policies, those included that are about to come.
    pub(super) fn sync_routes(&mut self, coming: &[PolicySpec]) {
        // Whoever opened wants the kernel's own routes.
        if self.steer.is_open() {
            return;
        }
        let policies = self.policies_and(coming);
        let mirror = self.follower.mirror();
        let host = Surroundings {
            own: &mirror.own_addresses(),
            inside: &mirror.inside_networks(),
            far_ends: &self.sadb.far_ends().collect(),
        };
        let wanted = protected_routes::wanted(policies.iter(), host);
        let tun = self.tun_ifindex();
        let settled = self.settled;
        self.routes
            .sync(self.follower.asker(), &wanted, tun, settled);
    }

    /// Puts a policy in.
    ///
    /// # Errors
    /// What is wrong with it, that there is no room, or that steering cannot be made to fit; then nothing changed.
    pub fn add_policy(&mut self, spec: PolicySpec) -> Result<(), SadbError> {
        self.sadb.check_policy(&spec)?;
        let coming = [spec];
        if let Err(e) = self.sync_steering(&coming) {
            self.sync_host();
            return Err(SadbError::Steering(e.to_string()));
        }
        self.sync_routes(&coming);
        let [spec] = coming;
        let name = spec.name.clone();
        let added = self.sadb.add_policy(spec);
        match &added {
            Ok(()) => info!(policy = %name, "added"),
            Err(_) => self.sync_host(),
        }
        self.tell_changed();
        added
    }

    /// Takes a policy away with its SAs.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn remove_policy(&mut self, name: &str) -> Result<(), SadbError> {
        self.sadb.remove_policy(name)?;
        self.tell_changed();
        self.sync_host();
        info!(policy = %name, "removed");
        Ok(())
    }

    /// Steering and routes for exactly what is in the table.
    pub(super) fn sync_host(&mut self) {
        self.sync_routes(&[]);
        self.steering_refused = self.sync_steering(&[]).err().map(|e| {
            let what = format!(
                "the steering program does not know all addresses of this host as it should: {e}"
            );
            error!("{what}");
            what
        });
    }

    /// Puts an SA in.
    ///
    /// # Errors
    /// What is wrong with it, or that there is no room.
    pub fn add_sa(&mut self, spec: &SaSpec) -> Result<Stage, SadbError> {
        let stage = self.sadb.add_sa(spec, clock::now())?;
        let suite = spec.proposal.suite;
        if suite.is_legacy() {
            //= RFC 8221 §5: 3DES SHOULD NOT, §6: HMAC-MD5 MUST NOT be implemented; never without a word
            warn!(sa = ?spec.key(), %suite, "SA with a legacy transform, which no longer protects as it should (RFC 8221)");
        }
        // Its far end must not be reached through the TUN device.
        if spec.direction == Direction::Outbound && self.routes.covers(spec.destination) {
            self.sync_routes(&[]);
        }
        self.forward_sadb();
        Ok(stage)
    }

    /// Moves a live SA to other outer addresses or ports; returns its new key.
    ///
    /// # Errors
    /// What is wrong with where it is to go, or that there is no room.
    pub fn migrate_sa(&mut self, key: &SaKey, to: &Migration) -> Result<(SaKey, Stage), SadbError> {
        let moved = self.sadb.migrate_sa(key, to, clock::now())?;
        // Its far end must not be reached through the TUN device.
        if self.routes.covers(to.destination) {
            self.sync_routes(&[]);
        }
        info!(from = ?key, to = ?moved.0, "SA moves");
        self.forward_sadb();
        Ok(moved)
    }

    /// Takes an SA away.
    ///
    /// # Errors
    /// When there is none with this key.
    pub fn remove_sa(&mut self, key: &SaKey) -> Result<(), SadbError> {
        self.sadb.remove_sa(key)?;
        self.refuse_waiting(key, "the SA was deleted before it was in the table");
        info!(sa = ?key, "SA removed");
        self.forward_sadb();
        Ok(())
    }

    /// Makes a PROTECT policy seal into an SA that is there.
    ///
    /// # Errors
    /// When one of the two is not there, or they do not fit.
    pub fn link(&mut self, policy: &str, key: &SaKey) -> Result<(), SadbError> {
        self.sadb.link_by_key(policy, key)
    }

    /// Passes on what the table has to say: to the data plane, to waiting commands, to those who listen.
    pub(super) fn forward_sadb(&mut self) {
        while let Some(message) = self.sadb.poll_message() {
            self.plane.send(&message, &[]);
        }
        while let Some(change) = self.sadb.poll_change() {
            match change {
                Change::Installed(key) => {
                    info!(sa = ?key, "SA installed");
                    self.ike_installed(&key);
                    if let Some(ticket) = self.waiting.remove(&key) {
                        self.answers.push_back((ticket, success()));
                    }
                }
                Change::Refused(key) => {
                    self.refuse_waiting(&key, "the SA table has no room for it");
                    self.ike_lost(&key);
                }
                Change::Expired(key) => {
                    info!(sa = ?key, "SA expired and removed");
                    self.ike_lost(&key);
                    self.refuse_waiting(&key, "the SA expired before it was in the table");
                    self.notice("expired", &key);
                }
            }
        }
    }

    fn refuse_waiting(&mut self, key: &SaKey, reason: &str) {
        if let Some(ticket) = self.waiting.remove(key) {
            self.answers.push_back((ticket, failure(reason)));
        }
    }
}
