//! The `adit` command at a control socket, as a person and as a script sees it.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use super::sample_gateway::{SampleGateway, sas};

fn adit(gateway: &SampleGateway, words: &str, input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_adit"))
        .args(words.split_whitespace())
        .arg("--socket")
        .arg(gateway.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn printed(gateway: &SampleGateway, words: &str) -> String {
    let output = adit(gateway, words, "");
    assert!(
        output.status.success(),
        "{words}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn json(gateway: &SampleGateway, words: &str) -> serde_json::Value {
    serde_json::from_str(&printed(gateway, &format!("{words} --json"))).unwrap()
}

const ADD: &str = "sa add --direction out --spi 0x1001 --src 192.0.2.1 --dst 192.0.2.2 --suite aes128-sha256 \
    --key-file - --esn --local-ts 10.1.0.0/24 --remote-ts 10.2.0.0/24";

#[test]
fn listings_have_a_line_for_each_sa_and_policy() {
    let gateway = SampleGateway::start("command-list", sas());
    let text = printed(&gateway, "sa list");
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert_eq!(lines[0][..5], ["NAME", "DIR", "SPI", "FROM", "TO"]);
    assert_eq!(
        lines[1][..6],
        [
            "net",
            "in",
            "0x00001001",
            "192.0.2.2",
            "192.0.2.1",
            "aes128gcm16"
        ]
    );
    assert_eq!(
        lines[2][..5],
        ["net", "out", "0x00002002", "192.0.2.1", "192.0.2.2"]
    );
    assert_eq!(
        lines[3][..7],
        [
            "lab",
            "out",
            "0x00003003",
            "2001:db8::1",
            "2001:db8::2",
            "aes256-sha256",
            "udp"
        ]
    );

    let text = printed(&gateway, "policy list");
    let names: Vec<_> = text
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().nth(1).unwrap())
        .collect();
    assert_eq!(names, ["ssh", "rest", "net"], "in the order they are tried");
}

#[test]
fn json_has_the_same_as_values() {
    let gateway = SampleGateway::start("command-json", sas());
    let rows = json(&gateway, "sa list");
    assert_eq!(rows.as_array().unwrap().len(), 3);
    assert_eq!(rows[0]["window"], 1024);
    assert_eq!(rows[0]["bytes"], 8400);
    assert_eq!(rows[1]["spi"], "0x00002002");
    assert_eq!(rows[2]["expires_in"], serde_json::Value::Null);
    assert_eq!(
        json(&gateway, "policy list")[2]["sa"],
        "0x00002002/192.0.2.2"
    );
    assert_eq!(json(&gateway, "status")["dataplane"]["pid"], 77);
    assert_eq!(
        json(&gateway, "stats")["drops"],
        serde_json::json!({ "replayed": 3, "unknown_spi": 0 })
    );
}

#[test]
fn stats_leave_zeros_out_unless_asked() {
    let gateway = SampleGateway::start("command-stats", Vec::new());
    assert_eq!(printed(&gateway, "stats"), "drops:\n  replayed  3\n");
    assert!(printed(&gateway, "stats --all").contains("unknown_spi  0"));
}

#[test]
fn keys_come_from_standard_input_and_reach_the_gateway_raw() {
    let gateway = SampleGateway::start("command-add", Vec::new());
    let output = adit(&gateway, ADD, "000102\nff\n");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "added SA 0x00001001 to 192.0.2.2\n"
    );
    let (command, arguments) = gateway.asked().pop().unwrap();
    assert_eq!(command, "sa-add");
    assert_eq!(arguments.bytes("enc_key"), Some(&[0, 1, 2][..]));
    assert_eq!(arguments.bytes("auth_key"), Some(&[0xff][..]));
    assert_eq!(arguments.str("esn"), Some("yes"));
}

#[test]
fn a_refusal_a_bad_key_and_a_missing_gateway_are_told_apart() {
    let gateway = SampleGateway::start("command-errors", Vec::new());
    let failing = |words: &str, input: &str| {
        let output = adit(&gateway, words, input);
        assert_eq!(output.status.code(), Some(1), "{words}");
        String::from_utf8(output.stderr).unwrap()
    };
    let error = failing("sa delete --spi 0x1001 --dst 192.0.2.2", "");
    assert_eq!(
        error,
        "adit: sa-delete: there is no SA 0x00001001 to 192.0.2.2\n"
    );
    assert_eq!(
        failing(ADD, "secret\n00"),
        "adit: key: line 1 is not hexadecimal digits in pairs\n"
    );
    assert!(
        gateway
            .asked()
            .iter()
            .all(|(command, _)| command == "sa-delete"),
        "no broken key was sent"
    );

    let output = Command::new(env!("CARGO_BIN_EXE_adit"))
        .args(["status", "--socket", "/nonexistent"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("/nonexistent") && error.contains("is adit-control running?"),
        "{error}"
    );
}
