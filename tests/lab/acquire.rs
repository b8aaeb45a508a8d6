//! A packet for which there is no SA waits for one.

use std::process::Stdio;
use std::time::Instant;

use adit::lab::{Family, Side};
use adit_vici::{Client, Message};

use crate::rig::{LIMIT, Rig, plan};
use crate::{alone, runnable};

/// Packets that gw-a's policies have decided about on their way out.
fn decided(rig: &Rig) -> u64 {
    let socket = rig.gateways[0].control_socket();
    let mut client = Client::connect(&socket).expect("a control socket");
    let all = Message::new().with("trap", "yes");
    let events = client
        .collect("list-policies", "list-policy", &all)
        .expect("policies");
    let counts = events
        .iter()
        .flat_map(Message::sections)
        .map(|(_, policy)| {
            let count = policy.str("packets-out").expect("a counter");
            count.parse::<u64>().expect("a number")
        });
    counts.sum()
}

#[test]
fn the_first_packet_waits_for_its_sa_and_comes_through() {
    or_skip!(runnable());
    let _alone = alone();
    let mut rig = Rig::unstarted();
    rig.each(|gateway| gateway.start().expect("a gateway that is ready"));
    let plan = plan();
    rig.each(|gateway| gateway.install_inbound(&plan).expect("policies"));
    rig.tempt();
    let host_b = Side::B.host_address(Family::V4).to_string();
    let mut ping = rig
        .topology
        .host(Side::A)
        .command("ping")
        .args(["-q", "-c", "1", "-W", "9", &host_b])
        .stdout(Stdio::null())
        .spawn()
        .expect("ping");
    let deadline = Instant::now() + LIMIT;
    while decided(&rig) == 0 {
        assert!(Instant::now() < deadline, "no packet met its policy");
        std::thread::yield_now();
    }
    rig.each(|gateway| gateway.install_outbound(&plan).expect("SAs"));
    assert!(
        ping.wait().expect("an end").success(),
        "the one ping is lost"
    );
    let drops = rig.gateways[0].drops().expect("counters");
    assert_eq!(drops.get("held-too-long").copied().unwrap_or(0), 0);
}
