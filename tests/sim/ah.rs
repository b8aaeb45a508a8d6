//! AH between two gateways, alone and around ESP: what it covers, what may change on the way, and that an SA which
//! wants it refuses to do without.

use adit_abi::{
    Address, Direction, DropReason, Integrity, Mode, Prefix, SaFlags, SaRecord, SaRef, Selector,
    Spi, Suite,
};
use adit_dataplane::memory_gateway::{MemoryGateway, Site, TunnelPlan, tunnel_sa};

use crate::modes::{between, exchange, linked, outers, with_extensions, with_options};
use crate::packets::{assert_checksums, hops_later, ping, rechecksum, udp, udp_of};
use crate::tunnel::carry;

fn plan(integrity: Integrity, outer_v6: bool, esn: bool) -> TunnelPlan {
    TunnelPlan {
        suite: Suite::ah(integrity),
        outer_v6,
        esn,
        ..TunnelPlan::default()
    }
}

fn sha256(outer_v6: bool) -> TunnelPlan {
    plan(Integrity::HmacSha256, outer_v6, false)
}

#[test]
fn every_integrity_transform_carries_packets_in_both_modes_and_families() {
    for integrity in Integrity::all() {
        // Each flag both ways, and each pair of two flags in some combination.
        for n in [0b0000u8, 0b0111, 0b1011, 0b1101, 0b1110] {
            let (outer_v6, esn, tunnel, linux) = (n & 1 != 0, n & 2 != 0, n & 4 != 0, n & 8 != 0);
            let (mode, ends) = match tunnel {
                true => (Mode::Tunnel, [Site(1).host(false), Site(2).host(false)]),
                false => (Mode::Transport, outers(outer_v6)),
            };
            let plan = plan(integrity, outer_v6, esn);
            let (mut a, mut b) = linked(&plan, mode, ends, |r| {
                if linux {
                    r.flags = r.flags.with(SaFlags::AH_ALIGN_8);
                }
            });
            let packets: Vec<_> = (0..5)
                .map(|n| udp(ends[0], ends[1], (7, 9), &vec![0xa5; 16 + n * 13]))
                .collect();
            let arrived = if tunnel {
                packets.iter().for_each(|p| a.from_inside(p));
                a.run();
                carry(&mut a, &mut b);
                b.run();
                b.inside.drain().iter().map(|f| f[14..].to_vec()).collect()
            } else {
                let (wire, arrived) = exchange(&mut a, &mut b, &packets);
                for packet in &wire {
                    assert_checksums(packet);
                    assert!(
                        packet.windows(8).any(|w| w == [0xa5; 8]),
                        "AH hides nothing"
                    );
                }
                arrived
            };
            let expected: Vec<_> = packets
                .iter()
                .map(|p| if tunnel { hops_later(p, 2) } else { p.clone() })
                .collect();
            let case = format!("{integrity} {mode:?} v6={outer_v6} esn={esn} linux={linux}");
            assert_eq!(
                arrived,
                expected,
                "{case} {:?} {:?}",
                a.all_drops(),
                b.all_drops()
            );
        }
    }
}

#[test]
fn whatever_changes_is_found_out_unless_routers_may_change_it() {
    for v6 in [false, true] {
        let ends = outers(v6);
        let (mut a, mut b) = linked(&sha256(v6), Mode::Transport, ends, |_| ());
        let packet = udp(ends[0], ends[1], (7, 9), b"covered from end to end");
        let (wire, _) = exchange(&mut a, &mut b, &[packet]);
        let wire = &wire[0];
        // Class, flow label, hop limit; TOS, flags, offset, TTL.
        let mutable: &[usize] = if v6 { &[1, 2, 3, 7] } else { &[1, 6, 8] };
        // Version and checksum are looked at before AH is.
        for at in (1..wire.len()).filter(|at| v6 || ![10, 11].contains(at)) {
            let mut changed = wire.clone();
            // In the byte of the flags this is DF.
            changed[at] ^= if !v6 && at == 6 { 0x40 } else { 1 };
            if !v6 && at < 20 {
                rechecksum(&mut changed);
            }
            // A window of its own each time.
            let inbound = b.inbound();
            b.change_sa(inbound, |_| ());
            b.from_outside(&changed);
            b.run();
            let arrived = b.host.drain().len();
            let may = mutable.contains(&at);
            assert_eq!(arrived, usize::from(may), "byte {at} {:?}", b.all_drops());
        }
        assert!(b.drops(DropReason::BadIcv) > 40, "{:?}", b.all_drops());
    }
}

#[test]
fn options_and_extension_headers_may_change_where_they_say_so() {
    let ends = outers(false);
    let (mut a, mut b) = linked(&sha256(false), Mode::Transport, ends, |_| ());
    // A record route with room for one address, and a router alert.
    let options = [7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0, 0];
    let sent = with_options(&udp(ends[0], ends[1], (1, 2), b"on the way"), &options);
    a.from_host(&sent);
    a.run();
    let mut packet = a.outside.drain().remove(0)[14..].to_vec();
    packet[29] = 1;
    rechecksum(&mut packet);
    b.from_outside(&packet);
    packet[29] = 0;
    packet[22] = 8;
    packet[23..27].copy_from_slice(&[198, 51, 100, 1]);
    rechecksum(&mut packet);
    b.from_outside(&packet);
    b.run();
    assert_eq!(b.host.drain().len(), 1);
    assert_eq!(b.all_drops(), [(DropReason::BadIcv, 1)]);

    let ends = outers(true);
    let (mut a, mut b) = linked(&sha256(true), Mode::Transport, ends, |_| ());
    // A hop-by-hop option that may change, then one that may not.
    let hop: (u8, &[u8]) = (0, &[1, 0x3e, 4, 1, 2, 3, 4, 0x1e, 4, 5, 6, 7, 8, 0, 0]);
    let sent = with_extensions(&udp(ends[0], ends[1], (1, 2), b"on the way"), &[hop]);
    a.from_host(&sent);
    a.run();
    let mut packet = a.outside.drain().remove(0)[14..].to_vec();
    packet[50] = 99;
    b.from_outside(&packet);
    packet[50] = 5;
    packet[44] = 99;
    b.from_outside(&packet);
    b.run();
    assert_eq!(b.host.drain().len(), 1, "{:?}", b.all_drops());
    assert_eq!(b.drops(DropReason::BadIcv), 1);
}

#[test]
fn an_ah_header_of_another_padding_is_refused() {
    let ends = outers(false);
    for linux in [false, true] {
        let (mut a, mut b) = linked(&sha256(false), Mode::Transport, ends, |r| {
            let sender = r.direction == Direction::Outbound as u8;
            if sender == linux {
                r.flags = SaFlags::AH_ALIGN_8;
            }
        });
        exchange(&mut a, &mut b, &[udp(ends[0], ends[1], (1, 2), b"padded")]);
        assert_eq!(b.all_drops(), [(DropReason::BadAhLength, 1)]);
    }
}

#[test]
fn ah_neither_goes_through_udp_nor_hides_addresses() {
    let ends = outers(false);
    let spoil: [fn(&mut SaRecord); 3] = [
        |r| r.flags = SaFlags::UDP_ENCAP,
        |r| r.mode = Mode::Beet as u8,
        |r| r.around = Spi(0x4001),
    ];
    for spoil in spoil {
        let (mut a, _b) = linked(&sha256(false), Mode::Transport, ends, spoil);
        a.from_host(&udp(ends[0], ends[1], (1, 2), b"no such SA"));
        a.run();
        assert_eq!(a.all_drops(), [(DropReason::BadSa, 1)]);
        assert!(a.outside.drain().is_empty());
    }
}

/// The AH SA around the ESP SA `inner` of a pair made by [`linked`], in both gateways; `inner` itself names it.
fn nest(a: &mut MemoryGateway, b: &mut MemoryGateway, outer_v6: bool) -> [SaRef; 2] {
    let mut ah = tunnel_sa(&sha256(outer_v6), Spi(0x4001), Site(1), Site(2));
    ah.mode = Mode::Transport as u8;
    [a, b].map(|gateway| {
        let (inner, direction) = match gateway.site {
            Site(1) => (gateway.outbound(), Direction::Outbound),
            _ => (gateway.inbound(), Direction::Inbound),
        };
        ah.direction = direction as u8;
        ah.selector = between(gateway.site, outers(outer_v6));
        ah.selector.protocol = 50;
        gateway.change_sa(inner, |r| r.around = Spi(0x4001));
        gateway.add_sa(&ah)
    })
}

#[test]
fn ah_goes_around_esp_in_every_mode_of_esp() {
    for v6 in [false, true] {
        for mode in Mode::ALL {
            let ends = match mode {
                Mode::Transport => outers(v6),
                _ => [Site(1).host(false), Site(2).host(false)],
            };
            let plan = TunnelPlan {
                outer_v6: v6,
                ..TunnelPlan::default()
            };
            let (mut a, mut b) = linked(&plan, mode, ends, |_| ());
            nest(&mut a, &mut b, v6);
            let packets: Vec<_> = (0..4)
                .map(|n| udp(ends[0], ends[1], (n, 9), b"two"))
                .collect();
            for packet in &packets {
                match mode {
                    Mode::Transport => a.from_host(packet),
                    _ => a.from_inside(packet),
                }
            }
            a.run();
            let wire = carry(&mut a, &mut b);
            assert_eq!(wire.len(), 4, "{:?}", a.all_drops());
            for frame in &wire {
                let (number, after) = if v6 { (20, 54) } else { (23, 34) };
                assert_eq!((frame[number], frame[after]), (51, 50), "AH, then ESP");
            }
            b.run();
            let arrived = b.host.drain().len() + b.inside.drain().len();
            assert_eq!(arrived, 4, "{mode:?} {:?}", b.all_drops());
        }
    }
}

#[test]
fn a_policy_that_wants_both_refuses_either_alone() {
    let ends = outers(false);
    let (mut a, mut b) = linked(&TunnelPlan::default(), Mode::Transport, ends, |_| ());
    let [around, _] = nest(&mut a, &mut b, false);
    let packet = udp(ends[0], ends[1], (1, 2), b"both or nothing");
    // ESP alone: the peer forgot AH.
    a.change_sa(a.outbound(), |r| r.around = Spi(0));
    exchange(&mut a, &mut b, std::slice::from_ref(&packet));
    assert_eq!(b.all_drops(), [(DropReason::NotNested, 1)]);
    // AH alone: what it carries is not ESP.
    a.change_sa(around, |r| r.selector.protocol = 0);
    let slot = a.reader.policies().next().unwrap().0;
    let ah = a.reader.sas().find(|(_, r)| r.protocol == 51).unwrap().0;
    a.policy.link(slot, Some(ah));
    let (wire, arrived) = exchange(&mut a, &mut b, std::slice::from_ref(&packet));
    assert_eq!((wire.len(), arrived.len()), (1, 0));
    assert_eq!(b.drops(DropReason::SelectorMismatch), 1);
    // The other way round: an SA that is to be sealed around is gone, so nothing leaves.
    let esp = a
        .reader
        .sas()
        .find(|(_, r)| r.protocol == 50 && r.direction == 2)
        .unwrap()
        .0;
    let esp = a.change_sa(esp, |r| r.around = Spi(0x4001));
    a.policy.link(slot, Some(esp));
    a.policy.remove_sa(ah);
    let (wire, _) = exchange(&mut a, &mut b, &[packet]);
    assert!(wire.is_empty());
    assert_eq!(a.all_drops(), [(DropReason::NoSa, 1)]);
}

#[test]
fn nesting_without_end_ends() {
    // An AH SA that covers everything, itself included: the peer wraps one packet five times.
    let ends = outers(false);
    let any = Prefix::from_mapped(Address::UNSPECIFIED, 0);
    let (mut a, mut b) = linked(&sha256(false), Mode::Transport, ends, |r| {
        r.selector = Selector::between(any, any);
    });
    let mut packet = udp(ends[0], ends[1], (1, 2), b"onion");
    for layer in 1..=5 {
        a.from_host(&packet);
        a.run();
        packet = a.outside.drain().remove(0)[14..].to_vec();
        b.from_outside(&packet);
        b.run();
        // Its numbers have been seen from the second time on: anti-replay ends it as well.
        b.change_sa(b.inbound(), |r| r.window = 0);
        let arrived = b.host.drain().len();
        assert_eq!(
            arrived,
            usize::from(layer <= 4),
            "{layer} {:?}",
            b.all_drops()
        );
    }
    assert_eq!(b.all_drops(), [(DropReason::NotNested, 1)]);
}

#[test]
fn a_bundle_fills_the_wire_and_no_more() {
    for v6 in [false, true] {
        let ends = [Site(1).host(false), Site(2).host(false)];
        let plan = TunnelPlan {
            outer_v6: v6,
            ..TunnelPlan::default()
        };
        let (mut a, mut b) = linked(&plan, Mode::Tunnel, ends, |_| ());
        nest(&mut a, &mut b, v6);
        let longest = (1380..1500)
            .filter_map(|n| {
                a.from_inside(&udp_of(ends[0], ends[1], n));
                a.run();
                a.inside.drain();
                let frames = carry(&mut a, &mut b);
                b.run();
                assert_eq!(b.inside.drain().len(), frames.len());
                frames.first().map(|f| f.len() - 14)
            })
            .max();
        assert!((1497..=1500).contains(&longest.unwrap()), "{longest:?}");
        assert_eq!(b.all_drops(), []);
    }
}

#[test]
fn anti_replay_and_lifetimes_hold_for_ah() {
    let ends = outers(false);
    let (mut a, mut b) = linked(&sha256(false), Mode::Transport, ends, |r| {
        if r.direction == Direction::Outbound as u8 {
            r.hard.packets = 3;
        }
    });
    for n in 0..4 {
        a.from_host(&ping(ends[0], ends[1], n));
    }
    a.run();
    assert_eq!(a.all_drops(), [(DropReason::LifetimeExpired, 1)]);
    let frames = carry(&mut a, &mut b);
    b.run();
    assert_eq!((frames.len(), b.host.drain().len()), (3, 3));
    for frame in &frames {
        b.from_outside(&frame[14..]);
    }
    b.run();
    assert_eq!(b.all_drops(), [(DropReason::Replayed, 3)]);
}
