//! A lab whose outside wire is tapped, with both gateways, a tunnel and a flow at hand.

use std::process::Command;
use std::time::Duration;

use adit::lab::capture::{Captured, Kind, WireCapture};
use adit::lab::flow::{Flow, FlowPlan};
use adit::lab::gateway::{self, Gateway};
use adit::lab::sas::{SaShape, TunnelPlan};
use adit::lab::traffic::{self, PingPlan};
use adit::lab::{Family, Shape, Side, Topology, process};

/// Longer than anything in a healthy lab takes.
pub const LIMIT: Duration = Duration::from_secs(20);

/// The gateways, before the network that they live in: fields go in this order.
pub struct Rig {
    pub gateways: [Gateway; 2],
    pub topology: Topology,
}

impl Rig {
    /// The network, and gateways that have not been started. The kernel does not forward yet.
    pub fn unstarted() -> Self {
        Self::shaped(Shape {
            queues: 1,
            tapped: true,
        })
    }

    /// The same in a network of this shape.
    pub fn shaped(shape: Shape) -> Self {
        let topology = Topology::build(shape).expect("a lab");
        let gateways = Side::BOTH.map(|side| Gateway::new(&topology, side).expect("a gateway"));
        Rig { gateways, topology }
    }

    /// Both gateways started, and a tunnel of `plan` between them. From here on the kernels would forward in clear if they were let.
    pub fn with_tunnel(plan: &TunnelPlan) -> Self {
        let mut rig = Self::unstarted();
        rig.start(plan);
        rig.tempt();
        rig
    }

    /// Writes another line into the section `gateway` of both configurations; it counts from the next start on.
    pub fn configure(&mut self, line: &str) {
        self.each(|gateway| {
            let path = gateway.config_path();
            let text = std::fs::read_to_string(&path).expect("a configuration");
            let text = text.replacen("[gateway]\n", &format!("[gateway]\n{line}\n"), 1);
            std::fs::write(&path, text).expect("a configuration");
        });
    }

    /// Starts both gateways and installs `plan`.
    pub fn start(&mut self, plan: &TunnelPlan) {
        self.each(|gateway| gateway.start().expect("a gateway that is ready"));
        self.install(plan);
    }

    /// Has the kernels forward whatever reaches them, by their ordinary routes: nothing but the steering program stands between them and
    /// a leak.
    pub fn tempt(&self) {
        self.topology.kernel_forwarding(true).expect("forwarding");
        for side in Side::BOTH {
            // A gateway's routes for its own traffic to protected prefixes would catch forwarded packets, too.
            for family in ["-4", "-6"] {
                for rule in ["flush", "add pref 32766 lookup main"] {
                    let mut ip = Command::new("ip");
                    ip.args(["-n", self.topology.gateway(side).name(), family, "rule"]);
                    process::run(ip.args(rule.split(' '))).expect("a rule");
                }
            }
        }
    }

    /// Pings host-b five times from gw-a's inside address; gives how many replies came.
    pub fn ping_from_gateway(&self, family: Family) -> u64 {
        let plan = PingPlan {
            count: 5,
            linger: Duration::from_millis(500),
            source: Some(Side::A.inside_address(family)),
            ..PingPlan::default()
        };
        let host_b = Side::B.host_address(family);
        let pings = traffic::ping(self.topology.gateway(Side::A), host_b, plan);
        pings.expect("a count").received
    }

    /// Installs `plan` at both ends.
    pub fn install(&self, plan: &TunnelPlan) {
        gateway::install(&self.gateways, plan).expect("a tunnel");
    }

    /// Does something to gw-a, then to gw-b.
    pub fn each(&mut self, mut work: impl FnMut(&mut Gateway)) {
        self.gateways.iter_mut().for_each(&mut work);
    }

    pub fn gateway(&mut self, side: Side) -> &mut Gateway {
        &mut self.gateways[side as usize]
    }

    /// A flow in each direction of each family.
    pub fn flows(&self, rate: u32) -> Flows {
        Flows(
            Side::BOTH
                .into_iter()
                .flat_map(|from| self.flows_from(from, rate).0)
                .collect(),
        )
    }

    /// A flow of each family.
    pub fn flows_from(&self, from: Side, rate: u32) -> Flows {
        let start = |family| {
            let plan = FlowPlan {
                from,
                family,
                rate,
                ..FlowPlan::default()
            };
            Flow::start(&self.topology, plan).expect("a flow")
        };
        Flows(Family::BOTH.into_iter().map(start).collect())
    }

    /// A capture of whole frames.
    pub fn capture(&self, name: &str) -> WireCapture {
        WireCapture::start(&self.topology, name, 0).expect("a capture")
    }
}

/// Several flows at once.
pub struct Flows(Vec<Flow>);

impl Flows {
    /// Waits until each flow has delivered `count` more packets.
    pub fn arrive(&self, count: u64) {
        for flow in &self.0 {
            flow.wait_for_arrivals(count, LIMIT).expect("traffic");
        }
    }

    /// Waits until each flow has sent `count` more packets, wherever they go.
    pub fn send(&self, count: u64) {
        for flow in &self.0 {
            flow.wait_for_sending(count, LIMIT).expect("senders");
        }
    }

    /// Packets that arrived so far.
    pub fn received(&self) -> u64 {
        self.0.iter().map(Flow::received).sum()
    }
}

/// A tunnel with fresh keys.
pub fn plan() -> TunnelPlan {
    TunnelPlan::fresh(SaShape::default()).expect("random octets")
}

/// Fails if anything that policy protects passed the wire in clear.
pub fn assert_nothing_clear(captured: &Captured) {
    let clear = captured.clear();
    assert!(
        clear.is_empty(),
        "{} of {} frames are clear; the first: {:02x?}",
        clear.len(),
        captured.frames().count(),
        clear[0].octets
    );
}

/// How many ESP packets passed.
pub fn esp_packets(captured: &Captured) -> usize {
    captured.count(|kind| matches!(kind, Kind::Esp { .. }))
}
