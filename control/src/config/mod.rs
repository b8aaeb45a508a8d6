//! `adit.toml`: read, checked, and turned into what the gateway needs.
//!
//! [`load`] reports everything that is wrong at once, each with file, line, key, what was expected and what
//! to do. Names of sections and keys are swanctl's where swanctl has them.

mod connections;
mod error;
mod gateway;
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
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use zeroize::Zeroizing;

use crate::sadb::{PolicySpec, SaSpec};
use error::Report;
pub use error::{ConfigError, ConfigErrors};

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

/// Reads and checks a file.
///
/// # Errors
/// Everything that is wrong with it, or that it cannot be read.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    // May hold keys: wiped afterwards.
    let text = Zeroizing::new(fs::read_to_string(path).map_err(|e| ConfigErrors {
        file: path.to_owned(),
        errors: vec![ConfigError {
            line: 0,
            key: String::new(),
            found: format!("cannot be read: {e}"),
            expected: String::new(),
            remedy: "name another file with --config".into(),
        }],
    })?);
    parse(path, &text)
}

/// Checks the text of a file; `path` is for messages, and for the paths in it.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigErrors> {
    let mut syntax = Report::new(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for e in &errors {
        syntax.add_toml("", e);
    }
    if !errors.is_empty()
        && let Some(errors) = syntax.finish(path)
    {
        return Err(errors);
    }
    let mut report = Report::new(text);
    let mut sections = Sections::default();
    for (key, value) in table.into_inner() {
        sections.sort(&mut report, key, value);
    }
    let secrets = secrets::check(&mut report, path, sections.secrets);
    let is_told = |section: &str| sections.unreadable.iter().any(|s| s == section);
    let gateway = gateway::check(&mut report, sections.gateway, is_told("gateway"));
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
            "gateway" => {
                if let Some(raw) = self.read(report, "gateway", value) {
                    self.gateway = Some((span, raw));
                }
            }
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
