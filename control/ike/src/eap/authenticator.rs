//! The authenticator's side of EAP: it asks for the name, then runs EAP-MSCHAPv2 itself or passes everything on to a RADIUS server.

use super::mschapv2::message::{Message, failure_text, success_text};
use super::mschapv2::password::{Challenges, PasswordHash};
use super::packet::{Body, Method, Packet};
use super::{EapFailure, Msk, ServerFault};

/// Round trips of one conversation; no method in use needs as many.
const MAX_ROUNDS: u8 = 64;

/// Who verifies the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// We do, by EAP-MSCHAPv2, with this challenge of random octets that were never used before.
    MsChapV2([u8; 16]),
    /// A RADIUS server does, by whatever method it likes (RFC 3579).
    Server,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub enum AuthenticatorStep {
    /// Send this to the peer.
    Send(Vec<u8>),
    /// Look up the password of this name, then call [`Authenticator::password`].
    AskPassword(Vec<u8>),
    /// Pass this EAP message on to a server, then call [`Authenticator::server`].
    AskServer(Vec<u8>),
    /// Send this, EAP-Success: the peer proved itself, and AUTH is made with this key.
    Succeeded(Vec<u8>, Msk),
    /// Send this, EAP-Failure: it did not.
    Failed(Vec<u8>, EapFailure),
    /// Nothing: the message is not one to act upon (RFC 3748 §4.1).
    Ignore,
}

/// What the server said.
#[derive(Debug)]
pub enum ServerAnswer {
    /// Access-Challenge with this EAP message.
    Challenge(Vec<u8>),
    /// Access-Accept with this EAP message and the key.
    Accept(Vec<u8>, Msk),
    /// It will not be, for this reason; with the server's last EAP message, if it sent one.
    Refused(ServerFault, Option<Vec<u8>>),
}

/// What is waited for.
enum State {
    /// The name.
    Identity,
    /// The proof.
    Response,
    /// The password, by [`Authenticator::password`], for this proof.
    Password {
        challenge: [u8; 16],
        response: [u8; 24],
        name: Vec<u8>,
    },
    /// The peer's word that our proof was right.
    Acknowledged(Msk),
    /// The peer's word that it has failed.
    FailureAcknowledged(EapFailure),
    /// The peer's next message for the server.
    ForServer,
    /// The server's answer, by [`Authenticator::server`].
    Server,
    /// Nothing more.
    Over,
}

/// One conversation.
pub struct Authenticator {
    backend: Backend,
    /// Of the outstanding request.
    identifier: u8,
    /// The peer's name, as far as it is known.
    name: Vec<u8>,
    rounds: u8,
    state: State,
}

impl Authenticator {
    /// Begins with asking for the name; `identifier` is a random octet.
    pub fn ask_identity(backend: Backend, identifier: u8) -> (Self, AuthenticatorStep) {
        let this = Self {
            backend,
            identifier,
            name: Vec::new(),
            rounds: 0,
            state: State::Identity,
        };
        let request = Packet::request(identifier, Method::Identity(Vec::new()));
        (this, AuthenticatorStep::Send(request.emit()))
    }

    /// Begins with a name that is known already, such as IDi's.
    pub fn with_identity(
        backend: Backend,
        identifier: u8,
        name: &[u8],
    ) -> (Self, AuthenticatorStep) {
        let (mut this, _) = Self::ask_identity(backend, identifier);
        let step = this.identified(name.to_vec());
        (this, step)
    }

    /// The name that the peer gave, or that was known.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Takes a message of the peer.
    pub fn handle(&mut self, octets: &[u8]) -> AuthenticatorStep {
        let Ok(packet) = Packet::parse(octets) else {
            return AuthenticatorStep::Ignore;
        };
        //= RFC 3748 §4.1: a response that does not bear the outstanding request's identifier is discarded
        let (true, Body::Response(method)) = (packet.identifier == self.identifier, packet.body)
        else {
            return AuthenticatorStep::Ignore;
        };
        self.rounds += 1;
        if self.rounds > MAX_ROUNDS {
            return self.fail(EapFailure::TooLong);
        }
        match (std::mem::replace(&mut self.state, State::Over), method) {
            (State::Identity, Method::Identity(name)) => self.identified(name),
            (State::Response, Method::MsChapV2(data)) => match Message::parse(&data, false) {
                Some(Message::Response {
                    id,
                    challenge,
                    response,
                    name,
                }) if id == self.identifier => {
                    self.state = State::Password {
                        challenge,
                        response,
                        name: name.clone(),
                    };
                    AuthenticatorStep::AskPassword(name)
                }
                _ => self.fail(EapFailure::OutOfOrder),
            },
            (State::Response, Method::Nak(wanted)) => {
                let wanted = wanted.first().copied().filter(|method| *method != 0);
                self.fail(EapFailure::Method(wanted))
            }
            (State::Acknowledged(msk), Method::MsChapV2(data)) => {
                match Message::parse(&data, false) {
                    Some(Message::SuccessAcknowledged) => {
                        AuthenticatorStep::Succeeded(self.end(Body::Success), msk)
                    }
                    _ => self.fail(EapFailure::OutOfOrder),
                }
            }
            (State::FailureAcknowledged(why), _) => self.fail(why),
            (State::ForServer, _) => {
                self.state = State::Server;
                AuthenticatorStep::AskServer(octets.to_vec())
            }
            // Who is asked has not answered yet: the peer repeats itself.
            (state @ (State::Password { .. } | State::Server | State::Over), _) => {
                self.state = state;
                AuthenticatorStep::Ignore
            }
            (State::Identity | State::Response | State::Acknowledged(_), _) => {
                self.fail(EapFailure::OutOfOrder)
            }
        }
    }

    /// Takes the password that was asked for, if there is one.
    pub fn password(&mut self, password: Option<&[u8]>) -> AuthenticatorStep {
        let Backend::MsChapV2(ours) = self.backend else {
            return AuthenticatorStep::Ignore;
        };
        let (challenge, response, name) = match std::mem::replace(&mut self.state, State::Over) {
            State::Password {
                challenge,
                response,
                name,
            } => (challenge, response, name),
            state => {
                self.state = state;
                return AuthenticatorStep::Ignore;
            }
        };
        let challenges = Challenges {
            authenticator: &ours,
            peer: &challenge,
            name: &name,
        };
        let id = self.identifier;
        let proven = password
            .map(PasswordHash::new)
            .filter(|hash| hash.verify(&challenges, &response));
        let message = match proven {
            Some(hash) => {
                self.name = name.clone();
                self.state = State::Acknowledged(hash.msk(&response));
                let text = success_text(&hash.answer(&challenges, &response));
                Message::Success { id, text }
            }
            // The peer is told no difference between a wrong name and a wrong password.
            None => {
                let why = match password {
                    Some(_) => EapFailure::WrongPassword,
                    None => EapFailure::UnknownName,
                };
                self.state = State::FailureAcknowledged(why);
                let text = failure_text(&ours);
                Message::Failure { id, text }
            }
        };
        self.ask(Method::MsChapV2(message.emit()))
    }

    /// Takes the server's answer.
    pub fn server(&mut self, answer: ServerAnswer) -> AuthenticatorStep {
        if !matches!(self.state, State::Server) {
            return AuthenticatorStep::Ignore;
        }
        match answer {
            ServerAnswer::Challenge(message) => match Packet::parse(&message) {
                Ok(Packet {
                    identifier,
                    body: Body::Request(_),
                }) => {
                    self.identifier = identifier;
                    self.state = State::ForServer;
                    AuthenticatorStep::Send(message)
                }
                _ => self.fail(EapFailure::Server(ServerFault::Incomplete)),
            },
            ServerAnswer::Accept(message, msk) => match Packet::parse(&message) {
                Ok(Packet {
                    body: Body::Success,
                    ..
                }) => {
                    self.state = State::Over;
                    AuthenticatorStep::Succeeded(message, msk)
                }
                _ => self.fail(EapFailure::Server(ServerFault::Incomplete)),
            },
            //= RFC 3579 §2.6.3 not done: where the server sends no EAP-Failure we do, because IKE's last response has to carry a message
            ServerAnswer::Refused(fault, message) => {
                let ours = self.fail(EapFailure::Server(fault));
                let theirs = message.filter(|message| {
                    Packet::parse(message).is_ok_and(|packet| packet.body == Body::Failure)
                });
                match (ours, theirs) {
                    (AuthenticatorStep::Failed(_, why), Some(message)) => {
                        AuthenticatorStep::Failed(message, why)
                    }
                    (ours, _) => ours,
                }
            }
        }
    }

    fn identified(&mut self, name: Vec<u8>) -> AuthenticatorStep {
        self.name.clone_from(&name);
        match self.backend {
            Backend::MsChapV2(challenge) => {
                self.state = State::Response;
                let id = self.identifier.wrapping_add(1);
                let name = b"adit".to_vec();
                let message = Message::Challenge {
                    id,
                    challenge,
                    name,
                };
                self.ask(Method::MsChapV2(message.emit()))
            }
            Backend::Server => {
                self.state = State::Server;
                let response = Packet::response(self.identifier, Method::Identity(name));
                AuthenticatorStep::AskServer(response.emit())
            }
        }
    }

    /// A new request.
    fn ask(&mut self, method: Method) -> AuthenticatorStep {
        //= RFC 3748 §4.1: a new request has a new identifier
        self.identifier = self.identifier.wrapping_add(1);
        AuthenticatorStep::Send(Packet::request(self.identifier, method).emit())
    }

    fn end(&mut self, body: Body) -> Vec<u8> {
        self.state = State::Over;
        let identifier = self.identifier;
        Packet { identifier, body }.emit()
    }

    fn fail(&mut self, why: EapFailure) -> AuthenticatorStep {
        AuthenticatorStep::Failed(self.end(Body::Failure), why)
    }
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authenticator({})", String::from_utf8_lossy(&self.name))
    }
}
