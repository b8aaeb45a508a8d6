//! The peer's side of EAP: it says who it is and proves its password by EAP-MSCHAPv2.

use subtle::ConstantTimeEq;

use super::mschapv2::message::{Message, answer_of};
use super::mschapv2::password::{Challenges, PasswordHash};
use super::packet::{Body, Method, Packet};
use super::{EapFailure, Msk};

/// What is to be done next.
#[derive(Debug)]
pub enum PeerStep {
    /// Send this.
    Send(Vec<u8>),
    /// The server proved itself and accepted us; IKE's AUTH is made with this key.
    Succeeded(Msk),
    /// It is over.
    Failed(EapFailure),
    /// Nothing: the message is not one to act upon (RFC 3748 §4).
    Ignore,
}

/// How far the method is.
enum State {
    /// No challenge came.
    Waiting,
    /// Our proof is out.
    Proven {
        response: [u8; 24],
        authenticator: [u8; 16],
    },
    /// The server's proof was right.
    Agreed(Msk),
    /// It will end badly, for this reason.
    Lost(EapFailure),
}

/// A peer with a name and a password.
pub struct Peer {
    name: Vec<u8>,
    password: PasswordHash,
    challenge: [u8; 16],
    state: State,
    /// The last request's identifier, and what was sent in answer.
    last: Option<(u8, Vec<u8>)>,
}

impl Peer {
    /// A peer; `challenge` is 16 random octets that were never used before.
    pub fn new(name: impl Into<Vec<u8>>, password: &[u8], challenge: [u8; 16]) -> Self {
        Self {
            name: name.into(),
            password: PasswordHash::new(password),
            challenge,
            state: State::Waiting,
            last: None,
        }
    }

    /// Takes a message of the authenticator.
    pub fn handle(&mut self, octets: &[u8]) -> PeerStep {
        let Ok(packet) = Packet::parse(octets) else {
            return PeerStep::Ignore;
        };
        match packet.body {
            Body::Request(method) => self.request(packet.identifier, method),
            Body::Response(_) => PeerStep::Ignore,
            //= RFC 3748 §4.2: a Success before the method is at its end is discarded
            Body::Success => match std::mem::replace(&mut self.state, State::Waiting) {
                State::Agreed(msk) => PeerStep::Succeeded(msk),
                state => {
                    self.state = state;
                    PeerStep::Ignore
                }
            },
            Body::Failure => match &self.state {
                //= RFC 3748 §4.2: a Failure after both sides said success is discarded
                State::Agreed(_) => PeerStep::Ignore,
                State::Lost(why) => PeerStep::Failed(*why),
                State::Waiting | State::Proven { .. } => PeerStep::Failed(EapFailure::Refused),
            },
        }
    }

    fn request(&mut self, identifier: u8, method: Method) -> PeerStep {
        //= RFC 3748 §4.1: a duplicate request is answered as before, without being processed again
        if let Some((last, answer)) = &self.last
            && *last == identifier
        {
            return PeerStep::Send(answer.clone());
        }
        let answer = match method {
            Method::Identity(_) => Method::Identity(self.name.clone()),
            Method::Notification(_) => Method::Notification(Vec::new()),
            Method::MsChapV2(data) => match Message::parse(&data, true).map(|m| self.method(m)) {
                Some(Ok(answer)) => Method::MsChapV2(answer.emit()),
                Some(Err(step)) => return step,
                None => return PeerStep::Ignore,
            },
            //= RFC 3748 §5.3.1: a Nak answers a method that is not wanted, before any other was begun
            Method::Other(..) if matches!(self.state, State::Waiting) => {
                Method::Nak(vec![Method::MsChapV2(Vec::new()).number()])
            }
            Method::Nak(_) | Method::Other(..) => return PeerStep::Ignore,
        };
        let answer = Packet::response(identifier, answer).emit();
        self.last = Some((identifier, answer.clone()));
        PeerStep::Send(answer)
    }

    fn method(&mut self, message: Message) -> Result<Message, PeerStep> {
        match (message, &self.state) {
            (Message::Challenge { id, challenge, .. }, State::Waiting) => {
                let challenges = Challenges {
                    authenticator: &challenge,
                    peer: &self.challenge,
                    name: &self.name,
                };
                let response = self.password.response(&challenges);
                self.state = State::Proven {
                    response,
                    authenticator: challenge,
                };
                Ok(Message::Response {
                    id,
                    challenge: self.challenge,
                    response,
                    name: self.name.clone(),
                })
            }
            (
                Message::Success { text, .. },
                State::Proven {
                    response,
                    authenticator,
                },
            ) => {
                let challenges = Challenges {
                    authenticator,
                    peer: &self.challenge,
                    name: &self.name,
                };
                let expected = self.password.answer(&challenges, response);
                let proven = answer_of(&text).is_some_and(|a| a.ct_eq(&expected).into());
                if !proven {
                    self.state = State::Lost(EapFailure::WrongServer);
                    return Err(PeerStep::Failed(EapFailure::WrongServer));
                }
                self.state = State::Agreed(self.password.msk(response));
                Ok(Message::SuccessAcknowledged)
            }
            (Message::Failure { .. }, State::Proven { .. }) => {
                self.state = State::Lost(EapFailure::WrongPassword);
                Ok(Message::FailureAcknowledged)
            }
            _ => Err(PeerStep::Ignore),
        }
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Peer({})", String::from_utf8_lossy(&self.name))
    }
}
