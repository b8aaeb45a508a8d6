//! The kernel's messages as plain values.

use std::net::{IpAddr, Ipv4Addr};

use adit_abi::{Address, Prefix};
use netlink_packet_core::NetlinkMessage;
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteNextHopFlags, RouteType, RouteVia,
};

/// `NLM_F_REPLACE` of <linux/netlink.h>: the route takes the place of another one of the same prefix and metric.
const REPLACE: u16 = 0x100;

/// Something that came, changed or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// An interface came or changed.
    Link(Link),
    /// An interface went.
    LinkGone(u32),
    /// An address came.
    Address(InterfaceAddress),
    /// An address went.
    AddressGone(InterfaceAddress),
    /// A route came.
    Route {
        /// The route.
        route: Route,
        /// Whether it takes the place of another one.
        replaces: bool,
    },
    /// A route went.
    RouteGone(Route),
    /// A neighbour came or changed.
    Neighbour(Neighbour),
    /// A neighbour went.
    NeighbourGone(Neighbour),
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Largest IP packet in bytes.
    pub mtu: u32,
    /// Ethernet address, zero where it has none.
    pub mac: [u8; 6],
    /// Whether it is up.
    pub up: bool,
    /// Receive queues that it was made with.
    pub receive_queues: u32,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceAddress {
    /// The interface.
    pub ifindex: u32,
    /// The address.
    pub address: Address,
    /// Length of its network's prefix, in its family's own terms.
    pub length: u8,
    /// The network's broadcast address, if it has one.
    pub broadcast: Option<Ipv4Addr>,
    /// Whether it is good beyond the link.
    pub global: bool,
}

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Forward.
    Unicast,
    /// This host.
    Local,
    /// Broadcast or multicast.
    Broadcast,
    /// Drop.
    Blackhole,
}

/// A next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hop {
    /// The interface.
    pub ifindex: u32,
    /// The gateway, or unspecified when the destination is on the link.
    pub gateway: Address,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// The kernel's table.
    pub table: u32,
    /// Destination.
    pub prefix: Prefix,
    /// The lowest of equal prefixes wins.
    pub metric: u32,
    /// What it does.
    pub kind: Kind,
    /// Largest packet in bytes, 0 for the interface's.
    pub mtu: u32,
    /// Next hops; several for a multipath route.
    pub hops: Vec<Hop>,
    /// Who added it.
    pub protocol: u8,
}

/// A neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The interface.
    pub ifindex: u32,
    /// Its address.
    pub address: Address,
    /// Its Ethernet address, if one is known that can be used.
    pub mac: Option<[u8; 6]>,
}

impl Update {
    /// Reads a message; [`None`] for what does not matter here.
    pub fn read(message: &NetlinkMessage<RouteNetlinkMessage>) -> Option<Self> {
        let NetlinkPayload::InnerMessage(inner) = &message.payload else {
            return None;
        };
        Some(match inner {
            RouteNetlinkMessage::NewLink(m) => Self::Link(link(m)?),
            RouteNetlinkMessage::DelLink(m) => Self::LinkGone(m.header.index),
            RouteNetlinkMessage::NewAddress(m) => Self::Address(address(m)?),
            RouteNetlinkMessage::DelAddress(m) => Self::AddressGone(address(m)?),
            RouteNetlinkMessage::NewRoute(m) => Self::Route {
                route: route(m)?,
                replaces: message.header.flags & REPLACE != 0,
            },
            RouteNetlinkMessage::DelRoute(m) => Self::RouteGone(route(m)?),
            RouteNetlinkMessage::NewNeighbour(m) => Self::Neighbour(neighbour(m)?),
            RouteNetlinkMessage::DelNeighbour(m) => Self::NeighbourGone(neighbour(m)?),
            _ => return None,
        })
    }
}

fn mac(bytes: &[u8]) -> Option<[u8; 6]> {
    bytes.try_into().ok()
}

fn link(m: &LinkMessage) -> Option<Link> {
    let mut out = Link {
        ifindex: m.header.index,
        name: String::new(),
        mtu: 0,
        mac: [0; 6],
        up: m.header.flags.contains(LinkFlags::Up),
        receive_queues: 1,
    };
    for a in &m.attributes {
        match a {
            LinkAttribute::IfName(name) => out.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => out.mtu = *mtu,
            LinkAttribute::Address(bytes) => out.mac = mac(bytes).unwrap_or_default(),
            LinkAttribute::NumRxQueues(n) => out.receive_queues = *n,
            _ => {}
        }
    }
    // A notice of a bridge or a wireless event has no name: it is not about the interface itself.
    (!out.name.is_empty()).then_some(out)
}

fn address(m: &AddressMessage) -> Option<InterfaceAddress> {
    let (mut local, mut other, mut broadcast) = (None, None, None);
    for a in &m.attributes {
        match a {
            // On a point-to-point link `Address` is the far end's.
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => other = Some(*ip),
            AddressAttribute::Broadcast(ip) => broadcast = Some(*ip),
            _ => {}
        }
    }
    Some(InterfaceAddress {
        ifindex: m.header.index,
        address: local.or(other)?.into(),
        length: m.header.prefix_len,
        broadcast,
        global: matches!(m.header.scope, AddressScope::Universe | AddressScope::Site),
    })
}

fn route_address(a: &RouteAddress) -> Option<IpAddr> {
    match a {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

fn hop(ifindex: u32, attributes: &[RouteAttribute]) -> Hop {
    let mut gateway = Address::UNSPECIFIED;
    for a in attributes {
        let ip = match a {
            RouteAttribute::Gateway(a) => route_address(a),
            // An IPv4 route through an IPv6 neighbour (RFC 5549).
            RouteAttribute::Via(RouteVia::Inet(ip)) => Some(IpAddr::V4(*ip)),
            RouteAttribute::Via(RouteVia::Inet6(ip)) => Some(IpAddr::V6(*ip)),
            _ => None,
        };
        if let Some(ip) = ip {
            gateway = ip.into();
        }
    }
    Hop { ifindex, gateway }
}

fn route(m: &RouteMessage) -> Option<Route> {
    use netlink_packet_route::AddressFamily;
    let any: IpAddr = match m.header.address_family {
        AddressFamily::Inet => std::net::Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => std::net::Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let kind = match m.header.kind {
        RouteType::Unicast => Kind::Unicast,
        RouteType::Local | RouteType::Anycast => Kind::Local,
        RouteType::Broadcast | RouteType::Multicast => Kind::Broadcast,
        RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit => Kind::Blackhole,
        // `throw` ends the search in one table; tables are merged here.
        _ => return None,
    };
    let mut destination = any;
    let mut out = Route {
        table: m.header.table.into(),
        prefix: Prefix::new(any, 0)?,
        metric: 0,
        kind,
        mtu: 0,
        hops: Vec::new(),
        protocol: m.header.protocol.into(),
    };
    let mut ifindex = None;
    for a in &m.attributes {
        match a {
            RouteAttribute::Destination(a) => destination = route_address(a)?,
            RouteAttribute::Priority(metric) => out.metric = *metric,
            RouteAttribute::Table(table) => out.table = *table,
            RouteAttribute::Oif(n) => ifindex = Some(*n),
            RouteAttribute::Metrics(metrics) => {
                for metric in metrics {
                    if let RouteMetric::Mtu(mtu) = metric {
                        out.mtu = *mtu;
                    }
                }
            }
            RouteAttribute::MultiPath(hops) => {
                out.hops = hops
                    .iter()
                    .filter(|h| !h.flags.contains(RouteNextHopFlags::Dead))
                    .map(|h| hop(h.interface_index, &h.attributes))
                    .collect();
            }
            _ => {}
        }
    }
    if let Some(ifindex) = ifindex {
        out.hops = vec![hop(ifindex, &m.attributes)];
    }
    out.prefix = Prefix::new(destination, m.header.destination_prefix_length)?;
    Some(out)
}

fn neighbour(m: &NeighbourMessage) -> Option<Neighbour> {
    let (mut address, mut link_address) = (None, None);
    for a in &m.attributes {
        match a {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => {
                address = Some(IpAddr::V4(*ip));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => {
                address = Some(IpAddr::V6(*ip));
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => link_address = mac(bytes),
            _ => {}
        }
    }
    // A stale address is still the best one: using it makes the kernel look again.
    let usable = matches!(
        m.header.state,
        NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
    );
    Some(Neighbour {
        ifindex: m.header.ifindex,
        address: address?.into(),
        mac: link_address.filter(|m| usable && *m != [0; 6]),
    })
}
