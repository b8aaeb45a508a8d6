//! Proposals: what is offered, how swanctl writes it, and what two sides agree on (RFC 7296 §3.3).
//!
//! | file | what |
//! | --- | --- |
//! | `registry` | the transforms' numbers and names, and which are weak |
//! | `parse`, `emit` | swanctl's text |
//! | `defaults` | what is offered where a connection names nothing |
//! | `select` | choosing, and the reasons when nothing fits |
//! | `suite` | what was agreed, as algorithms |

mod defaults;
mod emit;
mod parse;
pub mod registry;
mod select;
mod suite;

pub use defaults::{default_ah, default_esp, default_ike};
pub use parse::{ProposalError, parse_list};
pub use select::{Chosen, Mismatch, PairMismatch, Prefer, select};
pub use suite::{ChildSuite, IkeSuite, SuiteError};

use std::fmt;

/// The protocol that a proposal is for (RFC 7296 §3.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Protocol {
    /// IKE itself.
    Ike = 1,
    /// The authentication header.
    Ah = 2,
    /// The encapsulating security payload.
    Esp = 3,
}

impl Protocol {
    /// The protocol with this number.
    pub fn from_id(id: u8) -> Option<Self> {
        [Self::Ike, Self::Ah, Self::Esp]
            .into_iter()
            .find(|p| *p as u8 == id)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ike => "IKE",
            Self::Ah => "AH",
            Self::Esp => "ESP",
        })
    }
}

/// A kind of transform (RFC 7296 §3.3.2, RFC 9370 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TransformType {
    /// Encryption.
    Encr,
    /// Pseudorandom function.
    Prf,
    /// Integrity.
    Integ,
    /// Key exchange.
    Ke,
    /// Extended sequence numbers.
    Esn,
    /// An additional key exchange, 1 to 7.
    AddKe(u8),
    /// A type that we do not know.
    Other(u8),
}

impl TransformType {
    /// The type with this number.
    pub fn from_id(id: u8) -> Self {
        match id {
            1 => Self::Encr,
            2 => Self::Prf,
            3 => Self::Integ,
            4 => Self::Ke,
            5 => Self::Esn,
            6..=12 => Self::AddKe(id - 5),
            other => Self::Other(other),
        }
    }

    /// The type's number.
    pub fn id(self) -> u8 {
        match self {
            Self::Encr => 1,
            Self::Prf => 2,
            Self::Integ => 3,
            Self::Ke => 4,
            Self::Esn => 5,
            Self::AddKe(n) => n + 5,
            Self::Other(id) => id,
        }
    }

    /// Whether this is a key exchange, the first or an additional one.
    pub fn is_ke(self) -> bool {
        matches!(self, Self::Ke | Self::AddKe(_))
    }
}

impl fmt::Display for TransformType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encr => f.write_str("encryption"),
            Self::Prf => f.write_str("PRF"),
            Self::Integ => f.write_str("integrity"),
            Self::Ke => f.write_str("key exchange"),
            Self::Esn => f.write_str("extended sequence numbers"),
            Self::AddKe(n) => write!(f, "additional key exchange {n}"),
            Self::Other(id) => write!(f, "transform type {id}"),
        }
    }
}

/// One algorithm as it is offered: numbers of the IKEv2 registries, known to us or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transform {
    /// Its kind.
    pub kind: TransformType,
    /// Its number in the registry of its kind.
    pub id: u16,
    /// The key-length attribute in bits, where there is one.
    pub key_bits: Option<u16>,
}

impl Transform {
    /// A transform without a key length.
    pub const fn new(kind: TransformType, id: u16) -> Self {
        Self {
            kind,
            id,
            key_bits: None,
        }
    }

    /// An encryption transform.
    pub const fn encr(id: u16, key_bits: Option<u16>) -> Self {
        Self {
            kind: TransformType::Encr,
            id,
            key_bits,
        }
    }
}

/// One proposal: at least one transform of each type it has, in order of preference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposal {
    /// What it is for.
    pub protocol: Protocol,
    /// Its transforms; those of one type stand in order of preference.
    pub transforms: Vec<Transform>,
}

impl Proposal {
    /// A proposal without transforms.
    pub fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            transforms: Vec::new(),
        }
    }

    /// Adds a transform unless it is there already.
    pub fn add(&mut self, transform: Transform) {
        if !self.transforms.contains(&transform) {
            self.transforms.push(transform);
        }
    }

    /// The transforms of one type, in order of preference.
    pub fn of(&self, kind: TransformType) -> impl Iterator<Item = &Transform> + Clone {
        self.transforms.iter().filter(move |t| t.kind == kind)
    }

    /// Whether there is a transform of this type.
    pub fn has(&self, kind: TransformType) -> bool {
        self.of(kind).next().is_some()
    }

    /// The types there are, each once, in order.
    pub fn kinds(&self) -> Vec<TransformType> {
        let mut kinds: Vec<_> = self.transforms.iter().map(|t| t.kind).collect();
        kinds.sort();
        kinds.dedup();
        kinds
    }

    /// The proposal without its key exchanges, as a child SA within IKE_AUTH needs it.
    //= RFC 7296 §1.2: the child SA made in IKE_AUTH has no key exchange of its own
    pub fn without_ke(&self) -> Self {
        let transforms = self
            .transforms
            .iter()
            .filter(|t| !t.kind.is_ke())
            .copied()
            .collect();
        Self {
            protocol: self.protocol,
            transforms,
        }
    }

    /// The proposal without additional key exchanges, for a peer that has no IKE_INTERMEDIATE.
    pub fn without_additional_ke(&self) -> Self {
        let keep = |t: &&Transform| !matches!(t.kind, TransformType::AddKe(_));
        let transforms = self.transforms.iter().filter(keep).copied().collect();
        Self {
            protocol: self.protocol,
            transforms,
        }
    }

    /// The transforms that are used only because the connection names them; each use is logged.
    pub fn weak(&self) -> impl Iterator<Item = &Transform> {
        self.transforms.iter().filter(|t| registry::is_weak(t))
    }
}

#[cfg(test)]
mod tests;
