//! The listening socket and the connections, in a `mio` loop that belongs to somebody else.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::Path;

use adit_vici::Message;
use mio::event::Event;
use mio::net::UnixListener;
use mio::{Interest, Registry, Token};

use super::access::{self, Access, BindError, SocketFile};
use super::commands::{Commands, Ticket};
use super::connection::{Connection, Next};

/// How many clients may be connected; further ones are closed at once.
pub const MAX_CONNECTIONS: usize = 64;

/// The VICI server.
///
/// The loop that owns it shows every event to [`Server::ready`], then calls [`Server::turn`] once
/// before it waits again.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    access: Access,
    first_token: usize,
    acceptable: bool,
    connections: BTreeMap<usize, Connection>,
    serial: u64,
    // Last, so that the socket is closed before its file goes.
    _file: SocketFile,
}

impl Server {
    /// How many tokens a server needs.
    pub const TOKENS: usize = 1 + MAX_CONNECTIONS;

    /// Makes the socket at `path` and registers it; the tokens from `first_token` on, as many as
    /// [`Server::TOKENS`], are the server's.
    ///
    /// A socket that a dead process left behind is replaced.
    ///
    /// # Errors
    /// [`BindError`]: the path is served by another process, or a step failed.
    pub fn bind(
        path: impl AsRef<Path>,
        access: Access,
        registry: &Registry,
        first_token: usize,
    ) -> Result<Self, BindError> {
        let path = path.as_ref();
        let mut listener = UnixListener::from_std(access::listen(path, access)?);
        registry
            .register(&mut listener, Token(first_token), Interest::READABLE)
            .map_err(|source| BindError::Io {
                path: path.to_owned(),
                step: "register",
                source,
            })?;
        Ok(Server {
            listener,
            access,
            first_token,
            acceptable: true,
            connections: BTreeMap::new(),
            serial: 0,
            _file: SocketFile::new(path),
        })
    }

    /// Remembers what an event says, for [`Server::turn`] to act on.
    ///
    /// Returns whether the event was the server's.
    pub fn ready(&mut self, event: &Event) -> bool {
        let number = event.token().0.wrapping_sub(self.first_token);
        if number >= Self::TOKENS {
            return false;
        }
        if number == 0 {
            self.acceptable = true;
        } else if let Some(connection) = self.connections.get_mut(&number) {
            connection.ready(event);
        }
        true
    }

    /// Does what can be done without blocking.
    ///
    /// Returns whether work is left, so that the loop must come back without waiting.
    pub fn turn(&mut self, registry: &Registry, commands: &mut dyn Commands) -> bool {
        self.accept(registry);
        let serial = &mut self.serial;
        let mut left = false;
        self.connections
            .retain(|_, connection| match connection.turn(commands, serial) {
                Next::Wait => true,
                Next::Turn => {
                    left = true;
                    true
                }
                Next::Close => {
                    tracing::debug!(peer = ?connection.peer(), "control client gone");
                    let _ = registry.deregister(connection.stream());
                    false
                }
            });
        left
    }

    /// Answers a request that was answered [`Answer::Later`](super::Answer::Later); it goes out at
    /// the next [`Server::turn`].
    ///
    /// Returns false if the client is gone, or the ticket was used before.
    pub fn complete(&mut self, ticket: Ticket, response: &Message) -> bool {
        self.connections
            .get_mut(&ticket.connection)
            .is_some_and(|connection| connection.complete(ticket, response))
    }

    /// Queues an event for every client that registered for it, and returns how many did.
    pub fn raise(&mut self, event: &str, message: &Message) -> usize {
        self.connections
            .values_mut()
            .filter_map(|connection| connection.raise(event, message).then_some(()))
            .count()
    }

    /// How many clients are connected.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    fn accept(&mut self, registry: &Registry) {
        while self.acceptable {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if let Err(error) = self.admit(stream, registry) {
                        tracing::warn!(%error, "control client not admitted");
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.acceptable = false,
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                    ) => {}
                Err(error) => {
                    // Out of descriptors, say: tried again at the next turn.
                    tracing::warn!(%error, "control socket cannot accept");
                    return;
                }
            }
        }
    }

    fn admit(&mut self, mut stream: mio::net::UnixStream, registry: &Registry) -> io::Result<()> {
        let peer = access::peer_of(&stream)?;
        if !self.access.admits(peer) {
            tracing::warn!(
                ?peer,
                "control client refused: neither root, nor our user, nor of the group"
            );
            return Ok(());
        }
        let free = (1..=MAX_CONNECTIONS).find(|number| !self.connections.contains_key(number));
        let Some(number) = free else {
            tracing::warn!(
                ?peer,
                "control client refused: {MAX_CONNECTIONS} are connected"
            );
            return Ok(());
        };
        registry.register(
            &mut stream,
            Token(self.first_token + number),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        self.connections
            .insert(number, Connection::new(stream, peer, number));
        Ok(())
    }
}
