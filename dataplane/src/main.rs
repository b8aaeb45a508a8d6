//! `adit-dataplane`: packets, nothing else. It takes everything it needs from control's socket.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use adit_dataplane::crypto::Provider;
use adit_dataplane::steward::Steward;
use clap::{Parser, ValueEnum};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};

#[derive(Clone, Copy, ValueEnum)]
enum ProviderName {
    /// The fastest code for each suite.
    Fast,
    /// The plain one, to compare with.
    Reference,
}

/// The packet process of the adit IPsec gateway.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where control listens for data planes.
    #[arg(long, default_value = "/run/adit/dataplane.sock")]
    socket: PathBuf,
    /// Whose ciphers to use.
    #[arg(long, value_enum, default_value = "fast")]
    crypto: ProviderName,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A worker that panics must not leave the others forwarding half: the process ends, its sockets vanish,
    // and the steering program drops until a new data plane is there.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        hook(panic);
        std::process::abort();
    }));
    // SA keys live in this process: no core dumps, no debugger of another user.
    if let Err(e) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        eprintln!("cannot forbid core dumps: {e}");
    }
    // The UMEM and the regions are locked memory.
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    if let Err(e) = setrlimit(Resource::Memlock, unlimited) {
        eprintln!("cannot raise the limit of locked memory: {e}");
    }
    let provider = match arguments.crypto {
        ProviderName::Fast => Provider::Fast,
        ProviderName::Reference => Provider::Reference,
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        if let Err(e) = signal_hook::flag::register(signal, stop.clone()) {
            eprintln!("cannot watch for signal {signal}: {e}");
        }
    }
    match Steward::new(arguments.socket, provider, stop).run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}
