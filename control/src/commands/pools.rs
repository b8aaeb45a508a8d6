//! `load-pool` and what belongs to it.

use adit_vici::Message;

use super::arguments::Arguments;
use crate::connection::pool;
use crate::gateway::Gateway;

impl Gateway {
    /// `load-pool`: one section, named as the pool. Leases stay as far as they fit.
    pub(super) fn load_pool(&mut self, message: &Message) -> Result<(), String> {
        let pool = pool::load(message)?;
        let pools = self.ike.endpoint.pools_mut();
        pools.load(pool).map_err(|e| e.to_string())
    }

    /// `unload-pool`: refused while addresses of it are in use.
    pub(super) fn unload_pool(&mut self, message: &Message) -> Result<(), String> {
        let name = Arguments::check(message, &["name"])?.needed("name")?;
        let pools = self.ike.endpoint.pools_mut();
        pools.unload(name).map_err(|e| e.to_string())
    }

    /// `get-pools`: sizes, and with `leases` who has which address.
    pub(super) fn get_pools(&self, message: &Message) -> Result<Message, String> {
        let a = Arguments::check(message, &["leases", "name"])?;
        let (leases, name) = (a.flag("leases")?, a.text("name")?);
        let mut all = Message::new();
        for (pool, held) in self.ike.endpoint.pools().all() {
            if name.is_some_and(|name| name != &*pool.name) {
                continue;
            }
            let mut one = Message::new();
            let (base, size) = match pool.addresses {
                Some((first, last)) => (first.to_string(), size(first, last)),
                None => (String::new(), 0),
            };
            let online = held.iter().filter(|lease| lease.online).count();
            one.add("base", base)
                .add("size", size.to_string())
                .add("online", online.to_string())
                .add("offline", (held.len() - online).to_string());
            if leases {
                let mut section = Message::new();
                for (n, lease) in held.iter().enumerate() {
                    let status = if lease.online { "online" } else { "offline" };
                    let lease = Message::new()
                        .with("address", lease.address.to_string())
                        .with("identity", lease.identity.to_string())
                        .with("status", status);
                    section.add_section(n.to_string(), lease);
                }
                one.add_section("leases", section);
            }
            all.add_section(&*pool.name, one);
        }
        Ok(all)
    }
}

/// Addresses from one to another, as many as a client of strongSwan's can count.
fn size(first: std::net::IpAddr, last: std::net::IpAddr) -> u32 {
    use std::net::IpAddr::{V4, V6};
    let between = match (first, last) {
        (V4(f), V4(l)) => u128::from(l.to_bits().saturating_sub(f.to_bits())),
        (V6(f), V6(l)) => l.to_bits().saturating_sub(f.to_bits()),
        _ => 0,
    };
    u32::try_from(between.saturating_add(1)).unwrap_or(u32::MAX)
}
