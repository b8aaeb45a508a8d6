//! What a file read again changes, and what it leaves.

use adit_abi::{Action, Direction, SaKey, SaRef};

use super::tests::{FakePlane, inbound, outbound, policy, sadb};
use super::*;
use crate::secret::Secret;

/// A table with a policy of the file's and its pair of SAs, and a policy and SA of a command's.
fn filed() -> (Sadb, Vec<PolicySpec>, Vec<SaSpec>) {
    let mut sadb = sadb();
    let of_file = |sa: SaSpec| SaSpec {
        origin: Origin::File,
        ..sa
    };
    let policies = vec![PolicySpec {
        origin: Origin::File,
        ..policy("site/net", "10.2.0.0/24")
    }];
    let sas = vec![
        of_file(outbound(0x1001, "site/net", "10.2.0.0/24")),
        of_file(inbound(0x2001, "site/net", "10.2.0.0/24")),
    ];
    sadb.add_policy(policies[0].clone()).unwrap();
    sadb.add_policy(policy("mine", "10.3.0.0/24")).unwrap();
    let mine = outbound(0x1003, "mine", "10.3.0.0/24");
    for sa in sas.iter().chain([&mine]) {
        sadb.add_sa(sa, 0).unwrap();
    }
    (sadb, policies, sas)
}

fn link_of(sadb: &Sadb, policy: &str) -> Option<SaRef> {
    let slot = *sadb.policy(policy)?.slots.first()?;
    sadb.reader().link(slot)
}

fn place(sadb: &Sadb, key: &SaKey) -> SaRef {
    sadb.sas.get(key).expect("an SA").sa
}

#[test]
fn a_file_that_says_the_same_changes_nothing() {
    let (sadb, policies, sas) = filed();
    let plan = sadb.plan_reload(&sas, &policies, &sas).unwrap();
    assert!(plan.add.is_empty() && plan.replace.is_empty() && plan.remove.is_empty());
    assert!(plan.add_sas.is_empty() && plan.remove_sas.is_empty() && plan.used_up.is_empty());
}

#[test]
fn what_the_file_no_longer_names_goes_and_what_a_command_put_in_stays() {
    let (sadb, _, sas) = filed();
    let plan = sadb.plan_reload(&sas, &[], &[]).unwrap();
    assert_eq!(plan.remove, ["site/net"]);
    let keys: Vec<_> = sas.iter().map(SaSpec::key).collect();
    assert_eq!(plan.remove_sas, keys);
}

#[test]
fn a_policy_with_another_priority_keeps_its_place_and_its_sas() {
    let (mut sadb, policies, sas) = filed();
    let plane = FakePlane::map(&mut sadb);
    plane.prepare(&mut sadb);
    let wider = PolicySpec {
        priority: 5,
        ..policies[0].clone()
    };
    let plan = sadb.plan_reload(&sas, std::slice::from_ref(&wider), &sas);
    assert_eq!(plan.unwrap().replace, std::slice::from_ref(&wider));

    let before = sadb.policy("site/net").unwrap().slots.clone();
    let places: Vec<_> = sas.iter().map(|sa| place(&sadb, &sa.key())).collect();
    let linked = link_of(&sadb, "site/net");
    assert!(linked.is_some());
    sadb.replace_policy(wider.clone()).unwrap();
    let after = sadb.policy("site/net").unwrap();
    assert_eq!((&after.spec, &after.slots), (&wider, &before));
    let now: Vec<_> = sas.iter().map(|sa| place(&sadb, &sa.key())).collect();
    assert_eq!(now, places, "no SA was put in anew");
    assert_eq!(link_of(&sadb, "site/net"), linked);
    assert_eq!(sadb.reader().policies().count(), 2);
    let (.., record) = sadb
        .reader()
        .policies()
        .find(|(slot, ..)| before.contains(slot))
        .unwrap();
    assert_eq!(record.priority, 5);
    // Nothing is to be prepared.
    assert!(sadb.poll_message().is_none());
}

#[test]
fn a_policy_with_more_selectors_seals_what_its_sas_cover() {
    let (mut sadb, policies, sas) = filed();
    let mut more = policies[0].clone();
    more.selectors
        .extend(policy("other", "10.4.0.0/24").selectors);
    sadb.replace_policy(more).unwrap();
    let slots = sadb.policy("site/net").unwrap().slots.clone();
    let links: Vec<_> = slots.iter().map(|slot| sadb.reader().link(*slot)).collect();
    assert_eq!(links, [Some(place(&sadb, &sas[0].key())), None]);
}

#[test]
fn a_policy_that_no_longer_protects_lets_its_sas_go() {
    let (mut sadb, policies, sas) = filed();
    let bypass = PolicySpec {
        action: Action::Bypass,
        ..policies[0].clone()
    };
    sadb.replace_policy(bypass).unwrap();
    assert_eq!(sadb.policy("site/net").unwrap().spec.action, Action::Bypass);
    assert!(sas.iter().all(|sa| !sadb.sas.contains_key(&sa.key())));
    assert_eq!(sadb.sa_count(), 1, "the command's");
}

#[test]
fn a_living_sa_is_not_given_other_settings() {
    let (sadb, policies, sas) = filed();
    let mut changed = sas.clone();
    changed[0].window = 64;
    let error = sadb.plan_reload(&sas, &policies, &changed).unwrap_err();
    assert_eq!(error, SadbError::ChangedInUse(sas[0].key()));
    assert!(error.to_string().contains("an SPI and keys of its own"));
}

#[test]
fn an_sa_that_went_is_not_put_in_again_under_its_keys() {
    let (mut sadb, policies, sas) = filed();
    sadb.remove_sa(&sas[0].key()).unwrap();
    let plan = sadb.plan_reload(&sas, &policies, &sas).unwrap();
    assert_eq!(plan.used_up, [sas[0].key()]);
    assert!(plan.add_sas.is_empty());
}

#[test]
fn names_keys_and_places_that_are_taken_refuse_the_whole() {
    let (sadb, policies, sas) = filed();
    let refused = |policies: &[PolicySpec], sas_now: &[SaSpec]| {
        sadb.plan_reload(&sas, policies, sas_now).unwrap_err()
    };
    let mine = PolicySpec {
        origin: Origin::File,
        ..policy("mine", "10.9.0.0/24")
    };
    assert_eq!(
        refused(&[policies[0].clone(), mine], &sas),
        SadbError::NameInUse("mine".into())
    );
    let taken = outbound(0x1003, "site/net", "10.2.0.0/24");
    let with = [sas.clone(), vec![taken.clone()]].concat();
    assert_eq!(refused(&policies, &with), SadbError::KeyInUse(taken.key()));
    let many: Vec<_> = (0..20)
        .map(|n| PolicySpec {
            name: format!("p{n}"),
            ..policies[0].clone()
        })
        .collect();
    assert!(matches!(refused(&many, &sas), SadbError::Full(_)));
    let direction = Direction::Inbound;
    let bad = SaSpec {
        enc_key: Secret::default(),
        direction,
        ..inbound(0x3001, "site/net", "10.2.0.0/24")
    };
    assert!(matches!(
        refused(&policies, &[sas.clone(), vec![bad]].concat()),
        SadbError::KeyLength { .. }
    ));
}
