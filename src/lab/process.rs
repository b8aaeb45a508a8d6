//! Programs that a lab runs: short ones to their end, daemons with a log.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::LabError;
use super::leftovers;
use super::wait::{self, Look};

/// How long a daemon has to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// What a finished program left.
#[derive(Debug, Clone)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs `command` to its end.
///
/// # Errors
/// [`LabError::Io`] if it cannot be started, [`LabError::Command`] if it fails.
pub fn run(command: &mut Command) -> Result<Finished, LabError> {
    run_with_input(command, "")
}

/// Runs `command` to its end with `input` on its standard input.
///
/// # Errors
/// As [`run`].
pub fn run_with_input(command: &mut Command, input: &str) -> Result<Finished, LabError> {
    let finished = finish(command, input)?;
    if finished.status.success() {
        return Ok(finished);
    }
    Err(LabError::Command {
        command: shown(command),
        outcome: outcome(finished.status),
        output: finished.stderr,
    })
}

/// Runs `command` to its end, whatever its exit status.
///
/// # Errors
/// [`LabError::Io`] if it cannot be started.
pub fn finish(command: &mut Command, input: &str) -> Result<Finished, LabError> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = start(command)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends without reading its input says why on its standard error.
        drop(stdin.write_all(input.as_bytes()));
    }
    let output = child
        .wait_with_output()
        .map_err(|e| LabError::io(format!("wait for {}", shown(command)), e))?;
    Ok(Finished {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Starts `command` in a process group of its own, so that Ctrl-C reaches only the lab's owner, who then ends it in order.
fn start(command: &mut Command) -> Result<Child, LabError> {
    // While this is held no signal handler is taking the labs down, so nothing is started that it would miss.
    let _building = leftovers::building();
    command
        .process_group(0)
        .spawn()
        .map_err(|e| LabError::io(format!("start {}", shown(command)), e))
}

/// A running program with its standard output and error in a log file. Dropping the value kills it.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Daemon {
    /// Starts `command`; the log at `log` grows over restarts.
    ///
    /// # Errors
    /// [`LabError::Io`] if the log cannot be opened or the program cannot be started.
    pub fn start(
        name: impl Into<String>,
        log: &Path,
        command: &mut Command,
    ) -> Result<Self, LabError> {
        let opening = |e| LabError::io(format!("open {}", log.display()), e);
        let stdout = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(opening)?;
        let stderr = stdout.try_clone().map_err(opening)?;
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        Ok(Daemon {
            name: name.into(),
            log: log.to_owned(),
            child: start(command)?,
        })
    }

    /// Its process id. `nsenter` gives its own to the program, so this is the program's.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The name given at start, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The whole log so far.
    pub fn log_text(&self) -> String {
        std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Fails if the program has ended.
    ///
    /// # Errors
    /// [`LabError::Died`] with the end of its log.
    pub fn check_alive(&mut self) -> Result<(), LabError> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => Err(LabError::Died {
                name: self.name.clone(),
                outcome: outcome(status),
                log: self.log.clone(),
                tail: tail(&self.log_text(), 12),
            }),
        }
    }

    /// How the program ended, or nothing while it runs.
    ///
    /// # Errors
    /// [`LabError::Io`] if it cannot be looked after.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, LabError> {
        self.child
            .try_wait()
            .map_err(|e| LabError::io(format!("look after {}", self.name), e))
    }

    /// Sends `signal` if it still runs.
    pub fn signal(&mut self, signal: Signal) {
        // An ended child that nobody has waited for keeps its id, so this cannot hit a stranger.
        if let (Ok(None), Some(pid)) = (
            self.child.try_wait(),
            Pid::from_raw(self.child.id().cast_signed()),
        ) {
            let _ = kill_process(pid, signal);
        }
    }

    /// `kill -9`: returns once the kernel has taken it away.
    pub fn kill(mut self) {
        self.end_now();
    }

    /// Asks it to end, and kills it if it does not within a few seconds. Gives its exit status and whether it had to be killed.
    ///
    /// # Errors
    /// [`LabError::Io`] if it cannot be waited for.
    pub fn stop(self) -> Result<(ExitStatus, bool), LabError> {
        self.stop_by(Signal::TERM)
    }

    /// [`Daemon::stop`] with another signal.
    ///
    /// # Errors
    /// As [`Daemon::stop`].
    pub fn stop_by(mut self, signal: Signal) -> Result<(ExitStatus, bool), LabError> {
        self.signal(signal);
        let waiting = |e| LabError::io("wait for a daemon", e);
        let ended = wait::until(&format!("{} to end", self.name), GRACE, || {
            Ok(match self.child.try_wait().map_err(waiting)? {
                Some(status) => Look::Ready(status),
                None => Look::NotYet(String::new()),
            })
        });
        match ended {
            Ok(status) => Ok((status, false)),
            Err(LabError::Timeout { .. }) => {
                drop(self.child.kill());
                Ok((self.child.wait().map_err(waiting)?, true))
            }
            Err(other) => Err(other),
        }
    }

    /// Lets the program outlive this value and its owner.
    pub(crate) fn release(self) {
        // Forgetting skips the kill in `drop`; a child has no other resource than its id.
        std::mem::forget(self);
    }

    fn end_now(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end_now();
    }
}

/// `command` as a person would type it, without the way into the namespace.
pub(crate) fn shown(command: &Command) -> String {
    let mut words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    if words.first().is_some_and(|word| word == "nsenter") && words.len() > 3 {
        let namespace = words[1].rsplit('/').next().unwrap_or_default().to_owned();
        words.drain(..3);
        words.insert(0, format!("[{namespace}]"));
    }
    words.join(" ")
}

/// An exit status in words.
pub(crate) fn outcome(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// The last `lines` lines of `text`.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Fails unless `program` is in `PATH` or in the sbin directories.
pub(crate) fn require(program: &'static str, package: &'static str) -> Result<(), LabError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|directory: PathBuf| directory.join(program).is_file());
    if found {
        Ok(())
    } else {
        Err(LabError::MissingProgram { program, package })
    }
}
