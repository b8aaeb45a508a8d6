//! From updates to changes of the table: no socket, no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use adit_abi::{Address, MAX_PORTS, PolicyWriter, PortRecord, Prefix, Side};

use super::neighbours::Neighbours;
use super::routes::Routes;
use super::update::{InterfaceAddress, Link, Update};

/// A port as the mirror knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MirrorPort {
    /// Port number.
    pub number: u8,
    /// The kernel's interface number.
    pub ifindex: u32,
    /// Which side of the gateway.
    pub side: Side,
}

/// The kernel's view of the network, as far as forwarding needs it.
#[derive(Default)]
pub struct Mirror {
    ports: Vec<MirrorPort>,
    links: BTreeMap<u32, Link>,
    addresses: BTreeSet<InterfaceAddress>,
    pub(super) routes: Routes,
    neighbours: Neighbours,
    gone: BTreeSet<u32>,
    written: [Option<PortRecord>; MAX_PORTS],
}

/// What an update led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// The data plane should know.
    pub forwarding: bool,
    /// This host's own addresses are others now.
    pub own_addresses: bool,
    /// An interface came or went.
    pub links: bool,
    /// The kernel may have dropped routes without saying so: they should be read afresh.
    pub reread: bool,
    /// Entries that found no room.
    pub refused: u32,
    /// Changes were missed, and made up for: an interface may have gone and come again unseen.
    pub missed: bool,
}

impl Effect {
    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self {
            forwarding: self.forwarding | other.forwarding,
            own_addresses: self.own_addresses | other.own_addresses,
            links: self.links | other.links,
            reread: self.reread | other.reread,
            refused: self.refused + other.refused,
            missed: self.missed | other.missed,
        }
    }
}

impl Mirror {
    /// A mirror for these ports, knowing nothing yet.
    pub fn new(ports: &[MirrorPort]) -> Self {
        Self {
            ports: ports.to_vec(),
            ..Self::default()
        }
    }

    /// An interface by its name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|l| l.name == name)
    }

    /// An interface by its number.
    pub fn link_by_number(&self, ifindex: u32) -> Option<&Link> {
        self.links.get(&ifindex)
    }

    /// The numbers of the interfaces that went since this was asked last; some may be in use again.
    pub fn take_gone(&mut self) -> BTreeSet<u32> {
        std::mem::take(&mut self.gone)
    }

    /// Adds a port, or gives one another interface. Its routes and neighbours come when they are read afresh.
    pub fn set_port(&mut self, port: MirrorPort) {
        self.ports.retain(|p| p.number != port.number);
        self.ports.push(port);
    }

    /// The interface of a port.
    pub fn port_ifindex(&self, number: u8) -> Option<u32> {
        let port = self.ports.iter().find(|p| p.number == number)?;
        Some(port.ifindex)
    }

    /// The addresses of this host, those of the loopback interface left out.
    pub fn own_addresses(&self) -> BTreeSet<IpAddr> {
        self.addresses
            .iter()
            .map(|a| IpAddr::from(a.address))
            .filter(|ip| !ip.is_loopback())
            .collect()
    }

    /// Whether an interface has an IPv4 address.
    pub fn has_v4(&self, ifindex: u32) -> bool {
        let mut addresses = self.addresses.iter();
        addresses.any(|a| a.ifindex == ifindex && a.address.is_v4())
    }

    /// The networks on the links of the inside ports.
    pub fn inside_networks(&self) -> BTreeSet<Prefix> {
        let inside = |ifindex| {
            let mut ports = self.ports.iter();
            ports.any(|p| p.ifindex == ifindex && p.side == Side::Inside)
        };
        self.addresses
            .iter()
            .filter(|a| a.global && inside(a.ifindex))
            .filter_map(|a| Prefix::new(a.address.into(), a.length))
            .collect()
    }

    /// The broadcast addresses of the networks that this host is on.
    pub fn broadcasts(&self) -> BTreeSet<IpAddr> {
        let all = self.addresses.iter().filter_map(|a| a.broadcast);
        all.map(IpAddr::from).collect()
    }

    /// Makes the table follow one update.
    pub fn apply(&mut self, table: &mut PolicyWriter, update: Update) -> Effect {
        let mut effect = Effect::default();
        match update {
            Update::Link(link) => {
                let before = self.links.insert(link.ifindex, link.clone());
                // IPv4 routes of an interface that goes down vanish without a word.
                effect.reread = before.as_ref().is_none_or(|b| b.up != link.up);
                effect.links = before.is_none_or(|b| b.up != link.up || b.name != link.name);
                effect.forwarding = self.write_ports(table);
            }
            Update::LinkGone(ifindex) => {
                self.links.remove(&ifindex);
                self.gone.insert(ifindex);
                self.addresses.retain(|a| a.ifindex != ifindex);
                let neighbours = self.neighbours.remove_interface(table, ifindex);
                effect.forwarding = self.write_ports(table) | neighbours;
                effect.own_addresses = true;
                effect.links = true;
                effect.reread = true;
            }
            Update::Address(a) => {
                effect.own_addresses = !self.addresses.contains(&a);
                // The same one, its broadcast address or lifetime changed.
                self.addresses.retain(|o| {
                    (o.ifindex, o.address, o.length) != (a.ifindex, a.address, a.length)
                });
                self.addresses.insert(a);
                effect.forwarding = self.write_ports(table);
            }
            Update::AddressGone(a) => {
                let before = self.addresses.len();
                self.addresses.retain(|o| {
                    (o.ifindex, o.address, o.length) != (a.ifindex, a.address, a.length)
                });
                effect.own_addresses = self.addresses.len() != before;
                effect.forwarding = self.write_ports(table);
                // Routes with this address as their preferred source go with it, silently.
                effect.reread = true;
            }
            Update::Route { route, replaces } => {
                return self.routes.put(table, &self.ports, route, replaces);
            }
            Update::RouteGone(route) => return self.routes.remove(table, &route),
            Update::Neighbour(n) => return self.neighbours.put(table, &self.ports, n),
            Update::NeighbourGone(n) => {
                effect.forwarding = self.neighbours.remove(table, n.ifindex, n.address);
            }
        }
        effect
    }

    /// Makes the mirror know exactly these interfaces and addresses: what went unseen goes now.
    pub fn reread_links(
        &mut self,
        table: &mut PolicyWriter,
        links: Vec<Update>,
        addresses: Vec<Update>,
    ) -> Effect {
        let numbers: BTreeSet<u32> = links
            .iter()
            .filter_map(|u| match u {
                Update::Link(l) => Some(l.ifindex),
                _ => None,
            })
            .collect();
        let place = |a: &InterfaceAddress| (a.ifindex, a.address, a.length);
        let places: BTreeSet<_> = addresses
            .iter()
            .filter_map(|u| match u {
                Update::Address(a) => Some(place(a)),
                _ => None,
            })
            .collect();
        let gone = self.links.keys().filter(|n| !numbers.contains(n));
        let mut updates: Vec<_> = gone.map(|n| Update::LinkGone(*n)).collect();
        let gone = self.addresses.iter();
        let gone = gone.filter(|a| !places.contains(&place(a)));
        updates.extend(gone.map(|a| Update::AddressGone(*a)));
        updates
            .into_iter()
            .chain(links)
            .chain(addresses)
            .fold(Effect::default(), |effect, update| {
                effect.and(self.apply(table, update))
            })
    }

    /// Makes the table hold exactly these neighbours; nothing that stays is touched.
    pub fn reread_neighbours(
        &mut self,
        table: &mut PolicyWriter,
        neighbours: Vec<Update>,
    ) -> Effect {
        let there: BTreeSet<_> = neighbours
            .iter()
            .filter_map(|u| match u {
                Update::Neighbour(n) => Some((n.ifindex, n.address)),
                _ => None,
            })
            .collect();
        let effect = Effect {
            forwarding: self.neighbours.keep_only(table, &there),
            ..Effect::default()
        };
        neighbours
            .into_iter()
            .fold(effect, |effect, n| effect.and(self.apply(table, n)))
    }

    /// Makes the table hold exactly these routes; nothing that stays is touched.
    pub fn reread_routes(&mut self, table: &mut PolicyWriter, routes: Vec<Update>) -> Effect {
        self.routes.begin_sweep();
        let mut effect = Effect::default();
        for update in routes {
            if let Update::Route { route, .. } = update {
                effect = effect.and(self.routes.put(table, &self.ports, route, false));
            }
        }
        effect.forwarding |= self.routes.end_sweep(table);
        effect
    }

    /// Writes everything into another table, which holds no routes and neighbours yet.
    pub fn replay(&mut self, table: &mut PolicyWriter) -> Effect {
        self.written = [None; MAX_PORTS];
        self.write_ports(table);
        let routes = self.routes.replay(table, &self.ports);
        routes.and(self.neighbours.replay(table, &self.ports))
    }

    /// Writes the records of ports that changed.
    fn write_ports(&mut self, table: &mut PolicyWriter) -> bool {
        let mut changed = false;
        for port in &self.ports {
            let n = usize::from(port.number);
            let Some(written) = self.written.get_mut(n) else {
                continue;
            };
            let first = |v4: bool| {
                self.addresses
                    .iter()
                    .filter(|a| a.ifindex == port.ifindex && a.global)
                    .map(|a| a.address)
                    .find(|a| a.is_v4() == v4)
                    .unwrap_or(Address::UNSPECIFIED)
            };
            let record = self.links.get(&port.ifindex).map(|link| PortRecord {
                ifindex: port.ifindex,
                mtu: u16::try_from(link.mtu).unwrap_or(u16::MAX),
                side: port.side as u8,
                reserved: 0,
                v4: first(true),
                v6: first(false),
                mac: link.mac,
                spare: [0; 10],
            });
            if *written != record {
                table.set_port(n, record.as_ref());
                *written = record;
                changed = true;
            }
        }
        changed
    }
}
