//! The path MTU of an SA: what routers between the gateways say, believed when it is plausible, and forgotten
//! after a while (RFC 4301 §6.1.1, §8.2).
//!
//! Anybody can send ICMP. A message counts if it quotes a packet that this gateway has sealed lately: its addresses, SPI,
//! ports and a sequence number of the last few thousand; if the packet was larger than the MTU that is told; and it
//! never lowers the path MTU below a bound. The senders inside learn of it when they next send what is too big.

use std::sync::atomic::Ordering;

use adit_abi::{LearnedMtu, Protocol, SaKey, SaRecord, SaState, Settings, Spi};
use zerocopy::FromBytes;

use crate::headers::icmp::Icmp;
use crate::headers::{ipv6, protocol, udp};
use crate::packet::Packet;
use crate::quoted::Quoted;
use crate::udp_encap;

/// How old a quoted sequence number may be: what a fast sender has under way in a round trip.
const RECENT: u32 = 1 << 16;

/// The MTUs that links have, for routers that tell none (RFC 1191 §7.1).
const PLATEAUS: [u16; 9] = [32000, 17914, 8166, 4352, 2002, 1492, 1006, 576, 508];

/// The largest outer packet of an SA, in bytes, at `now` (`CLOCK_BOOTTIME` nanoseconds), where `egress` is the
/// most that the way out takes.
#[inline]
pub fn of_sa(
    record: &SaRecord,
    state: &SaState<'_>,
    egress: u16,
    settings: &Settings,
    now: u64,
) -> u16 {
    let path = match record.path_mtu {
        0 => egress,
        path => path.min(egress),
    };
    //= RFC 4301 §8.2.2: the path MTU is aged: what was learned is forgotten after a time that is configured
    match LearnedMtu::from_word(state.learned_mtu().load(Ordering::Relaxed)) {
        Some(learned) if learned.holds(now, settings.path_mtu_seconds) => path.min(learned.bytes),
        _ => path,
    }
}

/// Remembers a path MTU learned at `now` (`CLOCK_BOOTTIME` nanoseconds).
pub fn remember(state: &SaState<'_>, bytes: u16, now: u64) {
    let learned = LearnedMtu {
        bytes,
        at: now / 1_000_000,
    };
    state
        .learned_mtu()
        .store(learned.to_word(), Ordering::Relaxed);
}

/// An ICMP error from outside about a packet of this gateway's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AboutSa {
    /// The key of the SA that the packet seems to have been sealed under.
    pub key: SaKey,
    /// Who sent it: to be the SA's source.
    pub source: adit_abi::Address,
    /// The low half of its sequence number, if it is quoted.
    pub sequence: Option<u32>,
    /// Its UDP ports, if it was encapsulated.
    pub ports: Option<[u16; 2]>,
    /// The MTU told, if it is that kind of message.
    pub mtu: Option<u16>,
    /// Bytes that the quoted packet had.
    pub len: usize,
}

/// What an ICMP error from outside is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// A sealed packet.
    Sealed(AboutSa),
    /// An IKE message, or something on IKE's ports of which not enough is quoted to tell.
    Ike,
    /// Anything else.
    Other,
}

impl About {
    /// Reads an ICMP error.
    pub fn read(error: &Packet) -> Self {
        let Some(quoted) = Quoted::of(error) else {
            return Self::Other;
        };
        let word = |at: usize| {
            let bytes = quoted.upper.get(at..)?.first_chunk::<4>()?;
            Some(u32::from_be_bytes(*bytes))
        };
        let (protocol, spi, ports) = match quoted.protocol {
            protocol::ESP => (Protocol::Esp, 0, None),
            protocol::AH => (Protocol::Ah, 4, None),
            protocol::UDP => {
                let Ok((header, _)) = udp::Udp::ref_from_prefix(quoted.upper) else {
                    return Self::Other;
                };
                let ports = [header.source.get(), header.destination.get()];
                match ports[0] {
                    udp_encap::IKE_PORT => return Self::Ike,
                    udp_encap::PORT => (Protocol::Esp, udp::LEN, Some(ports)),
                    _ => return Self::Other,
                }
            }
            _ => return Self::Other,
        };
        let sequence = word(spi + 4);
        match word(spi) {
            // Four octets of zero are IKE's; without them in sight nobody can tell.
            None | Some(0) if ports.is_some() => Self::Ike,
            None => Self::Other,
            Some(spi) => Self::Sealed(AboutSa {
                key: SaKey::of(protocol, Spi(spi), quoted.destination),
                source: quoted.source,
                sequence,
                ports,
                mtu: told_mtu(error, quoted.len),
                len: quoted.len,
            }),
        }
    }
}

impl AboutSa {
    /// Whether an outbound SA may well have sent the quoted packet.
    pub fn is_plausible(&self, record: &SaRecord, state: &SaState<'_>) -> bool {
        let encap = [record.encap_source, record.encap_destination];
        let last = state.sequence().load(Ordering::Relaxed);
        let age = |sequence: u32| (last as u32).wrapping_sub(sequence);
        record.source == self.source
            && self.ports.is_none_or(|ports| ports == encap)
            //= RFC 4301 §8.2.1: the message is mapped to its SA by the quoted packet's headers
            && self.sequence.is_some_and(|s| {
                age(s) < RECENT && (last >= u64::from(RECENT) || u64::from(s) <= last)
            })
    }

    /// The path MTU to remember where packets of `current` bytes go out now; `None` if there is nothing to learn.
    pub fn lesson(&self, current: u16, settings: &Settings) -> Option<u16> {
        let least = if self.source.is_v4() {
            //= RFC 4301 §6.1.1: a bound keeps unauthenticated messages from making the path MTU trivial
            settings.least_path_mtu
        } else {
            //= RFC 8201 §4: a path MTU below the minimum of IPv6 is not taken
            settings.least_path_mtu.max(ipv6::MINIMUM_MTU as u16)
        };
        let told = self.mtu?;
        if usize::from(told) >= self.len || self.len > usize::from(current) {
            return None;
        }
        let learned = told.max(least);
        (learned < current).then_some(learned)
    }
}

/// The MTU that a too-big message tells; the packet it is about had `len` bytes.
fn told_mtu(error: &Packet, len: usize) -> Option<u16> {
    let (header, _) = Icmp::ref_from_prefix(error.upper()).ok()?;
    let rest = header.rest.get();
    match (error.is_v4(), header.kind, header.code) {
        (true, 3, 4) => match rest as u16 {
            //= RFC 1191 §5: a router that tells no MTU: the next lower plateau
            0 => PLATEAUS.into_iter().find(|mtu| usize::from(*mtu) < len),
            mtu => Some(mtu),
        },
        (false, 2, _) => Some(rest.min(u16::MAX.into()) as u16),
        _ => None,
    }
}
