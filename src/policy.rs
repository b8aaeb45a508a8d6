//! `adit policy`: what is protected, bypassed and discarded.

use std::io::Write;
use std::net::IpAddr;

use adit_vici::{Client, Message};
use serde::Serialize;

use crate::cli::{CliError, Gateway};
use crate::sa::{self, done};
use crate::tree;

/// What can be done with policies.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum PolicyCommand {
    /// Show all policies in the order they are tried
    List,
    /// Add a policy
    Add(Box<PolicyAdd>),
    /// Which policy a packet meets, and why
    Explain(Explain),
    /// Let go of packets that are held for an SA of a policy
    Release {
        /// The policy's name
        #[arg(long)]
        name: String,
        /// Forward them in clear
        #[arg(long, conflicts_with = "drop", required_unless_present = "drop")]
        clear: bool,
        /// Drop them
        #[arg(long)]
        drop: bool,
    },
    /// Remove a policy
    Delete {
        /// The policy's name
        #[arg(long)]
        name: String,
    },
}

/// A packet to ask about.
#[derive(Debug, Clone, clap::Args)]
pub struct Explain {
    /// Where it comes from
    pub src: IpAddr,
    /// Where it goes
    pub dst: IpAddr,
    /// Protocol, by name or number
    pub protocol: String,
    /// FROM,TO; a message type such as 8:0 for ICMP; opaque for a fragment that shows none
    pub ports: Option<String>,
    /// It came in clear from outside
    #[arg(long)]
    pub inbound: bool,
}

/// A new policy.
#[derive(Debug, Clone, clap::Args)]
pub struct PolicyAdd {
    /// Its name, unlike any other's
    #[arg(long)]
    pub name: String,
    /// What happens to the traffic
    #[arg(long, value_parser = ["protect", "bypass", "discard"])]
    pub action: String,
    /// Order: the lowest number that covers a packet decides
    #[arg(long)]
    pub priority: u64,
    /// Of bypass and discard: what arrives in clear, or what leaves
    #[arg(long, value_parser = ["both", "in", "out"])]
    pub direction: Option<String>,
    /// Fields that an SA takes from the packet that asks for it
    #[arg(long, value_name = "FIELD", value_delimiter = ',', value_parser = ["local_addr", "remote_addr", "protocol", "local_port", "remote_port"])]
    pub pfp: Vec<String>,
    /// Protected side: prefix, address or range, with [protocol/ports] behind it or not
    #[arg(long, value_name = "SELECTOR", required = true)]
    pub local_ts: Vec<String>,
    /// Far side
    #[arg(long, value_name = "SELECTOR", required = true)]
    pub remote_ts: Vec<String>,
    /// Protocol, by name or number, for selectors that name none
    #[arg(long)]
    pub protocol: Option<String>,
    /// Port or range of the protected side
    #[arg(long, value_name = "PORT|FIRST-LAST", requires = "protocol")]
    pub local_ports: Option<String>,
    /// Port or range of the far side
    #[arg(long, value_name = "PORT|FIRST-LAST", requires = "protocol")]
    pub remote_ports: Option<String>,
    /// ICMP type, with a code behind it or not
    #[arg(long, value_name = "TYPE[:CODE]", value_parser = icmp_type, requires = "protocol", conflicts_with_all = ["local_ports", "remote_ports"])]
    pub icmp_type: Option<String>,
    /// Outbound SA to seal into, if it is there already
    #[arg(long, value_name = "SPI/DST", value_parser = sa_key)]
    pub sa: Option<(u32, IpAddr)>,
}

impl PolicyAdd {
    /// The arguments of `policy-add`.
    ///
    /// # Errors
    /// [`CliError::Usage`] if protocol or ports are given twice, in a selector and as an option.
    pub fn message(&self) -> Result<Message, CliError> {
        let local = self.side(
            &self.local_ts,
            self.icmp_type.as_ref().or(self.local_ports.as_ref()),
        )?;
        let remote = self.side(&self.remote_ts, self.remote_ports.as_ref())?;
        let mut message = Message::new();
        message
            .add("name", &self.name)
            .add("action", &self.action)
            .add("priority", self.priority.to_string())
            .add_list("local_ts", local)
            .add_list("remote_ts", remote);
        if let Some(direction) = &self.direction {
            message.add("direction", direction);
        }
        if !self.pfp.is_empty() {
            message.add_list("pfp", &self.pfp);
        }
        if let Some((spi, destination)) = self.sa {
            message
                .add("spi", format!("{spi:#010x}"))
                .add("dst", destination.to_string());
        }
        Ok(message)
    }

    fn side(&self, selectors: &[String], ports: Option<&String>) -> Result<Vec<String>, CliError> {
        let Some(protocol) = &self.protocol else {
            return Ok(selectors.to_vec());
        };
        let with_protocol = |selector: &String| {
            if selector.contains('[') {
                return Err(CliError::Usage(format!(
                    "{selector} names a protocol, and so does --protocol"
                )));
            }
            Ok(match ports {
                Some(ports) => format!("{selector}[{protocol}/{ports}]"),
                None => format!("{selector}[{protocol}]"),
            })
        };
        selectors.iter().map(with_protocol).collect()
    }
}

/// Does it.
///
/// # Errors
/// The gateway's or the output's.
pub fn run(
    gateway: &Gateway,
    command: &PolicyCommand,
    out: &mut impl Write,
) -> Result<(), CliError> {
    match command {
        PolicyCommand::List => list(gateway.connect()?, gateway.json, out),
        PolicyCommand::Add(add) => {
            let answer = gateway.connect()?.request("policy-add", &add.message()?)?;
            done(
                gateway.json,
                &answer,
                &format!("added policy {}", add.name),
                out,
            )
        }
        PolicyCommand::Explain(packet) => explain(gateway.connect()?, gateway.json, packet, out),
        PolicyCommand::Release { name, clear, .. } => {
            let verdict = if *clear { "clear" } else { "drop" };
            let message = Message::new().with("policy", name).with("verdict", verdict);
            let answer = gateway.connect()?.request("release-held", &message)?;
            let text = format!("released what was held under {name}: {verdict}");
            done(gateway.json, &answer, &text, out)
        }
        PolicyCommand::Delete { name } => {
            let answer = gateway
                .connect()?
                .request("policy-delete", &Message::new().with("name", name))?;
            done(
                gateway.json,
                &answer,
                &format!("deleted policy {name}"),
                out,
            )
        }
    }
}

fn explain(
    mut client: Client,
    json: bool,
    packet: &Explain,
    out: &mut impl Write,
) -> Result<(), CliError> {
    let mut message = Message::new()
        .with("src", packet.src.to_string())
        .with("dst", packet.dst.to_string())
        .with("protocol", &packet.protocol)
        .with("direction", if packet.inbound { "in" } else { "out" });
    if let Some(ports) = &packet.ports {
        message.add("ports", ports);
    }
    let answer = client.request("policy-explain", &message)?;
    if json {
        return tree::print_json(&tree::json(&answer), out);
    }
    write!(out, "{}", explained(&answer))?;
    Ok(())
}

/// The answer in words: what happens and why, then the policies that were passed over.
fn explained(answer: &Message) -> String {
    let text = |key: &str| answer.str(key).unwrap_or_default();
    let mut said = match answer.str("policy") {
        Some(policy) => format!("{} by policy {policy}", text("action").to_uppercase()),
        None => text("action").to_uppercase(),
    };
    said += &format!(": {}\n", text("why"));
    for (key, name) in [("wanted_local", "local"), ("wanted_remote", "remote")] {
        if let Some(side) = answer.str(key) {
            said += &format!("  wanted {name}  {side}\n");
        }
    }
    if let Some(spi) = answer.str("spi") {
        said += &format!("  SA  0x{spi}/{}\n", text("dst"));
    }
    for (title, passed) in answer
        .section("passed")
        .into_iter()
        .flat_map(Message::sections)
    {
        let side = |key: &str| passed.str(key).unwrap_or_default();
        let name = title.rsplit_once('#').map_or(title, |(name, _)| name);
        said += &format!(
            "  not {name} ({} to {}): {}\n",
            side("local"),
            side("remote"),
            side("why")
        );
    }
    said
}

/// One policy as it is shown.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct PolicyRow {
    name: String,
    action: String,
    priority: u64,
    direction: String,
    pfp: Vec<String>,
    packets_out: u64,
    bytes_out: u64,
    packets_in: u64,
    bytes_in: u64,
    sa: Option<String>,
    local_ts: Vec<String>,
    remote_ts: Vec<String>,
}

fn list(mut client: Client, json: bool, out: &mut impl Write) -> Result<(), CliError> {
    let all = Message::new()
        .with("trap", "yes")
        .with("pass", "yes")
        .with("drop", "yes");
    let mut rows: Vec<PolicyRow> = Vec::new();
    client.stream("list-policies", "list-policy", &all, |event| {
        rows.extend(
            event
                .sections()
                .map(|(title, policy)| policy_row(title, policy)),
        );
    })?;
    rows.sort_by_key(|row| row.priority);
    if json {
        return tree::print_json(&serde_json::json!(rows), out);
    }
    let cells = rows.into_iter().map(|row| {
        [
            row.priority.to_string(),
            row.name,
            if row.direction == "both" {
                row.action.to_uppercase()
            } else {
                format!("{} {}", row.action.to_uppercase(), row.direction)
            },
            row.local_ts.join(" "),
            row.remote_ts.join(" "),
            row.packets_out.to_string(),
            row.packets_in.to_string(),
            row.sa.unwrap_or_default(),
        ]
    });
    let headings = [
        "PRIORITY", "NAME", "ACTION", "LOCAL", "REMOTE", "OUT", "IN", "SA",
    ];
    tree::print_table(headings, &cells.collect::<Vec<_>>(), out)
}

fn policy_row(title: &str, policy: &Message) -> PolicyRow {
    let text = |key: &str| policy.str(key).unwrap_or_default().to_owned();
    let number = |key: &str| policy.str(key).and_then(|n| n.parse().ok()).unwrap_or(0);
    PolicyRow {
        name: policy.str("child").unwrap_or(title).to_owned(),
        action: text("action"),
        priority: policy
            .str("priority")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0),
        direction: policy.str("direction").unwrap_or("both").to_owned(),
        pfp: policy.list("pfp").map(str::to_owned).collect(),
        packets_out: number("packets-out"),
        bytes_out: number("bytes-out"),
        packets_in: number("packets-in"),
        bytes_in: number("bytes-in"),
        sa: policy
            .str("spi")
            .map(|spi| format!("0x{spi}/{}", text("dst"))),
        local_ts: policy.list("local-ts").map(str::to_owned).collect(),
        remote_ts: policy.list("remote-ts").map(str::to_owned).collect(),
    }
}

fn sa_key(text: &str) -> Result<(u32, IpAddr), String> {
    let (spi, destination) = text
        .split_once('/')
        .ok_or("expected SPI/DST, like 0x1001/192.0.2.2")?;
    let destination = destination
        .parse()
        .map_err(|_| format!("{destination:?} is no address"))?;
    Ok((sa::spi(spi)?, destination))
}

/// An ICMP type as a selector has it: `type << 8 | code`, all codes where none is named.
fn icmp_type(text: &str) -> Result<String, String> {
    let number = |text: &str| {
        text.parse::<u8>()
            .map_err(|_| "expected TYPE or TYPE:CODE, 0 to 255 each".to_owned())
    };
    let place = |kind: u8, code: u8| u16::from(kind) << 8 | u16::from(code);
    match text.split_once(':') {
        Some((kind, code)) => Ok(place(number(kind)?, number(code)?).to_string()),
        None => {
            let kind = number(text)?;
            Ok(format!("{}-{}", place(kind, 0), place(kind, 255)))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Words {
        #[command(subcommand)]
        command: PolicyCommand,
    }

    fn add(more: &str) -> Result<Message, String> {
        let words = "policy add --name net --action protect --priority 10 --local-ts 10.1.0.0/24 --remote-ts 10.2.0.0/24";
        let words = words.split_whitespace().chain(more.split_whitespace());
        match Words::try_parse_from(words)
            .map_err(|error| error.to_string())?
            .command
        {
            PolicyCommand::Add(add) => add.message().map_err(|error| error.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_least_that_can_be_said_becomes_a_whole_message() {
        let expected = Message::new()
            .with("name", "net")
            .with("action", "protect")
            .with("priority", "10")
            .with_list("local_ts", ["10.1.0.0/24"])
            .with_list("remote_ts", ["10.2.0.0/24"]);
        assert_eq!(add("").unwrap(), expected);
    }

    #[test]
    fn protocol_and_ports_go_into_the_selectors() {
        let sides = |more: &str| {
            let message = add(more).unwrap();
            let side = |key: &str| message.list(key).collect::<Vec<_>>().join(" ");
            (side("local_ts"), side("remote_ts"))
        };
        let pair = |local: &str, remote: &str| (local.to_owned(), remote.to_owned());
        assert_eq!(
            sides("--protocol tcp"),
            pair("10.1.0.0/24[tcp]", "10.2.0.0/24[tcp]")
        );
        assert_eq!(
            sides("--protocol udp --local-ports 53 --remote-ports 1024-65535"),
            pair("10.1.0.0/24[udp/53]", "10.2.0.0/24[udp/1024-65535]")
        );
        assert_eq!(
            sides("--protocol icmp --icmp-type 8"),
            pair("10.1.0.0/24[icmp/2048-2303]", "10.2.0.0/24[icmp]")
        );
        assert_eq!(
            sides("--protocol 1 --icmp-type 3:4"),
            pair("10.1.0.0/24[1/772]", "10.2.0.0/24[1]")
        );
    }

    #[test]
    fn flags_and_direction_are_passed_on() {
        let message = add("--pfp local_addr,protocol --direction in").unwrap();
        assert_eq!(message.str("direction"), Some("in"));
        let pfp: Vec<_> = message.list("pfp").collect();
        assert_eq!(pfp, ["local_addr", "protocol"]);
        assert!(add("--pfp address").is_err() && add("--direction up").is_err());
    }

    #[test]
    fn an_explanation_names_the_policy_and_those_before_it() {
        let passed = Message::new()
            .with("local", "10.1.0.0/24")
            .with("remote", "10.9.0.0/24")
            .with("why", "the remote address 10.2.0.5 is not in it");
        let answer = Message::new()
            .with("policy", "net")
            .with("action", "protect")
            .with("spi", "00001001")
            .with("dst", "192.0.2.2")
            .with("why", "it is sealed into this SA")
            .with_section("passed", Message::new().with_section("other#3", passed));
        assert_eq!(
            explained(&answer),
            "PROTECT by policy net: it is sealed into this SA\n  SA  0x00001001/192.0.2.2\n  \
             not other (10.1.0.0/24 to 10.9.0.0/24): the remote address 10.2.0.5 is not in it\n"
        );
    }

    #[test]
    fn an_sa_is_named_by_spi_and_destination() {
        let message = add("--sa 0x1001/2001:db8::2").unwrap();
        assert_eq!(
            (message.str("spi"), message.str("dst")),
            (Some("0x00001001"), Some("2001:db8::2"))
        );
        assert!(
            add("--sa 0x1001").is_err()
                && add("--sa 1/192.0.2.1").is_err()
                && add("--sa 0x1001/x").is_err()
        );
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(add("--local-ports 1").is_err(), "ports need a protocol");
        assert!(add("--protocol icmp --icmp-type 8 --local-ports 1").is_err());
        assert!(add("--protocol icmp --icmp-type 256").is_err());
        let twice = add("--local-ts 10.3.0.0/24[udp] --protocol tcp").unwrap_err();
        assert!(twice.contains("10.3.0.0/24[udp]"), "{twice}");
    }

    #[test]
    fn a_listed_policy_becomes_a_row() {
        let policy = Message::new()
            .with("child", "net")
            .with("action", "protect")
            .with("priority", "10")
            .with("spi", "00001001")
            .with("dst", "192.0.2.2")
            .with("packets-out", "7")
            .with_list("local-ts", ["10.1.0.0/24"]);
        let row = policy_row("site/net", &policy);
        assert_eq!(
            (row.name.as_str(), row.priority, row.sa.as_deref()),
            ("net", 10, Some("0x00001001/192.0.2.2"))
        );
        assert_eq!((row.packets_out, row.packets_in), (7, 0));
    }
}
