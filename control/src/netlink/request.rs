//! What adit asks of the kernel: its tables, its own routes, a neighbour.

use std::io;
use std::net::IpAddr;

use adit_abi::Prefix;
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
    NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::OWN_PROTOCOL;
use super::route_socket::Asker;
use super::update::Update;

// Flags of <linux/netlink.h>.
pub(super) const REQUEST: u16 = 1;
pub(super) const ACKNOWLEDGE: u16 = 4;
pub(super) const DUMP: u16 = 0x300;
const REPLACE: u16 = 0x100;
pub(super) const EXCLUSIVE: u16 = 0x200;
pub(super) const CREATE: u16 = 0x400;

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
    /// Back to the rules: other tables decide.
    Throw,
}

/// A route of adit's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnRoute {
    /// The kernel's table.
    pub table: u8,
    /// Destination.
    pub prefix: Prefix,
    /// The lowest of equal prefixes wins.
    pub metric: u32,
    /// Where it leads.
    pub target: Target,
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
    pub fn add_route(&mut self, route: &OwnRoute) -> io::Result<()> {
        let flags = REQUEST | ACKNOWLEDGE | CREATE | REPLACE;
        self.ask(RouteNetlinkMessage::NewRoute(own_route(route)), flags)?;
        Ok(())
    }

    /// Takes a route of adit's own away, whichever interface it leads into; one that is not there is fine.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove_route(&mut self, route: &OwnRoute) -> io::Result<()> {
        let mut message = own_route(route);
        message.attributes.retain(|a| {
            matches!(
                a,
                RouteAttribute::Destination(_) | RouteAttribute::Priority(_)
            )
        });
        let flags = REQUEST | ACKNOWLEDGE;
        match self.ask(RouteNetlinkMessage::DelRoute(message), flags) {
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// The table and prefix of each of adit's own routes, and whether it sends back to other tables.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn own_routes(&mut self) -> io::Result<Vec<(u8, Prefix, bool)>> {
        let all = RouteNetlinkMessage::GetRoute(RouteMessage::default());
        let messages = self.ask(all, REQUEST | DUMP)?;
        let own = messages.iter().filter_map(|m| match &m.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(m))
                if u8::from(m.header.protocol) == OWN_PROTOCOL =>
            {
                let any: IpAddr = match m.header.address_family {
                    AddressFamily::Inet => std::net::Ipv4Addr::UNSPECIFIED.into(),
                    _ => std::net::Ipv6Addr::UNSPECIFIED.into(),
                };
                let to = m.attributes.iter().find_map(|a| match a {
                    RouteAttribute::Destination(RouteAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
                    RouteAttribute::Destination(RouteAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
                    _ => None,
                });
                let length = m.header.destination_prefix_length;
                let prefix = Prefix::new(to.unwrap_or(any), length)?;
                Some((m.header.table, prefix, m.header.kind == RouteType::Throw))
            }
            _ => None,
        });
        Ok(own.collect())
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

pub(super) fn family(ip: &IpAddr) -> AddressFamily {
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
pub(super) fn is_family_missing(e: &io::Error) -> bool {
    e.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
        || e.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error())
}

/// The address of a prefix in its own family.
///
/// `::` stands for "none" in the 16-byte form, so the family comes from the prefix.
pub(super) fn family_address(prefix: Prefix) -> IpAddr {
    match (IpAddr::from(prefix.address), prefix.is_v4()) {
        (IpAddr::V4(v4), false) => IpAddr::V6(v4.to_ipv6_mapped()),
        (ip, _) => ip,
    }
}

fn own_route(route: &OwnRoute) -> RouteMessage {
    let OwnRoute {
        table,
        prefix,
        metric,
        target,
    } = *route;
    let ip = family_address(prefix);
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(&ip),
        destination_prefix_length: prefix.family_length(),
        table,
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
        Target::Throw => message.header.kind = RouteType::Throw,
    }
    message
}
