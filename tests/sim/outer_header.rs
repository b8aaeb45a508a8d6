//! What the outer header takes from the inner one, and the inner one from the outer.

use adit_abi::{DropReason, SaFlags, SaRecord, WorkerCounter};
use adit_dataplane::memory_gateway::{MemoryGateway, Site, TunnelPlan};
use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice, NetSlice};

use crate::packets::{assert_checksums, cuttable, ping, rechecksum};
use crate::tunnel::carry;

/// Seals one inner packet under an outbound SA changed like this; returns the outer IP packet.
fn outer(v6_outside: bool, inner: &[u8], change: impl FnOnce(&mut SaRecord)) -> Vec<u8> {
    let plan = TunnelPlan {
        outer_v6: v6_outside,
        ..TunnelPlan::default()
    };
    let (mut a, _b) = MemoryGateway::pair(&plan);
    a.change_sa(a.outbound(), change);
    a.from_inside(inner);
    a.run();
    let frames = a.outside.drain();
    assert_eq!(frames.len(), 1, "{:?}", a.all_drops());
    assert_checksums(&frames[0][14..]);
    frames[0][14..].to_vec()
}

fn v4(packet: &[u8]) -> Ipv4HeaderSlice<'_> {
    Ipv4HeaderSlice::from_slice(packet).unwrap()
}

fn v6(packet: &[u8]) -> Ipv6HeaderSlice<'_> {
    Ipv6HeaderSlice::from_slice(packet).unwrap()
}

fn flag(flags: SaFlags) -> impl Fn(&mut SaRecord) {
    move |record| record.flags = record.flags.with(flags)
}

fn inner(v6: bool, class: u8) -> Vec<u8> {
    let mut packet = ping(Site(1).host(v6), Site(2).host(v6), 1);
    if v6 {
        packet[0] |= class >> 4;
        // A flow label too, which must not show outside.
        packet[1] = class << 4 | 0x0a;
        packet[2] = 0xbc;
    } else {
        packet[1] = class;
        rechecksum(&mut packet);
    }
    packet
}

#[test]
fn dscp_and_ecn_are_copied_unless_the_sa_says_otherwise() {
    for inner_v6 in [false, true] {
        let packet = inner(inner_v6, 46 << 2 | 2);
        let class = |change: &dyn Fn(&mut SaRecord)| {
            let four = outer(false, &packet, change);
            let six = outer(true, &packet, change);
            let four = v4(&four).dcp().value() << 2 | v4(&four).ecn().value();
            assert_eq!(four, v6(&six).traffic_class());
            (four >> 2, four & 3)
        };
        assert_eq!(class(&|_| ()), (46, 2));
        assert_eq!(class(&flag(SaFlags::NO_ECN)), (46, 0));
        let fixed = |r: &mut SaRecord| {
            flag(SaFlags::DSCP_SET)(r);
            r.dscp = 10;
        };
        assert_eq!(class(&fixed), (10, 2));
    }
}

#[test]
fn df_is_copied_set_or_cleared() {
    let with_df = ping(Site(1).host(false), Site(2).host(false), 1);
    let without = cuttable(with_df.clone());
    let six = ping(Site(1).host(true), Site(2).host(true), 1);
    let df = |inner: &[u8], flags| v4(&outer(false, inner, flag(flags))).dont_fragment();
    let copy = SaFlags::default();
    assert!(df(&with_df, copy) && !df(&without, copy) && df(&six, copy));
    assert!(df(&without, SaFlags::DF_SET) && df(&six, SaFlags::DF_SET));
    assert!(!df(&with_df, SaFlags::DF_CLEAR) && !df(&six, SaFlags::DF_CLEAR));
}

#[test]
fn packets_that_routers_may_cut_have_distinct_ids() {
    let plan = TunnelPlan::default();
    let (mut a, _b) = MemoryGateway::pair(&plan);
    for n in 0..50 {
        a.from_inside(&cuttable(ping(Site(1).host(false), Site(2).host(false), n)));
    }
    a.run();
    let mut ids: Vec<u16> = a
        .outside
        .drain()
        .iter()
        .map(|f| v4(&f[14..]).identification())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 50);
}

#[test]
fn addresses_lengths_hop_limit_and_flow_label_are_the_tunnels() {
    for inner_v6 in [false, true] {
        let packet = inner(inner_v6, 0);
        for (configured, expected) in [(0, 64), (9, 9)] {
            let set = |r: &mut SaRecord| r.hop_limit = configured;
            let four = outer(false, &packet, set);
            let header = v4(&four);
            assert_eq!(header.ttl(), expected);
            assert_eq!(usize::from(header.total_len()), four.len());
            assert_eq!(header.source(), Site(1).outer(false).v4_bytes());
            assert_eq!(header.destination(), Site(2).outer(false).v4_bytes());
            let six = outer(true, &packet, set);
            let header = v6(&six);
            assert_eq!(header.hop_limit(), expected);
            assert_eq!(usize::from(header.payload_length()), six.len() - 40);
            assert_eq!(header.flow_label().value(), 0);
            assert_eq!(header.source(), Site(1).outer(true).0);
        }
    }
}

/// RFC 6040 §4.2, figure 4: rows are the inner field, columns the outer; 4 stands for "dropped".
const ECN: [[u8; 4]; 4] = [
    // outer: Not-ECT, ECT(1), ECT(0), CE
    [0, 0, 0, 4],
    [1, 1, 1, 3],
    [2, 1, 2, 3],
    [3, 3, 3, 3],
];

/// Which combinations are counted as `(!!!)` and `(!)`, of the same rows and columns.
const ECN_ALARMS: [[[u64; 2]; 4]; 4] = [
    [[0, 0], [1, 0], [1, 0], [1, 0]],
    [[0, 0], [0, 0], [0, 1], [0, 0]],
    [[0, 0], [0, 0], [0, 0], [0, 0]],
    [[0, 0], [1, 0], [0, 0], [0, 0]],
];

#[test]
fn dscps_are_mapped_where_the_sa_says_so() {
    let plan = TunnelPlan::default();
    let (mut a, _b) = MemoryGateway::pair(&plan);
    a.change_settings(|s| (s.dscp_map[46], s.dscp_map[10]) = (34, 255));
    a.change_sa(a.outbound(), flag(SaFlags::DSCP_MAP));
    a.refresh();
    let mut class = |dscp: u8| {
        a.from_inside(&inner(false, dscp << 2 | 1));
        a.run();
        let frame = a.outside.drain().remove(0);
        (frame[15] >> 2, frame[15] & 3)
    };
    assert_eq!(class(46), (34, 1));
    assert_eq!(class(10), (63, 1), "only six bits of a map count");
    assert_eq!(class(8), (8, 1));
    a.change_settings(|s| s.dscp_map[46] = 0);
    a.refresh();
    a.from_inside(&inner(false, 46 << 2));
    a.run();
    assert_eq!(a.outside.drain()[0][15], 0, "a changed map counts at once");
}

#[test]
fn the_flow_label_is_copied_or_hashed_where_the_sa_says_so() {
    let label = |inner: &[u8], flags| v6(&outer(true, inner, flag(flags))).flow_label().value();
    let labelled = inner(true, 0);
    assert_eq!(label(&labelled, SaFlags::FLOW_COPY), 0xa_bc00);
    assert_eq!(label(&inner(false, 0), SaFlags::FLOW_COPY), 0);
    // One flow has one label, another very probably another; inside and outside share none.
    let (from, to) = (Site(1).host(false), Site(2).host(false));
    let flow = |port| {
        let packet = crate::packets::udp(from, to, (port, 53), b"question");
        label(&packet, SaFlags::FLOW_HASH)
    };
    assert_eq!(flow(1), flow(1));
    let labels: std::collections::BTreeSet<_> = (1..20).map(flow).collect();
    assert!(labels.len() > 15 && !labels.contains(&0));
    assert_ne!(label(&labelled, SaFlags::FLOW_HASH), 0xa_bc00);
    assert_eq!(label(&labelled, SaFlags::default()), 0);
}

#[test]
fn congestion_marks_come_inside_as_rfc_6040_says() {
    for inner_v6 in [false, true] {
        for outer_v6 in [false, true] {
            for (inner_ecn, row) in (0u8..).zip(ECN) {
                for (outer_ecn, expected) in (0u8..).zip(row) {
                    let plan = TunnelPlan {
                        outer_v6,
                        ..TunnelPlan::default()
                    };
                    let (mut a, mut b) = MemoryGateway::pair(&plan);
                    a.from_inside(&inner(inner_v6, 8 << 2 | inner_ecn));
                    a.run();
                    let mut packet = a.outside.drain().remove(0)[14..].to_vec();
                    if outer_v6 {
                        packet[1] = packet[1] & !0x30 | outer_ecn << 4;
                    } else {
                        packet[1] = packet[1] & !3 | outer_ecn;
                        rechecksum(&mut packet);
                    }
                    b.from_outside(&packet);
                    b.run();
                    let alarms = [WorkerCounter::EcnInvalid, WorkerCounter::EcnUnusual];
                    let alarms = alarms.map(|counter| b.counter(counter));
                    assert_eq!(
                        alarms,
                        ECN_ALARMS[usize::from(inner_ecn)][usize::from(outer_ecn)]
                    );
                    let frames = b.inside.drain();
                    if expected == 4 {
                        assert!(frames.is_empty());
                        assert_eq!(b.all_drops(), [(DropReason::EcnCongestion, 1)]);
                        continue;
                    }
                    assert_checksums(&frames[0][14..]);
                    let class = match crate::packets::parse(&frames[0][14..]).net.unwrap() {
                        NetSlice::Ipv4(ip) => {
                            ip.header().dcp().value() << 2 | ip.header().ecn().value()
                        }
                        NetSlice::Ipv6(ip) => ip.header().traffic_class(),
                        NetSlice::Arp(_) => unreachable!(),
                    };
                    assert_eq!(class, 8 << 2 | expected, "{inner_ecn} in {outer_ecn}");
                }
            }
        }
    }
}

#[test]
fn the_inner_dscp_stays_what_it_was() {
    let (mut a, mut b) = MemoryGateway::pair(&TunnelPlan::default());
    a.change_sa(a.outbound(), |r| {
        flag(SaFlags::DSCP_SET)(r);
        r.dscp = 63;
    });
    a.from_inside(&inner(false, 46 << 2));
    a.run();
    carry(&mut a, &mut b);
    b.run();
    assert_eq!(v4(&b.inside.drain()[0][14..]).dcp().value(), 46);
}
