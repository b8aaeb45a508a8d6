//! When a worker is between turns, and so holds nothing that it looked up before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Counts the beginnings and ends of one worker's turns: odd during a turn.
#[derive(Clone, Debug, Default)]
pub struct TurnCount(Arc<AtomicU64>);

impl TurnCount {
    /// A turn begins. What another thread did before it waited for this is seen from here on.
    pub(super) fn begin(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// The turn is over.
    pub(super) fn end(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    /// Waits until the turn under way, if there is one, is over.
    ///
    /// Whatever the caller stored before is seen by every later turn. So an SA's state that was retired
    /// first is in nobody's hands afterwards and may be prepared for another SA: otherwise a worker in the
    /// midst of a burst could take numbers from the new SA's counter and use them under the old one's key.
    pub fn wait_for_turn_end(&self) {
        fence(Ordering::SeqCst);
        let seen = self.0.load(Ordering::SeqCst);
        if seen.is_multiple_of(2) {
            return;
        }
        while self.0.load(Ordering::Acquire) == seen {
            // A turn takes microseconds, but the worker may need this very core.
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// A worker that uses what it found valid at the beginning of a turn, and another thread that
    /// invalidates it, waits, and makes something else of it.
    #[test]
    fn nothing_is_in_use_after_the_wait() {
        let count = TurnCount::default();
        let (valid, stop) = (AtomicU64::new(1), AtomicU64::new(0));
        let in_use = AtomicU64::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                while stop.load(Ordering::Relaxed) == 0 {
                    count.begin();
                    if valid.load(Ordering::Relaxed) == 1 {
                        in_use.store(1, Ordering::Relaxed);
                        std::hint::spin_loop();
                        in_use.store(0, Ordering::Relaxed);
                    }
                    count.end();
                }
            });
            for _ in 0..2000 {
                valid.store(0, Ordering::Release);
                count.wait_for_turn_end();
                assert_eq!(in_use.load(Ordering::Relaxed), 0);
                valid.store(1, Ordering::Release);
            }
            stop.store(1, Ordering::Relaxed);
        });
    }
}
