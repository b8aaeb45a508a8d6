//! AF_XDP ports on real interfaces: frames cross a forwarder between two of them, none is lost, and binding copes with what it meets.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use adit::lab::{LabError, Namespace, Shape, Side as End, Topology};
use adit_bpf::{Side, Steering};
use adit_dataplane::frame::{BURST, Burst, ChunkSize, HugePages, Stock, Umem};
use adit_dataplane::port::Port;
use adit_dataplane::port::xdp::{RING, XdpPort, ZeroCopy};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::steered::{attach, connect, number, numbered, open, pin_dir};
use crate::{alone, runnable};

const LIMIT: Duration = Duration::from_secs(20);
const QUEUES: u16 = 2;
/// Frames a sender may have under way at once, far from any ring's end.
const WINDOW: usize = 256;

fn memory(chunks: u32) -> &'static Umem {
    Umem::new(chunks, ChunkSize::K2, HugePages::Off).expect("memory")
}

/// The far end of a gateway's wire: sends numbered frames, and receives what is steered to it.
struct FarEnd {
    queues: Vec<XdpPort>,
    stock: Stock,
    sent: u32,
    received: BTreeSet<u32>,
    duplicates: usize,
    // Keeps the program attached.
    _steering: Steering,
}

impl FarEnd {
    fn new(topology: &Topology, namespace: &Namespace, device: &str) -> FarEnd {
        let umem = memory(3 * RING * u32::from(QUEUES));
        let mut stock = umem.stock(umem.chunks());
        let ports = open(namespace, umem, &[device], QUEUES.into(), ZeroCopy::Auto);
        let mut port = ports.expect("ports").remove(0);
        for queue in &mut port.queues {
            queue.reclaim(&mut stock);
        }
        let mut steering =
            Steering::load(&pin_dir(topology, namespace.name())).expect("the program");
        attach(&mut steering, namespace, device, Side::Inside);
        connect(&mut steering, &port.queues);
        FarEnd {
            queues: port.queues,
            stock,
            sent: 0,
            received: BTreeSet::new(),
            duplicates: 0,
            _steering: steering,
        }
    }

    /// How many frames it may send before the other end has received more.
    fn room(&self, other: &FarEnd) -> u32 {
        let ahead = self.sent as usize - other.received.len();
        WINDOW.saturating_sub(ahead) as u32
    }

    /// Sends up to `count` frames, in turn on each queue.
    fn send(&mut self, count: u32) {
        for _ in 0..count {
            let mut frame = self.stock.take().expect("a frame");
            // Every size from the smallest to the largest.
            let payload = 18 + self.sent as usize * 7 % (1472 - 18);
            assert!(frame.fill(&numbered(self.sent, payload)));
            let mut burst = Burst::new();
            burst.push(frame);
            let queue = self.sent as usize % self.queues.len();
            assert_eq!(self.queues[queue].transmit(&mut burst, &mut self.stock), 1);
            self.sent += 1;
        }
        for queue in &mut self.queues {
            queue.flush();
        }
    }

    fn receive(&mut self) {
        for queue in &mut self.queues {
            queue.reclaim(&mut self.stock);
            let mut burst = Burst::new();
            queue.receive(&mut self.stock, &mut burst);
            for frame in &burst {
                if let Some(number) = number(frame.bytes()) {
                    let payload = 18 + number as usize * 7 % (1472 - 18);
                    assert_eq!(frame.bytes(), numbered(number, payload));
                    self.duplicates += usize::from(!self.received.insert(number));
                }
            }
            self.stock.put_all(&mut burst);
            queue.flush();
        }
    }
}

/// Sends `count` frames each way, never more than a window ahead of the other end.
fn exchange(a: &mut FarEnd, b: &mut FarEnd, count: u32) {
    let deadline = Instant::now() + LIMIT;
    let goal = a.sent + count;
    while (a.received.len() < goal as usize || b.received.len() < goal as usize)
        && Instant::now() < deadline
    {
        let (room_a, room_b) = (a.room(b), b.room(a));
        a.send(room_a.min(goal - a.sent));
        b.send(room_b.min(goal - b.sent));
        a.receive();
        b.receive();
    }
    let all: BTreeSet<u32> = (0..goal).collect();
    for end in [&a, &b] {
        let missing: Vec<_> = all.difference(&end.received).collect();
        assert!(missing.is_empty(), "{} missing: {missing:?}", missing.len());
        assert_eq!(end.duplicates, 0);
    }
}

/// One worker of the forwarder: queue i of both ports, and its own stock.
struct Worker {
    ports: [XdpPort; 2],
    stock: Stock,
    frames: usize,
}

impl Worker {
    fn turn(&mut self) -> usize {
        let mut moved = 0;
        for (from, to) in [(0, 1), (1, 0)] {
            let mut burst = Burst::new();
            moved += self.ports[from].receive(&mut self.stock, &mut burst);
            self.ports[to].transmit(&mut burst, &mut self.stock);
            self.stock.put_all(&mut burst);
        }
        for port in &mut self.ports {
            port.reclaim(&mut self.stock);
            port.flush();
        }
        moved
    }

    fn run(mut self, stop: &AtomicBool) -> Worker {
        while !stop.load(Ordering::Relaxed) {
            if self.turn() > 0 {
                continue;
            }
            let mut fds: Vec<PollFd<'_>> = self
                .ports
                .iter()
                .filter_map(|port| Some(PollFd::from_borrowed_fd(port.poll_fd()?, PollFlags::IN)))
                .collect();
            let tick = Timespec {
                tv_sec: 0,
                tv_nsec: 5_000_000,
            };
            poll(&mut fds, Some(&tick)).expect("poll");
        }
        self
    }

    /// Waits for the kernel to be done with everything, and counts.
    fn account(mut self) {
        let deadline = Instant::now() + LIMIT;
        let sending =
            |worker: &Worker| -> u32 { worker.ports.iter().map(|port| port.in_kernel().1).sum() };
        while sending(&self) > 0 && Instant::now() < deadline {
            self.turn();
        }
        assert_eq!(sending(&self), 0, "frames the kernel never completed");
        let posted: u32 = self.ports.iter().map(|port| port.in_kernel().0).sum();
        assert_eq!(self.stock.len() + posted as usize, self.frames);
        let mut chunks = BTreeSet::new();
        while let Some(frame) = self.stock.take() {
            assert!(chunks.insert(frame.chunk()), "a chunk in two frames");
            std::mem::forget(frame);
        }
        for port in &self.ports {
            let statistics = port.statistics();
            assert!(statistics.received > 0, "a queue without traffic");
            assert_eq!(
                (statistics.invalid_descriptors, statistics.receive_ring_full),
                (0, 0)
            );
        }
    }
}

/// A forwarder between both interfaces of gateway A, with one worker per queue on one UMEM.
struct Forwarder {
    umem: &'static Umem,
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Result<Worker, LabError>>>,
    // Keeps the program attached.
    _steering: Steering,
}

impl Forwarder {
    fn start(topology: &Topology, zero_copy: ZeroCopy) -> Forwarder {
        let gateway = topology.gateway(End::A);
        let umem = memory(5 * RING * u32::from(QUEUES));
        let devices = ["inside", "outside"];
        let ports = open(gateway, umem, &devices, QUEUES.into(), zero_copy).expect("ports");
        let mut steering = Steering::load(&pin_dir(topology, "forwarder")).expect("the program");
        attach(&mut steering, gateway, "inside", Side::Inside);
        attach(&mut steering, gateway, "outside", Side::Outside);
        assert!(ports.iter().all(|port| !port.zero_copy));
        let [inside, outside]: [_; 2] = ports
            .try_into()
            .unwrap_or_else(|_| panic!("two interfaces"));
        let stop = Arc::new(AtomicBool::new(false));
        let pairs = inside.queues.into_iter().zip(outside.queues);
        let workers = pairs.map(|(inside, outside)| {
            let mut ports = [inside, outside];
            let mut stock = umem.stock(5 * RING);
            let frames = stock.len();
            // Before the first frame is steered to them.
            for port in &mut ports {
                port.reclaim(&mut stock);
            }
            connect(&mut steering, &ports);
            let worker = Worker {
                ports,
                frames,
                stock,
            };
            let stop = Arc::clone(&stop);
            gateway
                .spawn("worker", move || worker.run(&stop))
                .expect("a thread")
        });
        Forwarder {
            umem,
            workers: workers.collect(),
            stop,
            _steering: steering,
        }
    }

    fn stop(self) -> Vec<Worker> {
        self.stop.store(true, Ordering::Relaxed);
        assert_eq!(self.umem.strays(), 0);
        self.workers
            .into_iter()
            .map(|worker| worker.join().expect("no panic").expect("the namespace"))
            .collect()
    }
}

#[test]
fn frames_cross_a_forwarder_both_ways_and_every_frame_is_accounted_for() {
    or_skip!(runnable());
    let _alone = alone();
    let shape = Shape {
        queues: QUEUES,
        tapped: false,
    };
    let topology = Topology::build(shape).expect("a lab");
    let forwarder = Forwarder::start(&topology, ZeroCopy::Auto);
    let mut a = FarEnd::new(&topology, topology.host(End::A), "eth0");
    let mut b = FarEnd::new(&topology, topology.gateway(End::B), "outside");
    exchange(&mut a, &mut b, 400);
    // Often enough around every ring to reuse each slot.
    exchange(&mut a, &mut b, 3 * RING * u32::from(QUEUES));
    for worker in forwarder.stop() {
        worker.account();
    }

    // The next one binds while the kernel still cleans up behind the last.
    let forwarder = Forwarder::start(&topology, ZeroCopy::Copy);
    exchange(&mut a, &mut b, 400);
    drop(forwarder.stop());
}

#[test]
fn a_queue_that_is_held_for_a_while_is_waited_for() {
    or_skip!(runnable());
    let _alone = alone();
    let topology = Topology::build(Shape::default()).expect("a lab");
    let gateway = topology.gateway(End::A);
    let try_open = || open(gateway, memory(64), &["inside"], 1, ZeroCopy::Copy);
    let held = try_open().expect("a port");
    let Err(refused) = try_open() else {
        panic!("one queue bound twice");
    };
    assert_eq!(
        refused.to_string(),
        "inside queue 0: cannot bind in copy mode: Device or resource busy (os error 16) \
         (another program holds this queue)"
    );
    let holder = std::thread::spawn(move || {
        // Not a wait for a condition: the time for which the queue is held.
        std::thread::sleep(Duration::from_millis(100));
        drop(held);
    });
    let start = Instant::now();
    try_open().expect("a port once the other is gone");
    assert!(start.elapsed() >= Duration::from_millis(90));
    holder.join().expect("no panic");
}

#[test]
fn zero_copy_is_refused_when_forced_and_done_without_when_not() {
    or_skip!(runnable());
    let _alone = alone();
    let topology = Topology::build(Shape::default()).expect("a lab");
    let gateway = topology.gateway(End::A);
    let both = ["inside", "outside"];
    let Err(refused) = open(gateway, memory(64), &both, 1, ZeroCopy::Force) else {
        panic!("veth has no zero-copy mode");
    };
    let why = "inside queue 0: cannot bind in zero-copy mode: Operation not supported (os error 95) \
               (the driver has no zero-copy mode)";
    assert_eq!(refused.to_string(), why);

    let ports = open(gateway, memory(64), &both, 1, ZeroCopy::Auto).expect("ports");
    assert!(ports.iter().all(|port| !port.zero_copy));
    assert_eq!(ports[0].reason, why);
    assert_eq!(
        ports[1].reason,
        format!("frames are shared with another port: {why}")
    );
}

#[test]
fn a_queue_or_an_interface_that_is_not_there_is_named() {
    or_skip!(runnable());
    let _alone = alone();
    let topology = Topology::build(Shape::default()).expect("a lab");
    let gateway = topology.gateway(End::A);
    let Err(refused) = open(gateway, memory(64), &["inside"], 2, ZeroCopy::Copy) else {
        panic!("a queue too many");
    };
    assert_eq!(
        refused.to_string(),
        "inside queue 1: cannot bind in copy mode: Invalid argument (os error 22) \
         (is there such a queue?)"
    );
}

#[test]
fn four_kib_frames_in_huge_pages_can_be_registered() {
    or_skip!(runnable());
    let _alone = alone();
    let topology = Topology::build(Shape::default()).expect("a lab");
    let gateway = topology.gateway(End::A);
    let umem = Umem::new(256, ChunkSize::K4, HugePages::Prefer).expect("memory");
    let mut ports = open(gateway, umem, &["inside"], 1, ZeroCopy::Copy).expect("a port");
    let port = &mut ports[0].queues[0];
    let mut stock = umem.stock(100);
    port.reclaim(&mut stock);
    // A stock keeps a burst for packets that the worker makes itself.
    assert_eq!(
        (port.in_kernel(), stock.len()),
        ((100 - BURST as u32, 0), BURST)
    );
}

#[test]
fn no_port_takes_all_the_frames_of_a_small_umem() {
    or_skip!(runnable());
    let _alone = alone();
    let topology = Topology::build(Shape::default()).expect("a lab");
    let umem = memory(1024);
    let both = ["inside", "outside"];
    let mut ports = open(topology.gateway(End::A), umem, &both, 1, ZeroCopy::Copy).expect("ports");
    let mut stock = umem.stock(1024);
    for port in ports.iter_mut().flat_map(|port| &mut port.queues) {
        port.reclaim(&mut stock);
        assert_eq!(port.in_kernel(), (256, 0));
    }
    assert_eq!(stock.len(), 512);
}
