//! A blocking client.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;
use zeroize::Zeroizing;

use crate::message::{Message, MessageError};
use crate::packet::{LENGTH_FIELD, Packet, PacketError, checked_length};

/// How many events may wait in a client that is busy with requests; older ones are dropped.
const MAX_WAITING_EVENTS: usize = 1024;

/// Why a client did not get its answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The socket failed, was closed, or its time limit passed.
    #[error("control socket: {0}")]
    Io(#[from] io::Error),
    /// The server sent something that is no packet, or the request cannot be sent.
    #[error("control socket: {0}")]
    Packet(#[from] PacketError),
    /// The server sent a broken message, or the request cannot be sent.
    #[error("control socket: {0}")]
    Message(#[from] MessageError),
    /// The server sent a packet that answers nothing asked.
    #[error("control socket: unexpected packet {0}")]
    Unexpected(String),
    /// The server does not know this command.
    #[error("the gateway does not know the command {0:?}")]
    UnknownCommand(String),
    /// The server does not know this event.
    #[error("the gateway does not know the event {0:?}")]
    UnknownEvent(String),
    /// The server answered `success = no`.
    #[error("{command}: {reason}")]
    Refused {
        /// The command refused.
        command: String,
        /// The server's reason.
        reason: String,
    },
}

/// A blocking connection to a VICI server.
///
/// The protocol has no request numbers, so a connection carries one command at a time. After an
/// error other than [`ClientError::Refused`], [`ClientError::UnknownCommand`] and
/// [`ClientError::UnknownEvent`] the connection is out of step: drop it.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    waiting: VecDeque<(String, Message)>,
}

/// A packet that owns its contents.
enum Received {
    Response(Message),
    CommandUnknown,
    Confirm,
    EventUnknown,
    Event(String, Message),
}

impl Client {
    /// Connects to the server's socket.
    ///
    /// # Errors
    /// [`ClientError::Io`].
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, ClientError> {
        Ok(Self::new(UnixStream::connect(path)?))
    }

    /// Takes over a connected stream.
    pub fn new(stream: UnixStream) -> Self {
        Client {
            stream,
            waiting: VecDeque::new(),
        }
    }

    /// Sets how long one read or write may block; `None` is for ever, which is how it starts.
    ///
    /// # Errors
    /// [`ClientError::Io`], also for a limit of zero.
    pub fn set_timeout(&self, limit: Option<Duration>) -> Result<(), ClientError> {
        self.stream.set_read_timeout(limit)?;
        self.stream.set_write_timeout(limit)?;
        Ok(())
    }

    /// Asks for a command and waits for its answer.
    ///
    /// # Errors
    /// [`ClientError::Refused`] for an answer that says `success = no`, or any other.
    pub fn request(&mut self, command: &str, arguments: &Message) -> Result<Message, ClientError> {
        self.send_request(command, arguments)?;
        loop {
            match self.receive()? {
                Received::Event(name, event) => self.keep(name, event),
                other => return answer(command, other),
            }
        }
    }

    /// Asks for a command that streams its results as events, and calls `each` for every one.
    ///
    /// Registers for `event` before and unregisters after; other events are kept.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn stream(
        &mut self,
        command: &str,
        event: &str,
        arguments: &Message,
        mut each: impl FnMut(Message),
    ) -> Result<Message, ClientError> {
        self.subscribe(event)?;
        self.send_request(command, arguments)?;
        let answered = loop {
            match self.receive()? {
                Received::Event(name, message) if name == event => each(message),
                Received::Event(name, message) => self.keep(name, message),
                other => break answer(command, other),
            }
        };
        match answered {
            Ok(_) | Err(ClientError::Refused { .. } | ClientError::UnknownCommand(_)) => {}
            Err(broken) => return Err(broken),
        }
        self.unsubscribe(event)?;
        answered
    }

    /// [`Client::stream`], with the results in a vector.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn collect(
        &mut self,
        command: &str,
        event: &str,
        arguments: &Message,
    ) -> Result<Vec<Message>, ClientError> {
        let mut all = Vec::new();
        self.stream(command, event, arguments, |message| all.push(message))?;
        Ok(all)
    }

    /// Registers for an event.
    ///
    /// # Errors
    /// [`ClientError::UnknownEvent`], or any of the connection's.
    pub fn subscribe(&mut self, event: &str) -> Result<(), ClientError> {
        self.registration(event, Packet::Register { name: event })
    }

    /// Takes a registration back.
    ///
    /// # Errors
    /// As [`Client::subscribe`].
    pub fn unsubscribe(&mut self, event: &str) -> Result<(), ClientError> {
        self.registration(event, Packet::Unregister { name: event })
    }

    /// Waits for the next event, its name and its contents.
    ///
    /// # Errors
    /// [`ClientError::Io`] with `WouldBlock` when [`Client::set_timeout`]'s limit passes.
    pub fn next_event(&mut self) -> Result<(String, Message), ClientError> {
        if let Some(event) = self.waiting.pop_front() {
            return Ok(event);
        }
        match self.receive()? {
            Received::Event(name, message) => Ok((name, message)),
            other => Err(unexpected(&other)),
        }
    }

    fn registration(&mut self, event: &str, packet: Packet<'_>) -> Result<(), ClientError> {
        self.stream.write_all(&packet.emit()?)?;
        loop {
            match self.receive()? {
                Received::Confirm => return Ok(()),
                Received::EventUnknown => return Err(ClientError::UnknownEvent(event.to_owned())),
                Received::Event(name, message) => self.keep(name, message),
                other => return Err(unexpected(&other)),
            }
        }
    }

    fn send_request(&mut self, command: &str, arguments: &Message) -> Result<(), ClientError> {
        let message = arguments.emit()?;
        let segment = Packet::Request {
            name: command,
            message: &message,
        }
        .emit()?;
        self.stream.write_all(&segment)?;
        Ok(())
    }

    fn keep(&mut self, name: String, event: Message) {
        if self.waiting.len() == MAX_WAITING_EVENTS {
            self.waiting.pop_front();
        }
        self.waiting.push_back((name, event));
    }

    fn receive(&mut self) -> Result<Received, ClientError> {
        let mut field = [0; LENGTH_FIELD];
        self.stream.read_exact(&mut field)?;
        let mut segment = Zeroizing::new(vec![0; checked_length(field)?]);
        self.stream.read_exact(&mut segment)?;
        Ok(match Packet::parse(&segment)? {
            Packet::Response { message } => Received::Response(Message::parse(message)?),
            Packet::CommandUnknown => Received::CommandUnknown,
            Packet::Confirm => Received::Confirm,
            Packet::EventUnknown => Received::EventUnknown,
            Packet::Event { name, message } => {
                Received::Event(name.to_owned(), Message::parse(message)?)
            }
            other => return Err(ClientError::Unexpected(format!("{other:?}"))),
        })
    }
}

fn answer(command: &str, received: Received) -> Result<Message, ClientError> {
    match received {
        Received::Response(message) if message.str("success") == Some("no") => {
            Err(ClientError::Refused {
                command: command.to_owned(),
                reason: message
                    .str("errmsg")
                    .unwrap_or("refused without a reason")
                    .to_owned(),
            })
        }
        Received::Response(message) => Ok(message),
        Received::CommandUnknown => Err(ClientError::UnknownCommand(command.to_owned())),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(received: &Received) -> ClientError {
    let what = match received {
        Received::Response(_) => "Response",
        Received::CommandUnknown => "CommandUnknown",
        Received::Confirm => "Confirm",
        Received::EventUnknown => "EventUnknown",
        Received::Event(..) => "Event",
    };
    ClientError::Unexpected(what.to_owned())
}
