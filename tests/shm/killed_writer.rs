//! A writer that is killed at any moment leaves a table that its successor can take over.

use std::time::{Duration, Instant};

use adit_abi::{Address, Capacity, PolicyReader, PolicyWriter, SaKey, SaRecord, Spi};
use zerocopy::FromZeros;

use crate::child::Part;

const CAPACITY: Capacity = Capacity {
    sas: 512,
    policies: 16,
    routes: 16,
    neighbours: 16,
    window: 64,
};

/// A record whose every field follows from its SPI, so that half of one and half of another is noticed.
fn record(spi: u32) -> SaRecord {
    let mut r = SaRecord::new_zeroed();
    r.spi = Spi(spi);
    r.protocol = 50;
    r.destination = Address::v4([192, 0, 2, 1]);
    r.enc_key = [spi as u8; 36];
    r.auth_key = [spi as u8; 64];
    r.cookie = spi;
    r
}

fn is_whole(r: &SaRecord) -> bool {
    let n = r.spi.0;
    r.cookie == n && r.enc_key == [n as u8; 36] && r.auth_key == [n as u8; 64]
}

#[test]
#[ignore = "the part of the writer; the test below starts it"]
fn writer() {
    if !Part::is_this() {
        return;
    }
    let mut table = PolicyWriter::create(&CAPACITY, 3).expect("a region");
    let mut live = std::collections::VecDeque::new();
    for n in 0u32.. {
        if live.len() == 400 {
            let gone = live.pop_front().expect("400 are there");
            assert!(table.remove_sa(gone));
        }
        let sa = table.reserve_sa().expect("room");
        table.publish_sa(sa, &record(1000 + n)).expect("room");
        live.push_back(sa);
    }
}

#[test]
fn a_reader_sees_whole_records_only_and_a_successor_goes_on() {
    let mut writer = Part::start("killed_writer::writer");
    let reader = loop {
        // The child writes the header first; until then the region is refused.
        if let Ok(reader) = PolicyReader::open(writer.memfd("adit-policy")) {
            break reader;
        }
    };
    let (mut seen, mut highest) = (0u64, 0);
    let end = Instant::now() + Duration::from_millis(700);
    while Instant::now() < end || seen < 1000 {
        for (sa, r) in reader.sas() {
            assert!(is_whole(&r), "{r:?} in {sa:?} is torn");
            highest = highest.max(r.spi.0);
            seen += 1;
        }
        if let Some(sa) = reader.find_sa(&SaKey::esp(Spi(highest), Address::v4([192, 0, 2, 1])))
            && let Some(r) = reader.sa(sa)
        {
            assert!(is_whole(&r));
        }
    }
    writer.kill();

    let mut successor = PolicyWriter::copy_of(&reader).expect("the region can be taken over");
    let inherited: Vec<_> = successor.reader().sas().collect();
    assert!(inherited.len() >= 399 && inherited.iter().all(|(_, r)| is_whole(r)));
    // At most the one SA that was on its way is not in the index.
    let found = inherited
        .iter()
        .filter(|(sa, r)| successor.reader().find_sa(&r.key()) == Some(*sa))
        .count();
    assert!(
        found + 1 >= inherited.len(),
        "{found} of {}",
        inherited.len()
    );
    let mut added = 0;
    while let Ok(sa) = successor.reserve_sa() {
        successor
            .publish_sa(sa, &record(1_000_000_000 + added))
            .expect("room");
        assert!(
            inherited.iter().all(|(old, _)| old.slot != sa.slot),
            "a live slot is never given out"
        );
        added += 1;
    }
    assert_eq!(inherited.len() + added as usize, CAPACITY.sas as usize);
}
