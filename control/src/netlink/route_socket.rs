//! NETLINK_ROUTE: one socket that hears of changes, one that asks.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use netlink_packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};

use super::socket::{self, DATAGRAM, HEADER};

/// One message of the kernel's.
pub type Message = NetlinkMessage<RouteNetlinkMessage>;

// Multicast groups of <linux/rtnetlink.h>.
const LINK: u32 = 1;
const NEIGHBOUR: u32 = 4;
const V4_ADDRESS: u32 = 0x10;
const V4_ROUTE: u32 = 0x40;
const V6_ADDRESS: u32 = 0x100;
const V6_ROUTE: u32 = 0x400;

/// How much may wait before changes are lost.
const BACKLOG: usize = 4 << 20;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a table is read again that changed while it was read.
const ATTEMPTS: usize = 8;
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

/// Every message of a datagram that can be read.
fn parse(datagram: &[u8]) -> Vec<Message> {
    let read = |one: &[u8]| match Message::deserialize(one) {
        Ok(message) => Some(message),
        Err(e) => {
            tracing::debug!("a message of the kernel's cannot be read: {e}");
            None
        }
    };
    socket::split(datagram).filter_map(read).collect()
}

/// Hears of every change of links, addresses, routes and neighbours. Non-blocking.
pub struct Listener {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Listener {
    /// Opens the socket.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open() -> io::Result<Self> {
        let groups = LINK | NEIGHBOUR | V4_ADDRESS | V4_ROUTE | V6_ADDRESS | V6_ROUTE;
        let fd = socket::open(None, groups)?;
        // Beyond the system's limit where we may; else as much as it gives.
        if set_socket_recv_buffer_size_force(&fd, BACKLOG).is_err() {
            let _ = set_socket_recv_buffer_size(&fd, BACKLOG);
        }
        Ok(Self {
            fd,
            buffer: vec![0; DATAGRAM],
        })
    }

    /// Takes what waits.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn hear(&mut self) -> io::Result<Heard> {
        match socket::take(&self.fd, &mut self.buffer) {
            Ok(Some(datagram)) => Ok(Heard::Messages(parse(datagram))),
            Ok(None) => Ok(Heard::Nothing),
            Err(e) if is_overrun(&e) => Ok(Heard::Overrun),
            Err(e) => Err(e),
        }
    }

    /// Throws away what waits: what was said before an overrun would otherwise be heard after everything has been
    /// read afresh, and be taken for news.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn discard(&mut self) -> io::Result<()> {
        // More than the backlog holds, and an end in any storm.
        for _ in 0..BACKLOG / HEADER {
            match socket::take(&self.fd, &mut self.buffer) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(e) if is_overrun(&e) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

fn is_overrun(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error())
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
}

impl Asker {
    /// Opens the socket.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            fd: socket::open(None, 0)?,
            sequence: 0,
            buffer: vec![0; DATAGRAM],
        })
    }

    /// Sends a request and gathers the answers up to the end or the acknowledgement. `flags` are
    /// `NLM_F_*` of <linux/netlink.h>.
    ///
    /// # Errors
    /// What the kernel says, or that it does not answer.
    pub fn ask(&mut self, request: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<Message>> {
        for _ in 0..ATTEMPTS {
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
        socket::send(&self.fd, &bytes)?;
        self.gather()
    }

    fn gather(&mut self) -> io::Result<(Vec<Message>, bool)> {
        let (mut out, mut interrupted) = (Vec::new(), false);
        let deadline = Instant::now() + PATIENCE;
        loop {
            socket::wait(&self.fd, deadline)?;
            let Some(datagram) = socket::take(&self.fd, &mut self.buffer)? else {
                continue;
            };
            for message in parse(datagram) {
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
}
