//! What a decision of the SPD costs, with ten policies and with ten thousand.
//!
//! `cargo bench --bench spd`. The policies are arbitrary ranges of addresses, some with protocols and ports, in an
//! order that has nothing to do with their addresses; flows meet them all alike. A `hit` finds its flow in the
//! flow cache, a `miss` asks the SPD and the forwarding table and puts the answer into the cache. At the end the
//! ratios of ten thousand to ten are printed, measured in turns so that a busy machine slows both.

use std::hint::black_box;
use std::time::{Duration, Instant};

use adit_abi::{Action, Address, Capacity, PolicyRecord, PolicyWriter, PortRange, Selector, Side};
use adit_dataplane::classify::parse;
use adit_dataplane::frame::{ChunkSize, HugePages, Umem};
use adit_dataplane::packet::Packet;
use adit_dataplane::snapshot::Snapshot;
use adit_dataplane::spd::decide;
use adit_dataplane::spd::flow_cache::FlowCache;
use criterion::{Criterion, criterion_group, criterion_main};

const FEW: u32 = 10;
const MANY: u32 = 10_000;
/// Flows of a hit: they fit into the cache without driving each other out.
const HITS: usize = 64;
/// Flows of a miss: many more than the cache has places.
const MISSES: usize = 32_768;

/// Numbers that look random and are the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((self.0 >> 33) % u64::from(n)) as u32
    }

    fn within(&mut self, (first, last): (u32, u32)) -> u32 {
        first + self.below(last - first + 1)
    }
}

struct Policy {
    local: (u32, u32),
    remote: (u32, u32),
    protocol: u8,
    ports: (u16, u16),
}

/// `n` policies: local ranges anywhere in 10/8, remote ones anywhere in 20/6, of any length up to 4,000 addresses.
fn policies(n: u32) -> Vec<Policy> {
    let mut next = Numbers(7);
    let mut range = |base: u32, room: u32| {
        let first = base + next.below(room);
        (first, first + next.below(4000))
    };
    let mut kind = Numbers(9);
    (0..n)
        .map(|_| {
            let (local, remote) = (
                range(0x0a00_0000, 0x00f0_0000),
                range(0x1400_0000, 0x03f0_0000),
            );
            let low = kind.below(60_000) as u16;
            let (protocol, ports) = match kind.below(4) {
                0 => (17, (low, low + 1000)),
                1 => (6, (0, u16::MAX)),
                _ => (0, (0, u16::MAX)),
            };
            Policy {
                local,
                remote,
                protocol,
                ports,
            }
        })
        .collect()
}

struct Rig {
    snapshot: Snapshot,
    flows: FlowCache,
    hits: Vec<Packet>,
    misses: Vec<Packet>,
    next: usize,
    built: Duration,
}

fn packet(
    umem: &mut adit_dataplane::frame::Stock,
    from: u32,
    to: u32,
    protocol: u8,
    port: u16,
) -> Packet {
    let mut ip = Vec::new();
    let builder = etherparse::PacketBuilder::ipv4(from.to_be_bytes(), to.to_be_bytes(), 64);
    if protocol == 6 {
        builder.tcp(1000, port, 1, 1).write(&mut ip, &[])
    } else {
        builder.udp(1000, port).write(&mut ip, &[])
    }
    .expect("a packet");
    let mut frame = umem.take().expect("a frame");
    assert!(frame.fill(&ip));
    parse(frame, 0, Side::Inside).expect("a packet")
}

fn rig(n: u32) -> Rig {
    let capacity = Capacity {
        policies: n,
        ..Capacity::default()
    };
    let mut region = PolicyWriter::create(&capacity, 7).expect("memory for the table");
    let policies = policies(n);
    let mut order = Numbers(11);
    for p in &policies {
        let address = |n: u32| Address::v4(n.to_be_bytes());
        let selector = Selector {
            local_first: address(p.local.0),
            local_last: address(p.local.1),
            remote_first: address(p.remote.0),
            remote_last: address(p.remote.1),
            local_ports: PortRange::ANY,
            remote_ports: PortRange {
                first: p.ports.0,
                last: p.ports.1,
            },
            protocol: p.protocol,
            reserved: [0; 7],
        };
        let record = PolicyRecord::new(selector, order.below(1000).into(), Action::Protect);
        region.insert_policy(&record).expect("room");
    }
    let umem = Umem::new((HITS + MISSES) as u32, ChunkSize::K2, HugePages::Off).expect("memory");
    let mut stock = umem.stock((HITS + MISSES) as u32);
    let mut next = Numbers(13);
    let mut flow = || {
        let p = &policies[next.below(n) as usize];
        let port = next.within((p.ports.0.into(), p.ports.1.into())) as u16;
        let protocol = if p.protocol == 6 { 6 } else { 17 };
        packet(
            &mut stock,
            next.within(p.local),
            next.within(p.remote),
            protocol,
            port,
        )
    };
    let start = Instant::now();
    let snapshot = Snapshot::compile(region.reader());
    let built = start.elapsed();
    Rig {
        snapshot,
        flows: FlowCache::default(),
        hits: (0..HITS).map(|_| flow()).collect(),
        misses: (0..MISSES).map(|_| flow()).collect(),
        next: 0,
        built,
    }
}

impl Rig {
    fn decide(&mut self, hit: bool) {
        let packets = if hit { &self.hits } else { &self.misses };
        self.next += 1;
        let packet = &packets[self.next % packets.len()];
        let (spd, fib) = (&self.snapshot.spd, &self.snapshot.fib);
        let decision = self
            .flows
            .decide(packet, true, || decide::outbound(spd, fib, packet));
        black_box(decision);
    }

    /// Nanoseconds of one decision, over a hundred thousand.
    fn cost(&mut self, hit: bool) -> f64 {
        const TIMES: u32 = 100_000;
        let start = Instant::now();
        for _ in 0..TIMES {
            self.decide(hit);
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(TIMES)
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn decisions(c: &mut Criterion) {
    let (mut few, mut many) = (rig(FEW), rig(MANY));
    for (name, hit) in [("hit", true), ("miss", false)] {
        c.bench_function(&format!("spd-{name}/{FEW}"), |b| b.iter(|| few.decide(hit)));
        c.bench_function(&format!("spd-{name}/{MANY}"), |b| {
            b.iter(|| many.decide(hit))
        });
    }
    for (name, hit, most) in [("hit", true, 1.1), ("miss", false, 2.0)] {
        let turns: Vec<_> = (0..31).map(|_| (few.cost(hit), many.cost(hit))).collect();
        let (a, b) = (
            median(turns.iter().map(|t| t.0).collect()),
            median(turns.iter().map(|t| t.1).collect()),
        );
        let ratio = median(turns.iter().map(|t| t.1 / t.0).collect());
        println!(
            "{name}: {FEW} policies {a:.1} ns, {MANY} policies {b:.1} ns, ratio {ratio:.2} (at most {most})"
        );
    }
    println!(
        "compiling {MANY} policies took {:.1} ms",
        many.built.as_secs_f64() * 1e3
    );
}

criterion_group!(benches, decisions);
criterion_main!(benches);
