//! What a configuration says of frames, queues and workers holds under traffic.

use adit::lab::flow::{self, Flow, FlowPlan};
use adit::lab::gateway::Gateway;
use adit::lab::traffic::{self, PingPlan};
use adit::lab::{Family, Shape, Side, Topology};
use adit_vici::Message;

use crate::rig::{LIMIT, Rig, plan};
use crate::{alone, runnable};

/// Pings both ways in both families; each reply must come.
fn assert_pings(topology: &Topology, size: u16) {
    for family in Family::BOTH {
        for side in Side::BOTH {
            let pings = PingPlan {
                count: 5,
                size,
                ..PingPlan::default()
            };
            let to = side.other().host_address(family);
            let pings = traffic::ping(topology.host(side), to, pings).expect("a count");
            assert_eq!(pings.received, 5, "{family} from {}", side.host());
        }
    }
}

/// Packets that each worker of a gateway has sealed and opened.
fn sealed_and_opened(gateway: &Gateway) -> Vec<(u64, u64)> {
    let stats = gateway.request("adit-stats", &Message::new());
    let stats = stats.expect("counters");
    let workers = stats.section("workers").expect("workers");
    let count = |worker: &Message, key| worker.str(key).and_then(|n| n.parse().ok());
    workers
        .sections()
        .map(|(_, worker)| (count(worker, "sealed"), count(worker, "opened")))
        .map(|(sealed, opened)| (sealed.expect("a count"), opened.expect("a count")))
        .collect()
}

#[test]
fn frames_of_4_kib_carry_packets_that_2_kib_do_not_hold() {
    or_skip!(runnable());
    let _alone = alone();
    let mut rig = Rig::shaped(Shape::default());
    for side in Side::BOTH {
        rig.topology
            .gateway(side)
            .ip("link set inside mtu 3000\nlink set outside mtu 3200")
            .expect("larger MTUs");
        let host = rig.topology.host(side);
        host.ip("link set eth0 mtu 3000").expect("a larger MTU");
    }
    rig.configure("frame_size = 4096");
    rig.start(&plan());
    // Whole in one frame: 2,800 octets and ICMP, IP, ESP and Ethernet around them.
    assert_pings(&rig.topology, 2800);
    let large = FlowPlan {
        size: 2900,
        ..FlowPlan::default()
    };
    let flow = Flow::start(&rig.topology, large).expect("a flow");
    flow.wait_for_arrivals(300, LIMIT).expect("traffic");
    let tally = flow.stop().expect("a tally");
    assert_eq!((tally.lost(), tally.duplicates), (0, 0), "{tally:?}");
}

#[test]
fn two_workers_both_seal_and_open_and_lose_nothing() {
    or_skip!(runnable());
    let _alone = alone();
    let mut rig = Rig::shaped(Shape {
        queues: 2,
        tapped: false,
    });
    rig.start(&plan());
    assert_pings(&rig.topology, 56);
    // The kernels spread flows over queues by a hash of their ports: one pair of flows after another, until every worker has its share.
    let mut flows = Vec::new();
    for port in (flow::PORT..).take(40) {
        for from in Side::BOTH {
            let plan = FlowPlan {
                from,
                port,
                rate: 200,
                ..FlowPlan::default()
            };
            let flow = Flow::start(&rig.topology, plan).expect("a flow");
            flow.wait_for_arrivals(10, LIMIT).expect("traffic");
            flows.push(flow);
        }
        let busy = |gateway| {
            let workers = sealed_and_opened(gateway);
            workers
                .iter()
                .all(|(sealed, opened)| *sealed.min(opened) > 50)
        };
        if flows.len() >= 8 && rig.gateways.iter().all(busy) {
            break;
        }
    }
    for flow in flows {
        let tally = flow.stop().expect("a tally");
        assert_eq!((tally.lost(), tally.duplicates), (0, 0), "{tally:?}");
    }
    for gateway in &rig.gateways {
        let workers = sealed_and_opened(gateway);
        assert_eq!(workers.len(), 2);
        let idle = workers
            .iter()
            .any(|(sealed, opened)| *sealed.min(opened) == 0);
        assert!(!idle, "{} has {workers:?}", gateway.side().gateway());
    }
}
