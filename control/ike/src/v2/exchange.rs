//! Requests and responses: message IDs, the windows of one request each way, copies sent again (RFC 7296 §2.1–§2.3).

use super::informational::Informational;
use super::{child, rekey_ike};
use crate::time::Instant;
use crate::wire::v2::{ExchangeType, Reassembly};

/// What an answer to our request will be handled with.
pub(crate) enum Exchange {
    /// IKE_SA_INIT, IKE_INTERMEDIATE or IKE_AUTH: the handshake's state knows.
    Handshake,
    /// CREATE_CHILD_SA for a new child, or for new keys of one.
    CreateChild(Box<child::Create>),
    /// CREATE_CHILD_SA for new keys of the IKE SA.
    RekeyIke(Box<rekey_ike::Rekey>),
    /// INFORMATIONAL.
    Informational(Informational),
}

/// A request that waits for its response.
pub(crate) struct InFlight {
    pub id: u32,
    pub kind: ExchangeType,
    /// The message, in fragments where it is too long: sent again as it is.
    pub datagrams: Vec<Vec<u8>>,
    pub sent: u32,
    pub due: Instant,
    pub exchange: Exchange,
}

/// Our requests.
//= RFC 7296 §2.3: one request at a time is always allowed; a larger window that the peer offers is not used
#[derive(Default)]
pub(crate) struct Outgoing {
    /// Message ID of the next request.
    pub next: u32,
    pub in_flight: Option<Box<InFlight>>,
    /// Fragments of its response.
    pub fragments: Reassembly,
}

/// The peer's requests.
#[derive(Default)]
pub(crate) struct Incoming {
    /// Message ID of the next request.
    pub next: u32,
    /// Our last response: sent again when its request comes again.
    pub last: Vec<Vec<u8>>,
    /// The request `next` is here and its answer waits for something.
    pub working: bool,
    /// Fragments of the request `next`.
    pub fragments: Reassembly,
}

/// What a request's message ID says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The next one.
    Next,
    /// The last one again.
    Again,
    /// Any other: old, ahead of the window, or being worked on.
    Stray,
}

impl Incoming {
    pub fn order(&self, id: u32) -> Order {
        if id == self.next {
            return if self.working {
                Order::Stray
            } else {
                Order::Next
            };
        }
        //= RFC 7296 §2.1: a request that comes again is answered with the same response, as it was
        if id.checked_add(1) == Some(self.next) && !self.last.is_empty() {
            return Order::Again;
        }
        Order::Stray
    }

    /// Takes note of the response to the request `next`.
    pub fn answered(&mut self, response: Vec<Vec<u8>>) {
        self.next = self.next.wrapping_add(1);
        self.last = response;
        self.working = false;
        self.fragments = Reassembly::new();
    }
}

impl Outgoing {
    /// Whether the response with these numbers is waited for.
    pub fn expects(&self, id: u32, kind: ExchangeType) -> bool {
        self.in_flight
            .as_ref()
            .is_some_and(|f| f.id == id && f.kind == kind)
    }

    /// Takes the request out that was answered.
    pub fn finish(&mut self) -> Option<InFlight> {
        self.fragments = Reassembly::new();
        self.in_flight.take().map(|f| *f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_new_once_and_then_answered_again() {
        let mut i = Incoming {
            next: 1,
            ..Incoming::default()
        };
        assert_eq!(i.order(0), Order::Stray, "nothing to repeat");
        assert_eq!(i.order(1), Order::Next);
        assert_eq!(i.order(2), Order::Stray, "ahead of the window");
        i.working = true;
        assert_eq!(i.order(1), Order::Stray);
        i.answered(vec![vec![1]]);
        assert_eq!(i.order(1), Order::Again);
        assert_eq!(i.order(2), Order::Next);
        assert_eq!(i.order(0), Order::Stray);
    }
}
