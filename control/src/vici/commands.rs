//! The border between the control socket and the rest of the process.

use std::collections::BTreeSet;

use adit_vici::{Message, Packet};

use super::queue::Output;

/// Whoever knows what the commands mean.
pub trait Commands {
    /// Answers a request, or goes on with a streamed answer.
    ///
    /// Must not block: an answer that has to wait is [`Answer::Later`], a long one is given in
    /// pieces with [`Answer::More`].
    fn handle(&mut self, request: Request<'_>, reply: &mut Reply<'_>) -> Answer;

    /// Whether clients may register for this event.
    fn knows_event(&self, event: &str) -> bool;
}

/// What a client asks for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The command's name.
    pub name: &'a str,
    /// The arguments.
    pub message: &'a Message,
    /// 0 at first; then what the previous call gave [`Answer::More`].
    pub cursor: u64,
    /// Who asks.
    pub peer: Peer,
}

/// The process at the other end of a connection, as the kernel knew it when it connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Process number.
    pub pid: i32,
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
}

/// How a request was answered.
#[derive(Debug)]
pub enum Answer {
    /// The response; after events, if any.
    Done(Message),
    /// There is no such command.
    Unknown,
    /// The response will come by [`Server::complete`](super::Server::complete) with the reply's
    /// ticket. The connection's further requests wait until then.
    Later,
    /// Call again with this cursor when [`Reply::has_room`].
    More(u64),
}

/// Names a request that was answered [`Answer::Later`]; never used for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    pub(super) connection: usize,
    pub(super) serial: u64,
}

/// What a request's handler can do before it gives its answer.
#[derive(Debug)]
pub struct Reply<'a> {
    pub(super) output: &'a mut Output,
    pub(super) events: &'a BTreeSet<String>,
    pub(super) ticket: Ticket,
}

impl Reply<'_> {
    /// What [`Server::complete`](super::Server::complete) needs after [`Answer::Later`].
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Whether this client registered for the event; if not, there is nothing to stream to it.
    pub fn wants(&self, event: &str) -> bool {
        self.events.contains(event)
    }

    /// Whether another event may be queued now; if not, answer [`Answer::More`].
    ///
    /// A handler that goes on regardless loses the connection at a hard limit.
    pub fn has_room(&self) -> bool {
        self.output.has_room()
    }

    /// Queues an event for this client alone, if it registered for it.
    pub fn event(&mut self, name: &str, message: &Message) {
        if self.wants(name) {
            self.output.push_event(name, message);
        }
    }
}

/// The answer of a command that has no other result.
pub fn success() -> Message {
    Message::new().with("success", "yes")
}

/// The answer of a command that failed, with a reason that a person can act on.
pub fn failure(reason: impl std::fmt::Display) -> Message {
    Message::new()
        .with("success", "no")
        .with("errmsg", reason.to_string())
}

impl Output {
    /// Queues an event; one that cannot be encoded is a bug of ours and closes the connection.
    pub(super) fn push_event(&mut self, name: &str, message: &Message) {
        match message.emit() {
            Ok(message) => self.push(Packet::Event {
                name,
                message: &message,
            }),
            Err(error) => {
                tracing::error!(event = name, %error, "event cannot be encoded");
                self.overrun();
            }
        }
    }

    /// Queues a response, or a failure in its place when it cannot be encoded.
    pub(super) fn push_response(&mut self, message: &Message) {
        let encoded = message.emit().or_else(|error| {
            tracing::error!(%error, "response cannot be encoded");
            failure("the answer cannot be encoded").emit()
        });
        match encoded {
            Ok(message) => self.push(Packet::Response { message: &message }),
            Err(_) => self.overrun(),
        }
    }
}
