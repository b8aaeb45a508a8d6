//! A second process: this test binary again, told by its environment to play a part.

use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Names the part that a child plays.
pub const PART: &str = "ADIT_SHM_PART";

/// A child that is killed when the test is over.
pub struct Part(Child);

impl Part {
    /// Starts this binary again, running just the (ignored) test `path` as the part.
    pub fn start(path: &str) -> Self {
        let binary = std::env::current_exe().expect("this binary has a path");
        let child = Command::new(binary)
            .args(["--ignored", "--exact", "--nocapture", path])
            .env(PART, path)
            .stdout(Stdio::null())
            .spawn()
            .expect("this binary runs");
        Self(child)
    }

    /// Whether this process is a child that plays a part, and not somebody running all ignored tests.
    pub fn is_this() -> bool {
        std::env::var_os(PART).is_some()
    }

    /// Opens the child's memfd of this name, waiting until it is there.
    pub fn memfd(&self, name: &str) -> OwnedFd {
        memfd(self.0.id(), name)
    }

    /// Kills the child as `kill -9` does, and waits for its end.
    pub fn kill(&mut self) {
        self.0.kill().expect("the child runs");
        self.0.wait().expect("the child ends");
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Opens the memfd of this name of a process, waiting until it is there.
pub fn memfd(pid: u32, name: &str) -> OwnedFd {
    let wanted = format!("/memfd:{name}");
    let directory = format!("/proc/{pid}/fd");
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        let entries = std::fs::read_dir(&directory)
            .into_iter()
            .flatten()
            .flatten();
        for entry in entries {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            if target.to_string_lossy().starts_with(&wanted)
                && let Ok(file) = std::fs::OpenOptions::new()
                    .read(true)
                    .write(true)
                    .open(entry.path())
            {
                return file.into();
            }
        }
        std::thread::yield_now();
    }
    panic!("process {pid} has made no memfd `{name}` within 20 s");
}
