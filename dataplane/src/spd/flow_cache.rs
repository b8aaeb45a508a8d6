//! Each worker's memory of decisions, one place a flow, forgotten as a whole when tables change.

use adit_abi::{Flow, Side};

use super::Decision;
use crate::hash::{fold, secret_seed};
use crate::packet::Packet;

/// Places: 512 KiB a worker.
const PLACES: usize = 8192;

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Place {
    key: [u64; 5],
    epoch: u32,
    decision: Decision,
}

const _: () = assert!(size_of::<Place>() == 64);

/// A direct-mapped cache.
pub struct FlowCache {
    places: Box<[Place]>,
    seed: u64,
    epoch: u32,
    hits: u64,
    misses: u64,
}

impl Default for FlowCache {
    fn default() -> Self {
        let empty = Place {
            key: [0; 5],
            epoch: 0,
            decision: Decision::Bypass(0),
        };
        Self {
            places: vec![empty; PLACES].into_boxed_slice(),
            seed: secret_seed(),
            epoch: 1,
            hits: 0,
            misses: 0,
        }
    }
}

impl FlowCache {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            // Epochs begin anew: places of the first round must not come back to life.
            for place in &mut self.places {
                place.epoch = 0;
            }
            self.epoch = 1;
        }
    }

    /// The decision about a packet's flow, from memory or from `decide`.
    ///
    /// `out` tells the two questions about one flow apart: may it go out, may it come in clear.
    #[inline]
    pub fn decide(
        &mut self,
        packet: &Packet,
        out: bool,
        decide: impl FnOnce() -> Decision,
    ) -> Decision {
        let flags = u64::from(packet.ports.is_some()) << 1 | u64::from(out);
        let key = key(&packet.flow_outward(), flags, packet.side);
        let [a, b, c, d, e] = key;
        let hash = fold(
            fold(a ^ b.rotate_left(23) ^ self.seed, c ^ 0x9e37_79b9_7f4a_7c15),
            d ^ e ^ self.seed,
        );
        let at = (hash >> 32) as usize % PLACES;
        let Some(place) = self.places.get_mut(at) else {
            return decide();
        };
        if place.epoch == self.epoch && place.key == key {
            self.hits += 1;
            return place.decision;
        }
        self.misses += 1;
        let decision = decide();
        *place = Place {
            key,
            epoch: self.epoch,
            decision,
        };
        decision
    }

    /// Hits and misses since the last call.
    pub fn take_counts(&mut self) -> (u64, u64) {
        (
            std::mem::take(&mut self.hits),
            std::mem::take(&mut self.misses),
        )
    }
}

fn key(flow: &Flow, flags: u64, side: Side) -> [u64; 5] {
    let ([a, b], [c, d]) = (flow.local.to_words(), flow.remote.to_words());
    let rest = u64::from(flow.local_port) << 48
        | u64::from(flow.remote_port) << 32
        | u64::from(flow.protocol) << 8
        | flags << 2
        | side as u64;
    [a, b, c, d, rest]
}
