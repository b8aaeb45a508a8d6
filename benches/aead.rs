//! What sealing and opening cost, both providers, in nanoseconds per packet of a burst of 32, and what
//! making an SA's keys ready costs.
//!
//! `cargo bench --bench aead` runs all; `cargo bench --bench aead -- seal/aes128gcm16` a part.
//! The sizes are those of the encrypted part, rounded up to the cipher's block; IV and ICV come on top.

use adit_abi::Suite;
use adit_dataplane::crypto::{Job, Keys, Provider, Transform};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::time::{Duration, Instant};

const BURST: usize = 32;
const FRAME: usize = 2048;
const SIZES: [usize; 3] = [64, 576, 1420];

/// A burst of packets of one size on one SA, each in its own frame.
struct Burst {
    frames: Vec<[u8; FRAME]>,
    len: usize,
    sequence: u64,
}

impl Burst {
    fn new(suite: Suite, size: usize) -> Self {
        let body = size.next_multiple_of(suite.block());
        Self {
            frames: vec![[0x5a; FRAME]; BURST],
            len: 8 + suite.iv_len() + body + suite.icv_len(),
            sequence: 1,
        }
    }

    /// Seals or opens the burst once and says how long that took.
    fn run(&mut self, work: impl FnOnce(&mut [Job<'_>])) -> Duration {
        let (len, first) = (self.len, self.sequence);
        let mut jobs: Vec<Job<'_>> = (first..)
            .zip(&mut self.frames)
            .map(|(sequence, frame)| Job::new(&mut frame[..len], sequence))
            .collect();
        let start = Instant::now();
        work(&mut jobs);
        let elapsed = start.elapsed();
        assert!(jobs.iter().all(|job| job.ok));
        elapsed
    }
}

fn per_packet(total: Duration) -> Duration {
    total / BURST as u32
}

fn seal(transform: &dyn Transform, suite: Suite, size: usize, rounds: u64) -> Duration {
    let mut burst = Burst::new(suite, size);
    let mut total = Duration::ZERO;
    for _ in 0..rounds {
        total += burst.run(|jobs| transform.seal(jobs));
        burst.sequence += BURST as u64;
    }
    per_packet(total)
}

fn open(transform: &dyn Transform, suite: Suite, size: usize, rounds: u64) -> Duration {
    let mut burst = Burst::new(suite, size);
    burst.run(|jobs| transform.seal(jobs));
    let sealed = burst.frames.clone();
    let mut total = Duration::ZERO;
    for _ in 0..rounds {
        burst.frames.copy_from_slice(&sealed);
        total += burst.run(|jobs| transform.open(jobs));
    }
    per_packet(total)
}

fn providers(c: &mut Criterion) {
    for suite in Suite::each_esp_transform() {
        let enc = vec![7; suite.enc_key_len()];
        let auth = vec![9; suite.auth_key_len()];
        let keys = Keys {
            enc: &enc,
            auth: &auth,
        };
        for provider in [Provider::Reference, Provider::Fast] {
            let make = || provider.transform(suite, keys, false);
            c.bench_function(&format!("ready/{suite}/{provider:?}"), |b| b.iter(make));
            let transform = make().expect("keys of the right length");
            for (name, work) in [("seal", seal as fn(&_, _, _, _) -> _), ("open", open)] {
                let mut group = c.benchmark_group(format!("{name}/{suite}"));
                for size in SIZES {
                    let id = BenchmarkId::new(format!("{provider:?}"), size);
                    group.bench_function(id, |b| {
                        b.iter_custom(|rounds| work(&*transform, suite, size, rounds));
                    });
                }
            }
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30);
    targets = providers
}
criterion_main!(benches);
