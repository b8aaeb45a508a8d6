//! One network namespace of a lab: how programs and threads get into it.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::LabError;
use super::process;

/// Where iproute2 keeps named network namespaces.
pub(crate) const NETNS_DIR: &str = "/run/netns";

/// A named network namespace. Dropping the value leaves the namespace alone: its [`Topology`](super::Topology) removes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes the namespace and brings its loopback up.
    pub(crate) fn create(name: String) -> Result<Self, LabError> {
        process::run(Command::new("ip").args(["netns", "add", &name]))?;
        let namespace = Namespace { name };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// The name as `ip netns` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that `setns(2)` and `nsenter --net=` take.
    pub fn path(&self) -> PathBuf {
        Path::new(NETNS_DIR).join(&self.name)
    }

    /// `program`, to be started inside. Unlike under `ip netns exec`, it keeps the caller's mounts, and with them the lab's bpffs;
    /// so its `/sys` shows the caller's interfaces, while netlink and `/proc/sys/net` show this namespace's.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path().display()))
            .arg("--")
            .arg(program);
        command
    }

    /// Runs iproute2 commands inside, one a line, and stops at the first that fails.
    ///
    /// # Errors
    /// [`LabError::Command`] with what `ip` wrote.
    pub fn ip(&self, batch: &str) -> Result<(), LabError> {
        process::run_with_input(
            Command::new("ip").args(["-n", &self.name, "-batch", "-"]),
            batch,
        )?;
        Ok(())
    }

    /// Runs `work` on a thread of its own inside the namespace and returns what it returned: sockets that it opens belong here, and
    /// `/proc/sys/net` is this namespace's.
    ///
    /// # Errors
    /// [`LabError::Io`] if the namespace cannot be entered. A panic in `work` goes on in the caller.
    pub fn enter<T, F>(&self, work: F) -> Result<T, LabError>
    where
        T: Send,
        F: FnOnce() -> T + Send,
    {
        let door = self.open()?;
        std::thread::scope(|scope| {
            scope
                .spawn(|| -> Result<T, LabError> {
                    self.step_in(&door)?;
                    Ok(work())
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts `work` on a thread that lives inside the namespace until `work` returns.
    ///
    /// # Errors
    /// [`LabError::Io`] if no thread can be had; joining gives the same error if the namespace could not be entered.
    pub fn spawn<T, F>(
        &self,
        thread_name: &str,
        work: F,
    ) -> Result<JoinHandle<Result<T, LabError>>, LabError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let door = self.open()?;
        let namespace = self.clone();
        std::thread::Builder::new()
            .name(thread_name.to_owned())
            .spawn(move || {
                // Outside its namespace the work would touch the machine's own network.
                namespace.step_in(&door)?;
                Ok(work())
            })
            .map_err(|e| LabError::io(format!("start thread {thread_name}"), e))
    }

    /// Writes sysctl settings, `net/ipv4/ip_forward` style.
    ///
    /// # Errors
    /// [`LabError::Io`] naming the setting.
    pub fn sysctl(&self, settings: &[(&str, &str)]) -> Result<(), LabError> {
        self.enter(|| {
            for (key, value) in settings {
                let path = Path::new("/proc/sys").join(key);
                std::fs::write(&path, value)
                    .map_err(|e| LabError::io(format!("write {value} to {}", path.display()), e))?;
            }
            Ok(())
        })?
    }

    fn open(&self) -> Result<File, LabError> {
        File::open(self.path())
            .map_err(|e| LabError::io(format!("open {}", self.path().display()), e))
    }

    /// Moves the calling thread, and no other, into the namespace.
    fn step_in(&self, door: &File) -> Result<(), LabError> {
        move_into_link_name_space(door.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|e| LabError::io(format!("enter namespace {}", self.name), e))
    }
}
