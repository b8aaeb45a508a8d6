//! A connection: two ends, how each proves who it is, and the IKE SA's own settings.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::auth::{AuthMethod, LocalAuth, RemoteAuth};
use super::child::Child;
use super::{ConfigError, Host};
use crate::proposal::Proposal;

/// Which version of IKE a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// IKEv2 when initiating, either when answering.
    #[default]
    Any,
    /// IKEv1 (RFC 2409).
    V1,
    /// IKEv2 (RFC 7296).
    V2,
}

/// Use of IKE fragmentation (RFC 7383).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fragmentation {
    /// Offered and accepted.
    #[default]
    Yes,
    /// Taken from a peer, but never done.
    Accept,
    /// Every encrypted message goes in fragments, however small.
    Force,
    /// Neither.
    No,
}

/// Whether an IKE SA may start without a child SA (RFC 6023).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Childless {
    /// Accepted as responder.
    #[default]
    Allow,
    /// As initiator: childless where the peer can, children by CREATE_CHILD_SA.
    Prefer,
    /// As initiator: fails where the peer cannot; as responder: refuses a child in IKE_AUTH.
    Force,
    /// Not offered.
    Never,
}

/// When this end sends its certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SendCertificate {
    /// When the peer asked for one.
    #[default]
    IfAsked,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What happens to an older IKE SA with the same peer when another comes up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unique {
    /// The old one goes if the peer says INITIAL_CONTACT.
    #[default]
    No,
    /// INITIAL_CONTACT is ignored as well.
    Never,
    /// The new one is refused (not supported: a connection that wants it is refused).
    Keep,
    /// The old one goes.
    Replace,
}

/// A connection in swanctl's vocabulary; [`Connection::new`] gives swanctl's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// The name of its section.
    pub name: Arc<str>,
    /// Versions of IKE.
    pub version: Version,
    /// Where this end may be; none stands for any address.
    pub local_addrs: Vec<Host>,
    /// Where the peer may be; none stands for any address.
    pub remote_addrs: Vec<Host>,
    /// UDP port of this end, 0 for the endpoint's own.
    pub local_port: u16,
    /// UDP port to which the first message goes.
    pub remote_port: u16,
    /// IKE proposals, the most wanted first.
    pub proposals: Vec<Proposal>,
    /// Virtual addresses to ask for; an unspecified address asks for any of its family.
    pub vips: Vec<IpAddr>,
    /// Pools to assign addresses and attributes from, by name.
    pub pools: Vec<Arc<str>>,
    /// Authentication rounds of this end.
    pub local: Vec<LocalAuth>,
    /// Authentication rounds of the peer.
    pub remote: Vec<RemoteAuth>,
    /// Children.
    pub children: Vec<Arc<Child>>,
    /// UDP encapsulation even where there is no NAT.
    pub encap: bool,
    /// Whether addresses may change under a living IKE SA (RFC 4555).
    pub mobike: bool,
    /// How long the peer may be silent before it is asked; zero never asks.
    pub dpd_delay: Duration,
    /// Fragmentation.
    pub fragmentation: Fragmentation,
    /// Childless initiation.
    pub childless: Childless,
    /// Whether CERTREQ payloads are sent.
    pub send_certreq: bool,
    /// When CERT payloads are sent.
    pub send_cert: SendCertificate,
    /// How often a start is tried before it counts as failed; 0 is for ever.
    pub keyingtries: u32,
    /// Several IKE SAs with one peer.
    pub unique: Unique,
    /// Age at which the peer is authenticated anew; zero never.
    pub reauth_time: Duration,
    /// Age at which the IKE SA gets new keys; zero never.
    pub rekey_time: Duration,
    /// How long after `rekey_time` or `reauth_time` the IKE SA goes if that did not work.
    pub over_time: Duration,
    /// Up to this much is taken off `rekey_time` and `reauth_time` by lot.
    pub rand_time: Duration,
}

impl Connection {
    /// A connection with swanctl's defaults: no addresses named, no proposals, no authentication, no children.
    #[must_use]
    pub fn new(name: &str) -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        Self {
            name: name.into(),
            version: Version::Any,
            local_addrs: Vec::new(),
            remote_addrs: Vec::new(),
            local_port: 0,
            remote_port: 500,
            proposals: Vec::new(),
            vips: Vec::new(),
            pools: Vec::new(),
            local: Vec::new(),
            remote: Vec::new(),
            children: Vec::new(),
            encap: false,
            mobike: true,
            dpd_delay: Duration::ZERO,
            fragmentation: Fragmentation::Yes,
            childless: Childless::Allow,
            send_certreq: true,
            send_cert: SendCertificate::IfAsked,
            keyingtries: 1,
            unique: Unique::No,
            reauth_time: Duration::ZERO,
            rekey_time: 4 * HOUR,
            // swanctl: a tenth of the longer of the two times.
            over_time: HOUR * 4 / 10,
            rand_time: HOUR * 4 / 10,
        }
    }

    /// The child of this name.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Arc<Child>> {
        self.children.iter().find(|c| &*c.name == name)
    }

    /// Whether an exchange can run on this connection.
    ///
    /// # Errors
    ///
    /// The first field that cannot be used, and what to write instead.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |field: &str, problem: &str, remedy: &str| {
            Err(ConfigError {
                field: format!("connections.{}.{field}", self.name),
                problem: problem.into(),
                remedy: remedy.into(),
            })
        };
        if self.proposals.is_empty() {
            return wrong(
                "proposals",
                "no IKE proposal",
                "leave the key out for the default",
            );
        }
        if self.local.is_empty() {
            return wrong("local", "no authentication round", "add a section `local`");
        }
        if self.remote.is_empty() {
            return wrong(
                "remote",
                "no authentication round",
                "add a section `remote`",
            );
        }
        if self.local.len() > 1 || self.remote.len() > 1 {
            //= RFC 4739 §1 not done: several authentication rounds in one IKE_AUTH
            let remedy = "keep one section `local` and one `remote`";
            return wrong("local", "more than one authentication round", remedy);
        }
        if self.unique == Unique::Keep {
            let remedy = "take no, never or replace";
            return wrong("unique", "`keep` is not supported", remedy);
        }
        if self.local[0].method == AuthMethod::Null || self.remote[0].method == AuthMethod::Null {
            //= RFC 7619 §2.1 not done: NULL authentication comes with opportunistic connections
            return wrong(
                "local.auth",
                "NULL authentication is not supported",
                "take psk or pubkey",
            );
        }
        let mut names: Vec<_> = self.children.iter().map(|c| &c.name).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|w| w[0] == w[1]) {
            return wrong(
                "children",
                &format!("{:?} stands twice", twice[0]),
                "rename one",
            );
        }
        self.children
            .iter()
            .try_for_each(|c| c.check(&format!("connections.{}.children", self.name)))
    }
}
