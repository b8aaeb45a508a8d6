//! Fine points of selectors: several SAs under one policy, sets of selectors, directions, OPAQUE, message types.

use adit_abi::{
    Action, Address, Applies, Direction, DropReason, FromPacket, OPAQUE_PROTOCOL, PolicyLink,
    PolicyRecord, PortRange, Prefix, SaRef, Selector, SelectorEnd, SelectorSet, Spi,
};
use adit_dataplane::memory_gateway::{MemoryGateway, Site, TunnelPlan, tunnel_sa};

use crate::packets::{ping, raw, rechecksum, udp};

fn here(last: u8) -> Address {
    Address::v4([10, 1, 0, last])
}

fn there() -> Address {
    Site(2).host(false)
}

fn nets() -> Selector {
    Selector::between(Site(1).network(false), Site(2).network(false))
}

/// A gateway with one policy of its own, and no other.
fn gateway(record: PolicyRecord) -> (MemoryGateway, u32) {
    let mut g = MemoryGateway::new(Site(1), &TunnelPlan::default());
    let slot = g.policy.insert_policy(&record).unwrap();
    g.refresh();
    (g, slot)
}

fn add_sa(g: &mut MemoryGateway, spi: u32, policy: u32, selector: Selector) -> SaRef {
    let mut record = tunnel_sa(&TunnelPlan::default(), Spi(spi), Site(1), Site(2));
    record.direction = Direction::Outbound as u8;
    record.policy = policy + 1;
    record.selector = selector;
    g.add_sa(&record)
}

/// The SPIs of what a packet becomes outside.
fn spis(g: &mut MemoryGateway, packet: &[u8]) -> Vec<u32> {
    g.from_inside(packet);
    g.run();
    let spi = |frame: Vec<u8>| u32::from_be_bytes(frame[34..38].try_into().unwrap());
    g.outside.drain().into_iter().map(spi).collect()
}

#[test]
fn each_host_has_the_sa_that_its_own_packet_asked_for() {
    let mut record = PolicyRecord::new(nets(), 1, Action::Protect);
    record.from_packet = FromPacket::LOCAL_ADDRESS.bits();
    let (mut g, slot) = gateway(record);
    let from = |last| udp(here(last), there(), (1, 2), b"x");
    assert!(spis(&mut g, &from(7)).is_empty());
    for (spi, last) in [(0x1007, 7), (0x1008, 8)] {
        let link = g.reader.policy_link(slot);
        let flow = adit_abi::Flow {
            local: here(last),
            remote: there(),
            protocol: 17,
            local_port: 1,
            remote_port: 2,
        };
        let own = link.from_packet.narrow(&nets(), &flow, true);
        let sa = add_sa(&mut g, spi, slot, own);
        let place = g.reader.flow_place(slot, &link.from_packet.key(&flow));
        g.policy.set_flow_place(place, &[sa]);
    }
    assert_eq!(spis(&mut g, &from(7)), [0x1007]);
    assert_eq!(spis(&mut g, &from(8)), [0x1008]);
    assert!(spis(&mut g, &from(9)).is_empty());
    assert_eq!(g.all_drops(), [(DropReason::NoSa, 2)]);
}

#[test]
fn an_sa_of_another_policy_in_the_same_place_carries_nothing() {
    let mut record = PolicyRecord::new(nets(), 1, Action::Protect);
    record.from_packet = FromPacket::REMOTE_ADDRESS.bits();
    let (mut g, slot) = gateway(record);
    let sa = add_sa(&mut g, 0x1001, slot + 1, nets());
    for place in 0..64 {
        g.policy.set_flow_place(place, &[sa]);
    }
    assert!(spis(&mut g, &ping(here(7), there(), 1)).is_empty());
    assert_eq!(g.all_drops(), [(DropReason::NoSa, 1)]);
}

#[test]
fn sas_that_cover_parts_of_a_policy_share_its_packets() {
    let (mut g, slot) = gateway(PolicyRecord::new(nets(), 1, Action::Protect));
    let part = |first, last| Selector {
        local_first: here(first),
        local_last: here(last),
        ..nets()
    };
    let low = add_sa(&mut g, 0x1001, slot, part(0, 9));
    let high = add_sa(&mut g, 0x1002, slot, part(10, 19));
    g.policy.chain(&[high, low]);
    let link = PolicyLink {
        sa: Some(high),
        several: true,
        ..Default::default()
    };
    g.policy.set_link(slot, link);
    assert_eq!(spis(&mut g, &ping(here(5), there(), 1)), [0x1001]);
    assert_eq!(spis(&mut g, &ping(here(15), there(), 1)), [0x1002]);
    assert!(spis(&mut g, &ping(here(25), there(), 1)).is_empty());
    assert_eq!(g.all_drops(), [(DropReason::NoSa, 1)]);
    // One goes, its neighbour in the chain stays.
    g.policy.remove_sa(high);
    assert_eq!(spis(&mut g, &ping(here(5), there(), 1)), [0x1001]);
    assert!(spis(&mut g, &ping(here(15), there(), 1)).is_empty());
}

#[test]
fn an_sa_carries_what_its_set_of_selectors_covers() {
    let (mut a, mut b) = MemoryGateway::pair(&TunnelPlan::default());
    let end = |first, last| SelectorEnd::new(first, last);
    let local = [
        end(Site(2).host(false), Site(2).host(false)),
        end(Site(2).host(true), Site(2).host(true)),
    ];
    let mut dns = end(here(1), here(9));
    (dns.protocol, dns.ports) = (17, PortRange::one(53));
    let remote = [dns, end(here(100), here(110))];
    let set = SelectorSet::new(&local, &remote).unwrap();
    let n = b.policy.insert_selectors(&set).unwrap();
    b.change_sa(b.inbound(), |r| {
        r.selector = set.hull();
        r.selector_set = n + 1;
    });
    let packets = [
        udp(here(2), there(), (53, 9), b"x"),
        udp(here(2), there(), (54, 9), b"x"),
        udp(here(105), there(), (54, 9), b"x"),
        ping(here(105), there(), 1),
        ping(here(50), there(), 1),
        ping(Site(1).host(true), Site(2).host(true), 1),
    ];
    for packet in &packets {
        a.from_inside(packet);
    }
    a.run();
    crate::tunnel::carry(&mut a, &mut b);
    b.run();
    assert_eq!(b.inside.drain().len(), 3);
    assert_eq!(b.all_drops(), [(DropReason::SelectorMismatch, 3)]);
    // An SA that names a set which is not there is not used.
    b.policy.remove_selectors(n);
    b.change_sa(b.inbound(), |_| {});
    a.from_inside(&packets[0]);
    a.run();
    crate::tunnel::carry(&mut a, &mut b);
    b.run();
    assert_eq!(b.drops(DropReason::BadSa), 1);
}

#[test]
fn a_policy_of_one_direction_says_nothing_about_the_other() {
    let mut inward = PolicyRecord::new(nets(), 1, Action::Bypass);
    inward.applies = Applies::Inbound as u8;
    let (mut g, _) = gateway(inward);
    g.from_outside(&udp(there(), here(2), (1, 2), b"x"));
    g.run();
    assert_eq!(g.inside.drain().len(), 1);
    g.from_inside(&udp(here(2), there(), (2, 1), b"x"));
    g.run();
    assert!(g.outside.drain().is_empty());
    assert_eq!(g.all_drops(), [(DropReason::NoPolicy, 1)]);
}

/// A gateway that lets out in clear what these selectors cover; a bound neighbour is the far end.
fn lets_out(selectors: &[Selector]) -> MemoryGateway {
    let mut g = MemoryGateway::new(Site(1), &TunnelPlan::default());
    for (n, selector) in (0..).zip(selectors) {
        g.add_policy(*selector, n, Action::Bypass);
    }
    g.refresh();
    g
}

fn out(g: &mut MemoryGateway, packet: &[u8]) -> usize {
    g.from_inside(packet);
    g.run();
    g.outside.drain().len()
}

#[test]
fn opaque_covers_fragments_that_hide_their_ports_and_nothing_else() {
    let far = Site(2).outer(false);
    let to = Selector::between(Site(1).network(false), Prefix::from_mapped(far, 128));
    let ports = |remote_ports| Selector {
        remote_ports,
        protocol: 17,
        ..to
    };
    let piece = |field: u16| {
        let mut packet = udp(here(2), far, (1, 2), &[0; 32]);
        packet[6..8].copy_from_slice(&field.to_be_bytes());
        // Of another packet each: a later fragment follows its own first one.
        packet[4..6].copy_from_slice(&field.to_be_bytes());
        rechecksum(&mut packet);
        packet
    };
    let (whole, first, later) = (0, 0x2000, 5);
    let mut g = lets_out(&[ports(PortRange::one(2)), ports(PortRange::OPAQUE)]);
    assert_eq!(
        [whole, first, later].map(|f| out(&mut g, &piece(f))),
        [1, 1, 1]
    );
    let mut g = lets_out(&[ports(PortRange::OPAQUE)]);
    assert_eq!(
        [whole, first, later].map(|f| out(&mut g, &piece(f))),
        [0, 0, 1]
    );
    let mut g = lets_out(&[ports(PortRange::one(2)), to]);
    assert_eq!(
        [whole, first, later].map(|f| out(&mut g, &piece(f))),
        [1, 1, 0]
    );
    assert_eq!(g.all_drops(), [(DropReason::Fragment, 1)]);
}

#[test]
fn a_hidden_protocol_and_message_types_can_be_selected() {
    let far = Site(2).outer(true);
    let to = Selector::between(Site(1).network(true), Prefix::from_mapped(far, 128));
    let from = Site(1).host(true);
    // A later fragment whose upper-layer header lies behind destination options.
    let hidden = raw(
        from,
        far,
        44,
        &[60, 0, 0, 8 << 3, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8],
    );
    let protocol = |protocol| Selector { protocol, ..to };
    assert_eq!(out(&mut lets_out(&[to]), &hidden), 1);
    assert_eq!(out(&mut lets_out(&[protocol(OPAQUE_PROTOCOL)]), &hidden), 1);
    assert_eq!(out(&mut lets_out(&[protocol(17)]), &hidden), 0);
    // A binding update is Mobility Header type 5 (RFC 6275 §6.1.7).
    let mobility = |kind| raw(from, far, 135, &[59, 0, kind, 0, 0, 0, 0, 0]);
    let mut updates = protocol(135);
    updates.local_ports = PortRange {
        first: 5 << 8,
        last: 5 << 8 | 255,
    };
    let mut g = lets_out(&[updates]);
    assert_eq!([5, 6].map(|kind| out(&mut g, &mobility(kind))), [1, 0]);
}
