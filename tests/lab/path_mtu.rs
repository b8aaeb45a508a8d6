//! A narrow path between the gateways: one that says so, and one that swallows what is too big.

use std::process::Command;
use std::time::Duration;

use adit::lab::traffic;
use adit::lab::{Family, Shape, Side};
use serde_json::Value;

use crate::rig::{Rig, plan};
use crate::{alone, runnable};

/// `adit …` for gw-a, inside its network.
fn adit(rig: &mut Rig, words: &str) -> Value {
    let socket = rig.gateway(Side::A).control_socket();
    let output = rig
        .topology
        .gateway(Side::A)
        .command(env!("CARGO_BIN_EXE_adit"))
        .args(words.split(' '))
        .arg("--json")
        .arg("--socket")
        .arg(socket)
        .output()
        .expect("the command");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}: {said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Between the gateways' inside addresses.
fn probe(rig: &mut Rig, family: Family) -> Value {
    let [from, to] = Side::BOTH.map(|side| side.inside_address(family));
    adit(
        rig,
        &format!("probe mtu --from {from} --to {to} --wait 150"),
    )
}

/// What `adit sa list` shows as path MTUs of outbound SAs, the least first.
fn path_mtus(rig: &mut Rig) -> Vec<u64> {
    let rows = adit(rig, "sa list");
    let rows = rows.as_array().expect("rows");
    let mut mtus: Vec<_> = rows
        .iter()
        .filter_map(|row| row["path_mtu"].as_u64())
        .collect();
    mtus.sort_unstable();
    mtus
}

/// Makes a router of the wire whose routes carry 1,400 octets: it tells what is too big.
fn narrow_router(rig: &Rig) {
    let wire = rig.topology.wire().expect("a tapped wire");
    wire.sysctl(&[
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv4/icmp_ratelimit", "0"),
    ])
    .expect("forwarding");
    wire.ip("link set to-gw-a nomaster\nlink set to-gw-b nomaster\n\
         addr add 192.0.2.129/32 dev to-gw-a\naddr add 192.0.2.130/32 dev to-gw-b\n\
         route add 192.0.2.1/32 dev to-gw-a mtu lock 1400\n\
         route add 192.0.2.2/32 dev to-gw-b mtu lock 1400")
        .expect("a router");
    for (side, router) in [(Side::A, "192.0.2.129"), (Side::B, "192.0.2.130")] {
        let peer = side.other().outside_address(Family::V4);
        let gateway = rig.topology.gateway(side);
        gateway
            .ip(&format!(
                "route add {router}/32 dev outside\nroute add {peer}/32 via {router}"
            ))
            .expect("a route");
    }
}

#[test]
fn a_router_tells_the_path_mtu_and_tcp_passes() {
    or_skip!(runnable());
    let _alone = alone();
    let mut rig = Rig::shaped(Shape {
        queues: 1,
        tapped: true,
    });
    // Without it TCP would not have to learn anything.
    rig.configure("clamp_mss = false");
    narrow_router(&rig);
    rig.start(&plan());
    assert_eq!(path_mtus(&mut rig), [0u64; 0]);
    let found = probe(&mut rig, Family::V4);
    assert_eq!(found["inner_mtu"], 1346, "{found}");
    assert_eq!(
        (&found["limited_by"], &found["path_mtu"]),
        (&"path-mtu".into(), &1400.into())
    );
    assert_eq!(path_mtus(&mut rig), [1400]);
    let (host_a, host_b) = (rig.topology.host(Side::A), rig.topology.host(Side::B));
    let to = Side::B.host_address(Family::V4);
    let length = Duration::from_secs(1);
    let transfer = traffic::tcp(host_a, host_b, to, length, rig.topology.dir(), |_| ());
    assert!(transfer.expect("a transfer").bytes > 1 << 20);
    // The other way gw-b learns for itself.
    let to = Side::A.host_address(Family::V4);
    let transfer = traffic::tcp(host_b, host_a, to, length, rig.topology.dir(), |_| ());
    assert!(transfer.expect("a transfer").bytes > 1 << 20);
}

#[test]
fn a_black_hole_is_found_by_probing_and_gone_once_the_path_mtu_is_set() {
    or_skip!(runnable());
    let _alone = alone();
    let mut rig = Rig::shaped(Shape {
        queues: 1,
        tapped: true,
    });
    rig.start(&plan());
    for family in Family::BOTH {
        let found = probe(&mut rig, family);
        assert_eq!(
            (&found["inner_mtu"], &found["limited_by"]),
            (&1446.into(), &"route".into())
        );
    }
    // A bridge says nothing about what its ports do not take.
    let wire = rig.topology.wire().expect("a tapped wire");
    wire.ip("link set to-gw-b mtu 1400")
        .expect("a narrower port");
    for family in Family::BOTH {
        let found = probe(&mut rig, family);
        assert_eq!(found["limited_by"], "silence", "{found}");
        // Linux lets a VLAN tag more pass than the MTU says.
        let inner = found["inner_mtu"].as_u64().expect("a number");
        assert!((1346..=1350).contains(&inner), "{found}");
    }
    // What the operator is told to do.
    let route = Side::B.outside_address(Family::V4);
    let mut ip = Command::new("ip");
    ip.args(["-n", rig.topology.gateway(Side::A).name(), "route", "add"]);
    ip.args([&format!("{route}/32"), "dev", "outside", "mtu", "1400"]);
    assert!(ip.status().expect("ip").success());
    let deadline = std::time::Instant::now() + crate::rig::LIMIT;
    loop {
        let found = probe(&mut rig, Family::V4);
        if (&found["inner_mtu"], &found["limited_by"]) == (&1346.into(), &"route".into()) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{found}");
    }
}
