//! The ordered policies, compiled so that a look-up does not walk them all.
//!
//! Policies whose two address ranges are prefixes go into hash tables, one for each pair of prefix
//! lengths in use (there are few); the others into a list. A look-up takes the first of all that match.

use adit_abi::{Action, Flow, PolicyReader, PortRange, Selector, Settings};

use crate::hash::QuickMap;

/// What the first policy that covers a flow says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// This policy covers it.
    Policy {
        /// The policy's slot.
        slot: u32,
        /// What it says.
        action: Action,
    },
    /// A policy may cover it, but the fragment does not show its ports.
    Unclear,
    /// No policy covers it.
    None,
}

struct Entry {
    selector: Selector,
    slot: u32,
    action: Action,
}

/// Policies with the same pair of prefix lengths.
struct Tuple {
    local_mask: u128,
    remote_mask: u128,
    /// The first policy's place in the order.
    first: u32,
    entries: QuickMap<(u128, u128), Vec<u32>>,
}

/// The compiled SPD with the settings that belong to it.
pub struct Spd {
    entries: Vec<Entry>,
    tuples: Vec<Tuple>,
    ranges: Vec<u32>,
    settings: Settings,
}

impl Spd {
    /// Compiles the policies and settings of a region.
    pub fn compile(policy: &PolicyReader) -> Self {
        let policies = policy
            .policies()
            .map(|(slot, _, record)| (slot, record.priority, record.selector, record.action()));
        Self::of(policies, policy.settings())
    }

    /// Compiles policies given as slot, priority, selector and action.
    pub fn of(
        policies: impl Iterator<Item = (u32, u64, Selector, Action)>,
        settings: Settings,
    ) -> Self {
        let mut policies: Vec<_> = policies.collect();
        policies.sort_by_key(|(slot, priority, ..)| (*priority, *slot));
        let mut spd = Self {
            entries: Vec::with_capacity(policies.len()),
            tuples: Vec::new(),
            ranges: Vec::new(),
            settings,
        };
        for (n, (slot, _, selector, action)) in policies.into_iter().enumerate() {
            spd.index(n as u32, &selector);
            spd.entries.push(Entry {
                selector,
                slot,
                action,
            });
        }
        spd
    }

    fn index(&mut self, n: u32, s: &Selector) {
        let local = prefix_mask(s.local_first.to_u128(), s.local_last.to_u128());
        let remote = prefix_mask(s.remote_first.to_u128(), s.remote_last.to_u128());
        let (Some(local_mask), Some(remote_mask)) = (local, remote) else {
            self.ranges.push(n);
            return;
        };
        let same = |t: &Tuple| (t.local_mask, t.remote_mask) == (local_mask, remote_mask);
        let at = self.tuples.iter().position(same).unwrap_or_else(|| {
            // Entries come in order, so tuples are sorted by their first.
            self.tuples.push(Tuple {
                local_mask,
                remote_mask,
                first: n,
                entries: QuickMap::default(),
            });
            self.tuples.len() - 1
        });
        let key = (s.local_first.to_u128(), s.remote_first.to_u128());
        if let Some(tuple) = self.tuples.get_mut(at) {
            tuple.entries.entry(key).or_default().push(n);
        }
    }

    /// The first policy that covers a flow; `ports` says whether the flow's ports are known.
    pub fn find(&self, flow: &Flow, ports: bool) -> Match {
        let (local, remote) = (flow.local.to_u128(), flow.remote.to_u128());
        let mut best: Option<(u32, bool)> = None;
        let scan = |candidates: &[u32], best: &mut Option<(u32, bool)>| {
            for n in candidates {
                if best.is_some_and(|(b, _)| *n >= b) {
                    return;
                }
                let covered = self
                    .entries
                    .get(*n as usize)
                    .and_then(|entry| covers(&entry.selector, flow, ports));
                if let Some(certain) = covered {
                    *best = Some((*n, certain));
                    return;
                }
            }
        };
        for tuple in &self.tuples {
            if best.is_some_and(|(b, _)| tuple.first >= b) {
                break;
            }
            let key = (local & tuple.local_mask, remote & tuple.remote_mask);
            if let Some(candidates) = tuple.entries.get(&key) {
                scan(candidates, &mut best);
            }
        }
        scan(&self.ranges, &mut best);
        match best.and_then(|(n, certain)| Some((self.entries.get(n as usize)?, certain))) {
            Some((entry, true)) => Match::Policy {
                slot: entry.slot,
                action: entry.action,
            },
            Some((_, false)) => Match::Unclear,
            None => Match::None,
        }
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many policies there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Whether a selector covers a flow: surely, or if the ports that are not known fit.
pub fn covers(selector: &Selector, flow: &Flow, ports: bool) -> Option<bool> {
    if ports {
        return selector.covers(flow).then_some(true);
    }
    let any = Selector {
        local_ports: PortRange::ANY,
        remote_ports: PortRange::ANY,
        ..*selector
    };
    //= RFC 4301 §7.1: a fragment without ports is covered by selectors whose port fields are ANY
    any.covers(flow).then_some(
        (selector.local_ports, selector.remote_ports) == (PortRange::ANY, PortRange::ANY),
    )
}

/// The mask of the prefix that spans exactly `first..=last`, if there is one.
fn prefix_mask(first: u128, last: u128) -> Option<u128> {
    let hosts = first ^ last;
    let is_prefix = hosts & hosts.wrapping_add(1) == 0 && first & hosts == 0;
    is_prefix.then_some(!hosts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_abi::Address;
    use proptest::prelude::*;

    /// A few addresses close together, so that random selectors overlap.
    fn address() -> impl Strategy<Value = Address> {
        (0u8..4, 0u8..4).prop_map(|(a, b)| Address::v4([10, 0, a, b]))
    }

    fn range() -> impl Strategy<Value = (Address, Address)> {
        prop_oneof![
            (address(), 118u8..=128).prop_map(|(a, length)| {
                let p = adit_abi::Prefix::from_mapped(a, length);
                (p.address, p.last())
            }),
            (address(), address()).prop_map(|(a, b)| (a.min(b), a.max(b))),
            Just((Address::UNSPECIFIED, Address([0xff; 16]))),
        ]
    }

    fn ports() -> impl Strategy<Value = PortRange> {
        prop_oneof![
            3 => Just(PortRange::ANY),
            1 => (0u16..4, 0u16..4).prop_map(|(a, b)| PortRange { first: a.min(b), last: a.max(b) }),
        ]
    }

    prop_compose! {
        fn selector()(l in range(), r in range(), lp in ports(), rp in ports(), protocol in prop_oneof![Just(0u8), Just(6), Just(17)]) -> Selector {
            Selector {
                local_first: l.0, local_last: l.1, remote_first: r.0, remote_last: r.1,
                local_ports: lp, remote_ports: rp, protocol, reserved: [0; 7],
            }
        }
    }

    fn action() -> impl Strategy<Value = Action> {
        prop_oneof![
            Just(Action::Discard),
            Just(Action::Bypass),
            Just(Action::Protect)
        ]
    }

    proptest! {
        #[test]
        fn it_finds_what_walking_the_list_finds(
            policies in proptest::collection::vec((selector(), 0u64..6, action()), 0..24),
            flows in proptest::collection::vec((address(), address(), prop_oneof![Just(6u8), Just(17)], 0u16..4, 0u16..4, any::<bool>()), 20),
        ) {
            let list: Vec<_> = policies.iter().enumerate()
                .map(|(n, (s, priority, action))| (n as u32, *priority, *s, *action)).collect();
            let spd = Spd::of(list.iter().copied(), Settings::default());
            let mut ordered = list;
            ordered.sort_by_key(|(slot, priority, ..)| (*priority, *slot));
            for (local, remote, protocol, local_port, remote_port, known) in flows {
                let flow = Flow { local, remote, protocol, local_port, remote_port };
                let expected = ordered.iter()
                    .find_map(|(slot, _, s, action)| Some((*slot, *action, covers(s, &flow, known)?)));
                let expected = match expected {
                    Some((slot, action, true)) => Match::Policy { slot, action },
                    Some((_, _, false)) => Match::Unclear,
                    None => Match::None,
                };
                prop_assert_eq!(spd.find(&flow, known), expected);
            }
        }
    }
}
