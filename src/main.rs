//! The operator's command.

use std::process::ExitCode;

use adit::lab::cli::{self, LabCommand};
use clap::Parser;

/// Operates an adit IPsec gateway.
#[derive(Debug, Parser)]
#[command(version)]
struct Adit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Gateways, hosts and the wire between them in network namespaces of this machine
    #[command(subcommand)]
    Lab(LabCommand),
}

fn main() -> ExitCode {
    match Adit::parse().command {
        Command::Lab(command) => cli::run(&command),
    }
}
