//! Threads for public-key work, so that a storm of handshakes never stalls the loop.

use std::io;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, unbounded};
use mio::Waker;

/// Jobs that wait, at most: beyond that a handshake fails, and its peer tries again.
const WAITING: usize = 4096;

/// Work to be done elsewhere.
type Job<T> = Box<dyn FnOnce() -> T + Send>;

/// The threads, and what they have done.
pub struct Workers<T> {
    jobs: Sender<Job<T>>,
    done: Receiver<T>,
}

impl<T: Send + 'static> Workers<T> {
    /// Starts `threads` threads; each result wakes the loop through `waker`. They end when this is dropped.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(threads: usize, waker: &Arc<Waker>) -> io::Result<Self> {
        let (jobs, waiting) = bounded::<Job<T>>(WAITING);
        let (results, done) = unbounded();
        for n in 0..threads.max(1) {
            let (waiting, results, waker) = (waiting.clone(), results.clone(), waker.clone());
            thread::Builder::new()
                .name(format!("public-key-{n}"))
                .spawn(move || {
                    for job in waiting {
                        if results.send(job()).is_err() {
                            return;
                        }
                        // It fails only when the loop is gone.
                        let _ = waker.wake();
                    }
                })?;
        }
        Ok(Self { jobs, done })
    }

    /// Hands a job over; gives it back if too many wait.
    pub fn submit(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<(), Job<T>> {
        match self.jobs.try_send(Box::new(job)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => Err(job),
        }
    }

    /// A result, if one is there.
    pub fn poll(&self) -> Option<T> {
        self.done.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_come_back_and_wake_the_loop() {
        let mut poll = mio::Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), mio::Token(0)).unwrap());
        let workers = Workers::start(2, &waker).unwrap();
        for n in 0..10u32 {
            assert!(workers.submit(move || n * n).is_ok());
        }
        let mut results = Vec::new();
        let mut events = mio::Events::with_capacity(4);
        while results.len() < 10 {
            poll.poll(&mut events, Some(Duration::from_secs(5)))
                .unwrap();
            assert!(!events.is_empty(), "woken within the time");
            results.extend(std::iter::from_fn(|| workers.poll()));
        }
        results.sort_unstable();
        assert_eq!(results, [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]);
    }
}
