//! Each worker's memory of where destinations lead.

use adit_abi::Address;

use super::fib::{Fib, Hop};
use crate::hash::{fold, secret_seed};

/// Places: 64 KiB a worker.
const PLACES: usize = 1024;

#[derive(Clone, Copy)]
struct Place {
    epoch: u64,
    destination: Address,
    hop: Hop,
}

const _: () = assert!(size_of::<Place>() <= 64);

/// A direct-mapped cache of [`Fib::hop`].
pub struct HopCache {
    places: Box<[Place]>,
    seed: u64,
}

impl Default for HopCache {
    fn default() -> Self {
        let empty = Place {
            epoch: 0,
            destination: Address::UNSPECIFIED,
            hop: Hop::Host { local: false },
        };
        Self {
            places: vec![empty; PLACES].into_boxed_slice(),
            seed: secret_seed(),
        }
    }
}

impl HopCache {
    /// The hop under the snapshot numbered `epoch`, which is never 0.
    #[inline]
    pub fn hop(&mut self, epoch: u64, fib: &Fib, destination: &Address) -> Hop {
        let [a, b] = destination.to_words();
        let at = (fold(a ^ self.seed, b ^ self.seed.rotate_left(29)) >> 32) as usize % PLACES;
        let Some(place) = self.places.get_mut(at) else {
            return fib.hop(destination);
        };
        if place.epoch != epoch || place.destination != *destination {
            *place = Place {
                epoch,
                destination: *destination,
                hop: fib.hop(destination),
            };
        }
        place.hop
    }
}
