//! The ordered policies, compiled so that a look-up does not walk them all.

use adit_abi::{
    Action, Flow, OPAQUE_PROTOCOL, PolicyReader, PolicyRecord, PortRange, Selector, Settings,
};

use super::tree::Trees;

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
    /// A policy may cover it, but the fragment does not show what would tell.
    Unclear,
    /// No policy covers it.
    None,
}

struct Entry {
    selector: Selector,
    slot: u32,
    action: Action,
}

/// The policies that count in one direction.
struct Database {
    /// By what packets show.
    shown: Trees,
    /// By what fragments may hide: the policies that select by it, without those fields.
    hidden: Trees,
}

/// The compiled SPD with the settings that belong to it.
pub struct Spd {
    /// In the order in which they are tried.
    entries: Vec<Entry>,
    /// SPD-S and SPD-O.
    out: Database,
    /// SPD-S and SPD-I, where that differs from the other.
    inward: Option<Database>,
    settings: Settings,
}

impl Spd {
    /// Compiles the policies and settings of a region.
    pub fn compile(policy: &PolicyReader) -> Self {
        let policies = policy.policies().map(|(slot, _, record)| (slot, record));
        Self::of(policies, policy.settings())
    }

    /// Compiles policies given with their slots.
    pub fn of(policies: impl Iterator<Item = (u32, PolicyRecord)>, settings: Settings) -> Self {
        let mut policies: Vec<_> = policies.collect();
        policies.sort_unstable_by_key(|(slot, record)| (record.priority, *slot));
        let database = |out: bool| {
            let counts = policies.iter().zip(0u32..);
            let counts = counts.filter(|((_, record), _)| record.applies().counts(out));
            Database::over(
                counts
                    .map(|((_, record), n)| (n, record.selector))
                    .collect(),
            )
        };
        let one_way = |(_, record): &(u32, PolicyRecord)| {
            let applies = record.applies();
            !(applies.counts(true) && applies.counts(false))
        };
        Self {
            out: database(true),
            inward: policies.iter().any(one_way).then(|| database(false)),
            entries: policies
                .iter()
                .map(|(slot, record)| Entry {
                    selector: record.selector,
                    slot: *slot,
                    action: record.action(),
                })
                .collect(),
            settings,
        }
    }

    /// The first policy that covers a flow on its way out; `ports` says whether the packet shows its ports.
    #[inline]
    pub fn find_outbound(&self, flow: &Flow, ports: bool) -> Match {
        self.find(&self.out, flow, ports)
    }

    /// The first policy that covers a flow that came in clear from outside.
    #[inline]
    pub fn find_inbound(&self, flow: &Flow, ports: bool) -> Match {
        self.find(self.inward.as_ref().unwrap_or(&self.out), flow, ports)
    }

    #[inline]
    fn find(&self, database: &Database, flow: &Flow, ports: bool) -> Match {
        let covers = |n: u32, certain| {
            let entry = self.entries.get(n as usize);
            entry.and_then(|e| e.selector.covers_shown(flow, ports)) == Some(certain)
        };
        let first = database.shown.first(flow, ports, |n| covers(n, true));
        let entry = first.and_then(|n| self.entries.get(n as usize));
        if !ports && !entry.is_some_and(|e| e.selector.is_opaque()) {
            //= RFC 4301 §7.4: a fragment without ports must not slip past policies that select by port
            let hidden = database.hidden.first(flow, ports, |n| covers(n, false));
            if hidden.is_some_and(|n| first.is_none_or(|first| n < first)) {
                return Match::Unclear;
            }
        }
        match entry {
            Some(entry) => Match::Policy {
                slot: entry.slot,
                action: entry.action,
            },
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

impl Database {
    fn over(selectors: Vec<(u32, Selector)>) -> Self {
        let mut hidden = Vec::new();
        for (n, s) in &selectors {
            let without_ports = Selector {
                local_ports: PortRange::ANY,
                remote_ports: PortRange::ANY,
                ..*s
            };
            if (s.local_ports, s.remote_ports) != (PortRange::ANY, PortRange::ANY) {
                hidden.push((*n, without_ports));
            }
            if s.protocol != 0 {
                let protocol = OPAQUE_PROTOCOL;
                hidden.push((
                    *n,
                    Selector {
                        protocol,
                        ..without_ports
                    },
                ));
            }
        }
        Self {
            shown: Trees::build(&selectors),
            hidden: Trees::build(&hidden),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_abi::{Address, Applies};
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
            1 => Just(PortRange::OPAQUE),
            1 => (0u16..4, 0u16..4).prop_map(|(a, b)| PortRange { first: a.min(b), last: a.max(b) }),
        ]
    }

    prop_compose! {
        fn selector()(l in range(), r in range(), lp in ports(), rp in ports(), protocol in prop_oneof![Just(0u8), Just(6), Just(17), Just(OPAQUE_PROTOCOL)]) -> Selector {
            Selector {
                local_first: l.0, local_last: l.1, remote_first: r.0, remote_last: r.1,
                local_ports: lp, remote_ports: rp, protocol, reserved: [0; 7],
            }
        }
    }

    prop_compose! {
        fn policy()(s in selector(), priority in 0u64..40, action in 0u8..3, applies in 0u8..3) -> PolicyRecord {
            let mut record = PolicyRecord::new(s, priority, Action::from_u8(action));
            record.applies = applies;
            record
        }
    }

    /// What walking the list finds.
    fn walk(ordered: &[(u32, PolicyRecord)], out: bool, flow: &Flow, ports: bool) -> Match {
        let mut unclear = false;
        for (slot, record) in ordered.iter().filter(|(_, r)| r.applies().counts(out)) {
            match record.selector.covers_shown(flow, ports) {
                Some(true) if unclear && !record.selector.is_opaque() => return Match::Unclear,
                Some(true) => {
                    return Match::Policy {
                        slot: *slot,
                        action: record.action(),
                    };
                }
                Some(false) => unclear = true,
                None => {}
            }
        }
        if unclear { Match::Unclear } else { Match::None }
    }

    proptest! {
        #[test]
        fn it_finds_what_walking_the_list_finds(
            policies in proptest::collection::vec(policy(), 0..60),
            flows in proptest::collection::vec((address(), address(), prop_oneof![Just(6u8), Just(17), Just(1)], 0u16..4, 0u16..4, any::<bool>()), 40),
        ) {
            let mut ordered: Vec<_> = (0u32..).zip(policies).collect();
            let spd = Spd::of(ordered.iter().copied(), Settings::default());
            ordered.sort_by_key(|(slot, record)| (record.priority, *slot));
            for (local, remote, protocol, local_port, remote_port, ports) in flows {
                // Where the protocol is hidden, so are the ports.
                let protocol = if protocol == 1 && !ports { OPAQUE_PROTOCOL } else { protocol };
                let (local_port, remote_port) = if ports { (local_port, remote_port) } else { (0, 0) };
                let flow = Flow { local, remote, protocol, local_port, remote_port };
                prop_assert_eq!(spd.find_outbound(&flow, ports), walk(&ordered, true, &flow, ports));
                prop_assert_eq!(spd.find_inbound(&flow, ports), walk(&ordered, false, &flow, ports));
            }
        }
    }

    #[test]
    fn each_direction_has_policies_of_its_own() {
        let any = adit_abi::Prefix::from_mapped(Address::UNSPECIFIED, 0);
        let policy = |n: u32, action, applies: Applies| {
            let mut record = PolicyRecord::new(Selector::between(any, any), n.into(), action);
            record.applies = applies as u8;
            (n, record)
        };
        let spd = Spd::of(
            [
                policy(0, Action::Bypass, Applies::Inbound),
                policy(1, Action::Discard, Applies::Outbound),
            ]
            .into_iter(),
            Settings::default(),
        );
        let flow = Flow {
            local: Address::v4([10, 0, 0, 1]),
            remote: Address::v4([10, 0, 0, 2]),
            protocol: 6,
            local_port: 1,
            remote_port: 2,
        };
        let found = |slot, action| Match::Policy { slot, action };
        assert_eq!(spd.find_inbound(&flow, true), found(0, Action::Bypass));
        assert_eq!(spd.find_outbound(&flow, true), found(1, Action::Discard));
        // PROTECT is both ways, whatever the record says.
        let protect = [policy(2, Action::Protect, Applies::Outbound)];
        let spd = Spd::of(protect.into_iter(), Settings::default());
        assert_eq!(spd.find_inbound(&flow, true), found(2, Action::Protect));
    }
}
