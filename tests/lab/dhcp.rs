//! DHCP on managed ports: the answers go to an address that is not there yet, and the kernel gets them all the same.

use std::net::IpAddr;

use adit::lab::dhcp;
use adit::lab::wait::{self, Look};
use adit::lab::{Family, Side};
use adit_bpf::{Reason, Steering};

use crate::rig::{LIMIT, Rig, plan};
use crate::steered::{count, ifindex};
use crate::{alone, runnable};

#[test]
fn a_gateway_gets_the_address_of_a_port_and_the_tunnel_goes_on() {
    or_skip!(runnable());
    let _alone = alone();
    let mut rig = Rig::unstarted();
    rig.start(&plan());
    let outside = ifindex(rig.topology.gateway(Side::A), "outside");
    let pins = rig.gateway(Side::A).dir().join("bpf").join("adit");
    let steering = Steering::adopt(&pins).expect("the pins");
    let waits = || {
        let ports = steering.ports().expect("the ports");
        let port = ports.iter().find(|port| port.ifindex == outside);
        port.expect("the outside port").unaddressed
    };
    assert!(!waits());
    let lease = dhcp::get_outside_address(&rig.topology, Side::A).expect("a lease");
    assert!(lease.contains("192.0.2.1"), "{lease}");
    assert!(count(&steering, outside, Reason::PassDhcp) >= 2, "{lease}");

    // The client's script set a broadcast address, which is one of this host's own now.
    let broadcast: IpAddr = "192.0.2.255".parse().expect("an address");
    wait::until("the new address to be known", LIMIT, || {
        let own = steering.own().expect("own addresses");
        let knows = |ip| own.contains(&(ip, false));
        let known = knows(broadcast) && knows(Side::A.outside_address(Family::V4));
        Ok(if known && !waits() {
            Look::Ready(())
        } else {
            Look::NotYet(format!("{own:?}"))
        })
    })
    .expect("own addresses");
    rig.flows(200).arrive(20);
}

#[test]
fn a_gateway_serves_addresses_on_a_port() {
    or_skip!(runnable());
    let _alone = alone();
    let mut rig = Rig::unstarted();
    rig.gateway(Side::A).start().expect("a gateway");
    let lease = dhcp::lease_to_host(&rig.topology, Side::A).expect("a lease");
    assert!(lease.contains("10.1.0.100"), "{lease}");
}
