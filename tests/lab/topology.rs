//! The lab itself, with nothing but the kernel in it: were a capture blind or a flow deaf, the other tests would prove nothing.

use std::time::Duration;

use adit::lab::capture::{Kind, WireCapture};
use adit::lab::flow::{self, Flow, FlowPlan};
use adit::lab::traffic::{self, PingPlan};
use adit::lab::{Family, Shape, Side, Topology};

use crate::{alone, runnable};

const TAPPED: Shape = Shape {
    queues: 1,
    tapped: true,
};

#[test]
fn nothing_passes_between_the_hosts_while_nobody_forwards() {
    or_skip!(runnable());
    let _alone = alone();
    let topology = Topology::build(Shape::default()).expect("a lab");
    for family in Family::BOTH {
        let plan = PingPlan {
            count: 3,
            linger: Duration::from_millis(200),
            ..PingPlan::default()
        };
        let host_b = Side::B.host_address(family);
        let pings = traffic::ping(topology.host(Side::A), host_b, plan).expect("a count");
        assert_eq!((pings.sent, pings.received), (3, 0), "{family}");
    }
}

#[test]
fn a_capture_of_the_wire_shows_clear_packets_of_both_families_and_both_ways() {
    or_skip!(runnable());
    let _alone = alone();
    let topology = Topology::build(TAPPED).expect("a lab");
    topology.kernel_forwarding(true).expect("forwarding");
    let capture = WireCapture::start(&topology, "clear", 0).expect("a capture");
    for family in Family::BOTH {
        let host_b = Side::B.host_address(family);
        let pings = traffic::ping(topology.host(Side::A), host_b, PingPlan::default());
        assert_eq!(pings.expect("a count").received, 20, "{family}");
    }
    let captured = capture.stop().expect("every frame");
    let clear = |frames: &[adit::lab::capture::Frame]| {
        frames
            .iter()
            .filter(|frame| frame.kind() == Kind::Clear)
            .count()
    };
    assert_eq!(clear(&captured.from_a), 40);
    assert_eq!(clear(&captured.from_b), 40);
    assert!(captured.count(|kind| *kind == Kind::Own) > 0, "ARP and ND");
    assert_eq!(captured.count(|kind| matches!(kind, Kind::Esp { .. })), 0);
}

#[test]
fn a_flow_counts_its_packets_and_the_gap_while_nobody_forwards() {
    or_skip!(runnable());
    let _alone = alone();
    let topology = Topology::build(Shape::default()).expect("a lab");
    topology.kernel_forwarding(true).expect("forwarding");
    let limit = Duration::from_secs(10);
    let flow = Flow::start(&topology, FlowPlan::default()).expect("a flow");
    flow.wait_for_arrivals(200, limit).expect("traffic");
    topology.kernel_forwarding(false).expect("no forwarding");
    flow.wait_for_sending(300, limit).expect("traffic");
    topology.kernel_forwarding(true).expect("forwarding");
    flow.wait_for_arrivals(200, limit).expect("traffic");
    let tally = flow.stop().expect("a tally");
    assert!((300..600).contains(&tally.lost()), "{tally:?}");
    let gap = tally.longest_gap;
    assert!(
        (Duration::from_millis(250)..Duration::from_secs(2)).contains(&gap),
        "{gap:?}"
    );
    assert_eq!((tally.duplicates, tally.reordered), (0, 0));
}

#[test]
fn a_rate_without_loss_is_found() {
    or_skip!(runnable());
    let _alone = alone();
    let topology = Topology::build(Shape::default()).expect("a lab");
    topology.kernel_forwarding(true).expect("forwarding");
    let plan = FlowPlan::default();
    let rate = flow::lossless_rate(&topology, plan, 2_000, 64_000).expect("a measurement");
    assert!(rate.is_some_and(|rate| rate >= 2_000), "{rate:?}");
    topology.kernel_forwarding(false).expect("no forwarding");
    let rate = flow::lossless_rate(&topology, plan, 2_000, 64_000).expect("a measurement");
    assert_eq!(rate, None);
}
