//! The sockets to the servers, in a `mio` loop that belongs to somebody else.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use tracing::warn;

use super::client::Client;
use super::packet::MAX_PACKET;
use super::terms::{Destination, Purpose};
use crate::rate_limit::RateLimit;

/// Datagrams taken at a time, so that no server can keep the loop from its other work.
const BURST: usize = 64;

/// A socket for each server and purpose, connected: the kernel drops what comes from elsewhere.
pub struct Sockets {
    first_token: usize,
    sockets: Vec<(Destination, SocketAddr, UdpSocket)>,
    complaints: RateLimit,
}

impl Sockets {
    /// Opens the sockets that a client needs and registers them, with tokens from the first one on.
    ///
    /// # Errors
    /// If a socket cannot be had or a server's address cannot be reached from any of ours.
    pub fn open(client: &Client, registry: &Registry, first_token: usize) -> io::Result<Self> {
        let mut sockets = Vec::new();
        for (server, settings) in client.servers().enumerate() {
            let ports = [
                (Purpose::Authentication, Some(settings.authentication)),
                (Purpose::Accounting, settings.accounting),
            ];
            for (purpose, address) in ports {
                let Some(address) = address else { continue };
                let any: SocketAddr = if address.is_ipv4() {
                    (Ipv4Addr::UNSPECIFIED, 0).into()
                } else {
                    (Ipv6Addr::UNSPECIFIED, 0).into()
                };
                let mut socket = UdpSocket::bind(any)?;
                socket.connect(address)?;
                let token = Token(first_token + sockets.len());
                registry.register(&mut socket, token, Interest::READABLE)?;
                let destination = Destination { server, purpose };
                sockets.push((destination, address, socket));
            }
        }
        Ok(Self {
            first_token,
            sockets,
            complaints: RateLimit::default(),
        })
    }

    /// How many tokens are taken.
    pub fn tokens(&self) -> usize {
        self.sockets.len()
    }

    /// Sends one of the client's datagrams. One that cannot be sent is as good as lost: it is sent again.
    pub fn send(&mut self, to: Destination, datagram: &[u8]) {
        let socket = self.sockets.iter().find(|(here, ..)| *here == to);
        if let Some((_, address, socket)) = socket
            && let Err(error) = socket.send(datagram)
            && let Some(kept_quiet) = self.complaints.admit("send", Instant::now())
        {
            warn!(%address, %error, kept_quiet, "a RADIUS request cannot be sent");
        }
    }

    /// Reads what came on this token's socket and hands it to the client; `true` if there may be more.
    pub fn receive(&mut self, token: Token, client: &mut Client) -> bool {
        let place = token.0.checked_sub(self.first_token);
        let socket = place.and_then(|place| self.sockets.get(place));
        let Some((from, address, socket)) = socket else {
            return false;
        };
        let mut buffer = [0; MAX_PACKET];
        for _ in 0..BURST {
            let length = match socket.recv(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // A server that is not there is told by the timer.
                Err(_) => continue,
            };
            let datagram = buffer.get(..length).unwrap_or_default();
            if let Err(reason) = client.handle(*from, datagram)
                && let Some(kept_quiet) = self.complaints.admit("receive", Instant::now())
            {
                warn!(%address, %reason, kept_quiet, "a RADIUS response is not believed");
            }
        }
        true
    }
}
