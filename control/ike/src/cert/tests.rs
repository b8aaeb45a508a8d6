use super::*;
use crate::crypto::auth::{Hash, PrivateKey, SignJob, VerifyJob};
use crate::identity::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
    DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, NameConstraints, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use std::sync::Arc;

/// 2026-07-01.
const NOW: CertTime = CertTime(1_782_864_000);
const YEAR: u64 = 365 * 86_400;

/// An authority that tests issue certificates with.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CountryName, "CH");
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn peer_params() -> CertificateParams {
    let mut params = params("gate");
    params.subject_alt_names = vec![
        SanType::DnsName("gate.example".try_into().unwrap()),
        SanType::Rfc822Name("me@example".try_into().unwrap()),
        SanType::IpAddress("192.0.2.1".parse().unwrap()),
    ];
    params.serial_number = Some(SerialNumber::from(77u64));
    params
}

impl Ca {
    fn root(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = Certificate::parse(params.self_signed(&key).unwrap().der()).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    fn under(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let certificate = Certificate::parse(certificate.der()).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    fn issue(&self, params: CertificateParams) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &self.issuer).unwrap().der().to_vec()
    }

    fn authority(&self) -> Authority {
        Authority::new(self.certificate.clone()).unwrap()
    }

    fn crl(&self, revoked: &[u64], next: (i32, u8)) -> Crl {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2026, 2, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, next.1 - 1, 1),
            next_update: date_time_ymd(next.0, next.1, 1),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Crl::parse(
            params
                .signed_by(&self.issuer)
                .unwrap()
                .pem()
                .unwrap()
                .as_bytes(),
        )
        .unwrap()
    }
}

fn store(authorities: &[&Ca]) -> TrustStore {
    let mut store = TrustStore::default();
    authorities
        .iter()
        .for_each(|a| store.add_authority(a.authority()));
    store
}

fn job(store: TrustStore, chain: &[&[u8]]) -> ChainJob {
    ChainJob {
        store: Arc::new(store),
        chain: chain.iter().map(|der| der.to_vec()).collect(),
        identity: Identity::parse("gate.example").unwrap(),
        now: NOW,
        certs: vec![],
        cacerts: vec![],
        revocation: Revocation::Relaxed,
    }
}

#[test]
fn a_chain_through_an_intermediate_is_trusted_whoever_brings_the_intermediate() {
    let root = Ca::root(authority_params("root"));
    let middle = root.under(authority_params("middle"));
    let peer = middle.issue(peer_params());
    let sent = job(store(&[&root]), &[&peer, middle.certificate.der()]);
    let verified = std::thread::spawn(move || sent.run())
        .join()
        .unwrap()
        .unwrap();
    assert_eq!(
        verified.anchor.unwrap().subject().to_string(),
        "C=CH, CN=root"
    );
    assert_eq!(verified.certificate.der(), peer);
    assert!(job(store(&[&middle, &root]), &[&peer]).run().is_ok());
    // Alone the intermediate is what was chosen to be trusted.
    assert!(job(store(&[&middle]), &[&peer]).run().is_ok());
    let missing = job(store(&[&root]), &[&peer]).run().unwrap_err();
    let (subject, issuer) = ("C=CH, CN=gate".to_owned(), "C=CH, CN=middle".to_owned());
    assert_eq!(missing, CertError::UnknownIssuer { subject, issuer });
}

#[test]
fn a_certificate_is_believed_only_between_its_dates_and_its_authoritys() {
    let root = Ca::root(authority_params("root"));
    let middle = root.under(authority_params("middle"));
    let mut long = peer_params();
    (long.not_before, long.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2040, 1, 1));
    for (params, subject_late) in [(peer_params(), "C=CH, CN=gate"), (long, "C=CH, CN=middle")] {
        let peer = middle.issue(params);
        let good = job(store(&[&root]), &[&peer, middle.certificate.der()]);
        assert!(good.run().is_ok());
        let late = ChainJob {
            now: CertTime(NOW.0 + YEAR),
            ..good.clone()
        }
        .run()
        .unwrap_err();
        let CertError::Expired { subject, at } = &late else {
            panic!("{late}")
        };
        assert_eq!(
            (subject.as_str(), at.to_string().as_str()),
            (subject_late, "2027-01-01T00:00:00Z")
        );
        let early = ChainJob {
            now: CertTime(NOW.0 - YEAR),
            ..good
        }
        .run()
        .unwrap_err();
        assert!(
            matches!(&early, CertError::NotYetValid { subject, .. } if subject == subject_late),
            "{early}"
        );
    }
    let mut short = authority_params("short");
    short.not_after = date_time_ymd(2026, 3, 1);
    let short = Ca::root(short);
    let peer = short.issue(peer_params());
    let error = job(store(&[&short]), &[&peer]).run().unwrap_err();
    assert!(
        matches!(&error, CertError::Expired { subject, .. } if subject == "C=CH, CN=short"),
        "{error}"
    );
}

#[test]
fn another_key_of_the_same_name_is_told_from_an_unknown_issuer() {
    let root = Ca::root(authority_params("root"));
    let other = Ca::root(authority_params("root"));
    let stranger = Ca::root(authority_params("stranger"));
    let peer = root.issue(peer_params());
    let error = job(store(&[&other]), &[&peer]).run().unwrap_err();
    assert!(matches!(error, CertError::Signature { .. }), "{error}");
    let error = job(store(&[&stranger]), &[&peer]).run().unwrap_err();
    assert!(matches!(error, CertError::UnknownIssuer { .. }), "{error}");
    let error = job(store(&[]), &[&peer]).run().unwrap_err();
    assert!(matches!(error, CertError::UnknownIssuer { .. }), "{error}");
    // What a peer sends is never an anchor.
    let error = job(store(&[&stranger]), &[&peer, root.certificate.der()])
        .run()
        .unwrap_err();
    assert!(matches!(error, CertError::UnknownIssuer { .. }), "{error}");
}

#[test]
fn revocation_is_believed_from_the_issuer_and_asked_for_as_configured() {
    let root = Ca::root(authority_params("root"));
    let peer = root.issue(peer_params());
    let with = |crl: Option<Crl>, revocation| {
        let mut store = store(&[&root]);
        crl.into_iter().for_each(|crl| assert!(store.add_crl(crl)));
        ChainJob {
            revocation,
            ..job(store, &[&peer])
        }
        .run()
    };
    let current = (2027, 2);
    let old = (2026, 3);
    for revocation in [Revocation::Relaxed, Revocation::Strict] {
        assert!(with(Some(root.crl(&[78], current)), revocation).is_ok());
        let error = with(Some(root.crl(&[77], current)), revocation).unwrap_err();
        assert!(
            matches!(&error, CertError::Revoked { subject } if subject == "C=CH, CN=gate"),
            "{error}"
        );
    }
    assert!(with(None, Revocation::Relaxed).is_ok());
    assert!(with(Some(root.crl(&[], old)), Revocation::Relaxed).is_ok());
    assert!(with(Some(root.crl(&[77], old)), Revocation::Relaxed).is_err());
    let error = with(None, Revocation::Strict).unwrap_err();
    assert!(
        matches!(error, CertError::RevocationUnknown { .. }),
        "{error}"
    );
    let error = with(Some(root.crl(&[], old)), Revocation::Strict).unwrap_err();
    assert!(matches!(error, CertError::CrlExpired { .. }), "{error}");
    let forged = Ca::root(authority_params("root"));
    let error = with(Some(forged.crl(&[77], current)), Revocation::Strict).unwrap_err();
    assert!(matches!(error, CertError::CrlSignature { .. }), "{error}");
    // Only a certificate that says where lists are needs one.
    assert!(with(None, Revocation::IfUri).is_ok());
    let mut params = peer_params();
    params.crl_distribution_points = vec![CrlDistributionPoint {
        uris: vec!["http://example/crl".into()],
    }];
    let peer = root.issue(params);
    let job = ChainJob {
        revocation: Revocation::IfUri,
        ..job(store(&[&root]), &[&peer])
    };
    assert!(matches!(
        job.run().unwrap_err(),
        CertError::RevocationUnknown { .. }
    ));
    assert_eq!(
        Certificate::parse(&peer).unwrap().crl_uris(),
        ["http://example/crl"]
    );
}

#[test]
fn a_revoked_intermediate_takes_its_certificates_with_it() {
    let root = Ca::root(authority_params("root"));
    let mut params = authority_params("middle");
    params.serial_number = Some(SerialNumber::from(5u64));
    let middle = root.under(params);
    let peer = middle.issue(peer_params());
    let mut store = store(&[&root]);
    store.add_crl(root.crl(&[5], (2027, 2)));
    let error = job(store, &[&peer, middle.certificate.der()])
        .run()
        .unwrap_err();
    assert_eq!(
        error,
        CertError::Revoked {
            subject: "C=CH, CN=middle".to_owned()
        }
    );
}

#[test]
fn a_newer_list_takes_the_place_of_an_older_one_and_never_the_other_way() {
    let root = Ca::root(authority_params("root"));
    let mut store = store(&[&root]);
    assert!(store.add_crl(root.crl(&[77], (2026, 5))));
    assert!(!store.add_crl(root.crl(&[], (2026, 4))));
    assert!(store.add_crl(root.crl(&[], (2026, 6))));
    assert_eq!(store.crls().len(), 1);
    assert!(store.add_crl(Ca::root(authority_params("other")).crl(&[], (2026, 2))));
    assert_eq!(store.crls().len(), 2);
    store.flush_crls();
    assert!(store.crls().is_empty());
}

#[test]
fn usages_that_leave_ike_out_are_refused() {
    let root = Ca::root(authority_params("root"));
    let run = |params| job(store(&[&root]), &[&root.issue(params)]).run();
    let with = |usages: Vec<ExtendedKeyUsagePurpose>| {
        let mut params = peer_params();
        params.extended_key_usages = usages;
        run(params)
    };
    let ipsec_ike = ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 17]);
    let mail = ExtendedKeyUsagePurpose::EmailProtection;
    for good in [
        ExtendedKeyUsagePurpose::Any,
        ExtendedKeyUsagePurpose::ServerAuth,
        ipsec_ike,
    ] {
        assert!(with(vec![mail.clone(), good]).is_ok());
    }
    let error = with(vec![mail, ExtendedKeyUsagePurpose::CodeSigning]).unwrap_err();
    assert!(
        matches!(error, CertError::ExtendedKeyUsage { .. }),
        "{error}"
    );
    let mut params = peer_params();
    params.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    let error = run(params.clone()).unwrap_err();
    assert!(matches!(error, CertError::KeyUsage { .. }), "{error}");
    params.key_usages = vec![KeyUsagePurpose::ContentCommitment];
    assert!(run(params).is_ok());
}

#[test]
fn names_that_an_authority_may_not_issue_for_are_refused() {
    let mut params = authority_params("root");
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("north.example".into())],
        excluded_subtrees: vec![],
    });
    let root = Ca::root(params);
    let error = job(store(&[&root]), &[&root.issue(peer_params())])
        .run()
        .unwrap_err();
    assert!(matches!(error, CertError::NameConstraint { .. }), "{error}");
}

#[test]
fn only_authorities_issue_and_only_within_their_path_length() {
    let mut params = authority_params("root");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let root = Ca::root(params);
    let middle = root.under(authority_params("middle"));
    let peer = middle.issue(peer_params());
    let error = job(store(&[&root]), &[&peer, middle.certificate.der()])
        .run()
        .unwrap_err();
    assert!(matches!(error, CertError::NotAnAuthority { .. }), "{error}");

    let root = Ca::root(authority_params("root"));
    let no_authority = root.under(params_without_authority());
    let peer = no_authority.issue(peer_params());
    let error = job(store(&[&root]), &[&peer, no_authority.certificate.der()])
        .run()
        .unwrap_err();
    assert!(matches!(error, CertError::NotAnAuthority { .. }), "{error}");
    assert!(Authority::new(no_authority.certificate).is_err());

    let mut params = authority_params("no issuer");
    params.key_usages = vec![KeyUsagePurpose::CrlSign];
    let no_issuer = root.under(params);
    let peer = no_issuer.issue(peer_params());
    let error = job(store(&[&root]), &[&peer, no_issuer.certificate.der()])
        .run()
        .unwrap_err();
    assert!(matches!(error, CertError::NotAnAuthority { .. }), "{error}");

    let mut params = peer_params();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let error = job(store(&[&root]), &[&root.issue(params)])
        .run()
        .unwrap_err();
    assert!(
        matches!(error, CertError::AuthorityAsPeer { .. }),
        "{error}"
    );
}

fn params_without_authority() -> CertificateParams {
    let mut params = params("no authority");
    params.is_ca = IsCa::ExplicitNoCa;
    params
}

#[test]
fn the_identity_must_stand_in_the_certificate() {
    let root = Ca::root(authority_params("root"));
    let peer = root.issue(peer_params());
    let parsed = Certificate::parse(&peer).unwrap();
    let base = job(store(&[&root]), &[&peer]);
    let run = |identity: Identity| {
        ChainJob {
            identity,
            ..base.clone()
        }
        .run()
    };
    for good in ["GATE.example", "me@example", "192.0.2.1", "C=CH, CN=gate"] {
        assert!(run(Identity::parse(good).unwrap()).is_ok(), "{good}");
    }
    let key_id = Identity::new(crate::wire::v2::IdType::KeyId, parsed.key_hash().to_vec());
    assert!(run(key_id).is_ok());
    for bad in [
        "gate",
        "gate.example.org",
        "you@example",
        "192.0.2.2",
        "::1",
        "C=CH, CN=other",
        "@#00",
    ] {
        let error = run(Identity::parse(bad).unwrap()).unwrap_err();
        assert!(matches!(error, CertError::Identity { .. }), "{error}");
        assert!(error.to_string().contains("`gate.example`"), "{error}");
    }
}

#[test]
fn a_certificate_that_the_configuration_names_needs_no_authority() {
    let key = KeyPair::generate().unwrap();
    let mut params = peer_params();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let own = params.self_signed(&key).unwrap();
    let der: &[u8] = own.der();
    let named = ChainJob {
        certs: vec![der.into()],
        ..job(store(&[]), &[der])
    };
    assert_eq!(named.run().unwrap().anchor, None);
    let late = ChainJob {
        now: CertTime(NOW.0 + YEAR),
        ..named.clone()
    };
    assert!(matches!(late.run().unwrap_err(), CertError::Expired { .. }));
    let mut loaded = TrustStore::default();
    loaded.add_certificate(Certificate::parse(own.pem().as_bytes()).unwrap());
    loaded.add_certificate(Certificate::parse(der).unwrap());
    assert_eq!(loaded.certificates().len(), 1);
    // Whether the peer sends it or not.
    assert!(job(loaded, &[der]).run().is_ok());
    let mut loaded = TrustStore::default();
    loaded.add_certificate(Certificate::parse(der).unwrap());
    assert!(job(loaded, &[]).run().is_ok());
    assert_eq!(job(store(&[]), &[]).run().unwrap_err(), CertError::None);
    let other = ChainJob {
        certs: vec![b"other"[..].into()],
        ..named
    };
    assert!(matches!(
        other.run().unwrap_err(),
        CertError::NotNamed { .. }
    ));
}

#[test]
fn a_connection_may_want_one_authority_of_several() {
    let (one, two) = (
        Ca::root(authority_params("one")),
        Ca::root(authority_params("two")),
    );
    let peer = one.issue(peer_params());
    let base = job(store(&[&one, &two]), &[&peer]);
    let with = |ca: &Ca| {
        ChainJob {
            cacerts: vec![ca.certificate.der().into()],
            ..base.clone()
        }
        .run()
    };
    assert!(with(&one).is_ok());
    let error = with(&two).unwrap_err();
    assert!(matches!(error, CertError::OtherAuthority { .. }), "{error}");
    // An intermediate may be the one that is wanted.
    let middle = one.under(authority_params("middle"));
    let peer = middle.issue(peer_params());
    let job = job(store(&[&one]), &[&peer, middle.certificate.der()]);
    assert!(
        ChainJob {
            cacerts: vec![middle.certificate.der().into()],
            ..job
        }
        .run()
        .is_ok()
    );
}

#[test]
fn what_is_no_certificate_or_too_much_of_it_is_refused() {
    let root = Ca::root(authority_params("root"));
    let peer = root.issue(peer_params());
    for bytes in [
        &b""[..],
        b"hello",
        &peer[..peer.len() - 1],
        b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
    ] {
        assert_eq!(Certificate::parse(bytes), Err(CertError::Malformed));
        assert!(Crl::parse(bytes).is_err());
    }
    assert_eq!(
        Certificate::parse(&[0; MAX_CERTIFICATE + 1]),
        Err(CertError::TooLarge(MAX_CERTIFICATE + 1))
    );
    let many: Vec<&[u8]> = (0..=MAX_CHAIN).map(|_| &peer[..]).collect();
    assert_eq!(
        job(store(&[&root]), &many).run().unwrap_err(),
        CertError::TooMany(MAX_CHAIN + 1)
    );
    for at in 0..peer.len() {
        let mut changed = peer.clone();
        changed[at] ^= 0x55;
        assert!(
            job(store(&[&root]), &[&changed]).run().is_err(),
            "octet {at}"
        );
    }
}

#[test]
fn certificate_requests_name_authorities_by_their_keys() {
    let (one, two) = (
        Ca::root(authority_params("one")),
        Ca::root(authority_params("two")),
    );
    let middle = one.under(authority_params("middle"));
    let mut store = store(&[&one, &middle, &two]);
    store.add_authority(one.authority());
    assert_eq!(store.certreq().len(), 3);
    let peer = Certificate::parse(&middle.issue(peer_params())).unwrap();
    let hash = |ca: &Ca| *ca.certificate.key_hash();
    assert!(store.is_wanted(&peer, &[]));
    assert!(store.is_wanted(&peer, &[hash(&two), hash(&one)]));
    assert!(store.is_wanted(&peer, &[hash(&middle)]));
    assert!(!store.is_wanted(&peer, &[hash(&two)]));
    let sent: Vec<_> = store
        .intermediates_of(&peer)
        .iter()
        .map(|c| c.subject().to_string())
        .collect();
    assert_eq!(sent, ["C=CH, CN=middle"]);
}

#[test]
fn the_key_of_a_verified_certificate_verifies_auth() {
    let root = Ca::root(authority_params("root"));
    let key = KeyPair::generate().unwrap();
    let peer = peer_params().signed_by(&key, &root.issuer).unwrap();
    let verified = job(store(&[&root]), &[peer.der()]).run().unwrap();
    let private = Arc::new(PrivateKey::parse(&key.serialize_der()).unwrap());
    assert_eq!(private.public(), verified.certificate.public_key());
    let signature = SignJob::new(private, &Hash::ANNOUNCED, b"octets".to_vec())
        .unwrap()
        .run()
        .unwrap();
    let job = VerifyJob {
        key: verified.certificate.public_key().clone(),
        method: signature.method,
        data: signature.data,
        octets: b"octets".to_vec(),
        allow_sha1: false,
    };
    assert_eq!(job.run(), Ok(signature.scheme));
}
