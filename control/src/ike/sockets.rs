//! The UDP sockets of IKE: two for each own address, ports 500 and 4500.
//!
//! One per address and not one for all, so that the address a message came to is known, and an answer leaves from it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use thiserror::Error;
use tracing::{debug, warn};

/// Own addresses that IKE is spoken on, at most; further ones are told of and left out.
const MOST_ADDRESSES: usize = 256;
/// Datagrams taken in from one socket before the others have their turn.
const TURN: usize = 32;
/// Length of the non-ESP marker (RFC 3948 §2.2).
const MARKER: usize = 4;

/// A socket cannot be had.
#[derive(Debug, Error)]
#[error("IKE cannot be spoken on {address}: {error}{remedy}")]
pub struct SocketError {
    /// Where.
    pub address: SocketAddr,
    /// What the kernel says.
    #[source]
    pub error: io::Error,
    remedy: &'static str,
}

impl SocketError {
    fn new(address: SocketAddr, error: io::Error) -> Self {
        let remedy = if error.kind() == io::ErrorKind::AddrInUse {
            "; another IKE daemon runs here: stop it"
        } else {
            ""
        };
        Self {
            address,
            error,
            remedy,
        }
    }
}

struct Socket {
    socket: UdpSocket,
    local: SocketAddr,
    readable: bool,
    received: usize,
}

/// A datagram that came in, any non-ESP marker taken off.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Own address and port.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// The IKE message.
    pub message: &'a [u8],
}

/// The sockets.
pub struct Sockets {
    registry: Registry,
    first: usize,
    /// UDP ports: of the first messages, and of those with the marker.
    ports: [u16; 2],
    sockets: BTreeMap<usize, Socket>,
    tokens: BTreeMap<SocketAddr, usize>,
    buffer: Box<[u8]>,
}

impl Sockets {
    /// None yet. Their tokens begin at `first`; nothing else may have one from there on.
    ///
    /// # Errors
    /// When the registry cannot be shared.
    pub fn new(registry: &Registry, first: usize, ports: [u16; 2]) -> io::Result<Self> {
        Ok(Self {
            registry: registry.try_clone()?,
            first,
            ports,
            sockets: BTreeMap::new(),
            tokens: BTreeMap::new(),
            buffer: vec![0; 1 << 16].into_boxed_slice(),
        })
    }

    /// Opens and closes sockets so that there are those of `addresses`; what cannot be had is told.
    pub fn follow(&mut self, addresses: &BTreeSet<IpAddr>) -> Vec<SocketError> {
        if addresses.len() > MOST_ADDRESSES {
            warn!("IKE is spoken on the first {MOST_ADDRESSES} of the own addresses only");
        }
        let wanted: BTreeSet<SocketAddr> = addresses
            .iter()
            .take(MOST_ADDRESSES)
            .flat_map(|address| self.ports.map(|port| SocketAddr::new(*address, port)))
            .collect();
        let gone: Vec<_> = self
            .tokens
            .keys()
            .filter(|at| !wanted.contains(at))
            .copied()
            .collect();
        for at in gone {
            if let Some(mut socket) = self
                .tokens
                .remove(&at)
                .and_then(|token| self.sockets.remove(&token))
            {
                let _ = self.registry.deregister(&mut socket.socket);
            }
        }
        let mut errors = Vec::new();
        for local in wanted {
            if !self.tokens.contains_key(&local)
                && let Err(error) = self.open(local)
            {
                errors.push(SocketError::new(local, error));
            }
        }
        errors
    }

    fn open(&mut self, local: SocketAddr) -> io::Result<()> {
        let v4 = local.is_ipv4();
        let family = if v4 {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
        // An address may still be under duplicate address detection, or come back in a moment.
        if v4 {
            sockopt::set_ip_freebind(&fd, true)?;
        } else {
            sockopt::set_ipv6_v6only(&fd, true)?;
            sockopt::set_ipv6_freebind(&fd, true)?;
        }
        rustix::net::bind(&fd, &local)?;
        let mut socket = UdpSocket::from_std(fd.into());
        let token = (self.first..)
            .find(|token| !self.sockets.contains_key(token))
            .ok_or(io::ErrorKind::OutOfMemory)?;
        self.registry
            .register(&mut socket, Token(token), Interest::READABLE)?;
        let socket = Socket {
            socket,
            local,
            readable: true,
            received: 0,
        };
        self.sockets.insert(token, socket);
        self.tokens.insert(local, token);
        Ok(())
    }

    /// Whether there is no socket at all.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Remembers what an event says; returns whether it was about one of these sockets.
    pub fn ready(&mut self, event: &mio::event::Event) -> bool {
        let socket = self.sockets.get_mut(&event.token().0);
        let known = socket.is_some();
        if let Some(socket) = socket {
            socket.readable = true;
        }
        known
    }

    /// The next datagram for the engine, if one is there and its socket's turn is not over.
    pub fn receive(&mut self) -> Option<Received<'_>> {
        let nat_port = self.ports[1];
        let mut found = None;
        'sockets: for socket in self.sockets.values_mut() {
            while socket.readable && socket.received < TURN {
                let (length, remote) = match socket.socket.recv_from(&mut self.buffer) {
                    Ok(received) => received,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        socket.readable = false;
                        break;
                    }
                    Err(e) => {
                        // An ICMP error about something sent: retransmission deals with it.
                        debug!(local = %socket.local, "receiving: {e}");
                        socket.received += 1;
                        continue;
                    }
                };
                socket.received += 1;
                let marked = socket.local.port() == nat_port;
                let skip = if marked { MARKER } else { 0 };
                // On port 4500 the rest is ESP that found no way to the data plane, or a keepalive.
                if marked && self.buffer.get(..MARKER) != Some(&[0; MARKER]) || length < skip {
                    continue;
                }
                found = Some((socket.local, remote, skip..length));
                break 'sockets;
            }
        }
        let (local, remote, range) = found?;
        Some(Received {
            local,
            remote,
            message: self.buffer.get(range)?,
        })
    }

    /// Begins another turn; returns whether a socket may still hold something.
    pub fn next_turn(&mut self) -> bool {
        let mut more = false;
        for socket in self.sockets.values_mut() {
            more |= socket.readable;
            socket.received = 0;
        }
        more
    }

    /// Sends an IKE message, with the marker in front if `marker` says so.
    ///
    /// # Errors
    /// When there is no socket for the source, or the kernel refuses; the message is lost like any datagram may be.
    pub fn send(
        &self,
        source: SocketAddr,
        destination: SocketAddr,
        marker: bool,
        message: &[u8],
    ) -> io::Result<()> {
        let socket = self
            .tokens
            .get(&source)
            .and_then(|token| self.sockets.get(token))
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        if marker {
            let mut marked = Vec::with_capacity(MARKER + message.len());
            marked.extend([0; MARKER]);
            marked.extend(message);
            socket.socket.send_to(&marked, destination)?;
        } else {
            socket.socket.send_to(message, destination)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// Sockets on ports that nobody has: the kernel chooses one, and the next one is taken as the second.
    fn sockets(poll: &mio::Poll) -> Sockets {
        for _ in 0..100 {
            let probe = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let port = probe.local_addr().unwrap().port();
            drop(probe);
            let Some(next) = port.checked_add(1) else {
                continue;
            };
            let mut sockets = Sockets::new(poll.registry(), 10, [port, next]).unwrap();
            let own = BTreeSet::from(["127.0.0.1".parse().unwrap()]);
            if sockets.follow(&own).is_empty() {
                return sockets;
            }
        }
        panic!("two free ports in a row")
    }

    fn receive(
        poll: &mut mio::Poll,
        sockets: &mut Sockets,
    ) -> Option<(SocketAddr, SocketAddr, Vec<u8>)> {
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut events = mio::Events::with_capacity(8);
        while Instant::now() < deadline {
            if let Some(r) = sockets.receive() {
                return Some((r.local, r.remote, r.message.to_vec()));
            }
            sockets.next_turn();
            poll.poll(&mut events, Some(Duration::from_millis(100)))
                .unwrap();
            for event in &events {
                assert!(sockets.ready(event));
            }
        }
        None
    }

    #[test]
    fn a_message_arrives_with_both_addresses_and_without_its_marker() {
        let mut poll = mio::Poll::new().unwrap();
        let mut sockets = sockets(&poll);
        let [plain, marked] = sockets.ports.map(|p| SocketAddr::from(([127, 0, 0, 1], p)));
        // What has no marker on the second port is no IKE.
        sockets.send(plain, marked, false, b"\xff").unwrap();
        sockets
            .send(plain, marked, false, b"\0\0\0\x01esp")
            .unwrap();
        sockets.send(plain, marked, true, b"one").unwrap();
        let (local, remote, message) = receive(&mut poll, &mut sockets).expect("a datagram");
        assert_eq!((local, remote, &message[..]), (marked, plain, &b"one"[..]));
        sockets.send(marked, plain, false, b"two").unwrap();
        let (local, remote, message) = receive(&mut poll, &mut sockets).expect("a datagram");
        assert_eq!((local, remote, &message[..]), (plain, marked, &b"two"[..]));
    }

    #[test]
    fn an_address_that_goes_takes_its_sockets_along() {
        let poll = mio::Poll::new().unwrap();
        let mut sockets = sockets(&poll);
        let from = SocketAddr::from(([127, 0, 0, 1], sockets.ports[0]));
        assert!(sockets.follow(&BTreeSet::new()).is_empty());
        assert!(sockets.is_empty());
        let e = sockets.send(from, from, false, b"x").unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::AddrNotAvailable);
    }
}
