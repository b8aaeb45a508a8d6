//! The readers of both shared-memory regions. An input is a run of 10-byte edits: place, value.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use adit_abi::{
    Address, Capacity, DropReason, EventReader, PolicyReader, PolicyWriter, SaKey, Spi,
    StateRegion, WorkerCounter,
};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

const CAPACITY: Capacity = Capacity {
    sas: 32,
    policies: 8,
    routes: 8,
    neighbours: 8,
    window: 64,
};

/// A memfd with a true region's content and the input's edits, which our own regions are sealed against.
fn forge(original: impl AsFd, edits: &[u8]) -> OwnedFd {
    let original = File::from(original.as_fd().try_clone_to_owned().expect("a descriptor"));
    let size = original.metadata().expect("its size").len();
    let mut content = vec![0; size as usize];
    original
        .read_exact_at(&mut content, 0)
        .expect("its content");
    let words = size / 8;
    for edit in edits.chunks_exact(10) {
        let (place, value) = edit.split_at(2);
        let at = u64::from(u16::from_le_bytes([place[0], place[1]])) % words * 8;
        content[at as usize..][..8].copy_from_slice(value);
    }
    let fd =
        memfd_create("forged", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC).expect("a memfd");
    ftruncate(&fd, size).expect("room");
    let file = File::from(fd);
    file.write_all_at(&content, 0).expect("room");
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW).expect("seals");
    file.into()
}

pub fn policy(data: &[u8]) {
    let original = PolicyWriter::create(&CAPACITY, 3).expect("a region");
    let Ok(reader) = PolicyReader::open(forge(original.reader().fd(), data)) else {
        return;
    };
    let _ = (
        reader.policies().count(),
        reader.routes().count(),
        reader.neighbours().count(),
    );
    let _ = (reader.ports().count(), reader.settings());
    for (sa, record) in reader.sas() {
        let _ = (
            reader.find_sa(&record.key()),
            reader.is_live(sa),
            record.suite(),
            record.direction(),
        );
    }
    for n in 0..64 {
        let _ = (
            reader.find_sa(&SaKey::esp(Spi(n), Address::UNSPECIFIED)),
            reader.sa_summary(n),
            reader.link(n),
        );
    }
    let _ = PolicyWriter::copy_of(&reader).map(|mut successor| successor.reserve_sa());
}

pub fn state(data: &[u8]) {
    let original = StateRegion::create(&CAPACITY).expect("a region");
    let Ok(state) = StateRegion::open(forge(&original, data), false) else {
        return;
    };
    let worker = state.worker(state.workers());
    let _ = (
        worker.drops(DropReason::Replayed),
        worker.value(WorkerCounter::Bursts),
    );
    for n in 0..64 {
        let _ = state
            .sa(n)
            .map(|s| (s.generation(), s.ring(64).len(), s.ring(8192).len()));
        let _ = state.policy_counts(n);
    }
    let mut reader = EventReader::default();
    for _ in 0..300 {
        if reader.next(&state.events(0)).is_none() {
            break;
        }
    }
}
