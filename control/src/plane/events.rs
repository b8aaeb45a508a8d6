//! Taking events out of the data plane's rings.

use adit_abi::{Event, EventReader, MAX_WORKERS, StateRegion};

/// Events taken from one ring before the others have their turn.
const TURN: usize = 64;

/// Control's place in every ring.
pub struct Events {
    readers: Vec<EventReader>,
    lost: u64,
}

impl Events {
    /// Begins with what comes after now.
    pub fn from_now(state: &StateRegion) -> Self {
        Self {
            readers: (0..MAX_WORKERS)
                .map(|n| EventReader::at_end(&state.events(n)))
                .collect(),
            lost: 0,
        }
    }

    /// Events that the data plane overwrote before they were read.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Hands out what waits, at most a turn's worth from each ring; returns whether more waits.
    pub fn drain(&mut self, state: &StateRegion, mut handle: impl FnMut(Event)) -> bool {
        let mut more = false;
        // What the data plane says about its workers is not believed: every ring is looked at.
        for (n, reader) in self.readers.iter_mut().enumerate() {
            let ring = state.events(n);
            for turn in 0.. {
                if turn == TURN {
                    more = true;
                    break;
                }
                let Some((_, event, lost)) = reader.next(&ring) else {
                    break;
                };
                self.lost = self.lost.saturating_add(lost);
                handle(event);
            }
        }
        more
    }
}
