//! Either process can be killed and started again under traffic.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use adit::lab::Side;
use adit::lab::capture::{Captured, Frame, Kind};
use adit::lab::flow::{self, Flow, FlowPlan};
use adit::lab::gateway;
use adit::lab::wait::{self, Look};
use rustix::net::{AddressFamily, Protocol, RawProtocol, SendFlags, SocketType, sendto, socket};

use crate::rig::{LIMIT, Rig, assert_nothing_clear, plan};
use crate::{alone, runnable};

/// Fails if a gateway has sent one sequence number twice under one SPI; gives how many ESP packets it sent.
fn assert_no_number_twice(captured: &Captured) -> usize {
    let mut seen: HashMap<(u32, u32), usize> = HashMap::new();
    for (place, frame) in captured.from_a.iter().enumerate() {
        if let Kind::Esp { spi, sequence, .. } = frame.kind() {
            let earlier = seen.insert((spi, sequence), place);
            assert_eq!(
                earlier, None,
                "SPI {spi:#x}, number {sequence} again in frame {place}"
            );
        }
    }
    seen.len()
}

/// Kills and restarts control of either gateway under a flow.
fn tally_over_restarts_of_control(rig: &mut Rig, plan: FlowPlan) -> flow::Tally {
    let flow = Flow::start(&rig.topology, plan).expect("a flow");
    let phase = u64::from(plan.rate) / 4;
    flow.wait_for_arrivals(phase, LIMIT).expect("traffic");
    for side in Side::BOTH {
        rig.gateway(side).kill_control();
        flow.wait_for_arrivals(phase, LIMIT)
            .expect("traffic without control");
        rig.gateway(side).start_control().expect("control");
        rig.gateway(side)
            .wait_until_ready()
            .expect("a gateway that is ready");
        flow.wait_for_arrivals(phase, LIMIT)
            .expect("traffic with a new control");
    }
    flow.stop().expect("a tally")
}

/// The same flow for as many packets, with nobody touched.
fn tally_in_peace(rig: &Rig, plan: FlowPlan, packets: u64) -> flow::Tally {
    let flow = Flow::start(&rig.topology, plan).expect("a flow");
    flow.wait_for_sending(packets, LIMIT).expect("traffic");
    flow.stop().expect("a tally")
}

/// What both gateways have dropped by a decision of theirs: not for want of a processor.
fn decided_drops(rig: &Rig) -> BTreeMap<String, u64> {
    let drops = rig.gateways.iter().flat_map(|gateway| {
        let drops = gateway.drops().expect("counters");
        let name = gateway.side().gateway();
        let starved =
            |why: &str| why.contains(": receive-") || ["transmit-full", "no-frame"].contains(&why);
        let decided = drops.into_iter().filter(move |(why, _)| !starved(why));
        decided.map(move |(why, count)| (format!("{name}: {why}"), count))
    });
    drops.collect()
}

#[test]
fn killing_control_loses_no_packet_and_a_new_one_takes_the_table_back() {
    or_skip!(runnable());
    let _alone = alone();
    let first = plan();
    let mut rig = Rig::with_tunnel(&first);
    let packets = FlowPlan::default();
    let before = rig.gateway(Side::A).sas().expect("a list");
    assert!(!before.is_empty());
    let lossless =
        flow::lossless_rate(&rig.topology, packets, 1_000, 256_000).expect("a measurement");
    let rate = lossless.expect("a rate without loss") / 2;
    eprintln!("half the lossless rate: {rate} packets/s");
    let half = FlowPlan { rate, ..packets };
    // A busy neighbour of this machine can take the processor from the data plane in the middle, restart or not. So a loss is held
    // against the restarts unless the same flow in peace loses as often.
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let losses = |tallies: &[flow::Tally]| tallies.iter().filter(|t| t.lost() > 0).count();
    while with.len() < 3 || (losses(&with) > losses(&without) && with.len() < 6) {
        let drops = decided_drops(&rig);
        let tally = tally_over_restarts_of_control(&mut rig, half);
        assert_eq!(tally.duplicates, 0, "{tally:?}");
        if tally.lost() > 0 {
            assert_eq!(decided_drops(&rig), drops, "{tally:?}");
        }
        without.push(tally_in_peace(&rig, half, tally.sent));
        with.push(tally);
        if losses(&without) == 0 && losses(&with) > 1 {
            break;
        }
    }
    assert!(
        losses(&with) <= losses(&without),
        "with restarts: {with:?}\nin peace: {without:?}"
    );

    assert_eq!(rig.gateway(Side::A).sas().expect("a list"), before);
    // The table is not only shown: it can be written again.
    let next = plan();
    gateway::rekey(&rig.gateways, &first, &next).expect("new SAs");
    let flow = Flow::start(&rig.topology, packets).expect("a flow");
    flow.wait_for_arrivals(100, LIMIT)
        .expect("traffic through the new SAs");
}

#[test]
fn a_killed_data_plane_carries_traffic_within_two_seconds_and_repeats_no_number() {
    or_skip!(runnable());
    let _alone = alone();
    let mut rig = Rig::with_tunnel(&plan());
    let capture = rig.capture("restart");
    let plan = FlowPlan {
        rate: 5_000,
        ..FlowPlan::default()
    };
    let flow = Flow::start(&rig.topology, plan).expect("a flow");
    // Twice each: the second restart resumes from what the first one reserved.
    for side in [Side::A, Side::B, Side::A, Side::B] {
        flow.wait_for_arrivals(1_000, LIMIT).expect("traffic");
        rig.gateway(side).kill_dataplane();
        rig.gateway(side).start_dataplane().expect("a data plane");
    }
    flow.wait_for_arrivals(1_000, LIMIT).expect("traffic");
    let tally = flow.stop().expect("a tally");
    assert!(tally.longest_gap < Duration::from_secs(2), "{tally:?}");
    assert_eq!(tally.duplicates, 0, "{tally:?}");
    let captured = capture.stop().expect("every frame");
    assert_nothing_clear(&captured);
    assert!(assert_no_number_twice(&captured) as u64 >= tally.received);
}

#[test]
fn a_restarted_data_plane_still_knows_what_it_has_received() {
    or_skip!(runnable());
    let _alone = alone();
    let mut rig = Rig::with_tunnel(&plan());
    let capture = rig.capture("window");
    let flow = Flow::start(&rig.topology, FlowPlan::default()).expect("a flow");
    flow.wait_for_arrivals(300, LIMIT).expect("traffic");
    flow.stop().expect("a tally");
    let captured = capture.stop().expect("every frame");
    let esp: Vec<&Frame> = captured
        .from_a
        .iter()
        .filter(|frame| matches!(frame.kind(), Kind::Esp { .. }))
        .collect();
    assert!(esp.len() >= 300);

    rig.gateway(Side::B).kill_dataplane();
    rig.gateway(Side::B)
        .start_dataplane()
        .expect("a data plane");
    rig.gateway(Side::B)
        .wait_until_ready()
        .expect("a gateway that is ready");
    let replays = |rig: &mut Rig| {
        let drops = rig.gateway(Side::B).drops().expect("counters");
        ["replayed", "too-old"]
            .iter()
            .filter_map(|reason| drops.get(*reason))
            .sum::<u64>()
    };
    let before = replays(&mut rig);

    let again = Flow::start(
        &rig.topology,
        FlowPlan {
            rate: 1,
            ..FlowPlan::default()
        },
    )
    .expect("a sink");
    let gw_a = rig.topology.gateway(Side::A);
    gw_a.enter(|| {
        // With protocol RAW the packets go out with the headers they were captured with.
        let raw = Protocol::from_raw(RawProtocol::new(255).expect("not zero"));
        let socket = socket(AddressFamily::INET, SocketType::RAW, Some(raw)).expect("a raw socket");
        for frame in &esp {
            let gw_b = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 2), 0);
            sendto(&socket, &frame.octets[14..], SendFlags::empty(), &gw_b).expect("sent");
        }
    })
    .expect("inside gw-a");
    let expected = before + esp.len() as u64;
    wait::until("every replayed packet to be counted", LIMIT, || {
        let now = replays(&mut rig);
        Ok(if now >= expected {
            Look::Ready(())
        } else {
            Look::NotYet(format!("{now} of {expected}"))
        })
    })
    .expect("replays");
    let tally = again.stop().expect("a tally");
    assert!(
        tally.received <= tally.sent,
        "replayed packets came through: {tally:?}"
    );
}
