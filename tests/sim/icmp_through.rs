//! ICMP errors through SAs whose selectors leave them out are judged by what they quote (RFC 4301 §6.2).

use adit_abi::{Address, DropReason, Event, SaFlags, Selector};
use adit_dataplane::memory_gateway::{MemoryGateway, Site, TunnelPlan};

use crate::packets::{udp, udp_of};
use crate::tunnel::carry;

/// A pair whose policies and SAs are for UDP between the two networks only.
fn pair(v6: bool) -> (MemoryGateway, MemoryGateway) {
    let (mut a, mut b) = MemoryGateway::pair(&TunnelPlan::default());
    for g in [&mut a, &mut b] {
        let mut selector = Selector::between(g.site.network(v6), g.site.peer().network(v6));
        selector.protocol = 17;
        for sa in [g.outbound(), g.inbound()] {
            g.change_sa(sa, |r| r.selector = selector);
        }
        for slot in 0..2 {
            g.policy.remove_policy(slot);
        }
        let slot = g.add_policy(selector, 1, adit_abi::Action::Protect);
        let out = g.outbound();
        g.policy.link(slot, Some(out));
        g.refresh();
    }
    (a, b)
}

fn router(v6: bool) -> Address {
    match v6 {
        false => Address::v4([10, 9, 9, 9]),
        true => Address::v6([0x20, 1, 0xd, 0xb8, 0, 0x99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]),
    }
}

/// An unreachable error of a router about a packet.
fn unreachable(from: Address, about: &[u8]) -> Vec<u8> {
    let kind = if about[0] >> 4 == 4 { 3 } else { 1 };
    let mut error = crate::too_big::error_about(about, kind, 1, 0, 48);
    match from.is_v4() {
        true => {
            error[12..16].copy_from_slice(&from.v4_bytes());
            crate::packets::rechecksum(&mut error);
        }
        false => error[8..24].copy_from_slice(&from.0),
    }
    error
}

#[test]
fn an_error_goes_back_through_the_sa_of_what_caused_it() {
    for v6 in [false, true] {
        let (mut a, mut b) = pair(v6);
        // From the host behind B to the host behind A; a router behind A cannot deliver it.
        let cause = udp_of(Site(2).host(v6), Site(1).host(v6), 200);
        let error = unreachable(router(v6), &cause);
        a.from_inside(&error);
        a.run();
        assert_eq!(carry(&mut a, &mut b).len(), 1, "{:?}", a.all_drops());
        b.run();
        let got = b.inside.drain();
        assert_eq!(got.len(), 1, "{:?}", b.all_drops());
        assert!(got[0].ends_with(&cause[..48]));
    }
}

#[test]
fn an_error_about_other_traffic_goes_nowhere() {
    let (mut a, _b) = pair(false);
    let elsewhere = Address::v4([198, 51, 100, 7]);
    let from_elsewhere = udp(elsewhere, Site(1).host(false), (1, 2), &[0; 64]);
    a.from_inside(&unreachable(router(false), &from_elsewhere));
    // It quotes the tunnel's traffic, but is for somebody else.
    let cause = udp_of(Site(2).host(false), Site(1).host(false), 200);
    let mut astray = unreachable(router(false), &cause);
    astray[16..20].copy_from_slice(&elsewhere.v4_bytes());
    crate::packets::rechecksum(&mut astray);
    a.from_inside(&astray);
    a.run();
    assert!(a.outside.drain().is_empty());
    assert_eq!(a.all_drops(), [(DropReason::NoPolicy, 2)]);
}

#[test]
fn no_sa_is_asked_for_on_an_errors_account() {
    let (mut a, _b) = pair(false);
    let sa = a.outbound();
    a.policy.remove_sa(sa);
    let cause = udp_of(Site(2).host(false), Site(1).host(false), 200);
    a.from_inside(&unreachable(router(false), &cause));
    a.run();
    assert_eq!(a.all_drops(), [(DropReason::NoSa, 1)]);
    assert!(
        !a.events()
            .iter()
            .any(|e| matches!(e, Event::Acquire { .. }))
    );
}

#[test]
fn where_an_sa_is_told_to_errors_are_checked_though_their_header_fits() {
    for (flags, admitted) in [(SaFlags::default(), 2), (SaFlags::ICMP_CHECK, 1)] {
        let (mut a, mut b) = MemoryGateway::pair(&TunnelPlan::default());
        b.change_sa(b.inbound(), |r| {
            r.flags = r.flags.with(flags);
            r.selector = Selector::between(Site(2).network(false), Site(1).network(false));
        });
        let cause = udp_of(Site(2).host(false), Site(1).host(false), 200);
        // A host behind A tears at a connection with somebody else.
        let other = udp(
            Site(2).host(false),
            Address::v4([198, 51, 100, 7]),
            (1, 2),
            &[0; 64],
        );
        for about in [&cause, &other] {
            a.from_inside(&unreachable(Site(1).host(false), about));
        }
        a.run();
        assert_eq!(carry(&mut a, &mut b).len(), 2);
        b.run();
        assert_eq!(b.inside.drain().len(), admitted);
        assert_eq!(b.drops(DropReason::IcmpQuote), 2 - admitted as u64);
    }
}
