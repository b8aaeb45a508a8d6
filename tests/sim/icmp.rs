//! ICMP errors: who is told, by whom, about what, and how often.

use adit_abi::{Action, Address, DropReason, Prefix, Selector, WorkerCounter};
use adit_dataplane::memory_gateway::{MemoryGateway, Site, TunnelPlan};
use etherparse::{Icmpv4Type, Icmpv6Type, NetSlice, TransportSlice};

use crate::packets::{assert_checksums, cuttable, ip, parse, ping, raw, rechecksum, udp, udp_of};
use crate::tunnel::carry;

fn open(g: &mut MemoryGateway) {
    let any = Prefix::from_mapped(Address::UNSPECIFIED, 0);
    g.add_policy(Selector::between(any, any), 200, Action::Bypass);
    g.refresh();
}

fn late(from: Address, to: Address, ttl: u8) -> Vec<u8> {
    let mut out = Vec::new();
    ip(from, to, ttl)
        .udp(33434, 33435)
        .write(&mut out, b"traceroute")
        .unwrap();
    out
}

fn elsewhere(v6: bool) -> Address {
    if v6 {
        Address::from("2001:db8:5555::1".parse::<std::net::IpAddr>().unwrap())
    } else {
        Address::v4([198, 51, 100, 1])
    }
}

/// What an error says: type and code, source, destination, and what it quotes.
struct Told {
    kind: (u8, u8),
    source: Address,
    destination: Address,
    quote: Vec<u8>,
}

fn read(packet: &[u8]) -> Told {
    assert_checksums(packet);
    let sliced = parse(packet);
    let (source, destination) = match sliced.net.unwrap() {
        NetSlice::Ipv4(ip) => (
            Address::v4(ip.header().source()),
            Address::v4(ip.header().destination()),
        ),
        NetSlice::Ipv6(ip) => (
            Address::v6(ip.header().source()),
            Address::v6(ip.header().destination()),
        ),
        NetSlice::Arp(_) => unreachable!(),
    };
    let (kind, quote) = match sliced.transport.unwrap() {
        TransportSlice::Icmpv4(i) => {
            assert!(!matches!(i.icmp_type(), Icmpv4Type::Unknown { .. }));
            ((i.type_u8(), i.code_u8()), i.payload())
        }
        TransportSlice::Icmpv6(i) => {
            assert!(!matches!(i.icmp_type(), Icmpv6Type::Unknown { .. }));
            ((i.type_u8(), i.code_u8()), i.payload())
        }
        other => panic!("{other:?}"),
    };
    Told {
        kind,
        source,
        destination,
        quote: quote.to_vec(),
    }
}

#[test]
fn hosts_inside_are_told_by_the_port_they_are_behind() {
    for v6 in [false, true] {
        let (mut a, _b) = MemoryGateway::pair(&TunnelPlan::default());
        open(&mut a);
        let (here, there) = (Site(1).host(v6), Site(2).host(v6));
        let cases = [
            (
                late(here, there, 1),
                [(11, 0), (3, 0)],
                DropReason::HopLimit,
            ),
            (
                late(here, elsewhere(v6), 64),
                [(3, 0), (1, 0)],
                DropReason::NoRoute,
            ),
            (
                udp_of(here, there, 1490),
                [(3, 4), (2, 0)],
                DropReason::TooBig,
            ),
        ];
        for (n, (packet, kinds, reason)) in cases.iter().enumerate() {
            let before = a.drops(*reason);
            a.from_inside(packet);
            a.run();
            let told = read(&a.inside.drain()[0][14..]);
            assert_eq!(told.kind, kinds[usize::from(v6)], "case {n}");
            assert_eq!(told.source, Site(1).gateway(v6));
            assert_eq!(told.destination, here);
            assert_eq!(told.quote, packet[..told.quote.len()]);
            let enough = if v6 { 1232 } else { 548 };
            assert_eq!(told.quote.len(), packet.len().min(enough));
            assert_eq!(a.drops(*reason), before + 1);
        }
        assert_eq!(a.counter(WorkerCounter::IcmpSent), 3);
    }
}

#[test]
fn a_sender_behind_the_tunnel_is_told_through_the_tunnel() {
    for v6 in [false, true] {
        let (mut a, mut b) = MemoryGateway::pair(&TunnelPlan::default());
        let (here, there) = (Site(1).host(v6), Site(2).host(v6));
        // TTL 2 survives gateway A and dies at B.
        let packet = late(here, there, 2);
        a.from_inside(&packet);
        a.run();
        carry(&mut a, &mut b);
        b.run();
        assert_eq!(b.drops(DropReason::HopLimit), 1);
        let clear: Vec<_> = b.outside.drain();
        assert_eq!(clear.len(), 1);
        a.from_outside(&clear[0][14..]);
        a.run();
        let told = read(&a.inside.drain()[0][14..]);
        assert_eq!(told.source, Site(2).gateway(v6));
        assert_eq!(told.destination, here);
        assert_eq!(a.counter(WorkerCounter::Opened), 1, "it came sealed");
    }
}

#[test]
fn the_hosts_own_kernel_is_told_by_somebody_else() {
    let (mut a, _b) = MemoryGateway::pair(&TunnelPlan::default());
    let (own, there) = (Site(1).gateway(false), Site(2).host(false));
    a.from_host(&udp_of(own, there, 1490));
    a.run();
    let told = read(&a.host.drain()[0][14..]);
    assert_eq!(told.kind, (3, 4));
    assert_eq!((told.source, told.destination), (there, own));
}

#[test]
fn nobody_is_told_about_errors_fragments_groups_or_impossible_senders() {
    let (mut a, _b) = MemoryGateway::pair(&TunnelPlan::default());
    open(&mut a);
    let here = Site(1).host(false);
    let to = elsewhere(false);
    let mut later = udp(here, to, (1, 2), &[0; 32]);
    later[6..8].copy_from_slice(&3u16.to_be_bytes());
    rechecksum(&mut later);
    let mut packets = vec![later, ping(here, Address::v4([239, 1, 1, 1]), 1)];
    for kind in [3, 4, 5, 11, 12] {
        packets.push(raw(here, to, 1, &[kind, 0, 0, 0, 0, 0, 0, 0]));
    }
    for kind in [1, 2, 3, 4, 100, 127, 137] {
        let body = [kind, 0, 0, 0, 0, 0, 0, 0];
        packets.push(raw(Site(1).host(true), elsewhere(true), 58, &body));
    }
    for source in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4]] {
        packets.push(udp(Address::v4(source), to, (1, 2), b"forged"));
    }
    for packet in &packets {
        a.from_inside(packet);
    }
    a.run();
    assert!(a.inside.drain().is_empty());
    assert_eq!(a.counter(WorkerCounter::IcmpSent), 0);
    let drops: u64 = a.all_drops().iter().map(|(_, n)| n).sum();
    assert_eq!(drops, packets.len() as u64);
}

#[test]
fn an_echo_request_without_a_route_is_answered_by_an_error() {
    let (mut a, _b) = MemoryGateway::pair(&TunnelPlan::default());
    open(&mut a);
    a.from_inside(&ping(Site(1).host(false), elsewhere(false), 1));
    a.from_inside(&ping(Site(1).host(true), elsewhere(true), 1));
    a.run();
    assert_eq!(a.inside.drain().len(), 2);
}

#[test]
fn under_a_policy_that_protects_all_the_world_senders_still_learn_their_mtu() {
    for v6 in [false, true] {
        let (mut a, _b) = MemoryGateway::pair(&TunnelPlan::default());
        let any = Prefix::from_mapped(Address::UNSPECIFIED, 0);
        let all = a.add_policy(Selector::between(any, any), 1, Action::Protect);
        let sa = a.outbound();
        a.policy.link(all, Some(sa));
        a.refresh();
        a.from_inside(&udp_of(Site(1).host(v6), elsewhere(v6), 1490));
        a.run();
        assert!(a.outside.drain().is_empty());
        let told = read(&a.inside.drain()[0][14..]);
        assert_eq!(told.kind, [(3, 4), (2, 0)][usize::from(v6)]);
    }
}

#[test]
fn errors_come_at_a_bounded_rate_or_not_at_all() {
    let (mut a, _b) = MemoryGateway::pair(&TunnelPlan::default());
    let packet = udp_of(Site(1).host(false), Site(2).host(false), 1490);
    let told = |a: &mut MemoryGateway| {
        for _ in 0..90 {
            a.from_inside(&packet);
        }
        a.run();
        a.inside.drain().len()
    };
    a.change_settings(|s| s.icmp_per_second = 100);
    a.refresh();
    assert_eq!(told(&mut a), 10, "a tenth of a second's worth at once");
    assert_eq!(told(&mut a), 0);
    a.now += 50_000_000;
    assert_eq!(told(&mut a), 5);
    a.change_settings(|s| s.icmp_per_second = 0);
    a.refresh();
    a.now += 1_000_000_000;
    assert_eq!(told(&mut a), 0);
    assert_eq!(a.drops(DropReason::TooBig), 360);
}

#[test]
fn a_clear_packet_from_outside_gets_its_error_only_if_policy_lets_that_out() {
    let from = Address::v4([192, 0, 2, 2]);
    for out in [false, true] {
        let mut a = MemoryGateway::new(Site(1), &TunnelPlan::default());
        let any = Prefix::from_mapped(Address::UNSPECIFIED, 0);
        let local = if out { any } else { a.site.network(false) };
        a.add_policy(Selector::between(local, any), 200, Action::Bypass);
        a.refresh();
        a.from_outside(&late(from, Site(1).host(false), 1));
        a.run();
        assert_eq!(a.drops(DropReason::HopLimit), 1);
        let frames = a.outside.drain();
        if out {
            let told = read(&frames[0][14..]);
            assert_eq!(told.source, Site(1).outer(false));
            assert_eq!(told.destination, from);
        } else {
            assert!(frames.is_empty());
            assert_eq!(a.drops(DropReason::NoPolicy), 1);
        }
    }
}

#[test]
fn a_packet_that_may_be_cut_is_cut_without_a_word() {
    let (mut a, _b) = MemoryGateway::pair(&TunnelPlan::default());
    a.from_inside(&cuttable(udp_of(
        Site(1).host(false),
        Site(2).host(false),
        1490,
    )));
    a.run();
    assert_eq!(a.counter(WorkerCounter::IcmpSent), 0);
    assert_eq!(a.outside.drain().len(), 2);
}
