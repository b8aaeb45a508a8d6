//! A netlink socket: whole datagrams from the kernel, cut into messages.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recvfrom, sendto,
    socket_with,
};

/// Bytes of a message's header.
pub(super) const HEADER: usize = 16;
/// The kernel builds messages of up to 32 KiB.
pub(super) const DATAGRAM: usize = 64 * 1024;

/// Opens a non-blocking socket of a protocol, NETLINK_ROUTE if it is [`None`], that hears of these groups.
pub(super) fn open(protocol: Option<Protocol>, groups: u32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
    bind(&fd, &SocketAddrNetlink::new(0, groups))?;
    Ok(fd)
}

/// Sends to the kernel.
pub(super) fn send(fd: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(fd, bytes, SendFlags::empty(), &kernel)?;
    Ok(())
}

/// What waits, [`None`] if nothing does. `ENOBUFS` says that something was lost.
pub(super) fn take<'b>(fd: &OwnedFd, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
    loop {
        match recvfrom(fd, &mut buffer[..], RecvFlags::empty()) {
            Ok((n, _, from)) => {
                let from = from.and_then(|a| SocketAddrNetlink::try_from(a).ok());
                // Other processes can send to this socket, too.
                if from.is_some_and(|a| a.pid() == 0) {
                    return Ok(Some(&buffer[..n.min(buffer.len())]));
                }
            }
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Waits until something is there.
pub(super) fn wait(fd: &OwnedFd, deadline: Instant) -> io::Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let timeout = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
}

/// The messages of a datagram, each with its header; ends where a length makes no sense.
pub(super) fn split(mut datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = datagram.first_chunk().map(|b| u32::from_ne_bytes(*b))? as usize;
        let one = datagram.get(..length).filter(|m| m.len() >= HEADER)?;
        datagram = datagram
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
        Some(one)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_cut_at_its_lengths_and_garbage_ends_it() {
        let message = |length: u32, bytes: usize| {
            let mut m = length.to_ne_bytes().to_vec();
            m.resize(bytes, 7);
            m
        };
        let two = [message(17, 20), message(16, 16)].concat();
        assert_eq!(split(&two).map(<[u8]>::len).collect::<Vec<_>>(), [17, 16]);
        for bad in [0, 15, 21, u32::MAX] {
            assert_eq!(split(&message(bad, 20)).count(), 0, "{bad}");
        }
        assert_eq!(split(&[1, 2]).count(), 0);
    }
}
