//! The control socket: VICI over a Unix socket.
//!
//! [`Server`] owns the socket, the connections and their queues, and nothing else; what a command
//! means is behind [`Commands`]. [`replies`] and [`listings`] build strongSwan's messages from plain
//! values.

mod access;
mod commands;
mod connection;
pub mod listings;
mod queue;
pub mod replies;
mod server;

pub use access::{Access, BindError};
pub use commands::{Answer, Commands, Peer, Reply, Request, Ticket, failure, success};
pub use server::{MAX_CONNECTIONS, Server};
