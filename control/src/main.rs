//! `adit-control`: everything of the gateway that touches the world, packets excepted.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use adit_control::host::forwarding;
use adit_control::{config, daemon};
use clap::Parser;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};
use tracing::{error, warn};
use tracing_subscriber::EnvFilter;

/// The control process of the adit IPsec gateway.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file
    #[arg(long, default_value = "/etc/adit/adit.toml")]
    config: PathBuf,
    /// What to log, as `info` or `adit_control::plane=debug`
    #[arg(long, default_value = "info")]
    log: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_new(&arguments.log).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    keep_keys_in();
    // Before anything that may fail: where no steering program is attached yet, the kernel must not forward.
    for name in config::port_names(&arguments.config) {
        forwarding::switch_off(&name);
    }
    let config = match config::load(&arguments.config) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(2);
        }
    };
    match daemon::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            error!("{e}");
            ExitCode::FAILURE
        }
    }
}

/// SA keys live here: no core dumps, no debugger of another user, nothing in swap.
fn keep_keys_in() {
    if let Err(e) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        warn!("core dumps cannot be forbidden: {e}");
    }
    let no_limit = Rlimit {
        current: None,
        maximum: None,
    };
    // Under a limit, locking would make later allocations fail.
    let unlimited = capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK))
        || setrlimit(Resource::Memlock, no_limit).is_ok();
    if !unlimited {
        warn!("memory may be swapped out: there is a limit to locking it, raise LimitMEMLOCK");
        return;
    }
    let locked = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT);
    if let Err(e) = locked {
        warn!("memory may be swapped out: {e}");
    }
}
