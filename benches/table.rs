//! The SA table: look-up cost against table size, insert and delete rate, bytes per SA.
//!
//! `cargo bench --bench table`. A look-up is by (SPI, protocol, destination) of an SA that is there (`hit`) or
//! not (`miss`), each time another one, so that large tables pay for their cache misses.

use std::hint::black_box;
use std::time::{Duration, Instant};

use adit_abi::{Address, Capacity, PolicyWriter, SaKey, SaRecord, Spi};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use zerocopy::FromZeros;

const SIZES: [u32; 4] = [1_000, 16_000, 256_000, 1_000_000];

fn key(n: u32, destination: [u8; 4]) -> SaKey {
    // Spread like random SPIs, yet reproducible and without a repeat: an odd factor is a permutation.
    SaKey::esp(Spi(n.wrapping_mul(0x9e37_79b1)), Address::v4(destination))
}

fn record(n: u32) -> SaRecord {
    let mut record = SaRecord::new_zeroed();
    let key = key(n, [192, 0, 2, 1]);
    (record.spi, record.protocol, record.destination) = (key.spi, key.protocol, key.destination);
    record
}

fn filled(sas: u32) -> PolicyWriter {
    let capacity = Capacity {
        sas: sas + 1,
        ..Capacity::default()
    };
    let mut table = PolicyWriter::create(&capacity, 7).expect("memory for the table");
    for n in 0..sas {
        let sa = table.reserve_sa().expect("room");
        table.publish_sa(sa, &record(n)).expect("room");
    }
    table
}

/// A walk over the numbers below `size` in an order that no prefetcher follows.
fn scattered(step: u64, size: u32) -> u32 {
    ((step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % u64::from(size)) as u32
}

fn look_up(c: &mut Criterion) {
    let mut group = c.benchmark_group("sa-look-up");
    group.throughput(Throughput::Elements(1));
    for size in SIZES {
        let table = filled(size);
        let reader = table.reader();
        let mut step = 0u64;
        let mut bench = |name, destination, expected| {
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| {
                    step += 1;
                    let found = reader.find_sa(&key(scattered(step, size), destination));
                    assert_eq!(black_box(found).is_some(), expected);
                });
            });
        };
        bench("hit", [192, 0, 2, 1], true);
        bench("miss", [198, 51, 100, 1], false);
    }
    group.finish();
}

fn insert_and_delete(c: &mut Criterion) {
    let mut group = c.benchmark_group("sa-insert-and-delete");
    group.throughput(Throughput::Elements(1));
    for size in SIZES {
        let mut table = filled(size);
        let extra = record(size);
        group.bench_function(BenchmarkId::new("pair", size), |b| {
            b.iter_custom(|rounds| {
                let start = Instant::now();
                for _ in 0..rounds {
                    let sa = table.reserve_sa().expect("room");
                    table.publish_sa(sa, black_box(&extra)).expect("room");
                    assert!(table.remove_sa(sa));
                }
                start.elapsed()
            });
        });
    }
    group.finish();
}

fn bytes_per_sa(_: &mut Criterion) {
    println!("bytes per SA in both regions together, 1,000,000 SAs:");
    for window in [64, 1_024, 8_192] {
        let capacity = Capacity {
            sas: 1_000_000,
            window,
            ..Capacity::default()
        };
        println!("  window {window:>5}: {:.0}", capacity.bytes_per_sa());
    }
}

criterion_group! {
    name = table;
    config = Criterion::default()
        .sample_size(20)
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(500));
    targets = bytes_per_sa, look_up, insert_and_delete
}
criterion_main!(table);
