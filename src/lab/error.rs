//! What can go wrong in a lab, worded for the person who started it.

use std::path::PathBuf;
use std::time::Duration;

/// Why a lab could not be built, used or removed.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Namespaces, mounts and AF_XDP need root.
    #[error("the lab makes network namespaces and mounts: run it as root")]
    NotRoot,
    /// A program that the lab drives is not installed.
    #[error("{program} is not installed (Debian package {package}); ./lab.sh installs it")]
    MissingProgram {
        /// The program that was looked for in `PATH`.
        program: &'static str,
        /// The Debian package that holds it.
        package: &'static str,
    },
    /// One of adit's own daemons was not found beside the running executable.
    #[error("{name} is neither in {} nor named by ADIT_BIN_DIR; build it with `cargo build --workspace`", looked_in.display())]
    MissingDaemon {
        /// File name of the daemon.
        name: &'static str,
        /// The directory of the running executable.
        looked_in: PathBuf,
    },
    /// A command ended with an error.
    #[error("{command}: {outcome}{}", indent(.output))]
    Command {
        /// The command as a person would type it.
        command: String,
        /// Exit status, or the signal that ended it.
        outcome: String,
        /// What it wrote to standard error.
        output: String,
    },
    /// A daemon ended although nobody asked it to.
    #[error("{name} ended by itself ({outcome}); the end of {}:{}", log.display(), indent(.tail))]
    Died {
        /// Which daemon, with its gateway.
        name: String,
        /// Exit status, or the signal that ended it.
        outcome: String,
        /// Its log file.
        log: PathBuf,
        /// The last lines of that log.
        tail: String,
    },
    /// A condition did not come true in time.
    #[error("waited {} s for {what}{}", waited.as_secs(), indent(.tail))]
    Timeout {
        /// The condition.
        what: String,
        /// How long it was given.
        waited: Duration,
        /// What may explain it: the last error seen, or the end of a log.
        tail: String,
    },
    /// A file, a socket or a system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the path or address.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A program's output did not have the expected form.
    #[error("cannot read the output of {program}: {why}{}", indent(.output))]
    Output {
        /// The program.
        program: &'static str,
        /// What is missing or malformed.
        why: String,
        /// The output itself.
        output: String,
    },
    /// A gateway did not answer on its control socket, or refused.
    #[error("{gateway}: {source}")]
    Control {
        /// Which gateway.
        gateway: String,
        /// Its words, or the connection's trouble.
        source: adit_vici::ClientError,
    },
    /// The options contradict each other or name nothing known.
    #[error("{0}")]
    Usage(String),
}

impl LabError {
    /// An [`LabError::Io`] from what was being done and the system's answer.
    pub fn io(what: impl Into<String>, source: impl Into<std::io::Error>) -> Self {
        LabError::Io {
            what: what.into(),
            source: source.into(),
        }
    }
}

/// Sets `text` below the message, indented, or nothing where there is no text.
fn indent(text: &str) -> String {
    text.trim_end()
        .lines()
        .map(|line| format!("\n    {line}"))
        .collect()
}
