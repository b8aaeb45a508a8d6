//! Decides when an SA needs a NAT keepalive (RFC 3948 §4). The worker only sends it.
//!
//! This belongs to the data plane, so that NAT mappings outlive a control process that is down.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use adit_abi::{Direction, PolicyReader, SaFlags, SaRef, StateRegion};

/// One look over the whole table is spread over this many calls.
const SLICES: u32 = 20;

/// Walks the SA table slice by slice and remembers when each SA last got a keepalive.
#[derive(Default)]
pub struct Keepalives {
    next_slot: u32,
    sent: HashMap<SaRef, u64>,
}

impl Keepalives {
    /// Looks at the next slice of the table; returns the SAs that need a keepalive at `now`.
    pub fn due(&mut self, policy: &PolicyReader, state: &StateRegion, now: u64) -> Vec<SaRef> {
        let interval = u64::from(policy.settings().keepalive_seconds) * 1_000_000_000;
        let end = policy.sa_high_water();
        if interval == 0 || end == 0 {
            return Vec::new();
        }
        if self.next_slot >= end {
            self.next_slot = 0;
            self.sent.retain(|sa, _| policy.is_live(*sa));
        }
        let slice = self.next_slot..(self.next_slot + end.div_ceil(SLICES)).min(end);
        self.next_slot = slice.end;
        let mut due = Vec::new();
        for slot in slice {
            let Some((sa, direction, flags)) = policy.sa_summary(slot) else {
                continue;
            };
            let wanted = SaFlags::KEEPALIVE.with(SaFlags::UDP_ENCAP);
            if direction != Direction::Outbound as u8 || !flags.contains(wanted) {
                continue;
            }
            let used = state
                .state_of(sa)
                .map_or(0, |s| s.last_used().load(Ordering::Relaxed));
            let last = self.sent.get(&sa).copied().unwrap_or(0).max(used);
            //= RFC 3948 §4: a keepalive is sent if no other packet was sent for M seconds
            if now.saturating_sub(last) >= interval {
                self.sent.insert(sa, now);
                due.push(sa);
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_abi::{Address, Capacity, PolicyWriter, SaRecord, Settings, Spi};
    use zerocopy::FromZeros;

    #[test]
    fn an_idle_encapsulated_outbound_sa_is_kept_alive_and_no_other() {
        let capacity = Capacity {
            sas: 8,
            policies: 1,
            routes: 1,
            neighbours: 1,
            window: 64,
        };
        let mut policy = PolicyWriter::create(&capacity, 1).unwrap();
        policy.set_settings(&Settings {
            keepalive_seconds: 20,
            ..Settings::default()
        });
        let state = StateRegion::open(StateRegion::create(&capacity).unwrap(), true).unwrap();
        let mut add = |spi, direction: Direction, flags| {
            let mut r = SaRecord::new_zeroed();
            r.spi = Spi(spi);
            r.protocol = 50;
            r.direction = direction as u8;
            r.flags = flags;
            r.destination = Address::v4([192, 0, 2, 2]);
            let sa = policy.reserve_sa().unwrap();
            state.sa(sa.slot).unwrap().prepare(sa.generation, 0);
            policy.publish_sa(sa, &r).unwrap();
            sa
        };
        let both = SaFlags::UDP_ENCAP.with(SaFlags::KEEPALIVE);
        let wanted = add(300, Direction::Outbound, both);
        add(301, Direction::Inbound, both);
        add(302, Direction::Outbound, SaFlags::UDP_ENCAP);
        let second = 1_000_000_000;
        let mut keepalives = Keepalives::default();
        let mut round = |now| -> Vec<SaRef> {
            (0..SLICES)
                .flat_map(|_| keepalives.due(policy.reader(), &state, now))
                .collect()
        };
        assert_eq!(round(100 * second), vec![wanted]);
        assert_eq!(round(110 * second), vec![], "one was sent 10 s ago");
        state
            .sa(wanted.slot)
            .unwrap()
            .last_used()
            .store(115 * second, Ordering::Relaxed);
        assert_eq!(
            round(125 * second),
            vec![],
            "traffic keeps the mapping by itself"
        );
        assert_eq!(round(135 * second), vec![wanted]);
    }
}
