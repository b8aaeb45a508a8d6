//! What a gateway itself sends under a policy that protects against everything: sealed or lost, while the ways to its inside and to other
//! gateways stay open.

use std::process::Command;
use std::time::Duration;

use adit::lab::traffic::{self, PingPlan};
use adit::lab::wait::{self, Look};
use adit::lab::{Family, Side, process};
use adit_vici::Message;

use crate::rig::{LIMIT, Rig, assert_nothing_clear};
use crate::{alone, runnable};

fn policy_of(family: Family) -> Message {
    let (name, everything) = match family {
        Family::V4 => ("wide4", "0.0.0.0/0"),
        Family::V6 => ("wide6", "::/0"),
    };
    Message::new()
        .with("name", name)
        .with("action", "protect")
        .with("priority", "100")
        .with_list("local_ts", [Side::A.prefix(family)])
        .with_list("remote_ts", [everything])
}

/// Replies to five pings of gw-a's, from one of its addresses.
fn pings(rig: &Rig, from: std::net::IpAddr, to: std::net::IpAddr) -> u64 {
    let plan = PingPlan {
        count: 5,
        linger: Duration::from_millis(500),
        source: Some(from),
        ..PingPlan::default()
    };
    let pings = traffic::ping(rig.topology.gateway(Side::A), to, plan);
    pings.expect("a count").received
}

/// What gw-a's kernel has of adit's own: rules of both families.
fn own_rules(rig: &Rig) -> String {
    let mut all = String::new();
    for family in ["-4", "-6"] {
        let mut ip = Command::new("ip");
        ip.args(["-n", rig.topology.gateway(Side::A).name(), family, "rule"]);
        all += &process::run(&mut ip).expect("rules").stdout;
    }
    let own = all.lines().filter(|l| l.contains("proto 173"));
    own.collect::<Vec<_>>().join("\n")
}

#[test]
fn under_a_policy_against_everything_nothing_of_the_gateways_own_leaves_in_clear() {
    or_skip!(runnable());
    let _alone = alone();
    let mut rig = Rig::unstarted();
    let gateway = rig.gateway(Side::A);
    gateway.start().expect("a gateway that is ready");
    for family in Family::BOTH {
        let added = gateway.request("policy-add", &policy_of(family));
        added.expect("a policy");
    }
    let capture = rig.capture("wide");
    for phase in ["both run", "no data plane", "neither"] {
        match phase {
            "no data plane" => rig.gateway(Side::A).kill_dataplane(),
            "neither" => rig.gateway(Side::A).kill_control(),
            _ => {}
        }
        for family in Family::BOTH {
            let inside = Side::A.inside_address(family);
            let far = pings(&rig, inside, Side::B.host_address(family));
            assert_eq!(far, 0, "{family}, {phase}: there is no SA");
            let outside = Side::A.outside_address(family);
            let peer = pings(&rig, outside, Side::B.outside_address(family));
            assert_eq!(peer, 5, "{family}, {phase}: no policy covers it");
            if phase == "both run" {
                let near = pings(&rig, inside, Side::A.host_address(family));
                assert_eq!(near, 5, "{family}: on its own link");
            }
        }
    }
    assert_nothing_clear(&capture.stop().expect("every frame"));
}

#[test]
fn the_rules_go_with_the_policy_and_a_new_control_finds_those_of_an_earlier_one() {
    or_skip!(runnable());
    let _alone = alone();
    let mut rig = Rig::unstarted();
    rig.gateway(Side::A).start().expect("a gateway");
    let policy = policy_of(Family::V4);
    let name = Message::new().with("name", "wide4");
    let gateway = rig.gateway(Side::A);
    gateway.request("policy-add", &policy).expect("a policy");
    assert!(
        own_rules(&rig).contains("10.1.0.0/24"),
        "{}",
        own_rules(&rig)
    );
    let gateway = rig.gateway(Side::A);
    gateway.request("policy-delete", &name).expect("no policy");
    assert_eq!(own_rules(&rig), "");

    let gateway = rig.gateway(Side::A);
    gateway.request("policy-add", &policy).expect("a policy");
    gateway.kill_control();
    gateway.kill_dataplane();
    // The table died with both processes, and with it the policy.
    gateway.start().expect("a gateway that is ready");
    wait::until("the rules to go", LIMIT, || {
        Ok(match own_rules(&rig) {
            none if none.is_empty() => Look::Ready(()),
            some => Look::NotYet(some),
        })
    })
    .expect("no rules");
}

#[test]
fn a_policy_that_comes_while_the_gateway_is_open_catches_nothing() {
    or_skip!(runnable());
    let _alone = alone();
    let mut rig = Rig::unstarted();
    let gateway = rig.gateway(Side::A);
    gateway.start().expect("a gateway that is ready");
    gateway
        .request("adit-open", &Message::new())
        .expect("an open gateway");
    let added = gateway.request("policy-add", &policy_of(Family::V4));
    added.expect("a policy");
    assert_eq!(own_rules(&rig), "");
}
