//! What somebody asks for: an SA or a policy, before it has a place in the table.

use adit_abi::{
    Action, Address, Applies, Direction, FromPacket, Limits, Mode, PolicyName, PolicyRecord,
    Protocol, SaFlags, SaKey, SaRecord, Selector, SelectorSet, Spi,
};
use thiserror::Error;
use zerocopy::FromZeros;
use zeroize::Zeroizing;

use super::packet_rules::PacketRules;
use crate::esp_proposal::EspProposal;
use crate::secret::Secret;

/// Where an entry comes from: what the file no longer names goes away, what a command put in stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `adit.toml`.
    File,
    /// The control socket.
    Command,
    /// IKE, which also takes it away.
    Ike,
}

impl Origin {
    /// Bits of a record's cookie that say where it comes from.
    const BITS: u32 = 2;

    const fn number(self) -> u32 {
        match self {
            Self::Command => 0,
            Self::File => 1,
            Self::Ike => 2,
        }
    }

    /// From the lowest bits of a record's cookie.
    pub const fn from_cookie(cookie: u64) -> Self {
        match cookie & ((1 << Self::BITS) - 1) {
            1 => Self::File,
            2 => Self::Ike,
            _ => Self::Command,
        }
    }

    /// The cookie of an SA.
    pub(super) const fn cookie(self, unique: u32) -> u32 {
        unique << Self::BITS | self.number()
    }
}

/// A lifetime as people give it; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// Seconds from now.
    pub seconds: u64,
    /// Bytes of inner packets.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
}

impl Lifetime {
    fn limits(&self, now: u64) -> Limits {
        let expires = match self.seconds {
            0 => 0,
            s => now.saturating_add(s.saturating_mul(1_000_000_000)),
        };
        Limits {
            packets: self.packets,
            bytes: self.bytes,
            expires,
        }
    }
}

/// UDP encapsulation (RFC 3948), host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encap {
    /// Outer source port.
    pub source: u16,
    /// Outer destination port.
    pub destination: u16,
}

/// The DF bit of an outer IPv4 header (RFC 4301 §8.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DontFragment {
    /// As the inner packet has it.
    #[default]
    Copy,
    /// Always set.
    Set,
    /// Never set.
    Clear,
}

impl DontFragment {
    /// The words for them.
    pub const WORDS: [(&'static str, Self); 3] = [
        ("copy", Self::Copy),
        ("set", Self::Set),
        ("clear", Self::Clear),
    ];
}

/// An SA to be put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaSpec {
    /// The index.
    pub spi: Spi,
    /// Which way it carries traffic.
    pub direction: Direction,
    /// Outer source.
    pub source: Address,
    /// Outer destination; with the SPI the key.
    pub destination: Address,
    /// What it carries of a packet.
    pub mode: Mode,
    /// Suite and ESN.
    pub proposal: EspProposal,
    /// Encryption key, the salt of counter-mode suites at its end.
    pub enc_key: Secret,
    /// Integrity key, empty where the suite has none.
    pub auth_key: Secret,
    /// UDP encapsulation, if any.
    pub encap: Option<Encap>,
    /// Anti-replay window in packets; 0 checks nothing.
    pub window: u16,
    /// Reaching it raises an event.
    pub soft: Lifetime,
    /// Past it, packets are dropped and the SA goes.
    pub hard: Lifetime,
    /// What may travel through it; `local` is the protected side of this gateway.
    pub selectors: SelectorSet,
    /// The policy it belongs to, by name.
    pub policy: Option<String>,
    /// Whether this end sends NAT keepalives.
    pub keepalive: bool,
    /// DSCP of the outer header; [`None`] copies the inner one's.
    pub dscp: Option<u8>,
    /// The outer DF bit.
    pub df: DontFragment,
    /// What else is to be done with its packets.
    pub packets: PacketRules,
    /// SPI of the AH SA to the same destination that goes around it.
    pub around: Option<Spi>,
    /// Whether an AH header over IPv4 is padded to 8 bytes, as Linux does.
    pub ah_align_8: bool,
    /// Transport mode through a NAT: source and destination as the sender wrote them (RFC 3948 §3.1.2).
    pub original: Option<(Address, Address)>,
    /// The last sequence number that counts as used; 0 for a fresh SA.
    pub last_sequence: u64,
    /// Where it comes from.
    pub origin: Origin,
}

/// Why an SA or a policy cannot be put in, or is not there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SadbError {
    /// RFC 4303 §2.1.
    #[error("SPI {0:?} is reserved: take one above 0x000000ff")]
    ReservedSpi(Spi),
    /// The table's key is taken.
    #[error("there is an SA with SPI {:?} to {} already: delete it first", .0.spi, .0.destination)]
    KeyInUse(SaKey),
    /// A file that gives a living SA other settings.
    #[error(
        "the SA with SPI {:?} to {} lives with other settings, and its keys have been used: give the new one an SPI and keys of its own",
        .0.spi, .0.destination
    )]
    ChangedInUse(SaKey),
    /// A key of the wrong length.
    #[error("{suite} needs {expected} octets of {what} key, {found} were given")]
    KeyLength {
        /// The suite's name.
        suite: String,
        /// `encryption` (salt included) or `integrity`.
        what: &'static str,
        /// Octets needed.
        expected: usize,
        /// Octets given.
        found: usize,
    },
    /// A window out of bounds.
    #[error(
        "the anti-replay window is {found} packets: it is 0 or 64 to {most}, raise `gateway.table.window` for more"
    )]
    Window {
        /// Given.
        found: u16,
        /// The table's largest.
        most: u16,
    },
    /// Outer addresses that do not fit each other.
    #[error(
        "the outer addresses {source_address} and {destination} must be two unicast addresses of one family"
    )]
    OuterAddresses {
        /// Outer source.
        source_address: Address,
        /// Outer destination.
        destination: Address,
    },
    /// An SA that is not in its place yet.
    #[error("the SA with SPI {:?} to {} is still on its way into the table: try again", .0.spi, .0.destination)]
    UnderWay(SaKey),
    /// RFC 4301 §4.1.
    #[error(
        "transport mode carries only what passes between the SA's own two addresses: local_ts and remote_ts must hold them"
    )]
    Transport,
    /// RFC 7402 App. B.1.1.
    #[error(
        "BEET mode stands for fixed inner addresses: local_ts and remote_ts must be one address each"
    )]
    Beet,
    /// AH with what it cannot go with.
    #[error("AH {0}")]
    Ah(&'static str),
    /// Something of AH's without AH, and the like.
    #[error("{0}")]
    Unfit(&'static str),
    /// What keeps clear packets of a policy from the kernel.
    #[error(
        "the steering program cannot be told what the policy protects, so it was not added: {0}"
    )]
    Steering(String),
    /// A policy that is not there.
    #[error("there is no policy named {0:?}")]
    NoPolicy(String),
    /// A policy that does not seal.
    #[error("the policy {0:?} is not a PROTECT policy, so no SA can belong to it")]
    NotProtect(String),
    /// An SA that cannot be sealed into.
    #[error("the SA with SPI {:?} to {} is not an outbound one in the table", .0.spi, .0.destination)]
    NotOutbound(SaKey),
    /// An SA and a policy that have nothing to do with each other.
    #[error("the SA's selectors cover none of those of the policy {0:?}")]
    NotCovered(String),
    /// A name that is taken.
    #[error("there is a policy named {0:?} already: delete it first")]
    NameInUse(String),
    /// A name that cannot be kept.
    #[error("the name {0:?} must have 1 to {max} bytes, no zero byte", max = PolicyName::MAX)]
    Name(String),
    /// An SA that covers nothing.
    #[error("the SA covers nothing: no local and remote end are of one family and protocol")]
    NothingCovered,
    /// PFP flags on a policy that asks for no SAs.
    #[error(
        "the policy {0:?} takes fields from packets, which only a PROTECT policy does: leave pfp out"
    )]
    FromPacket(String),
    /// A PROTECT policy of one direction.
    #[error("the policy {0:?} protects, and that goes both ways: leave direction out")]
    OneWay(String),
    /// A policy that covers nothing.
    #[error("a policy needs at least one pair of local and remote addresses of one family")]
    NoSelector,
    /// An SA that is not there.
    #[error("there is no SA with SPI {:?} to {}", .0.spi, .0.destination)]
    NoSa(SaKey),
    /// No free place.
    #[error(transparent)]
    Full(#[from] adit_abi::TableFull),
}

impl SaSpec {
    /// The SAD key.
    pub fn key(&self) -> SaKey {
        SaKey::of(self.protocol(), self.spi, self.destination)
    }

    /// The protocol, which the suite tells.
    pub fn protocol(&self) -> Protocol {
        if self.proposal.suite.is_ah() {
            Protocol::Ah
        } else {
            Protocol::Esp
        }
    }

    /// Checks everything that can be checked without the table.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, most_window: u16) -> Result<(), SadbError> {
        //= RFC 4303 §2.1: SPI values 1 to 255 are reserved, 0 is never sent
        if !self.spi.is_usable() {
            return Err(SadbError::ReservedSpi(self.spi));
        }
        let suite = self.proposal.suite;
        let length = |what, expected: usize, key: &Secret| {
            if key.len() == expected {
                Ok(())
            } else {
                Err(SadbError::KeyLength {
                    suite: suite.to_string(),
                    what,
                    expected,
                    found: key.len(),
                })
            }
        };
        length("encryption", suite.enc_key_len(), &self.enc_key)?;
        length("integrity", suite.auth_key_len(), &self.auth_key)?;
        if self.window != 0 && !(64..=most_window).contains(&self.window) {
            return Err(SadbError::Window {
                found: self.window,
                most: most_window,
            });
        }
        if self.source.is_v4() != self.destination.is_v4()
            || !is_unicast(&self.source)
            || !is_unicast(&self.destination)
        {
            return Err(SadbError::OuterAddresses {
                source_address: self.source,
                destination: self.destination,
            });
        }
        if self.selectors.pairs().next().is_none() {
            return Err(SadbError::NothingCovered);
        }
        self.check_mode()?;
        self.check_protocol()
    }

    fn check_mode(&self) -> Result<(), SadbError> {
        match self.mode {
            Mode::Tunnel => Ok(()),
            Mode::Transport => {
                let (local, remote) = match self.direction {
                    Direction::Inbound => (self.destination, self.source),
                    Direction::Outbound => (self.source, self.destination),
                };
                let holds = |s: &Selector| {
                    (s.local_first..=s.local_last).contains(&local)
                        && (s.remote_first..=s.remote_last).contains(&remote)
                };
                if self.selectors.pairs().any(|pair| holds(&pair)) {
                    Ok(())
                } else {
                    Err(SadbError::Transport)
                }
            }
            Mode::Beet => {
                let one =
                    |s: &Selector| s.local_first == s.local_last && s.remote_first == s.remote_last;
                if self.selectors.single().is_some_and(|s| one(&s)) {
                    Ok(())
                } else {
                    Err(SadbError::Beet)
                }
            }
        }
    }

    fn check_protocol(&self) -> Result<(), SadbError> {
        let encap = self.encap.is_some();
        if self.proposal.suite.is_ah() {
            if encap {
                return Err(SadbError::Ah(
                    "covers the addresses that a NAT changes, so it does not go into UDP: leave encap out",
                ));
            }
            if self.mode == Mode::Beet {
                return Err(SadbError::Ah("has no BEET mode: take tunnel or transport"));
            }
            if self.around.is_some() {
                return Err(SadbError::Ah(
                    "has nothing around it: name `around` in the ESP SA",
                ));
            }
        } else if self.ah_align_8 {
            return Err(SadbError::Unfit("ah_align is AH's: leave it out for ESP"));
        }
        if encap && self.around.is_some() {
            return Err(SadbError::Unfit(
                "an SA in UDP has no AH around it: leave `encap` or `around` out",
            ));
        }
        if self.original.is_some() && !(encap && self.mode == Mode::Transport) {
            return Err(SadbError::Unfit(
                "original addresses matter to transport mode in UDP only: leave them out",
            ));
        }
        if self.around.is_some_and(|spi| !spi.is_usable()) {
            return Err(SadbError::ReservedSpi(self.around.unwrap_or(Spi(0))));
        }
        Ok(())
    }

    /// The record for the table. `now` is `CLOCK_BOOTTIME` in nanoseconds, `policy` a slot, `unique` the number
    /// by which people tell SAs apart.
    pub fn record(&self, now: u64, policy: Option<u32>, unique: u32) -> Zeroizing<SaRecord> {
        let mut r = Zeroizing::new(SaRecord::new_zeroed());
        r.spi = self.spi;
        r.protocol = self.protocol() as u8;
        r.direction = self.direction as u8;
        r.mode = self.mode as u8;
        r.set_suite(self.proposal.suite);
        r.destination = self.destination;
        r.source = self.source;
        let mut flags = SaFlags::default();
        let mut set = |yes, flag| {
            if yes {
                flags = flags.with(flag);
            }
        };
        set(self.proposal.esn, SaFlags::ESN);
        set(self.encap.is_some(), SaFlags::UDP_ENCAP);
        set(self.keepalive, SaFlags::KEEPALIVE);
        set(self.df == DontFragment::Set, SaFlags::DF_SET);
        set(self.df == DontFragment::Clear, SaFlags::DF_CLEAR);
        set(self.dscp.is_some(), SaFlags::DSCP_SET);
        set(self.ah_align_8, SaFlags::AH_ALIGN_8);
        r.flags = flags;
        r.policy = policy.map_or(0, |slot| slot + 1);
        r.window = self.window;
        r.dscp = self.dscp.unwrap_or(0);
        self.packets.write(&mut r);
        if let Some(encap) = self.encap {
            r.encap_source = encap.source;
            r.encap_destination = encap.destination;
        }
        fill(&mut r.enc_key, self.enc_key.bytes());
        fill(&mut r.auth_key, self.auth_key.bytes());
        r.soft = self.soft.limits(now);
        r.hard = self.hard.limits(now);
        // Several selectors lie in a table of their own; the SA's place there is put in with the SA.
        r.selector = self
            .selectors
            .single()
            .unwrap_or_else(|| self.selectors.hull());
        r.around = self.around.unwrap_or(Spi(0));
        if let Some((source, destination)) = &self.original {
            r.original_sum = SaRecord::sum_of(source, destination);
        }
        r.cookie = self.origin.cookie(unique);
        r.installed = (now / 1_000_000_000) as u32;
        r
    }
}

/// Whether an address may be an SA's own.
pub(super) fn is_unicast(address: &Address) -> bool {
    let ip = std::net::IpAddr::from(*address);
    !ip.is_unspecified() && !ip.is_multicast()
}

fn fill(to: &mut [u8], from: &[u8]) {
    let n = from.len().min(to.len());
    to[..n].copy_from_slice(&from[..n]);
}

/// The next number by which people tell SAs apart: 30 bits beside the origin in a cookie, never 0.
pub(super) const fn unique_after(unique: u32) -> u32 {
    match (unique + 1) & (u32::MAX >> Origin::BITS) {
        0 => 1,
        next => next,
    }
}

/// The number by which people tell SAs apart, from the record's cookie.
pub fn unique_of(record: &SaRecord) -> u32 {
    record.cookie >> Origin::BITS
}

/// A policy to be put in: one SPD entry for each selector, all under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySpec {
    /// The name.
    pub name: String,
    /// What it covers.
    pub selectors: Vec<Selector>,
    /// What happens to that.
    pub action: Action,
    /// The lowest number that covers a packet decides.
    pub priority: u64,
    /// In which directions it counts; PROTECT always counts in both.
    pub applies: Applies,
    /// Fields that its SAs take from the packet that asked for them (PFP, RFC 4301 §4.4.1.2).
    pub from_packet: FromPacket,
    /// Where it comes from.
    pub origin: Origin,
}

impl PolicySpec {
    /// The name as it is kept in the table.
    ///
    /// # Errors
    /// When it is empty or too long.
    pub fn kept_name(&self) -> Result<PolicyName, SadbError> {
        PolicyName::new(&self.name)
            .filter(|_| !self.name.is_empty())
            .ok_or_else(|| SadbError::Name(self.name.clone()))
    }

    /// One record for each selector.
    pub fn records(&self) -> impl Iterator<Item = PolicyRecord> {
        self.selectors.iter().map(|selector| {
            let mut r = PolicyRecord::new(*selector, self.priority, self.action);
            r.applies = self.applies as u8;
            r.from_packet = self.from_packet.bits();
            r.cookie = self.origin.number().into();
            r
        })
    }
}
