//! Who may use the control socket: the socket file's mode and group, and the peer's credentials.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use thiserror::Error;

use super::commands::Peer;

/// Connections that the kernel may hold before they are accepted.
const BACKLOG: i32 = 64;

/// Who may open the socket file, and whose commands are then listened to.
///
/// Root and the user that runs this process always may; a group may in addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Mode of the socket file.
    pub mode: u32,
    /// Group of the socket file, whose members are let in.
    pub group: Option<u32>,
}

/// Mode 0600, no group.
impl Default for Access {
    fn default() -> Self {
        Access {
            mode: 0o600,
            group: None,
        }
    }
}

/// Why the control socket could not be set up.
#[derive(Debug, Error)]
pub enum BindError {
    /// Somebody answers at this path.
    #[error("control socket {0}: another process serves it")]
    InUse(PathBuf),
    /// Something else than a socket is at this path; it is left alone.
    #[error("control socket {0}: a file that is no socket is in the way")]
    NotASocket(PathBuf),
    /// A step failed.
    #[error("control socket {path}: {step}: {source}")]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// What was being done.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Makes the listening, non-blocking socket; a socket left behind by a dead process is replaced.
///
/// The file gets its final mode and group before anybody can connect.
pub(super) fn listen(path: &Path, access: Access) -> Result<UnixListener, BindError> {
    let failed = |step, source: io::Error| BindError::Io {
        path: path.to_owned(),
        step,
        source,
    };
    remove_stale(path)?;
    let address = SocketAddrUnix::new(path).map_err(|error| failed("address", error.into()))?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(|error| failed("create", error.into()))?;
    // The mode of an unbound socket is the mode that bind gives the file.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)
        .map_err(|error| failed("mode before bind", error.into()))?;
    rustix::net::bind(&socket, &address).map_err(|error| failed("bind", error.into()))?;
    if let Some(group) = access.group {
        chown(path, None, Some(group)).map_err(|error| failed("group", error))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(access.mode))
        .map_err(|error| failed("mode", error))?;
    rustix::net::listen(&socket, BACKLOG).map_err(|error| failed("listen", error.into()))?;
    Ok(UnixListener::from(socket))
}

fn remove_stale(path: &Path) -> Result<(), BindError> {
    let failed = |step, source: io::Error| BindError::Io {
        path: path.to_owned(),
        step,
        source,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look for an old one", error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| failed("remove the old one", error))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("try the old one", error)),
        Ok(_) => Err(BindError::InUse(path.to_owned())),
    }
}

/// The socket file as it was made, to remove it and no other.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    pub(super) fn new(path: &Path) -> Self {
        SocketFile {
            path: path.to_owned(),
            identity: identity(path),
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path)
        .ok()
        .map(|file| (file.dev(), file.ino()))
}

/// Asks the kernel who connected.
pub(super) fn peer_of(stream: &mio::net::UnixStream) -> io::Result<Peer> {
    let credentials = rustix::net::sockopt::socket_peercred(stream)?;
    Ok(Peer {
        pid: credentials.pid.as_raw_nonzero().get(),
        uid: credentials.uid.as_raw(),
        gid: credentials.gid.as_raw(),
    })
}

impl Access {
    /// Whether this peer's commands are listened to: a second lock behind the file's mode, which
    /// a careless `chmod` or a descriptor handed on would otherwise open.
    pub(super) fn admits(self, peer: Peer) -> bool {
        peer.uid == 0
            || peer.uid == rustix::process::geteuid().as_raw()
            || self
                .group
                .is_some_and(|group| peer.gid == group || in_group(peer.pid, group))
    }
}

/// Whether the process has this supplementary group; the socket's credentials show the primary one only.
fn in_group(pid: i32, group: u32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
        return false;
    };
    status
        .lines()
        .find_map(|line| line.strip_prefix("Groups:"))
        .is_some_and(|groups| groups.split_whitespace().any(|id| id.parse() == Ok(group)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(uid: u32, gid: u32) -> Peer {
        // A process number that cannot exist, so that only uid and gid speak.
        Peer {
            pid: i32::MAX,
            uid,
            gid,
        }
    }

    #[test]
    fn root_and_the_own_user_are_admitted_and_others_by_group_only() {
        let own = rustix::process::geteuid().as_raw();
        let stranger = own + 4711;
        let closed = Access::default();
        assert!(closed.admits(peer(0, 0)) && closed.admits(peer(own, 9)));
        assert!(!closed.admits(peer(stranger, 9)));
        let open = Access {
            mode: 0o660,
            group: Some(9),
        };
        assert!(open.admits(peer(stranger, 9)));
        assert!(!open.admits(peer(stranger, 8)));
    }

    #[test]
    fn supplementary_groups_are_read_from_the_process() {
        let groups = fs::read_to_string("/proc/self/status").unwrap();
        let line = groups
            .lines()
            .find_map(|line| line.strip_prefix("Groups:"))
            .unwrap();
        let own = std::process::id() as i32;
        for id in line.split_whitespace() {
            assert!(in_group(own, id.parse().unwrap()));
        }
        assert!(!in_group(own, 4_000_000_001));
    }
}
