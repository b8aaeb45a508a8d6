//! Routes, neighbours, Ethernet headers, the host's port.

use adit_abi::{Action, Address, DropReason, Event, Prefix, RouteKind, Selector, WorkerCounter};
use adit_dataplane::memory_gateway::{
    HOST, INSIDE, MemoryGateway, NEIGHBOUR_MAC, OUTSIDE, Site, TunnelPlan, ethernet,
};

use crate::packets::{hops_later, ping, udp};

const SECOND: u64 = 1_000_000_000;

/// A gateway that lets everything pass in clear.
fn open_gateway() -> MemoryGateway {
    let mut g = MemoryGateway::new(Site(1), &TunnelPlan::default());
    let any = Prefix::from_mapped(Address::UNSPECIFIED, 0);
    g.add_policy(Selector::between(any, any), 1, Action::Bypass);
    g.refresh();
    g
}

fn outside_host(last: u8) -> Address {
    Address::v4([192, 0, 2, last])
}

fn prefix(address: [u8; 4], length: u8) -> Prefix {
    Prefix::new(std::net::IpAddr::from(address), length).unwrap()
}

#[test]
fn a_forwarded_packet_has_new_ethernet_addresses_and_one_hop_less() {
    let mut g = open_gateway();
    for v6 in [false, true] {
        let packet = ping(g.site.host(v6), Site(2).outer(v6), 1);
        g.from_inside(&packet);
        g.run();
        let frame = g.outside.drain().remove(0);
        assert_eq!(frame[..6], NEIGHBOUR_MAC);
        assert_eq!(frame[6..12], g.site.mac(OUTSIDE));
        assert_eq!(frame[14..], hops_later(&packet, 1));
    }
    assert_eq!(g.counter(WorkerCounter::Bypassed), 2);
}

#[test]
fn ethernet_padding_is_cut_off_and_a_priority_tag_ignored() {
    let mut g = open_gateway();
    let packet = udp(g.site.host(false), Site(2).outer(false), (1, 2), b"x");
    let mut padded = ethernet(g.site.mac(INSIDE), &packet);
    padded.resize(60, 0xee);
    let mut tagged = padded.clone();
    tagged.splice(12..12, [0x81, 0x00, 0xe0, 0x00]);
    assert!(g.inside.inject(&padded) && g.inside.inject(&tagged));
    g.run();
    for frame in g.outside.drain() {
        assert_eq!(frame[14..], hops_later(&packet, 1));
    }
    assert_eq!(g.all_drops(), []);
}

#[test]
fn the_longest_prefix_decides_and_the_lowest_metric_among_equals() {
    let mut g = open_gateway();
    let (a, b, c) = (outside_host(100), outside_host(101), Site(1).host(false));
    g.add_route(prefix([0, 0, 0, 0], 0), RouteKind::Unicast, OUTSIDE, a);
    g.add_route(prefix([203, 0, 0, 0], 8), RouteKind::Unicast, OUTSIDE, b);
    g.add_route(prefix([203, 0, 113, 0], 24), RouteKind::Unicast, INSIDE, c);
    g.add_route(prefix([203, 0, 113, 9], 32), RouteKind::Blackhole, 0, a);
    g.refresh();
    let from = g.site.host(false);
    for to in [
        [8, 8, 8, 8],
        [203, 1, 1, 1],
        [203, 0, 113, 1],
        [203, 0, 113, 9],
    ] {
        g.from_inside(&ping(from, Address::v4(to), 1));
    }
    g.run();
    assert_eq!(
        g.inside.drain().len(),
        2,
        "one forwarded, one told of no route"
    );
    let needed: Vec<_> = g.events();
    let need = |address| Event::NeighbourNeeded {
        port: OUTSIDE,
        address,
    };
    assert_eq!(needed, [need(a), need(b)]);
    assert_eq!(g.drops(DropReason::NoRoute), 1);
    // An IPv6 default route is not one for IPv4.
    let mut g = open_gateway();
    let all_v6 = Prefix::from_mapped(Address::UNSPECIFIED, 0);
    g.add_route(all_v6, RouteKind::Unicast, OUTSIDE, Site(2).outer(true));
    g.refresh();
    g.from_inside(&ping(from, Address::v4([8, 8, 8, 8]), 1));
    g.run();
    assert_eq!(g.drops(DropReason::NoRoute), 1);
}

#[test]
fn packets_wait_for_their_neighbour_and_leave_in_order_when_it_is_known() {
    let mut g = open_gateway();
    let free = g.worker.free_frames();
    let silent = outside_host(50);
    let packets: Vec<_> = (0..5)
        .map(|n| ping(g.site.host(false), silent, n))
        .collect();
    for packet in &packets {
        g.from_inside(packet);
    }
    g.run();
    assert!(g.outside.drain().is_empty());
    assert_eq!(g.worker.waiting(), 5);
    assert_eq!(
        g.worker.free_frames(),
        free,
        "waiting packets hold no frames"
    );
    let needed = Event::NeighbourNeeded {
        port: OUTSIDE,
        address: silent,
    };
    assert_eq!(g.events(), [needed], "asked for once");
    g.add_neighbour(OUTSIDE, silent);
    g.refresh();
    g.run();
    let sent: Vec<_> = g.outside.drain().iter().map(|f| f[14..].to_vec()).collect();
    let expected: Vec<_> = packets.iter().map(|p| hops_later(p, 1)).collect();
    assert_eq!(sent, expected);
    assert_eq!((g.worker.waiting(), g.all_drops()), (0, vec![]));
}

#[test]
fn a_neighbour_is_asked_for_again_while_packets_wait_for_it() {
    let mut g = open_gateway();
    let silent = outside_host(50);
    let needed = Event::NeighbourNeeded {
        port: OUTSIDE,
        address: silent,
    };
    g.from_inside(&ping(g.site.host(false), silent, 1));
    g.run();
    assert_eq!(g.events(), [needed]);
    g.run();
    assert_eq!(g.events(), []);
    g.now += SECOND;
    g.run();
    assert_eq!(g.events(), [needed]);
    g.now += 3 * SECOND;
    g.run();
    assert_eq!((g.worker.waiting(), g.events()), (0, vec![]));
}

#[test]
fn a_place_that_was_free_again_does_not_let_later_packets_overtake() {
    let mut g = open_gateway();
    let (first, second) = (outside_host(50), outside_host(51));
    let wait = |g: &mut MemoryGateway, to, number| {
        g.from_inside(&ping(g.site.host(false), to, number));
        g.run();
    };
    wait(&mut g, first, 0);
    wait(&mut g, second, 1);
    g.add_neighbour(OUTSIDE, first);
    g.refresh();
    wait(&mut g, second, 2);
    g.add_neighbour(OUTSIDE, second);
    g.refresh();
    g.run();
    // The echo request's number is the last field of its header.
    let numbers: Vec<u8> = g.outside.drain().iter().map(|f| f[14 + 27]).collect();
    assert_eq!(numbers, [0, 1, 2]);
}

#[test]
fn waiting_is_bounded_in_packets_and_time() {
    let mut g = open_gateway();
    let silent = outside_host(50);
    for n in 0..20 {
        g.from_inside(&ping(g.site.host(false), silent, n));
    }
    g.run();
    assert_eq!(g.worker.waiting(), 8);
    assert_eq!(g.drops(DropReason::NoNeighbour), 12);
    // A scan of the whole network does not grow the queue past its end, nor the events past their rate.
    for last in 0..=255u8 {
        g.from_inside(&ping(g.site.host(false), outside_host(last), 1));
        g.run();
    }
    let waiting = g.worker.waiting() as u64;
    assert_eq!(waiting, 64);
    assert!(g.events().len() <= 30);
    g.now += SECOND;
    g.run();
    assert_eq!(g.worker.waiting(), 64);
    g.now += 3 * SECOND;
    g.run();
    assert_eq!(g.worker.waiting(), 0);
    let sent = g.outside.drain().len() as u64 + g.counter(WorkerCounter::ToHost);
    assert_eq!(g.drops(DropReason::NoNeighbour), 20 + 256 - sent);
}

#[test]
fn sealed_packets_wait_too() {
    let (mut a, mut b) = MemoryGateway::pair(&TunnelPlan::default());
    let new_peer = outside_host(60);
    a.change_sa(a.outbound(), |r| r.destination = new_peer);
    b.change_sa(b.inbound(), |r| r.destination = new_peer);
    a.from_inside(&ping(Site(1).host(false), Site(2).host(false), 1));
    a.run();
    assert!(a.outside.drain().is_empty());
    a.add_neighbour(OUTSIDE, new_peer);
    a.refresh();
    a.run();
    crate::tunnel::carry(&mut a, &mut b);
    b.run();
    assert_eq!(b.inside.drain().len(), 1, "{:?}", b.all_drops());
}

#[test]
fn what_is_for_the_gateway_itself_goes_to_the_host_untouched() {
    let mut g = open_gateway();
    let elsewhere = prefix([172, 16, 0, 0], 12);
    g.add_route(elsewhere, RouteKind::Kernel, 0, Address::UNSPECIFIED);
    g.refresh();
    for v6 in [false, true] {
        let packet = ping(g.site.host(v6), g.site.gateway(v6), 1);
        g.from_inside(&packet);
        g.run();
        assert_eq!(g.host.drain()[0][14..], packet);
    }
    let unmanaged = ping(g.site.host(false), Address::v4([172, 16, 0, 1]), 1);
    g.from_inside(&unmanaged);
    g.run();
    assert_eq!(
        g.host.drain()[0][14..],
        unmanaged,
        "the kernel counts it down"
    );
    assert_eq!(g.counter(WorkerCounter::ToHost), 3);
}

#[test]
fn the_hosts_own_traffic_goes_through_the_tunnel_both_ways() {
    let (mut a, mut b) = MemoryGateway::pair(&TunnelPlan::default());
    let there = ping(a.site.gateway(false), Site(2).gateway(false), 1);
    a.from_host(&there);
    a.run();
    crate::tunnel::carry(&mut a, &mut b);
    b.run();
    assert_eq!(b.host.drain()[0][14..], there, "{:?}", b.all_drops());
    let _ = HOST;
}

#[test]
fn traffic_from_inside_to_inside_needs_no_policy_but_obeys_discard() {
    let mut g = MemoryGateway::new(Site(1), &TunnelPlan::default());
    let neighbour = Address::v4([10, 1, 0, 77]);
    g.add_neighbour(INSIDE, neighbour);
    g.refresh();
    let packet = ping(g.site.host(false), neighbour, 1);
    g.from_inside(&packet);
    g.run();
    assert_eq!(g.inside.drain()[0][14..], hops_later(&packet, 1));
    let net = g.site.network(false);
    g.add_policy(Selector::between(net, net), 5, Action::Discard);
    g.refresh();
    g.from_inside(&packet);
    g.run();
    assert!(g.inside.drain().is_empty());
    assert_eq!(g.all_drops(), [(DropReason::PolicyDiscard, 1)]);
}

#[test]
fn a_route_that_leads_inside_does_not_turn_protect_into_clear() {
    let mut g = MemoryGateway::new(Site(1), &TunnelPlan::default());
    let neighbour = Address::v4([10, 1, 0, 77]);
    g.add_neighbour(INSIDE, neighbour);
    let net = g.site.network(false);
    g.add_policy(Selector::between(net, net), 5, Action::Protect);
    g.refresh();
    g.from_inside(&ping(g.site.host(false), neighbour, 1));
    g.run();
    assert!(g.inside.drain().is_empty());
    assert_eq!(g.all_drops(), [(DropReason::NoSa, 1)]);
}

#[test]
fn ports_count_what_they_receive_and_send() {
    use adit_abi::PortCounter::{ReceivedBytes, ReceivedPackets, SentBytes, SentPackets};
    let mut g = open_gateway();
    let packet = ping(g.site.host(false), Site(2).outer(false), 1);
    for _ in 0..3 {
        g.from_inside(&packet);
    }
    g.run();
    let bytes = 3 * (14 + packet.len() as u64);
    let value = |port: u8, counter| g.state.worker(0).port_value(port.into(), counter);
    assert_eq!(value(INSIDE, ReceivedPackets), 3);
    assert_eq!(value(INSIDE, ReceivedBytes), bytes);
    assert_eq!(value(OUTSIDE, SentPackets), 3);
    assert_eq!(value(OUTSIDE, SentBytes), bytes);
    assert_eq!(g.counter(WorkerCounter::Heartbeat), g.now);
}
