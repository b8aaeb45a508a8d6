use super::*;
use proptest::prelude::*;

fn ike(text: &str) -> Proposal {
    Proposal::parse(Protocol::Ike, text).unwrap_or_else(|e| panic!("{e}"))
}

fn esp(text: &str) -> Proposal {
    Proposal::parse(Protocol::Esp, text).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn every_default_proposal_parses_and_has_nothing_weak() {
    let all = [(default_ike(), 4), (default_esp(), 2), (default_ah(), 1)];
    for (proposals, count) in all {
        assert_eq!(proposals.len(), count);
        for proposal in proposals {
            assert_eq!(proposal.weak().count(), 0, "{proposal}");
            assert_eq!(
                Proposal::parse(proposal.protocol, &proposal.to_string()),
                Ok(proposal)
            );
        }
    }
}

#[test]
fn proposals_are_read_and_written_as_swanctl_does() {
    for text in [
        "aes256gcm16-prfsha384-ecp384",
        "aes128-sha256-x25519-ke1_mlkem768",
        "aes256-aes128-sha512-sha256-modp2048-modp4096",
        "aes128-prfsha512-sha256-ecp521",
        "chacha20poly1305-prfaesxcbc-x25519",
        "3des-sha1-modp1024",
    ] {
        assert_eq!(ike(text).to_string(), text);
    }
    for text in [
        "aes256gcm16",
        "aes128-sha256-modp2048-esn",
        "null-sha256-esn-noesn",
        "aes128gmac-none",
    ] {
        assert_eq!(esp(text).to_string(), text);
    }
    assert_eq!(
        ike("AES128GCM128-sha256-curve25519"),
        ike("aes128gcm16-prfsha256-x25519")
    );
    assert_eq!(ike("aes-sha-modp2048"), ike("aes128-sha1-modp2048"));
    let ah = Proposal::parse(Protocol::Ah, "aes128gmac-sha256").unwrap();
    assert_eq!(
        ah.of(TransformType::Integ)
            .map(|t| t.id)
            .collect::<Vec<_>>(),
        [9, 12]
    );
}

#[test]
fn a_bad_token_is_named_with_what_to_write_instead() {
    let cases = [
        (
            Protocol::Ike,
            "aes256-sha256-modp2048s256",
            "modp2048s256",
            "use modp2048",
        ),
        (
            Protocol::Ike,
            "blowfish256-sha256-modp2048",
            "blowfish256",
            "use aes256gcm16 or aes256",
        ),
        (Protocol::Ike, "aes256-sha256-foo", "foo", "one of aes128"),
        (
            Protocol::Ike,
            "aes256-sha256",
            "aes256-sha256",
            "add `x25519`",
        ),
        (
            Protocol::Ike,
            "aes256gcm16-x25519",
            "aes256gcm16-x25519",
            "add `prfsha256`",
        ),
        (
            Protocol::Ike,
            "aes256-x25519",
            "aes256-x25519",
            "add `sha256`",
        ),
        (
            Protocol::Ike,
            "aes256gcm16-aes256-sha256-x25519",
            "aes256gcm16-aes256",
            "comma",
        ),
        (
            Protocol::Esp,
            "aes256gcm16-ke1_mlkem768",
            "aes256gcm16",
            "add `x25519`",
        ),
        (
            Protocol::Ike,
            "aes256-sha256-x25519-ke8_mlkem768",
            "ke8_mlkem768",
            "number them",
        ),
        (
            Protocol::Ike,
            "aes256-sha256-x25519-ke1_sha256",
            "ke1_sha256",
            "write `sha256`",
        ),
        (
            Protocol::Ike,
            "null-sha256-x25519",
            "null",
            "use `aes256gcm16`",
        ),
        (
            Protocol::Ike,
            "aes256-sha256-x25519-esn",
            "aes256",
            "leave them out",
        ),
        (Protocol::Esp, "aes256", "aes256", "add `sha256`"),
        (
            Protocol::Esp,
            "aes256gcm16-sha256",
            "aes256gcm16-sha256",
            "leave the integrity",
        ),
        (
            Protocol::Esp,
            "aes256gcm16-prfsha256",
            "aes256gcm16-prfsha256",
            "leave out",
        ),
        (
            Protocol::Ah,
            "aes256-sha256",
            "aes256",
            "leave the cipher out",
        ),
        (Protocol::Ike, "", "", "one of"),
    ];
    for (protocol, text, token, remedy) in cases {
        let error = Proposal::parse(protocol, text).unwrap_err();
        assert!(error.token.contains(token), "{text}: {error}");
        assert!(error.remedy.contains(remedy), "{text}: {error}");
    }
    assert!(
        parse_list(Protocol::Esp, " , ")
            .unwrap_err()
            .remedy
            .contains("default")
    );
    assert_eq!(
        parse_list(Protocol::Ike, "default, aes256-sha256-modp2048")
            .unwrap()
            .len(),
        5
    );
    assert!(parse_list(Protocol::Ah, &"sha256,".repeat(65)).is_err());
}

#[test]
fn the_first_pair_that_fits_is_chosen_in_the_order_of_the_side_preferred() {
    let offered = [
        ike("aes128-sha256-modp2048-x25519"),
        ike("aes256gcm16-prfsha384-x25519"),
    ];
    let configured = [
        ike("aes256gcm16-prfsha256-prfsha384-x25519"),
        ike("aes128-sha256-x25519-modp2048"),
    ];
    let chosen = select(&offered, &configured, Prefer::Configured).unwrap();
    assert_eq!((chosen.offered, chosen.configured), (1, 0));
    assert_eq!(chosen.proposal, ike("aes256gcm16-prfsha384-x25519"));
    let chosen = select(&offered, &configured, Prefer::Offered).unwrap();
    assert_eq!((chosen.offered, chosen.configured), (0, 1));
    assert_eq!(chosen.proposal, ike("aes128-sha256-modp2048"));
    let suite = IkeSuite::from_chosen(&chosen.proposal).unwrap();
    assert_eq!(suite.ke, crate::crypto::KeMethod::Modp2048);
}

#[test]
fn a_peer_without_additional_key_exchanges_takes_a_default_proposal() {
    let offered = default_ike();
    let old = [ike("aes256-sha256-modp2048")];
    let chosen = select(&offered, &old, Prefer::Configured).unwrap();
    assert_eq!(chosen.offered, 3);
    let new = select(&offered, &default_ike(), Prefer::Configured).unwrap();
    let suite = IkeSuite::from_chosen(&new.proposal).unwrap();
    assert_eq!(suite.additional, [(1, crate::crypto::KeMethod::MlKem768)]);
    assert_eq!(suite.integrity, None);
}

#[test]
fn none_stands_for_a_type_that_is_left_out() {
    let with_none = esp("aes256gcm16-modp2048-none-noesn");
    let without = esp("aes256gcm16");
    let chosen = select(
        std::slice::from_ref(&without),
        std::slice::from_ref(&with_none),
        Prefer::Configured,
    )
    .unwrap();
    assert_eq!(ChildSuite::from_chosen(&chosen.proposal).unwrap().ke, None);
    let chosen = select(&[with_none], &[without], Prefer::Configured).unwrap();
    assert_eq!(
        chosen
            .proposal
            .of(TransformType::Ke)
            .map(|t| t.id)
            .collect::<Vec<_>>(),
        [0]
    );
    // AES-GCM with an explicit integrity of NONE, as some peers send it.
    let mut offered = esp("aes256gcm16");
    offered.add(Transform::new(TransformType::Integ, registry::NONE));
    let chosen = select(&[offered], &[esp("aes256gcm16")], Prefer::Configured).unwrap();
    assert!(
        ChildSuite::from_chosen(&chosen.proposal)
            .unwrap()
            .integrity
            .is_none()
    );
}

#[test]
fn a_proposal_with_an_unknown_type_is_passed_over() {
    let mut strange = ike("aes256-sha256-x25519");
    strange.add(Transform::new(TransformType::from_id(99), 1));
    let plain = ike("aes256-sha256-x25519");
    let chosen = select(&[strange, plain.clone()], &[plain], Prefer::Configured).unwrap();
    assert_eq!(chosen.offered, 1);
}

#[test]
fn no_method_is_used_twice() {
    let twice = [ike("aes256-sha256-x25519-ke1_x25519-ke1_mlkem768")];
    let chosen = select(&twice, &twice, Prefer::Configured).unwrap();
    assert_eq!(
        IkeSuite::from_chosen(&chosen.proposal)
            .unwrap()
            .additional
            .len(),
        1
    );
    // A worse choice for the first leaves one for the second.
    let narrow = [ike(
        "aes256-sha256-x25519-ke1_ecp384-ke1_mlkem768-ke3_ecp384",
    )];
    let chosen = select(&narrow, &narrow, Prefer::Configured).unwrap();
    assert_eq!(
        chosen.proposal.to_string(),
        "aes256-sha256-x25519-ke1_mlkem768-ke3_ecp384"
    );
    let only = [ike("aes256-sha256-x25519-ke1_x25519")];
    let mismatch = select(&only, &only, Prefer::Configured).unwrap_err();
    assert_eq!(
        mismatch.nearest().unwrap().first,
        Some(TransformType::AddKe(1))
    );
}

#[test]
fn a_mismatch_shows_both_the_first_difference_and_the_line_to_change() {
    let offered = [ike("3des-md5-modp1024"), ike("aes256-sha256-ecp384")];
    let configured = [
        ike("aes256gcm16-prfsha256-x25519"),
        ike("aes256-sha256-x25519"),
    ];
    let mismatch = select(&offered, &configured, Prefer::Configured).unwrap_err();
    assert_eq!(mismatch.pairs.len(), 4);
    let nearest = mismatch.nearest().unwrap();
    assert_eq!(
        (nearest.offered, nearest.configured, nearest.first),
        (1, 1, Some(TransformType::Ke))
    );
    assert_eq!(
        mismatch.remedy().unwrap(),
        "add `ecp384` to `aes256-sha256-x25519`"
    );
    let text = mismatch.to_string();
    assert!(text.contains("offered 3des-md5-modp1024, configured aes256-sha256-x25519: the encryption differs (offered 3des, configured aes256)"), "{text}");
    let weak = select(
        &[ike("aes256-sha256-modp1024")],
        &configured[1..],
        Prefer::Configured,
    );
    assert!(weak.unwrap_err().remedy().unwrap().contains("weak"));
    let pfs = select(
        &[esp("aes256gcm16")],
        &[esp("aes256gcm16-x25519")],
        Prefer::Configured,
    )
    .unwrap_err();
    assert!(
        pfs.remedy()
            .unwrap()
            .contains("take the key exchange (`x25519`) out"),
        "{pfs}"
    );
}

#[test]
fn weak_transforms_are_told_apart() {
    let weak: Vec<_> = ike("3des-aes256-sha1-sha256-modp1536-x25519")
        .weak()
        .map(|t| t.to_string())
        .collect();
    assert_eq!(weak, ["3des", "prfsha1", "sha1", "modp1536"]);
}

#[test]
fn a_search_among_key_exchanges_has_an_end() {
    let groups = "modp2048 modp3072 modp4096 modp6144 modp8192 ecp256 ecp384";
    let mut text = "aes256-sha256-x25519".to_owned();
    for n in 1..=7 {
        groups
            .split(' ')
            .for_each(|group| text += &format!("-ke{n}_{group}"));
    }
    let all = [ike(&text)];
    assert!(select(&all, &all, Prefer::Configured).is_ok());
    // The last can only be what the others need as well.
    let mut full = all[0].clone();
    full.transforms
        .retain(|t| t.kind != TransformType::AddKe(7) || t.id == 14);
    full.transforms
        .retain(|t| t.kind != TransformType::AddKe(6) || t.id == 14);
    let full = [full];
    assert!(select(&full, &full, Prefer::Configured).is_err());
}

fn transforms() -> impl Strategy<Value = Proposal> {
    let transform = (
        0u8..14,
        0u16..40,
        proptest::option::of(prop_oneof![Just(128u16), Just(256)]),
    );
    proptest::collection::vec(transform, 0..40).prop_map(|all| {
        let mut proposal = Proposal::new(Protocol::Ike);
        for (kind, id, key_bits) in all {
            proposal.add(Transform {
                kind: TransformType::from_id(kind),
                id,
                key_bits,
            });
        }
        proposal
    })
}

proptest! {
    #[test]
    fn any_text_is_a_proposal_that_reads_the_same_or_an_error(text in "[a-z0-9_-]{0,60}") {
        for protocol in [Protocol::Ike, Protocol::Esp, Protocol::Ah] {
            if let Ok(proposal) = Proposal::parse(protocol, &text) {
                prop_assert_eq!(Proposal::parse(protocol, &proposal.to_string()), Ok(proposal));
            }
        }
    }

    #[test]
    fn what_is_chosen_of_a_hostile_offer_was_offered_and_configured(offered in transforms()) {
        let configured = default_ike();
        match select(std::slice::from_ref(&offered), &configured, Prefer::Configured) {
            Ok(chosen) => {
                let ours = &configured[chosen.configured];
                let taken = |t: &Transform| offered.transforms.contains(t) && (ours.transforms.contains(t) || t.id == registry::NONE);
                prop_assert!(chosen.proposal.transforms.iter().all(taken));
            }
            Err(mismatch) => {
                let _ = (mismatch.to_string(), mismatch.remedy());
            }
        }
        let _ = IkeSuite::from_chosen(&offered);
        let _ = ChildSuite::from_chosen(&offered);
    }
}
