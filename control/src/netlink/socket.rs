//! NETLINK_ROUTE: one socket that listens for changes, one that asks.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use netlink_packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recvfrom, sendto,
    socket_with,
};

/// One message of the kernel's.
pub type Message = NetlinkMessage<RouteNetlinkMessage>;

// Multicast groups of <linux/rtnetlink.h>.
const LINK: u32 = 1;
const NEIGHBOUR: u32 = 4;
const V4_ADDRESS: u32 = 0x10;
const V4_ROUTE: u32 = 0x40;
const V6_ADDRESS: u32 = 0x100;
const V6_ROUTE: u32 = 0x400;

/// The kernel builds messages of up to 32 KiB.
const DATAGRAM: usize = 64 * 1024;
/// How much may wait before changes are lost.
const BACKLOG: usize = 4 << 20;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// `NLM_F_DUMP_INTR`: the table changed while it was read.
const INTERRUPTED: u16 = 0x10;

/// What a listener found.
#[derive(Debug)]
pub enum Heard {
    /// Messages.
    Messages(Vec<Message>),
    /// Nothing is there now.
    Nothing,
    /// Changes were lost: everything has to be read afresh.
    Overrun,
}

fn open(groups: u32, flags: SocketFlags) -> io::Result<OwnedFd> {
    let flags = flags | SocketFlags::CLOEXEC;
    // NETLINK_ROUTE is protocol 0.
    let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&fd, &SocketAddrNetlink::new(0, groups))?;
    Ok(fd)
}

fn is_from_kernel(from: Option<&rustix::net::SocketAddrAny>) -> bool {
    from.and_then(|a| SocketAddrNetlink::try_from(a.clone()).ok())
        .is_some_and(|a| a.pid() == 0)
}

/// Every message of a datagram; one that cannot be read is left out and counted.
fn parse(mut bytes: &[u8], unread: &mut u64) -> Vec<Message> {
    let mut out = Vec::new();
    while bytes.len() >= 16 {
        let length = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
        let Some(one) = bytes.get(..length).filter(|_| length >= 16) else {
            *unread += 1;
            break;
        };
        match Message::deserialize(one) {
            Ok(message) => out.push(message),
            Err(e) => {
                *unread += 1;
                tracing::debug!("a message of the kernel's cannot be read: {e}");
            }
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    out
}

/// Hears of every change of links, addresses, routes and neighbours. Non-blocking.
pub struct Listener {
    fd: OwnedFd,
    buffer: Vec<u8>,
    unread: u64,
}

impl Listener {
    /// Opens the socket.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open() -> io::Result<Self> {
        let groups = LINK | NEIGHBOUR | V4_ADDRESS | V4_ROUTE | V6_ADDRESS | V6_ROUTE;
        let fd = open(groups, SocketFlags::NONBLOCK)?;
        // Beyond the system's limit where we may; else as much as it gives.
        if rustix::net::sockopt::set_socket_recv_buffer_size_force(&fd, BACKLOG).is_err() {
            let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&fd, BACKLOG);
        }
        Ok(Self {
            fd,
            buffer: vec![0; DATAGRAM],
            unread: 0,
        })
    }

    /// Takes what waits.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn hear(&mut self) -> io::Result<Heard> {
        loop {
            match recvfrom(&self.fd, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((n, _, from)) => {
                    if !is_from_kernel(from.as_ref()) {
                        continue;
                    }
                    let n = n.min(self.buffer.len());
                    return Ok(Heard::Messages(parse(&self.buffer[..n], &mut self.unread)));
                }
                Err(Errno::AGAIN) => return Ok(Heard::Nothing),
                Err(Errno::NOBUFS) => return Ok(Heard::Overrun),
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Asks the kernel, and waits for its answer.
pub struct Asker {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
    unread: u64,
}

impl Asker {
    /// Opens the socket.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            fd: open(0, SocketFlags::NONBLOCK)?,
            sequence: 0,
            buffer: vec![0; DATAGRAM],
            unread: 0,
        })
    }

    /// Sends a request and gathers the answers up to the end or the acknowledgement. `flags` are
    /// `NLM_F_*` of <linux/netlink.h>.
    ///
    /// # Errors
    /// What the kernel says, or that it does not answer.
    pub fn ask(&mut self, request: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<Message>> {
        for _ in 0..8 {
            let (messages, interrupted) = self.exchange(request.clone(), flags)?;
            if !interrupted {
                return Ok(messages);
            }
        }
        Err(io::Error::other(
            "the kernel's tables change faster than they can be read",
        ))
    }

    fn exchange(
        &mut self,
        request: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<(Vec<Message>, bool)> {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        sendto(
            &self.fd,
            &bytes,
            SendFlags::empty(),
            &SocketAddrNetlink::new(0, 0),
        )?;
        self.gather()
    }

    fn gather(&mut self) -> io::Result<(Vec<Message>, bool)> {
        let (mut out, mut interrupted) = (Vec::new(), false);
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.wait(deadline)?;
            let n = match recvfrom(&self.fd, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((n, _, from)) if is_from_kernel(from.as_ref()) => n.min(self.buffer.len()),
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => continue,
                Err(e) => return Err(e.into()),
            };
            for message in parse(&self.buffer[..n], &mut self.unread) {
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                interrupted |= message.header.flags & INTERRUPTED != 0;
                match &message.payload {
                    NetlinkPayload::Done(_) => return Ok((out, interrupted)),
                    NetlinkPayload::Error(e) => match e.code {
                        None => return Ok((out, interrupted)),
                        Some(code) => {
                            return Err(io::Error::from_raw_os_error(code.get().abs()));
                        }
                    },
                    _ => out.push(message),
                }
            }
        }
    }

    fn wait(&self, deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let timeout = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}
