//! A Linux kernel's XFRM and adit exchange packets.

use crate::gateway::Gateway;
use crate::linux_gateway::LinuxGateway;
use crate::peers::guest::{Guest, Link};
use crate::ping::{self, Echo};
use crate::tunnel::{Tunnel, setup};
use crate::wire;
use adit::lab::traffic::{self, PingPlan};
use adit::lab::{Family, Shape, Side, Topology};

const TAPPED: Shape = Shape {
    queues: 1,
    tapped: true,
};

#[test]
fn the_linux_kernel_answers_pings_that_the_data_path_seals() {
    let tunnels = Tunnel::all();
    let mut gateway = Gateway::new(&tunnels);
    let mut guest = or_skip!(Guest::boot("data-path", &Link::Test, &setup(&tunnels)));
    for tunnel in &tunnels {
        // Across the border between the halves of the sequence number where there is one.
        for (number, size) in (1..).zip([56, 0, 1300]) {
            if let Err(reason) = exchange(&mut gateway, &guest, tunnel, &Echo::new(number, size)) {
                let counters = guest.must("cat /proc/net/xfrm_stat; ip -s xfrm state");
                panic!("{}, echo {number}: {reason}; {counters}", tunnel.describe());
            }
        }
    }
}

fn exchange(
    gateway: &mut Gateway,
    guest: &Guest,
    tunnel: &Tunnel,
    echo: &Echo,
) -> Result<(), String> {
    let Tunnel { here, there, .. } = *tunnel;
    wire::send(guest, &gateway.seal(&ping::request(here, there, 64, echo))?);
    let (src, dst) = (tunnel.from_peer.src, tunnel.from_peer.dst);
    let answer = wire::receive(guest, src, dst).ok_or("no reply")?;
    let reply = ping::reply(&gateway.open(&answer)?);
    assert_eq!(reply, Some((there, here, echo.clone())));
    Ok(())
}

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
