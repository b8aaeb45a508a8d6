//! One client's connection: its queues, its registrations and the request it waits for.

use std::collections::BTreeSet;
use std::io;

use adit_vici::{Message, Packet};
use mio::event::Event;
use mio::net::UnixStream;

use super::commands::{Answer, Commands, Peer, Reply, Request, Ticket, failure};
use super::queue::{Input, Output, Progress};

/// Steps one connection may take before the others have their turn.
const STEPS: usize = 64;

/// What a connection needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Readiness of its socket, or a completion.
    Wait,
    /// Another turn: it has work left.
    Turn,
    /// To be dropped.
    Close,
}

/// The request being answered.
#[derive(Debug)]
enum Pending {
    None,
    /// A streamed answer, to be gone on with when there is room.
    Stream {
        name: String,
        message: Message,
        cursor: u64,
    },
    /// The answer comes by [`Connection::complete`].
    Later(Ticket),
}

/// A client's connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    peer: Peer,
    number: usize,
    input: Input,
    output: Output,
    events: BTreeSet<String>,
    pending: Pending,
    // Readiness is edge-triggered: remembered until the socket says it blocks.
    readable: bool,
    writable: bool,
    /// The client sends no more.
    ended: bool,
    /// Nor does it read any more.
    hung_up: bool,
}

impl Connection {
    pub(super) fn new(stream: UnixStream, peer: Peer, number: usize) -> Self {
        Connection {
            stream,
            peer,
            number,
            input: Input::new(),
            output: Output::default(),
            events: BTreeSet::new(),
            pending: Pending::None,
            readable: true,
            writable: true,
            ended: false,
            hung_up: false,
        }
    }

    pub(super) fn stream(&mut self) -> &mut UnixStream {
        &mut self.stream
    }

    pub(super) fn peer(&self) -> Peer {
        self.peer
    }

    /// Remembers what the socket is ready for.
    pub(super) fn ready(&mut self, event: &Event) {
        self.hung_up |= event.is_error() || (event.is_read_closed() && event.is_write_closed());
        self.readable |= event.is_readable() || event.is_read_closed() || self.hung_up;
        self.writable |= event.is_writable();
    }

    /// Queues an event, if the client registered for it.
    pub(super) fn raise(&mut self, event: &str, message: &Message) -> bool {
        let wanted = self.events.contains(event);
        if wanted {
            self.output.push_event(event, message);
        }
        wanted
    }

    /// Queues the answer to the request of this ticket, if it still waits for it.
    pub(super) fn complete(&mut self, ticket: Ticket, message: &Message) -> bool {
        let waiting = matches!(self.pending, Pending::Later(pending) if pending == ticket);
        if waiting {
            self.pending = Pending::None;
            self.output.push_response(message);
        }
        waiting
    }

    /// Sends, goes on with a streamed answer, answers requests and reads, as far as it goes.
    pub(super) fn turn(&mut self, commands: &mut dyn Commands, serial: &mut u64) -> Next {
        for _ in 0..STEPS {
            match self.step(commands, serial) {
                Ok(Next::Turn) => {}
                Ok(next) => return next,
                Err(error) => {
                    tracing::debug!(peer = ?self.peer, %error, "control connection failed");
                    return Next::Close;
                }
            }
        }
        Next::Turn
    }

    fn step(&mut self, commands: &mut dyn Commands, serial: &mut u64) -> io::Result<Next> {
        if self.output.is_overrun() {
            tracing::warn!(peer = ?self.peer, "control client does not take its events: connection closed");
            return Ok(Next::Close);
        }
        if self.writable && !self.output.is_empty() {
            match self.output.write_to(&mut self.stream)? {
                Progress::Some => {}
                Progress::Blocked => self.writable = false,
                Progress::Closed => return Ok(Next::Close),
            }
        }
        if !self.output.has_room() {
            return Ok(Next::Wait);
        }
        match std::mem::replace(&mut self.pending, Pending::None) {
            Pending::Stream {
                name,
                message,
                cursor,
            } => {
                self.call(commands, serial, name, message, cursor);
                return Ok(Next::Turn);
            }
            Pending::Later(_) if self.hung_up => return Ok(Next::Close),
            later @ Pending::Later(_) => {
                self.pending = later;
                return Ok(Next::Wait);
            }
            Pending::None => {}
        }
        match self.input.segment() {
            Err(error) => {
                tracing::debug!(peer = ?self.peer, %error, "control connection closed");
                Ok(Next::Close)
            }
            Ok(Some((_, used))) => {
                let next = self.process(commands, serial);
                self.input.consume(used);
                Ok(next)
            }
            Ok(None) if self.ended => Ok(if self.output.is_empty() {
                Next::Close
            } else {
                Next::Wait
            }),
            Ok(None) if self.readable => {
                match self.input.read_from(&mut self.stream)? {
                    Progress::Some => {}
                    Progress::Blocked => self.readable = false,
                    Progress::Closed => self.ended = true,
                }
                Ok(Next::Turn)
            }
            Ok(None) => Ok(Next::Wait),
        }
    }

    /// Acts on the first segment of the input.
    fn process(&mut self, commands: &mut dyn Commands, serial: &mut u64) -> Next {
        let Ok(Some((segment, _))) = self.input.segment() else {
            return Next::Wait;
        };
        match Packet::parse(segment) {
            Ok(Packet::Request { name, message }) => match Message::parse(message) {
                Ok(message) => {
                    let name = name.to_owned();
                    self.call(commands, serial, name, message, 0);
                }
                Err(error) => self.output.push_response(&failure(error)),
            },
            Ok(Packet::Register { name }) => {
                if commands.knows_event(name) {
                    self.events.insert(name.to_owned());
                    self.output.push(Packet::Confirm);
                } else {
                    self.output.push(Packet::EventUnknown);
                }
            }
            Ok(Packet::Unregister { name }) => {
                let known = self.events.remove(name);
                self.output.push(if known {
                    Packet::Confirm
                } else {
                    Packet::EventUnknown
                });
            }
            Ok(packet) => {
                tracing::debug!(peer = ?self.peer, ?packet, "control client sent a server's packet: closed");
                return Next::Close;
            }
            Err(error) => {
                tracing::debug!(peer = ?self.peer, %error, "control connection closed");
                return Next::Close;
            }
        }
        Next::Turn
    }

    fn call(
        &mut self,
        commands: &mut dyn Commands,
        serial: &mut u64,
        name: String,
        message: Message,
        cursor: u64,
    ) {
        *serial += 1;
        let ticket = Ticket {
            connection: self.number,
            serial: *serial,
        };
        let mut reply = Reply {
            output: &mut self.output,
            events: &self.events,
            ticket,
        };
        let request = Request {
            name: &name,
            message: &message,
            cursor,
            peer: self.peer,
        };
        match commands.handle(request, &mut reply) {
            Answer::Done(response) => self.output.push_response(&response),
            Answer::Unknown => self.output.push(Packet::CommandUnknown),
            Answer::Later => self.pending = Pending::Later(ticket),
            Answer::More(cursor) => {
                self.pending = Pending::Stream {
                    name,
                    message,
                    cursor,
                }
            }
        }
    }
}
