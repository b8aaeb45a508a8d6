//! What a packet costs on its way through a worker, from a received frame to a frame ready to send, in
//! nanoseconds; over ports in memory, whose copy of the frame is part of it.
//!
//! `cargo bench --bench pipeline` runs all; `cargo bench --bench pipeline -- seal` a part. `bypass` is the
//! same way without cryptography. The sizes are those of the inner IP packet.

use adit_abi::{Action, Address, Prefix, Selector};
use adit_dataplane::memory_gateway::{MemoryGateway, Site, TunnelPlan, ethernet};
use criterion::{Criterion, criterion_group, criterion_main};
use std::time::{Duration, Instant};

const BURST: usize = 32;
const SIZES: [usize; 3] = [64, 576, 1420];

/// A UDP packet between the two sites' hosts.
fn packet(size: usize, flow: u16) -> Vec<u8> {
    let (from, to) = (
        Site(1).host(false).v4_bytes(),
        Site(2).host(false).v4_bytes(),
    );
    let mut out = Vec::new();
    let payload = vec![0x5a; size - 28];
    etherparse::PacketBuilder::ipv4(from, to, 64)
        .udp(1000 + flow, 2000)
        .write(&mut out, &payload)
        .expect("a packet");
    out
}

fn frames(site: Site, port: u8, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mac = site.mac(port);
    packets.iter().map(|ip| ethernet(mac, ip)).collect()
}

/// One timed turn with a burst of frames that are there already.
fn turn(g: &mut MemoryGateway) -> Duration {
    let start = Instant::now();
    let received = g.worker.turn(g.now);
    let elapsed = start.elapsed();
    assert_eq!(received, BURST);
    elapsed / BURST as u32
}

fn outbound(g: &mut MemoryGateway, size: usize, rounds: u64) -> Duration {
    let packets: Vec<_> = (0..BURST as u16).map(|n| packet(size, n)).collect();
    let frames = frames(Site(1), 0, &packets);
    let mut total = Duration::ZERO;
    for _ in 0..rounds {
        for frame in &frames {
            assert!(g.inside.inject(frame));
        }
        total += turn(g);
        assert_eq!(g.outside.drain().len(), BURST);
    }
    total
}

fn inbound(a: &mut MemoryGateway, b: &mut MemoryGateway, size: usize, rounds: u64) -> Duration {
    let packets: Vec<_> = (0..BURST as u16).map(|n| packet(size, n)).collect();
    let frames = frames(Site(1), 0, &packets);
    let mut total = Duration::ZERO;
    for _ in 0..rounds {
        for frame in &frames {
            assert!(a.inside.inject(frame));
        }
        a.run();
        for sealed in a.outside.drain() {
            b.from_outside(&sealed[14..]);
        }
        total += turn(b);
        assert_eq!(b.inside.drain().len(), BURST);
    }
    total
}

fn pipeline(c: &mut Criterion) {
    let plan = TunnelPlan::default();
    let mut clear = MemoryGateway::pair(&plan).0;
    let any = Prefix::from_mapped(Address::UNSPECIFIED, 0);
    clear.add_policy(Selector::between(any, any), 1, Action::Bypass);
    let far = Site(2).network(false);
    clear.add_route(far, adit_abi::RouteKind::Unicast, 1, Site(2).outer(false));
    clear.refresh();
    let (mut a, mut b) = MemoryGateway::pair(&plan);
    for size in SIZES {
        c.bench_function(&format!("bypass/{size}"), |x| {
            x.iter_custom(|rounds| outbound(&mut clear, size, rounds));
        });
        c.bench_function(&format!("seal/{size}"), |x| {
            x.iter_custom(|rounds| outbound(&mut a, size, rounds));
        });
        c.bench_function(&format!("open/{size}"), |x| {
            x.iter_custom(|rounds| inbound(&mut a, &mut b, size, rounds));
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30);
    targets = pipeline
}
criterion_main!(benches);
