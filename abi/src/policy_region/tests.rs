use super::*;
use crate::layout::{Capacity, LAYOUT_VERSION, LayoutError, POLICY_MAGIC, PolicyLayout};
use crate::policy::{PolicyName, PolicyRecord};
use crate::region::{Region, RegionError};
use crate::sa::{SaFlags, SaKey, SaRecord, SaRef};
use crate::sync::Ordering;
use crate::{Action, Address, Flow, FromPacket, Prefix, Selector, SelectorEnd, SelectorSet, Spi};
use zerocopy::FromZeros;

fn record(spi: u32) -> SaRecord {
    let mut r = SaRecord::new_zeroed();
    r.spi = Spi(spi);
    r.protocol = 50;
    r.direction = 2;
    r.flags = SaFlags::ESN;
    r.destination = Address::v4([192, 0, 2, 1]);
    r.enc_key = [spi as u8; 36];
    r
}

fn small() -> Capacity {
    Capacity {
        sas: 64,
        policies: 16,
        routes: 16,
        neighbours: 16,
        window: 64,
    }
}

fn open(writer: &PolicyWriter) -> PolicyReader {
    PolicyReader::open(writer.reader().fd().try_clone_to_owned().unwrap()).unwrap()
}

fn add(w: &mut PolicyWriter, spi: u32) -> SaRef {
    let sa = w.reserve_sa().unwrap();
    w.publish_sa(sa, &record(spi)).unwrap();
    sa
}

#[test]
fn an_sa_is_found_by_its_whole_key_in_another_mapping() {
    let mut w = PolicyWriter::create(&small(), 9).unwrap();
    let reader = open(&w);
    let sa = add(&mut w, 0x1234);
    let key = SaKey::esp(Spi(0x1234), Address::v4([192, 0, 2, 1]));
    assert_eq!(reader.find_sa(&key), Some(sa));
    assert_eq!(
        reader.find_sa(&SaKey {
            protocol: 51,
            ..key
        }),
        None
    );
    assert_eq!(
        reader.find_sa(&SaKey {
            spi: Spi(0x1235),
            ..key
        }),
        None
    );
    assert_eq!(
        reader.find_sa(&SaKey {
            destination: Address::v4([192, 0, 2, 2]),
            ..key
        }),
        None
    );
    assert_eq!(reader.sa(sa).unwrap().enc_key, [0x34; 36]);
    assert_eq!(reader.sa_summary(sa.slot), Some((sa, 2, SaFlags::ESN)));
    assert!(w.remove_sa(sa));
    assert_eq!(reader.find_sa(&key), None);
    assert!(reader.sa(sa).is_none());
    assert!(!w.remove_sa(sa));
}

#[test]
fn a_reused_slot_has_a_higher_generation() {
    let mut w = PolicyWriter::create(&small(), 9).unwrap();
    let first = add(&mut w, 300);
    w.remove_sa(first);
    let second = add(&mut w, 301);
    assert_eq!(first.slot, second.slot);
    assert!(second.generation > first.generation);
    assert!(w.reader().sa(first).is_none());
}

#[test]
fn a_cancelled_slot_does_not_lend_its_generation_to_another_sa() {
    let mut w = PolicyWriter::create(&small(), 9).unwrap();
    let cancelled = w.reserve_sa().unwrap();
    w.cancel_sa(cancelled);
    let next = add(&mut w, 300);
    assert_eq!(next.slot, cancelled.slot);
    assert!(next.generation > cancelled.generation);
    assert_eq!(w.reader().sa(next).unwrap().spi, Spi(300));
}

#[test]
fn the_table_holds_its_capacity_and_no_more() {
    let mut w = PolicyWriter::create(&small(), 9).unwrap();
    let sas: Vec<_> = (0..64).map(|n| add(&mut w, 1000 + n)).collect();
    assert_eq!(
        w.reserve_sa(),
        Err(TableFull {
            table: "sas",
            capacity: 64
        })
    );
    w.remove_sa(sas[5]);
    add(&mut w, 5000);
    assert_eq!(w.reader().sas().count(), 64);
}

#[test]
fn a_successor_takes_everything_over_with_numbers_and_generations() {
    let mut w = PolicyWriter::create(&small(), 9).unwrap();
    let gone = add(&mut w, 300);
    let kept = add(&mut w, 301);
    w.remove_sa(gone);
    let net = |s: &str| Prefix::new(s.parse().unwrap(), 24).unwrap();
    let policy = PolicyRecord::new(
        Selector::between(net("10.1.0.0"), net("10.2.0.0")),
        5,
        Action::Protect,
    );
    let name = PolicyName::new("site-b/net").unwrap();
    let p = w.insert_policy_as(&policy, Some(&name)).unwrap();
    w.link(p, Some(kept));
    let old = open(&w);
    drop(w);
    let mut w = PolicyWriter::copy_of(&old).unwrap();
    let r = open(&w);
    assert_eq!(r.find_sa(&record(301).key()), Some(kept));
    assert_eq!(r.link(p), Some(kept));
    assert_eq!(r.policy_name(p).unwrap().as_str(), "site-b/net");
    assert_eq!(
        r.policies().map(|(n, _, p)| (n, p)).collect::<Vec<_>>(),
        vec![(p, policy)]
    );
    let again = add(&mut w, 302);
    assert_eq!(again.slot, gone.slot);
    assert!(again.generation > gone.generation);
}

#[test]
fn nobody_maps_a_policy_region_writable_a_second_time() {
    let w = PolicyWriter::create(&small(), 9).unwrap();
    let fd = w.reader().fd().try_clone_to_owned().unwrap();
    assert!(Region::open(fd, true).is_err());
}

#[test]
fn foreign_memory_is_refused_with_its_reason() {
    let r = Region::create("not-adit", 4096, false).unwrap();
    let fd = r.fd().try_clone_to_owned().unwrap();
    let e = PolicyReader::open(fd).err().unwrap();
    assert!(matches!(e, RegionError::Layout(LayoutError::Magic)), "{e}");
    r.words()[MAGIC].store(POLICY_MAGIC, Ordering::Relaxed);
    r.words()[VERSION].store(99, Ordering::Relaxed);
    let e = PolicyReader::open(r.fd().try_clone_to_owned().unwrap())
        .err()
        .unwrap();
    assert!(
        matches!(e, RegionError::Layout(LayoutError::Version { found: 99 })),
        "{e}"
    );
}

fn flow(last: u8) -> Flow {
    Flow {
        local: Address::v4([10, 1, 0, last]),
        remote: Address::v4([10, 2, 0, 1]),
        protocol: 6,
        local_port: 1000,
        remote_port: 80,
    }
}

#[test]
fn a_policy_leads_to_one_sa_or_along_a_chain_or_by_the_packets_own_fields() {
    let mut w = PolicyWriter::create(&small(), 9).unwrap();
    let reader = open(&w);
    let any = Prefix::from_mapped(Address::UNSPECIFIED, 0);
    let mut policy = PolicyRecord::new(Selector::between(any, any), 1, Action::Protect);
    let plain = w.insert_policy(&policy).unwrap();
    let sas: Vec<_> = (1..=4).map(|n| add(&mut w, 0x1000 + n)).collect();
    let found = |slot, last| {
        let link = reader.policy_link(slot);
        let flow = flow(last);
        let by_flow = reader.sas_by_flow(slot, &link, &flow);
        by_flow.chain(reader.sas_of(&link)).collect::<Vec<_>>()
    };
    assert_eq!(found(plain, 1), []);
    w.link(plain, Some(sas[0]));
    assert!(reader.policy_link(plain).is_plain());
    assert_eq!(found(plain, 1), [sas[0]]);
    w.chain(&sas);
    let several = PolicyLink {
        sa: Some(sas[0]),
        several: true,
        ..Default::default()
    };
    w.set_link(plain, several);
    assert_eq!(found(plain, 1), sas);

    policy.from_packet = FromPacket::LOCAL_ADDRESS.bits();
    let own = w.insert_policy(&policy).unwrap();
    let link = reader.policy_link(own);
    assert!(!link.is_plain() && link.sa.is_none());
    let place = reader.flow_place(own, &link.from_packet.key(&flow(1)));
    w.set_flow_place(place, &sas[2..]);
    assert_eq!(found(own, 1), sas[2..]);
    w.link(own, Some(sas[1]));
    w.chain(&sas[1..2]);
    assert_eq!(found(own, 1), [sas[2], sas[3], sas[1]]);
    assert!(!reader.policy_link(own).is_plain(), "the flags stay");
    w.remove_policy(own);
    assert_eq!(reader.policy_link(own), PolicyLink::default());
}

#[test]
fn a_chain_in_a_circle_ends() {
    let mut w = PolicyWriter::create(&small(), 9).unwrap();
    let sa = add(&mut w, 0x1001);
    w.chain(&[sa, sa]);
    w.set_link(
        0,
        PolicyLink {
            sa: Some(sa),
            several: true,
            ..Default::default()
        },
    );
    let link = w.reader().policy_link(0);
    assert_eq!(w.reader().sas_of(&link).count(), 64);
}

#[test]
fn selector_sets_come_back_and_their_places_are_used_again() {
    let mut w = PolicyWriter::create(&small(), 9).unwrap();
    let reader = open(&w);
    let end = SelectorEnd::new(Address::v4([10, 1, 0, 1]), Address::v4([10, 1, 0, 9]));
    let set = SelectorSet::new(&[end; 3], &[end]).unwrap();
    let n = w.insert_selectors(&set).unwrap();
    let mut r = record(0x1001);
    assert_eq!(reader.selector_set(&r), None);
    r.selector_set = n + 1;
    assert_eq!(reader.selector_set(&r), Some(set));
    w.remove_selectors(n);
    assert_eq!(reader.selector_set(&r), None);
    for _ in 0..16 {
        w.insert_selectors(&set).unwrap();
    }
    assert_eq!(w.insert_selectors(&set).unwrap_err().table, "policies");
    let copy = PolicyWriter::copy_of(w.reader()).unwrap();
    assert_eq!(copy.reader().selector_sets().count(), 16);
}

#[test]
fn a_region_full_of_garbage_is_read_without_harm() {
    let layout = PolicyLayout::of(&small());
    let r = Region::create("garbage", layout.total, false).unwrap();
    for (n, word) in r.words().iter().enumerate().skip(8) {
        word.store(
            (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            Ordering::Relaxed,
        );
    }
    let head = [POLICY_MAGIC, LAYOUT_VERSION, 9, 64, 16, 16, 16, 64];
    for (word, value) in r.words().iter().zip(head) {
        word.store(value, Ordering::Relaxed);
    }
    let p = PolicyReader::open(r.fd().try_clone_to_owned().unwrap()).unwrap();
    let _ = (
        p.sas().count(),
        p.policies().count(),
        p.routes().count(),
        p.neighbours().count(),
    );
    let _ = (p.ports().count(), p.settings());
    for spi in 0..2000 {
        let _ = p.find_sa(&SaKey::esp(Spi(spi), Address::UNSPECIFIED));
        let link = p.policy_link(spi);
        assert!(p.sas_by_flow(spi, &link, &flow(spi as u8)).count() <= 64);
        assert!(p.sas_of(&link).count() <= 64);
    }
}
