//! Ports of packets whose later fragments do not show them: stateful fragment checking (RFC 4301 §7.3, §7.4).
//!
//! The first fragment's ports are remembered for a while under the packet's identity; a later fragment that policies
//! or an SA's selectors cannot judge by itself is judged by them. A later fragment that comes first, or on another worker,
//! is dropped: nothing is held here.

use std::hash::{BuildHasher, RandomState};

use crate::events::SECOND;
use crate::packet::{Fragment, Packet};
use crate::reassembly::piece::{Identity, Piece};

/// Packets remembered: 64 KiB a worker.
const PLACES: usize = 1024;
/// How long, in nanoseconds.
const MEMORY: u64 = 15 * SECOND;

/// Which way fragments go; each way has identities of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// To the outside.
    Out,
    /// From outside, in clear.
    Clear,
    /// From outside through the SA in this slot.
    Sa(u32),
}

#[derive(Clone, Copy)]
struct Place {
    whose: (Way, Identity),
    ports: [u16; 2],
    /// Where the first fragment ends: no other may reach into it.
    end: usize,
    until: u64,
}

/// One worker's memory of first fragments; a newer one takes an older one's place.
pub struct FragmentPorts {
    places: Box<[Option<Place>]>,
    // Secret: outsiders choose the keys.
    seed: RandomState,
}

impl Default for FragmentPorts {
    fn default() -> Self {
        Self {
            places: vec![None; PLACES].into_boxed_slice(),
            seed: RandomState::new(),
        }
    }
}

impl FragmentPorts {
    /// Remembers a first fragment's ports at `now` (nanoseconds), and does nothing with another packet.
    #[cold]
    pub fn note(&mut self, packet: &Packet, way: Way, now: u64) {
        let (Fragment::First, Some(ports)) = (packet.fragment, packet.ports) else {
            return;
        };
        let Ok(piece) = Piece::parse(packet.frame.bytes()) else {
            return;
        };
        let place = Place {
            whose: (way, piece.identity),
            ports,
            end: piece.end(),
            until: now.saturating_add(MEMORY),
        };
        if let Some(slot) = self.place(&place.whose) {
            *slot = Some(place);
        }
    }

    /// Gives a later fragment the ports of its first one; whether it could.
    #[cold]
    pub fn show(&mut self, packet: &mut Packet, way: Way, now: u64) -> bool {
        if packet.fragment != Fragment::Later || packet.ports.is_some() {
            return false;
        }
        let Ok(piece) = Piece::parse(packet.frame.bytes()) else {
            return false;
        };
        let (whose, offset) = ((way, piece.identity), piece.offset);
        let found = self.place(&whose).and_then(|place| *place);
        //= RFC 4301 §7.3: a later fragment has to comply with the policy of the overall packet
        match found {
            Some(first) if first.whose == whose && now < first.until && offset >= first.end => {
                packet.ports = Some(first.ports);
                true
            }
            _ => false,
        }
    }

    fn place(&mut self, whose: &(Way, Identity)) -> Option<&mut Option<Place>> {
        let at = self.seed.hash_one(whose) as usize % PLACES;
        self.places.get_mut(at)
    }
}
