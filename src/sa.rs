//! `adit sa`: security associations.

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;

use adit_abi::{Suite, SuiteError};
use adit_vici::{Client, Message};
use serde::Serialize;

use crate::cli::{CliError, Gateway};
use crate::key::{self, Keys};
use crate::packet_options::PacketOptions;
use crate::tree;

/// What can be done with SAs.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum SaCommand {
    /// Show all SAs with their counters
    List,
    /// Install an SA with manual keys; one direction
    Add(Box<SaAdd>),
    /// Move a live SA to other outer addresses or UDP ports; its sequence numbers, window and counters go on
    Migrate {
        /// SPI, decimal or hexadecimal after 0x
        #[arg(long, value_parser = spi)]
        spi: u32,
        /// Outer destination address that it has
        #[arg(long)]
        dst: IpAddr,
        /// Its protocol
        #[arg(long, value_parser = ["esp", "ah"], default_value = "esp")]
        protocol: String,
        /// Outer source address that it gets
        #[arg(long)]
        new_src: IpAddr,
        /// Outer destination address that it gets
        #[arg(long)]
        new_dst: IpAddr,
        /// UDP ports that it gets; without this it is not in UDP afterwards
        #[arg(long, value_name = "SPORT:DPORT", value_parser = port_pair, num_args = 0..=1, default_missing_value = "4500:4500")]
        encap: Option<(u16, u16)>,
        /// For how long an inbound SA opens what comes for its old key as well
        #[arg(long, value_name = "SECONDS", default_value_t = 30)]
        keep_seconds: u64,
    },
    /// Remove an SA
    Delete {
        /// SPI, decimal or hexadecimal after 0x
        #[arg(long, value_parser = spi)]
        spi: u32,
        /// Outer destination address
        #[arg(long)]
        dst: IpAddr,
        /// Its protocol
        #[arg(long, value_parser = ["esp", "ah"], default_value = "esp")]
        protocol: String,
    },
}

/// A new SA.
#[derive(Debug, Clone, clap::Args)]
pub struct SaAdd {
    /// Policy that it serves; an outbound SA becomes the one that the policy seals into
    #[arg(long)]
    pub policy: Option<String>,
    /// in: opens what arrives from outside; out: seals what leaves
    #[arg(long, value_parser = ["in", "out"])]
    pub direction: String,
    /// SPI, decimal or hexadecimal after 0x
    #[arg(long, value_parser = spi)]
    pub spi: u32,
    /// Outer source address
    #[arg(long)]
    pub src: IpAddr,
    /// Outer destination address
    #[arg(long)]
    pub dst: IpAddr,
    /// ESP, or AH, which encrypts nothing
    #[arg(long, value_parser = ["esp", "ah"], default_value = "esp")]
    pub protocol: String,
    /// tunnel: whole packets; transport: what passes between --src and --dst; beet: the same between fixed other addresses
    #[arg(long, value_parser = ["tunnel", "transport", "beet"], default_value = "tunnel")]
    pub mode: String,
    /// What encrypts and authenticates: aes256gcm16, aes128-sha256; for AH sha256
    #[arg(long, value_parser = suite)]
    pub suite: Suite,
    /// SPI of the AH SA to the same destination that goes around this one
    #[arg(long, value_name = "SPI", value_parser = spi)]
    pub around: Option<u32>,
    /// Octets that an AH header over IPv4 is a multiple of; Linux has 8
    #[arg(long, value_parser = ["4", "8"])]
    pub ah_align: Option<String>,
    /// Source and destination as the sender behind a NAT wrote them (RFC 3948 §3.1.2)
    #[arg(
        long,
        value_name = "SRC,DST",
        value_delimiter = ',',
        num_args = 2,
        requires = "encap"
    )]
    pub original: Vec<IpAddr>,
    /// Keys in hexadecimal, `-` for standard input: a line for the encryption key and salt, a line for the integrity key, as the suite has them
    #[arg(long, value_name = "FILE")]
    pub key_file: PathBuf,
    /// Take a counter-mode suite's key from a file, though its second use gives the traffic away (RFC 8221 §3)
    #[arg(long)]
    pub unsafe_static_counter_mode_keys: bool,
    /// Extended (64-bit) sequence numbers
    #[arg(long)]
    pub esn: bool,
    /// Anti-replay window in packets, 0 (none) or 64 to 8192
    #[arg(long, value_name = "PACKETS", default_value_t = 1024, value_parser = clap::value_parser!(u16).range(..=8192))]
    pub window: u16,
    /// Protected side, in both directions: prefix, address or range, with [protocol/ports] behind it or not
    #[arg(long, value_name = "SELECTOR", required = true)]
    pub local_ts: Vec<String>,
    /// Far side
    #[arg(long, value_name = "SELECTOR", required = true)]
    pub remote_ts: Vec<String>,
    /// Encapsulate in UDP from and to these ports (RFC 3948)
    #[arg(long, value_name = "SPORT:DPORT", value_parser = port_pair, num_args = 0..=1, default_missing_value = "4500:4500")]
    pub encap: Option<(u16, u16)>,
    /// Send NAT keepalives (RFC 3948)
    #[arg(long, requires = "encap")]
    pub keepalive: bool,
    /// DSCP of the outer header [default: the inner packet's]
    #[arg(long, value_parser = clap::value_parser!(u8).range(..=63))]
    pub dscp: Option<u8>,
    /// DF bit of the outer IPv4 header
    #[arg(long, value_parser = ["copy", "set", "clear"], default_value = "copy")]
    pub df: String,
    /// How it treats its packets.
    #[command(flatten)]
    pub packets: PacketOptions,
    /// Hard lifetime in packets
    #[arg(long)]
    pub hard_packets: Option<u64>,
    /// Hard lifetime in octets
    #[arg(long)]
    pub hard_bytes: Option<u64>,
    /// Hard lifetime in seconds
    #[arg(long)]
    pub hard_seconds: Option<u64>,
    /// Soft lifetime in packets
    #[arg(long)]
    pub soft_packets: Option<u64>,
    /// Soft lifetime in octets
    #[arg(long)]
    pub soft_bytes: Option<u64>,
    /// Soft lifetime in seconds
    #[arg(long)]
    pub soft_seconds: Option<u64>,
}

impl SaAdd {
    /// The arguments of `sa-add`.
    pub fn message(&self, keys: &Keys) -> Message {
        let yes = |set: bool| if set { "yes" } else { "no" };
        let mut message = Message::new();
        if let Some(policy) = &self.policy {
            message.add("policy", policy);
        }
        message
            .add("direction", &self.direction)
            .add("spi", format!("{:#010x}", self.spi))
            .add("src", self.src.to_string())
            .add("dst", self.dst.to_string())
            .add("protocol", &self.protocol)
            .add("mode", &self.mode)
            .add("suite", self.suite.to_string());
        if let Some(key) = &keys.encryption {
            message.add("enc_key", key.as_slice());
        }
        message
            .add("esn", yes(self.esn))
            .add("replay_window", self.window.to_string())
            .add("encap", yes(self.encap.is_some()))
            .add("keepalive", yes(self.keepalive))
            .add(
                "dscp",
                match self.dscp {
                    Some(dscp) => dscp.to_string(),
                    None if self.packets.map_dscp => "map".to_owned(),
                    None => "copy".to_owned(),
                },
            )
            .add("df", &self.df)
            .add_list("local_ts", &self.local_ts)
            .add_list("remote_ts", &self.remote_ts);
        if let Some(key) = &keys.integrity {
            message.add("auth_key", key.as_slice());
        }
        if let Some(around) = self.around {
            message.add("around", format!("{around:#010x}"));
        }
        if let Some(align) = &self.ah_align {
            message.add("ah_align", align);
        }
        for (key, address) in ["original_src", "original_dst"].iter().zip(&self.original) {
            message.add(*key, address.to_string());
        }
        if let Some((source, destination)) = self.encap {
            message
                .add("encap_sport", source.to_string())
                .add("encap_dport", destination.to_string());
        }
        self.packets.add_to(&mut message);
        for (key, limit) in [
            ("life_packets", self.hard_packets),
            ("life_bytes", self.hard_bytes),
            ("life_seconds", self.hard_seconds),
            ("rekey_packets", self.soft_packets),
            ("rekey_bytes", self.soft_bytes),
            ("rekey_seconds", self.soft_seconds),
        ] {
            if let Some(limit) = limit {
                message.add(key, limit.to_string());
            }
        }
        message
    }
}

/// Does it.
///
/// # Errors
/// The key's, the gateway's or the output's.
pub fn run(gateway: &Gateway, command: &SaCommand, out: &mut impl Write) -> Result<(), CliError> {
    match command {
        SaCommand::List => list(gateway.connect()?, gateway.json, out),
        SaCommand::Add(add) => {
            let fresh = add.suite.is_counter_mode() && !add.unsafe_static_counter_mode_keys;
            let keys = key::read(&add.key_file, add.suite, fresh)?;
            let answer = gateway.connect()?.request("sa-add", &add.message(&keys))?;
            done(
                gateway.json,
                &answer,
                &format!("added SA {:#010x} to {}", add.spi, add.dst),
                out,
            )
        }
        SaCommand::Migrate {
            spi,
            dst,
            protocol,
            new_src,
            new_dst,
            encap,
            keep_seconds,
        } => {
            let mut message = Message::new()
                .with("spi", format!("{spi:#010x}"))
                .with("protocol", protocol)
                .with("dst", dst.to_string())
                .with("new_src", new_src.to_string())
                .with("new_dst", new_dst.to_string())
                .with("encap", if encap.is_some() { "yes" } else { "no" })
                .with("keep_seconds", keep_seconds.to_string());
            if let Some((source, destination)) = encap {
                message
                    .add("encap_sport", source.to_string())
                    .add("encap_dport", destination.to_string());
            }
            let answer = gateway.connect()?.request("sa-migrate", &message)?;
            done(
                gateway.json,
                &answer,
                &format!("moved SA {spi:#010x} from {dst} to {new_dst}"),
                out,
            )
        }
        SaCommand::Delete { spi, dst, protocol } => {
            let key = Message::new()
                .with("spi", format!("{spi:#010x}"))
                .with("protocol", protocol)
                .with("dst", dst.to_string());
            let answer = gateway.connect()?.request("sa-delete", &key)?;
            done(
                gateway.json,
                &answer,
                &format!("deleted SA {spi:#010x} to {dst}"),
                out,
            )
        }
    }
}

/// Says that a change was made.
///
/// # Errors
/// The output's.
pub fn done(
    json: bool,
    answer: &Message,
    text: &str,
    out: &mut impl Write,
) -> Result<(), CliError> {
    if json {
        return tree::print_json(&tree::json(answer), out);
    }
    writeln!(out, "{text}")?;
    Ok(())
}

/// One SA as it is shown.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct SaRow {
    name: String,
    pub(crate) direction: &'static str,
    pub(crate) spi: String,
    src: String,
    pub(crate) dst: String,
    pub(crate) suite: String,
    esn: bool,
    pub(crate) encap: bool,
    window: Option<u64>,
    pub(crate) path_mtu: Option<u16>,
    dummies: u64,
    packets: u64,
    bytes: u64,
    last_use: Option<u64>,
    installed: Option<u64>,
    rekey_in: Option<i64>,
    expires_in: Option<i64>,
    pub(crate) local_ts: Vec<String>,
    pub(crate) remote_ts: Vec<String>,
}

fn list(mut client: Client, json: bool, out: &mut impl Write) -> Result<(), CliError> {
    let mut rows = Vec::new();
    client.stream("list-sas", "list-sa", &Message::new(), |event| {
        rows.extend(sa_rows(&event))
    })?;
    if json {
        return tree::print_json(&serde_json::json!(rows), out);
    }
    let cells = rows.into_iter().map(|row| {
        [
            row.name,
            row.direction.to_owned(),
            row.spi,
            row.src,
            row.dst,
            row.suite + if row.esn { " esn" } else { "" } + if row.encap { " udp" } else { "" },
            match (row.direction, row.path_mtu) {
                ("out", None) => "route's".to_owned(),
                (_, mtu) => mtu.map_or(String::new(), |mtu| mtu.to_string()),
            },
            row.packets.to_string(),
            row.bytes.to_string(),
            row.expires_in
                .map_or("never".to_owned(), |seconds| format!("{seconds} s")),
            row.local_ts.join(" "),
            row.remote_ts.join(" "),
        ]
    });
    let headings = [
        "NAME", "DIR", "SPI", "FROM", "TO", "SUITE", "PATH MTU", "PACKETS", "OCTETS", "EXPIRES",
        "LOCAL", "REMOTE",
    ];
    tree::print_table(headings, &cells.collect::<Vec<_>>(), out)
}

/// The SAs of one `list-sa` event: an IKE SA's section, its child SAs, two directions each.
pub fn sa_rows(event: &Message) -> Vec<SaRow> {
    let mut rows = Vec::new();
    for (_, ike) in event.sections() {
        let children = ike
            .section("child-sas")
            .into_iter()
            .flat_map(Message::sections);
        for (_, child) in children {
            rows.extend(
                ["in", "out"]
                    .into_iter()
                    .filter_map(|direction| sa_row(ike, child, direction)),
            );
        }
    }
    rows
}

fn sa_row(ike: &Message, child: &Message, direction: &'static str) -> Option<SaRow> {
    let text = |message: &Message, key: &str| message.str(key).unwrap_or_default().to_owned();
    let number = |key: String| child.str(&key).and_then(|text| text.parse().ok());
    let seconds = |key: &str| child.str(key).and_then(|text| text.parse().ok());
    let spi = u32::from_str_radix(child.str(&format!("spi-{direction}"))?, 16).ok()?;
    if spi == 0 {
        return None;
    }
    let (local, remote) = (text(ike, "local-host"), text(ike, "remote-host"));
    let (src, dst) = if direction == "in" {
        (remote, local)
    } else {
        (local, remote)
    };
    Some(SaRow {
        name: text(child, "name"),
        direction,
        spi: format!("{spi:#010x}"),
        src,
        dst,
        suite: text(child, "suite"),
        esn: child.element("esn").is_some(),
        encap: child.str("encap") == Some("yes"),
        window: number(format!("window-{direction}")),
        path_mtu: number(format!("path-mtu-{direction}")).and_then(|n| n.try_into().ok()),
        dummies: number(format!("dummies-{direction}")).unwrap_or(0),
        packets: number(format!("packets-{direction}")).unwrap_or(0),
        bytes: number(format!("bytes-{direction}")).unwrap_or(0),
        last_use: number(format!("use-{direction}")),
        installed: number("install-time".to_owned()),
        rekey_in: seconds("rekey-time"),
        expires_in: seconds("life-time"),
        local_ts: child.list("local-ts").map(str::to_owned).collect(),
        remote_ts: child.list("remote-ts").map(str::to_owned).collect(),
    })
}

/// Parses an SPI, decimal or hexadecimal after `0x`.
///
/// # Errors
/// What was expected, also for the numbers up to 255, which RFC 4303 §2.1 reserves.
pub fn spi(text: &str) -> Result<u32, String> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    match number {
        Ok(spi) if spi > 255 => Ok(spi),
        _ => Err("expected 0x100 to 0xffffffff".to_owned()),
    }
}

fn suite(text: &str) -> Result<Suite, SuiteError> {
    // The protocol is another word; control compares the two.
    Suite::parse_esp(text).or_else(|e| Suite::parse_ah(text).map_err(|_| e))
}

fn port_pair(text: &str) -> Result<(u16, u16), String> {
    let pair = text.split_once(':').and_then(|(source, destination)| {
        Some((
            source.parse().ok().filter(|port| *port != 0)?,
            destination.parse().ok().filter(|port| *port != 0)?,
        ))
    });
    pair.ok_or_else(|| "expected two ports, like 4500:4500".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use zeroize::Zeroizing;

    use super::*;

    #[derive(Debug, Parser)]
    struct Words {
        #[command(subcommand)]
        command: SaCommand,
    }

    fn parse(words: &str) -> Result<SaCommand, clap::Error> {
        Words::try_parse_from(["sa"].into_iter().chain(words.split_whitespace()))
            .map(|words| words.command)
    }

    const ADD: &str = "add --direction out --spi 0x1001 --src 192.0.2.1 --dst 192.0.2.2 --suite aes128gcm16 \
        --key-file - --local-ts 10.1.0.0/24 --remote-ts 10.2.0.0/24 --remote-ts 10.3.0.0/24[tcp/80]";

    fn add(more: &str) -> SaAdd {
        match parse(&format!("{ADD} {more}")).unwrap() {
            SaCommand::Add(add) => *add,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_least_that_can_be_said_becomes_a_whole_message() {
        let keys = Keys {
            encryption: Some(Zeroizing::new(vec![1; 20])),
            integrity: None,
        };
        let message = add("").message(&keys);
        let expected = Message::new()
            .with("direction", "out")
            .with("spi", "0x00001001")
            .with("src", "192.0.2.1")
            .with("dst", "192.0.2.2")
            .with("protocol", "esp")
            .with("mode", "tunnel")
            .with("suite", "aes128gcm16")
            .with("enc_key", [1; 20])
            .with("esn", "no")
            .with("replay_window", "1024")
            .with("encap", "no")
            .with("keepalive", "no")
            .with("dscp", "copy")
            .with("df", "copy")
            .with_list("local_ts", ["10.1.0.0/24"])
            .with_list("remote_ts", ["10.2.0.0/24", "10.3.0.0/24[tcp/80]"]);
        assert_eq!(message, expected);
    }

    #[test]
    fn options_reach_the_message() {
        let keys = Keys {
            encryption: Some(Zeroizing::new(vec![1])),
            integrity: Some(Zeroizing::new(vec![2])),
        };
        let options = "--policy net --esn --window 64 --encap 4500:10001 --keepalive --dscp 46 --df set \
            --hard-packets 1 --hard-bytes 2 --hard-seconds 3 --soft-packets 4 --soft-bytes 5 --soft-seconds 6";
        let message = add(options).message(&keys);
        for (key, value) in [
            ("policy", "net"),
            ("esn", "yes"),
            ("replay_window", "64"),
            ("encap", "yes"),
            ("encap_sport", "4500"),
            ("encap_dport", "10001"),
            ("keepalive", "yes"),
            ("dscp", "46"),
            ("df", "set"),
            ("auth_key", "\u{2}"),
            ("life_packets", "1"),
            ("life_bytes", "2"),
            ("life_seconds", "3"),
            ("rekey_packets", "4"),
            ("rekey_bytes", "5"),
            ("rekey_seconds", "6"),
        ] {
            assert_eq!(message.str(key), Some(value), "{key}");
        }
        assert_eq!(add("--encap").encap, Some((4500, 4500)));
    }

    #[test]
    fn wrong_words_are_refused() {
        for wrong in [
            "--spi 255",
            "--encap 4500",
            "--encap 0:1",
            "--window 9000",
            "--dscp 64",
            "--keepalive",
            "--df no",
        ] {
            let add = ADD.replace(
                "--spi 0x1001",
                if wrong.contains("spi") {
                    wrong
                } else {
                    "--spi 256"
                },
            );
            let words = if wrong.contains("spi") {
                add
            } else {
                format!("{add} {wrong}")
            };
            assert!(parse(&words).is_err(), "{words}");
        }
        assert!(parse(&ADD.replace("aes128gcm16", "des")).is_err());
        assert_eq!(spi("4294967295"), Ok(u32::MAX));
        assert!(spi("4294967296").is_err() && spi("0x").is_err() && spi("-1").is_err());
    }

    #[test]
    fn a_child_sa_becomes_a_row_for_each_direction_it_has() {
        let child = |spi_in: &str| {
            Message::new()
                .with("name", "net")
                .with("spi-in", spi_in)
                .with("spi-out", "00001001")
                .with("suite", "aes128gcm16")
                .with("bytes-out", "100")
                .with("packets-out", "1")
                .with("life-time", "-3")
                .with_list("local-ts", ["10.1.0.0/24"])
        };
        let event = |child: Message| {
            Message::new().with_section(
                "site",
                Message::new()
                    .with("local-host", "192.0.2.1")
                    .with("remote-host", "192.0.2.2")
                    .with_section("child-sas", Message::new().with_section("net-1", child)),
            )
        };
        let both = sa_rows(&event(child("00002001")));
        assert_eq!(
            both.iter().map(|row| row.direction).collect::<Vec<_>>(),
            ["in", "out"]
        );
        assert_eq!(
            (both[0].src.as_str(), both[0].dst.as_str()),
            ("192.0.2.2", "192.0.2.1")
        );
        assert_eq!(
            (both[1].spi.as_str(), both[1].bytes, both[1].expires_in),
            ("0x00001001", 100, Some(-3))
        );
        assert_eq!(sa_rows(&event(child("00000000"))).len(), 1);
        assert!(sa_rows(&Message::new().with_section("site", Message::new())).is_empty());
    }
}
