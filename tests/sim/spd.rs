//! What policy says happens: order, selectors, actions, both directions, rekeying, fail closed.

use adit_abi::{
    Action, Address, DropReason, Event, PortRange, Prefix, RouteKind, Selector, WorkerCounter,
};
use adit_dataplane::memory_gateway::{MemoryGateway, OUTSIDE, Site, TunnelPlan, tunnel_sa};

use crate::packets::{ping, raw, rechecksum, udp};
use crate::tunnel::carry;

fn host(v6: bool) -> Address {
    Site(1).host(v6)
}

/// A gateway with a default route outside and these policies, in order.
fn gateway(policies: &[(Selector, Action)]) -> MemoryGateway {
    let mut g = MemoryGateway::new(Site(1), &TunnelPlan::default());
    for v6 in [false, true] {
        let all = if v6 {
            Prefix::from_mapped(Address::UNSPECIFIED, 0)
        } else {
            Prefix::from_mapped(Address::v4([0; 4]), 96)
        };
        g.add_route(all, RouteKind::Unicast, OUTSIDE, Site(2).outer(v6));
    }
    for (n, (selector, action)) in policies.iter().enumerate() {
        g.add_policy(*selector, n as u64, *action);
    }
    g.refresh();
    g
}

fn net(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').unwrap();
    Prefix::new(address.parse().unwrap(), length.parse().unwrap()).unwrap()
}

fn any() -> Prefix {
    Prefix::from_mapped(Address::UNSPECIFIED, 0)
}

fn to(remote: &str) -> Selector {
    Selector::between(any(), net(remote))
}

fn address(text: &str) -> Address {
    Address::from(text.parse::<std::net::IpAddr>().unwrap())
}

/// How many of these packets from inside leave outside.
fn pass(g: &mut MemoryGateway, packets: &[Vec<u8>]) -> usize {
    for packet in packets {
        g.from_inside(packet);
    }
    g.run();
    g.inside.drain();
    g.outside.drain().len()
}

#[test]
fn the_first_policy_that_covers_a_packet_decides() {
    let mut g = gateway(&[
        (to("198.51.100.9/32"), Action::Bypass),
        (to("198.51.100.0/24"), Action::Discard),
        (to("198.51.0.0/16"), Action::Bypass),
    ]);
    let packets = |to: &str| [udp(host(false), address(to), (1, 2), b"x")];
    assert_eq!(pass(&mut g, &packets("198.51.100.9")), 1);
    assert_eq!(pass(&mut g, &packets("198.51.100.8")), 0);
    assert_eq!(pass(&mut g, &packets("198.51.7.8")), 1);
    assert_eq!(pass(&mut g, &packets("203.0.113.1")), 0);
    let mut expected = [(DropReason::PolicyDiscard, 1), (DropReason::NoPolicy, 1)];
    expected.sort();
    assert_eq!(g.all_drops(), expected);
    assert_eq!(g.state.policy_counts(0), [1, 29, 0, 0]);
    assert_eq!(g.state.policy_counts(1), [1, 29, 0, 0]);
}

#[test]
fn protocol_ports_and_icmp_types_select() {
    let mut dns = to("198.51.100.0/24");
    (dns.protocol, dns.remote_ports) = (17, PortRange::one(53));
    let mut high = to("198.51.100.0/24");
    (high.protocol, high.local_ports) = (
        17,
        PortRange {
            first: 5000,
            last: 5009,
        },
    );
    let mut echo = to("198.51.100.0/24");
    // Type and code lie in the local range, also of what comes in.
    (echo.protocol, echo.local_ports) = (1, PortRange::one(8 << 8));
    let policies = [dns, high, echo].map(|s| (s, Action::Bypass));
    let mut g = gateway(&policies);
    let far = address("198.51.100.1");
    let from_port = |local, remote| udp(host(false), far, (local, remote), b"x");
    assert_eq!(pass(&mut g, &[from_port(1, 53)]), 1);
    assert_eq!(pass(&mut g, &[from_port(53, 1)]), 0);
    assert_eq!(pass(&mut g, &[from_port(5000, 1), from_port(5009, 1)]), 2);
    assert_eq!(pass(&mut g, &[from_port(4999, 1), from_port(5010, 1)]), 0);
    assert_eq!(pass(&mut g, &[ping(host(false), far, 1)]), 1);
    let reply = raw(host(false), far, 1, &[0, 0, 0xff, 0xff, 0, 0, 0, 0]);
    assert_eq!(pass(&mut g, &[reply]), 0);
    // The other way round: ports swap, ICMP types stay.
    let mut inward = |packet: &[u8]| {
        g.from_outside(packet);
        g.run();
        g.inside.drain().len()
    };
    assert_eq!(inward(&udp(far, host(false), (53, 1), b"x")), 1);
    assert_eq!(inward(&udp(far, host(false), (1, 53), b"x")), 0);
    assert_eq!(inward(&ping(far, host(false), 1)), 1);
}

#[test]
fn unmatched_traffic_passes_only_if_the_setting_says_so() {
    let mut g = gateway(&[]);
    let packet = [udp(host(false), address("203.0.113.1"), (1, 2), b"x")];
    assert_eq!(pass(&mut g, &packet), 0);
    g.change_settings(|s| s.unmatched = Action::Bypass as u8);
    g.refresh();
    assert_eq!(pass(&mut g, &packet), 1);
    g.change_settings(|s| s.unmatched = Action::Protect as u8);
    g.refresh();
    assert_eq!(
        pass(&mut g, &packet),
        0,
        "PROTECT without a policy is no SA"
    );
}

#[test]
fn a_later_fragment_follows_policies_without_ports_only() {
    let mut dns = to("198.51.100.0/24");
    (dns.protocol, dns.remote_ports) = (17, PortRange::one(53));
    let mut g = gateway(&[
        (to("192.0.2.0/24"), Action::Bypass),
        (dns, Action::Bypass),
        (to("198.51.100.0/24"), Action::Bypass),
    ]);
    let piece = |to: &str, field: u16| {
        let mut packet = udp(host(false), address(to), (1, 2), &[0; 32]);
        packet[6..8].copy_from_slice(&field.to_be_bytes());
        rechecksum(&mut packet);
        packet
    };
    assert_eq!(
        pass(&mut g, &[piece("192.0.2.2", 0x2000), piece("192.0.2.2", 5)]),
        2
    );
    assert_eq!(
        pass(&mut g, &[piece("198.51.100.2", 0x2000)]),
        1,
        "it shows its ports"
    );
    // Its first fragment was not seen.
    assert_eq!(pass(&mut g, &[piece("198.51.100.3", 5)]), 0);
    assert_eq!(g.all_drops(), [(DropReason::Fragment, 1)]);
    // IPv6 fragments have an extension header for it.
    let six = |place: u16| {
        let mut body = vec![17, 0];
        body.extend_from_slice(&place.to_be_bytes());
        body.extend_from_slice(&[0, 0, 0, place as u8, 0, 1, 0, 2, 0, 40, 0, 0]);
        body.resize(40, 0);
        raw(host(true), address("2001:db8:77::1"), 44, &body)
    };
    let mut dns = to("2001:db8:77::/48");
    (dns.protocol, dns.remote_ports) = (17, PortRange::one(53));
    let mut g = gateway(&[
        (dns, Action::Discard),
        (to("2001:db8:77::/48"), Action::Bypass),
    ]);
    assert_eq!(pass(&mut g, &[six(1), six(0)]), 2);
    assert_eq!(pass(&mut g, &[six(8 << 3 | 1)]), 0);
    assert_eq!(g.all_drops(), [(DropReason::Fragment, 1)]);
}

#[test]
fn a_new_snapshot_changes_decisions_about_flows_already_known() {
    let mut g = gateway(&[(to("198.51.100.0/24"), Action::Bypass)]);
    let packet = [udp(host(false), address("198.51.100.1"), (1, 2), b"x")];
    assert_eq!(pass(&mut g, &packet), 1);
    assert_eq!(pass(&mut g, &packet), 1);
    assert_eq!(g.counter(WorkerCounter::FlowHits), 1);
    assert_eq!(g.counter(WorkerCounter::FlowMisses), 1);
    g.policy.remove_policy(0);
    g.refresh();
    assert_eq!(pass(&mut g, &packet), 0);
    assert_eq!(g.all_drops(), [(DropReason::NoPolicy, 1)]);
}

#[test]
fn rekeying_is_one_store_and_takes_effect_at_once() {
    let plan = TunnelPlan::default();
    let (mut a, mut b) = MemoryGateway::pair(&plan);
    let packet = ping(host(false), Site(2).host(false), 1);
    a.from_inside(&packet);
    a.run();
    assert_eq!(carry(&mut a, &mut b)[0][34..38], 0x1001u32.to_be_bytes());
    let mut record = tunnel_sa(&plan, adit_abi::Spi(0x1002), Site(1), Site(2));
    for (g, direction) in [
        (&mut b, adit_abi::Direction::Inbound),
        (&mut a, adit_abi::Direction::Outbound),
    ] {
        record.direction = direction as u8;
        g.add_sa(&record);
    }
    let key = record.key();
    let new = a.reader.find_sa(&key);
    a.policy.link(0, new);
    // No refresh: links are read live.
    a.from_inside(&packet);
    a.run();
    assert_eq!(carry(&mut a, &mut b)[0][34..38], 0x1002u32.to_be_bytes());
    b.run();
    assert_eq!(b.inside.drain().len(), 2, "both SAs open");
    // The old one goes, and with it its context.
    let old = b.inbound();
    b.policy.remove_sa(old);
    b.run();
    assert_eq!(b.worker.contexts(), 1);
    a.from_inside(&packet);
    a.run();
    carry(&mut a, &mut b);
    b.run();
    assert_eq!(b.inside.drain().len(), 1);
}

#[test]
fn a_slot_used_again_seals_with_its_own_keys() {
    let (mut a, mut b) = MemoryGateway::pair(&TunnelPlan::default());
    let packet = ping(host(false), Site(2).host(false), 1);
    for round in 0..3u8 {
        let change = |r: &mut adit_abi::SaRecord| r.enc_key = [round; 36];
        let (out, inb) = (a.outbound(), b.inbound());
        let (out, again) = (a.change_sa(out, change), out);
        assert!(out.slot == again.slot && out.generation > again.generation);
        b.change_sa(inb, change);
        a.from_inside(&packet);
        a.run();
        carry(&mut a, &mut b);
        b.run();
        assert_eq!(
            b.inside.drain().len(),
            1,
            "round {round} {:?}",
            b.all_drops()
        );
    }
}

/// A name, and what breaks a gateway.
type Breakage = (&'static str, fn(&mut MemoryGateway));

#[test]
fn what_policy_protects_never_leaves_in_clear() {
    let packet = ping(host(false), Site(2).host(false), 1);
    let breakages: [Breakage; 7] = [
        ("no link", |g| g.policy.link(0, None)),
        ("dead SA", |g| assert!(g.policy.remove_sa(g.outbound()))),
        ("state not ready", |g| {
            let sa = g.outbound();
            g.state.sa(sa.slot).unwrap().prepare(sa.generation + 9, 0);
        }),
        ("unknown suite", |g| {
            g.change_sa(g.outbound(), |r| r.encryption = 99);
        }),
        ("inbound SA", |g| g.policy.link(0, Some(g.inbound()))),
        ("no outer route", |g| {
            g.change_sa(g.outbound(), |r| {
                r.destination = Address::v4([203, 0, 113, 1])
            });
        }),
        ("no such slot", |g| {
            let (slot, generation) = (9999, 1);
            g.policy.link(0, Some(adit_abi::SaRef { slot, generation }));
        }),
    ];
    for (name, broken) in breakages {
        let (mut g, _b) = MemoryGateway::pair(&TunnelPlan::default());
        // A route and a policy further down would let it through in clear.
        g.add_route(
            Site(2).network(false),
            RouteKind::Unicast,
            OUTSIDE,
            Site(2).outer(false),
        );
        g.add_policy(Selector::between(any(), any()), 900, Action::Bypass);
        g.refresh();
        broken(&mut g);
        assert_eq!(pass(&mut g, std::slice::from_ref(&packet)), 0, "{name}");
        let drops: u64 = g.all_drops().iter().map(|(_, n)| n).sum();
        assert_eq!(drops, 1, "{name}");
    }
}

#[test]
fn a_missing_sa_is_asked_for_at_a_bounded_rate() {
    let (mut a, _b) = MemoryGateway::pair(&TunnelPlan::default());
    a.policy.link(0, None);
    let (from, to) = (host(false), Site(2).host(false));
    let many: Vec<_> = (0..50).map(|n| ping(from, to, n)).collect();
    pass(&mut a, &many);
    let acquire = Event::Acquire {
        policy: 0,
        flow: adit_abi::Flow {
            local: from,
            remote: to,
            protocol: 1,
            local_port: 8 << 8,
            remote_port: 0,
        },
        ports: true,
    };
    assert_eq!(a.events(), [acquire]);
    a.now += 2_000_000_000;
    pass(&mut a, &many);
    assert_eq!(a.events(), [acquire]);
}

#[test]
fn protected_traffic_in_clear_from_outside_is_dropped_whoever_it_is_for() {
    let (mut a, _b) = MemoryGateway::pair(&TunnelPlan::default());
    a.add_policy(Selector::between(any(), any()), 900, Action::Bypass);
    a.refresh();
    for v6 in [false, true] {
        a.from_outside(&ping(Site(2).host(v6), host(v6), 1));
        a.from_outside(&ping(Site(2).host(v6), Site(1).gateway(v6), 1));
    }
    a.from_outside(&ping(address("203.0.113.5"), host(false), 1));
    a.run();
    assert_eq!(a.all_drops(), [(DropReason::ClearUnderProtect, 4)]);
    assert_eq!((a.inside.drain().len(), a.host.drain().len()), (1, 0));
}

#[test]
fn an_sas_selectors_hold_for_ports_and_icmp_types_too() {
    let (mut a, mut b) = MemoryGateway::pair(&TunnelPlan::default());
    b.change_sa(b.inbound(), |r| {
        r.selector = Selector::between(Site(2).network(false), Site(1).network(false));
        (r.selector.protocol, r.selector.local_ports) = (17, PortRange::one(53));
    });
    let (from, to) = (host(false), Site(2).host(false));
    let packets = [
        udp(from, to, (9, 53), b"x"),
        udp(from, to, (53, 9), b"x"),
        ping(from, to, 1),
        ping(host(true), Site(2).host(true), 1),
    ];
    for packet in &packets {
        a.from_inside(packet);
    }
    a.run();
    carry(&mut a, &mut b);
    b.run();
    assert_eq!(b.inside.drain().len(), 1);
    assert_eq!(b.all_drops(), [(DropReason::SelectorMismatch, 3)]);
}

#[test]
fn a_hub_seals_again_what_it_opened_and_never_lets_it_out_in_clear() {
    let plan = TunnelPlan::default();
    let (mut spoke, mut hub) = MemoryGateway::pair(&plan);
    // A second spoke behind the same hub: its SA and policy. The hub has no route to its network.
    let other = net("10.3.0.0/24");
    let mut record = tunnel_sa(&plan, adit_abi::Spi(0x3001), Site(2), Site(1));
    record.direction = adit_abi::Direction::Outbound as u8;
    let slot = hub.add_policy(Selector::between(any(), other), 50, Action::Protect);
    let sa = hub.add_sa(&record);
    hub.policy.link(slot, Some(sa));
    hub.refresh();
    let to_other = spoke.add_policy(
        Selector::between(Site(1).network(false), other),
        50,
        Action::Protect,
    );
    let out = spoke.outbound();
    spoke.policy.link(to_other, Some(out));
    spoke.refresh();
    let packet = ping(host(false), address("10.3.0.5"), 1);
    let through = |spoke: &mut MemoryGateway, hub: &mut MemoryGateway| {
        spoke.from_inside(&packet);
        spoke.run();
        carry(spoke, hub);
        hub.run();
        hub.outside.drain()
    };
    let sealed = through(&mut spoke, &mut hub);
    assert_eq!(sealed.len(), 1, "{:?}", hub.all_drops());
    assert_eq!(sealed[0][34..38], 0x3001u32.to_be_bytes());
    // Without the policy, a default route outside must not carry it in clear.
    hub.policy.remove_policy(slot);
    hub.add_route(
        net("0.0.0.0/0"),
        RouteKind::Unicast,
        OUTSIDE,
        Site(1).outer(false),
    );
    hub.refresh();
    assert!(through(&mut spoke, &mut hub).is_empty());
    assert_eq!(hub.all_drops(), [(DropReason::NoPolicy, 1)]);
}
