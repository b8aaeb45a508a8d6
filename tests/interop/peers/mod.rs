//! The peers, what they are told, and where they are kept between runs.

pub mod freeradius;
pub mod guest;
pub mod sa;
pub mod scapy;
pub mod tshark;

use std::env;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Why a peer cannot be had on this machine: the test is skipped, not failed.
#[derive(Debug)]
pub struct Unavailable(String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The source of the peers: scripts and lists.
fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers")
}

/// A folder under `target/peers`, made if missing, where a peer is built once and kept.
fn kept(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("cargo's folder for tests lies in its target folder");
    let folder = target.join("peers").join(name);
    fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    folder
}

/// Waits for the lock file of this name in `folder`: other tests and other test runs wait as well.
fn lock(folder: &Path, name: &str) -> File {
    let path = folder.join(name);
    let file = File::create(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    file.lock()
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    file
}

/// Checks that every tool is on the path.
fn require_tools(tools: &[&str]) -> Result<(), Unavailable> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = |tool: &&str| env::split_paths(&path).any(|folder| folder.join(tool).is_file());
    match tools.iter().find(|tool| !found(tool)) {
        Some(tool) => Err(Unavailable(format!("{tool} is not installed"))),
        None => Ok(()),
    }
}
