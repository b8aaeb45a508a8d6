//! What policy protects never passes the outside wire in clear, whoever is dead. Where a test tempts the kernels, they forward all that
//! reaches them, and the steering program is all that keeps it from them.

use std::process::Command;

use adit::lab::capture::{Frame, Kind, WireCapture};
use adit::lab::wait::{self, Look};
use adit::lab::{Family, Side, gateway, process};

use crate::rig::{Flows, LIMIT, Rig, assert_nothing_clear, esp_packets, plan};
use crate::steered::ifindex;
use crate::{alone, runnable};

/// Packets a second of each of the four flows.
const RATE: u32 = 500;
/// Packets of each flow that a phase of a test lasts.
const WHILE: u64 = 150;

/// A tunnel that carries four flows.
fn under_traffic() -> (Rig, Flows) {
    let rig = Rig::with_tunnel(&plan());
    let flows = rig.flows(RATE);
    flows.arrive(WHILE);
    (rig, flows)
}

/// Ends a capture in which nothing may be clear; gives how many ESP packets it has.
fn esp_alone(capture: WireCapture) -> u64 {
    let captured = capture.stop().expect("every frame");
    assert_nothing_clear(&captured);
    esp_packets(&captured) as u64
}

#[test]
fn the_tunnel_carries_every_flow_as_esp() {
    or_skip!(runnable());
    let _alone = alone();
    let rig = Rig::with_tunnel(&plan());
    let capture = rig.capture("tunnel");
    rig.flows(RATE).arrive(WHILE);
    assert!(esp_alone(capture) >= 4 * WHILE);
}

#[test]
fn the_kernels_would_leak_were_it_not_for_the_steering_program() {
    or_skip!(runnable());
    let _alone = alone();
    let mut rig = Rig::with_tunnel(&plan());
    rig.each(|gateway| {
        gateway.kill_control();
        gateway.kill_dataplane();
        // Nothing but the pins keeps the program attached now.
        std::fs::remove_dir_all(gateway.dir().join("bpf").join("adit")).expect("pins");
    });
    rig.tempt();
    let capture = rig.capture("leak");
    rig.flows(RATE).arrive(WHILE);
    let clear = capture.stop().expect("every frame").clear().len() as u64;
    assert!(
        clear >= 4 * WHILE,
        "the danger that the other tests rule out is not there"
    );
}

#[test]
fn nothing_passes_before_the_start_and_nothing_clear_after_it() {
    or_skip!(runnable());
    let _alone = alone();
    let mut rig = Rig::unstarted();
    let capture = rig.capture("before");
    let flows = rig.flows(RATE);
    flows.send(WHILE);
    // Control first: its program is attached, no data plane listens.
    rig.each(|gateway| gateway.start_control().expect("control"));
    rig.each(|gateway| gateway.wait_for_control().expect("control"));
    rig.tempt();
    flows.send(WHILE);
    assert_eq!(flows.received(), 0);
    // Without a policy, unmatched inside traffic is discarded.
    rig.each(|gateway| gateway.start_dataplane().expect("a data plane"));
    rig.each(|gateway| gateway.wait_until_ready().expect("a gateway that is ready"));
    flows.send(WHILE);
    assert_eq!(flows.received(), 0);
    rig.install(&plan());
    flows.arrive(WHILE);
    assert!(esp_alone(capture) > 0);
}

#[test]
fn with_the_data_plane_started_before_control_nothing_clear_passes() {
    or_skip!(runnable());
    let _alone = alone();
    let mut rig = Rig::unstarted();
    let capture = rig.capture("reversed");
    let flows = rig.flows(RATE);
    rig.each(|gateway| gateway.start_dataplane().expect("a data plane"));
    flows.send(WHILE);
    rig.each(|gateway| gateway.start_control().expect("control"));
    rig.each(|gateway| gateway.wait_until_ready().expect("a gateway that is ready"));
    rig.tempt();
    flows.send(WHILE);
    rig.install(&plan());
    flows.arrive(WHILE);
    assert!(esp_alone(capture) > 0);
}

#[test]
fn with_control_killed_the_tunnel_goes_on_and_nothing_clear_passes() {
    or_skip!(runnable());
    let _alone = alone();
    let (mut rig, flows) = under_traffic();
    let capture = rig.capture("control-dead");
    rig.each(|gateway| gateway.kill_control());
    flows.arrive(WHILE);
    assert!(esp_alone(capture) >= 4 * WHILE);
}

#[test]
fn with_the_data_plane_killed_nothing_passes_until_it_is_back() {
    or_skip!(runnable());
    let _alone = alone();
    let (mut rig, flows) = under_traffic();
    rig.each(|gateway| gateway.kill_dataplane());
    let capture = rig.capture("dataplane-dead");
    flows.send(WHILE);
    assert_eq!(esp_alone(capture), 0, "nobody is there to seal");

    let capture = rig.capture("dataplane-back");
    rig.each(|gateway| gateway.start_dataplane().expect("a data plane"));
    flows.arrive(WHILE);
    assert!(esp_alone(capture) > 0);
}

#[test]
fn with_both_killed_nothing_passes_until_both_are_back() {
    or_skip!(runnable());
    let _alone = alone();
    let (mut rig, flows) = under_traffic();
    let capture = rig.capture("both-dead");
    rig.each(|gateway| {
        gateway.kill_control();
        gateway.kill_dataplane();
    });
    flows.send(WHILE);
    rig.each(|gateway| gateway.start().expect("a gateway that is ready"));
    rig.tempt();
    flows.send(WHILE);
    // Both regions died with their holders, and with them the SAs: new ones are needed, with new keys.
    rig.install(&plan());
    flows.arrive(WHILE);
    assert!(esp_alone(capture) > 0);
}

#[test]
fn one_gateway_with_both_killed_together_comes_back_with_new_keys() {
    or_skip!(runnable());
    let _alone = alone();
    let old = plan();
    let mut rig = Rig::with_tunnel(&old);
    let flows = rig.flows(RATE);
    flows.arrive(WHILE);
    let capture = rig.capture("one-dead");
    let gw_a = rig.gateway(Side::A);
    gw_a.kill_both();
    flows.send(WHILE);
    let gw_a = rig.gateway(Side::A);
    gw_a.start().expect("a gateway that is ready");
    assert_eq!(gw_a.sas().expect("a list"), [""; 0]);
    rig.tempt();
    flows.send(WHILE);
    let new = plan();
    let [gw_a, gw_b] = &rig.gateways;
    gw_a.install_inbound(&new).expect("SAs");
    gateway::rekey(std::slice::from_ref(gw_b), &old, &new).expect("new SAs");
    gw_a.install_outbound(&new).expect("SAs");
    flows.arrive(WHILE);
    let captured = capture.stop().expect("every frame");
    assert_nothing_clear(&captured);
    // What gw-b sealed meanwhile is ESP; what gw-a has sealed since is under a new SPI, from number 1 on.
    let numbers = |frame: &Frame| match frame.kind() {
        Kind::Esp { spi, sequence, .. } => Some((spi, sequence)),
        _ => None,
    };
    for sa in new.sas.iter().filter(|sa| sa.from == Side::A) {
        let of_sa = captured.from_a.iter().filter_map(numbers);
        let mut of_sa = of_sa.filter(|(spi, _)| *spi == sa.spi);
        assert_eq!(of_sa.next(), Some((sa.spi, 1)), "{sa:?}");
        assert!(of_sa.count() as u64 >= WHILE - 1, "{sa:?}");
    }
}

#[test]
fn an_orderly_stop_stays_closed() {
    or_skip!(runnable());
    let _alone = alone();
    for dataplane_first in [true, false] {
        let (mut rig, flows) = under_traffic();
        let capture = rig.capture("stopped");
        rig.each(|gateway| {
            if dataplane_first {
                gateway.stop_dataplane().expect("an end");
                gateway.stop_control().expect("an end");
            } else {
                gateway.stop_control().expect("an end");
                gateway.stop_dataplane().expect("an end");
            }
        });
        flows.send(WHILE);
        esp_alone(capture);
    }
}

#[test]
fn clear_packets_from_outside_for_a_protected_pair_do_not_come_in() {
    or_skip!(runnable());
    let _alone = alone();
    let mut rig = Rig::unstarted();
    // Only gw-a is a gateway; gw-b's kernel forwards in clear, as an attacker on the wire would.
    let gw_a = rig.gateway(Side::A);
    gw_a.start().expect("a gateway that is ready");
    gw_a.install(&plan()).expect("a tunnel");
    rig.tempt();
    let flows = rig.flows_from(Side::B, RATE);
    let capture = rig.capture("from-outside");
    flows.send(WHILE);
    let clear = capture.stop().expect("every frame").clear().len() as u64;
    assert!(
        clear >= WHILE,
        "only {clear} clear packets came so far as gw-a"
    );
    assert_eq!(flows.received(), 0);
    let dropped = rig.gateway(Side::A).drops().expect("counters");
    assert!(
        dropped
            .get("clear-under-protect")
            .is_some_and(|n| *n >= WHILE),
        "{dropped:?}"
    );

    rig.gateway(Side::A).kill_dataplane();
    flows.send(WHILE);
    assert_eq!(flows.received(), 0);
    rig.gateway(Side::A).kill_control();
    flows.send(WHILE);
    assert_eq!(flows.received(), 0);
}

#[test]
fn a_gateways_own_packets_to_a_protected_prefix_are_sealed_or_lost() {
    or_skip!(runnable());
    let _alone = alone();
    let mut rig = Rig::unstarted();
    rig.each(|gateway| gateway.start().expect("a gateway that is ready"));
    rig.install(&plan());
    let capture = rig.capture("own");
    for family in Family::BOTH {
        assert_eq!(
            rig.ping_from_gateway(family),
            5,
            "{family}, through the tunnel"
        );
    }
    rig.gateway(Side::A).kill_dataplane();
    for family in Family::BOTH {
        assert_eq!(
            rig.ping_from_gateway(family),
            0,
            "{family}, without a data plane"
        );
    }
    rig.gateway(Side::A).kill_control();
    for family in Family::BOTH {
        assert_eq!(rig.ping_from_gateway(family), 0, "{family}, without either");
    }
    assert!(esp_alone(capture) >= 20);
}

#[test]
fn a_port_whose_interface_comes_again_is_closed() {
    or_skip!(runnable());
    let _alone = alone();
    let rig = Rig::with_tunnel(&plan());
    let capture = rig.capture("again");
    for same_number in [false, true] {
        come_again(&rig, same_number);
        rig.tempt();
        rig.flows_from(Side::A, RATE).send(WHILE);
    }
    esp_alone(capture);
}

/// The inside interface of gw-a goes and comes again, under another number or its own; returns once it is steered.
fn come_again(rig: &Rig, same_number: bool) {
    let (gateway, host) = (rig.topology.gateway(Side::A), rig.topology.host(Side::A));
    let number = ifindex(gateway, "inside");
    gateway.ip("link del inside").expect("no interface");
    let number = same_number.then(|| format!("index {number} "));
    let again = format!(
        "link add {}inside type veth peer name eth0 netns {}",
        number.unwrap_or_default(),
        host.name()
    );
    gateway.ip(&again).expect("an interface");
    wait::until("the new interface to be steered", LIMIT, || {
        let mut ip = Command::new("ip");
        let shown = process::run(ip.args(["-n", gateway.name(), "link", "show", "inside"]))?;
        Ok(if shown.stdout.contains("xdp") {
            Look::Ready(())
        } else {
            Look::NotYet(shown.stdout)
        })
    })
    .expect("steering");
    gateway
        .ip("addr add 10.1.0.1/24 dev inside\naddr add fd01::1/64 dev inside nodad\nlink set inside up")
        .expect("addresses");
    host.ip("addr add 10.1.0.2/24 dev eth0\naddr add fd01::2/64 dev eth0 nodad\nlink set eth0 up")
        .expect("addresses");
    host.ip("route add 0.0.0.0/0 via 10.1.0.1\nroute add ::/0 via fd01::1")
        .expect("routes");
}
