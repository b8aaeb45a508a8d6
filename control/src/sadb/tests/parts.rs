//! SAs that cover a part of their policy, sets of selectors, and questions for SAs.

use adit_abi::message::Verdict;
use adit_abi::{Applies, Flow, FromPacket, Selector, SelectorSet};

use super::*;
use crate::selector_syntax::selector_set;

fn flow(local: &str, remote: &str) -> Flow {
    Flow {
        local: address(local),
        remote: address(remote),
        protocol: 17,
        local_port: 1000,
        remote_port: 53,
    }
}

fn selector(local: &str, remote: &str) -> Selector {
    SelectorSide::pair(&side(local), &side(remote)).unwrap()
}

/// An outbound SA for these selectors.
fn sa(spi: u32, policy: &str, selectors: SelectorSet) -> SaSpec {
    SaSpec {
        selectors,
        ..outbound(spi, policy, "10.2.0.0/24")
    }
}

/// The SPI that a flow under the policy's first selector goes into.
fn found(sadb: &Sadb, policy: &str, flow: &Flow) -> Option<u32> {
    let slot = sadb.policy(policy).unwrap().slots[0];
    sadb.sa_of(slot, flow, true).map(|key| key.spi.0)
}

fn lists(local: &[&str], remote: &[&str]) -> SelectorSet {
    let sides = |texts: &[&str]| texts.iter().map(|t| side(t)).collect::<Vec<_>>();
    selector_set(&sides(local), &sides(remote)).unwrap()
}

#[test]
fn parts_of_a_policy_have_sas_of_their_own_until_one_covers_it_whole() {
    let mut sadb = sadb();
    sadb.add_policy(policy("net", "10.2.0.0/24")).unwrap();
    let part = |local| selector(local, "10.2.0.0/24").into();
    sadb.add_sa(&sa(0x1001, "net", part("10.1.0.0/25")), 0)
        .unwrap();
    sadb.add_sa(&sa(0x1002, "net", part("10.1.0.128/25")), 0)
        .unwrap();
    let (low, high) = (flow("10.1.0.5", "10.2.0.5"), flow("10.1.0.200", "10.2.0.5"));
    let both = |sadb: &Sadb| (found(sadb, "net", &low), found(sadb, "net", &high));
    assert_eq!(both(&sadb), (Some(0x1001), Some(0x1002)));
    sadb.add_sa(&outbound(0x1003, "net", "10.2.0.0/24"), 0)
        .unwrap();
    assert_eq!(both(&sadb), (Some(0x1003), Some(0x1003)));
    let far = |spi| key(spi, "192.0.2.2");
    sadb.remove_sa(&far(0x1003)).unwrap();
    assert_eq!(both(&sadb), (Some(0x1001), Some(0x1002)));
    sadb.remove_sa(&far(0x1002)).unwrap();
    assert_eq!(both(&sadb), (Some(0x1001), None));
    // A newer one for the same part takes over.
    sadb.add_sa(&sa(0x1004, "net", part("10.1.0.0/25")), 0)
        .unwrap();
    assert_eq!(both(&sadb), (Some(0x1004), None));
    sadb.remove_policy("net").unwrap();
    assert_eq!(sadb.sa_count(), 0);
}

#[test]
fn each_packet_finds_the_sa_that_was_asked_for_it() {
    let mut sadb = sadb();
    let mut spec = policy("hosts", "10.2.0.0/24");
    spec.from_packet = FromPacket::LOCAL_ADDRESS.with(FromPacket::REMOTE_ADDRESS);
    sadb.add_policy(spec).unwrap();
    let slot = sadb.policy("hosts").unwrap().slots[0];
    let flows = [flow("10.1.0.5", "10.2.0.5"), flow("10.1.0.6", "10.2.0.5")];
    for (spi, f) in [(0x1001, flows[0]), (0x1002, flows[1])] {
        assert_eq!(found(&sadb, "hosts", &f), None);
        let acquire = sadb.acquire(slot, f, true).unwrap();
        assert_eq!(acquire.wanted.local_first, acquire.wanted.local_last);
        sadb.add_sa(&sa(spi, "hosts", acquire.wanted.into()), 0)
            .unwrap();
        assert_eq!(
            sadb.answer(&acquire, Answer::Use(key(spi, "192.0.2.2"))),
            Ok(())
        );
    }
    let all = |sadb: &Sadb| flows.map(|f| found(sadb, "hosts", &f));
    assert_eq!(all(&sadb), [Some(0x1001), Some(0x1002)]);
    // A rekey: the new one is found, also when the old one has gone.
    let again = sadb.acquire(slot, flows[0], true).unwrap();
    sadb.add_sa(&sa(0x1003, "hosts", again.wanted.into()), 0)
        .unwrap();
    assert_eq!(all(&sadb), [Some(0x1003), Some(0x1002)]);
    sadb.remove_sa(&key(0x1001, "192.0.2.2")).unwrap();
    assert_eq!(all(&sadb), [Some(0x1003), Some(0x1002)]);
    sadb.remove_sa(&key(0x1003, "192.0.2.2")).unwrap();
    assert_eq!(all(&sadb), [None, Some(0x1002)]);
}

#[test]
fn both_directions_and_a_rekey_share_one_set_of_selectors() {
    let mut sadb = sadb();
    let mut spec = policy("net", "10.2.0.0/24");
    spec.selectors
        .push(selector("10.1.0.0/24", "10.3.0.0-10.3.0.9"));
    sadb.add_policy(spec).unwrap();
    let set = lists(&["10.1.0.0/24"], &["10.2.0.0/24", "10.3.0.0-10.3.0.9"]);
    for spi in [0x1001, 0x1002] {
        sadb.add_sa(&sa(spi, "net", set), 0).unwrap();
    }
    sadb.add_sa(
        &SaSpec {
            selectors: set,
            ..inbound(0x2001, "net", "10.2.0.0/24")
        },
        0,
    )
    .unwrap();
    assert_eq!(sadb.reader().selector_sets().count(), 1);
    let slots = sadb.policy("net").unwrap().slots.clone();
    let second = flow("10.1.0.1", "10.3.0.5");
    assert_eq!(
        sadb.sa_of(slots[1], &second, true),
        Some(key(0x1002, "192.0.2.2"))
    );
    assert!(
        sadb.reader().policy_link(slots[1]).is_plain(),
        "it covers all of it"
    );
    for (spi, to) in [
        (0x1001, "192.0.2.2"),
        (0x1002, "192.0.2.2"),
        (0x2001, "192.0.2.1"),
    ] {
        assert_eq!(sadb.reader().selector_sets().count(), 1);
        sadb.remove_sa(&key(spi, to)).unwrap();
    }
    assert_eq!(sadb.reader().selector_sets().count(), 0);
}

#[test]
fn a_restarted_control_finds_parts_sets_and_flags_again() {
    let mut old = sadb();
    let mut hosts = policy("hosts", "10.2.0.0/24");
    hosts.from_packet = FromPacket::LOCAL_ADDRESS;
    let mut inward = policy("inward", "10.9.0.0/24");
    (inward.action, inward.applies) = (Action::Bypass, Applies::Inbound);
    for spec in [hosts.clone(), policy("net", "10.3.0.0/24"), inward.clone()] {
        old.add_policy(spec).unwrap();
    }
    let one = selector("10.1.0.5", "10.2.0.0/24").into();
    old.add_sa(&sa(0x1001, "hosts", one), 0).unwrap();
    let parts = lists(&["10.1.0.1", "10.1.0.7-10.1.0.9"], &["10.3.0.0/24"]);
    old.add_sa(&sa(0x1002, "net", parts), 0).unwrap();
    let plane = FakePlane::map(&mut old);
    plane.prepare(&mut old);
    drop(old);
    let mut new = sadb();
    let fd = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned().unwrap();
    new.adopt(fd(plane.policy.fd()), fd(plane.state.fd()))
        .unwrap();
    assert_eq!(new.policy("hosts").unwrap().spec, hosts);
    assert_eq!(new.policy("inward").unwrap().spec, inward);
    assert_eq!(
        found(&new, "hosts", &flow("10.1.0.5", "10.2.0.1")),
        Some(0x1001)
    );
    assert_eq!(
        found(&new, "net", &flow("10.1.0.8", "10.3.0.1")),
        Some(0x1002)
    );
    assert_eq!(new.reader().selector_sets().count(), 1);
    // And takes them away again.
    for spi in [0x1001, 0x1002] {
        new.remove_sa(&key(spi, "192.0.2.2")).unwrap();
    }
    assert_eq!(found(&new, "hosts", &flow("10.1.0.5", "10.2.0.1")), None);
    assert_eq!(found(&new, "net", &flow("10.1.0.8", "10.3.0.1")), None);
    assert_eq!(new.reader().selector_sets().count(), 0);
}

#[test]
fn an_answer_without_an_sa_goes_to_the_data_plane() {
    let mut sadb = sadb();
    sadb.add_policy(policy("net", "10.2.0.0/24")).unwrap();
    let slot = sadb.policy("net").unwrap().slots[0];
    let f = flow("10.1.0.5", "10.2.0.5");
    let acquire = sadb.acquire(slot, f, true).unwrap();
    let expected = |verdict| ToDataplane::Answer {
        policy: slot,
        selector: selector("10.1.0.0/24", "10.2.0.0/24"),
        verdict,
    };
    sadb.answer(&acquire, Answer::Clear).unwrap();
    assert_eq!(sadb.poll_message(), Some(expected(Verdict::Clear)));
    sadb.release_held("net", None, Verdict::Drop).unwrap();
    assert_eq!(sadb.poll_message(), Some(expected(Verdict::Drop)));
    let missing = Answer::Use(key(0x1001, "192.0.2.2"));
    assert!(matches!(
        sadb.answer(&acquire, missing),
        Err(SadbError::NoSa(_))
    ));
    assert!(sadb.release_held("other", None, Verdict::Drop).is_err());
    assert_eq!(sadb.acquire(slot + 1, f, true), None);
    assert_eq!(sadb.poll_message(), None);
}

#[test]
fn flags_and_directions_that_mean_nothing_are_refused() {
    let mut sadb = sadb();
    let mut spec = policy("net", "10.2.0.0/24");
    spec.applies = Applies::Outbound;
    assert_eq!(
        sadb.add_policy(spec.clone()),
        Err(SadbError::OneWay("net".into()))
    );
    spec.action = Action::Discard;
    spec.from_packet = FromPacket::PROTOCOL;
    assert_eq!(
        sadb.add_policy(spec),
        Err(SadbError::FromPacket("net".into()))
    );
    let nothing =
        SelectorSet::new(&[side("10.1.0.0/24").end()], &[side("fd00:2::/64").end()]).unwrap();
    let mut lost = sa(0x1001, "net", nothing);
    lost.policy = None;
    assert_eq!(sadb.add_sa(&lost, 0), Err(SadbError::NothingCovered));
}

#[test]
fn a_policy_that_takes_other_fields_from_packets_finds_its_sas_again() {
    let mut sadb = sadb();
    let mut spec = policy("hosts", "10.2.0.0/24");
    spec.from_packet = FromPacket::LOCAL_ADDRESS;
    sadb.add_policy(spec.clone()).unwrap();
    let one = selector("10.1.0.5", "10.2.0.7").into();
    sadb.add_sa(&sa(0x1001, "hosts", one), 0).unwrap();
    let f = flow("10.1.0.5", "10.2.0.7");
    assert_eq!(found(&sadb, "hosts", &f), Some(0x1001));
    for flags in [FromPacket::REMOTE_ADDRESS, FromPacket::default()] {
        spec.from_packet = flags;
        sadb.replace_policy(spec.clone()).unwrap();
        assert_eq!(found(&sadb, "hosts", &f), Some(0x1001));
        assert_eq!(found(&sadb, "hosts", &flow("10.1.0.6", "10.2.0.7")), None);
    }
}
