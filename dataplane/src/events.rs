//! Telling control, at a bounded rate.

use adit_abi::{Address, DropReason, Event, EventRing, Flow};

/// Nanoseconds of a second.
pub const SECOND: u64 = 1_000_000_000;

/// Lets through so many a second, and a tenth of that at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenBucket {
    /// Nanoseconds' worth of credit.
    credit: u64,
    last: u64,
}

impl TokenBucket {
    /// Takes one at `now` (nanoseconds), if `per_second` allows it.
    pub fn take(&mut self, now: u64, per_second: u32) -> bool {
        if per_second == 0 {
            return false;
        }
        let price = SECOND / u64::from(per_second);
        let most = (SECOND / 10).max(price);
        let earned = now.saturating_sub(self.last);
        self.last = self.last.max(now);
        self.credit = self.credit.saturating_add(earned).min(most);
        let ok = self.credit >= price;
        if ok {
            self.credit -= price;
        }
        ok
    }
}

/// Places for things asked for lately.
const RECENT: usize = 64;
/// Events that packets can cause, a second.
const EVENTS_PER_SECOND: u32 = 200;

/// Questions for SAs, a second.
const ACQUIRES_PER_SECOND: u32 = 200;
/// Discarded packets told of, a second.
const DISCARDS_PER_SECOND: u32 = 20;

/// What a worker keeps between turns so as not to repeat itself.
pub struct EventLimits {
    recent: [(u64, u64); RECENT],
    bucket: TokenBucket,
    acquires: TokenBucket,
    discards: [(u64, u64); RECENT],
    audit: TokenBucket,
}

impl Default for EventLimits {
    fn default() -> Self {
        Self {
            recent: [(0, 0); RECENT],
            bucket: TokenBucket::default(),
            acquires: TokenBucket::default(),
            discards: [(0, 0); RECENT],
            audit: TokenBucket::default(),
        }
    }
}

/// The worker's event ring during one turn.
pub struct Events<'a> {
    ring: EventRing<'a>,
    now: u64,
    limits: &'a mut EventLimits,
    pushed: bool,
}

impl<'a> Events<'a> {
    /// The ring, at `now` (`CLOCK_BOOTTIME` nanoseconds).
    pub fn new(ring: EventRing<'a>, now: u64, limits: &'a mut EventLimits) -> Self {
        Self {
            ring,
            now,
            limits,
            pushed: false,
        }
    }

    /// Tells control something that happens a bounded number of times.
    pub fn push(&mut self, event: Event) {
        self.ring.push(self.now, event);
        self.pushed = true;
    }

    /// Asks for a neighbour's Ethernet address, at most once a second each.
    pub fn need_neighbour(&mut self, port: u8, address: Address) {
        let [a, b] = address.to_words();
        if self.allow(a ^ b.rotate_left(7) ^ u64::from(port) << 56 | 1) {
            self.push(Event::NeighbourNeeded { port, address });
        }
    }

    /// Asks for an SA; `false` if too many were asked for just now.
    pub fn acquire(&mut self, policy: u32, flow: Flow, ports: bool) -> bool {
        let now = self.now;
        let asked = self.limits.acquires.take(now, ACQUIRES_PER_SECOND);
        if asked {
            self.push(Event::Acquire {
                policy,
                flow,
                ports,
            });
        }
        asked
    }

    /// Asks for an SA for a flow that is not held, at most once a second for each.
    pub fn acquire_once(&mut self, policy: u32, flow: Flow, ports: bool) {
        let ([a, b], [c, d]) = (flow.local.to_words(), flow.remote.to_words());
        let rest = u64::from(flow.local_port) << 40 ^ u64::from(flow.remote_port) << 20;
        let words = [b, c, d, rest ^ u64::from(flow.protocol), policy.into()];
        let what = words.iter().fold(a, |sum, word| sum.rotate_left(11) ^ word);
        if self.allow(what | 1) {
            self.push(Event::Acquire {
                policy,
                flow,
                ports,
            });
        }
    }

    /// Tells of a discarded packet, for the audit log (RFC 4301 §4.4.1): of each policy and source once a second,
    /// and of so many in all.
    #[cold]
    pub fn discarded(
        &mut self,
        policy: u32,
        reason: DropReason,
        inbound: bool,
        flow: Flow,
        ports: bool,
    ) {
        let [a, b] = if inbound { flow.remote } else { flow.local }.to_words();
        let what = a.rotate_left(9) ^ b.rotate_left(23) ^ u64::from(policy) << 8 | 2;
        let now = self.now;
        let at = (what.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize % RECENT;
        let (last, until) = self.limits.discards[at];
        if last == what && now < until || !self.limits.audit.take(now, DISCARDS_PER_SECOND) {
            return;
        }
        self.limits.discards[at] = (what, now + SECOND);
        self.push(Event::Discarded {
            policy,
            reason,
            inbound,
            flow,
            ports,
        });
    }

    fn allow(&mut self, what: u64) -> bool {
        let at = (what.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize % RECENT;
        let (last, until) = self.limits.recent[at];
        if last == what && self.now < until {
            return false;
        }
        if !self.limits.bucket.take(self.now, EVENTS_PER_SECOND) {
            return false;
        }
        self.limits.recent[at] = (what, self.now + SECOND);
        true
    }

    /// Whether anything was pushed during this turn.
    pub fn pushed(&self) -> bool {
        self.pushed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lets_its_rate_through_and_no_more() {
        let mut bucket = TokenBucket::default();
        let start = 1_000 * SECOND;
        let at_once = (0..1000).filter(|_| bucket.take(start, 100)).count();
        assert_eq!(at_once, 10);
        let over_a_second = (0..1000u64)
            .filter(|n| bucket.take(start + n * 1_000_000, 100))
            .count();
        assert!((95..=101).contains(&over_a_second), "{over_a_second}");
        assert!(!bucket.take(start, 0));
    }
}
