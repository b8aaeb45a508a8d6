use super::*;
use crate::crypto::vectors::hex;
use crate::crypto::{Prf, Secret};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use rcgen::KeyPair;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

fn rsa() -> Arc<PrivateKey> {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
    Arc::new(PrivateKey::parse(der.as_ref()).unwrap())
}

fn key(algorithm: &'static rcgen::SignatureAlgorithm) -> Arc<PrivateKey> {
    let pair = KeyPair::generate_for(algorithm).unwrap();
    Arc::new(PrivateKey::parse(pair.serialize_pem().as_bytes()).unwrap())
}

fn keys() -> Vec<Arc<PrivateKey>> {
    vec![
        rsa(),
        key(&rcgen::PKCS_ECDSA_P256_SHA256),
        key(&rcgen::PKCS_ECDSA_P384_SHA384),
        key(&rcgen::PKCS_ECDSA_P521_SHA512),
        key(&rcgen::PKCS_ED25519),
    ]
}

fn verify(key: &PrivateKey, signature: &Signature, octets: &[u8]) -> VerifyJob {
    VerifyJob {
        key: key.public().clone(),
        method: signature.method,
        data: signature.data.clone(),
        octets: octets.to_vec(),
        allow_sha1: false,
    }
}

#[test]
fn what_every_kind_of_key_signs_is_believed_and_nothing_else() {
    let octets = b"what is signed".to_vec();
    for key in keys() {
        let job = SignJob::new(key.clone(), &Hash::ANNOUNCED, octets.clone()).unwrap();
        let signature = std::thread::spawn(move || job.run())
            .join()
            .unwrap()
            .unwrap();
        assert_eq!(signature.method, AuthMethod::Digital);
        let job = verify(&key, &signature, &octets);
        assert_eq!(job.run(), Ok(signature.scheme), "{:?}", key);
        let other = VerifyJob {
            octets: b"something else".to_vec(),
            ..job.clone()
        };
        assert_eq!(other.run(), Err(VerifyError::Wrong));
        for at in 0..job.data.len() {
            let mut changed = job.clone();
            changed.data[at] ^= 1;
            assert!(changed.run().is_err(), "{key:?}: octet {at}");
            changed.data.truncate(at);
            assert!(changed.run().is_err(), "{key:?}: cut at {at}");
        }
    }
}

#[test]
fn a_peer_without_hash_algorithms_gets_the_older_methods() {
    for key in keys() {
        let job = SignJob::new(key.clone(), &[], b"octets".to_vec());
        let wanted = match key.kind() {
            KeyKind::Rsa { .. } => AuthMethod::Rsa,
            KeyKind::Ecdsa(Curve::P256) => AuthMethod::Ecdsa256,
            KeyKind::Ecdsa(Curve::P384) => AuthMethod::Ecdsa384,
            KeyKind::Ecdsa(Curve::P521) => AuthMethod::Ecdsa521,
            KeyKind::Ed25519 => {
                assert_eq!(job.unwrap_err(), SignError::Key(KeyKind::Ed25519));
                continue;
            }
        };
        let signature = job.unwrap().run().unwrap();
        assert_eq!(signature.method, wanted);
        let job = verify(&key, &signature, b"octets");
        assert_eq!(job.run(), Ok(signature.scheme));
        let wrong = VerifyJob {
            octets: vec![],
            ..job.clone()
        };
        assert_eq!(wrong.run(), Err(VerifyError::Wrong));
        let mixed = VerifyJob {
            method: AuthMethod::Ecdsa384,
            ..job
        };
        assert_eq!(mixed.run().is_ok(), wanted == AuthMethod::Ecdsa384);
    }
}

#[test]
fn a_peer_whose_hashes_do_not_fit_the_key_gets_no_signature() {
    let p256 = key(&rcgen::PKCS_ECDSA_P256_SHA256);
    let error = SignJob::new(p256.clone(), &[4], vec![]).unwrap_err();
    assert_eq!(error, SignError::Hashes(p256.kind()));
}

#[test]
fn a_signature_that_names_sha1_is_refused_whatever_is_allowed() {
    let rsa = rsa();
    let identifier = Scheme::RsaPkcs1(Hash::Sha1).algorithm_identifier();
    let data = [&[identifier.len() as u8][..], &identifier, &[0; 256]].concat();
    let job = VerifyJob {
        key: rsa.public().clone(),
        method: AuthMethod::Digital,
        data,
        octets: vec![],
        allow_sha1: true,
    };
    assert_eq!(job.run(), Err(VerifyError::Sha1));
}

#[test]
fn a_hash_is_used_only_if_the_peer_announced_it() {
    let kind = KeyKind::Rsa { bits: 2048 };
    assert_eq!(
        Scheme::choose(kind, &[1, 4]),
        Some(Scheme::RsaPss(Hash::Sha512))
    );
    assert_eq!(
        Scheme::choose(kind, &[2, 3, 4]),
        Some(Scheme::RsaPss(Hash::Sha256))
    );
    assert_eq!(
        Scheme::choose(KeyKind::Rsa { bits: 4096 }, &[2, 3]),
        Some(Scheme::RsaPss(Hash::Sha384))
    );
    assert_eq!(Scheme::choose(kind, &[1]), None);
    assert_eq!(Scheme::choose(KeyKind::Ecdsa(Curve::P256), &[3, 4]), None);
    assert_eq!(
        Scheme::choose(KeyKind::Ed25519, &[5]),
        Some(Scheme::Ed25519)
    );
}

#[test]
fn algorithm_identifiers_are_those_of_rfc_7427_and_rfc_8420() {
    let cases = [
        (
            Scheme::RsaPkcs1(Hash::Sha256),
            "300d0609 2a864886 f70d0101 0b0500",
        ),
        (
            Scheme::RsaPkcs1(Hash::Sha384),
            "300d0609 2a864886 f70d0101 0c0500",
        ),
        (
            Scheme::RsaPkcs1(Hash::Sha512),
            "300d0609 2a864886 f70d0101 0d0500",
        ),
        (
            Scheme::RsaPkcs1(Hash::Sha1),
            "300d0609 2a864886 f70d0101 050500",
        ),
        (Scheme::Ecdsa(Hash::Sha1), "30090607 2a8648ce 3d0401"),
        (Scheme::Ecdsa(Hash::Sha256), "300a0608 2a8648ce 3d040302"),
        (Scheme::Ecdsa(Hash::Sha384), "300a0608 2a8648ce 3d040303"),
        (Scheme::Ecdsa(Hash::Sha512), "300a0608 2a8648ce 3d040304"),
        (Scheme::Ed25519, "30050603 2b6570"),
        (
            Scheme::RsaPss(Hash::Sha256),
            "30460609 2a864886 f70d0101 0a3039a0 0f300d06 09608648 01650304 02010500 a11c301a
             06092a86 4886f70d 01010830 0d060960 86480165 03040201 0500a203 020120a3 030201 01",
        ),
    ];
    for (scheme, text) in cases {
        assert_eq!(scheme.algorithm_identifier(), hex(text), "{scheme}");
        assert_eq!(Scheme::from_algorithm_identifier(&hex(text)), Some(scheme));
    }
    for hash in [Hash::Sha384, Hash::Sha512] {
        let scheme = Scheme::RsaPss(hash);
        assert_eq!(
            Scheme::from_algorithm_identifier(&scheme.algorithm_identifier()),
            Some(scheme)
        );
    }
    // PSS with empty and with default parameters mean SHA-1.
    let empty = hex("300d0609 2a864886 f70d0101 0a3000");
    let default = hex(
        "303e0609 2a864886 f70d0101 0a3031a0 0b300906 052b0e03 021a0500 a1183016 06092a86
         4886f70d 01010830 0906052b 0e03021a 0500a203 020114a3 03020101",
    );
    for bytes in [empty, default, vec![], vec![0x30]] {
        assert_eq!(Scheme::from_algorithm_identifier(&bytes), None);
    }
    // A salt of another length, and another mask.
    let good = Scheme::RsaPss(Hash::Sha256).algorithm_identifier();
    for (at, value) in [(good.len() - 6, 0x14), (0x33 + 8, 0x02)] {
        let mut bad = good.clone();
        bad[at] = value;
        assert_ne!(bad, good);
        assert_eq!(Scheme::from_algorithm_identifier(&bad), None, "octet {at}");
    }
}

#[test]
fn keys_are_read_as_openssl_writes_them_and_signatures_agree_with_it() {
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("SKIPPED: openssl is not installed");
        return;
    }
    let run = |args: &[&str], input: &[u8]| {
        let mut child = Command::new("openssl")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "openssl {args:?}");
        output.stdout
    };
    let folder = std::env::temp_dir().join(format!("adit-ike-openssl-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let octets = b"octets for two programs";
    let rsa = run(&["genrsa", "2048"], b"");
    let made = [
        rsa.clone(),
        run(&["pkey", "-traditional"], &rsa),
        run(&["pkey", "-traditional", "-outform", "DER"], &rsa),
        run(&["ecparam", "-genkey", "-name", "prime256v1"], b""),
        run(
            &[
                "ecparam",
                "-genkey",
                "-name",
                "secp384r1",
                "-noout",
                "-outform",
                "DER",
            ],
            b"",
        ),
        run(
            &[
                "genpkey",
                "-algorithm",
                "EC",
                "-pkeyopt",
                "ec_paramgen_curve:P-521",
            ],
            b"",
        ),
    ];
    for (index, bytes) in made.iter().enumerate() {
        let key = Arc::new(PrivateKey::parse(bytes).unwrap_or_else(|e| panic!("key {index}: {e}")));
        let job = SignJob::new(key.clone(), &Hash::ANNOUNCED, octets.to_vec()).unwrap();
        let signed = job.run().unwrap();
        let signature = &signed.data[1 + usize::from(signed.data[0])..];
        let public = file("public", &key.public().to_spki());
        let signature = file("signature", signature);
        let message = file("message", octets);
        let hash = signed
            .scheme
            .hash()
            .to_string()
            .replace("-", "")
            .to_lowercase();
        let mut args = vec![
            "dgst",
            "-keyform",
            "DER",
            "-verify",
            &public,
            "-signature",
            &signature,
        ];
        let hash = format!("-{hash}");
        args.push(&hash);
        if matches!(signed.scheme, Scheme::RsaPss(_)) {
            args.extend([
                "-sigopt",
                "rsa_padding_mode:pss",
                "-sigopt",
                "rsa_pss_saltlen:digest",
            ]);
        }
        args.push(&message);
        run(&args, b"");
        // And the other way: what openssl signs, we believe.
        if matches!(key.kind(), KeyKind::Rsa { .. }) && index == 0 {
            let private = file("private", bytes);
            for (hash, scheme) in [
                ("-sha1", Hash::Sha1),
                ("-sha256", Hash::Sha256),
                ("-sha512", Hash::Sha512),
            ] {
                let data = run(&["dgst", hash, "-sign", &private], octets);
                let signature = Signature {
                    method: AuthMethod::Rsa,
                    data,
                    scheme: Scheme::Ed25519,
                };
                let job = verify(&key, &signature, octets);
                let legacy = VerifyJob {
                    allow_sha1: true,
                    ..job.clone()
                };
                assert_eq!(legacy.run(), Ok(Scheme::RsaPkcs1(scheme)));
                let strict = if scheme == Hash::Sha1 {
                    Err(VerifyError::Sha1)
                } else {
                    legacy.run()
                };
                assert_eq!(job.run(), strict);
            }
        }
    }
    let ed25519 = run(&["genpkey", "-algorithm", "ed25519"], b"");
    assert_eq!(
        PrivateKey::parse(&ed25519).unwrap().kind(),
        KeyKind::Ed25519
    );
    let public = run(&["pkey", "-pubout"], &ed25519);
    assert_eq!(
        &PublicKey::parse(&public).unwrap(),
        PrivateKey::parse(&ed25519).unwrap().public()
    );
    let encrypted = run(&["pkcs8", "-topk8", "-passout", "pass:x"], &rsa);
    assert_eq!(
        PrivateKey::parse(&encrypted).unwrap_err(),
        PrivateKeyError::Encrypted
    );
    let small = run(&["genrsa", "1024"], b"");
    assert_eq!(
        PrivateKey::parse(&small).unwrap_err(),
        PrivateKeyError::Algorithm
    );
    let small = run(&["rsa", "-pubout"], &small);
    assert_eq!(PublicKey::parse(&small), Err(PublicKeyError::Size(1024)));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_is_no_key_is_refused_and_a_key_never_shows_itself() {
    for bytes in [
        &b""[..],
        b"hello",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        &[0x30, 3, 2, 1, 0],
    ] {
        assert!(PrivateKey::parse(bytes).is_err());
        assert!(PublicKey::parse(bytes).is_err());
    }
    let key = key(&rcgen::PKCS_ECDSA_P256_SHA256);
    assert_eq!(format!("{key:?}"), "PrivateKey(ECDSA P-256)");
}

#[test]
fn a_raw_public_key_survives_its_encoding() {
    for key in keys() {
        let public = key.public();
        assert_eq!(PublicKey::from_spki(&public.to_spki()).as_ref(), Ok(public));
    }
}

#[test]
fn a_scheme_that_the_key_cannot_make_is_refused() {
    let p256 = key(&rcgen::PKCS_ECDSA_P256_SHA256);
    for scheme in [
        Scheme::Ed25519,
        Scheme::RsaPss(Hash::Sha256),
        Scheme::Ecdsa(Hash::Sha512),
    ] {
        assert!(
            SignJob::with_scheme(p256.clone(), scheme, vec![]).is_err(),
            "{scheme}"
        );
    }
    let scheme = Scheme::RsaPkcs1(Hash::Sha384);
    let rsa = rsa();
    let signature = SignJob::with_scheme(rsa.clone(), scheme, vec![1])
        .unwrap()
        .run()
        .unwrap();
    assert_eq!(verify(&rsa, &signature, &[1]).run(), Ok(scheme));
    assert!(SignJob::with_scheme(rsa, Scheme::RsaPkcs1(Hash::Sha1), vec![]).is_err());
}

#[test]
fn a_shared_key_signs_what_each_side_sent() {
    let sk_p = Secret::copy_of(&[7; 32]);
    let octets = SignedOctets {
        message: b"message",
        peer_nonce: b"nonce",
        sk_p: &sk_p,
        id_payload: &[2, 0, 0, 0, b'a'],
        int_auth: None,
    };
    let prf = Prf::HmacSha256;
    let plain = octets.build(prf);
    assert_eq!(&plain[..12], b"messagenonce");
    assert_eq!(plain.len(), 12 + 32);
    let (i, r) = (Secret::copy_of(b"iiii"), Secret::copy_of(b"rrrr"));
    let with = SignedOctets {
        int_auth: Some((&i, &r, 2)),
        ..octets
    }
    .build(prf);
    assert_eq!(with, [&plain[..], b"iiiirrrr", &[0, 0, 0, 2]].concat());
    let psk = Secret::copy_of(b"secret");
    let auth = shared_key_auth(prf, &psk, &plain);
    assert!(verify_shared_key_auth(prf, &psk, &plain, auth.as_bytes()));
    assert!(!verify_shared_key_auth(
        prf,
        &psk,
        &plain[1..],
        auth.as_bytes()
    ));
    assert!(!verify_shared_key_auth(
        prf,
        &Secret::copy_of(b"Secret"),
        &plain,
        auth.as_bytes()
    ));
    assert!(!verify_shared_key_auth(
        prf,
        &psk,
        &plain,
        &auth.as_bytes()[1..]
    ));
}

proptest::proptest! {
    #[test]
    fn hostile_octets_are_no_scheme_no_key_and_no_signature(data in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..120)) {
        let _ = Scheme::from_algorithm_identifier(&data);
        proptest::prop_assert!(PublicKey::from_spki(&data).is_err());
        let key = PublicKey::ed25519(&[9; 32]).unwrap();
        for method in [AuthMethod::Rsa, AuthMethod::Ecdsa256, AuthMethod::Digital] {
            let job = VerifyJob { key: key.clone(), method, data: data.clone(), octets: vec![], allow_sha1: true };
            proptest::prop_assert!(job.run().is_err());
        }
    }
}
