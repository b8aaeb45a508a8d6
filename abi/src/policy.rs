//! SPD entries (RFC 4301 §4.4.1).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::selector::{FromPacket, Selector};

/// What to do with traffic that a policy covers (RFC 4301 §4.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Action {
    /// Drop it.
    Discard = 0,
    /// Forward it in clear.
    Bypass = 1,
    /// Seal it; in clear it is dropped.
    Protect = 2,
}

impl Action {
    /// From the byte in shared memory; anything unknown is the safe choice, [`Action::Discard`].
    pub const fn from_u8(n: u8) -> Self {
        match n {
            1 => Self::Bypass,
            2 => Self::Protect,
            _ => Self::Discard,
        }
    }

    /// `PROTECT`, `BYPASS` or `DISCARD`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discard => "DISCARD",
            Self::Bypass => "BYPASS",
            Self::Protect => "PROTECT",
        }
    }
}

/// Which of RFC 4301's three databases an entry stands in (RFC 4301 §4.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Applies {
    /// Both ways: SPD-S for PROTECT, SPD-O and SPD-I for BYPASS and DISCARD.
    #[default]
    Both = 0,
    /// SPD-I: to what arrives in clear from outside.
    Inbound = 1,
    /// SPD-O: to what leaves.
    Outbound = 2,
}

impl Applies {
    /// From the byte in shared memory; anything unknown is [`Applies::Both`].
    pub const fn from_u8(n: u8) -> Self {
        match n {
            1 => Self::Inbound,
            2 => Self::Outbound,
            _ => Self::Both,
        }
    }

    /// `both`, `in` or `out`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Inbound => "in",
            Self::Outbound => "out",
        }
    }

    /// Whether it counts for what leaves (`out`) or for what arrives in clear.
    pub const fn counts(self, out: bool) -> bool {
        match self {
            Self::Both => true,
            Self::Inbound => !out,
            Self::Outbound => out,
        }
    }
}

/// One SPD entry as it lies in shared memory.
///
/// Outbound it covers local → remote; inbound the same pair decides what may arrive in clear from outside.
/// The SA that a PROTECT entry seals into is not here but in the region's policy→SA links, which change by one
/// store at a rekey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PolicyRecord {
    /// What the entry covers.
    pub selector: Selector,
    /// Order: the lowest number that covers a packet decides; of equal ones the lower slot.
    pub priority: u64,
    /// An [`Action`].
    pub action: u8,
    /// An [`Applies`]; a PROTECT entry always counts both ways.
    pub applies: u8,
    /// PFP flags, see [`FromPacket`].
    pub from_packet: u8,
    /// Zero.
    pub reserved: [u8; 5],
    /// Free for control's own book-keeping (not read by the data plane).
    pub cookie: u64,
    /// Zero.
    pub spare: [u64; 2],
}

impl PolicyRecord {
    /// An entry of this order and action.
    pub fn new(selector: Selector, priority: u64, action: Action) -> Self {
        Self {
            selector,
            priority,
            action: action as u8,
            applies: Applies::Both as u8,
            from_packet: 0,
            reserved: [0; 5],
            cookie: 0,
            spare: [0; 2],
        }
    }

    /// The action.
    pub const fn action(&self) -> Action {
        Action::from_u8(self.action)
    }

    /// In which directions it counts.
    pub const fn applies(&self) -> Applies {
        match self.action() {
            Action::Protect => Applies::Both,
            _ => Applies::from_u8(self.applies),
        }
    }

    /// The PFP flags.
    pub const fn from_packet(&self) -> FromPacket {
        FromPacket::from_bits(self.from_packet)
    }
}

const _: () = assert!(size_of::<PolicyRecord>() == 120);

/// The name of an SPD entry, kept beside it so that a restarted control finds it again; the data plane does
/// not read it. An SA bears the name of its policy.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct PolicyName([u8; PolicyName::MAX]);

impl PolicyName {
    /// Bytes of the longest name.
    pub const MAX: usize = 56;

    /// A name; `None` if it is longer than [`PolicyName::MAX`] bytes or holds a zero byte.
    pub fn new(name: &str) -> Option<Self> {
        let mut bytes = [0; Self::MAX];
        bytes
            .get_mut(..name.len())?
            .copy_from_slice(name.as_bytes());
        (!name.contains('\0')).then_some(Self(bytes))
    }

    /// The text, or an empty one if memory holds anything else than UTF-8.
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(Self::MAX);
        std::str::from_utf8(&self.0[..end]).unwrap_or_default()
    }
}

const _: () = assert!(size_of::<PolicyName>() == 56);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_back_and_one_too_long_is_refused() {
        let name = PolicyName::new("site-b/net").unwrap();
        assert_eq!(name.as_str(), "site-b/net");
        let longest = "x".repeat(PolicyName::MAX);
        assert_eq!(PolicyName::new(&longest).unwrap().as_str(), longest);
        assert!(PolicyName::new(&"x".repeat(PolicyName::MAX + 1)).is_none());
        assert!(PolicyName::new("a\0b").is_none());
        assert_eq!(PolicyName([0xff; PolicyName::MAX]).as_str(), "");
    }
}
