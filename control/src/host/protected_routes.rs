//! This host's own traffic to protected prefixes: into the TUN device, or nowhere.
//!
//! The steering program sees only what comes in, so routes must catch what this host itself sends. They lie in
//! a table of their own, asked before the main one, whatever that says: the prefix through the TUN device, and
//! below it a blackhole, which stays when the device goes. The mirror of routes does not look into that table,
//! so what the data plane sends is not caught.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use adit_abi::{Action, Address, Prefix};
use tracing::warn;

use crate::netlink::request::Target;
use crate::netlink::route_socket::Asker;
use crate::sadb::PolicySpec;
use crate::selector_syntax::prefixes;

/// Metric of the route into the TUN device.
const TUN_METRIC: u32 = 10;
/// Metric of the blackhole below it.
const BLACKHOLE_METRIC: u32 = 1000;
/// Prefixes that one range may take; a range that takes more is left to the steering program.
const MOST_PREFIXES: usize = 64;

/// The prefixes to catch, each with the source address for what has none.
pub type Wanted = BTreeMap<Prefix, Option<IpAddr>>;

/// Which prefixes to catch under these policies.
///
/// A prefix that also covers an address of this host outside the protected side, or the far end of an SA, is
/// left out: a route there would swallow what the policy does not cover, as the way to an IKE peer.
pub fn wanted<'a>(
    policies: impl Iterator<Item = &'a PolicySpec>,
    own: &BTreeSet<IpAddr>,
    far_ends: &BTreeSet<Address>,
) -> Wanted {
    let mut out = Wanted::new();
    for policy in policies.filter(|p| p.action == Action::Protect) {
        for s in &policy.selectors {
            let is_local = |ip: &IpAddr| {
                let a = Address::from(*ip);
                s.local_first <= a && a <= s.local_last
            };
            let source = own.iter().copied().find(is_local);
            let found = prefixes(s.remote_first, s.remote_last);
            if found.len() > MOST_PREFIXES {
                continue;
            }
            for prefix in found {
                let swallows = |ip: &IpAddr| prefix.contains((*ip).into()) && !is_local(ip);
                if own.iter().any(swallows) || far_ends.iter().any(|a| prefix.contains(*a)) {
                    continue;
                }
                let entry = out.entry(prefix).or_default();
                *entry = entry.or(source);
            }
        }
    }
    out
}

/// The routes that are in the kernel.
#[derive(Default)]
pub struct ProtectedRoutes {
    installed: BTreeMap<Prefix, (Option<IpAddr>, Option<u32>)>,
    rules: bool,
}

impl ProtectedRoutes {
    /// Makes the kernel's routes those that are wanted; `tun` is the TUN device, if it is there. Without `remove`,
    /// what is not wanted stays.
    pub fn sync(&mut self, asker: &mut Asker, wanted: &Wanted, tun: Option<u32>, remove: bool) {
        if !self.rules && !wanted.is_empty() {
            self.rules = true;
            report("the rule for protected prefixes", asker.add_rules());
        }
        for (prefix, source) in wanted {
            let now = (*source, tun);
            if self.installed.get(prefix) == Some(&now) {
                continue;
            }
            let nowhere = asker.add_route(*prefix, BLACKHOLE_METRIC, Target::Blackhole);
            report("the blackhole route under a protected prefix", nowhere);
            if let Some(ifindex) = tun {
                let target = Target::Interface {
                    ifindex,
                    source: *source,
                };
                let into = asker.add_route(*prefix, TUN_METRIC, target);
                report("the route of a protected prefix into the TUN device", into);
            }
            self.installed.insert(*prefix, now);
        }
        let gone: Vec<_> = self
            .installed
            .keys()
            .filter(|p| remove && !wanted.contains_key(p))
            .copied()
            .collect();
        for prefix in gone {
            if let Some((source, Some(ifindex))) = self.installed.remove(&prefix) {
                let target = Target::Interface { ifindex, source };
                report(
                    "removing a route",
                    asker.remove_route(prefix, TUN_METRIC, target),
                );
            }
            let nowhere = asker.remove_route(prefix, BLACKHOLE_METRIC, Target::Blackhole);
            report("removing a blackhole route", nowhere);
        }
    }

    /// Whether one of the routes covers an address.
    pub fn covers(&self, address: Address) -> bool {
        self.installed.keys().any(|p| p.contains(address))
    }

    /// Takes in what an earlier control left in the kernel, so that what is not wanted any more goes.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn find(&mut self, asker: &mut Asker) -> io::Result<()> {
        for prefix in asker.own_routes()? {
            self.installed.entry(prefix).or_insert((None, None));
        }
        Ok(())
    }

    /// Takes everything away.
    pub fn clear(&mut self, asker: &mut Asker) {
        self.sync(asker, &Wanted::new(), None, true);
        report(
            "removing the rule for protected prefixes",
            asker.remove_rules(),
        );
        self.rules = false;
    }
}

fn report(what: &str, result: io::Result<()>) {
    if let Err(e) = result {
        warn!("{what}: {e}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sadb::Origin;
    use crate::selector_syntax::{SelectorSide, pairs};

    fn policy(local: &str, remote: &str) -> PolicySpec {
        let side = |s: &str| [SelectorSide::parse(s).unwrap()];
        PolicySpec {
            name: "p".into(),
            selectors: pairs(&side(local), &side(remote)).unwrap(),
            action: Action::Protect,
            priority: 1,
            origin: Origin::File,
        }
    }

    fn show(policy: &PolicySpec, own: &[&str], far_ends: &[&str]) -> Vec<String> {
        let own = own.iter().map(|s| s.parse().unwrap()).collect();
        let far: BTreeSet<Address> = far_ends
            .iter()
            .map(|s| Address::from(s.parse::<IpAddr>().unwrap()))
            .collect();
        wanted(std::iter::once(policy), &own, &far)
            .into_iter()
            .map(|(p, s)| format!("{p} {}", s.map_or("-".into(), |s| s.to_string())))
            .collect()
    }

    #[test]
    fn a_protected_prefix_is_caught_with_a_source_from_the_protected_side() {
        let p = policy("10.1.0.0/24", "10.2.0.0/24");
        let own = ["192.0.2.1", "10.1.0.1"];
        assert_eq!(show(&p, &own, &["192.0.2.2"]), ["10.2.0.0/24 10.1.0.1"]);
        assert_eq!(show(&p, &["192.0.2.1"], &[]), ["10.2.0.0/24 -"]);
    }

    #[test]
    fn a_prefix_that_covers_the_way_out_is_left_alone() {
        let p = policy("10.1.0.0/24", "0.0.0.0/0");
        assert!(show(&p, &["192.0.2.1", "10.1.0.1"], &[]).is_empty());
        let p = policy("10.1.0.0/24", "192.0.2.0/24");
        assert!(show(&p, &["10.1.0.1"], &["192.0.2.2"]).is_empty());
        let p = policy("10.1.0.0/24", "10.0.0.0/8");
        assert_eq!(show(&p, &["10.1.0.1"], &[]), ["10.0.0.0/8 10.1.0.1"]);
    }

    #[test]
    fn what_is_not_sealed_is_not_caught() {
        let mut p = policy("10.1.0.0/24", "10.2.0.0/24");
        p.action = Action::Bypass;
        assert!(show(&p, &["10.1.0.1"], &[]).is_empty());
    }
}
