//! The steward: the data plane's main thread. It talks with control, prepares SA states, compiles what the
//! workers read, and does whatever needs no packet.
//!
//! It outlives control: when the link breaks, the workers go on with what they have, and the steward tries
//! to connect again, offering both regions to the next control.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adit_abi::link::{Link, Received};
use adit_abi::message::{Setup, ToControl, ToDataplane, Verdict};
use adit_abi::{LAYOUT_VERSION, PolicyReader, StateRegion};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::crypto::Provider;
use crate::dummies::Dummies;
use crate::keepalive::Keepalives;
use crate::opening::{self, BoundQueue};
use crate::reassembly;
use crate::snapshot::Snapshot;
use crate::threads::{Message, WorkerThread, now};
use crate::worker::{Answer, Change, Worker};

/// How long the steward sleeps when control says nothing.
const TICK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};
/// Between two attempts to reach control.
const RECONNECT: Duration = Duration::from_millis(50);
/// Between two slices of the keepalive walk.
const KEEPALIVE_SLICE: u64 = 50_000_000;

/// What control has given.
struct Tables {
    policy: Arc<PolicyReader>,
    state: Arc<StateRegion>,
    notify: OwnedFd,
    snapshot: Arc<Snapshot>,
}

/// The data plane's main thread.
pub struct Steward {
    socket: PathBuf,
    provider: Provider,
    tables: Option<Tables>,
    running: Option<Setup>,
    bound: Vec<(BoundQueue, OwnedFd)>,
    workers: Vec<WorkerThread>,
    keepalives: Keepalives,
    next_keepalive: u64,
    dummies: Dummies,
    /// Set by a signal that asks for an orderly end.
    stop: Arc<AtomicBool>,
}

/// How a conversation with control ended.
enum End {
    /// Control is gone; look for the next.
    Lost,
    /// Control asked the data plane to finish.
    Stop,
}

impl Steward {
    /// A steward that will look for control at `socket`.
    ///
    /// When `stop` becomes true it ends as if control had said so.
    pub fn new(socket: PathBuf, provider: Provider, stop: Arc<AtomicBool>) -> Self {
        Self {
            socket,
            provider,
            tables: None,
            running: None,
            bound: Vec::new(),
            workers: Vec::new(),
            keepalives: Keepalives::default(),
            next_keepalive: 0,
            dummies: Dummies::default(),
            stop,
        }
    }

    /// Serves one control after another until one says stop.
    ///
    /// # Errors
    /// When ports cannot be opened: control was told why, and a supervisor may try again.
    pub fn run(&mut self) -> io::Result<()> {
        let mut told = false;
        while !self.stop.load(Ordering::Relaxed) {
            match Link::connect(&self.socket) {
                Ok(link) => {
                    told = false;
                    match self.serve(&link) {
                        Ok(End::Stop) => break,
                        Ok(End::Lost) => {
                            eprintln!("control is gone; traffic goes on, waiting for it to return")
                        }
                        Err(e) if self.workers.is_empty() => return Err(e),
                        Err(e) => eprintln!("the link to control failed: {e}; traffic goes on"),
                    }
                }
                Err(e) if !told => {
                    told = true;
                    eprintln!(
                        "control is not at {}: {e}; waiting for it",
                        self.socket.display()
                    );
                }
                Err(_) => {}
            }
            std::thread::sleep(RECONNECT);
            self.tick();
        }
        for worker in self.workers.drain(..) {
            worker.stop();
        }
        Ok(())
    }

    fn serve(&mut self, link: &Link) -> io::Result<End> {
        let hello = ToControl::Hello {
            layout: LAYOUT_VERSION,
            pid: std::process::id(),
            running: self.running.clone(),
        };
        match &self.tables {
            Some(t) => link.send(&hello.emit(), &[t.policy.fd(), t.state.fd()])?,
            None => link.send(&hello.emit(), &[])?,
        }
        loop {
            let mut fds = [PollFd::new(link, PollFlags::IN)];
            match poll(&mut fds, Some(&TICK)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
            loop {
                match link.receive()? {
                    Received::Nothing => break,
                    Received::Closed => return Ok(End::Lost),
                    Received::Message(bytes, fds) => {
                        let message = ToDataplane::parse(&bytes)
                            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
                        if let ToDataplane::Stop = message {
                            return Ok(End::Stop);
                        }
                        self.handle(link, message, fds)?;
                    }
                }
            }
            if self.stop.load(Ordering::Relaxed) {
                return Ok(End::Stop);
            }
            self.tick();
        }
    }

    fn handle(&mut self, link: &Link, message: ToDataplane, fds: Vec<OwnedFd>) -> io::Result<()> {
        match message {
            ToDataplane::Regions => self.map(link, fds),
            ToDataplane::Setup(setup) => self.set_up(link, setup, fds),
            ToDataplane::Prepare { token, sas } => {
                if let Some(tables) = &self.tables {
                    let stale = || {
                        sas.iter().filter_map(|p| {
                            let state = tables.state.sa(p.sa.slot)?;
                            (state.generation() != p.sa.generation).then_some((p, state))
                        })
                    };
                    stale().for_each(|(_, state)| state.retire());
                    // A worker in the midst of a burst may still hold the slot's last SA.
                    for worker in &self.workers {
                        worker.wait_for_turn_end();
                    }
                    for (p, state) in stale() {
                        state.prepare(p.sa.generation, p.last_sequence);
                    }
                }
                link.send(&ToControl::Prepared { token }.emit(), &[])
            }
            ToDataplane::Share { token, sa, with } => {
                if let Some(tables) = &self.tables
                    && let (Some(own), Some(shared)) =
                        (tables.state.sa(sa.slot), tables.state.sa(with.slot))
                    && shared.generation() == with.generation
                {
                    own.retire();
                    // A worker in the midst of a burst may still hold the slot's last SA.
                    for worker in &self.workers {
                        worker.wait_for_turn_end();
                    }
                    own.share(sa.generation, with.slot);
                }
                link.send(&ToControl::Prepared { token }.emit(), &[])
            }
            ToDataplane::Changed => {
                self.refresh();
                Ok(())
            }
            ToDataplane::Answer {
                policy,
                selector,
                verdict,
            } => {
                let answer = Answer {
                    policy,
                    selector,
                    clear: verdict == Verdict::Clear,
                };
                for worker in &self.workers {
                    // One that cannot take it drops what it holds when its time is over.
                    worker.send(Message::Change(Change::Answer(answer)));
                }
                Ok(())
            }
            ToDataplane::Steered { .. } | ToDataplane::Stop => Ok(()),
        }
    }

    /// Maps the regions that control sent; running workers change over between two turns.
    fn map(&mut self, link: &Link, fds: Vec<OwnedFd>) -> io::Result<()> {
        let Ok([policy, state, notify]) = <[OwnedFd; 3]>::try_from(fds) else {
            return refuse(link, "Regions came without its three descriptors");
        };
        let (policy, state) = match (PolicyReader::open(policy), StateRegion::open(state, true)) {
            (Ok(policy), Ok(state)) => (policy, state),
            (Err(e), _) => return refuse(link, &format!("the policy region cannot be used: {e}")),
            (_, Err(e)) => return refuse(link, &format!("the state region cannot be used: {e}")),
        };
        let (policy, state) = (Arc::new(policy), Arc::new(state));
        let snapshot = Arc::new(Snapshot::compile(&policy));
        state.set_workers(self.workers.len());
        for worker in &self.workers {
            worker.deliver(Message::Change(Change::Tables {
                policy: policy.clone(),
                state: state.clone(),
            }))?;
            worker.deliver(Message::Change(Change::Snapshot(snapshot.clone())))?;
            worker.deliver(Message::Notify(notify.try_clone()?))?;
        }
        self.tables = Some(Tables {
            policy,
            state,
            notify,
            snapshot,
        });
        link.send(&ToControl::Mapped.emit(), &[])?;
        match self.running {
            // A new control does not know how the ports are bound.
            Some(_) => self.report_ports(link),
            None => Ok(()),
        }
    }

    /// Tells control of every bound queue, and that all is ready.
    fn report_ports(&self, link: &Link) -> io::Result<()> {
        for (b, fd) in &self.bound {
            let report = ToControl::Bound {
                port: b.port,
                queue: b.queue,
                zero_copy: b.zero_copy,
                reason: b.reason.clone(),
            };
            link.send(&report.emit(), &[fd.as_fd()])?;
        }
        link.send(&ToControl::Ready.emit(), &[])
    }

    /// Opens the ports and starts the workers, once in this process's life.
    fn set_up(&mut self, link: &Link, setup: Setup, fds: Vec<OwnedFd>) -> io::Result<()> {
        if self.running.is_some() {
            return refuse(
                link,
                "ports are open already; restart the data plane to open others",
            );
        }
        let Some(tables) = &self.tables else {
            return refuse(link, "Setup came before Regions");
        };
        let outfits = match opening::open(&setup, fds.first()) {
            Ok(outfits) => outfits,
            Err(e) => {
                refuse(link, &e.to_string())?;
                return Err(io::Error::other(e));
            }
        };
        let seats = reassembly::handoff::seats(outfits.len())?;
        for (n, (mut outfit, seat)) in outfits.into_iter().zip(seats).enumerate() {
            self.bound.append(&mut outfit.bound);
            let mut worker = Worker::new(
                n,
                tables.policy.clone(),
                tables.state.clone(),
                tables.snapshot.clone(),
                outfit.ports,
                outfit.stock,
                self.provider,
            );
            worker.sit(seat);
            worker.set_notify(tables.notify.try_clone()?);
            let cpu = setup.cpus.get(n).copied();
            self.workers.push(WorkerThread::start(n, worker, cpu)?);
        }
        tables.state.set_workers(self.workers.len());
        self.running = Some(setup);
        self.report_ports(link)
    }

    /// What is done from time to time, with or without control.
    fn tick(&mut self) {
        self.refresh();
        let now = now();
        if !self.dummies.is_empty()
            && let Some(first) = self.workers.first()
        {
            for (sa, count) in self.dummies.due(now) {
                first.send(Message::Change(Change::Dummies(sa, count)));
            }
        }
        if now < self.next_keepalive {
            return;
        }
        self.next_keepalive = now + KEEPALIVE_SLICE;
        if let (Some(t), Some(first)) = (&self.tables, self.workers.first()) {
            self.dummies.look(&t.policy, now);
            for sa in self.keepalives.due(&t.policy, &t.state, now) {
                first.send(Message::Change(Change::Keepalive(sa)));
            }
        }
    }

    /// Compiles a new snapshot when policies, settings or forwarding have changed.
    fn refresh(&mut self) {
        let Some(tables) = &mut self.tables else {
            return;
        };
        if !tables.snapshot.is_stale(&tables.policy) {
            return;
        }
        let mut snapshot = tables.snapshot.recompile(&tables.policy);
        // A policy that is given other contents reads as empty for a moment, and its twin may have come behind the
        // reader's back: what changed meanwhile is looked at again. In a storm, the next tick does.
        for _ in 0..3 {
            if snapshot.is_stale(&tables.policy) {
                snapshot = snapshot.recompile(&tables.policy);
            }
        }
        let snapshot = Arc::new(snapshot);
        let mut deliver = self
            .workers
            .iter()
            .map(|worker| worker.send(Message::Change(Change::Snapshot(snapshot.clone()))));
        // A worker that could not take it makes the next tick try again.
        if deliver.all(|taken| taken) {
            tables.snapshot = snapshot;
        }
    }
}

/// Tells control and the log that something cannot be done.
fn refuse(link: &Link, reason: &str) -> io::Result<()> {
    eprintln!("{reason}");
    link.send(
        &ToControl::Failed {
            reason: reason.to_owned(),
        }
        .emit(),
        &[],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_abi::message::{PortSetup, Prepare, ZeroCopy};
    use adit_abi::{Capacity, PolicyWriter, SaRef, Side};
    use rustix::event::{EventfdFlags, eventfd};
    use std::time::Instant;

    const CAPACITY: Capacity = Capacity {
        sas: 8,
        policies: 4,
        routes: 4,
        neighbours: 4,
        window: 64,
    };

    /// A steward in a thread of its own, and control's end of its link.
    struct Rig {
        control: Link,
        steward: std::thread::JoinHandle<io::Result<bool>>,
    }

    impl Rig {
        fn new() -> Self {
            let (control, plane) = Link::pair().unwrap();
            let steward = std::thread::spawn(move || {
                let mut steward = Steward::new(PathBuf::new(), Provider::Reference, Arc::default());
                let end = steward.serve(&plane)?;
                Ok(matches!(end, End::Stop))
            });
            Self { control, steward }
        }

        fn hear(&self) -> (ToControl, usize) {
            let deadline = Instant::now() + Duration::from_secs(10);
            while Instant::now() < deadline {
                match self.control.receive().unwrap() {
                    Received::Message(bytes, fds) => {
                        return (ToControl::parse(&bytes).unwrap(), fds.len());
                    }
                    Received::Nothing => {
                        let mut fds = [PollFd::new(&self.control, PollFlags::IN)];
                        poll(&mut fds, Some(&TICK)).unwrap();
                    }
                    Received::Closed => panic!("the steward hung up"),
                }
            }
            panic!("the steward said nothing for 10 s");
        }

        fn say(&self, message: &ToDataplane, fds: &[std::os::fd::BorrowedFd<'_>]) {
            self.control.send(&message.emit(), fds).unwrap();
        }
    }

    fn regions() -> (PolicyWriter, OwnedFd, OwnedFd) {
        let policy = PolicyWriter::create(&CAPACITY, 1).unwrap();
        let state = StateRegion::create(&CAPACITY).unwrap();
        (policy, state, eventfd(0, EventfdFlags::CLOEXEC).unwrap())
    }

    #[test]
    fn states_are_prepared_in_the_region_that_control_sent() {
        let rig = Rig::new();
        let (hello, fds) = rig.hear();
        assert!(matches!(hello, ToControl::Hello { running: None, .. }));
        assert_eq!(fds, 0);
        let (policy, state, event) = regions();
        rig.say(
            &ToDataplane::Regions,
            &[policy.reader().fd(), state.as_fd(), event.as_fd()],
        );
        assert_eq!(rig.hear().0, ToControl::Mapped);
        let sa = SaRef {
            slot: 3,
            generation: 7,
        };
        let beyond = SaRef {
            slot: 99,
            generation: 7,
        };
        let sas = [sa, beyond]
            .map(|sa| Prepare {
                sa,
                last_sequence: 5,
            })
            .to_vec();
        rig.say(
            &ToDataplane::Prepare {
                token: 1,
                sas: sas.clone(),
            },
            &[],
        );
        assert_eq!(rig.hear().0, ToControl::Prepared { token: 1 });
        let state = StateRegion::open(state, true).unwrap();
        let prepared = state.sa(3).unwrap();
        assert_eq!(prepared.generation(), 7);
        // Asked again for the same generation, as after a restart of control, nothing goes back.
        prepared
            .sequence()
            .store(100, std::sync::atomic::Ordering::Relaxed);
        rig.say(&ToDataplane::Prepare { token: 2, sas }, &[]);
        assert_eq!(rig.hear().0, ToControl::Prepared { token: 2 });
        assert_eq!(
            prepared
                .sequence()
                .load(std::sync::atomic::Ordering::Relaxed),
            100
        );
        rig.say(&ToDataplane::Stop, &[]);
        assert!(rig.steward.join().unwrap().unwrap());
    }

    #[test]
    fn what_cannot_be_done_is_said_with_its_remedy() {
        let rig = Rig::new();
        rig.hear();
        let (policy, state, event) = regions();
        rig.say(
            &ToDataplane::Regions,
            &[policy.reader().fd(), state.as_fd()],
        );
        let (answer, _) = rig.hear();
        assert!(matches!(answer, ToControl::Failed { reason } if reason.contains("descriptors")));
        rig.say(
            &ToDataplane::Regions,
            &[policy.reader().fd(), state.as_fd(), event.as_fd()],
        );
        rig.hear();
        let setup = Setup {
            frame_size: 2048,
            frames_per_worker: 64,
            ring_size: 64,
            workers: 2,
            huge_pages: false,
            zero_copy: ZeroCopy::Auto,
            cpus: vec![],
            ports: vec![PortSetup {
                number: 0,
                ifindex: 1,
                side: Side::Inside,
                queues: 1,
                name: "lan0".into(),
            }],
        };
        rig.say(&ToDataplane::Setup(setup), &[]);
        let (answer, _) = rig.hear();
        assert!(
            matches!(answer, ToControl::Failed { reason } if reason.contains("gateway.workers"))
        );
        // A data plane that cannot open its ports ends, so that whoever supervises it tries again.
        assert!(rig.steward.join().unwrap().is_err());
    }

    #[test]
    fn a_control_that_goes_or_talks_nonsense_does_not_end_the_data_plane() {
        let rig = Rig::new();
        rig.hear();
        drop(rig.control);
        assert!(!rig.steward.join().unwrap().unwrap());
        let rig = Rig::new();
        rig.hear();
        rig.control.send(b"nonsense", &[]).unwrap();
        assert!(rig.steward.join().unwrap().is_err());
    }
}
