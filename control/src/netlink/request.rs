//! What adit asks of the kernel: its tables, its own routes, a neighbour.

use std::io;
use std::net::IpAddr;

use adit_abi::Prefix;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
    NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::route_socket::Asker;
use super::update::Update;
use super::{OWN_PROTOCOL, OWN_TABLE};

// Flags of <linux/netlink.h>.
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const DUMP: u16 = 0x300;
const REPLACE: u16 = 0x100;
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;

/// One of the kernel's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Interfaces.
    Links,
    /// Their addresses.
    Addresses,
    /// Routes of both families.
    Routes,
    /// Neighbours of both families.
    Neighbours,
}

/// Where a route of adit's own leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Into an interface, packets of this host bearing this source address if one is given.
    Interface {
        /// The interface.
        ifindex: u32,
        /// Preferred source address.
        source: Option<IpAddr>,
    },
    /// Nowhere.
    Blackhole,
}

impl Asker {
    /// Reads a whole table.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn dump(&mut self, table: Table) -> io::Result<Vec<Update>> {
        let request = match table {
            Table::Links => RouteNetlinkMessage::GetLink(LinkMessage::default()),
            Table::Addresses => RouteNetlinkMessage::GetAddress(AddressMessage::default()),
            Table::Routes => RouteNetlinkMessage::GetRoute(RouteMessage::default()),
            Table::Neighbours => RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()),
        };
        let messages = self.ask(request, REQUEST | DUMP)?;
        Ok(messages.iter().filter_map(Update::read).collect())
    }

    /// Adds a route of adit's own; one that is there already is fine.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add_route(&mut self, prefix: Prefix, metric: u32, target: Target) -> io::Result<()> {
        let message = own_route(prefix, metric, target);
        let flags = REQUEST | ACKNOWLEDGE | CREATE | REPLACE;
        self.ask(RouteNetlinkMessage::NewRoute(message), flags)?;
        Ok(())
    }

    /// Takes a route of adit's own away; one that is not there is fine.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove_route(&mut self, prefix: Prefix, metric: u32, target: Target) -> io::Result<()> {
        let message = own_route(prefix, metric, target);
        match self.ask(
            RouteNetlinkMessage::DelRoute(message),
            REQUEST | ACKNOWLEDGE,
        ) {
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// The prefixes that adit's own routes cover.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn own_routes(&mut self) -> io::Result<Vec<Prefix>> {
        let routes = self.dump(Table::Routes)?;
        let own = routes.into_iter().filter_map(|update| match update {
            Update::Route { route, .. } if route.table == u32::from(OWN_TABLE) => {
                Some(route.prefix)
            }
            _ => None,
        });
        Ok(own.collect())
    }

    /// Has the kernel look into adit's own table before the main one, for both families.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add_rules(&mut self) -> io::Result<()> {
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let flags = REQUEST | ACKNOWLEDGE | CREATE | EXCLUSIVE;
            match self.ask(RouteNetlinkMessage::NewRule(rule(family)), flags) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) if is_family_missing(&e) => {}
                other => drop(other?),
            }
        }
        Ok(())
    }

    /// Takes the rules of [`Asker::add_rules`] away.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove_rules(&mut self) -> io::Result<()> {
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            match self.ask(
                RouteNetlinkMessage::DelRule(rule(family)),
                REQUEST | ACKNOWLEDGE,
            ) {
                Err(e) if e.kind() == io::ErrorKind::NotFound || is_family_missing(&e) => {}
                other => drop(other?),
            }
        }
        Ok(())
    }

    /// Has the kernel resolve a neighbour.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn resolve(&mut self, ifindex: u32, address: IpAddr) -> io::Result<()> {
        self.put_neighbour(use_neighbour(ifindex, address))
    }

    /// Has the kernel keep a neighbour fresh from now on, though it sees none of the traffic to it.
    ///
    /// # Errors
    /// What the kernel says; before Linux 5.16 it knows no managed neighbours.
    pub fn keep_fresh(&mut self, ifindex: u32, address: IpAddr) -> io::Result<()> {
        let mut message = use_neighbour(ifindex, address);
        message
            .attributes
            .push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
        self.put_neighbour(message)
    }

    fn put_neighbour(&mut self, message: NeighbourMessage) -> io::Result<()> {
        let flags = REQUEST | ACKNOWLEDGE | CREATE;
        self.ask(RouteNetlinkMessage::NewNeighbour(message), flags)?;
        Ok(())
    }

    /// Sets an interface up.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_up(&mut self, ifindex: u32, mtu: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = ifindex;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        message.attributes = vec![LinkAttribute::Mtu(mtu)];
        self.ask(RouteNetlinkMessage::SetLink(message), REQUEST | ACKNOWLEDGE)?;
        Ok(())
    }
}

fn family(ip: &IpAddr) -> AddressFamily {
    match ip {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn use_neighbour(ifindex: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(&address);
    message.header.ifindex = ifindex;
    message.header.state = NeighbourState::None;
    message.header.flags = NeighbourFlags::Use;
    message.attributes = vec![NeighbourAttribute::Destination(match address {
        IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
        IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
    })];
    message
}

/// A kernel without IPv6 knows neither its routes nor its rules.
fn is_family_missing(e: &io::Error) -> bool {
    e.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
        || e.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error())
}

fn rule(family: AddressFamily) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family;
    message.header.table = OWN_TABLE;
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Priority(u32::from(OWN_TABLE)),
        RuleAttribute::Protocol(RouteProtocol::Other(OWN_PROTOCOL)),
    ];
    message
}

fn own_route(prefix: Prefix, metric: u32, target: Target) -> RouteMessage {
    let ip = IpAddr::from(prefix.address);
    // `::` stands for "none" in the 16-byte form, so the family comes from the prefix.
    let ip = match (ip, prefix.is_v4()) {
        (ip, true) => ip,
        (IpAddr::V4(v4), false) => IpAddr::V6(v4.to_ipv6_mapped()),
        (ip, false) => ip,
    };
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(&ip),
        destination_prefix_length: prefix.family_length(),
        table: OWN_TABLE,
        protocol: RouteProtocol::Other(OWN_PROTOCOL),
        scope: RouteScope::Universe,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message.attributes = vec![
        RouteAttribute::Destination(RouteAddress::from(ip)),
        RouteAttribute::Priority(metric),
    ];
    match target {
        Target::Interface { ifindex, source } => {
            message.header.scope = if ip.is_ipv4() {
                RouteScope::Link
            } else {
                RouteScope::Universe
            };
            message.attributes.push(RouteAttribute::Oif(ifindex));
            if let Some(source) = source {
                message
                    .attributes
                    .push(RouteAttribute::PrefSource(RouteAddress::from(source)));
            }
        }
        Target::Blackhole => message.header.kind = RouteType::BlackHole,
    }
    message
}
