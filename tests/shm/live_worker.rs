//! A worker at work on regions that another process fills with garbage drops packets, and does nothing worse.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::parent_id;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use adit_abi::{PolicyReader, SaRef, Side, StateRegion};
use adit_dataplane::crypto::Provider;
use adit_dataplane::frame::{ChunkSize, HugePages, Umem};
use adit_dataplane::memory_gateway::{
    HOST, INSIDE, MemoryGateway, OUTSIDE, Site, TunnelPlan, WIRE, ethernet,
};
use adit_dataplane::port::memory::{MemoryPort, Wire};
use adit_dataplane::snapshot::Snapshot;
use adit_dataplane::worker::{Change, Worker, WorkerPort};
use etherparse::PacketBuilder;

use crate::child::{Part, memfd};
use crate::garbage::{HEAD, forge, next};

const FRAMES: u32 = 192;
const POLICY: &str = "worn-policy";
const STATE: &str = "worn-state";
/// Longer than all turns together take; a turn that does not end is found by it.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
#[ignore = "the part of the scribbler; the test below starts it"]
fn scribbler() {
    if !Part::is_this() {
        return;
    }
    let regions = [POLICY, STATE].map(|name| {
        let file = File::from(memfd(parent_id(), name));
        let mut whole = vec![0; file.metadata().expect("its size").len() as usize];
        file.read_exact_at(&mut whole, 0).expect("its content");
        let words = (HEAD / 8..whole.len() as u64 / 8).map(|word| word * 8);
        let stands = |at: &u64| whole[*at as usize..][..8] != [0; 8];
        let standing: Vec<u64> = words.filter(stands).collect();
        (file, whole, standing)
    });
    let mut seed = 1;
    loop {
        // From a few words to thousands; then all is well again, so that packets get far into the next garbage.
        let words = 1u64 << (next(&mut seed) % 13);
        for _ in 0..words {
            for (file, whole, standing) in &regions {
                // Most of a table is empty: every other word goes where something stands.
                let number = next(&mut seed);
                let at = match standing.get(number as usize % (standing.len() * 2)) {
                    Some(at) => *at,
                    None => HEAD + number % (whole.len() as u64 / 8 - HEAD / 8) * 8,
                };
                let word = next(&mut seed) >> (next(&mut seed) % 64);
                let _ = file.write_all_at(&word.to_ne_bytes(), at);
            }
        }
        for (file, whole, _) in &regions {
            let _ = file.write_all_at(&whole[HEAD as usize..], HEAD);
        }
    }
}

/// A worker on regions that are not its own, and the far ends of its ports.
struct Victim {
    worker: Worker,
    wires: [Wire; 3],
    reader: Arc<PolicyReader>,
    umem: &'static Umem,
    now: u64,
    seed: u64,
}

/// Packets that went in, that came out sealed, and that came out opened.
#[derive(Debug, Default)]
struct Counts {
    injected: usize,
    sealed: usize,
    opened: usize,
}

impl Victim {
    fn new(policy: &File, state: &File) -> Self {
        let fd = |file: &File| file.as_fd().try_clone_to_owned().expect("a descriptor");
        let reader = Arc::new(PolicyReader::open(fd(policy)).expect("a policy region"));
        let state = Arc::new(StateRegion::open(fd(state), true).expect("a state region"));
        let umem = Umem::new(FRAMES + 3 * WIRE, ChunkSize::K2, HugePages::Off).expect("memory");
        let mut ports = Vec::new();
        let sides = [
            (INSIDE, Side::Inside),
            (OUTSIDE, Side::Outside),
            (HOST, Side::Host),
        ];
        let wires = sides.map(|(number, side)| {
            let (port, wire) = MemoryPort::with_wire(umem, WIRE);
            let port = Box::new(port);
            ports.push(WorkerPort { number, side, port });
            wire
        });
        let snapshot = Arc::new(Snapshot::compile(&reader));
        let stock = umem.stock(FRAMES);
        let provider = Provider::default();
        let tables = (Arc::clone(&reader), state, snapshot);
        let worker = Worker::new(0, tables.0, tables.1, tables.2, ports, stock, provider);
        Self {
            worker,
            wires,
            reader,
            umem,
            now: 1_000_000_000_000,
            seed: 7,
        }
    }

    /// Injects a few frames into every port, and garbage between them.
    fn inject(&mut self, packets: &[(u8, Vec<u8>)]) -> usize {
        let mut injected = 0;
        for (port, packet) in packets {
            let mut frame = ethernet(Site(1).mac(*port), packet);
            if next(&mut self.seed).is_multiple_of(8) {
                let at = next(&mut self.seed) as usize % frame.len();
                frame[at] = self.seed as u8;
            }
            injected += usize::from(self.wires[usize::from(*port)].inject(&frame));
        }
        injected
    }

    fn drain(&mut self, counts: &mut Counts) -> usize {
        let [inside, outside, host] = self.wires.each_mut().map(|wire| wire.drain().len());
        counts.opened += inside;
        counts.sealed += outside;
        inside + outside + host
    }

    /// One turn, with tables compiled anew from whatever stands in the region now.
    fn turn(&mut self) {
        let snapshot = Arc::new(Snapshot::compile(&self.reader));
        self.worker.apply(Change::Snapshot(snapshot));
        let sa = SaRef {
            slot: next(&mut self.seed) as u32 % 300,
            generation: next(&mut self.seed) as u32 % 8,
        };
        self.worker.apply(Change::Keepalive(sa));
        self.worker.turn(self.now);
        // From nothing to seconds: limits of rates and of waiting come and go.
        self.now += next(&mut self.seed) >> (30 + next(&mut self.seed) % 30);
    }

    /// Lets everything out, and what still waits for a neighbour run out of time.
    fn settle(&mut self) {
        let mut counts = Counts::default();
        for _ in 0..1000 {
            self.now = self.now.saturating_add(10_000_000_000);
            let received = self.worker.turn(self.now);
            if received + self.drain(&mut counts) == 0 {
                return;
            }
        }
        panic!("packets go on coming out of nothing");
    }
}

fn udp(from: u8, to: u8, length: usize, v6: bool) -> Vec<u8> {
    let (from, to) = (Site(from).host(v6), Site(to).host(v6));
    let addresses = (std::net::IpAddr::from(from), std::net::IpAddr::from(to));
    let builder = match addresses {
        (std::net::IpAddr::V4(from), std::net::IpAddr::V4(to)) => {
            PacketBuilder::ipv4(from.octets(), to.octets(), 64)
        }
        (std::net::IpAddr::V6(from), std::net::IpAddr::V6(to)) => {
            PacketBuilder::ipv6(from.octets(), to.octets(), 64)
        }
        _ => unreachable!("both are of one family"),
    };
    let mut packet = Vec::new();
    let written = builder.udp(9, 9).write(&mut packet, &vec![0x5a; length]);
    written.expect("a packet");
    packet
}

/// Packets for every port: to be sealed, sealed by the peer, and from the host.
fn traffic(peer: &mut MemoryGateway, round: usize) -> Vec<(u8, Vec<u8>)> {
    let mut packets = Vec::new();
    for n in 0..8 {
        let v6 = n % 2 == 1;
        let length = (round * 37 + n * 400) % 1600;
        packets.push((INSIDE, udp(1, 2, length, v6)));
        packets.push((HOST, udp(1, 2, length / 2, v6)));
        peer.from_inside(&udp(2, 1, length / 2, v6));
    }
    peer.run();
    let sealed = peer.outside.drain();
    packets.extend(sealed.iter().map(|frame| (OUTSIDE, frame[14..].to_vec())));
    packets
}

/// Turns for a second, then counts frames.
fn torture(policy: &File, state: &File, peer: &mut MemoryGateway) -> Counts {
    let mut victim = Victim::new(policy, state);
    let mut counts = Counts::default();
    let end = Instant::now() + Duration::from_millis(1500);
    let mut round = 0;
    while Instant::now() < end || round < 100 {
        round += 1;
        counts.injected += victim.inject(&traffic(peer, round));
        victim.turn();
        victim.turn();
        victim.drain(&mut counts);
    }
    victim.settle();
    let frames = victim.worker.free_frames() + victim.worker.waiting();
    assert_eq!(
        (frames, victim.umem.strays()),
        (FRAMES as usize, 0),
        "{counts:?}"
    );
    counts
}

#[test]
fn a_worker_on_garbage_neither_panics_nor_hangs_and_loses_no_frame() {
    let (victim, mut peer) = MemoryGateway::pair(&TunnelPlan::default());
    let policy = forge(POLICY, victim.policy.reader().fd());
    let state = forge(STATE, victim.state.fd());
    // What the scribbler is compared with: on the same regions, unharmed, everything passes.
    let whole = torture(&policy, &state, &mut peer);
    assert!(whole.sealed * 2 > whole.injected / 3, "{whole:?}");

    let mut scribbler = Part::start("live_worker::scribbler");
    let (done, ended) = mpsc::channel();
    let turning = std::thread::spawn(move || {
        let counts = torture(&policy, &state, &mut peer);
        done.send(counts).expect("a listener");
    });
    let counts = match ended.recv_timeout(LIMIT) {
        Ok(counts) => counts,
        Err(RecvTimeoutError::Timeout) => panic!("a turn has not ended"),
        Err(RecvTimeoutError::Disconnected) => match turning.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("it sends what it counted"),
        },
    };
    scribbler.kill();
    eprintln!("unharmed {whole:?}, on garbage {counts:?}");
    // It was at work, and it was harmed.
    assert!(counts.sealed > 0 && counts.opened > 0, "{counts:?}");
    assert!(
        counts.sealed * whole.injected < whole.sealed * counts.injected,
        "{counts:?} as good as {whole:?}"
    );
}
