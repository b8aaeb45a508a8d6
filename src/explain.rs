//! `adit explain`: why IKE failed, both sides as far as the gateway saw them.

use std::io::Write;

use adit_vici::{Client, Message};

use crate::cli::CliError;
use crate::tree;

/// Which failures.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Which {
    /// The connection; every one if left out
    pub connection: Option<String>,
}

/// Asks and prints.
///
/// # Errors
/// The gateway's, or the output's.
pub fn run(
    mut client: Client,
    json: bool,
    which: &Which,
    out: &mut impl Write,
) -> Result<(), CliError> {
    let mut request = Message::new();
    if let Some(connection) = &which.connection {
        request.add("connection", connection);
    }
    let mut failures = Vec::new();
    client.stream("adit-explain", "adit-failure", &request, |failure| {
        failures.push(failure);
    })?;
    if json {
        let all = failures.iter().map(tree::json).collect();
        return tree::print_json(&serde_json::Value::Array(all), out);
    }
    if failures.is_empty() {
        writeln!(out, "no failures")?;
    }
    for failure in &failures {
        print(failure, out)?;
    }
    Ok(())
}

fn print(failure: &Message, out: &mut impl Write) -> Result<(), CliError> {
    let text = |key| failure.str(key).unwrap_or_default();
    let name = match (text("connection"), text("child")) {
        ("", _) => "no connection".to_owned(),
        (connection, "") => connection.to_owned(),
        (connection, child) => format!("{connection}/{child}"),
    };
    let times = match text("times") {
        "1" => String::new(),
        times => format!(", {times} times"),
    };
    writeln!(
        out,
        "{name}: {} to {}, {} s ago{times}",
        text("local"),
        text("remote"),
        text("seconds-ago")
    )?;
    writeln!(out, "    {}", text("reason"))?;
    for (key, title) in [
        ("ours", "ours"),
        ("theirs", "offered"),
        ("mismatches", "does not fit"),
        ("local-ts", "our local_ts"),
        ("remote-ts", "our remote_ts"),
        ("offered-local-ts", "offered for our side"),
        ("offered-remote-ts", "offered for the other side"),
    ] {
        for (n, item) in failure.list(key).enumerate() {
            let title = if n == 0 { title } else { "" };
            writeln!(out, "    {title:27} {item}")?;
        }
    }
    Ok(())
}
