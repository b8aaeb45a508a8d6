//! What a gateway cannot do stands in its status, and changes nothing else.

use adit::lab::Side;
use adit::lab::gateway::Gateway;
use adit::lab::wait::{self, Look};
use adit_vici::Message;

use crate::rig::{LIMIT, Rig};
use crate::{alone, runnable};

/// Waits for the data plane's `failure` in the status of a gateway.
fn failure(gateway: &Gateway) -> String {
    wait::until("a failure in the status", LIMIT, || {
        let status = gateway.request("adit-status", &Message::new())?;
        let dataplane = status.section("dataplane").expect("a section");
        Ok(match dataplane.str("failure") {
            Some(failure) => Look::Ready(failure.to_owned()),
            None => Look::NotYet(format!("{dataplane:?}")),
        })
    })
    .expect("a failure")
}

/// What the kernel refused a gateway.
fn refused(gateway: &Gateway) -> Vec<String> {
    let status = gateway.request("adit-status", &Message::new());
    let status = status.expect("a status");
    let host = status.section("host").expect("a section");
    host.list("refused").map(str::to_owned).collect()
}

/// Waits until the list of what the kernel refused is as it should be.
fn wait_for_refused(gateway: &Gateway, enough: impl Fn(&[String]) -> bool) {
    wait::until("another list of what is refused", LIMIT, || {
        let refused = refused(gateway);
        Ok(if enough(&refused) {
            Look::Ready(())
        } else {
            Look::NotYet(format!("{refused:?}"))
        })
    })
    .expect("what is refused");
}

fn policy(name: &str, local: &str, remote: &str) -> Message {
    Message::new()
        .with("name", name)
        .with("action", "protect")
        .with("priority", "100")
        .with_list("local_ts", [local])
        .with_list("remote_ts", [remote])
}

#[test]
fn a_data_plane_that_cannot_bind_says_why_in_the_status() {
    or_skip!(runnable());
    let _alone = alone();
    let mut rig = Rig::unstarted();
    rig.configure("zero_copy = \"force\"");
    let gateway = rig.gateway(Side::A);
    gateway.start_control().expect("control");
    gateway.start_dataplane().expect("a data plane");
    gateway.wait_for_control().expect("control");
    let why = failure(gateway);
    assert!(
        why.contains("zero_copy") && why.contains("inside queue 0"),
        "{why}"
    );
}

#[test]
fn a_socket_that_cannot_be_steered_to_stands_in_the_status() {
    or_skip!(runnable());
    let _alone = alone();
    let mut rig = Rig::unstarted();
    let gateway = rig.gateway(Side::A);
    gateway.start_control().expect("control");
    gateway.wait_for_control().expect("control");
    gateway
        .request("adit-open", &Message::new())
        .expect("an open gateway");
    gateway.start_dataplane().expect("a data plane");
    let why = failure(gateway);
    assert!(why.contains("not attached"), "{why}");
}

#[test]
fn a_policy_that_steering_cannot_follow_is_refused_whole() {
    or_skip!(runnable());
    let _alone = alone();
    let mut rig = Rig::unstarted();
    rig.gateway(Side::A).start().expect("a gateway");
    // More addresses than the steering program can know.
    let namespace = rig.topology.gateway(Side::A).clone();
    let address = |n| format!("addr add 10.9.{}.{}/32 dev many\n", n / 250, n % 250);
    let addresses: String = (0..4100).map(address).collect();
    namespace
        .ip(&format!("link add many type bridge\n{addresses}"))
        .expect("addresses");
    let gateway = rig.gateway(Side::A);
    wait_for_refused(gateway, |refused| {
        refused.iter().any(|what| what.contains("own address"))
    });

    let wanted = policy("too-much", "10.1.0.0/24", "10.2.0.0/24");
    let error = gateway.request("policy-add", &wanted).expect_err("refused");
    assert!(error.to_string().contains("own address"), "{error}");
    let same = gateway.request("policy-delete", &Message::new().with("name", "too-much"));
    assert!(same.is_err(), "nothing was put in");

    namespace.ip("link del many").expect("no addresses");
    let gateway = rig.gateway(Side::A);
    wait_for_refused(gateway, <[String]>::is_empty);
    gateway.request("policy-add", &wanted).expect("a policy");
}

#[test]
fn a_route_that_the_kernel_refuses_stands_in_the_status_until_it_is_there() {
    or_skip!(runnable());
    let _alone = alone();
    let mut rig = Rig::unstarted();
    rig.gateway(Side::A).start().expect("a gateway");
    let namespace = rig.topology.gateway(Side::A).clone();
    let gateway = rig.gateway(Side::A);
    assert_eq!(refused(gateway), [""; 0]);
    let without_v6 = |value| {
        let setting = [("net/ipv6/conf/adit0/disable_ipv6", value)];
        namespace.sysctl(&setting).expect("a setting");
    };
    without_v6("1");
    gateway
        .request("policy-add", &policy("six", "fd01::/64", "fd02::/64"))
        .expect("a policy");
    let what = refused(gateway);
    assert!(
        what.len() == 1 && what[0].contains("fd02::/64") && what[0].contains("TUN"),
        "{what:?}"
    );
    without_v6("0");
    // Tried again at the next occasion.
    gateway
        .request("policy-add", &policy("four", "10.1.0.0/24", "10.2.0.0/24"))
        .expect("a policy");
    assert_eq!(refused(gateway), [""; 0]);
}
