//! How often things that others can cause are told.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Times of one kind within [`PERIOD`].
const TIMES: u32 = 10;
const PERIOD: Duration = Duration::from_secs(1);

/// Counts how often each kind of thing was told.
#[derive(Default)]
pub struct RateLimit {
    kinds: HashMap<&'static str, Kind>,
}

#[derive(Default)]
struct Kind {
    since: Option<Instant>,
    told: u32,
    quiet: u64,
}

impl RateLimit {
    /// Whether this kind may be told now; the number says how many were kept quiet before.
    pub fn admit(&mut self, kind: &'static str, now: Instant) -> Option<u64> {
        let kind = self.kinds.entry(kind).or_default();
        if kind.since.is_none_or(|s| now.duration_since(s) >= PERIOD) {
            kind.since = Some(now);
            kind.told = 0;
        }
        if kind.told >= TIMES {
            kind.quiet += 1;
            return None;
        }
        kind.told += 1;
        Some(std::mem::take(&mut kind.quiet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_ten_times_a_second_and_its_size_afterwards() {
        let mut limit = RateLimit::default();
        let start = Instant::now();
        let told = (0..100).filter(|_| limit.admit("x", start).is_some());
        assert_eq!(told.count(), 10);
        assert_eq!(limit.admit("y", start), Some(0));
        assert_eq!(limit.admit("x", start + PERIOD), Some(90));
    }
}
