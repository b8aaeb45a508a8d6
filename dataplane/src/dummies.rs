//! Decides when an outbound SA is to send dummy packets (RFC 4303 §2.6). A worker only sends them.

use std::collections::HashMap;

use adit_abi::{Direction, PolicyReader, SaFlags, SaRef};
use zeroize::Zeroize;

/// One look over the whole table is spread over this many calls.
const SLICES: u32 = 20;
/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;
/// Dummies of one SA asked for at once: what was missed is not made up for.
const AT_ONCE: u64 = 32;

struct Rate {
    per_second: u16,
    /// Up to when dummies were asked for, nanoseconds.
    until: u64,
}

/// Walks the SA table slice by slice and remembers which SAs send dummies.
#[derive(Default)]
pub struct Dummies {
    next_slot: u32,
    rates: HashMap<SaRef, Rate>,
}

impl Dummies {
    /// Looks at the next slice of the table for SAs that send dummies.
    pub fn look(&mut self, policy: &PolicyReader, now: u64) {
        let end = policy.sa_high_water();
        if self.next_slot >= end {
            self.next_slot = 0;
            self.rates.retain(|sa, _| policy.is_live(*sa));
        }
        let slice = self.next_slot..(self.next_slot + end.div_ceil(SLICES)).min(end);
        self.next_slot = slice.end;
        for slot in slice {
            let Some((sa, direction, flags)) = policy.sa_summary(slot) else {
                continue;
            };
            let wanted = direction == Direction::Outbound as u8 && flags.contains(SaFlags::DUMMIES);
            if !wanted || self.rates.contains_key(&sa) {
                continue;
            }
            if let Some(mut record) = policy.sa(sa) {
                record.zeroize();
                let rate = Rate {
                    per_second: record.dummies,
                    until: now,
                };
                self.rates.insert(sa, rate);
            }
        }
    }

    /// SAs that are to send dummies at `now` (`CLOCK_BOOTTIME` nanoseconds), and how many each.
    pub fn due(&mut self, now: u64) -> Vec<(SaRef, u16)> {
        let mut due = Vec::new();
        for (sa, rate) in &mut self.rates {
            let per_second = u64::from(rate.per_second);
            let n = now.saturating_sub(rate.until) * per_second / SECOND;
            if n == 0 {
                continue;
            }
            rate.until = match n {
                0..=AT_ONCE => rate.until + n * SECOND / per_second,
                _ => now,
            };
            due.push((*sa, n.min(AT_ONCE) as u16));
        }
        due
    }

    /// Whether no SA sends dummies.
    pub fn is_empty(&self) -> bool {
        self.rates.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_abi::{Address, Capacity, PolicyWriter, SaRecord, Spi};
    use zerocopy::FromZeros;

    #[test]
    fn so_many_a_second_for_as_long_as_the_sa_lives() {
        let capacity = Capacity {
            sas: 8,
            policies: 1,
            routes: 1,
            neighbours: 1,
            window: 64,
        };
        let mut policy = PolicyWriter::create(&capacity, 1).unwrap();
        let mut add = |spi, direction: Direction, dummies| {
            let mut r = SaRecord::new_zeroed();
            r.spi = Spi(spi);
            r.protocol = 50;
            r.direction = direction as u8;
            r.destination = Address::v4([192, 0, 2, 1]);
            r.dummies = dummies;
            if dummies > 0 {
                r.flags = SaFlags::DUMMIES;
            }
            let sa = policy.reserve_sa().unwrap();
            policy.publish_sa(sa, &r).unwrap();
            sa
        };
        let sends = add(0x1000, Direction::Outbound, 7);
        add(0x1001, Direction::Outbound, 0);
        add(0x1002, Direction::Inbound, 7);
        let mut dummies = Dummies::default();
        let mut sent = 0;
        for n in 0..1000 {
            let now = n * 10_000_000;
            dummies.look(policy.reader(), now);
            for (sa, n) in dummies.due(now) {
                assert_eq!(sa, sends);
                sent += n;
            }
        }
        assert!((68..=70).contains(&sent), "{sent}");
        // After a long pause not everything is made up for.
        assert_eq!(dummies.due(100 * SECOND), [(sends, 32)]);
        policy.remove_sa(sends);
        for n in 0..SLICES * 2 {
            dummies.look(policy.reader(), 101 * SECOND + u64::from(n));
        }
        assert!(dummies.is_empty());
    }
}
