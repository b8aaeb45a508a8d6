//! The words after `adit`, and what is common to those that ask a running gateway.
//!
//! A further subcommand is an arm of `Command` and one of [`run`].

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use adit_vici::{Client, ClientError};
use thiserror::Error;

use crate::lab::cli::LabCommand;
use crate::policy::PolicyCommand;
use crate::probe::ProbeCommand;
use crate::sa::SaCommand;
use crate::{check, explain, lab, open, policy, probe, reload, sa, stats, status};

/// How long one step of the gateway's answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Operates an adit IPsec gateway.
#[derive(Debug, clap::Parser)]
#[command(name = "adit", version)]
pub struct Adit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Gateways, hosts and the wire between them in network namespaces of this machine
    #[command(subcommand)]
    Lab(LabCommand),
    /// Explain what is wrong with a configuration file; needs no gateway
    Check {
        /// The file
        file: PathBuf,
    },
    /// How the gateway stands: data plane, ports, tables
    Status(Gateway),
    /// Packets, octets and drops by reason
    Stats {
        #[command(flatten)]
        gateway: Gateway,
        #[command(flatten)]
        shown: stats::Shown,
    },
    /// Have the gateway read its configuration file again: what stays wanted is not touched
    Reload(Gateway),
    /// Why IKE failed, both sides as far as the gateway saw them
    Explain {
        #[command(flatten)]
        gateway: Gateway,
        #[command(flatten)]
        which: explain::Which,
    },
    /// Let the kernel have every frame: nothing is protected until adit-control starts again
    Open(Gateway),
    /// Security associations: list, add, delete
    Sa {
        #[command(flatten)]
        gateway: Gateway,
        #[command(subcommand)]
        command: SaCommand,
    },
    /// Measure what a tunnel carries
    Probe {
        #[command(flatten)]
        gateway: Gateway,
        #[command(subcommand)]
        command: ProbeCommand,
    },
    /// Policies: list, add, delete, explain
    Policy {
        #[command(flatten)]
        gateway: Gateway,
        #[command(subcommand)]
        command: PolicyCommand,
    },
}

/// Which gateway is asked, and how its answer is shown.
#[derive(Debug, Clone, clap::Args)]
pub struct Gateway {
    /// The gateway's control socket
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        default_value = "/run/adit/adit.vici"
    )]
    pub socket: PathBuf,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// Why a command failed.
#[derive(Debug, Error)]
pub enum CliError {
    /// Nobody answers at the socket.
    #[error(
        "no gateway answers at {socket}: {source}\nis adit-control running? --socket names another one"
    )]
    Unreachable {
        /// The socket.
        socket: String,
        /// Why.
        source: ClientError,
    },
    /// The gateway refused, or the connection broke.
    #[error(transparent)]
    Gateway(#[from] ClientError),
    /// The file is not what it should be.
    #[error("{0}")]
    Config(#[from] adit_control::config::ConfigErrors),
    /// The key cannot be used.
    #[error("key: {0}")]
    Key(#[from] crate::key::KeyError),
    /// The options contradict each other.
    #[error("{0}")]
    Usage(String),
    /// The result cannot be written.
    #[error("output: {0}")]
    Output(#[from] io::Error),
}

impl Gateway {
    /// Connects to the control socket.
    ///
    /// # Errors
    /// [`CliError::Unreachable`].
    pub fn connect(&self) -> Result<Client, CliError> {
        let unreachable = |source| CliError::Unreachable {
            socket: self.socket.display().to_string(),
            source,
        };
        let client = Client::connect(&self.socket).map_err(unreachable)?;
        client.set_timeout(Some(PATIENCE))?;
        Ok(client)
    }
}

/// Does what was asked. Exit status 0 if it was done, 1 if not, and what `lab` gives for itself.
pub fn run(adit: Adit) -> ExitCode {
    let out = &mut io::stdout().lock();
    let outcome = match &adit.command {
        Command::Lab(command) => return lab::cli::run(command),
        Command::Check { file } => check::run(file, out),
        Command::Status(gateway) => gateway
            .connect()
            .and_then(|client| status::run(client, gateway.json, out)),
        Command::Stats { gateway, shown } => gateway
            .connect()
            .and_then(|client| stats::run(client, gateway.json, *shown, out)),
        Command::Reload(gateway) => reload::run(gateway, out),
        Command::Explain { gateway, which } => gateway
            .connect()
            .and_then(|client| explain::run(client, gateway.json, which, out)),
        Command::Open(gateway) => open::run(gateway, out),
        Command::Sa { gateway, command } => sa::run(gateway, command, out),
        Command::Probe { gateway, command } => probe::run(gateway, command, out),
        Command::Policy { gateway, command } => policy::run(gateway, command, out),
    };
    match outcome.and_then(|()| Ok(out.flush()?)) {
        Ok(()) => ExitCode::SUCCESS,
        // A reader like `head` that has seen enough is no failure.
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        // Its lines begin with the file's name, for editors.
        Err(CliError::Config(errors)) => {
            eprintln!("{errors}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("adit: {error}");
            ExitCode::FAILURE
        }
    }
}
