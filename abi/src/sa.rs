//! Security associations (RFC 4301 §4.1, §4.4.2) as they lie in shared memory.

use std::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
use zeroize::Zeroize;

use crate::address::Address;
use crate::selector::Selector;
use crate::suite::Suite;

/// A Security Parameters Index (RFC 4303 §2.1), host byte order.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Spi(pub u32);

impl Spi {
    /// Whether the number may be used on the wire: 0–255 are reserved (RFC 4303 §2.1).
    pub const fn is_usable(self) -> bool {
        self.0 > 255
    }
}

impl fmt::Display for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

/// The IPsec protocol of an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Protocol {
    /// Encapsulating Security Payload, IP protocol 50 (RFC 4303).
    Esp = 50,
    /// Authentication Header, IP protocol 51 (RFC 4302).
    Ah = 51,
}

/// Which way an SA carries traffic; an SA is one direction (RFC 4301 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Direction {
    /// Opens what arrives from outside.
    Inbound = 1,
    /// Seals what leaves to the outside.
    Outbound = 2,
}

/// What an SA carries of a packet (RFC 4301 §4.1, RFC 7402 App. B).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Mode {
    /// Whole inner packet.
    Tunnel = 1,
    /// Upper-layer payload only.
    Transport = 2,
    /// Upper-layer payload between fixed inner addresses, which the SA's selector names and the wire never
    /// shows.
    Beet = 3,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Tunnel, Self::Transport, Self::Beet];

    /// `tunnel`, `transport` or `beet`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tunnel => "tunnel",
            Self::Transport => "transport",
            Self::Beet => "beet",
        }
    }
}

/// The key of the SAD: an RSIP server demultiplexes by exactly this (RFC 3104 §3), and so does RFC 4301 §4.1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SaKey {
    /// The index.
    pub spi: Spi,
    /// IP protocol number, 50 or 51.
    pub protocol: u8,
    /// Outer destination address.
    pub destination: Address,
}

impl SaKey {
    /// The key of an ESP SA.
    pub const fn esp(spi: Spi, destination: Address) -> Self {
        Self::of(Protocol::Esp, spi, destination)
    }

    /// The key of an AH SA.
    pub const fn ah(spi: Spi, destination: Address) -> Self {
        Self::of(Protocol::Ah, spi, destination)
    }

    /// The key of an SA of either protocol.
    pub const fn of(protocol: Protocol, spi: Spi, destination: Address) -> Self {
        Self {
            spi,
            protocol: protocol as u8,
            destination,
        }
    }
}

impl fmt::Debug for SaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.spi, self.protocol, self.destination)
    }
}

/// A place in the SA table together with the generation that was seen there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SaRef {
    /// Slot number.
    pub slot: u32,
    /// Generation, never 0: a slot reused for another SA has a higher one.
    pub generation: u32,
}

impl SaRef {
    /// One word for shared memory; 0 stands for "none".
    pub const fn to_word(this: Option<Self>) -> u64 {
        match this {
            Some(r) => (r.slot as u64) << 32 | r.generation as u64,
            None => 0,
        }
    }

    /// The inverse of [`SaRef::to_word`].
    pub const fn from_word(word: u64) -> Option<Self> {
        let generation = word as u32;
        if generation == 0 {
            None
        } else {
            Some(Self {
                // Slots have 24 bits; what lies above belongs to a [`crate::PolicyLink`].
                slot: (word >> 32) as u32 & 0xff_ffff,
                generation,
            })
        }
    }
}

/// Flag bits of an [`SaRecord`].
#[derive(Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct SaFlags(pub u32);

impl SaFlags {
    /// 64-bit extended sequence numbers (RFC 4304).
    pub const ESN: Self = Self(1);
    /// UDP encapsulation with the record's ports (RFC 3948).
    pub const UDP_ENCAP: Self = Self(1 << 1);
    /// Outer DF is always set; with neither this nor [`SaFlags::DF_CLEAR`] it is copied (RFC 4301 §8.1).
    pub const DF_SET: Self = Self(1 << 2);
    /// Outer DF is never set.
    pub const DF_CLEAR: Self = Self(1 << 3);
    /// The DSCP field of the record goes into the outer header instead of a copy of the inner one.
    pub const DSCP_SET: Self = Self(1 << 4);
    /// ECN bits are not copied to the outer header.
    pub const NO_ECN: Self = Self(1 << 5);
    /// This end sends NAT keepalives for the SA (RFC 3948 §4).
    pub const KEEPALIVE: Self = Self(1 << 6);
    /// An AH header over IPv4 is padded to 8 bytes as Linux does, not to the 4 of RFC 4302 §3.3.3.2.1.
    pub const AH_ALIGN_8: Self = Self(1 << 7);
    /// What is too big for the path is cut after it is sealed where the outer header allows it, not before
    /// (RFC 4301 §8.2.1).
    pub const FRAGMENT_AFTER: Self = Self(1 << 16);
    /// The outer IPv6 flow label is a hash of the inner flow (RFC 6438); with neither this nor
    /// [`SaFlags::FLOW_COPY`] it is 0.
    pub const FLOW_HASH: Self = Self(1 << 17);
    /// The outer IPv6 flow label is the inner packet's own, 0 for IPv4 inside.
    pub const FLOW_COPY: Self = Self(1 << 18);
    /// The inner DSCP is looked up in [`crate::Settings::dscp_map`] for the outer header.
    pub const DSCP_MAP: Self = Self(1 << 19);
    /// Later fragments travel through the SA although it selects by port, once their first fragment did
    /// (RFC 4301 §7.3).
    pub const STATEFUL_FRAGMENTS: Self = Self(1 << 20);
    /// ICMP errors must quote a packet that the SA would carry the other way, even where their own header
    /// fits the selectors (RFC 4301 §6.2).
    pub const ICMP_CHECK: Self = Self(1 << 21);
    /// The SA sends dummy packets, [`SaRecord::dummies`] a second.
    pub const DUMMIES: Self = Self(1 << 22);

    /// Whether every bit of `other` is set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any bit of `other` is set.
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both sets of bits.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for SaFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SaFlags({:#x})", self.0)
    }
}

/// One set of lifetime limits (RFC 4301 §4.4.2.1); 0 is no limit.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Limits {
    /// Packets.
    pub packets: u64,
    /// Bytes of inner packets.
    pub bytes: u64,
    /// A moment of `CLOCK_BOOTTIME`, in nanoseconds.
    pub expires: u64,
}

/// One SA in shared memory: 312 bytes, with the slot's generation word five cache lines.
///
/// With that word in front, what the look-up and the outer header need fills line 0; keys, lifetimes
/// and selector follow and are copied once per generation.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SaRecord {
    /// The index.
    pub spi: Spi,
    /// IP protocol number, 50 or 51.
    pub protocol: u8,
    /// A [`Direction`].
    pub direction: u8,
    /// A [`Mode`].
    pub mode: u8,
    /// The code of an [`Encryption`](crate::Encryption), 0 for AH.
    pub encryption: u8,
    /// Outer destination address; with SPI and protocol the key.
    pub destination: Address,
    /// Outer source address.
    pub source: Address,
    /// Flags.
    pub flags: SaFlags,
    /// Slot of the policy it belongs to, plus 1; 0 for none.
    pub policy: u32,
    /// Anti-replay window in packets, 64–8192; 0 checks nothing (RFC 4303 §3.4.3).
    pub window: u16,
    /// Outer UDP source port, host byte order.
    pub encap_source: u16,
    /// Outer UDP destination port, host byte order.
    pub encap_destination: u16,
    /// Path MTU of the outer path in bytes, 0 for the port's.
    pub path_mtu: u16,

    /// Encryption key, with the salt or nonce of counter-mode suites at its end (RFC 4106 §8.1, RFC 7634 §2).
    pub enc_key: [u8; Self::ENC_KEY],
    /// DSCP for the outer header under [`SaFlags::DSCP_SET`].
    pub dscp: u8,
    /// TTL or hop limit of the outer header, 0 for 64.
    pub hop_limit: u8,
    /// The code of an [`Integrity`](crate::Integrity), 0 where the encryption transform authenticates.
    pub integrity: u8,
    /// Zero.
    pub reserved: u8,
    /// Integrity key.
    pub auth_key: [u8; Self::AUTH_KEY],

    /// Soft limits: reaching one raises an event.
    pub soft: Limits,
    /// Hard limits: past one, packets are dropped.
    pub hard: Limits,
    /// What may travel through the SA; `local` is the protected side of this gateway in both directions. Of an SA
    /// with a `selector_set` it is the hull, and the set decides.
    pub selector: Selector,
    /// Free for control's own book-keeping (not read by the data plane).
    pub cookie: u32,
    /// Slot of its [`crate::SelectorSet`], plus 1; 0 for an SA with one selector.
    pub selector_set: u32,
    /// When control put it in, `CLOCK_BOOTTIME` seconds (not read by the data plane).
    pub installed: u32,
    /// Transport mode through a NAT: the folded one's-complement sum of the two addresses that the sender wrote
    /// (RFC 3948 §3.1.2), 0 where they are not known.
    pub original_sum: u16,
    /// Zero.
    pub reserved_2: [u8; 2],
    /// Inner packets are padded to this many bytes (RFC 4303 §2.7), 0 for none; more than fits the path pads
    /// to what does.
    pub tfc_size: u16,
    /// Dummy packets sent a second (RFC 4303 §2.6), 0 for none.
    pub dummies: u16,
    /// SPI of the AH SA to the same destination that goes around this one (RFC 4301 §4.1), 0 for none.
    pub around: Spi,
}

const _: () = assert!(size_of::<SaRecord>() == 312);
const _: () = assert!(
    std::mem::offset_of!(SaRecord, enc_key) + 8 == 64,
    "line 0 ends where keys begin"
);

impl SaRecord {
    /// Octets that an encryption key can have: AES-256 and 4 octets of salt.
    pub const ENC_KEY: usize = 36;
    /// Octets that an integrity key can have: HMAC-SHA-512's.
    pub const AUTH_KEY: usize = 64;

    /// The SAD key.
    pub const fn key(&self) -> SaKey {
        SaKey {
            spi: self.spi,
            protocol: self.protocol,
            destination: self.destination,
        }
    }

    /// What [`SaRecord::original_sum`] is for these two addresses.
    pub fn sum_of(source: &Address, destination: &Address) -> u16 {
        let words = [source, destination]
            .into_iter()
            .flat_map(|a| a.0.as_chunks::<2>().0)
            .map(|word| u64::from(u16::from_be_bytes(*word)));
        let mut sum: u64 = words.sum();
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    /// The suite, or `None` for bytes that name none, or one of the other protocol.
    pub fn suite(&self) -> Option<Suite> {
        let suite = Suite::from_codes(self.encryption, self.integrity)?;
        (suite.is_ah() == (self.protocol == Protocol::Ah as u8)).then_some(suite)
    }

    /// Writes the suite's two bytes; the protocol is the caller's to set.
    pub const fn set_suite(&mut self, suite: Suite) {
        (self.encryption, self.integrity) = suite.codes();
    }

    /// The direction, or `None` for an unknown byte.
    pub const fn direction(&self) -> Option<Direction> {
        match self.direction {
            1 => Some(Direction::Inbound),
            2 => Some(Direction::Outbound),
            _ => None,
        }
    }

    /// The mode, or `None` for an unknown byte.
    pub const fn mode(&self) -> Option<Mode> {
        match self.mode {
            1 => Some(Mode::Tunnel),
            2 => Some(Mode::Transport),
            3 => Some(Mode::Beet),
            _ => None,
        }
    }

    /// The key of the AH SA that goes around this one.
    #[inline]
    pub const fn around(&self) -> Option<SaKey> {
        match self.around.0 {
            0 => None,
            _ => Some(SaKey::ah(self.around, self.destination)),
        }
    }

    /// Whether the SA uses 64-bit sequence numbers.
    #[inline]
    pub const fn esn(&self) -> bool {
        self.flags.contains(SaFlags::ESN)
    }

    /// The highest sequence number that may be sent (RFC 4303 §3.3.3): it must not cycle.
    #[inline]
    pub const fn last_sequence(&self) -> u64 {
        if self.esn() {
            u64::MAX - 1
        } else {
            u32::MAX as u64
        }
    }
}

impl Zeroize for SaRecord {
    fn zeroize(&mut self) {
        self.enc_key.zeroize();
        self.auth_key.zeroize();
    }
}

/// Keys never appear.
impl fmt::Debug for SaRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaRecord")
            .field("key", &self.key())
            .field("direction", &self.direction())
            .field("mode", &self.mode())
            .field("suite", &self.suite())
            .field("source", &self.source)
            .field("flags", &self.flags)
            .field("window", &self.window)
            .field("selector", &self.selector)
            .finish_non_exhaustive()
    }
}
