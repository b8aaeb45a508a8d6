//! The main job: `adit lab tunnel` with both daemons ends well, and its JSON says so.

use std::process::Command;

use adit::lab::daemons::Daemons;
use serde_json::Value;

use crate::{alone, runnable};

/// Runs the scenario with these options; its JSON.
fn tunnel(options: &[&str]) -> Value {
    let daemons = Daemons::find().expect("daemons");
    let bin_dir = daemons.control.parent().expect("a directory");
    let output = Command::new(env!("CARGO_BIN_EXE_adit"))
        .args(["lab", "tunnel", "--json", "--seconds", "1", "--pings", "5"])
        .args(options)
        .env("ADIT_BIN_DIR", bin_dir)
        .output()
        .expect("adit");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{options:?}: {said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn the_main_job_ends_with_every_ping_back() {
    or_skip!(runnable());
    let _alone = alone();
    for options in [
        &["--suite", "aes256-sha256", "--esn", "--outer", "v6"][..],
        &["--suite", "chacha20poly1305", "--encap", "--queues", "2"][..],
    ] {
        let report = tunnel(options);
        assert_eq!(report["pings_sent"], 30, "{report}");
        assert_eq!(report["pings_received"], 30, "{report}");
        assert!(report["mbit_per_s"].as_f64() > Some(0.0), "{report}");
        assert!(report["packets_per_s"].as_f64() > Some(0.0), "{report}");
        assert!(report["drops"].is_object(), "{report}");
        for gateway in ["gw-a", "gw-b"] {
            let ports = report["modes"][gateway].as_array().expect("ports");
            assert_eq!(ports.len(), 2, "{report}");
            for port in ports {
                assert_eq!(port["af_xdp"], "copy", "{report}");
                assert_ne!(port["why"], "", "{report}");
            }
        }
    }
}
