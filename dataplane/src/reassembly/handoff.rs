//! Fragments of one datagram may arrive on the queues of different workers: each datagram has one worker that
//! puts it together, found by a hash of its identity, and the others hand their copies over.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::datagram::Held;
use super::piece::Identity;
use crate::threads::Waker;

/// Fragments that may lie before a worker that has not had its turn.
const INBOX: usize = 256;

/// Where one worker takes fragments from the others.
struct Desk {
    outbox: Sender<Held>,
    waker: Waker,
}

/// One worker's place among all.
pub struct Seat {
    number: usize,
    inbox: Receiver<Held>,
    desks: Arc<[Desk]>,
    seed: Arc<RandomState>,
}

/// Places for so many workers.
///
/// # Errors
/// When the kernel has no descriptors left.
pub fn seats(workers: usize) -> io::Result<Vec<Seat>> {
    let (mut desks, mut inboxes) = (Vec::new(), Vec::new());
    for _ in 0..workers {
        let (outbox, inbox) = bounded(INBOX);
        desks.push(Desk {
            outbox,
            waker: Waker::new()?,
        });
        inboxes.push(inbox);
    }
    let desks: Arc<[Desk]> = desks.into();
    let seed = Arc::new(RandomState::new());
    let seats = inboxes.into_iter().enumerate().map(|(number, inbox)| Seat {
        number,
        inbox,
        desks: Arc::clone(&desks),
        seed: Arc::clone(&seed),
    });
    Ok(seats.collect())
}

impl Seat {
    /// What wakes this worker.
    pub fn waker(&self) -> Option<Waker> {
        self.desks.get(self.number).map(|desk| desk.waker.clone())
    }

    /// Gives a fragment to the worker whose it is; back if that is this one.
    ///
    /// # Errors
    /// [`Full`] when that worker has too many before it already.
    pub fn hand_over(&self, identity: &Identity, held: Held) -> Result<Option<Held>, Full> {
        let owner = self.seed.hash_one(identity) as usize % self.desks.len().max(1);
        match self.desks.get(owner) {
            Some(desk) if owner != self.number => {
                desk.outbox.try_send(held).map_err(|_| Full)?;
                desk.waker.wake();
                Ok(None)
            }
            _ => Ok(Some(held)),
        }
    }

    /// A fragment that another worker gave.
    pub fn receive(&self) -> Option<Held> {
        self.inbox.try_recv().ok()
    }
}

/// The other worker takes no more now.
#[derive(Clone, Copy, Debug)]
pub struct Full;
