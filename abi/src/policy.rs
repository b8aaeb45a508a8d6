//! SPD entries (RFC 4301 §4.4.1).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::selector::Selector;

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

/// One SPD entry as it lies in shared memory.
///
/// It holds for both directions: outbound it covers local → remote, and the same pair decides what
/// may arrive in clear from outside. The SA that a PROTECT entry seals into is not here but in the
/// region's policy→SA links, which change by one store at a rekey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PolicyRecord {
    /// What the entry covers.
    pub selector: Selector,
    /// Order: the lowest number that covers a packet decides; of equal ones the lower slot.
    pub priority: u64,
    /// An [`Action`].
    pub action: u8,
    /// Zero.
    pub reserved: [u8; 7],
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
            reserved: [0; 7],
            cookie: 0,
            spare: [0; 2],
        }
    }

    /// The action.
    pub const fn action(&self) -> Action {
        Action::from_u8(self.action)
    }
}

const _: () = assert!(size_of::<PolicyRecord>() == 120);
