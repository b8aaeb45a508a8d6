//! The event ring: what the data plane tells control without waiting for it.
//!
//! One ring a worker, one producer each. It overwrites its oldest events; a reader sees by the numbers how
//! many it missed. Every event is a cache line whose first word is its number, written last.

use crate::address::Address;
use crate::drop_reason::DropReason;
use crate::layout::{EVENT_WORDS, EVENTS};
use crate::sa::SaRef;
use crate::selector::Flow;
use crate::sync::{AtomicU64, Ordering, fence};

/// Something that control should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Forwarding waits for a neighbour's Ethernet address.
    NeighbourNeeded {
        /// Port number.
        port: u8,
        /// Who to resolve.
        address: Address,
    },
    /// An SA reached its soft lifetime (RFC 4301 §4.4.2.1).
    SoftExpired(SaRef),
    /// An SA reached its hard lifetime.
    HardExpired(SaRef),
    /// An inbound SA opened its first packet.
    FirstPacket(SaRef),
    /// An outbound SA has no sequence numbers left (RFC 4303 §3.3.3).
    SequenceExhausted(SaRef),
    /// A message from outside lowered an outbound SA's path MTU (RFC 4301 §8.2.1).
    PathMtu {
        /// The SA.
        sa: SaRef,
        /// Bytes of an outer packet.
        bytes: u16,
    },
    /// A packet needs an SA that is not there (RFC 4301 §5.1).
    Acquire {
        /// Slot of the policy.
        policy: u32,
        /// What selectors see of the packet; `local` is its source.
        flow: Flow,
        /// Whether it shows its ports.
        ports: bool,
    },
    /// A packet was discarded because policy says so, or does not cover it (RFC 4301 §5.1, §5.2).
    Discarded {
        /// Slot of the policy, `u32::MAX` for none.
        policy: u32,
        /// Why.
        reason: DropReason,
        /// Whether it came in from outside.
        inbound: bool,
        /// What selectors see of the packet; `local` is the protected end.
        flow: Flow,
        /// Whether it shows its ports.
        ports: bool,
    },
}

/// Set in an event about a packet that shows its ports.
const PORTS_SHOWN: u64 = 1 << 16;

/// The words of an event about a flow; `more` has 16 bits.
fn with_flow(
    kind: u64,
    policy: u32,
    flow: &Flow,
    ports: bool,
    more: u64,
) -> [u64; EVENT_WORDS - 2] {
    let ([a, b], [c, d]) = (flow.local.to_words(), flow.remote.to_words());
    let rest = u64::from(flow.local_port) << 48
        | u64::from(flow.remote_port) << 32
        | u64::from(flow.protocol) << 24
        | if ports { PORTS_SHOWN } else { 0 }
        | more;
    [kind | u64::from(policy) << 32, a, b, c, d, rest]
}

impl Event {
    fn encode(&self) -> [u64; EVENT_WORDS - 2] {
        let sa = |kind, r: &SaRef| [kind, SaRef::to_word(Some(*r)), 0, 0, 0, 0];
        match self {
            Self::NeighbourNeeded { port, address } => {
                let [a, b] = address.to_words();
                [1, u64::from(*port), a, b, 0, 0]
            }
            Self::SoftExpired(r) => sa(2, r),
            Self::HardExpired(r) => sa(3, r),
            Self::FirstPacket(r) => sa(4, r),
            Self::SequenceExhausted(r) => sa(5, r),
            Self::PathMtu { sa, bytes } => {
                [7, SaRef::to_word(Some(*sa)), u64::from(*bytes), 0, 0, 0]
            }
            Self::Acquire {
                policy,
                flow,
                ports,
            } => with_flow(6, *policy, flow, *ports, 0),
            Self::Discarded {
                policy,
                reason,
                inbound,
                flow,
                ports,
            } => {
                let more = u64::from(*reason as u8) << 8 | u64::from(*inbound);
                with_flow(9, *policy, flow, *ports, more)
            }
        }
    }

    fn decode(w: [u64; EVENT_WORDS - 2]) -> Option<Self> {
        let address = |a: u64, b: u64| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&a.to_ne_bytes());
            bytes[8..].copy_from_slice(&b.to_ne_bytes());
            Address(bytes)
        };
        let sa = || SaRef::from_word(w[1]);
        Some(match w[0] as u32 {
            1 => Self::NeighbourNeeded {
                port: u8::try_from(w[1]).ok()?,
                address: address(w[2], w[3]),
            },
            2 => Self::SoftExpired(sa()?),
            3 => Self::HardExpired(sa()?),
            4 => Self::FirstPacket(sa()?),
            5 => Self::SequenceExhausted(sa()?),
            7 => Self::PathMtu {
                sa: sa()?,
                bytes: u16::try_from(w[2]).ok()?,
            },
            kind @ (6 | 9) => {
                let policy = (w[0] >> 32) as u32;
                let flow = Flow {
                    local: address(w[1], w[2]),
                    remote: address(w[3], w[4]),
                    protocol: (w[5] >> 24) as u8,
                    local_port: (w[5] >> 48) as u16,
                    remote_port: (w[5] >> 32) as u16,
                };
                let ports = w[5] & PORTS_SHOWN != 0;
                if kind == 6 {
                    return Some(Self::Acquire {
                        policy,
                        flow,
                        ports,
                    });
                }
                let reason = (w[5] >> 8) as u8;
                Self::Discarded {
                    policy,
                    reason: *DropReason::ALL.iter().find(|r| **r as u8 == reason)?,
                    inbound: w[5] & 1 == 1,
                    flow,
                    ports,
                }
            }
            _ => return None,
        })
    }
}

/// The producing end of one worker's ring.
#[derive(Clone, Copy)]
pub struct EventRing<'a> {
    words: &'a [AtomicU64],
}

impl<'a> EventRing<'a> {
    pub(crate) fn new(words: &'a [AtomicU64]) -> Self {
        Self { words }
    }

    fn event(&self, number: u64) -> &'a [AtomicU64] {
        let at = EVENT_WORDS + (number as usize % EVENTS) * EVENT_WORDS;
        &self.words[at..at + EVENT_WORDS]
    }

    /// Adds an event at `now` (`CLOCK_BOOTTIME` nanoseconds). Only the ring's own worker may call this.
    pub fn push(&self, now: u64, event: Event) {
        let number = self.words[0].load(Ordering::Relaxed).wrapping_add(1);
        let place = self.event(number);
        place[0].store(0, Ordering::Relaxed);
        fence(Ordering::Release);
        place[1].store(now, Ordering::Relaxed);
        for (word, value) in place[2..].iter().zip(event.encode()) {
            word.store(value, Ordering::Relaxed);
        }
        place[0].store(number, Ordering::Release);
        self.words[0].store(number, Ordering::Release);
    }
}

/// Control's place in one worker's ring.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventReader {
    next: u64,
}

impl EventReader {
    /// A reader that begins with what comes after now.
    pub fn at_end(ring: &EventRing<'_>) -> Self {
        Self {
            next: ring.words[0].load(Ordering::Acquire).wrapping_add(1),
        }
    }

    /// The next event with its time, and how many were lost before it. `None` when there is none.
    ///
    /// Garbage in the ring costs at most a jump to its end.
    pub fn next(&mut self, ring: &EventRing<'_>) -> Option<(u64, Event, u64)> {
        let head = ring.words[0].load(Ordering::Acquire);
        self.next = self.next.max(1);
        let waiting = head.wrapping_add(1).wrapping_sub(self.next);
        if waiting == 0 || head == u64::MAX {
            return None;
        }
        let mut lost = 0;
        if waiting > EVENTS as u64 {
            let oldest = head.saturating_sub(EVENTS as u64 - 1).max(1);
            lost = oldest.saturating_sub(self.next);
            self.next = oldest;
        }
        for _ in 0..EVENTS {
            if self.next > head {
                return None;
            }
            let place = ring.event(self.next);
            let number = place[0].load(Ordering::Acquire);
            let time = place[1].load(Ordering::Relaxed);
            let mut words = [0; EVENT_WORDS - 2];
            for (value, word) in words.iter_mut().zip(&place[2..]) {
                *value = word.load(Ordering::Relaxed);
            }
            fence(Ordering::Acquire);
            let whole = number == self.next && place[0].load(Ordering::Relaxed) == number;
            self.next += 1;
            match Event::decode(words) {
                Some(event) if whole => return Some((time, event, lost)),
                _ => lost += 1,
            }
        }
        None
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::layout::EVENT_RING_WORDS;

    fn ring() -> Vec<AtomicU64> {
        (0..EVENT_RING_WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    fn sa(n: u32) -> Event {
        Event::SoftExpired(SaRef {
            slot: n,
            generation: 1,
        })
    }

    #[test]
    fn events_come_out_in_order() {
        let words = ring();
        let ring = EventRing::new(&words);
        let mut reader = EventReader::default();
        assert_eq!(reader.next(&ring), None);
        let flow = Flow {
            local: Address::v4([10, 0, 0, 1]),
            remote: Address::v4([10, 0, 0, 2]),
            protocol: 17,
            local_port: 0xfedc,
            remote_port: 53,
        };
        let acquire = Event::Acquire {
            policy: 7,
            flow,
            ports: true,
        };
        let discarded = Event::Discarded {
            policy: u32::MAX,
            reason: DropReason::ClearUnderProtect,
            inbound: true,
            flow,
            ports: false,
        };
        let neighbour = Event::NeighbourNeeded {
            port: 3,
            address: Address::v4([192, 0, 2, 9]),
        };
        ring.push(5, acquire);
        ring.push(6, neighbour);
        ring.push(7, discarded);
        assert_eq!(reader.next(&ring), Some((5, acquire, 0)));
        assert_eq!(reader.next(&ring), Some((6, neighbour, 0)));
        assert_eq!(reader.next(&ring), Some((7, discarded, 0)));
        assert_eq!(reader.next(&ring), None);
    }

    #[test]
    fn a_slow_reader_learns_how_many_it_lost() {
        let words = ring();
        let ring = EventRing::new(&words);
        let mut reader = EventReader::default();
        for n in 0..EVENTS as u32 + 10 {
            ring.push(0, sa(n));
        }
        assert_eq!(reader.next(&ring), Some((0, sa(10), 10)));
        assert_eq!(reader.next(&ring), Some((0, sa(11), 0)));
    }

    #[test]
    fn a_ring_full_of_garbage_ends_the_reading() {
        for fill in [u64::MAX, u64::MAX / 2, 1 << 40] {
            let words: Vec<_> = (0..EVENT_RING_WORDS)
                .map(|_| AtomicU64::new(fill))
                .collect();
            let ring = EventRing::new(&words);
            let mut reader = EventReader::default();
            for _ in 0..4 {
                let _ = reader.next(&ring);
            }
        }
    }
}
