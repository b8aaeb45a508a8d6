//! Taking a lab down, from its name alone: by its owner at the end, by the signal handler on Ctrl-C, or by `adit lab clean` after `kill -9`.
//!
//! Everything a lab makes can be found from its id: the directory `/run/adit-lab-<id>` (made first, removed last, with the owner's process
//! id in `owner`), the namespaces `adit-<id>-…`, every process inside them, and the mounts below the directory.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::LabError;
use super::namespace::NETNS_DIR;
use super::process;
use super::wait::{self, Look};

/// Where the labs' directories are.
const RUN_DIR: &str = "/run";
/// What the name of a lab's directory starts with.
const DIR_PREFIX: &str = "adit-lab-";
/// The file in a lab's directory that says whose it is.
const OWNER_FILE: &str = "owner";
/// How long killed processes have to be gone.
const END_LIMIT: Duration = Duration::from_secs(5);

/// The ids of the labs that this process owns. Held while anything is built or started; the signal handler takes it for good.
static OWNED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Held while something of a lab comes into being. Blocks for ever once a signal is taking the labs down: the process is about to exit.
pub(crate) fn building() -> MutexGuard<'static, BTreeSet<String>> {
    OWNED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The directory of the lab `id`.
pub(crate) fn directory(id: &str) -> PathBuf {
    Path::new(RUN_DIR).join(format!("{DIR_PREFIX}{id}"))
}

/// The name of a namespace of the lab `id`.
pub(crate) fn namespace_name(id: &str, role: &str) -> String {
    format!("adit-{id}-{role}")
}

/// Makes the directory of the lab `id`, owned by this process, and answers for the lab from now on.
pub(crate) fn claim(id: &str) -> Result<PathBuf, LabError> {
    catch_signals();
    let mut owned = building();
    let dir = directory(id);
    std::fs::create_dir(&dir).map_err(|e| LabError::io(format!("make {}", dir.display()), e))?;
    owned.insert(id.to_owned());
    let me = std::process::id();
    let owner = format!("{me} {}\n", start_time(me).unwrap_or_default());
    std::fs::write(dir.join(OWNER_FILE), owner)
        .map_err(|e| LabError::io(format!("write {}", dir.join(OWNER_FILE).display()), e))?;
    Ok(dir)
}

/// Leaves the lab `id` to itself: nothing but its explicit removal takes it down any more.
pub(crate) fn keep(id: &str) -> Result<(), LabError> {
    let mut owned = building();
    let owner = directory(id).join(OWNER_FILE);
    std::fs::write(&owner, "kept\n")
        .map_err(|e| LabError::io(format!("write {}", owner.display()), e))?;
    owned.remove(id);
    Ok(())
}

/// Takes down a lab of this process.
pub(crate) fn release(id: &str) -> Result<(), LabError> {
    let mut owned = building();
    let result = remove(id);
    owned.remove(id);
    result
}

/// Whose a lab is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A running process, with its id.
    Running(u32),
    /// A process that is gone: the lab is a leftover.
    Gone,
    /// Left up on purpose by `--keep`.
    Kept,
}

/// Every lab on this machine.
///
/// # Errors
/// [`LabError::Io`] if `/run` cannot be read.
pub fn all() -> Result<Vec<(String, Owner)>, LabError> {
    let mut labs: Vec<(String, Owner)> = entries(Path::new(RUN_DIR))?
        .into_iter()
        .filter_map(|name| name.strip_prefix(DIR_PREFIX).map(str::to_owned))
        .map(|id| {
            let owner = owner(&id);
            (id, owner)
        })
        .collect();
    labs.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(labs)
}

/// Removes the labs whose owner is gone and gives their ids.
///
/// # Errors
/// As [`remove`].
pub fn clean() -> Result<Vec<String>, LabError> {
    let mut removed = Vec::new();
    for (id, owner) in all()? {
        if owner == Owner::Gone {
            remove(&id)?;
            removed.push(id);
        }
    }
    Ok(removed)
}

/// Takes the lab `id` down, whatever is left of it: processes, pinned objects, mounts, namespaces, directory.
///
/// # Errors
/// [`LabError`] for what could not be removed.
pub fn remove(id: &str) -> Result<(), LabError> {
    let prefix = namespace_name(id, "");
    let namespaces: Vec<String> = entries(Path::new(NETNS_DIR))
        .unwrap_or_default()
        .into_iter()
        .filter(|name| name.starts_with(&prefix))
        .collect();
    end_processes(&namespaces)?;

    let dir = directory(id);
    for mount in mounts_below(&dir)? {
        // A pin that is only unmounted lives on in any other mount namespace that has a copy of the mount; an unlinked one does not.
        empty(&mount);
        unmount(&mount, UnmountFlags::DETACH)
            .map_err(|e| LabError::io(format!("unmount {}", mount.display()), e))?;
    }
    for name in &namespaces {
        // Not through `process::run`: this also runs where the building lock is already held.
        let deleted = Command::new("ip")
            .args(["netns", "delete", name])
            .output()
            .map_err(|e| LabError::io(format!("start ip netns delete {name}"), e))?;
        if !deleted.status.success() && Path::new(NETNS_DIR).join(name).exists() {
            return Err(LabError::Command {
                command: format!("ip netns delete {name}"),
                outcome: process::outcome(deleted.status),
                output: String::from_utf8_lossy(&deleted.stderr).into_owned(),
            });
        }
    }
    match std::fs::remove_dir_all(&dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(LabError::io(format!("remove {}", dir.display()), e))
        }
        _ => Ok(()),
    }
}

/// Has the labs of this process taken down on Ctrl-C, on SIGTERM and when the terminal goes away.
fn catch_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP]) else {
            return;
        };
        drop(
            std::thread::Builder::new()
                .name("lab-signals".into())
                .spawn(move || {
                    if let Some(signal) = signals.forever().next() {
                        take_down_and_exit(signal);
                    }
                }),
        );
    });
}

/// The end of this process: every lab it owns is removed, while everything else that wants to build waits for ever.
fn take_down_and_exit(signal: i32) -> ! {
    let owned = building();
    if !owned.is_empty() {
        eprintln!("\nsignal {signal}: taking the lab down");
    }
    end_children();
    for id in owned.iter() {
        if let Err(error) = remove(id) {
            eprintln!("adit lab: {error}; `adit lab clean` tries again");
        }
    }
    std::process::exit(128 + signal);
}

/// Kills every child of this process: one that was just started may not have reached its namespace yet.
fn end_children() {
    let me = std::process::id();
    for pid in running() {
        if stat_field(pid, 4).and_then(|ppid| ppid.parse().ok()) == Some(me) {
            kill(pid);
        }
    }
}

/// Kills everything in `namespaces` and waits until nothing is there.
fn end_processes(namespaces: &[String]) -> Result<(), LabError> {
    let doors: Vec<(u64, u64)> = namespaces
        .iter()
        .filter_map(|name| identity(&Path::new(NETNS_DIR).join(name)))
        .collect();
    if doors.is_empty() {
        return Ok(());
    }
    let me = std::process::id();
    wait::until("the lab's processes to end", END_LIMIT, || {
        let mut left = Vec::new();
        for pid in running() {
            let inside = identity(Path::new(&format!("/proc/{pid}/ns/net")))
                .is_some_and(|namespace| doors.contains(&namespace));
            // A zombie has no namespace to look at, so it does not count.
            if inside && pid != me {
                kill(pid);
                left.push(pid.to_string());
            }
        }
        Ok(if left.is_empty() {
            Look::Ready(())
        } else {
            Look::NotYet(format!("still there: {}", left.join(", ")))
        })
    })
}

fn kill(pid: u32) {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// The ids of all processes.
fn running() -> impl Iterator<Item = u32> {
    entries(Path::new("/proc"))
        .unwrap_or_default()
        .into_iter()
        .filter_map(|name| name.parse().ok())
}

fn owner(id: &str) -> Owner {
    let text = std::fs::read_to_string(directory(id).join(OWNER_FILE)).unwrap_or_default();
    if text.trim() == "kept" {
        return Owner::Kept;
    }
    let mut words = text.split_whitespace();
    match (words.next().and_then(|pid| pid.parse().ok()), words.next()) {
        // The start time tells the owner from a later process with the same id.
        (Some(pid), Some(started)) if start_time(pid).as_deref() == Some(started) => {
            Owner::Running(pid)
        }
        _ => Owner::Gone,
    }
}

/// When the process started, in clock ticks since boot, as `/proc` spells it.
fn start_time(pid: u32) -> Option<String> {
    stat_field(pid, 22)
}

/// Field `number` of `/proc/PID/stat`, counted from 1 as in proc(5); only those after the command name.
fn stat_field(pid: u32, number: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name may hold blanks and parentheses; field 3 follows its last parenthesis.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace()
        .nth(number.checked_sub(3)?)
        .map(str::to_owned)
}

/// Device and inode: two paths to one namespace have the same.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Mount points below `dir`, innermost first.
fn mounts_below(dir: &Path) -> Result<Vec<PathBuf>, LabError> {
    let table = std::fs::read_to_string("/proc/self/mounts")
        .map_err(|e| LabError::io("read /proc/self/mounts", e))?;
    let mut mounts: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(PathBuf::from)
        .filter(|mount| mount.starts_with(dir))
        .collect();
    mounts.reverse();
    Ok(mounts)
}

/// Unlinks what is pinned in a bpffs; what cannot be unlinked goes with the mount.
fn empty(mount: &Path) {
    for entry in std::fs::read_dir(mount).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            empty(&path);
            drop(std::fs::remove_dir(&path));
        } else {
            drop(std::fs::remove_file(&path));
        }
    }
}

fn entries(dir: &Path) -> Result<Vec<String>, LabError> {
    let reading = |e| LabError::io(format!("read {}", dir.display()), e);
    std::fs::read_dir(dir)
        .map_err(reading)?
        .filter_map(|entry| match entry {
            Ok(entry) => entry.file_name().to_str().map(|name| Ok(name.to_owned())),
            Err(e) => Some(Err(reading(e))),
        })
        .collect()
}

/// Whether `name` is that of a lab's namespace or directory with the id `id`, for checks that nothing is left.
pub fn belongs_to(id: &str, name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name == format!("{DIR_PREFIX}{id}") || name.starts_with(&namespace_name(id, ""))
}
