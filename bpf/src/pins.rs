//! Where the program, its maps and its links are pinned.
//!
//! A pin is a file of a BPF file system that keeps a kernel object alive without a process.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::statfs;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// `BPF_FS_MAGIC` of <linux/magic.h>.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// Whether `dir` lies on a BPF file system.
pub fn is_bpffs(dir: &Path) -> bool {
    // The width and sign of the field differ between machines.
    statfs(dir).is_ok_and(|stat| u64::from(stat.f_type as u32) == BPF_FS_MAGIC)
}

/// Makes `dir` if it is missing, and mounts a BPF file system there unless it lies on one already;
/// returns whether it mounted one.
///
/// `/sys/fs/bpf` will not do for a process in a network namespace with a fresh `/sys`: give such
/// processes a directory of your own, mounted before they start.
///
/// # Errors
/// What making the directory or mounting says; root is needed.
pub fn mount_bpffs(dir: &Path) -> io::Result<bool> {
    fs::create_dir_all(dir)?;
    if is_bpffs(dir) {
        return Ok(false);
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("bpf", dir, "bpf", flags, c"mode=0700")?;
    Ok(true)
}

/// Unmounts what [`mount_bpffs`] mounted; every pin in it is gone with it.
///
/// # Errors
/// What unmounting says.
pub fn unmount_bpffs(dir: &Path) -> io::Result<()> {
    Ok(unmount(dir, UnmountFlags::empty())?)
}

/// The paths of the pins in one directory.
#[derive(Clone, Debug)]
pub(crate) struct Pins {
    dir: PathBuf,
}

const LINK_PREFIX: &str = "link-";

impl Pins {
    pub fn new(dir: &Path) -> Pins {
        Pins {
            dir: dir.to_owned(),
        }
    }

    pub fn create(dir: &Path) -> io::Result<Pins> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        Ok(Pins::new(dir))
    }

    pub fn program(&self) -> PathBuf {
        self.dir.join("program")
    }

    /// Where a new program waits until every link uses it.
    pub fn next_program(&self) -> PathBuf {
        self.dir.join("program-next")
    }

    pub fn map(&self, name: &str) -> PathBuf {
        self.dir.join(format!("map-{name}"))
    }

    pub fn link(&self, ifindex: u32) -> PathBuf {
        self.dir.join(format!("{LINK_PREFIX}{ifindex}"))
    }

    /// The interfaces that have a pinned link.
    pub fn linked(&self) -> io::Result<Vec<u32>> {
        let mut linked = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            let ifindex: Option<u32> = name
                .to_str()
                .and_then(|name| name.strip_prefix(LINK_PREFIX))
                .and_then(|ifindex| ifindex.parse().ok());
            linked.extend(ifindex);
        }
        linked.sort_unstable();
        Ok(linked)
    }

    /// Removes every pin, links first, and the directory if it is not a mount point.
    pub fn remove_all(&self) -> io::Result<()> {
        let linked = match self.linked() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            linked => linked?,
        };
        for ifindex in linked {
            remove(&self.link(ifindex))?;
        }
        remove(&self.program())?;
        remove(&self.next_program())?;
        for (name, ..) in crate::MAPS {
            remove(&self.map(name))?;
        }
        // A mount point, or a directory with other people's pins, stays.
        let _ = fs::remove_dir(&self.dir);
        Ok(())
    }
}

/// Removes a pin; one that is not there is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
