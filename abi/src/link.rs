//! One end of the socket between control and the data plane: datagrams with descriptors beside them.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    accept_with, bind, connect, listen, recvmsg, sendmsg, socket_with,
};

use crate::message::{MAX_FDS, MAX_MESSAGE};

fn seqpacket(flags: SocketFlags) -> io::Result<OwnedFd> {
    let flags = flags | SocketFlags::CLOEXEC;
    Ok(socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

/// A connected `SOCK_SEQPACKET` Unix socket; non-blocking.
#[derive(Debug)]
pub struct Link {
    fd: OwnedFd,
}

/// What [`Link::receive`] found.
#[derive(Debug)]
pub enum Received {
    /// A message and the descriptors that came with it.
    Message(Vec<u8>, Vec<OwnedFd>),
    /// Nothing is there now.
    Nothing,
    /// The other side is gone.
    Closed,
}

impl Link {
    /// Connects to the listener at `path`.
    ///
    /// # Errors
    /// When nobody listens there, or the path is too long for a socket address.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let fd = seqpacket(SocketFlags::NONBLOCK)?;
        connect(&fd, &SocketAddrUnix::new(path)?)?;
        Ok(Self { fd })
    }

    /// Takes over a connected socket, which must be non-blocking.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Two connected ends, for tests of either side.
    ///
    /// # Errors
    /// When the kernel has no descriptors left.
    pub fn pair() -> io::Result<(Self, Self)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (a, b) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self { fd: a }, Self { fd: b }))
    }

    /// Sends one message, at most [`MAX_FDS`] descriptors beside it.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when the other side does not read; anything else means that it is gone.
    pub fn send(&self, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        sendmsg(
            &self.fd,
            &[IoSlice::new(message)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        )?;
        Ok(())
    }

    /// Takes the next message if there is one.
    ///
    /// # Errors
    /// When the socket fails, or a message is longer than [`MAX_MESSAGE`] or brings too many descriptors.
    pub fn receive(&self) -> io::Result<Received> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut buffer = vec![0; MAX_MESSAGE];
        let got = loop {
            let mut parts = [IoSliceMut::new(&mut buffer)];
            match recvmsg(
                &self.fd,
                &mut parts,
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            ) {
                Ok(got) => break got,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Received::Nothing),
                Err(Errno::CONNRESET) => return Ok(Received::Closed),
                Err(e) => return Err(e.into()),
            }
        };
        let mut fds = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                fds.extend(received);
            }
        }
        if got
            .flags
            .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the message is too long",
            ));
        }
        if got.bytes == 0 {
            return Ok(Received::Closed);
        }
        buffer.truncate(got.bytes);
        Ok(Received::Message(buffer, fds))
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Control's end: where data planes connect. Non-blocking.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
}

impl Listener {
    /// Listens at `path`, taking the place of a socket that an earlier process left there.
    ///
    /// The file's mode is 0600 from its first moment, so only this user's processes can connect.
    ///
    /// # Errors
    /// When the directory does not allow it, or the path is too long for a socket address.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let fd = seqpacket(SocketFlags::NONBLOCK)?;
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
        let bound = bind(&fd, &SocketAddrUnix::new(path)?);
        rustix::process::umask(mask);
        bound?;
        listen(&fd, 4)?;
        Ok(Self { fd })
    }

    /// The next data plane that connected, if there is one.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn accept(&self) -> io::Result<Option<Link>> {
        match accept_with(&self.fd, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(fd) => Ok(Some(Link { fd })),
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_bounds_and_bring_their_descriptors() {
        let (a, b) = Link::pair().unwrap();
        assert!(matches!(b.receive().unwrap(), Received::Nothing));
        let file = std::fs::File::open("/dev/null").unwrap();
        a.send(b"one", &[]).unwrap();
        a.send(b"two", &[file.as_fd(), file.as_fd()]).unwrap();
        let Received::Message(bytes, fds) = b.receive().unwrap() else {
            panic!()
        };
        assert_eq!((bytes.as_slice(), fds.len()), (&b"one"[..], 0));
        let Received::Message(bytes, fds) = b.receive().unwrap() else {
            panic!()
        };
        assert_eq!((bytes.as_slice(), fds.len()), (&b"two"[..], 2));
        drop(a);
        assert!(matches!(b.receive().unwrap(), Received::Closed));
    }

    #[test]
    fn an_overlong_message_is_an_error_not_a_short_message() {
        let (a, b) = Link::pair().unwrap();
        a.send(&vec![1; MAX_MESSAGE + 1], &[]).unwrap();
        assert!(b.receive().is_err());
    }

    #[test]
    fn a_listener_takes_the_place_of_a_dead_one() {
        let dir = std::env::temp_dir().join(format!("adit-link-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("s");
        for _ in 0..2 {
            let listener = Listener::bind(&path).unwrap();
            let client = Link::connect(&path).unwrap();
            let server = listener.accept().unwrap().expect("a client waits");
            client.send(b"x", &[]).unwrap();
            assert!(matches!(server.receive().unwrap(), Received::Message(m, _) if m == b"x"));
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
