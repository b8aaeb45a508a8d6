//! Questions to the world, and its answers.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::IkeSaId;
use super::initiate::Initiation;
use crate::config::Host;
use crate::crypto::Secret;
use crate::eap::ServerAnswer;
use crate::identity::Identity;

/// A question's number; its answer bears it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// Something that the engine cannot know.
#[derive(Debug)]
pub enum Ask {
    /// The addresses of a connection that is to be brought up: names resolved, and the own address that leads there.
    Addresses {
        /// The connection's name.
        connection: Arc<str>,
        /// Where this end may be; none stands for any address.
        local: Vec<Host>,
        /// Where the peer may be.
        remote: Vec<Host>,
    },
    /// The secret that two ends share.
    Secret {
        /// The connection's name.
        connection: Arc<str>,
        /// Own identity, if there is one.
        local: Option<Identity>,
        /// The peer's identity, as far as it is known: unproved.
        remote: Option<Identity>,
        /// The peer's address.
        address: IpAddr,
    },
    /// The certificate or raw key to prove this end with.
    Credential {
        /// The connection's name.
        connection: Arc<str>,
        /// Key hashes of the authorities that the peer trusts; empty if it does not say.
        authorities: Vec<[u8; 20]>,
    },
    /// A signature; public-key work, so better done by another thread.
    Sign {
        /// The connection's name.
        connection: Arc<str>,
        /// Of the [`Credential`].
        key: u64,
        /// Hashes that the peer has (RFC 7427 §4); empty without that notification.
        peer_hashes: Vec<u16>,
        /// What is to be signed.
        octets: Vec<u8>,
    },
    /// Whether the peer's signature and certificates are to be believed; public-key work too.
    Verify(Box<Verification>),
    /// A password of EAP: our own as client, a client's as server.
    EapPassword {
        /// The connection's name.
        connection: Arc<str>,
        /// The name.
        name: Vec<u8>,
    },
    /// What the RADIUS server says to this EAP message.
    Radius {
        /// The connection's name.
        connection: Arc<str>,
        /// The peer's name, as far as it is known.
        name: Vec<u8>,
        /// The peer's address, for Calling-Station-Id.
        address: SocketAddr,
        /// The EAP message.
        message: Vec<u8>,
    },
}

/// A certificate or raw public key of this end, whose private key somebody else keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Names the private key in [`Ask::Sign`].
    pub key: u64,
    /// Whether `chain` is one raw public key (a SubjectPublicKeyInfo) and no certificates.
    pub raw: bool,
    /// DER, the own certificate first, then what leads to an authority.
    pub chain: Vec<Vec<u8>>,
    /// The identity to show where the connection names none: the certificate's subject.
    pub identity: Option<Identity>,
}

/// What is needed to find out whether a peer's signature is to be believed.
#[derive(Clone, Debug)]
pub struct Verification {
    /// The connection's name.
    pub connection: Arc<str>,
    /// Who the peer says it is.
    pub identity: Identity,
    /// Certificates as the peer sent them, DER, its own first; may be empty.
    pub chain: Vec<Vec<u8>>,
    /// A raw public key that the peer sent (a SubjectPublicKeyInfo).
    pub raw_key: Option<Vec<u8>>,
    /// What the connection demands: one of these, if there are any.
    pub certs: Vec<Arc<[u8]>>,
    /// And one of these authorities.
    pub cacerts: Vec<Arc<[u8]>>,
    /// The method of AUTH (RFC 7296 §3.8).
    pub method: u8,
    /// The authentication data.
    pub data: Vec<u8>,
    /// What should have been signed.
    pub octets: Vec<u8>,
}

/// The answer to an [`Ask`].
#[derive(Debug)]
pub enum Answer {
    /// Addresses of both ends; none if there is no name, no route.
    Addresses(Option<(IpAddr, IpAddr)>),
    /// A secret or password; none if there is none.
    Secret(Option<Secret>),
    /// A certificate or raw key; none if none fits.
    Credential(Option<Box<Credential>>),
    /// The number of the AUTH method and the authentication data, or what is wrong.
    Signature(Result<(u8, Vec<u8>), String>),
    /// Good, or what is wrong and what to do about it.
    Verified(Result<(), (String, String)>),
    /// The RADIUS server's answer.
    Radius(ServerAnswer),
}

/// Who waits for an answer.
pub(crate) enum Asker {
    Ike(IkeSaId),
    Initiation(Box<Initiation>),
}

/// Questions that are not answered yet.
#[derive(Default)]
pub(crate) struct Asks {
    next: u64,
    open: HashMap<AskId, Asker>,
}

impl Asks {
    pub fn add(&mut self, asker: Asker) -> AskId {
        self.next += 1;
        let id = AskId(self.next);
        self.open.insert(id, asker);
        id
    }

    pub fn take(&mut self, id: AskId) -> Option<Asker> {
        self.open.remove(&id)
    }

    /// Forgets what an IKE SA asked that is gone.
    pub fn forget(&mut self, ike: IkeSaId) {
        self.open
            .retain(|_, asker| !matches!(asker, Asker::Ike(id) if *id == ike));
    }
}
