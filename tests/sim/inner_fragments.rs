//! Inner fragments against policies and SAs that select by port (RFC 4301 §7).

use adit_abi::{Action, DropReason, PortRange, Prefix, SaFlags, SaRecord, Selector};
use adit_dataplane::memory_gateway::{MemoryGateway, Site, TunnelPlan};

use crate::packets::{cuttable, raw, udp};
use crate::reassembly::cut;
use crate::tunnel::carry;

fn dns(v6: bool, port: u16) -> Selector {
    let mut s = Selector::between(Site(1).network(v6), Site(2).network(v6));
    (s.protocol, s.remote_ports) = (17, PortRange::one(port));
    s
}

/// A pair whose SAs select DNS only, with these flags.
fn pair(v6: bool, flags: SaFlags) -> (MemoryGateway, MemoryGateway) {
    let (mut a, mut b) = MemoryGateway::pair(&TunnelPlan::default());
    let narrow = |r: &mut SaRecord| {
        r.selector = dns(v6, 53);
        r.flags = r.flags.with(flags);
    };
    a.change_sa(a.outbound(), narrow);
    let mut there = Selector::between(Site(2).network(v6), Site(1).network(v6));
    (there.protocol, there.local_ports) = (17, PortRange::one(53));
    b.change_sa(b.inbound(), |r| {
        r.selector = there;
        r.flags = r.flags.with(flags);
    });
    (a, b)
}

fn pieces(v6: bool, port: u16, id: u16) -> Vec<Vec<u8>> {
    let (from, to) = (Site(1).host(v6), Site(2).host(v6));
    let mut packet = udp(from, to, (1000, port), &[7; 1200]);
    if !v6 {
        packet = cuttable(packet);
    }
    cut(&packet, &[400, 800], id)
}

#[test]
fn an_sa_that_selects_by_port_carries_later_fragments_only_if_told_to() {
    for v6 in [false, true] {
        for (flags, carried) in [(SaFlags::default(), 1), (SaFlags::STATEFUL_FRAGMENTS, 3)] {
            let (mut a, mut b) = pair(v6, flags);
            for piece in pieces(v6, 53, 1) {
                a.from_inside(&piece);
            }
            a.run();
            assert_eq!(carry(&mut a, &mut b).len(), carried, "{:?}", a.all_drops());
            b.run();
            assert_eq!(b.inside.drain().len(), carried, "{:?}", b.all_drops());
            assert_eq!(a.drops(DropReason::Fragment), 3 - carried as u64);
        }
    }
}

#[test]
fn a_receiver_that_was_not_asked_drops_later_fragments() {
    let (mut a, mut b) = pair(false, SaFlags::STATEFUL_FRAGMENTS);
    b.change_sa(b.inbound(), |r| r.flags = SaFlags::default());
    for piece in pieces(false, 53, 1) {
        a.from_inside(&piece);
    }
    a.run();
    carry(&mut a, &mut b);
    b.run();
    assert_eq!(b.inside.drain().len(), 1);
    assert_eq!(b.all_drops(), [(DropReason::Fragment, 2)]);
}

#[test]
fn each_fragment_goes_the_way_of_its_first_one() {
    let (mut a, mut b) = pair(false, SaFlags::STATEFUL_FRAGMENTS);
    a.policy.link(0, None);
    // Port 53 is protected, port 54 passes in clear, all else of UDP is discarded.
    let slot = a.add_policy(dns(false, 53), 1, Action::Protect);
    let out = a.outbound();
    a.policy.link(slot, Some(out));
    a.add_policy(dns(false, 54), 2, Action::Bypass);
    let mut rest = dns(false, 0);
    rest.remote_ports = PortRange {
        first: 0,
        last: 65534,
    };
    a.add_policy(rest, 3, Action::Discard);
    a.add_route(
        Site(2).network(false),
        adit_abi::RouteKind::Unicast,
        adit_dataplane::memory_gateway::OUTSIDE,
        Site(2).outer(false),
    );
    a.refresh();
    for piece in pieces(false, 53, 1)
        .iter()
        .zip(&pieces(false, 54, 2))
        .zip(&pieces(false, 55, 3))
    {
        for piece in [piece.0.0, piece.0.1, piece.1] {
            a.from_inside(piece);
        }
    }
    a.run();
    let frames = a.outside.drain();
    let protocols: Vec<_> = frames.iter().map(|f| f[14 + 9]).collect();
    assert_eq!(
        protocols.iter().filter(|p| **p == 50).count(),
        3,
        "{:?}",
        a.all_drops()
    );
    assert_eq!(protocols.iter().filter(|p| **p == 17).count(), 3);
    assert_eq!(a.all_drops(), [(DropReason::PolicyDiscard, 3)]);
    for frame in frames.iter().filter(|f| f[14 + 9] == 50) {
        b.from_outside(&frame[14..]);
    }
    b.run();
    assert_eq!(b.inside.drain().len(), 3, "{:?}", b.all_drops());
}

#[test]
fn in_clear_from_outside_too_fragments_follow_their_first_one() {
    let (mut a, _b) = MemoryGateway::pair(&TunnelPlan::default());
    let any = Prefix::from_mapped(adit_abi::Address::UNSPECIFIED, 0);
    let mut web = Selector::between(any, any);
    (web.protocol, web.local_ports) = (17, PortRange::one(443));
    a.add_policy(web, 1, Action::Bypass);
    a.refresh();
    let from = adit_abi::Address::v4([198, 51, 100, 7]);
    let sent = |port, id| {
        let packet = cuttable(udp(from, Site(1).host(false), (5000, port), &[7; 1200]));
        cut(&packet, &[400, 800], id)
    };
    let good = sent(443, 1);
    // Before its first one a later fragment is nobody's; after 15 seconds it is again.
    a.from_outside(&good[1]);
    a.run();
    assert_eq!(a.inside.drain().len(), 0);
    for piece in good.iter().chain(&sent(444, 2)) {
        a.from_outside(piece);
    }
    a.run();
    assert_eq!(a.inside.drain().len(), 3, "{:?}", a.all_drops());
    a.now += 16_000_000_000;
    a.from_outside(&good[2]);
    a.run();
    assert_eq!(a.inside.drain().len(), 0);
    // One that reaches into the first fragment could change what it said.
    let other = sent(443, 3);
    a.from_outside(&other[0]);
    a.from_outside(
        &cut(
            &cuttable(udp(from, Site(1).host(false), (5000, 443), &[9; 1200])),
            &[200],
            3,
        )[1],
    );
    a.run();
    assert_eq!(a.inside.drain().len(), 1);
}

#[test]
fn fragments_that_could_replace_tcps_flags_are_dropped() {
    for v6 in [false, true] {
        let (mut a, _b) = MemoryGateway::pair(&TunnelPlan::default());
        let packet = raw(Site(1).host(v6), Site(2).host(v6), 6, &[7; 64]);
        let packet = if v6 { packet } else { cuttable(packet) };
        a.from_inside(&cut(&packet, &[8], 1)[1]);
        a.run();
        assert_eq!(a.all_drops(), [(DropReason::Fragment, 1)]);
    }
}
