//! A live SA moves to other addresses and ports under traffic: nothing is lost, and nothing comes twice.

use std::sync::atomic::Ordering::Relaxed;

use adit_abi::{Address, DropReason, Prefix, RouteKind, SaFlags};
use adit_dataplane::memory_gateway::{MemoryGateway, OUTSIDE, Site, TunnelPlan};

use crate::packets::ping;

/// Gateway A's second address outside.
const MOVED: Address = Address::v4([192, 0, 2, 11]);

fn send(a: &mut MemoryGateway, numbers: std::ops::Range<u16>) -> Vec<Vec<u8>> {
    for n in numbers {
        a.from_inside(&ping(Site(1).host(false), Site(2).host(false), n));
    }
    a.run();
    a.outside.drain().iter().map(|f| f[14..].to_vec()).collect()
}

/// Delivers packets; returns the numbers of the pings that arrived.
fn deliver(b: &mut MemoryGateway, packets: &[Vec<u8>]) -> Vec<u16> {
    for packet in packets {
        b.from_outside(packet);
    }
    b.run();
    let number = |f: &Vec<u8>| u16::from_be_bytes([f[14 + 26], f[14 + 27]]);
    b.inside.drain().iter().map(number).collect()
}

#[test]
fn traffic_goes_on_while_an_address_and_a_port_change() {
    for encap in [false, true] {
        let plan = TunnelPlan {
            encap,
            ..TunnelPlan::default()
        };
        let (mut a, mut b) = MemoryGateway::pair(&plan);
        a.add_route(
            Prefix::from_mapped(MOVED, 128),
            RouteKind::Local,
            0,
            Address::UNSPECIFIED,
        );
        b.add_neighbour(OUTSIDE, MOVED);
        a.refresh();
        b.refresh();
        let (out_a, in_a, out_b, in_b) = (a.outbound(), a.inbound(), b.outbound(), b.inbound());
        let before = send(&mut a, 0..30);
        let early = deliver(&mut b, &before[..10]);
        let back: Vec<_> = (0..10)
            .map(|n| ping(Site(2).host(false), Site(1).host(false), n))
            .collect();
        back.iter().for_each(|p| b.from_inside(p));
        b.run();
        let under_way: Vec<_> = b.outside.drain().iter().map(|f| f[14..].to_vec()).collect();

        let port = |r: &mut adit_abi::SaRecord, here: u16| {
            if r.flags.contains(SaFlags::UDP_ENCAP) {
                r.encap_source = here;
            }
        };
        a.move_sa(out_a, |r| {
            r.source = MOVED;
            port(r, 61_000);
        });
        a.move_sa(in_a, |r| r.destination = MOVED);
        b.move_sa(in_b, |r| r.source = MOVED);
        b.move_sa(out_b, |r| r.destination = MOVED);

        let after = send(&mut a, 30..60);
        assert!(before.iter().all(|p| p[12..16] == [192, 0, 2, 1]));
        assert!(after.iter().all(|p| p[12..16] == MOVED.v4_bytes()));
        // What is still under way from the old address comes in between what comes from the new one.
        let mut arrived = early;
        arrived.extend(deliver(&mut b, &after[..15]));
        arrived.extend(deliver(&mut b, &before[10..]));
        arrived.extend(deliver(&mut b, &after[15..]));
        arrived.sort_unstable();
        assert_eq!(arrived, (0..60).collect::<Vec<_>>());
        assert_eq!(deliver(&mut b, &before), []);
        assert_eq!(deliver(&mut b, &after), []);
        assert_eq!(b.all_drops(), [(DropReason::Replayed, 60)]);

        // The other way round: what was under way to the old address, and what goes to the new one.
        back.iter().for_each(|p| b.from_inside(p));
        b.run();
        let later: Vec<_> = b.outside.drain().iter().map(|f| f[14..].to_vec()).collect();
        assert!(later.iter().all(|p| p[16..20] == MOVED.v4_bytes()));
        assert_eq!(deliver(&mut a, &under_way).len(), 10);
        assert_eq!(deliver(&mut a, &later).len(), 10, "{:?}", a.all_drops());
        for (gateway, sa) in [(&a, out_a), (&b, in_b)] {
            let state = gateway.state.sa(sa.slot).unwrap();
            assert_eq!(state.sequence().load(Relaxed), 60);
            assert_eq!(state.packets().load(Relaxed), 60);
        }
        // Once the old key has gone, the new one goes on alone.
        a.policy.retire_sa(in_a);
        assert_eq!(deliver(&mut a, &under_way), []);
        assert_eq!(a.drops(DropReason::UnknownSpi), 10);
        let more = send(&mut a, 60..61);
        b.policy.retire_sa(in_b);
        assert_eq!(deliver(&mut b, &more), [60]);
    }
}
