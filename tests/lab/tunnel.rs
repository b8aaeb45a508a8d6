//! `adit lab tunnel` as a newcomer runs it: what it reports, and that it leaves nothing behind.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::cleanup::left_of;
use crate::{alone, runnable};

/// Runs the scenario with `options`; gives its result and its lab's id.
fn run(options: &[&str]) -> (Output, String) {
    let child = Command::new(env!("CARGO_BIN_EXE_adit"))
        .args(["lab", "tunnel"])
        .args(options)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the command");
    let lab = format!("{}-0", child.id());
    (child.wait_with_output().expect("an end"), lab)
}

/// The report of a run that went well.
fn report(options: &[&str]) -> Value {
    let (output, lab) = run(options);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{options:?}: {said}\n{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert_eq!(left_of(&lab), [""; 0], "{options:?}");
    serde_json::from_slice(&output.stdout).expect("JSON and nothing else")
}

#[test]
fn the_report_has_pings_rates_drops_and_modes() {
    or_skip!(runnable());
    let _alone = alone();
    let report = report(&["--json", "--seconds", "1"]);
    assert_eq!(report["pings_sent"], report["pings_received"]);
    assert!(report["pings_sent"].as_u64().is_some_and(|sent| sent >= 80));
    for rate in ["mbit_per_s", "packets_per_s", "kernel_mbit_per_s"] {
        assert!(
            report[rate].as_f64().is_some_and(|rate| rate > 0.0),
            "{rate}"
        );
    }
    assert!(report["drops"].is_object());
    for gateway in ["gw-a", "gw-b"] {
        let ports = report["modes"][gateway].as_array().expect("ports");
        assert_eq!(ports.len(), 2);
        for port in ports {
            // veth has native XDP, and no zero-copy.
            assert_eq!(port["xdp"], "native");
            assert_eq!(port["af_xdp"], "copy");
            assert!(port["why"].as_str().is_some_and(|why| !why.is_empty()));
        }
    }
    let own = report["own_traffic"].as_array().expect("rows");
    assert!(own.iter().all(|row| row["works"] == true), "{own:?}");
}

#[test]
fn pings_come_back_through_every_outer_header_and_kind_of_suite() {
    or_skip!(runnable());
    let _alone = alone();
    for options in [
        &["--outer", "v6"][..],
        &["--encap"],
        &["--outer", "v6", "--encap", "--esn"],
        &["--suite", "chacha20poly1305", "--esn"],
        &["--suite", "aes256-sha256", "--outer", "v6"],
        &["--suite", "aes256gcm16", "--queues", "2"],
    ] {
        let quick = ["--json", "--seconds", "0", "--pings", "5"];
        let report = report(&[&quick, options].concat());
        // Both families inside, both ways, and gw-a itself.
        assert_eq!(report["pings_received"], 30, "{options:?}");
    }
}

#[test]
fn a_person_gets_a_table() {
    or_skip!(runnable());
    let _alone = alone();
    let (output, _) = run(&["--seconds", "0", "--pings", "2"]);
    let table = String::from_utf8_lossy(&output.stdout);
    for word in [
        "received",
        "XDP native, AF_XDP copy",
        "drops by reason",
        "works",
    ] {
        assert!(table.contains(word), "{word} is not in\n{table}");
    }
}

#[test]
fn a_kept_lab_has_both_gateways_at_work_until_it_is_removed() {
    or_skip!(runnable());
    let _alone = alone();
    let (output, lab) = run(&["--seconds", "0", "--pings", "2", "--keep"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let adit = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_adit"))
            .args(arguments)
            .output();
        output.expect("the command")
    };
    let socket = format!("/run/adit-lab-{lab}/gw-b/adit.vici");
    let status = adit(&["status", "--json", "--socket", &socket]);
    let host = format!("/run/netns/adit-{lab}-host-a");
    let ping = Command::new("nsenter")
        .args([
            &format!("--net={host}"),
            "ping",
            "-q",
            "-c",
            "2",
            "-i",
            "0.1",
            "10.2.0.2",
        ])
        .output();
    let removed = adit(&["lab", "clean", &lab]);
    assert!(output.status.success(), "{said}");
    assert!(said.contains(&format!("adit lab clean {lab}")), "{said}");
    let status: Value = serde_json::from_slice(&status.stdout).expect("JSON");
    assert_eq!(status["dataplane"]["stage"], "ready", "{status}");
    assert!(ping.expect("ping").status.success());
    assert!(removed.status.success());
    assert_eq!(left_of(&lab), [""; 0]);
}

#[test]
fn a_few_lost_pings_are_a_failure_though_all_else_is_well() {
    or_skip!(runnable());
    let _alone = alone();
    let mut adit = Command::new(env!("CARGO_BIN_EXE_adit"))
        .args(["lab", "tunnel", "--json", "--seconds", "0", "--pings", "20"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command");
    let host_a = format!("adit-{}-0-host-a", adit.id());
    let route = |words: &str| {
        let mut ip = Command::new("ip");
        ip.args(["-n", &host_a, "route"]).args(words.split(' '));
        assert!(ip.status().expect("ip").success(), "{words} in {host_a}");
    };
    let stderr = BufReader::new(adit.stderr.take().expect("a pipe"));
    let mut progress = stderr.lines().map_while(Result::ok);
    let mut said = |part: &str| {
        let line = progress.find(|line| line.starts_with(part));
        line.unwrap_or_else(|| panic!("it ended without saying {part}"))
    };
    said("ping IPv4 host-a to host-b: 20 of 20");
    // The second series is on its way: host-a leaves it without answers.
    route("add blackhole 10.2.0.0/24");
    let lost = said("ping IPv4 host-b to host-a: ");
    route("del blackhole 10.2.0.0/24");
    std::thread::scope(|scope| {
        scope.spawn(|| progress.for_each(drop));
        let output = adit.wait_with_output().expect("an end");
        assert_eq!(output.status.code(), Some(1), "{lost}");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let pings = |key| report[key].as_u64().expect("a count");
        let missing = pings("pings_sent") - pings("pings_received");
        assert!((1..=20).contains(&missing), "{report}");
        // Nothing else is wrong, so it is the pings that make it fail.
        let own = report["own_traffic"].as_array().expect("rows");
        assert!(own.iter().all(|row| row["works"] == true), "{own:?}");
    });
}
