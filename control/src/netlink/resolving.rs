//! Which neighbours the kernel was asked for, so that it is not asked too often or for too many.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Not again for the same neighbour within this time.
const AGAIN: Duration = Duration::from_millis(500);
/// Neighbours that are being resolved at most: a scan must not fill the kernel's table.
const MOST: usize = 256;

/// Neighbours that are being resolved, by interface and address.
#[derive(Default)]
pub(super) struct Resolving {
    asked: HashMap<(u32, IpAddr), Instant>,
}

impl Resolving {
    /// Whether to ask the kernel now.
    pub fn ask(&mut self, ifindex: u32, address: IpAddr, now: Instant) -> bool {
        let recent = |at: &Instant| now.saturating_duration_since(*at) < AGAIN;
        let key = (ifindex, address);
        if self.asked.get(&key).is_some_and(recent) {
            return false;
        }
        if self.asked.len() >= MOST {
            self.asked.retain(|_, at| recent(at));
        }
        if self.asked.len() >= MOST {
            return false;
        }
        self.asked.insert(key, now);
        true
    }

    /// Whether a neighbour that turned up was asked for; `true` once.
    pub fn is_found(&mut self, ifindex: u32, address: IpAddr) -> bool {
        self.asked.remove(&(ifindex, address)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_asked_for_twice_in_a_row_and_not_too_many_are() {
        let mut r = Resolving::default();
        let now = Instant::now();
        let ip = |n: u32| IpAddr::from(n.to_be_bytes());
        assert!(r.ask(1, ip(1), now));
        assert!(!r.ask(1, ip(1), now));
        assert!(r.ask(2, ip(1), now), "on another interface");
        assert!(r.ask(1, ip(1), now + AGAIN));
        let scan = (2..10_000)
            .filter(|n| r.ask(1, ip(*n), now + AGAIN))
            .count();
        assert_eq!(scan, MOST - 1, "the one of interface 2 has had its time");
        assert!(r.is_found(1, ip(1)));
        assert!(!r.is_found(1, ip(1)));
        assert!(r.ask(1, ip(20_000), now + AGAIN), "its place is free");
    }
}
