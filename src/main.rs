//! The operator's command.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    adit::cli::run(adit::cli::Adit::parse())
}
