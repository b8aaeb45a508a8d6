//! Ordinary programs as traffic: `ping` counts what comes back, `iperf3` moves bytes over TCP.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use super::namespace::Namespace;
use super::process::{self, Daemon};
use super::wait::{self, Look};
use super::{Family, LabError};

/// What `ping` counted.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Pings {
    /// Echo requests sent.
    pub sent: u64,
    /// Echo replies received, duplicates not counted.
    pub received: u64,
    /// Replies to a request already answered.
    pub duplicates: u64,
    /// Mean round-trip time in milliseconds; none if nothing came back.
    pub mean_ms: Option<f64>,
}

/// Options of a [`ping`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PingPlan {
    /// Echo requests to send.
    pub count: u32,
    /// Time between two of them.
    pub interval: Duration,
    /// Payload octets.
    pub size: u16,
    /// How long to wait for the last reply.
    pub linger: Duration,
    /// The source address, where the sender has several.
    pub source: Option<IpAddr>,
}

impl Default for PingPlan {
    fn default() -> Self {
        PingPlan {
            count: 20,
            // Once a reply has come, `ping` waits this long for the last one, whatever `linger` says.
            interval: Duration::from_millis(100),
            size: 56,
            linger: Duration::from_secs(2),
            source: None,
        }
    }
}

/// Pings `to` from inside `from` and counts. Lost pings are not an error.
///
/// # Errors
/// [`LabError`] if `ping` cannot be run or says something unexpected.
pub fn ping(from: &Namespace, to: IpAddr, plan: PingPlan) -> Result<Pings, LabError> {
    let source = plan
        .source
        .map(|source| ["-I".to_owned(), source.to_string()]);
    let finished = process::finish(
        from.command("ping")
            .args(source.into_iter().flatten())
            // No name look-ups: a namespace has no resolver to ask.
            .args(["-n", "-q"])
            .args(["-c", &plan.count.to_string()])
            .args(["-i", &seconds(plan.interval)])
            .args(["-s", &plan.size.to_string()])
            .args(["-W", &seconds(plan.linger)])
            .arg(to.to_string()),
        "",
    )?;
    // ping ends with 1 if replies are missing, with 2 on other trouble; without a route it says so and sends nothing.
    parse_ping(&finished.stdout).ok_or_else(|| LabError::Output {
        program: "ping",
        why: "no line with packets transmitted and received".into(),
        output: format!("{}{}", finished.stdout, finished.stderr),
    })
}

/// Reads the summary of iputils' `ping`.
fn parse_ping(output: &str) -> Option<Pings> {
    let summary = output
        .lines()
        .find(|line| line.contains(" packets transmitted"))?;
    let counted = |what: &str| {
        summary
            .split(", ")
            .find_map(|part| part.strip_suffix(what))
            .and_then(|n| n.trim_start_matches('+').parse().ok())
    };
    // rtt min/avg/max/mdev = 0.020/0.031/0.069/0.014 ms
    let mean_ms = output
        .lines()
        .find_map(|line| line.strip_prefix("rtt ")?.split_once(" = "))
        .and_then(|(_, figures)| figures.split('/').nth(1)?.parse().ok());
    Some(Pings {
        sent: counted(" packets transmitted")?,
        received: counted(" received")?,
        duplicates: counted(" duplicates").unwrap_or(0),
        mean_ms,
    })
}

/// What a bulk TCP transfer reached.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Transfer {
    /// Megabits a second of TCP payload that arrived.
    pub mbit_per_s: f64,
    /// Octets of TCP payload that arrived.
    pub bytes: u64,
    /// TCP segments sent again.
    pub retransmits: u64,
    /// Packets a second of both directions at the receiving host's interface.
    pub packets_per_s: f64,
    /// How long the transfer ran, in seconds.
    pub seconds: f64,
}

/// Moves TCP from `client` to `server` at `address` for `length`, and calls `progress` about every second with the packets and megabits a
/// second seen since the last call.
///
/// `scratch` is a directory for the server's log.
///
/// # Errors
/// [`LabError`] if `iperf3` cannot be run, cannot connect or says something unexpected.
pub fn tcp(
    client: &Namespace,
    server: &Namespace,
    address: IpAddr,
    length: Duration,
    scratch: &Path,
    mut progress: impl FnMut(Rates),
) -> Result<Transfer, LabError> {
    process::require("iperf3", "iperf3")?;
    let log = scratch.join("iperf3-server.log");
    // An old log would look like a server that listens.
    drop(std::fs::remove_file(&log));
    let mut listening = Daemon::start(
        "iperf3 server",
        &log,
        server
            .command("iperf3")
            .args(["--server", "--one-off", "--forceflush", "--bind"])
            .arg(address.to_string()),
    )?;
    wait::until("iperf3 to listen", Duration::from_secs(5), || {
        listening.check_alive()?;
        Ok(Look::at(listening.log_text().contains("Server listening")))
    })?;

    let log = scratch.join("iperf3-client.json");
    drop(std::fs::remove_file(&log));
    let mut sending = Daemon::start(
        "iperf3 client",
        &log,
        client
            .command("iperf3")
            .args(["--json", "--connect-timeout", "5000", "--client"])
            .arg(address.to_string())
            .arg("--time")
            .arg(length.as_secs().max(1).to_string()),
    )?;
    let first = Sample::take(server)?;
    let mut last = first;
    // A path that goes dead in mid-transfer leaves iperf3 waiting for ever.
    let limit = length + Duration::from_secs(20);
    let status = wait::until("iperf3 to finish", limit, || {
        let now = Sample::take(server)?;
        if now.at.duration_since(last.at) >= Duration::from_secs(1) {
            progress(last.rates_until(&now));
            last = now;
        }
        Ok(match sending.ended()? {
            Some(status) => Look::Ready(status),
            None => Look::NotYet(String::new()),
        })
    })?;
    let whole = first.rates_until(&Sample::take(server)?);
    let json = sending.log_text();
    if !status.success() {
        return Err(LabError::Command {
            command: format!("iperf3 to {address}"),
            outcome: process::outcome(status),
            output: iperf_error(&json).unwrap_or(json),
        });
    }
    parse_iperf(&json, whole.packets_per_s).ok_or_else(|| LabError::Output {
        program: "iperf3",
        why: "no end.sum_received in its JSON".into(),
        output: process::tail(&json, 20),
    })
}

fn parse_iperf(json: &str, packets_per_s: f64) -> Option<Transfer> {
    let value: serde_json::Value = serde_json::from_str(json).ok()?;
    let received = value.pointer("/end/sum_received")?;
    Some(Transfer {
        mbit_per_s: received.get("bits_per_second")?.as_f64()? / 1e6,
        bytes: received.get("bytes")?.as_u64()?,
        seconds: received.get("seconds")?.as_f64()?,
        retransmits: value
            .pointer("/end/sum_sent/retransmits")
            .and_then(serde_json::Value::as_u64)
            .unwrap_or(0),
        packets_per_s,
    })
}

fn iperf_error(json: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(json).ok()?;
    Some(value.get("error")?.as_str()?.to_owned())
}

/// What passed an interface, a second, both directions together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Packets a second.
    pub packets_per_s: f64,
    /// Megabits a second, with Ethernet headers.
    pub mbit_per_s: f64,
}

/// One look at a host's interface counters.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    packets: u64,
    bytes: u64,
}

impl Sample {
    fn take(host: &Namespace) -> Result<Self, LabError> {
        let table = host.enter(|| std::fs::read_to_string("/proc/thread-self/net/dev"))?;
        let table = table.map_err(|e| LabError::io("read /proc/thread-self/net/dev", e))?;
        let (packets, bytes) = parse_counters(&table, "eth0").ok_or_else(|| LabError::Output {
            program: "/proc/net/dev",
            why: "no counters of eth0".into(),
            output: table,
        })?;
        Ok(Sample {
            at: Instant::now(),
            packets,
            bytes,
        })
    }

    fn rates_until(&self, later: &Sample) -> Rates {
        let seconds = later.at.duration_since(self.at).as_secs_f64().max(1e-9);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a lab stays far below 2^52 octets"
        )]
        let per_s = |before: u64, after: u64| after.wrapping_sub(before) as f64 / seconds;
        Rates {
            packets_per_s: per_s(self.packets, later.packets),
            mbit_per_s: per_s(self.bytes, later.bytes) * 8.0 / 1e6,
        }
    }
}

/// Packets and octets of `device`, both directions added, from the text of `/proc/net/dev`.
fn parse_counters(table: &str, device: &str) -> Option<(u64, u64)> {
    let line = table
        .lines()
        .find_map(|line| line.trim_start().strip_prefix(device)?.strip_prefix(':'))?;
    let fields: Vec<u64> = line
        .split_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    // Receive: bytes packets errs drop fifo frame compressed multicast; transmit: bytes packets …
    Some((
        fields.get(1)? + fields.get(9)?,
        fields.first()? + fields.get(8)?,
    ))
}

/// The address of `family` that a transfer or ping goes to, spelled for a message.
pub fn label(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.3}", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_are_read_from_the_summary() {
        let output = "PING 10.2.0.2 (10.2.0.2) 56(84) bytes of data.\n\n--- 10.2.0.2 ping statistics ---\n\
            20 packets transmitted, 19 received, +1 duplicates, 5% packet loss, time 381ms\n\
            rtt min/avg/max/mdev = 0.020/0.031/0.069/0.014 ms\n";
        assert_eq!(
            parse_ping(output),
            Some(Pings {
                sent: 20,
                received: 19,
                duplicates: 1,
                mean_ms: Some(0.031)
            })
        );
    }

    #[test]
    fn pings_that_met_errors_are_still_counted() {
        let output = "--- 10.2.0.2 ping statistics ---\n3 packets transmitted, 0 received, +3 errors, 100% packet loss, time 2003ms\n";
        let pings = parse_ping(output).expect("a summary");
        assert_eq!((pings.sent, pings.received, pings.mean_ms), (3, 0, None));
    }

    #[test]
    fn output_without_a_summary_is_not_a_count() {
        assert_eq!(parse_ping("ping: connect: Network is unreachable\n"), None);
    }

    #[test]
    fn a_transfer_is_read_from_iperf3s_json() {
        let json = r#"{"end":{"sum_sent":{"retransmits":3},"sum_received":{"seconds":2.0,"bytes":250000000,"bits_per_second":1e9}}}"#;
        let transfer = parse_iperf(json, 5.0).expect("a transfer");
        assert_eq!(transfer.mbit_per_s, 1000.0);
        assert_eq!((transfer.bytes, transfer.retransmits), (250_000_000, 3));
        assert_eq!(parse_iperf("{}", 0.0), None);
    }

    #[test]
    fn counters_of_one_device_are_added_over_both_directions() {
        let table = "Inter-|   Receive  |  Transmit\n face |bytes packets\n    lo: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n  eth0: 100 10 0 0 0 0 0 0 50 5 0 0 0 0 0 0\n";
        assert_eq!(parse_counters(table, "eth0"), Some((15, 150)));
        assert_eq!(parse_counters(table, "eth1"), None);
    }
}
