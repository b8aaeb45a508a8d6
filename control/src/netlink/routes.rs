//! Routes: which of the kernel's go into the table, and as what.

use std::collections::HashMap;
use std::net::IpAddr;

use adit_abi::{Address, PolicyWriter, Prefix, RouteKind, RouteRecord};

use super::OWN_PROTOCOL;
use super::mirror::{Effect, MirrorPort};
use super::update::{Kind, Route};

// Tables of <linux/rtnetlink.h>. Others belong to policy routing, which the data plane does not do.
const TABLE_DEFAULT: u32 = 253;
const TABLE_MAIN: u32 = 254;
const TABLE_LOCAL: u32 = 255;

/// What tells one route from another: the kernel has one route for each.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    table: u32,
    prefix: Prefix,
    metric: u32,
    kind: Kind,
    /// First gateway and interface; IPv6 and `ip route append` allow several of one metric.
    hop: Option<(u32, Address)>,
}

impl Key {
    fn of(route: &Route) -> Self {
        Self {
            table: route.table,
            prefix: route.prefix,
            metric: route.metric,
            kind: route.kind,
            hop: route.hops.first().map(|h| (h.ifindex, h.gateway)),
        }
    }
}

struct Entry {
    route: Route,
    record: RouteRecord,
    slot: Option<u32>,
    /// In which sweep it was last seen.
    seen: u64,
}

/// Every route that matters, and where it lies in the table.
#[derive(Default)]
pub(super) struct Routes {
    entries: HashMap<Key, Entry>,
    sweep: u64,
}

impl Routes {
    pub fn put(
        &mut self,
        table: &mut PolicyWriter,
        ports: &[MirrorPort],
        route: Route,
        replaces: bool,
    ) -> Effect {
        let mut effect = Effect::default();
        let Some(record) = record(&route, ports) else {
            return effect;
        };
        let key = Key::of(&route);
        let stale = match self.entries.get_mut(&key) {
            Some(known) => {
                known.seen = self.sweep;
                if known.record == record && known.slot.is_some() {
                    return effect;
                }
                self.entries.remove(&key)
            }
            None => None,
        };
        let slot = match table.insert_route(&record) {
            Ok(slot) => Some(slot),
            Err(_) => {
                effect.refused = 1;
                None
            }
        };
        let entry = Entry {
            route,
            record,
            slot,
            seen: self.sweep,
        };
        // The new one first: there is no moment without a route.
        self.entries.insert(key.clone(), entry);
        if let Some(slot) = stale.and_then(|s| s.slot) {
            table.remove_route(slot);
        }
        if replaces {
            self.remove_replaced(table, &key);
        }
        effect.forwarding = true;
        effect
    }

    /// Takes away what the route of this key took the place of: same table, prefix and metric.
    fn remove_replaced(&mut self, table: &mut PolicyWriter, key: &Key) {
        self.entries.retain(|k, entry| {
            let replaced = k != key
                && k.table == key.table
                && k.prefix == key.prefix
                && k.metric == key.metric;
            if replaced && let Some(slot) = entry.slot {
                table.remove_route(slot);
            }
            !replaced
        });
    }

    pub fn remove(&mut self, table: &mut PolicyWriter, route: &Route) -> Effect {
        let removed = self.entries.remove(&Key::of(route));
        if let Some(slot) = removed.as_ref().and_then(|e| e.slot) {
            table.remove_route(slot);
        }
        Effect {
            forwarding: removed.is_some(),
            // A multipath route is changed piece by piece, in ways that differ between the families.
            reread: removed.is_none() && route.protocol != OWN_PROTOCOL,
            ..Effect::default()
        }
    }

    pub fn begin_sweep(&mut self) {
        self.sweep += 1;
    }

    pub fn end_sweep(&mut self, table: &mut PolicyWriter) -> bool {
        let before = self.entries.len();
        let sweep = self.sweep;
        self.entries.retain(|_, entry| {
            let stays = entry.seen == sweep;
            if !stays && let Some(slot) = entry.slot {
                table.remove_route(slot);
            }
            stays
        });
        self.entries.len() != before
    }

    pub fn replay(&mut self, table: &mut PolicyWriter, ports: &[MirrorPort]) -> Effect {
        let mut effect = Effect {
            forwarding: true,
            ..Effect::default()
        };
        for entry in self.entries.values_mut() {
            if let Some(record) = record(&entry.route, ports) {
                entry.record = record;
            }
            entry.slot = table.insert_route(&entry.record).ok();
            effect.refused += u32::from(entry.slot.is_none());
        }
        effect
    }
}

/// The record of a route, [`None`] for one that the data plane must not follow.
fn record(route: &Route, ports: &[MirrorPort]) -> Option<RouteRecord> {
    if route.protocol == OWN_PROTOCOL
        || !matches!(route.table, TABLE_DEFAULT | TABLE_MAIN | TABLE_LOCAL)
    {
        return None;
    }
    let address = IpAddr::from(route.prefix.address);
    let port_of = |ifindex| {
        ports
            .iter()
            .find(|p| p.ifindex == ifindex)
            .map(|p| p.number)
    };
    let mut gateway = Address::UNSPECIFIED;
    let mut port = 0;
    let kind = match route.kind {
        Kind::Blackhole => RouteKind::Blackhole,
        Kind::Broadcast => RouteKind::Broadcast,
        // What arrives for a loopback address has no business here.
        Kind::Local if address.is_loopback() => RouteKind::Blackhole,
        Kind::Local => RouteKind::Local,
        // Link-local destinations are never forwarded.
        Kind::Unicast if is_link_local(&address) => return None,
        Kind::Unicast => {
            let managed = route
                .hops
                .iter()
                .find_map(|hop| port_of(hop.ifindex).map(|n| (n, hop.gateway)));
            match managed {
                Some((n, via)) => {
                    (port, gateway) = (n, via);
                    RouteKind::Unicast
                }
                None => RouteKind::Kernel,
            }
        }
    };
    Some(RouteRecord {
        destination: route.prefix.address,
        gateway,
        length: route.prefix.length,
        kind: kind as u8,
        port,
        reserved: 0,
        metric: metric(route),
        mtu: route.mtu,
        spare: [0; 12],
    })
}

/// The kernel looks into the tables one after the other; here their order is part of the metric.
fn metric(route: &Route) -> u32 {
    match route.table {
        TABLE_LOCAL => 0,
        TABLE_MAIN => route.metric.saturating_add(1).min(u32::MAX - 1),
        _ => u32::MAX,
    }
}

fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}
