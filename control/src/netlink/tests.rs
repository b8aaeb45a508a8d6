//! The mirror: from the kernel's updates to the table, without a kernel.

use std::net::IpAddr;

use adit_abi::{Address, Capacity, PolicyWriter, Prefix, Side};
use netlink_packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteNextHop, RouteProtocol, RouteType,
};

use super::mirror::{Effect, Mirror, MirrorPort};
use super::update::{Hop, InterfaceAddress, Kind, Link, Neighbour, Route, Update};

const LAN: u32 = 7;
const WAN: u32 = 8;
const OTHER: u32 = 9;

fn table() -> PolicyWriter {
    let capacity = Capacity {
        sas: 8,
        policies: 8,
        routes: 8,
        neighbours: 4,
        window: 64,
    };
    PolicyWriter::create(&capacity, 1).unwrap()
}

fn mirror() -> Mirror {
    let port = |number, ifindex, side| MirrorPort {
        number,
        ifindex,
        side,
    };
    Mirror::new(&[port(0, LAN, Side::Inside), port(1, WAN, Side::Outside)])
}

fn ip(text: &str) -> Address {
    text.parse::<IpAddr>().unwrap().into()
}

fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').unwrap();
    Prefix::new(address.parse().unwrap(), length.parse().unwrap()).unwrap()
}

fn route(to: &str, via: &str, ifindex: u32, metric: u32) -> Route {
    Route {
        table: 254,
        prefix: prefix(to),
        metric,
        kind: Kind::Unicast,
        mtu: 0,
        hops: vec![Hop {
            ifindex,
            gateway: if via.is_empty() {
                Address::UNSPECIFIED
            } else {
                ip(via)
            },
        }],
        protocol: 4,
    }
}

fn put(m: &mut Mirror, t: &mut PolicyWriter, route: Route) -> Effect {
    m.apply(
        t,
        Update::Route {
            route,
            replaces: false,
        },
    )
}

fn routes(t: &PolicyWriter) -> Vec<String> {
    let mut out: Vec<_> = t
        .reader()
        .routes()
        .map(|r| {
            let via = if r.gateway.is_unspecified() {
                String::new()
            } else {
                format!(" via {}", r.gateway)
            };
            format!(
                "{} {:?}{via} port {} metric {}",
                r.prefix(),
                r.kind(),
                r.port,
                r.metric
            )
        })
        .collect();
    out.sort();
    out
}

#[test]
fn routes_lead_through_ports_to_the_kernel_or_nowhere() {
    let (mut m, mut t) = (mirror(), table());
    for r in [
        route("0.0.0.0/0", "192.0.2.254", WAN, 100),
        route("10.1.0.0/24", "", LAN, 0),
        route("172.16.0.0/12", "10.255.0.1", OTHER, 0),
        Route {
            kind: Kind::Blackhole,
            hops: vec![],
            ..route("10.9.0.0/16", "", LAN, 0)
        },
        Route {
            kind: Kind::Local,
            table: 255,
            ..route("10.1.0.1/32", "", LAN, 0)
        },
        Route {
            kind: Kind::Broadcast,
            table: 255,
            ..route("10.1.0.255/32", "", LAN, 0)
        },
    ] {
        assert!(put(&mut m, &mut t, r).forwarding);
    }
    assert_eq!(
        routes(&t),
        [
            "0.0.0.0/0 Unicast via 192.0.2.254 port 1 metric 101",
            "10.1.0.0/24 Unicast port 0 metric 1",
            "10.1.0.1/32 Local port 0 metric 0",
            "10.1.0.255/32 Broadcast port 0 metric 0",
            "10.9.0.0/16 Blackhole port 0 metric 1",
            "172.16.0.0/12 Kernel port 0 metric 1",
        ]
    );
}

#[test]
fn what_the_data_plane_must_not_follow_stays_out() {
    let (mut m, mut t) = (mirror(), table());
    for r in [
        Route {
            protocol: super::OWN_PROTOCOL,
            ..route("10.2.0.0/24", "", OTHER, 10)
        },
        Route {
            table: 100,
            ..route("10.3.0.0/24", "", LAN, 0)
        },
        route("fe80::/64", "", LAN, 256),
    ] {
        assert_eq!(put(&mut m, &mut t, r), Effect::default());
    }
    put(
        &mut m,
        &mut t,
        Route {
            kind: Kind::Local,
            table: 255,
            ..route("127.0.0.0/8", "", 1, 0)
        },
    );
    assert_eq!(routes(&t), ["127.0.0.0/8 Blackhole port 0 metric 0"]);
}

#[test]
fn a_route_that_says_nothing_new_touches_nothing() {
    let (mut m, mut t) = (mirror(), table());
    let r = route("10.2.0.0/24", "192.0.2.254", WAN, 0);
    assert!(put(&mut m, &mut t, r.clone()).forwarding);
    assert_eq!(put(&mut m, &mut t, r.clone()), Effect::default());
    assert!(m.apply(&mut t, Update::RouteGone(r)).forwarding);
    assert!(routes(&t).is_empty());
}

#[test]
fn a_replacing_route_takes_the_former_ones_place() {
    let (mut m, mut t) = (mirror(), table());
    put(&mut m, &mut t, route("10.2.0.0/24", "192.0.2.253", WAN, 0));
    put(&mut m, &mut t, route("10.2.0.0/24", "192.0.2.253", WAN, 50));
    m.apply(
        &mut t,
        Update::Route {
            route: route("10.2.0.0/24", "192.0.2.254", WAN, 0),
            replaces: true,
        },
    );
    assert_eq!(
        routes(&t),
        [
            "10.2.0.0/24 Unicast via 192.0.2.253 port 1 metric 51",
            "10.2.0.0/24 Unicast via 192.0.2.254 port 1 metric 1",
        ]
    );
}

#[test]
fn reading_afresh_drops_what_vanished_in_silence_and_touches_nothing_else() {
    let (mut m, mut t) = (mirror(), table());
    put(&mut m, &mut t, route("10.2.0.0/24", "192.0.2.254", WAN, 0));
    put(&mut m, &mut t, route("10.3.0.0/24", "192.0.2.254", WAN, 0));
    let generation = |t: &PolicyWriter| t.reader().routes().count();
    let fresh = |to: &str| Update::Route {
        route: route(to, "192.0.2.254", WAN, 0),
        replaces: false,
    };
    let same = m.reread_routes(&mut t, vec![fresh("10.2.0.0/24"), fresh("10.3.0.0/24")]);
    assert_eq!(same, Effect::default());
    let changed = m.reread_routes(&mut t, vec![fresh("10.3.0.0/24"), fresh("10.4.0.0/24")]);
    assert!(changed.forwarding);
    assert_eq!(generation(&t), 2);
    assert!(routes(&t).iter().all(|r| !r.starts_with("10.2.")));
}

#[test]
fn an_interface_that_goes_down_makes_routes_doubtful() {
    let (mut m, mut t) = (mirror(), table());
    let link = |up| {
        Update::Link(Link {
            ifindex: WAN,
            name: "wan0".into(),
            mtu: 1500,
            mac: [2, 0, 0, 0, 0, 1],
            up,
            receive_queues: 1,
        })
    };
    assert!(m.apply(&mut t, link(true)).reread);
    assert!(!m.apply(&mut t, link(true)).reread);
    assert!(m.apply(&mut t, link(false)).reread);
    let unknown = route("10.8.0.0/24", "192.0.2.254", WAN, 0);
    assert!(
        m.apply(&mut t, Update::RouteGone(unknown)).reread,
        "a piece of a multipath route, say"
    );
}

#[test]
fn ports_bear_mtu_ethernet_address_and_first_global_addresses() {
    let (mut m, mut t) = (mirror(), table());
    let effect = m.apply(
        &mut t,
        Update::Link(Link {
            ifindex: LAN,
            name: "lan0".into(),
            mtu: 9000,
            mac: [2, 0, 0, 0, 0, 7],
            up: true,
            receive_queues: 1,
        }),
    );
    assert!(effect.forwarding && effect.links);
    for (address, global) in [
        ("fe80::1", false),
        ("fd00::1", true),
        ("10.1.0.1", true),
        ("10.1.0.2", true),
    ] {
        let a = InterfaceAddress {
            ifindex: LAN,
            address: ip(address),
            length: 24,
            broadcast: None,
            global,
        };
        assert!(m.apply(&mut t, Update::Address(a)).own_addresses);
        assert_eq!(
            m.apply(&mut t, Update::Address(a)),
            Effect::default(),
            "said twice"
        );
    }
    let port = t.reader().port(0).unwrap();
    assert_eq!(
        (port.mtu, port.mac, port.side),
        (9000, [2, 0, 0, 0, 0, 7], Side::Inside as u8)
    );
    assert_eq!((port.v4, port.v6), (ip("10.1.0.1"), ip("fd00::1")));
    assert_eq!(
        m.own_addresses().len(),
        4,
        "link-local ones are own addresses too"
    );
    assert!(m.apply(&mut t, Update::LinkGone(LAN)).own_addresses);
    assert_eq!((t.reader().port(0), m.own_addresses().len()), (None, 0));
}

fn neighbour(ifindex: u32, address: &str, mac: Option<u8>) -> Update {
    Update::Neighbour(Neighbour {
        ifindex,
        address: ip(address),
        mac: mac.map(|n| [2, 0, 0, 0, 0, n]),
    })
}

/// The port and the last octet of each neighbour in the table.
fn macs(t: &PolicyWriter) -> Vec<(u8, u8)> {
    let neighbours = t.reader().neighbours();
    let mut out: Vec<_> = neighbours.map(|n| (n.port, n.mac[5])).collect();
    out.sort_unstable();
    out
}

#[test]
fn neighbours_of_ports_come_change_and_go() {
    let (mut m, mut t) = (mirror(), table());
    assert!(
        m.apply(&mut t, neighbour(LAN, "10.1.0.2", Some(1)))
            .forwarding
    );
    assert!(
        m.apply(&mut t, neighbour(WAN, "192.0.2.2", Some(2)))
            .forwarding
    );
    assert_eq!(
        m.apply(&mut t, neighbour(OTHER, "10.8.0.2", Some(3))),
        Effect::default()
    );
    assert_eq!(
        m.apply(&mut t, neighbour(LAN, "10.1.0.2", Some(1))),
        Effect::default()
    );
    assert_eq!(macs(&t), [(0, 1), (1, 2)]);
    assert!(
        m.apply(&mut t, neighbour(LAN, "10.1.0.2", Some(9)))
            .forwarding
    );
    assert_eq!(macs(&t), [(0, 9), (1, 2)]);
    // Failed, or incomplete again.
    assert!(m.apply(&mut t, neighbour(LAN, "10.1.0.2", None)).forwarding);
    assert_eq!(macs(&t), [(1, 2)]);
    for n in 0..6 {
        let effect = m.apply(
            &mut t,
            neighbour(LAN, &format!("10.1.0.{}", n + 10), Some(n)),
        );
        assert_eq!(effect.refused, u32::from(n >= 3));
    }
    assert_eq!(macs(&t).len(), 4);
}

#[test]
fn everything_can_be_written_into_another_table() {
    let (mut m, mut t) = (mirror(), table());
    put(&mut m, &mut t, route("10.2.0.0/24", "192.0.2.254", WAN, 0));
    m.apply(&mut t, neighbour(WAN, "192.0.2.254", Some(1)));
    let mut other = table();
    assert!(m.replay(&mut other).forwarding);
    assert_eq!(
        (routes(&other), other.reader().neighbours().count()),
        (routes(&t), 1)
    );
    // And from there on that one follows.
    m.apply(
        &mut other,
        Update::RouteGone(route("10.2.0.0/24", "192.0.2.254", WAN, 0)),
    );
    assert!(routes(&other).is_empty());
}

#[test]
fn what_went_unseen_goes_when_everything_is_read_afresh() {
    let (mut m, mut t) = (mirror(), table());
    let link = |ifindex, name: &str| {
        Update::Link(Link {
            ifindex,
            name: name.into(),
            mtu: 1500,
            mac: [2, 0, 0, 0, 0, 1],
            up: true,
            receive_queues: 1,
        })
    };
    let address = |ifindex, text: &str| {
        Update::Address(InterfaceAddress {
            ifindex,
            address: ip(text),
            length: 24,
            broadcast: None,
            global: true,
        })
    };
    let links = vec![link(LAN, "lan"), link(WAN, "wan")];
    let addresses = vec![
        address(LAN, "10.1.0.1"),
        address(LAN, "10.1.0.2"),
        address(WAN, "192.0.2.1"),
    ];
    m.reread_links(&mut t, links, addresses);
    m.apply(&mut t, neighbour(LAN, "10.1.0.9", Some(9)));
    m.apply(&mut t, neighbour(LAN, "10.1.0.8", Some(8)));
    m.apply(&mut t, neighbour(WAN, "192.0.2.2", Some(2)));

    let there = vec![neighbour(LAN, "10.1.0.9", Some(9))];
    assert!(m.reread_neighbours(&mut t, there).forwarding);
    assert_eq!(macs(&t), [(0, 9)]);

    let (links, addresses) = (vec![link(LAN, "lan")], vec![address(LAN, "10.1.0.2")]);
    let effect = m.reread_links(&mut t, links.clone(), addresses.clone());
    assert!(effect.links && effect.own_addresses && effect.forwarding);
    assert!(m.link("wan").is_none() && t.reader().port(1).is_none());
    assert_eq!(m.take_gone().into_iter().collect::<Vec<_>>(), [WAN]);
    let own: Vec<_> = m.own_addresses().into_iter().collect();
    assert_eq!(own, [IpAddr::from([10, 1, 0, 2])]);

    // And what stays is not touched.
    let effect = m.reread_links(&mut t, links, addresses);
    assert_eq!(effect, Effect::default());
}

fn message(inner: RouteNetlinkMessage) -> NetlinkMessage<RouteNetlinkMessage> {
    NetlinkMessage::new(
        NetlinkHeader::default(),
        NetlinkPayload::InnerMessage(inner),
    )
}

#[test]
fn the_kernels_messages_become_updates() {
    let v4 = |s: &str| RouteAddress::Inet(s.parse().unwrap());
    let mut m = RouteMessage::default();
    m.header.address_family = netlink_packet_route::AddressFamily::Inet;
    m.header.destination_prefix_length = 24;
    m.header.table = 254;
    m.header.protocol = RouteProtocol::Static;
    m.header.kind = RouteType::Unicast;
    m.attributes = vec![
        RouteAttribute::Destination(v4("10.2.0.0")),
        RouteAttribute::Gateway(v4("192.0.2.254")),
        RouteAttribute::Oif(WAN),
        RouteAttribute::Priority(5),
    ];
    let read = Update::read(&message(RouteNetlinkMessage::NewRoute(m.clone())));
    let expected = route("10.2.0.0/24", "192.0.2.254", WAN, 5);
    assert_eq!(
        read,
        Some(Update::Route {
            route: expected,
            replaces: false
        })
    );

    // Of a multipath route the first port's hop serves.
    let mut hops = [RouteNextHop::default(), RouteNextHop::default()];
    hops[0].interface_index = OTHER;
    hops[1].interface_index = WAN;
    hops[1].attributes = vec![RouteAttribute::Gateway(v4("192.0.2.253"))];
    m.attributes = vec![
        RouteAttribute::Destination(v4("10.2.0.0")),
        RouteAttribute::MultiPath(hops.into()),
    ];
    let read = Update::read(&message(RouteNetlinkMessage::NewRoute(m.clone()))).unwrap();
    let (mut mirror, mut table) = (mirror(), table());
    mirror.apply(&mut table, read);
    assert_eq!(
        routes(&table),
        ["10.2.0.0/24 Unicast via 192.0.2.253 port 1 metric 1"]
    );

    m.header.kind = RouteType::Throw;
    assert_eq!(
        Update::read(&message(RouteNetlinkMessage::NewRoute(m))),
        None
    );
}

#[test]
fn a_stale_neighbour_is_used_and_a_failed_one_is_not() {
    let read = |state| {
        let mut m = NeighbourMessage::default();
        m.header.ifindex = WAN;
        m.header.state = state;
        m.attributes = vec![
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(
                "2001:db8::2".parse().unwrap(),
            )),
            NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, 9]),
        ];
        match Update::read(&message(RouteNetlinkMessage::NewNeighbour(m))) {
            Some(Update::Neighbour(n)) => n.mac.is_some(),
            other => panic!("{other:?}"),
        }
    };
    use NeighbourState::*;
    for state in [Reachable, Stale, Delay, Probe, Permanent] {
        assert!(read(state), "{state:?}");
    }
    for state in [Incomplete, Failed, None, Noarp] {
        assert!(!read(state), "{state:?}");
    }
}
