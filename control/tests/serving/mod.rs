//! A control socket served by a thread of its own, with whatever commands a test has behind it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use adit_control::vici::{Access, Commands, Server};
use mio::{Events, Poll, Token, Waker};

const WAKE: Token = Token(7);
const FIRST: usize = 100;

/// A running server in a directory of its own; dropping the value ends it and removes the directory.
pub struct Serving {
    directory: PathBuf,
    stop: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// Serves `commands`; `afterwards` has the server once each turn, and says whether it left work to do.
    pub fn start<C: Commands + Send + 'static>(
        name: &str,
        access: Access,
        mut commands: C,
        mut afterwards: impl FnMut(&mut C, &mut Server) -> bool + Send + 'static,
    ) -> Self {
        let directory = std::env::temp_dir().join(format!("adit-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir(&directory).unwrap();
        let mut poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), WAKE).unwrap();
        let path = directory.join("vici");
        let mut server = Server::bind(path, access, poll.registry(), FIRST).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = stop.clone();
        let thread = thread::spawn(move || {
            let mut events = Events::with_capacity(64);
            let mut left = false;
            while !stopping.load(Ordering::SeqCst) {
                poll.poll(&mut events, left.then_some(Duration::ZERO))
                    .unwrap();
                for event in &events {
                    server.ready(event);
                }
                left = server.turn(poll.registry(), &mut commands);
                left |= afterwards(&mut commands, &mut server);
            }
        });
        Serving {
            directory,
            stop,
            waker,
            thread: Some(thread),
        }
    }

    /// The socket.
    pub fn path(&self) -> PathBuf {
        self.directory.join("vici")
    }

    /// Stops the loop; returns once the server is dropped.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.waker.wake().unwrap();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !thread::panicking() {
                ended.unwrap();
            }
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
