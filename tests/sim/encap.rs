//! UDP encapsulation and what else comes to port 4500.

use adit_abi::{SaFlags, WorkerCounter};
use adit_dataplane::memory_gateway::{MemoryGateway, NEIGHBOUR_MAC, OUTSIDE, Site, TunnelPlan};
use adit_dataplane::worker::Change;
use etherparse::TransportSlice;

use crate::packets::{assert_checksums, parse, ping, udp};

fn encapsulated(outer_v6: bool) -> TunnelPlan {
    TunnelPlan {
        encap: true,
        outer_v6,
        ..TunnelPlan::default()
    }
}

#[test]
fn the_udp_header_has_the_sas_ports_and_a_checksum_only_between_ipv6_addresses() {
    for v6 in [false, true] {
        let (mut a, _b) = MemoryGateway::pair(&encapsulated(v6));
        a.change_sa(a.outbound(), |r| r.encap_destination = 61234);
        for n in 0..20 {
            a.from_inside(&ping(Site(1).host(false), Site(2).host(false), n));
        }
        a.run();
        for frame in a.outside.drain() {
            let packet = parse(&frame[14..]);
            let Some(TransportSlice::Udp(udp)) = &packet.transport else {
                panic!("no UDP")
            };
            assert_eq!((udp.source_port(), udp.destination_port()), (4500, 61234));
            assert_eq!(udp.checksum() == 0, !v6);
            assert_checksums(&frame[14..]);
        }
    }
}

#[test]
fn each_end_may_encapsulate_or_not_as_it_likes() {
    for (a_encap, b_encap) in [(true, false), (false, true)] {
        let (mut a, mut b) = MemoryGateway::pair(&TunnelPlan::default());
        let set = |g: &mut MemoryGateway, sa, encap: bool| {
            g.change_sa(sa, |r| {
                if encap {
                    r.flags = r.flags.with(SaFlags::UDP_ENCAP);
                    (r.encap_source, r.encap_destination) = (4500, 4500);
                }
            });
        };
        let (out, inb) = (a.outbound(), b.inbound());
        set(&mut a, out, a_encap);
        set(&mut b, inb, b_encap);
        a.from_inside(&ping(Site(1).host(false), Site(2).host(false), 1));
        a.run();
        crate::tunnel::carry(&mut a, &mut b);
        b.run();
        assert_eq!(b.inside.drain().len(), 1, "{:?}", b.all_drops());
    }
}

#[test]
fn a_keepalive_is_one_octet_from_the_sas_addresses_and_ports() {
    for v6 in [false, true] {
        let (mut a, mut b) = MemoryGateway::pair(&encapsulated(v6));
        let sa = a.outbound();
        a.worker.apply(Change::Keepalive(sa));
        let inbound = a.inbound();
        a.worker.apply(Change::Keepalive(inbound));
        a.run();
        let frames = crate::tunnel::carry(&mut a, &mut b);
        assert_eq!(frames.len(), 1, "only outbound SAs are kept alive");
        assert_eq!(frames[0][..6], NEIGHBOUR_MAC);
        assert_eq!(frames[0][6..12], Site(1).mac(OUTSIDE));
        assert_checksums(&frames[0][14..]);
        let packet = parse(&frames[0][14..]);
        let Some(TransportSlice::Udp(udp)) = &packet.transport else {
            panic!("no UDP")
        };
        assert_eq!((udp.source_port(), udp.destination_port()), (4500, 4500));
        assert_eq!(udp.payload(), [0xff]);
        b.run();
        assert_eq!(b.all_drops(), [(adit_abi::DropReason::Keepalive, 1)]);
        assert_eq!(a.counter(WorkerCounter::KeepalivesSent), 1);
        a.policy.remove_sa(sa);
        a.worker.apply(Change::Keepalive(sa));
        a.run();
        assert!(a.outside.drain().is_empty(), "a dead SA is not kept alive");
    }
}

#[test]
fn ike_goes_to_the_host() {
    for v6 in [false, true] {
        let (mut a, _b) = MemoryGateway::pair(&encapsulated(v6));
        let (from, to) = (Site(2).outer(v6), Site(1).outer(v6));
        let marked = udp(from, to, (4500, 4500), &[0, 0, 0, 0, 1, 2, 3, 4]);
        let plain = udp(from, to, (500, 500), &[1, 2, 3, 4, 5, 6, 7, 8]);
        for packet in [&marked, &plain] {
            a.from_outside(packet);
        }
        a.run();
        let got: Vec<_> = a.host.drain().iter().map(|f| f[14..].to_vec()).collect();
        assert_eq!(got, [marked, plain], "{:?}", a.all_drops());
    }
}

#[test]
fn somebody_elses_traffic_to_port_4500_is_ordinary_traffic() {
    let (mut a, _b) = MemoryGateway::pair(&TunnelPlan::default());
    let any = adit_abi::Prefix::from_mapped(adit_abi::Address::UNSPECIFIED, 0);
    let all = adit_abi::Selector::between(any, any);
    a.add_policy(all, 1, adit_abi::Action::Bypass);
    a.refresh();
    let from = adit_abi::Address::v4([198, 51, 100, 1]);
    a.from_outside(&udp(from, Site(1).host(false), (4500, 4500), &[0xff]));
    a.from_outside(&crate::packets::raw(
        from,
        Site(1).host(false),
        50,
        &[9; 64],
    ));
    a.run();
    assert_eq!(a.inside.drain().len(), 2, "{:?}", a.all_drops());
}
