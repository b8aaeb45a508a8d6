//! A Linux kernel's XFRM and adit exchange packets.

use crate::linux_gateway::LinuxGateway;
use adit::lab::traffic::{self, PingPlan};
use adit::lab::{Family, Shape, Side, Topology};

const TAPPED: Shape = Shape {
    queues: 1,
    tapped: true,
};

#[test]
fn a_linux_kernel_stands_in_for_gateway_b() {
    or_skip!(crate::runnable());
    let topology = Topology::build(TAPPED).expect("a lab");
    topology.kernel_forwarding(true).expect("forwarding");
    let mut kernel = or_skip!(LinuxGateway::boot("clear", &topology));
    for family in Family::BOTH {
        let to = Side::B.host_address(family);
        let plan = PingPlan {
            count: 3,
            ..PingPlan::default()
        };
        let pings = traffic::ping(topology.host(Side::A), to, plan).expect("a count");
        assert_eq!(pings.received, 3, "{family}: {}", kernel.state());
        assert_eq!(kernel.ping(family, 3), 3, "{family}");
    }
}
