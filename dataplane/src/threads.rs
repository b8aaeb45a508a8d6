//! The worker threads: each turns its [`Worker`] over and over, sleeps when there is nothing to do, and takes
//! changes from the steward between turns.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use crate::worker::{Change, TurnCount, Worker};

/// Empty turns after which a worker sleeps until a frame arrives.
const IDLE_TURNS: u32 = 32;
/// How long a worker may leave its messages lying.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest sleep: held packets and rate limits need a turn now and then.
const SLEEP: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// `CLOCK_BOOTTIME` in nanoseconds: the clock of lifetimes and of every time in shared memory.
pub fn now() -> u64 {
    let t = clock_gettime(ClockId::Boottime);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// An eventfd that wakes a sleeper; cheap to clone.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// A new one.
    ///
    /// # Errors
    /// When the kernel has no descriptors left.
    pub fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(fd)))
    }

    /// Wakes whoever polls it. A full counter means that it is awake already.
    pub fn wake(&self) {
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }

    /// Makes it sleepable again.
    pub fn clear(&self) {
        let _ = rustix::io::read(&*self.0, &mut [0; 8]);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A running worker thread, as the steward sees it.
pub struct WorkerThread {
    changes: Sender<Message>,
    waker: Waker,
    turns: TurnCount,
    thread: JoinHandle<()>,
}

/// What the steward sends a thread.
pub enum Message {
    /// For the worker.
    Change(Change),
    /// Write this eventfd from now on when an event was pushed for control.
    Notify(OwnedFd),
    /// End after what is in the rings.
    Stop,
}

impl WorkerThread {
    /// Starts a thread for `worker`, pinned to `cpu` if one is given.
    ///
    /// # Errors
    /// When the kernel refuses a thread or a descriptor.
    pub fn start(number: usize, worker: Worker, cpu: Option<u16>) -> io::Result<Self> {
        // Bounded: a steward that runs ahead of a stuck worker must not fill the memory.
        let (changes, inbox) = crossbeam_channel::bounded(256);
        // Other workers wake it as well, for fragments that they hand over.
        let waker = worker.waker().map_or_else(Waker::new, Ok)?;
        let sleeper = waker.clone();
        let turns = worker.turn_count();
        let thread = std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || {
                if let Some(cpu) = cpu {
                    pin(cpu);
                }
                run(worker, &inbox, &sleeper);
            })?;
        Ok(Self {
            changes,
            waker,
            turns,
            thread,
        })
    }

    /// Waits until the worker's turn under way, if there is one, is over.
    pub fn wait_for_turn_end(&self) {
        self.turns.wait_for_turn_end();
    }

    /// Hands a message over and wakes the thread; `false` if it cannot take any now.
    pub fn send(&self, message: Message) -> bool {
        let sent = self.changes.try_send(message).is_ok();
        self.waker.wake();
        sent
    }

    /// Hands a message over that must not be lost.
    ///
    /// # Errors
    /// When the thread has taken none for a second.
    pub fn deliver(&self, message: Message) -> io::Result<()> {
        self.waker.wake();
        let sent = self.changes.send_timeout(message, PATIENCE);
        self.waker.wake();
        sent.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "a worker takes no messages"))
    }

    /// Ends the thread and waits for it.
    pub fn stop(self) {
        let _ = self.changes.send(Message::Stop);
        self.waker.wake();
        let _ = self.thread.join();
    }
}

fn pin(cpu: u16) {
    let mut set = CpuSet::new();
    if usize::from(cpu) < CpuSet::MAX_CPU {
        set.set(usize::from(cpu));
        if let Err(e) = sched_setaffinity(None, &set) {
            eprintln!("cannot pin a worker to CPU {cpu}: {e}; it runs on any");
        }
    }
}

fn run(mut worker: Worker, inbox: &Receiver<Message>, waker: &Waker) {
    let mut idle = 0;
    loop {
        loop {
            match inbox.try_recv() {
                Ok(Message::Change(change)) => worker.apply(change),
                Ok(Message::Notify(eventfd)) => worker.set_notify(eventfd),
                Ok(Message::Stop) | Err(TryRecvError::Disconnected) => {
                    worker.turn(now());
                    return;
                }
                Err(TryRecvError::Empty) => break,
            }
        }
        let handled = worker.turn(now());
        if handled > 0 {
            idle = 0;
            continue;
        }
        idle += 1;
        if idle >= IDLE_TURNS {
            sleep(&worker, waker);
        }
    }
}

/// Waits for a frame, a change, or the next bit of housekeeping.
fn sleep(worker: &Worker, waker: &Waker) {
    let mut fds: arrayvec::ArrayVec<PollFd<'_>, { adit_abi::MAX_PORTS + 1 }> =
        arrayvec::ArrayVec::new();
    fds.push(PollFd::new(waker, PollFlags::IN));
    for fd in worker.poll_fds() {
        if fds
            .try_push(PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .is_err()
        {
            break;
        }
    }
    // An error here (a signal, a port that went) only shortens the sleep.
    let _ = poll(&mut fds, Some(&SLEEP));
    if !fds[0].revents().is_empty() {
        waker.clear();
    }
}
