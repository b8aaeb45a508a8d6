//! What moves with an SA, what stays a while, and what goes with it.

use std::sync::atomic::Ordering;

use adit_abi::{Address, SaKey};

use super::tests::{FakePlane, inbound, outbound, policy, sadb};
use super::*;

const SECOND: u64 = 1_000_000_000;

fn v4(last: u8) -> Address {
    Address::v4([192, 0, 2, last])
}

/// A table with a policy and a pair of SAs between 192.0.2.1, which is here, and 192.0.2.2.
fn pair() -> (Sadb, FakePlane, SaKey, SaKey) {
    let mut sadb = sadb();
    let plane = FakePlane::map(&mut sadb);
    sadb.add_policy(policy("net", "10.2.0.0/24")).unwrap();
    let specs = [
        inbound(0x2001, "net", "10.2.0.0/24"),
        outbound(0x1001, "net", "10.2.0.0/24"),
    ];
    for spec in &specs {
        sadb.add_sa(spec, 0).unwrap();
    }
    plane.prepare(&mut sadb);
    let [inbound, outbound] = specs.map(|spec| spec.key());
    (sadb, plane, inbound, outbound)
}

fn to(source: u8, destination: u8) -> Migration {
    Migration {
        source: v4(source),
        destination: v4(destination),
        encap: None,
        keep: 30,
    }
}

#[test]
fn numbers_and_counters_go_on_and_the_old_key_stays_a_while() {
    let (mut sadb, plane, inbound, outbound) = pair();
    let old = plane.policy.find_sa(&inbound).unwrap();
    let state = plane.state.state_of(old).unwrap();
    state.sequence().store(77, Ordering::Relaxed);
    let (new, stage) = sadb.migrate_sa(&inbound, &to(2, 9), SECOND).unwrap();
    assert_eq!((new.destination, stage), (v4(9), Stage::Preparing));
    assert_eq!(
        plane.policy.find_sa(&new),
        None,
        "not before its state is shared"
    );
    plane.prepare(&mut sadb);
    let moved = plane.policy.find_sa(&new).unwrap();
    for sa in [old, moved] {
        let state = plane.state.state_of(sa).unwrap();
        assert_eq!(state.sequence().load(Ordering::Relaxed), 77);
    }
    assert_eq!(plane.policy.find_sa(&inbound), Some(old));
    assert_eq!(sadb.sas().count(), 2, "one SA is listed once");
    assert_eq!(
        sadb.key_of(old),
        Some(new),
        "what is told of the old place is told of the SA"
    );
    // Nobody else gets the old key meanwhile.
    let again = super::tests::inbound(0x2001, "net", "10.2.0.0/24");
    assert_eq!(
        sadb.add_sa(&again, 2 * SECOND),
        Err(SadbError::KeyInUse(inbound))
    );
    assert_eq!(sadb.next_expiry(), Some(31 * SECOND));
    sadb.expire(31 * SECOND);
    assert_eq!(plane.policy.find_sa(&inbound), None);
    assert_eq!(plane.policy.find_sa(&new), Some(moved));
    assert_eq!(
        plane
            .state
            .state_of(moved)
            .unwrap()
            .sequence()
            .load(Ordering::Relaxed),
        77
    );
    // The outbound SA: its policy leads to the new place.
    let (new, _) = sadb.migrate_sa(&outbound, &to(9, 2), SECOND).unwrap();
    assert_eq!(new, outbound);
    plane.prepare(&mut sadb);
    let slot = sadb.policy("net").unwrap().slots[0];
    let linked = plane.policy.link(slot).unwrap();
    assert_eq!(plane.policy.sa(linked).unwrap().source, v4(9));
}

#[test]
fn a_slot_whose_state_is_shared_is_not_given_out_again() {
    let (mut sadb, plane, inbound, _) = pair();
    let first = plane.policy.find_sa(&inbound).unwrap();
    let mut key = inbound;
    for last in [9, 10, 11] {
        (key, _) = sadb.migrate_sa(&key, &to(2, last), 0).unwrap();
        plane.prepare(&mut sadb);
        sadb.expire(60 * SECOND);
    }
    let used: Vec<_> = plane.policy.sas().map(|(sa, _)| sa.slot).collect();
    assert_eq!(used.len(), 2);
    let mut slots = Vec::new();
    for n in 0..8 {
        let spec = super::tests::inbound(0x3000 + n, "net", "10.2.0.0/24");
        sadb.add_sa(&spec, 0).unwrap();
        slots.extend(plane.prepare(&mut sadb).iter().map(|sa| sa.slot));
    }
    assert!(!slots.contains(&first.slot));
    sadb.remove_sa(&key).unwrap();
    let spec = super::tests::inbound(0x4000, "net", "10.2.0.0/24");
    sadb.add_sa(&spec, 0).unwrap();
    let reused = plane.prepare(&mut sadb)[0];
    assert!(reused.slot == first.slot || used.contains(&reused.slot));
    assert_ne!(reused, first, "under a generation of its own");
}

#[test]
fn an_sa_that_goes_takes_its_old_keys_along() {
    let (mut sadb, plane, inbound, _) = pair();
    let (new, _) = sadb.migrate_sa(&inbound, &to(2, 9), 0).unwrap();
    plane.prepare(&mut sadb);
    sadb.remove_sa(&new).unwrap();
    assert_eq!(plane.policy.find_sa(&inbound), None);
    assert_eq!(plane.policy.find_sa(&new), None);
    assert_eq!(sadb.next_expiry(), None);
}

#[test]
fn an_sa_deleted_on_its_way_is_gone() {
    let (mut sadb, plane, inbound, _) = pair();
    let (new, _) = sadb.migrate_sa(&inbound, &to(2, 9), 0).unwrap();
    let twice = sadb.migrate_sa(&inbound, &to(2, 10), 0);
    assert_eq!(twice, Err(SadbError::UnderWay(inbound)));
    sadb.remove_sa(&inbound).unwrap();
    plane.prepare(&mut sadb);
    assert_eq!(plane.policy.find_sa(&new), None);
    assert_eq!(plane.policy.sas().count(), 1);
}

#[test]
fn the_next_control_knows_what_has_moved() {
    let (mut old, plane, inbound, _) = pair();
    let (key, _) = old.migrate_sa(&inbound, &to(2, 9), 0).unwrap();
    plane.prepare(&mut old);
    let root = plane.policy.find_sa(&inbound).unwrap();
    drop(old);
    let mut next = sadb();
    let (policy, state) = plane.hand_over();
    next.adopt(policy, state).unwrap();
    assert_eq!(next.sas().count(), 2);
    next.expire(1);
    assert_eq!(next.reader().find_sa(&inbound), None);
    assert!(next.reader().find_sa(&key).is_some());
    let next_plane = FakePlane::map(&mut next);
    assert_eq!(next_plane.prepare(&mut next), [], "its state is there");
    for n in 0..8 {
        let spec = super::tests::inbound(0x3000 + n, "net", "10.2.0.0/24");
        next.add_sa(&spec, 0).unwrap();
        assert!(
            next_plane
                .prepare(&mut next)
                .iter()
                .all(|sa| sa.slot != root.slot)
        );
    }
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let (mut sadb, plane, inbound, _) = pair();
    let before = plane.policy.sad_generation();
    let unknown = SaKey {
        destination: v4(77),
        ..inbound
    };
    assert_eq!(
        sadb.migrate_sa(&unknown, &to(2, 9), 0),
        Err(SadbError::NoSa(unknown))
    );
    let nowhere = Migration {
        destination: Address::UNSPECIFIED,
        ..to(2, 9)
    };
    let refused = sadb.migrate_sa(&inbound, &nowhere, 0);
    assert!(matches!(refused, Err(SadbError::OuterAddresses { .. })));
    assert_eq!(plane.policy.sad_generation(), before);
    assert_eq!(plane.prepare(&mut sadb), []);
}
