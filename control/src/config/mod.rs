//! `adit.toml`: read, checked, and turned into what the gateway needs.
//!
//! [`load`] reports everything that is wrong at once, each with file, line, key, what was expected and what
//! to do. Names of sections and keys are swanctl's where swanctl has them.

pub(crate) mod connections;
mod error;
mod gateway;
mod packet_rules;
mod policies;
mod raw;
mod secrets;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use adit_abi::message::ZeroCopy;
use adit_abi::{Capacity, Settings, Side};
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use zeroize::Zeroizing;

use crate::sadb::{PolicySpec, SaSpec};
use error::Report;
pub use error::{ConfigError, ConfigErrors};
pub(crate) use policies::DIRECTIONS;
pub(crate) use values::{flag_named, flag_names};

/// Where the control socket is unless the file says otherwise.
pub const CONTROL_SOCKET: &str = "/run/adit/adit.vici";
/// Where the data plane finds control unless the file says otherwise.
pub const DATAPLANE_SOCKET: &str = "/run/adit/dataplane.sock";
/// Where the steering program is pinned unless the file says otherwise.
pub const BPF_DIR: &str = "/sys/fs/bpf/adit";

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from.
    pub file: PathBuf,
    /// The gateway itself.
    pub gateway: Gateway,
    /// SPD entries, those of manually keyed children included.
    pub policies: Vec<PolicySpec>,
    /// Manually keyed SAs.
    pub sas: Vec<SaSpec>,
}

/// Section `gateway`.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// Path of the VICI socket.
    pub control_socket: PathBuf,
    /// Its file mode.
    pub control_socket_mode: u32,
    /// The group whose members may use it, by its number.
    pub control_socket_group: Option<u32>,
    /// Path of the socket that the data plane connects to.
    pub dataplane_socket: PathBuf,
    /// Directory of a BPF file system for the steering program.
    pub bpf_dir: PathBuf,
    /// Name of the TUN interface.
    pub tun: String,
    /// Worker threads; [`None`] takes as many as the port with most queues has.
    pub workers: Option<u16>,
    /// CPU of each worker; empty leaves it to the scheduler.
    pub cpus: Vec<u16>,
    /// Bytes of a UMEM chunk.
    pub frame_size: u16,
    /// Chunks of each worker's stock.
    pub frames_per_worker: u32,
    /// Descriptors of each ring.
    pub ring_size: u32,
    /// Bind mode.
    pub zero_copy: ZeroCopy,
    /// Whether the UMEM asks for huge pages.
    pub huge_pages: bool,
    /// What the data plane follows.
    pub settings: Settings,
    /// Sizes of the tables.
    pub table: Capacity,
    /// The ports, in the order of their numbers.
    pub ports: Vec<Port>,
}

impl Gateway {
    /// The keys that differ from those of another reading of the file and are followed from the next start on only.
    pub fn needs_restart_for(&self, other: &Self) -> Vec<&'static str> {
        let mut keys = vec![
            (
                "control_socket",
                self.control_socket != other.control_socket,
            ),
            (
                "control_socket_mode",
                self.control_socket_mode != other.control_socket_mode,
            ),
            (
                "control_socket_group",
                self.control_socket_group != other.control_socket_group,
            ),
            (
                "dataplane_socket",
                self.dataplane_socket != other.dataplane_socket,
            ),
            ("bpf_dir", self.bpf_dir != other.bpf_dir),
            ("tun", self.tun != other.tun),
            ("workers", self.workers != other.workers),
            ("cpus", self.cpus != other.cpus),
            ("frame_size", self.frame_size != other.frame_size),
            (
                "frames_per_worker",
                self.frames_per_worker != other.frames_per_worker,
            ),
            ("ring_size", self.ring_size != other.ring_size),
            ("zero_copy", self.zero_copy != other.zero_copy),
            ("huge_pages", self.huge_pages != other.huge_pages),
            ("table", self.table != other.table),
            ("ports", self.ports != other.ports),
        ];
        keys.retain(|(_, differs)| *differs);
        keys.into_iter().map(|(key, _)| key).collect()
    }
}

/// One port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Name of the interface.
    pub interface: String,
    /// Which side of the gateway.
    pub side: Side,
    /// Receive queues to serve; [`None`] serves all that the interface has.
    pub queues: Option<u16>,
}

/// The names of the ports in a file that need not be right otherwise: what must be closed before all else.
pub fn port_names(path: &Path) -> Vec<String> {
    let text = Zeroizing::new(fs::read(path).unwrap_or_default());
    let text = Zeroizing::new(String::from_utf8_lossy(&text).into_owned());
    let text = without_keys(&text);
    let (table, _) = DeTable::parse_recoverable(&text);
    let ports = table.get_ref().get("gateway");
    let ports = ports.and_then(|gateway| gateway.get_ref().get("ports"));
    let ports = ports.and_then(|ports| ports.get_ref().as_array());
    let name = |port: &Spanned<DeValue<'_>>| {
        let name = port
            .get_ref()
            .get("interface")?
            .get_ref()
            .as_str()?
            .to_owned();
        gateway::is_interface_name(&name).then_some(name)
    };
    ports.into_iter().flatten().filter_map(name).collect()
}

/// Reads and checks a file.
///
/// # Errors
/// Everything that is wrong with it, or that it cannot be read.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    // May hold keys: wiped afterwards.
    let whole = |line, found, expected: &str, remedy: &str| ConfigErrors {
        file: path.to_owned(),
        errors: vec![ConfigError {
            line,
            key: String::new(),
            found,
            expected: expected.into(),
            remedy: remedy.into(),
        }],
    };
    let octets = fs::read(path).map_err(|e| {
        let found = format!("cannot be read: {e}");
        whole(0, found, "", "name another file with --config")
    })?;
    let octets = Zeroizing::new(octets);
    let text = std::str::from_utf8(&octets).map_err(|e| {
        let before = octets.get(..e.valid_up_to()).unwrap_or_default();
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        let found = "an octet that is no UTF-8 found".to_owned();
        whole(
            line,
            found,
            "text in UTF-8",
            "save the file as UTF-8, or write the character in ASCII",
        )
    })?;
    parse(path, text)
}

/// Checks the text of a file; `path` is for messages, and for the paths in it.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigErrors> {
    // First without the keys: the parser's errors hold copies of the text, which nobody wipes.
    syntax_errors(
        path,
        text,
        &DeTable::parse_recoverable(&without_keys(text)).1,
    )?;
    let (table, errors) = DeTable::parse_recoverable(text);
    syntax_errors(path, text, &errors)?;
    let mut report = Report::new(text);
    let mut sections = Sections::default();
    for (key, value) in table.into_inner() {
        sections.sort(&mut report, key, value);
    }
    let secrets = secrets::check(&mut report, path, sections.secrets);
    let is_told = |section: &str| sections.unreadable.iter().any(|s| s == section);
    let gateway = gateway::check(
        &mut report,
        sections.gateway,
        is_told("gateway") || is_told("gateway.ports"),
    );
    let mut policies = policies::check(&mut report, sections.policies);
    let rules = connections::Rules {
        static_counter_mode_keys: gateway.static_counter_mode_keys,
        most_window: gateway.gateway.table.window,
        unreadable: &sections.unreadable,
    };
    let (child_policies, sas) =
        connections::check(&mut report, &rules, &secrets, sections.connections);
    for p in &policies {
        if child_policies.iter().any(|c| c.name == p.name) {
            let key = format!("policies.{}", p.name);
            let expected = "a name that no child has as CONNECTION/CHILD";
            report.add(
                0..0,
                key,
                "the name is taken by a child",
                expected,
                "rename it",
            );
        }
    }
    policies.extend(child_policies);
    match report.finish(path) {
        Some(errors) => Err(errors),
        None => Ok(Config {
            file: path.to_owned(),
            gateway: gateway.gateway,
            policies,
            sas,
        }),
    }
}

fn syntax_errors(path: &Path, text: &str, errors: &[toml::de::Error]) -> Result<(), ConfigErrors> {
    let mut report = Report::new(text);
    for e in errors {
        report.add_toml("", e);
    }
    match report.finish(path) {
        Some(errors) => Err(errors),
        None => Ok(()),
    }
}

/// The text with other octets in place of what may be a key: a long run of hexadecimal digits that no `=`, `.` or `]` says
/// to be a name. Everything stays where it is.
fn without_keys(text: &str) -> String {
    const LONG: usize = 16;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        let (run, behind) = rest.split_at(digits.max(c.len_utf8()));
        let next = behind.trim_start_matches(['"', '\'', ' ', '\t']);
        if digits < LONG || next.starts_with(['=', '.', ']']) {
            out.push_str(run);
        } else {
            out.extend(std::iter::repeat_n('0', digits));
        }
        rest = behind;
    }
    out
}

/// One named part of a section with its place in the file.
type Named<T> = BTreeMap<String, (std::ops::Range<usize>, T)>;

/// The file cut into parts that are read one by one, so that a fault in one does not hide the others'.
#[derive(Default)]
struct Sections {
    gateway: Option<(std::ops::Range<usize>, raw::RawGateway)>,
    /// Parts that cannot be read: that was told, and what follows from it need not be.
    unreadable: Vec<String>,
    connections: Named<raw::RawConnection>,
    policies: Named<raw::RawPolicy>,
    secrets: Named<raw::RawSecret>,
}

const SECTIONS: [&str; 4] = ["gateway", "connections", "policies", "secrets"];

impl Sections {
    fn sort(
        &mut self,
        report: &mut Report<'_>,
        key: Spanned<std::borrow::Cow<'_, str>>,
        value: Spanned<DeValue<'_>>,
    ) {
        let span = key.span();
        match key.get_ref().as_ref() {
            "gateway" => self.gateway = Some((span, self.gateway(report, value))),
            "connections" => self.connections = self.each(report, "connections", value),
            "policies" => self.policies = self.each(report, "policies", value),
            "secrets" => self.secrets = self.each(report, "secrets", value),
            other => {
                let known = SECTIONS.map(str::to_owned);
                let remedy = match error::nearest(other, &known) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the sections are {}", SECTIONS.join(", ")),
                };
                report.add(span, other, "unknown section", "", remedy);
            }
        }
    }

    /// Reads the section key by key: what is wrong with one does not hide what is wrong with another.
    fn gateway(&mut self, report: &mut Report<'_>, value: Spanned<DeValue<'_>>) -> raw::RawGateway {
        let span = value.span();
        let DeValue::Table(mut table) = value.into_inner() else {
            report.add(
                span,
                "gateway",
                "not a table",
                "[gateway]",
                "write [gateway] on a line of its own",
            );
            self.unreadable.push("gateway".into());
            return raw::RawGateway::default();
        };
        let keys: Vec<_> = table.keys().cloned().collect();
        for key in keys {
            let mut alone = DeTable::new();
            if let Some((name, value)) = table.get_key_value(&key) {
                alone.insert(name.clone(), value.clone());
            }
            let alone = Spanned::new(span.clone(), DeValue::Table(alone));
            if let Err(e) = raw::RawGateway::deserialize(ValueDeserializer::from(alone)) {
                report.add_toml("gateway", &e);
                let name = key.get_ref().as_ref();
                self.unreadable.push(error::join("gateway", name));
                table.remove(&key);
            }
        }
        let rest = Spanned::new(span, DeValue::Table(table));
        self.read(report, "gateway", rest).unwrap_or_default()
    }

    fn read<T: DeserializeOwned>(
        &mut self,
        report: &mut Report<'_>,
        section: &str,
        value: Spanned<DeValue<'_>>,
    ) -> Option<T> {
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(raw) => Some(raw),
            Err(e) => {
                report.add_toml(section, &e);
                self.unreadable.push(section.to_owned());
                None
            }
        }
    }

    fn each<T: DeserializeOwned>(
        &mut self,
        report: &mut Report<'_>,
        section: &str,
        value: Spanned<DeValue<'_>>,
    ) -> Named<T> {
        let span = value.span();
        let DeValue::Table(table) = value.into_inner() else {
            let expected = format!("[{section}.NAME]");
            report.add(span, section, "not a table", expected, "");
            return Named::new();
        };
        let mut out = Named::new();
        for (key, value) in table {
            let span = key.span();
            let name = key.into_inner().into_owned();
            if let Some(raw) = self.read(report, &error::join(section, &name), value) {
                out.insert(name, (span, raw));
            }
        }
        out
    }
}
