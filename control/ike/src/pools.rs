//! Pools of virtual addresses, and who has which (RFC 7296 §3.15).

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::config::ConfigError;
use crate::identity::Identity;
use crate::wire::v2::ConfigurationAttribute;

/// A pool as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: Arc<str>,
    /// The first and the last address to give, of one family; none where the pool has attributes only.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// What is given beside an address: DNS servers, split subnets.
    pub attributes: Vec<ConfigurationAttribute>,
}

/// Who has an address of a pool, or had it last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: IpAddr,
    /// The peer.
    pub identity: Identity,
    /// Whether it has the address now.
    pub online: bool,
}

/// A pool and its leases.
struct State {
    pool: Pool,
    leases: BTreeMap<u128, Lease>,
    /// Leases by peer that are not in use: the same peer gets the same address again.
    offline: HashMap<Identity, u128>,
    /// Where the search for an address that nobody ever had goes on.
    next: u128,
}

/// Every pool of an endpoint.
#[derive(Default)]
pub struct Pools {
    all: BTreeMap<Arc<str>, State>,
}

impl Pools {
    /// Adds a pool, or changes the one with its name; its leases stay as far as they fit.
    ///
    /// # Errors
    /// The field that cannot be used; nothing has changed then.
    pub fn load(&mut self, pool: Pool) -> Result<(), ConfigError> {
        if let Some((first, last)) = pool.addresses
            && (first.is_ipv4() != last.is_ipv4() || first > last)
        {
            return Err(ConfigError {
                field: format!("pools.{}.addrs", pool.name),
                problem: format!("{first} to {last} is no range"),
                remedy: "write a prefix, or first-last of one family".into(),
            });
        }
        let first = pool.addresses.map_or(0, |(first, _)| number(first));
        let inside = |a: &Lease| {
            pool.addresses
                .is_some_and(|(f, l)| f <= a.address && a.address <= l)
        };
        let mut leases = self
            .all
            .remove(&pool.name)
            .map(|old| old.leases)
            .unwrap_or_default();
        leases.retain(|_, lease| inside(lease));
        let offline = leases.iter().filter(|(_, l)| !l.online);
        let state = State {
            offline: offline.map(|(n, l)| (l.identity.clone(), *n)).collect(),
            leases,
            next: first,
            pool: pool.clone(),
        };
        self.all.insert(pool.name.clone(), state);
        Ok(())
    }

    /// Takes a pool away.
    ///
    /// # Errors
    /// If there is none of this name, or an address of it is in use.
    pub fn unload(&mut self, name: &str) -> Result<(), ConfigError> {
        let wrong = |problem: &str, remedy: &str| ConfigError {
            field: format!("pools.{name}"),
            problem: problem.into(),
            remedy: remedy.into(),
        };
        let Some(state) = self.all.get(name) else {
            return Err(wrong("there is no such pool", "see get-pools"));
        };
        if state.leases.values().any(|l| l.online) {
            return Err(wrong(
                "addresses of it are in use",
                "terminate those IKE SAs first",
            ));
        }
        self.all.remove(name);
        Ok(())
    }

    /// The pools with their leases, by name.
    pub fn all(&self) -> impl Iterator<Item = (&Pool, Vec<&Lease>)> {
        self.all
            .values()
            .map(|s| (&s.pool, s.leases.values().collect()))
    }

    /// An address of one of these pools: the one this peer had last, the one it wants, or any.
    pub(crate) fn acquire(
        &mut self,
        names: &[Arc<str>],
        identity: &Identity,
        v4: bool,
        wanted: Option<IpAddr>,
    ) -> Option<IpAddr> {
        names.iter().find_map(|name| {
            let state = self.all.get_mut(name)?;
            let (first, last) = state
                .pool
                .addresses
                .filter(|(first, _)| first.is_ipv4() == v4)?;
            state.acquire(identity, (number(first), number(last)), wanted.map(number))
        })
    }

    /// Takes an address back; its peer gets it again if it comes back.
    pub(crate) fn release(&mut self, address: IpAddr, identity: &Identity) {
        let n = number(address);
        for state in self.all.values_mut() {
            let v4 = state
                .pool
                .addresses
                .is_some_and(|(first, _)| first.is_ipv4());
            if v4 != address.is_ipv4() {
                continue;
            }
            if let Some(lease) = state.leases.get_mut(&n)
                && lease.identity == *identity
            {
                lease.online = false;
                state.offline.insert(identity.clone(), n);
            }
        }
    }

    /// What these pools give beside addresses.
    pub(crate) fn attributes(&self, names: &[Arc<str>]) -> Vec<ConfigurationAttribute> {
        let pools = names.iter().filter_map(|name| self.all.get(name));
        let mut out = Vec::new();
        for attribute in pools.flat_map(|s| &s.pool.attributes) {
            if !out.contains(attribute) {
                out.push(attribute.clone());
            }
        }
        out
    }
}

impl State {
    fn acquire(
        &mut self,
        identity: &Identity,
        (first, last): (u128, u128),
        wanted: Option<u128>,
    ) -> Option<IpAddr> {
        let again = self.offline.get(identity).copied();
        let wished = wanted.filter(|w| (first..=last).contains(w) && !self.leases.contains_key(w));
        let found = again
            .or(wished)
            .or_else(|| self.fresh(first, last))
            .or_else(|| {
                // Nobody's left: the address of a peer that is not here.
                let (n, _) = self.leases.iter().find(|(_, l)| !l.online)?;
                Some(*n)
            })?;
        let v4 = self
            .pool
            .addresses
            .is_some_and(|(first, _)| first.is_ipv4());
        let address = address(found, v4)?;
        let lease = Lease {
            address,
            identity: identity.clone(),
            online: true,
        };
        if let Some(old) = self.leases.insert(found, lease) {
            self.offline.remove(&old.identity);
        }
        self.offline.remove(identity);
        Some(address)
    }

    /// An address that nobody ever had. As many steps as there are leases, and one, find one if there is any.
    fn fresh(&mut self, first: u128, last: u128) -> Option<u128> {
        let size = (last - first).checked_add(1)?;
        if self.leases.len() as u128 >= size {
            return None;
        }
        for _ in 0..=self.leases.len() {
            let candidate = self.next.clamp(first, last);
            self.next = if candidate == last {
                first
            } else {
                candidate + 1
            };
            if !self.leases.contains_key(&candidate) {
                return Some(candidate);
            }
        }
        None
    }
}

fn number(a: IpAddr) -> u128 {
    match a {
        IpAddr::V4(a) => u128::from(u32::from(a)),
        IpAddr::V6(a) => u128::from(a),
    }
}

fn address(n: u128, v4: bool) -> Option<IpAddr> {
    if v4 {
        return Some(Ipv4Addr::from(u32::try_from(n).ok()?).into());
    }
    Some(Ipv6Addr::from(n).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(n: u8) -> Identity {
        Identity::from(IpAddr::from([192, 0, 2, n]))
    }

    fn pools(first: &str, last: &str) -> Pools {
        let mut pools = Pools::default();
        let addresses = Some((first.parse().unwrap(), last.parse().unwrap()));
        let name = "p".into();
        let attributes = Vec::new();
        pools
            .load(Pool {
                name,
                addresses,
                attributes,
            })
            .unwrap();
        pools
    }

    #[test]
    fn a_peer_gets_its_address_again_and_nobody_gets_one_that_is_in_use() {
        let mut pools = pools("10.9.0.1", "10.9.0.2");
        let names = ["p".into()];
        let get = |pools: &mut Pools, n| pools.acquire(&names, &who(n), true, None);
        let (one, two) = (get(&mut pools, 1).unwrap(), get(&mut pools, 2).unwrap());
        assert_ne!(one, two);
        assert_eq!(get(&mut pools, 3), None);
        pools.release(one, &who(1));
        assert_eq!(get(&mut pools, 1), Some(one));
        pools.release(one, &who(1));
        assert_eq!(
            get(&mut pools, 3),
            Some(one),
            "given to another when nothing else is left"
        );
        assert_eq!(get(&mut pools, 1), None);
        assert!(pools.unload("p").is_err());
        pools.release(one, &who(3));
        pools.release(two, &who(2));
        assert!(pools.unload("p").is_ok());
    }

    #[test]
    fn a_wish_is_granted_if_it_is_free_and_of_the_pool() {
        let mut pools = pools("2001:db8::1", "2001:db8::ff");
        let names = ["p".into()];
        let wish: IpAddr = "2001:db8::42".parse().unwrap();
        assert_eq!(
            pools.acquire(&names, &who(1), false, Some(wish)),
            Some(wish)
        );
        assert_ne!(
            pools.acquire(&names, &who(2), false, Some(wish)),
            Some(wish)
        );
        assert_eq!(
            pools.acquire(&names, &who(3), true, None),
            None,
            "no IPv4 in it"
        );
        assert!(
            pools
                .acquire(&names, &who(3), false, Some("::1".parse().unwrap()))
                .is_some()
        );
    }
}
