//! strongSwan's `swanctl` loads an ordinary `swanctl.conf` into both gateways, and their own traffic brings the SAs up.

use std::path::Path;
use std::process::Command;

use adit::lab::capture::{Kind, WireCapture};
use adit::lab::gateway::Gateway;
use adit::lab::traffic::{self, PingPlan};
use adit::lab::{Family, Shape, Side, Topology, process};

/// Runs swanctl at a gateway with the files of that gateway.
fn swanctl(gateway: &Gateway, words: &[&str]) -> String {
    let files = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/peers/swanctl")
        .join(gateway.side().gateway());
    let mut command = Command::new("swanctl");
    command
        .args(words)
        .arg("--uri")
        .arg(format!("unix://{}", gateway.control_socket().display()))
        .env("SWANCTL_DIR", files);
    process::run(&mut command)
        .expect("swanctl is obeyed")
        .stdout
}

#[test]
fn a_trap_in_swanctl_conf_seals_the_gateways_own_traffic_from_the_first_packet() {
    or_skip!(crate::runnable());
    or_skip!(crate::swanctl::installed());
    let topology = Topology::build(Shape {
        queues: 1,
        tapped: true,
    })
    .expect("a lab");
    let mut gateways = Side::BOTH.map(|side| Gateway::new(&topology, side).expect("a gateway"));
    for gateway in &mut gateways {
        gateway.start().expect("a gateway that is ready");
        let said = swanctl(gateway, &["--load-all"]);
        assert!(said.contains("loaded connection 'gateways'"), "{said}");
    }
    let capture = WireCapture::start(&topology, "transport", 0).expect("a capture");
    let plan = PingPlan {
        count: 5,
        ..PingPlan::default()
    };
    // Nothing binds the pings to an address: the route must choose one that the policy covers.
    let to = Side::B.outside_address(Family::V4);
    let pings = traffic::ping(topology.gateway(Side::A), to, plan).expect("pings");
    assert_eq!(pings.received, 5, "the first one waits for its SA");
    let captured = capture.stop().expect("every frame");
    assert!(captured.count(|kind| matches!(kind, Kind::Esp { .. })) >= 10);
    // Ethernet, IPv4, ICMP: nothing of it leaves in clear.
    let is_echo = |octets: &[u8]| octets.get(12..14) == Some(&[8, 0]) && octets.get(23) == Some(&1);
    let clear = captured.frames().filter(|f| is_echo(&f.octets));
    assert_eq!(clear.count(), 0);
    let listed = swanctl(&gateways[0], &["--list-sas"]);
    assert!(
        listed.contains("TRANSPORT") && listed.contains("ESN"),
        "{listed}"
    );
}
