//! The table against a data plane that maps the regions as the real one does.

use std::net::IpAddr;

use adit_abi::message::ToDataplane;
use adit_abi::{
    Action, Address, Capacity, Direction, Mode, PolicyReader, Protocol, SaKey, SaRef, Spi,
    StateRegion, Suite,
};

use super::*;
use crate::esp_proposal::EspProposal;
use crate::secret::Secret;
use crate::selector_syntax::{SelectorSide, pairs};

mod parts;

const SECOND: u64 = 1_000_000_000;

fn small() -> Capacity {
    Capacity {
        sas: 64,
        policies: 16,
        routes: 16,
        neighbours: 16,
        window: 1024,
    }
}

pub(super) fn sadb() -> Sadb {
    Sadb::create(&small(), 7).unwrap()
}

fn address(text: &str) -> Address {
    text.parse::<IpAddr>().unwrap().into()
}

fn side(text: &str) -> SelectorSide {
    SelectorSide::parse(text).unwrap()
}

pub(super) fn policy(name: &str, remote: &str) -> PolicySpec {
    PolicySpec {
        name: name.into(),
        selectors: pairs(&[side("10.1.0.0/24")], &[side(remote)]).unwrap(),
        action: Action::Protect,
        priority: 10,
        applies: Default::default(),
        from_packet: Default::default(),
        origin: Origin::Command,
    }
}

pub(super) fn outbound(spi: u32, policy: &str, remote: &str) -> SaSpec {
    SaSpec {
        spi: Spi(spi),
        direction: Direction::Outbound,
        source: address("192.0.2.1"),
        destination: address("192.0.2.2"),
        mode: Mode::Tunnel,
        proposal: EspProposal {
            suite: Suite::AES128_GCM16,
            esn: false,
        },
        enc_key: Secret::new(vec![7; 20]),
        auth_key: Secret::default(),
        encap: None,
        window: 1024,
        soft: Lifetime::default(),
        hard: Lifetime::default(),
        selectors: SelectorSide::pair(&side("10.1.0.0/24"), &side(remote))
            .unwrap()
            .into(),
        policy: Some(policy.into()),
        keepalive: false,
        dscp: None,
        df: DontFragment::Copy,
        packets: PacketRules::default(),
        around: None,
        ah_align_8: false,
        original: None,
        last_sequence: 0,
        origin: Origin::Command,
    }
}

pub(super) fn inbound(spi: u32, policy: &str, remote: &str) -> SaSpec {
    SaSpec {
        direction: Direction::Inbound,
        source: address("192.0.2.2"),
        destination: address("192.0.2.1"),
        ..outbound(spi, policy, remote)
    }
}

fn key(spi: u32, destination: &str) -> SaKey {
    SaKey {
        spi: Spi(spi),
        protocol: Protocol::Esp as u8,
        destination: address(destination),
    }
}

/// A data plane's end: it keeps the regions when control dies.
pub(super) struct FakePlane {
    pub(super) policy: PolicyReader,
    pub(super) state: StateRegion,
}

impl FakePlane {
    pub(super) fn map(sadb: &mut Sadb) -> Self {
        let fd = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned().unwrap();
        let plane = Self {
            policy: PolicyReader::open(fd(sadb.reader().fd())).unwrap(),
            state: StateRegion::open(fd(sadb.state().fd()), true).unwrap(),
        };
        sadb.handle_plane_up();
        plane
    }

    /// Prepares what it is asked to; returns which states.
    pub(super) fn prepare(&self, sadb: &mut Sadb) -> Vec<SaRef> {
        let mut done = Vec::new();
        while let Some(message) = sadb.poll_message() {
            let (token, sas) = match message {
                ToDataplane::Prepare { token, sas } => (token, sas),
                ToDataplane::Share { token, sa, with } => {
                    let own = self.state.sa(sa.slot).unwrap();
                    own.share(sa.generation, with.slot);
                    done.push(sa);
                    sadb.handle_prepared(token);
                    continue;
                }
                _ => panic!("{message:?}"),
            };
            for p in sas {
                let state = self.state.sa(p.sa.slot).unwrap();
                state.prepare(p.sa.generation, p.last_sequence);
                done.push(p.sa);
            }
            sadb.handle_prepared(token);
        }
        done
    }

    pub(super) fn hand_over(&self) -> (std::os::fd::OwnedFd, std::os::fd::OwnedFd) {
        let fd = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned().unwrap();
        (fd(self.policy.fd()), fd(self.state.fd()))
    }
}

fn changes(sadb: &mut Sadb) -> Vec<Change> {
    std::iter::from_fn(|| sadb.poll_change()).collect()
}

#[test]
fn an_sa_is_visible_and_linked_only_after_its_state_is_prepared() {
    let mut sadb = sadb();
    let plane = FakePlane::map(&mut sadb);
    sadb.add_policy(policy("net", "10.2.0.0/24")).unwrap();
    let slot = sadb.policy("net").unwrap().slots[0];
    let stage = sadb
        .add_sa(&outbound(0x1000, "net", "10.2.0.0/24"), 5_000_000_000)
        .unwrap();
    assert_eq!(stage, Stage::Preparing);
    let key = key(0x1000, "192.0.2.2");
    assert_eq!(plane.policy.find_sa(&key), None);
    assert_eq!(plane.policy.link(slot), None);
    assert_eq!(changes(&mut sadb), []);

    let prepared = plane.prepare(&mut sadb);
    assert_eq!(changes(&mut sadb), [Change::Installed(key)]);
    let sa = plane.policy.find_sa(&key).unwrap();
    assert_eq!(prepared, [sa]);
    assert_eq!(plane.policy.link(slot), Some(sa));
    let record = plane.policy.sa(sa).unwrap();
    assert_eq!(
        (record.enc_key[..20].to_vec(), record.installed),
        (vec![7; 20], 5)
    );
}

#[test]
fn without_a_data_plane_sas_are_published_and_prepared_when_one_comes() {
    let mut sadb = sadb();
    let first = inbound(0x1000, "net", "10.2.0.0/24");
    sadb.add_policy(policy("net", "10.2.0.0/24")).unwrap();
    assert_eq!(sadb.add_sa(&first, 0), Ok(Stage::Installed));
    let mut resumed = outbound(0x1001, "net", "10.2.0.0/24");
    resumed.last_sequence = 41;
    assert_eq!(sadb.add_sa(&resumed, 0), Ok(Stage::Installed));
    assert_eq!(sadb.poll_message(), None);

    let plane = FakePlane::map(&mut sadb);
    assert_eq!(plane.prepare(&mut sadb).len(), 2);
    let sa = plane.policy.find_sa(&key(0x1001, "192.0.2.2")).unwrap();
    assert_eq!(sadb.counts(sa).sequence, 41);

    // The next data plane maps the same state: nothing is prepared twice, no number is used again.
    let used = plane.state.sa(sa.slot).unwrap();
    used.sequence()
        .store(1000, std::sync::atomic::Ordering::Relaxed);
    sadb.handle_plane_down();
    let next = FakePlane::map(&mut sadb);
    assert_eq!(next.prepare(&mut sadb), []);
    assert_eq!(sadb.counts(sa).sequence, 1000);
}

#[test]
fn a_data_plane_that_dies_before_it_answers_delays_nothing() {
    let mut sadb = sadb();
    let plane = FakePlane::map(&mut sadb);
    sadb.add_policy(policy("net", "10.2.0.0/24")).unwrap();
    sadb.add_sa(&outbound(0x1000, "net", "10.2.0.0/24"), 0)
        .unwrap();
    let lost = sadb.poll_message().unwrap();
    sadb.handle_plane_down();
    assert_eq!(
        changes(&mut sadb),
        [Change::Installed(key(0x1000, "192.0.2.2"))]
    );
    // Its late answer means nothing any more.
    let ToDataplane::Prepare { token, .. } = lost else {
        panic!()
    };
    sadb.handle_prepared(token);
    assert_eq!(changes(&mut sadb), []);
    drop(plane);
    let next = FakePlane::map(&mut sadb);
    assert_eq!(next.prepare(&mut sadb).len(), 1);
}

#[test]
fn an_sa_deleted_while_it_is_prepared_never_appears() {
    let mut sadb = sadb();
    let plane = FakePlane::map(&mut sadb);
    sadb.add_policy(policy("net", "10.2.0.0/24")).unwrap();
    sadb.add_sa(&outbound(0x1000, "net", "10.2.0.0/24"), 0)
        .unwrap();
    sadb.remove_sa(&key(0x1000, "192.0.2.2")).unwrap();
    let first = plane.prepare(&mut sadb);
    assert_eq!(changes(&mut sadb), []);
    assert_eq!(plane.policy.sas().count(), 0);
    // The slot's next SA has a state of its own.
    sadb.add_sa(&outbound(0x1001, "net", "10.2.0.0/24"), 0)
        .unwrap();
    let second = plane.prepare(&mut sadb);
    assert_eq!(first[0].slot, second[0].slot);
    assert_ne!(first[0].generation, second[0].generation);
}

#[test]
fn what_cannot_be_put_in_is_refused_with_its_reason() {
    let mut sadb = sadb();
    sadb.add_policy(policy("net", "10.2.0.0/24")).unwrap();
    let mut bypass = policy("clear", "10.3.0.0/24");
    bypass.action = Action::Bypass;
    sadb.add_policy(bypass).unwrap();
    let good = outbound(0x1000, "net", "10.2.0.0/24");
    let refuse = |sadb: &mut Sadb, change: fn(&mut SaSpec)| {
        let mut spec = good.clone();
        change(&mut spec);
        sadb.add_sa(&spec, 0).unwrap_err().to_string()
    };
    for (change, expected) in [
        (
            (|s| s.spi = Spi(255)) as fn(&mut SaSpec),
            "SPI 0x000000ff is reserved: take one above 0x000000ff",
        ),
        (
            |s| s.enc_key = Secret::new(vec![0; 16]),
            "aes128gcm16 needs 20 octets of encryption key, 16 were given",
        ),
        (
            |s| s.auth_key = Secret::new(vec![0; 32]),
            "aes128gcm16 needs 0 octets of integrity key, 32 were given",
        ),
        (
            |s| s.window = 2048,
            "the anti-replay window is 2048 packets: it is 0 or 64 to 1024, raise `gateway.table.window` for more",
        ),
        (
            |s| s.source = Address::UNSPECIFIED,
            "the outer addresses :: and 192.0.2.2 must be two unicast addresses of one family",
        ),
        (
            |s| s.policy = Some("nat".into()),
            "there is no policy named \"nat\"",
        ),
        (
            |s| s.policy = Some("clear".into()),
            "the policy \"clear\" is not a PROTECT policy, so no SA can belong to it",
        ),
    ] {
        assert_eq!(refuse(&mut sadb, change), expected);
    }
    sadb.add_sa(&good, 0).unwrap();
    let again = sadb.add_sa(&good, 0).unwrap_err().to_string();
    assert_eq!(
        again,
        "there is an SA with SPI 0x00001000 to 192.0.2.2 already: delete it first"
    );
    let twice = sadb.add_policy(policy("net", "10.9.0.0/24")).unwrap_err();
    assert_eq!(twice, SadbError::NameInUse("net".into()));
    assert_eq!(sadb.sa_count(), 1);
}

#[test]
fn a_full_table_refuses_and_keeps_what_it_has() {
    let mut sadb = sadb();
    sadb.add_policy(policy("net", "10.2.0.0/24")).unwrap();
    for n in 0..64 {
        sadb.add_sa(&inbound(0x1000 + n, "net", "10.2.0.0/24"), 0)
            .unwrap();
    }
    let e = sadb
        .add_sa(&inbound(0x2000, "net", "10.2.0.0/24"), 0)
        .unwrap_err();
    assert!(e.to_string().contains("raise `gateway.table.sas`"), "{e}");
    assert_eq!((sadb.sa_count(), sadb.sas().count()), (64, 64));
    // A policy of which not all fits leaves nothing behind.
    let many: Vec<_> = (0..32)
        .map(|n| side(&format!("10.{}.0.0/24", n + 9)))
        .collect();
    let mut wide = policy("wide", "10.9.0.0/24");
    wide.selectors = pairs(&[side("10.1.0.0/24")], &many).unwrap();
    assert!(sadb.add_policy(wide).is_err());
    assert_eq!(sadb.reader().policies().count(), 1);
}

#[test]
fn a_policy_seals_into_its_newest_sa_and_falls_back_when_that_goes() {
    let mut sadb = sadb();
    sadb.add_policy(policy("net", "10.2.0.0/24")).unwrap();
    let slot = sadb.policy("net").unwrap().slots[0];
    for spi in [0x1000, 0x1001] {
        sadb.add_sa(&outbound(spi, "net", "10.2.0.0/24"), 0)
            .unwrap();
    }
    let linked = |sadb: &Sadb| {
        let sa = sadb.reader().link(slot)?;
        Some(sadb.reader().sa(sa).unwrap().spi.0)
    };
    assert_eq!(linked(&sadb), Some(0x1001));
    sadb.remove_sa(&key(0x1001, "192.0.2.2")).unwrap();
    assert_eq!(linked(&sadb), Some(0x1000));
    sadb.remove_sa(&key(0x1000, "192.0.2.2")).unwrap();
    assert_eq!(linked(&sadb), None);
}

#[test]
fn an_sa_is_linked_only_to_the_selectors_that_it_covers() {
    let mut sadb = sadb();
    let mut both = policy("net", "10.2.0.0/24");
    both.selectors = pairs(
        &[side("10.1.0.0/24"), side("fd00:1::/64")],
        &[side("10.2.0.0/24"), side("fd00:2::/64")],
    )
    .unwrap();
    sadb.add_policy(both).unwrap();
    let slots = sadb.policy("net").unwrap().slots.clone();
    assert_eq!(slots.len(), 2);
    sadb.add_sa(&outbound(0x1000, "net", "10.2.0.0/24"), 0)
        .unwrap();
    let mut six = outbound(0x1001, "net", "10.2.0.0/24");
    six.selectors = SelectorSide::pair(&side("fd00:1::/64"), &side("fd00:2::/64"))
        .unwrap()
        .into();
    sadb.add_sa(&six, 0).unwrap();
    let spis: Vec<_> = slots
        .iter()
        .map(|slot| {
            sadb.reader()
                .sa(sadb.reader().link(*slot).unwrap())
                .unwrap()
                .spi
                .0
        })
        .collect();
    assert_eq!(spis, [0x1000, 0x1001]);
}

#[test]
fn a_policy_goes_with_its_sas_and_nothing_else() {
    let mut sadb = sadb();
    for (n, name) in ["a", "b"].into_iter().enumerate() {
        let remote = format!("10.{}.0.0/24", n + 2);
        sadb.add_policy(policy(name, &remote)).unwrap();
        let spi = 0x1000 * (n as u32 + 1);
        sadb.add_sa(&outbound(spi, name, &remote), 0).unwrap();
        sadb.add_sa(&inbound(spi + 1, name, &remote), 0).unwrap();
    }
    sadb.remove_policy("a").unwrap();
    let mut left: Vec<_> = sadb.sas().map(|sa| sa.record.spi.0).collect();
    left.sort_unstable();
    assert_eq!(left, [0x2000, 0x2001]);
    assert_eq!(sadb.far_ends().count(), 1);
    assert_eq!(
        sadb.remove_policy("a"),
        Err(SadbError::NoPolicy("a".into()))
    );
}

#[test]
fn lifetimes_in_seconds_end() {
    let mut sadb = sadb();
    sadb.add_policy(policy("net", "10.2.0.0/24")).unwrap();
    let mut spec = outbound(0x1000, "net", "10.2.0.0/24");
    spec.hard.seconds = 10;
    sadb.add_sa(&spec, SECOND).unwrap();
    changes(&mut sadb);
    assert_eq!(sadb.next_expiry(), Some(11 * SECOND));
    sadb.expire(11 * SECOND - 1);
    assert_eq!(changes(&mut sadb), []);
    sadb.expire(11 * SECOND);
    assert_eq!(changes(&mut sadb), [Change::Expired(spec.key())]);
    assert_eq!((sadb.sa_count(), sadb.next_expiry()), (0, None));
}

#[test]
fn no_view_of_an_sa_shows_its_keys() {
    let mut sadb = sadb();
    let plane = FakePlane::map(&mut sadb);
    sadb.add_policy(policy("net", "10.2.0.0/24")).unwrap();
    sadb.add_sa(&outbound(0x1000, "net", "10.2.0.0/24"), 0)
        .unwrap();
    assert!(sadb.sas().all(|sa| sa.record.enc_key == [0; 36]));
    plane.prepare(&mut sadb);
    assert!(sadb.sas().all(|sa| sa.record.enc_key == [0; 36]));
    let spec = outbound(0x1000, "net", "10.2.0.0/24");
    assert!(!format!("{spec:?}").contains("7, 7"));
}

#[test]
fn a_new_control_finds_the_same_sas_and_policies_with_the_same_names() {
    let mut first = sadb();
    let plane = FakePlane::map(&mut first);
    for (n, name) in ["site-b/net", "site-c/net"].into_iter().enumerate() {
        let remote = format!("10.{}.0.0/24", n + 2);
        first.add_policy(policy(name, &remote)).unwrap();
        let mut spec = outbound(0x1000 + n as u32, name, &remote);
        spec.hard.seconds = 100;
        first.add_sa(&spec, 0).unwrap();
        first
            .add_sa(&inbound(0x2000 + n as u32, name, &remote), 0)
            .unwrap();
    }
    plane.prepare(&mut first);
    let show = |sadb: &Sadb| {
        let mut sas: Vec<_> = sadb
            .sas()
            .map(|sa| {
                let name = sadb.policy_name(sa.policy().unwrap()).unwrap();
                (sa.sa.slot, sa.sa.generation, sa.unique, sa.key(), name)
            })
            .collect();
        sas.sort_unstable();
        let policies: Vec<_> = sadb
            .policies()
            .map(|(name, p)| (name.to_owned(), p.spec.clone(), p.slots.clone()))
            .collect();
        (sas, policies, sadb.next_expiry())
    };
    let before = show(&first);
    let used = plane.policy.find_sa(&key(0x1000, "192.0.2.2")).unwrap();
    let state = plane.state.sa(used.slot).unwrap();
    state
        .sequence()
        .store(77, std::sync::atomic::Ordering::Relaxed);
    // `kill -9`: nothing is said to anybody.
    drop(first);

    let mut second = sadb();
    let (policy_fd, state_fd) = plane.hand_over();
    second.adopt(policy_fd, state_fd).unwrap();
    assert_eq!(show(&second), before);
    let next = FakePlane::map(&mut second);
    assert_eq!(
        next.prepare(&mut second),
        [],
        "their states are theirs still"
    );
    assert_eq!(second.counts(used).sequence, 77);

    // It can go on where the first one ended.
    second
        .add_sa(&outbound(0x1009, "site-b/net", "10.2.0.0/24"), 0)
        .unwrap();
    next.prepare(&mut second);
    let sa = next.policy.find_sa(&key(0x1009, "192.0.2.2")).unwrap();
    let slot = second.policy("site-b/net").unwrap().slots[0];
    assert_eq!(next.policy.link(slot), Some(sa));
    let mut uniques: Vec<_> = second.sas().map(|sa| sa.unique).collect();
    uniques.sort_unstable();
    uniques.dedup();
    assert_eq!(uniques.len(), 5);
}

#[test]
fn what_a_new_control_brings_comes_on_top_of_what_it_takes_back() {
    let file = |name: &str, remote: &str| PolicySpec {
        origin: Origin::File,
        ..policy(name, remote)
    };
    let file_sa = |spi, name: &str, remote: &str| SaSpec {
        origin: Origin::File,
        ..outbound(spi, name, remote)
    };
    let mut first = sadb();
    let plane = FakePlane::map(&mut first);
    first.add_policy(file("kept", "10.2.0.0/24")).unwrap();
    first.add_policy(file("dropped", "10.3.0.0/24")).unwrap();
    first
        .add_policy(policy("commanded", "10.4.0.0/24"))
        .unwrap();
    first
        .add_sa(&file_sa(0x1000, "kept", "10.2.0.0/24"), 0)
        .unwrap();
    first
        .add_sa(&file_sa(0x1001, "dropped", "10.3.0.0/24"), 0)
        .unwrap();
    first
        .add_sa(&file_sa(0x1002, "kept", "10.2.0.0/24"), 0)
        .unwrap();
    plane.prepare(&mut first);
    let kept = plane.policy.find_sa(&key(0x1000, "192.0.2.2")).unwrap();
    drop(first);

    // Its file names one SA less and one policy more.
    let mut second = sadb();
    second.add_policy(file("new", "10.5.0.0/24")).unwrap();
    second.add_policy(file("kept", "10.2.0.0/24")).unwrap();
    second
        .add_sa(&file_sa(0x1000, "kept", "10.2.0.0/24"), 0)
        .unwrap();
    second
        .add_sa(&file_sa(0x1005, "new", "10.5.0.0/24"), 0)
        .unwrap();
    let (policy_fd, state_fd) = plane.hand_over();
    second.adopt(policy_fd, state_fd).unwrap();
    let names: Vec<_> = second.policies().map(|(n, _)| n.to_owned()).collect();
    assert_eq!(names, ["commanded", "kept", "new"]);
    let mut spis: Vec<_> = second.sas().map(|sa| sa.record.spi.0).collect();
    spis.sort_unstable();
    assert_eq!(spis, [0x1000, 0x1005]);

    let next = FakePlane::map(&mut second);
    let prepared = next.prepare(&mut second);
    let new = next.policy.find_sa(&key(0x1005, "192.0.2.2")).unwrap();
    assert_eq!(prepared, [new], "only the new one");
    assert_eq!(next.policy.find_sa(&key(0x1000, "192.0.2.2")), Some(kept));
    let slot = second.policy("new").unwrap().slots[0];
    assert_eq!(
        next.policy.link(slot),
        Some(new),
        "under its own policy, wherever that lies now"
    );
}

#[test]
fn regions_that_are_not_a_pair_are_refused_and_nothing_changes() {
    let mut sadb = sadb();
    sadb.add_policy(policy("net", "10.2.0.0/24")).unwrap();
    let other = Sadb::create(
        &Capacity {
            sas: 128,
            ..small()
        },
        1,
    )
    .unwrap();
    let fd = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned().unwrap();
    let mixed = sadb.adopt(fd(other.reader().fd()), fd(sadb.state().fd()));
    assert!(matches!(mixed, Err(super::adopt::AdoptError::Capacities)));
    let swapped = sadb.adopt(fd(other.state().fd()), fd(other.reader().fd()));
    assert!(swapped.is_err());
    let foreign = std::fs::File::open("/dev/null").unwrap();
    assert!(sadb.adopt(foreign.into(), fd(other.state().fd())).is_err());
    assert_eq!(sadb.policies().count(), 1);
}
