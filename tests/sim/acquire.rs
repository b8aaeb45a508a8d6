//! Packets without an SA: held within bounds, asked for, and let go as the table, control or the time limit says.

use std::collections::HashSet;

use adit_abi::{
    Action, Address, Direction, DropReason, Event, Flow, FromPacket, PolicyRecord, Prefix,
    RouteKind, Selector, Spi,
};
use adit_dataplane::memory_gateway::{MemoryGateway, OUTSIDE, Site, TunnelPlan, tunnel_sa};
use adit_dataplane::worker::{Answer, Change};

use crate::packets::{ping, udp};

const SECOND: u64 = 1_000_000_000;

fn any() -> Prefix {
    Prefix::from_mapped(Address::v4([0; 4]), 96)
}

fn net(a: u8, b: u8) -> Prefix {
    Prefix::from_mapped(Address::v4([a, b, 0, 0]), 112)
}

fn far(last: u8) -> Address {
    Address::v4([10, 2, 0, last])
}

/// Protects what goes to 10.2/16 (policy 0) and to 10.3/16 (policy 1), and holds for ten seconds.
fn gateway() -> MemoryGateway {
    let mut g = MemoryGateway::new(Site(1), &TunnelPlan::default());
    g.add_policy(Selector::between(any(), net(10, 2)), 10, Action::Protect);
    g.add_policy(Selector::between(any(), net(10, 3)), 11, Action::Protect);
    g.add_route(any(), RouteKind::Unicast, OUTSIDE, Site(2).outer(false));
    g.change_settings(|s| s.hold_seconds = 10);
    g.refresh();
    g
}

fn send(g: &mut MemoryGateway, packets: &[Vec<u8>]) {
    for packet in packets {
        g.from_inside(packet);
    }
    g.run();
    g.inside.drain();
}

/// An outbound SA, linked to a policy.
fn link(g: &mut MemoryGateway, policy: u32) {
    let mut record = tunnel_sa(&TunnelPlan::default(), Spi(0x1001), Site(1), Site(2));
    record.direction = Direction::Outbound as u8;
    let sa = g.add_sa(&record);
    g.policy.link(policy, Some(sa));
}

/// A millisecond later, when held packets are looked at again.
fn soon(g: &mut MemoryGateway) -> Vec<Vec<u8>> {
    g.now += SECOND / 500;
    g.run();
    g.outside.drain()
}

fn answer(g: &mut MemoryGateway, policy: u32, selector: Selector, clear: bool) {
    g.worker.apply(Change::Answer(Answer {
        policy,
        selector,
        clear,
    }));
    g.run();
}

#[test]
fn the_first_packet_of_a_flow_and_the_last_go_through_when_the_sa_is_there() {
    let mut g = gateway();
    let free = g.worker.free_frames();
    let from = Site(1).host(false);
    let sizes = [20, 30, 40, 50];
    let packets: Vec<_> = sizes
        .map(|n| udp(from, far(2), (1, 2), &vec![0; n]))
        .to_vec();
    send(&mut g, &packets);
    assert_eq!((g.worker.held(), g.worker.free_frames()), (1, free));
    assert_eq!(g.all_drops(), [(DropReason::NoSa, 2)], "those between");
    link(&mut g, 0);
    let sealed: Vec<_> = soon(&mut g).iter().map(Vec::len).collect();
    let lengths: HashSet<_> = sealed.iter().collect();
    assert_eq!((sealed.len(), lengths.len()), (2, 2));
    assert!(sealed[0] < sealed[1], "the first one first");
    assert_eq!((g.worker.held(), g.all_drops().len()), (0, 1));
    send(&mut g, &packets[..1]);
    assert_eq!(g.outside.drain().len(), 1);
}

#[test]
fn without_an_answer_the_time_limit_drops_what_is_held() {
    let mut g = gateway();
    let packet = ping(Site(1).host(false), far(2), 1);
    send(&mut g, &[packet.clone(), packet.clone()]);
    g.now += 9 * SECOND;
    g.run();
    assert_eq!((g.worker.held(), g.all_drops().len()), (1, 0));
    g.now += 2 * SECOND;
    g.run();
    assert_eq!(g.all_drops(), [(DropReason::HeldTooLong, 2)]);
    link(&mut g, 0);
    assert!(soon(&mut g).is_empty());
}

#[test]
fn control_lets_held_packets_go_in_clear_or_drops_them() {
    let mut g = gateway();
    let from = Site(1).host(false);
    let packets: Vec<_> = (2..6).map(|n| ping(from, far(n), 1)).collect();
    send(&mut g, &packets);
    let only = |last| Selector::between(any(), Prefix::from_mapped(far(last), 128));
    answer(&mut g, 0, only(2), true);
    let clear = g.outside.drain();
    assert_eq!(clear.len(), 1);
    assert_eq!(clear[0][30..34], far(2).v4_bytes());
    answer(&mut g, 0, only(3), false);
    assert_eq!(g.all_drops(), [(DropReason::AcquireRefused, 1)]);
    answer(&mut g, 1, Selector::between(any(), any()), true);
    assert_eq!(
        (g.outside.drain().len(), g.worker.held()),
        (0, 2),
        "another policy's"
    );
    // It counts for what was held: the next packet waits again.
    send(&mut g, &packets[..1]);
    assert_eq!((g.outside.drain().len(), g.worker.held()), (0, 3));
}

#[test]
fn held_packets_follow_the_policies_as_they_change() {
    let mut g = gateway();
    let from = Site(1).host(false);
    send(
        &mut g,
        &[
            ping(from, far(2), 1),
            ping(from, far(3), 1),
            ping(from, far(4), 1),
        ],
    );
    let only = |last| Selector::between(any(), Prefix::from_mapped(far(last), 128));
    g.add_policy(only(2), 1, Action::Bypass);
    g.add_policy(only(3), 1, Action::Discard);
    let other = g.add_policy(only(4), 1, Action::Protect);
    g.refresh();
    g.run();
    assert_eq!(g.outside.drain().len(), 1);
    assert_eq!(g.all_drops(), [(DropReason::PolicyDiscard, 1)]);
    link(&mut g, other);
    assert_eq!(soon(&mut g).len(), 1);
}

#[test]
fn each_flow_is_asked_for_with_all_that_selectors_see() {
    let mut g = gateway();
    let from = Site(1).host(false);
    send(
        &mut g,
        &[udp(from, far(2), (1000, 53), b"x"), ping(from, far(2), 1)],
    );
    send(&mut g, &[udp(from, far(2), (1000, 53), b"y")]);
    let flow = |protocol, local_port, remote_port| Flow {
        local: from,
        remote: far(2),
        protocol,
        local_port,
        remote_port,
    };
    let acquire = |flow| Event::Acquire {
        policy: 0,
        flow,
        ports: true,
    };
    let both = [acquire(flow(17, 1000, 53)), acquire(flow(1, 8 << 8, 0))];
    assert_eq!(g.events(), both, "once each");
    // Nobody may have listened.
    g.now += 3 * SECOND;
    g.run();
    assert_eq!(g.events(), both);
}

#[test]
fn many_flows_are_asked_for_at_a_bounded_rate_each_in_its_turn() {
    let mut g = gateway();
    for last in 0..=255u8 {
        let from = Address::v4([10, 1, last, 7]);
        send(&mut g, &[ping(from, far(2), 1)]);
    }
    assert_eq!(g.worker.held(), 256);
    let mut asked = Vec::new();
    for _ in 0..100 {
        g.now += SECOND / 100;
        g.run();
        asked.extend(g.events());
    }
    assert!((150..=250).contains(&asked.len()), "{}", asked.len());
    let flows: HashSet<_> = asked
        .iter()
        .filter_map(|event| match event {
            Event::Acquire { flow, .. } => Some(flow.local),
            _ => None,
        })
        .collect();
    assert_eq!(
        flows.len(),
        asked.len(),
        "nobody twice before all were heard"
    );
}

#[test]
fn made_up_sources_do_not_crowd_others_out() {
    let mut g = gateway();
    let flood = |g: &mut MemoryGateway, network: [u8; 2], policy: u8, count: u32| {
        for n in 0..count {
            let [.., c, d] = n.to_be_bytes();
            let from = Address::v4([network[0], network[1], c % 4, d]);
            g.from_inside(&ping(from, Address::v4([10, policy, 9, d]), 1));
            if n % 32 == 31 {
                g.now += SECOND / 100;
                g.run();
            }
        }
        g.run();
        g.inside.drain();
    };
    let honest = Site(1).host(false);
    // Under another policy, and under the same one from a few other networks.
    send(&mut g, &[ping(honest, Address::v4([10, 3, 0, 2]), 1)]);
    flood(&mut g, [172, 16], 2, 3000);
    send(&mut g, &[ping(honest, far(2), 1)]);
    flood(&mut g, [172, 17], 2, 3000);
    assert_eq!(g.worker.held(), 256);
    link(&mut g, 1);
    assert_eq!(soon(&mut g).len(), 1, "the other policy's");
    g.now += SECOND / 10;
    let only = Selector::between(Prefix::from_mapped(honest, 128), any());
    answer(&mut g, 0, only, true);
    assert_eq!(g.outside.drain().len(), 1, "the other network's");
}

#[test]
fn one_source_has_a_few_places_and_its_oldest_flow_gives_way() {
    let mut g = gateway();
    let from = Site(1).host(false);
    let packets: Vec<_> = (0..30).map(|n| udp(from, far(2), (n, 2), b"x")).collect();
    for some in packets.chunks(8) {
        send(&mut g, some);
        g.now += SECOND / 100;
    }
    assert_eq!(g.worker.held(), 16);
    assert_eq!(g.all_drops(), [(DropReason::NoSa, 14)]);
    link(&mut g, 0);
    assert_eq!(soon(&mut g).len(), 16);
}

#[test]
fn a_policy_that_takes_fields_from_packets_waits_for_the_right_sa() {
    let mut g = gateway();
    let mut record = PolicyRecord::new(Selector::between(any(), net(10, 2)), 1, Action::Protect);
    record.from_packet = FromPacket::LOCAL_ADDRESS.bits();
    let slot = g.policy.insert_policy(&record).unwrap();
    g.refresh();
    let hosts = [Site(1).host(false), Address::v4([10, 1, 0, 3])];
    send(&mut g, &hosts.map(|from| ping(from, far(2), 1)));
    let link = g.reader.policy_link(slot);
    let flow = Flow {
        local: hosts[1],
        remote: far(2),
        protocol: 1,
        local_port: 8 << 8,
        remote_port: 0,
    };
    let mut sa = tunnel_sa(&TunnelPlan::default(), Spi(0x1003), Site(1), Site(2));
    sa.direction = Direction::Outbound as u8;
    sa.policy = slot + 1;
    sa.selector = link.from_packet.narrow(&record.selector, &flow, true);
    let sa = g.add_sa(&sa);
    let place = g.reader.flow_place(slot, &link.from_packet.key(&flow));
    g.policy.set_flow_place(place, &[sa]);
    assert_eq!(soon(&mut g).len(), 1);
    assert_eq!(g.worker.held(), 1, "the other host's still waits");
}

#[test]
fn what_is_discarded_is_told_with_its_selector_fields_at_a_bounded_rate() {
    let mut g = gateway();
    let elsewhere = Address::v4([203, 0, 113, 9]);
    let from = Site(1).host(false);
    g.add_policy(
        Selector::between(any(), Prefix::from_mapped(elsewhere, 128)),
        1,
        Action::Discard,
    );
    g.refresh();
    for n in 0..50 {
        send(&mut g, &[udp(from, elsewhere, (7, n), b"x")]);
    }
    let discarded = |remote, port, policy, reason, inbound| Event::Discarded {
        policy,
        reason,
        inbound,
        flow: Flow {
            local: from,
            remote,
            protocol: 17,
            local_port: 7,
            remote_port: port,
        },
        ports: true,
    };
    let told = discarded(elsewhere, 0, 2, DropReason::PolicyDiscard, false);
    assert_eq!(g.events(), [told]);
    g.now += SECOND;
    g.from_outside(&udp(far(5), from, (9, 7), b"x"));
    g.run();
    let told = discarded(far(5), 9, 0, DropReason::ClearUnderProtect, true);
    assert_eq!(g.events(), [told]);
}
