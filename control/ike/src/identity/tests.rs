use super::*;
use proptest::prelude::*;

fn id(text: &str) -> Identity {
    Identity::parse(text).unwrap_or_else(|e| panic!("{e}"))
}

fn pattern(text: &str) -> IdentityPattern {
    IdentityPattern::parse(text).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn a_text_becomes_the_identity_that_swanctl_makes_of_it() {
    let cases: [(&str, IdType, &[u8]); 17] = [
        ("gate.example", IdType::Fqdn, b"gate.example"),
        ("@gate.example", IdType::Fqdn, b"gate.example"),
        ("me@example", IdType::Rfc822Address, b"me@example"),
        ("@@me@example", IdType::Rfc822Address, b"me@example"),
        ("@#0a0B", IdType::KeyId, &[10, 11]),
        ("keyid:tunnel one", IdType::KeyId, b"tunnel one"),
        ("keyid:#01:02", IdType::KeyId, &[1, 2]),
        ("192.0.2.1", IdType::Ipv4Address, &[192, 0, 2, 1]),
        ("ipv4:192.0.2.1", IdType::Ipv4Address, &[192, 0, 2, 1]),
        (
            "::1",
            IdType::Ipv6Address,
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        ),
        ("fqdn:192.0.2.1", IdType::Fqdn, b"192.0.2.1"),
        ("dns:a", IdType::Fqdn, b"a"),
        ("email:a", IdType::Rfc822Address, b"a"),
        ("rfc822:a", IdType::Rfc822Address, b"a"),
        ("a:b", IdType::Fqdn, b"a:b"),
        (
            "C=CH",
            IdType::DerAsn1Dn,
            b"\x30\x0d\x31\x0b\x30\x09\x06\x03\x55\x04\x06\x13\x02CH",
        ),
        (
            "asn1dn:#300d310b3009060355040613024348",
            IdType::DerAsn1Dn,
            b"\x30\x0d\x31\x0b\x30\x09\x06\x03\x55\x04\x06\x13\x02CH",
        ),
    ];
    for (text, kind, data) in cases {
        assert_eq!(id(text), Identity::new(kind, data), "{text}");
        // What is shown is read back to the same, but for texts that look like another type.
        if text != "fqdn:192.0.2.1" && !matches!(text, "email:a" | "rfc822:a") {
            assert_eq!(id(&id(text).to_string()), id(text), "{text}");
        }
    }
}

#[test]
fn a_text_that_is_no_identity_is_refused_with_a_remedy() {
    for text in [
        "",
        "%any",
        "@#0",
        "@#zz",
        "keyid:",
        "ipv6:192.0.2.1",
        "C=",
        "C=CH, oops",
        "X=1",
        "CN=\"a",
        "CN=a\\",
        "asn1dn:#3000ff",
    ] {
        let error = Identity::parse(text).unwrap_err();
        assert!(!error.remedy.is_empty(), "{error}");
    }
    assert!(Identity::parse(&"a".repeat(1025)).is_err());
}

#[test]
fn distinguished_names_are_compared_by_their_meaning() {
    let name = id("C=CH, O=The  Example, CN=gate");
    assert_eq!(name.to_string(), "C=CH, O=The  Example, CN=gate");
    assert!(name.names_the_same(&id("/C=ch/O=the example/CN=GATE")));
    assert!(!name.names_the_same(&id("O=The Example, C=CH, CN=gate")));
    assert!(!name.names_the_same(&id("C=CH, O=The Example")));
    assert!(!name.names_the_same(&id("C=CH, OU=The Example, CN=gate")));
    let quoted = id(r#"CN="Smith, James", O=a\,b, E=a@b, DC=example"#);
    assert_eq!(
        quoted.to_string(),
        r"CN=Smith\, James, O=a\,b, E=a@b, DC=example"
    );
    assert_eq!(id(&quoted.to_string()), quoted);
    assert_eq!(id("CN=Zürich").to_string(), "CN=Zürich");
    // The order of a text is that of the DER.
    let at = |word: &[u8]| {
        name.data()
            .windows(word.len())
            .position(|w| w == word)
            .unwrap()
    };
    assert!(at(b"CH") < at(b"gate"));
}

#[test]
fn names_of_domains_and_mailboxes_have_no_case() {
    assert!(id("Gate.Example").names_the_same(&id("gate.example")));
    assert!(pattern("ME@example").matches(&id("me@EXAMPLE")));
    assert!(!id("keyid:a").names_the_same(&id("keyid:A")));
    assert!(!id("gate.example").names_the_same(&id("email:gate.example")));
}

#[test]
fn the_better_pattern_has_the_higher_score() {
    let gate = id("gate.north.example");
    let patterns = ["%any", "*.example", "*.north.example", "gate.north.example"].map(pattern);
    let scores: Vec<_> = patterns.iter().map(|p| p.score(&gate).unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a < b), "{scores:?}");
    for other in [
        "*.south.example",
        "*@example",
        "gate.example",
        "*gate.north.example",
    ] {
        assert_eq!(pattern(other).score(&gate), None, "{other}");
    }
    let name = id("C=CH, O=example, CN=gate");
    let patterns = [
        "*",
        "C=CH, O=*, CN=*",
        "C=CH, O=example, CN=*",
        "C=CH, O=example, CN=gate",
    ]
    .map(pattern);
    let scores: Vec<_> = patterns.iter().map(|p| p.score(&name).unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a < b), "{scores:?}");
    for other in ["C=DE, O=*, CN=*", "C=CH, CN=*", "C=CH, O=example, OU=*"] {
        assert_eq!(pattern(other).score(&name), None, "{other}");
    }
    assert!(pattern("*@example").matches(&id("me@example")));
    assert!(pattern("").matches(&gate));
}

#[test]
fn octets_of_a_peer_never_reach_a_terminal_as_they_are() {
    for kind in [
        IdType::Fqdn,
        IdType::Rfc822Address,
        IdType::KeyId,
        IdType::DerAsn1Dn,
        IdType::DerAsn1Gn,
        IdType::Ipv4Address,
    ] {
        let shown = Identity::new(kind, b"\x1b[2J\x00\xff".to_vec()).to_string();
        assert!(shown.chars().all(|c| (' '..='~').contains(&c)), "{shown:?}");
    }
    let name = id("CN=a\u{1b}b");
    assert_eq!(name.to_string(), "CN=a\\u{1b}b");
}

proptest! {
    #[test]
    fn hostile_octets_make_no_identity_panic(kind in 0u8..=13, data in proptest::collection::vec(any::<u8>(), 0..80)) {
        let id = Identity::new(IdType::from_number(kind), data);
        prop_assert!(id.names_the_same(&id) || id.kind() == IdType::DerAsn1Dn);
        let _ = id.to_string();
        for pattern in ["%any", "*.example", "C=*", "*@example"] {
            let _ = IdentityPattern::parse(pattern).unwrap().score(&id);
        }
    }

    #[test]
    fn what_is_read_as_a_distinguished_name_is_shown_as_one_that_reads_the_same(text in "[A-Za-z]{1,2}=[ -~]{1,20}(, CN=[ -~]{1,20})?") {
        if let Ok(id) = Identity::parse(&format!("asn1dn:{text}")) {
            let shown = id.to_string();
            let again = Identity::parse(&format!("asn1dn:{shown}"));
            prop_assert!(again.as_ref().is_ok_and(|again| again.names_the_same(&id)), "{text:?} {shown:?} {again:?}");
        }
    }
}
