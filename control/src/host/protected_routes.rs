//! This host's own traffic to protected prefixes: into the TUN device, or nowhere.
//!
//! The steering program sees only what comes in, so routes must catch what this host itself sends. They lie in
//! a table of their own, asked before the main one, whatever that says: the prefix through the TUN device, and
//! below it a blackhole, which stays when the device goes. The mirror of routes does not look into that table,
//! so what the data plane sends is not caught.
//!
//! A prefix that also covers the way out, as 0.0.0.0/0 does, would swallow what no policy covers. There a rule
//! decides by source as well, and leads to a second table in which everything is caught, but for what lies on
//! the links inside and, on IPv6, on any link.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv6Addr};

use adit_abi::{Action, Address, Prefix, Selector};
use tracing::warn;

use crate::netlink::own_rules::{OwnRule, everything};
use crate::netlink::request::{OwnRoute, Target};
use crate::netlink::route_socket::Asker;
use crate::netlink::{FROM_PROTECTED_TABLE, OWN_TABLE};
use crate::sadb::PolicySpec;
use crate::selector_syntax::{covering, prefixes};

/// Metric of a route back to other tables.
const ELSEWHERE_METRIC: u32 = 5;
/// Metric of the route into the TUN device.
const TUN_METRIC: u32 = 10;
/// Metric of the blackhole below it.
const BLACKHOLE_METRIC: u32 = 1000;
/// Prefixes that one range may take; a range that takes more is caught with what lies between.
const MOST_PREFIXES: usize = 64;

/// Priority of the rules that let IKE out, before all that catches.
const IKE: u32 = 172;
/// Priority of the rule for prefixes that are caught whatever the source.
const TO_PROTECTED: u32 = OWN_TABLE as u32;
/// Priority of the rules that look at source and destination.
const FROM_PROTECTED: u32 = 175;
const MAIN_TABLE: u8 = 254;
const IKE_PORTS: [u16; 2] = [500, 4500];

/// What becomes of a prefix in one of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Caught, with the source address for what has none.
    Caught(Option<IpAddr>),
    /// Other tables decide.
    Elsewhere,
}

/// The routes and rules that catch what policy protects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// By table and prefix.
    pub routes: BTreeMap<(u8, Prefix), Way>,
    /// Which table is asked when.
    pub rules: BTreeSet<OwnRule>,
}

/// What this host is on the network.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Its addresses.
    pub own: &'a BTreeSet<IpAddr>,
    /// The networks on its inside links.
    pub inside: &'a BTreeSet<Prefix>,
    /// The far ends of its SAs.
    pub far_ends: &'a BTreeSet<Address>,
}

/// What to catch under these policies.
///
/// A prefix that also covers an address of this host outside the protected side, or the far end of an SA, is
/// caught from the protected side only: a route there would swallow what the policy does not cover, as the way to
/// an IKE peer. Where the far end itself is what a policy protects, as in transport mode, all that goes there is
/// caught, but for IKE: the source of a socket that is not bound is chosen by the route, so no rule can ask for it.
pub fn wanted<'a>(
    policies: impl Iterator<Item = &'a PolicySpec>,
    host: Surroundings<'_>,
) -> Wanted {
    let mut out = Wanted::default();
    for policy in policies.filter(|p| p.action == Action::Protect) {
        for s in &policy.selectors {
            let is_local = |ip: &IpAddr| is_local(s, ip);
            let source = host.own.iter().copied().find(is_local);
            let found = few_prefixes(s.remote_first, s.remote_last);
            let is_exact = found.last().map(Prefix::last) == Some(s.remote_last)
                && found.first().map(|p| p.address) == Some(s.remote_first);
            for prefix in found {
                let swallows = |ip: &IpAddr| prefix.contains((*ip).into()) && !is_local(ip);
                let alone = prefix.length == 128 && source.is_some();
                if !is_exact
                    || host.own.iter().any(swallows)
                    || !alone && host.far_ends.iter().any(|a| prefix.contains(*a))
                {
                    out.catch_from(s, prefix, host);
                    continue;
                }
                let way = out.routes.entry((OWN_TABLE, prefix));
                let way = way.or_insert(Way::Caught(None));
                if *way == Way::Caught(None) {
                    *way = Way::Caught(source);
                }
                if alone {
                    out.let_ike_out(s, prefix.is_v4(), host);
                }
            }
        }
    }
    if out.routes.keys().any(|(table, _)| *table == OWN_TABLE) {
        for v4 in [true, false] {
            out.rules.insert(OwnRule {
                priority: TO_PROTECTED,
                table: OWN_TABLE,
                from: everything(v4),
                to: everything(v4),
                udp_from: None,
            });
        }
    }
    out.leave_links(host.inside);
    out
}

impl Wanted {
    /// Catches what goes from the local side of a selector to a prefix of the other, and nothing else.
    fn catch_from(&mut self, s: &Selector, to: Prefix, host: Surroundings<'_>) {
        let v4 = to.is_v4();
        for from in few_prefixes(s.local_first, s.local_last) {
            self.rules.insert(OwnRule {
                priority: FROM_PROTECTED,
                table: FROM_PROTECTED_TABLE,
                from,
                to,
                udp_from: None,
            });
        }
        self.routes
            .insert((FROM_PROTECTED_TABLE, everything(v4)), Way::Caught(None));
        self.let_ike_out(s, v4, host);
    }

    /// Where the outer addresses are protected as well, IKE must come out all the same.
    fn let_ike_out(&mut self, s: &Selector, v4: bool, host: Surroundings<'_>) {
        let is_inside = |a: Address| host.inside.iter().any(|p| p.contains(a));
        let outer = host.own.iter().filter(|ip| is_local(s, ip));
        for address in outer.map(|ip| Address::from(*ip)) {
            if address.is_v4() != v4 || is_inside(address) {
                continue;
            }
            for port in IKE_PORTS {
                self.rules.insert(OwnRule {
                    priority: IKE,
                    table: MAIN_TABLE,
                    from: Prefix::from_mapped(address, 128),
                    to: everything(v4),
                    udp_from: Some(port),
                });
            }
        }
    }

    /// This host goes on talking to what is on its inside links, unless a policy names a part of just that.
    fn leave_links(&mut self, inside: &BTreeSet<Prefix>) {
        let named = self.rules.iter().filter(|r| r.priority == FROM_PROTECTED);
        let named: Vec<Prefix> = named.map(|r| r.to).collect();
        let link_local = Prefix::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0).into(), 10);
        for link in inside.iter().copied().chain(link_local) {
            let table = (FROM_PROTECTED_TABLE, everything(link.is_v4()));
            let is_named = |to: &Prefix| to.length >= link.length && link.contains(to.address);
            if self.routes.contains_key(&table) && !named.iter().any(is_named) {
                let way = self.routes.entry((FROM_PROTECTED_TABLE, link));
                way.or_insert(Way::Elsewhere);
            }
        }
    }
}

fn is_local(s: &Selector, ip: &IpAddr) -> bool {
    let a = Address::from(*ip);
    s.local_first <= a && a <= s.local_last
}

/// The prefixes of a range; of one that takes too many, the one around it.
fn few_prefixes(first: Address, last: Address) -> Vec<Prefix> {
    let found = prefixes(first, last);
    if found.len() > MOST_PREFIXES {
        return vec![covering(first, last)];
    }
    found
}

/// How a route lies in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
struct InPlace {
    way: Way,
    tun: Option<u32>,
    /// What the kernel refused of it; then it is tried again at the next occasion.
    refused: Option<String>,
}

/// The routes and rules that are in the kernel.
#[derive(Default)]
pub struct ProtectedRoutes {
    routes: BTreeMap<(u8, Prefix), InPlace>,
    rules: BTreeSet<OwnRule>,
    refused_rules: BTreeMap<OwnRule, String>,
}

impl ProtectedRoutes {
    /// Makes the kernel's routes and rules those that are wanted; `tun` is the TUN device, if it is there. Without
    /// `remove`, what is not wanted stays. What the kernel refuses is told by [`ProtectedRoutes::refusals`].
    pub fn sync(&mut self, asker: &mut Asker, wanted: &Wanted, tun: Option<u32>, remove: bool) {
        for (at, way) in &wanted.routes {
            let before = self.routes.get(at);
            let mut now = InPlace {
                way: *way,
                tun,
                refused: None,
            };
            if before == Some(&now) {
                continue;
            }
            if let Err(e) = add(asker, *at, *way, tun) {
                warn!("{e}");
                now.refused = Some(e);
            }
            if let Some(other) = before.map(|b| b.way)
                && (other == Way::Elsewhere) != (*way == Way::Elsewhere)
            {
                take_away(asker, *at, other);
            }
            self.routes.insert(*at, now);
        }
        // Routes first: a rule that leads into an empty table lets everything by.
        self.refused_rules.clear();
        for rule in wanted.rules.difference(&self.rules.clone()) {
            match asker.add_rule(rule) {
                Ok(()) => drop(self.rules.insert(*rule)),
                Err(e) => {
                    let what = format!("the rule for {} to {}: {e}", rule.from, rule.to);
                    warn!("{what}");
                    self.refused_rules.insert(*rule, what);
                }
            }
        }
        if !remove {
            return;
        }
        for rule in self.rules.clone().difference(&wanted.rules) {
            report("removing a rule", asker.remove_rule(rule));
            self.rules.remove(rule);
        }
        self.routes.retain(|at, route| {
            let stays = wanted.routes.contains_key(at);
            if !stays {
                take_away(asker, *at, route.way);
            }
            stays
        });
    }

    /// What the kernel refused of what is wanted: this host's own traffic there is not caught as it should be.
    pub fn refusals(&self) -> impl Iterator<Item = &str> {
        let routes = self.routes.values();
        let routes = routes.filter_map(|r| r.refused.as_deref());
        routes.chain(self.refused_rules.values().map(String::as_str))
    }

    /// Whether a route covers an address whatever the source.
    pub fn covers(&self, address: Address) -> bool {
        let mut prefixes = self.routes.keys().filter(|(table, _)| *table == OWN_TABLE);
        prefixes.any(|(_, p)| p.contains(address))
    }

    /// Takes in what an earlier control left in the kernel, so that what is not wanted any more goes.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn find(&mut self, asker: &mut Asker) -> io::Result<()> {
        for (table, prefix, is_elsewhere) in asker.own_routes()? {
            let way = match is_elsewhere {
                true => Way::Elsewhere,
                false => Way::Caught(None),
            };
            let found = self.routes.entry((table, prefix));
            found.or_insert(InPlace {
                way,
                // No interface has number 0: what is wanted is put in again.
                tun: Some(0),
                refused: None,
            });
        }
        self.rules.extend(asker.own_rules()?);
        Ok(())
    }

    /// Takes everything away.
    pub fn clear(&mut self, asker: &mut Asker) {
        self.sync(asker, &Wanted::default(), None, true);
    }
}

/// Adds what a way takes; what is refused does not keep the rest from being tried.
fn add(
    asker: &mut Asker,
    (table, prefix): (u8, Prefix),
    way: Way,
    tun: Option<u32>,
) -> Result<(), String> {
    let mut put = |what: &str, metric, target| {
        let route = OwnRoute {
            table,
            prefix,
            metric,
            target,
        };
        let refused = |e| format!("{what} {prefix}: {e}");
        asker.add_route(&route).map_err(refused)
    };
    let source = match way {
        Way::Elsewhere => {
            return put(
                "the route around the TUN device for",
                ELSEWHERE_METRIC,
                Target::Throw,
            );
        }
        Way::Caught(source) => source,
    };
    let nowhere = put(
        "the blackhole route of",
        BLACKHOLE_METRIC,
        Target::Blackhole,
    );
    let Some(ifindex) = tun else {
        return nowhere;
    };
    let target = Target::Interface { ifindex, source };
    nowhere.and(put("the route into the TUN device of", TUN_METRIC, target))
}

fn take_away(asker: &mut Asker, (table, prefix): (u8, Prefix), way: Way) {
    let into_tun = Target::Interface {
        ifindex: 0,
        source: None,
    };
    let targets = match way {
        Way::Elsewhere => vec![(ELSEWHERE_METRIC, Target::Throw)],
        Way::Caught(_) => vec![
            (TUN_METRIC, into_tun),
            (BLACKHOLE_METRIC, Target::Blackhole),
        ],
    };
    for (metric, target) in targets {
        let route = OwnRoute {
            table,
            prefix,
            metric,
            target,
        };
        report("removing a route", asker.remove_route(&route));
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
            applies: Default::default(),
            from_packet: Default::default(),
            origin: Origin::File,
        }
    }

    fn found(policy: &PolicySpec, own: &[&str], far_ends: &[&str]) -> Wanted {
        let own = own.iter().map(|s| s.parse().unwrap()).collect();
        let ip = |s: &str| s.parse::<IpAddr>().unwrap();
        let host = Surroundings {
            own: &own,
            inside: &["10.1.0.0", "fd01::"]
                .into_iter()
                .zip([24, 64])
                .filter_map(|(s, length)| Prefix::new(ip(s), length))
                .collect(),
            far_ends: &far_ends.iter().map(|s| ip(s).into()).collect(),
        };
        wanted(std::iter::once(policy), host)
    }

    fn show(policy: &PolicySpec, own: &[&str], far_ends: &[&str]) -> Vec<String> {
        let wanted = found(policy, own, far_ends);
        let show = |((table, p), way): (&(u8, Prefix), &Way)| match way {
            Way::Elsewhere => format!("{table}: {p} elsewhere"),
            Way::Caught(None) => format!("{table}: {p}"),
            Way::Caught(Some(source)) => format!("{table}: {p} from {source}"),
        };
        wanted.routes.iter().map(show).collect()
    }

    fn rules(policy: &PolicySpec, own: &[&str]) -> Vec<String> {
        let wanted = found(policy, own, &[]);
        let show = |r: &OwnRule| {
            let port = r.udp_from.map_or(String::new(), |p| format!(" udp {p}"));
            format!(
                "{}: {} to {}{port} in {}",
                r.priority, r.from, r.to, r.table
            )
        };
        wanted.rules.iter().map(show).collect()
    }

    #[test]
    fn a_protected_prefix_is_caught_with_a_source_from_the_protected_side() {
        let p = policy("10.1.0.0/24", "10.2.0.0/24");
        let own = ["192.0.2.1", "10.1.0.1"];
        assert_eq!(
            show(&p, &own, &["192.0.2.2"]),
            ["173: 10.2.0.0/24 from 10.1.0.1"]
        );
        assert_eq!(show(&p, &["192.0.2.1"], &[]), ["173: 10.2.0.0/24"]);
        assert_eq!(
            rules(&p, &own),
            [
                "173: ::/0 to ::/0 in 173",
                "173: 0.0.0.0/0 to 0.0.0.0/0 in 173"
            ]
        );
    }

    #[test]
    fn what_goes_to_a_protected_far_end_is_caught_but_for_ike() {
        // Before there is an SA, when IKE has to bring it up, and with it.
        for far_ends in [&[][..], &["192.0.2.2"]] {
            let p = policy("192.0.2.1/32", "192.0.2.2/32");
            let own = ["192.0.2.1", "10.1.0.1"];
            assert_eq!(
                show(&p, &own, far_ends),
                ["173: 192.0.2.2/32 from 192.0.2.1"]
            );
            assert_eq!(
                rules(&p, &own),
                [
                    "172: 192.0.2.1/32 to 0.0.0.0/0 udp 500 in 254",
                    "172: 192.0.2.1/32 to 0.0.0.0/0 udp 4500 in 254",
                    "173: ::/0 to ::/0 in 173",
                    "173: 0.0.0.0/0 to 0.0.0.0/0 in 173",
                ]
            );
        }
    }

    #[test]
    fn a_prefix_that_covers_the_way_out_is_caught_from_the_protected_side_only() {
        let p = policy("10.1.0.0/24", "0.0.0.0/0");
        let own = ["192.0.2.1", "10.1.0.1"];
        assert_eq!(
            show(&p, &own, &[]),
            ["174: 0.0.0.0/0", "174: 10.1.0.0/24 elsewhere"]
        );
        assert_eq!(rules(&p, &own), ["175: 10.1.0.0/24 to 0.0.0.0/0 in 174"]);
        let p = policy("10.1.0.0/24", "192.0.2.0/24");
        assert_eq!(
            show(&p, &["10.1.0.1"], &["192.0.2.2"]),
            ["174: 0.0.0.0/0", "174: 10.1.0.0/24 elsewhere"]
        );
        let p = policy("10.1.0.0/24", "10.0.0.0/8");
        assert_eq!(
            show(&p, &["10.1.0.1"], &[]),
            ["173: 10.0.0.0/8 from 10.1.0.1"]
        );
        let p = policy("fd01::/64", "::/0");
        assert_eq!(
            show(&p, &["fd01::1", "fe80::1", "2001:db8::1", "192.0.2.1"], &[]),
            [
                "174: ::/0",
                "174: fd01::/64 elsewhere",
                "174: fe80::/10 elsewhere"
            ]
        );
    }

    #[test]
    fn ike_comes_out_where_the_outer_address_is_protected_too() {
        let p = policy("0.0.0.0/0", "0.0.0.0/0");
        // Every address is on the protected side, but one far end is enough.
        let wanted = found(&p, &["192.0.2.1", "10.1.0.1"], &["198.51.100.1"]);
        let ike = wanted.rules.iter().filter(|r| r.priority == IKE);
        let ike: Vec<_> = ike.map(|r| (r.from.to_string(), r.udp_from)).collect();
        let outer = "192.0.2.1/32".to_owned();
        assert_eq!(ike, [(outer.clone(), Some(500)), (outer, Some(4500))]);
    }

    #[test]
    fn a_range_of_too_many_prefixes_is_caught_with_what_lies_between() {
        let p = policy("fd01::/64", "fd02::1-fd02::ffff:ffff:ffff:fffe");
        assert_eq!(
            rules(&p, &["fd01::1"]),
            ["175: fd01::/64 to fd02::/64 in 174"]
        );
    }

    #[test]
    fn what_is_not_sealed_is_not_caught() {
        let mut p = policy("10.1.0.0/24", "10.2.0.0/24");
        p.action = Action::Bypass;
        assert!(show(&p, &["10.1.0.1"], &[]).is_empty());
    }
}
