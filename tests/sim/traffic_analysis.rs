//! Padding and dummy packets against traffic analysis (RFC 4303 §2.6, §2.7).

use std::sync::atomic::Ordering::Relaxed;

use adit_abi::{DropReason, WorkerCounter};
use adit_dataplane::memory_gateway::{MemoryGateway, OUTSIDE, Site, TunnelPlan};
use adit_dataplane::worker::Change;

use crate::packets::{hops_later, udp_of};
use crate::tunnel::{carry, every_plan};

#[test]
fn inner_packets_are_padded_to_a_size_and_come_out_as_they_were() {
    for plan in every_plan() {
        let (mut a, mut b) = MemoryGateway::pair(&plan);
        a.change_sa(a.outbound(), |r| r.tfc_size = 600);
        for v6 in [false, true] {
            let (from, to) = (Site(1).host(v6), Site(2).host(v6));
            let packets = [100, 333, 599, 600, 1000].map(|size| udp_of(from, to, size));
            for packet in &packets {
                a.from_inside(packet);
            }
            a.run();
            let sizes: Vec<_> = carry(&mut a, &mut b).iter().map(Vec::len).collect();
            assert!(sizes[..4].iter().all(|size| *size == sizes[0]), "{sizes:?}");
            assert!(sizes[4] > sizes[0]);
            b.run();
            let got: Vec<_> = b.inside.drain().iter().map(|f| f[14..].to_vec()).collect();
            assert_eq!(got, packets.map(|p| hops_later(&p, 2)), "{plan:?}");
        }
    }
}

#[test]
fn padding_never_makes_a_packet_too_big_for_the_path() {
    let (mut a, mut b) = MemoryGateway::pair(&TunnelPlan::default());
    a.change_sa(a.outbound(), |r| r.tfc_size = u16::MAX);
    for mtu in [1500, 1300, 1499] {
        a.change_port(OUTSIDE, |port| port.mtu = mtu);
        a.refresh();
        for size in [100, 1000] {
            a.from_inside(&udp_of(Site(1).host(false), Site(2).host(false), size));
        }
        a.run();
        let sizes: Vec<_> = carry(&mut a, &mut b).iter().map(|f| f.len() - 14).collect();
        assert_eq!(sizes.len(), 2, "{:?}", a.all_drops());
        assert!(sizes.iter().all(|s| *s <= mtu.into() && s + 4 > mtu.into()));
    }
}

#[test]
fn dummies_are_sealed_like_packets_and_end_at_the_other_gateway() {
    for plan in every_plan() {
        let (mut a, mut b) = MemoryGateway::pair(&plan);
        let sa = a.outbound();
        a.worker.apply(Change::Dummies(sa, 20));
        a.run();
        let sizes: std::collections::BTreeSet<_> =
            carry(&mut a, &mut b).iter().map(Vec::len).collect();
        assert!(sizes.len() > 5, "lengths that differ: {sizes:?}");
        b.run();
        assert_eq!(b.all_drops(), [(DropReason::Dummy, 20)]);
        assert!(b.inside.drain().is_empty() && b.host.drain().is_empty());
        assert_eq!(a.counter(WorkerCounter::DummiesSent), 20);
        assert_eq!(a.state.sa(sa.slot).unwrap().dummies().load(Relaxed), 20);
        let counted = b.state.sa(b.inbound().slot).unwrap().dummies();
        assert_eq!(counted.load(Relaxed), 20);
        assert_eq!(a.all_drops(), []);
    }
}

#[test]
fn with_padding_dummies_look_like_everything_else() {
    let (mut a, mut b) = MemoryGateway::pair(&TunnelPlan::default());
    let sa = a.change_sa(a.outbound(), |r| r.tfc_size = u16::MAX);
    a.worker.apply(Change::Dummies(sa, 10));
    a.from_inside(&udp_of(Site(1).host(false), Site(2).host(false), 100));
    a.run();
    let frames = carry(&mut a, &mut b);
    assert_eq!(frames.len(), 11);
    assert!(frames.iter().all(|frame| frame.len() == frames[0].len()));
    // An SA that opens, and one that has gone, send none.
    let inbound = a.inbound();
    a.worker.apply(Change::Dummies(inbound, 10));
    a.policy.remove_sa(sa);
    a.worker.apply(Change::Dummies(sa, 10));
    a.run();
    assert!(a.outside.drain().is_empty());
}
