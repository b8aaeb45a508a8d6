//! A peer that writes garbage into the shared memory does no more than stop traffic.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use adit_abi::{
    Address, Capacity, DropReason, EventReader, PolicyReader, PolicyWriter, SaKey, Spi,
    StateRegion, WorkerCounter,
};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

use crate::child::Part;

const CAPACITY: Capacity = Capacity {
    sas: 256,
    policies: 64,
    routes: 64,
    neighbours: 64,
    window: 1024,
};
/// The words that a reader believes once, when it maps a region.
pub const HEAD: u64 = 64;

pub fn next(seed: &mut u64) -> u64 {
    *seed = seed
        .wrapping_mul(6364136223846793005)
        .wrapping_add(1442695040888963407);
    *seed >> 11 ^ *seed << 40
}

/// Makes a memfd with the content of a true region, sealed like one but writable for ever.
pub fn forge(name: &str, original: impl std::os::fd::AsFd) -> File {
    let original = File::from(original.as_fd().try_clone_to_owned().expect("a descriptor"));
    let size = original.metadata().expect("its size").len();
    let fd = memfd_create(name, MemfdFlags::ALLOW_SEALING).expect("a memfd");
    ftruncate(&fd, size).expect("room");
    let copy = File::from(fd);
    let mut content = vec![0; size as usize];
    original
        .read_exact_at(&mut content, 0)
        .expect("its content");
    copy.write_all_at(&content, 0).expect("room");
    fcntl_add_seals(&copy, SealFlags::SHRINK | SealFlags::GROW).expect("seals");
    copy
}

fn scribble(files: &[File]) -> ! {
    let mut seed = 1;
    loop {
        for file in files {
            let words = file.metadata().expect("its size").len() / 8;
            let at = HEAD + next(&mut seed) % (words - HEAD / 8) * 8;
            // Small numbers too: they look like slots, lengths and generations.
            let word = next(&mut seed) >> (next(&mut seed) % 64);
            let _ = file.write_all_at(&word.to_ne_bytes(), at.min(words * 8 - 8));
        }
    }
}

#[test]
#[ignore = "the part of the scribbler; the test below starts it"]
fn scribbler() {
    if !Part::is_this() {
        return;
    }
    let policy = PolicyWriter::create(&CAPACITY, 3).expect("a region");
    let state = StateRegion::create(&CAPACITY).expect("a region");
    let files = [
        forge("forged-state", &state),
        forge("forged-policy", policy.reader().fd()),
    ];
    scribble(&files);
}

#[test]
fn readers_survive_a_process_that_writes_garbage() {
    let mut scribbler = Part::start("garbage::scribbler");
    // The policy region is the last to be sealed; once it is there, both are.
    let policy = loop {
        if let Ok(policy) = PolicyReader::open(scribbler.memfd("forged-policy")) {
            break policy;
        }
    };
    let state = StateRegion::open(scribbler.memfd("forged-state"), false).expect("a state region");
    let mut events: Vec<_> = (0..8).map(|_| EventReader::default()).collect();
    let end = Instant::now() + Duration::from_secs(1);
    let mut rounds = 0u32;
    while Instant::now() < end || rounds < 50 {
        rounds += 1;
        let _ = (policy.sas().count(), policy.policies().count());
        let _ = (
            policy.routes().count(),
            policy.neighbours().count(),
            policy.ports().count(),
        );
        let _ = (
            policy.settings(),
            policy.sad_generation(),
            policy.spd_generation(),
        );
        for n in 0..CAPACITY.sas {
            let _ = policy.find_sa(&SaKey::esp(Spi(n + rounds), Address::UNSPECIFIED));
            let _ = policy.sa_summary(n);
            let _ = policy.link(n);
            if let Some(sa) = state.sa(n) {
                let _ = (sa.generation(), sa.ring(1024).len());
            }
            let _ = state.policy_counts(n);
        }
        for (n, reader) in events.iter_mut().enumerate() {
            for _ in 0..300 {
                if reader.next(&state.events(n)).is_none() {
                    break;
                }
            }
        }
        let worker = state.worker(state.workers());
        let _ = (
            worker.drops(DropReason::Replayed),
            worker.value(WorkerCounter::Bursts),
        );
    }
    scribbler.kill();
}
