//! Ports, routes and neighbours, compiled from the policy region.

use adit_abi::{
    Address, DropReason, MAX_PORTS, PolicyReader, PortRecord, RouteKind, RouteRecord, Side,
};

use crate::hash::QuickMap;

/// Where a packet goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// Out of a port.
    Wire(Wire),
    /// To the gateway's own kernel.
    Host {
        /// The destination is the gateway itself; otherwise the kernel forwards it.
        local: bool,
    },
    /// Nowhere.
    Refused(DropReason),
}

/// A next hop behind a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    /// Port number.
    pub port: u8,
    /// The port's side.
    pub side: Side,
    /// Largest IP packet in bytes.
    pub mtu: u16,
    /// The port's Ethernet address.
    pub source: [u8; 6],
    /// Address of the neighbour: the route's gateway, or the destination itself.
    pub via: Address,
    /// The neighbour's Ethernet address, once it is resolved.
    pub mac: Option<[u8; 6]>,
}

/// Routes with one prefix length.
struct Routes {
    mask: u128,
    by_network: QuickMap<u128, RouteRecord>,
}

/// The compiled forwarding tables.
pub struct Fib {
    ports: [Option<PortRecord>; MAX_PORTS],
    /// Longest prefixes first: IPv4, then IPv6.
    v4: Vec<Routes>,
    v6: Vec<Routes>,
    neighbours: QuickMap<(u8, u128), [u8; 6]>,
}

impl Fib {
    /// Compiles the tables of a region.
    pub fn compile(policy: &PolicyReader) -> Self {
        let mut fib = Self {
            ports: [None; MAX_PORTS],
            v4: Vec::new(),
            v6: Vec::new(),
            neighbours: QuickMap::default(),
        };
        for (n, record) in policy.ports() {
            if let Some(place) = fib.ports.get_mut(n) {
                *place = Some(record);
            }
        }
        for route in policy.routes() {
            fib.add(route);
        }
        fib.add_own_addresses();
        for tables in [&mut fib.v4, &mut fib.v6] {
            tables.sort_by_key(|routes| std::cmp::Reverse(routes.mask));
        }
        for neighbour in policy.neighbours() {
            let key = (neighbour.port, neighbour.address.to_u128());
            fib.neighbours.insert(key, neighbour.mac);
        }
        fib
    }

    /// A port's own address is the gateway's, whether or not a route says so too.
    fn add_own_addresses(&mut self) {
        for port in self.ports.into_iter().flatten() {
            for address in [port.v4, port.v6] {
                if !address.is_unspecified() {
                    self.add(RouteRecord {
                        destination: address,
                        gateway: Address::UNSPECIFIED,
                        length: 128,
                        kind: RouteKind::Local as u8,
                        port: 0,
                        reserved: 0,
                        metric: 0,
                        mtu: 0,
                        spare: [0; 12],
                    });
                }
            }
        }
    }

    fn add(&mut self, route: RouteRecord) {
        let prefix = route.prefix();
        let tables = if prefix.is_v4() {
            &mut self.v4
        } else {
            &mut self.v6
        };
        let mask = match prefix.length {
            0 => 0,
            n => u128::MAX << (128 - u32::from(n)),
        };
        let at = tables.iter().position(|r| r.mask == mask);
        let at = at.unwrap_or_else(|| {
            tables.push(Routes {
                mask,
                by_network: QuickMap::default(),
            });
            tables.len() - 1
        });
        let Some(routes) = tables.get_mut(at) else {
            return;
        };
        let known = routes
            .by_network
            .entry(prefix.address.to_u128())
            .or_insert(route);
        if route.metric < known.metric {
            *known = route;
        }
    }

    /// Where a packet for `destination` goes: the longest prefix that covers it (RFC 1812 §5.2.4.3).
    pub fn hop(&self, destination: &Address) -> Hop {
        let tables = if destination.is_v4() {
            &self.v4
        } else {
            &self.v6
        };
        let address = destination.to_u128();
        let found = tables
            .iter()
            .find_map(|routes| routes.by_network.get(&(address & routes.mask)));
        let Some(route) = found else {
            return Hop::Refused(DropReason::NoRoute);
        };
        match route.kind() {
            RouteKind::Unicast => self.wire(route, destination),
            RouteKind::Local => Hop::Host { local: true },
            RouteKind::Kernel => Hop::Host { local: false },
            RouteKind::Broadcast => Hop::Refused(DropReason::Broadcast),
            RouteKind::Blackhole => Hop::Refused(DropReason::NoRoute),
        }
    }

    fn wire(&self, route: &RouteRecord, destination: &Address) -> Hop {
        let Some((port, side)) = self.port(route.port).and_then(|p| Some((p, p.side()?))) else {
            return Hop::Refused(DropReason::NoPort);
        };
        let via = if route.gateway.is_unspecified() {
            *destination
        } else {
            route.gateway
        };
        let mtu = match u16::try_from(route.mtu) {
            Ok(0) | Err(_) => port.mtu,
            Ok(mtu) => mtu.min(port.mtu),
        };
        Hop::Wire(Wire {
            port: route.port,
            side,
            mtu,
            source: port.mac,
            via,
            mac: self.neighbour(route.port, &via),
        })
    }

    /// A port by its number.
    pub fn port(&self, number: u8) -> Option<&PortRecord> {
        self.ports.get(number as usize)?.as_ref()
    }

    /// A neighbour's Ethernet address.
    pub fn neighbour(&self, port: u8, address: &Address) -> Option<[u8; 6]> {
        self.neighbours.get(&(port, address.to_u128())).copied()
    }

    /// Whether an address is the gateway's own.
    pub fn is_own(&self, address: &Address) -> bool {
        self.hop(address) == Hop::Host { local: true }
    }

    /// The gateway's address towards hosts on a port, in the family asked for.
    pub fn address_of(&self, port: u8, v4: bool) -> Option<Address> {
        own_address(self.port(port)?, v4)
    }

    /// The gateway's address on its protected side, in the family asked for.
    pub fn inside_address(&self, v4: bool) -> Option<Address> {
        self.ports
            .iter()
            .flatten()
            .filter(|port| port.side() == Some(Side::Inside))
            .find_map(|port| own_address(port, v4))
    }
}

fn own_address(port: &PortRecord, v4: bool) -> Option<Address> {
    let address = if v4 { port.v4 } else { port.v6 };
    (!address.is_unspecified()).then_some(address)
}
