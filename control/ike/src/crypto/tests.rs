use super::vectors::{self, hex};
use super::*;
use crate::proposal::{IkeSuite, Proposal, Protocol};

fn suite(text: &str) -> IkeSuite {
    IkeSuite::from_chosen(&Proposal::parse(Protocol::Ike, text).unwrap()).unwrap()
}

#[test]
fn prfs_of_block_ciphers_compute_the_values_of_their_rfcs() {
    let message = hex("000102030405060708090a0b0c0d0e0f10111213");
    // RFC 4434 §2.1, RFC 4615 §4.
    let cases = [
        (
            Prf::AesXcbc,
            "000102030405060708090a0b0c0d0e0f",
            "47f51b4564966215b8985c63055ed308",
        ),
        (
            Prf::AesXcbc,
            "00010203040506070809",
            "0fa087af7d866e7653434e602fdde835",
        ),
        (
            Prf::AesXcbc,
            "000102030405060708090a0b0c0d0e0fedcb",
            "8cd3c93ae598a9803006ffb67c40e9e4",
        ),
        (
            Prf::AesCmac,
            "000102030405060708090a0b0c0d0e0fedcb",
            "84a348a4a45d235babfffc0d2b4da09a",
        ),
        (
            Prf::AesCmac,
            "000102030405060708090a0b0c0d0e0f",
            "980ae87b5f4c9c5214f5b6a8455e4c2d",
        ),
        (
            Prf::AesCmac,
            "00010203040506070809",
            "290d9e112edb09ee141fcf64c0b72f3d",
        ),
    ];
    for (prf, key, output) in cases {
        assert_eq!(
            prf.compute(&hex(key), &[&message]).as_bytes(),
            hex(output),
            "{prf:?}"
        );
        let parts: Vec<&[u8]> = message.chunks(3).collect();
        assert_eq!(
            prf.compute(&hex(key), &parts).as_bytes(),
            hex(output),
            "{prf:?}"
        );
    }
}

#[test]
fn prfs_and_integrity_compute_the_published_macs() {
    let files = [
        ("rfc/hmac_md5.json", Prf::HmacMd5, Integrity::HmacMd5_96),
        ("rfc/hmac_sha1.json", Prf::HmacSha1, Integrity::HmacSha1_96),
        (
            "rfc/hmac_sha256.json",
            Prf::HmacSha256,
            Integrity::HmacSha256_128,
        ),
        (
            "rfc/hmac_sha384.json",
            Prf::HmacSha384,
            Integrity::HmacSha384_192,
        ),
        (
            "rfc/hmac_sha512.json",
            Prf::HmacSha512,
            Integrity::HmacSha512_256,
        ),
        ("rfc/aes_xcbc.json", Prf::AesXcbc, Integrity::AesXcbc96),
        ("rfc/aes_cmac.json", Prf::AesCmac, Integrity::AesCmac96),
    ];
    for (file, prf, integrity) in files {
        let mut fitting = 0;
        for case in vectors::load(file) {
            let (key, data, mac) = (case.hex("key"), case.hex("data"), case.hex("mac"));
            let full = prf.compute(&key, &[&data]);
            assert_eq!(full.as_bytes()[..mac.len()], mac, "{file}");
            assert_eq!(full.len(), prf.output_len());
            if key.len() == integrity.key_len() {
                let icv = integrity.compute(&key, &[&data]).unwrap();
                assert_eq!(icv.as_bytes(), &full.as_bytes()[..integrity.icv_len()]);
                fitting += 1;
            } else {
                assert_eq!(integrity.compute(&key, &[&data]), None);
            }
        }
        assert!(fitting > 0, "{file}");
    }
}

/// NIST CAVP's component test of the key derivation of IKEv2, with HMAC-SHA-1, all five values.
#[test]
fn keys_are_those_of_nists_validation() {
    let shared = Secret::new(hex(
        "4b2c1f971981a8ad8d0abeafabf38cf75fc8349c148142465ed9c8b516b8be52",
    ));
    let new = Secret::new(hex(
        "863f3c9d06efd39d2b907b97f8699e5dd5251ef64a2a176f36ee40c87d4f9330",
    ));
    let (nonce_i, nonce_r) = (hex("32b50d5f4a3763f3"), hex("9206a04b26564cb1"));
    let spi = |text| <[u8; 8]>::try_from(hex(text)).unwrap();
    let context = KeyContext {
        nonce_i: &nonce_i,
        nonce_r: &nonce_r,
        spi_i: spi("34c9e7c188868785"),
        spi_r: spi("3ff77d760d2b2199"),
    };
    let material = hex(
        "a14293677cc80ff8f9cc0eee30d895da9d8f405666e30ef0dfcb63c634a46002a2a63080e514a062768b76606f9fa5e992204fc5
         a670bde3f10d6b027113936a5c55b648a194ae587b0088d52204b702c979fa280870d2ed41efa9c549fd11198af1670b143d384b
         d275c5f594cf266b05ebadca855e4249520a441a81157435a7a56cc4",
    );
    let suite = suite("aes128-sha1-modp2048");
    let keys = IkeKeys::initial(&suite, &shared, context);
    let made = [
        &keys.d, &keys.ai, &keys.ar, &keys.ei, &keys.er, &keys.pi, &keys.pr,
    ];
    let made: Vec<u8> = made.iter().flat_map(|k| k.as_bytes().to_vec()).collect();
    assert_eq!(made.len(), 5 * 20 + 2 * 16);
    assert_eq!(made, material);
    let child = child_key_material(suite.prf, &keys.d, &[], &nonce_i, &nonce_r, 132).unwrap();
    assert_eq!(
        child.as_bytes(),
        hex("8059e3ee8810e6c3a91bc8bcd2a7a41151b8d0e6ae239c7b38093ad85ef4c5811a8e7b5d1cdabd9560b2d5e092d1f24e2d4b85
             eccdf0ad0dc9abd94b51ee71814ca6dbc8bb51b6309f5b9545c7eb35cf5580b1e521a8fe20754a2d883ba0c2cf285f524aea65
             45b33106bc03e614296d319d41d4b50b3f510b1c0a22f3e664994d234cb4")
    );
    let new = [new];
    let child = child_key_material(suite.prf, &keys.d, &new, &nonce_i, &nonce_r, 132).unwrap();
    assert_eq!(
        child.as_bytes(),
        hex("bb43244c1860ad65ee1e211ffe8bb3661750c8f89cb9f547df7f4fa61d37301628190e38c66232eab4b3ab14c400a5197dd373
             0ed4820a8a10394d51e1c0400052f63ebd36b0e7ef53aaed31eba4a5080d7d4b5666023a8bbb5ffb7857240f9a05884d1b7d2f
             933708450b7b3288f1fc863ab49fa901227cffc06e27899c7054d56fd74c")
    );
    // The seed of a rekeyed IKE SA's keys is the last of the five.
    let seed = hex("63e81194946ebd05df7df5ebf5d8750056bf1f1d");
    let spis: [&[u8]; 4] = [&nonce_i, &nonce_r, &context.spi_i, &context.spi_r];
    let first = suite.prf.plus(&seed, &spis, 20).unwrap();
    assert_eq!(keys.rekeyed(suite.prf, &suite, &new, context).d, first);
}

#[test]
fn rekeying_uses_the_old_prf_for_the_seed_and_the_new_one_for_the_keys() {
    let context = KeyContext {
        nonce_i: &[1; 32],
        nonce_r: &[2; 32],
        spi_i: [3; 8],
        spi_r: [4; 8],
    };
    let (old, new) = (
        suite("aes256gcm16-prfsha256-x25519"),
        suite("aes256gcm16-prfsha512-x25519-ke1_mlkem768"),
    );
    let keys = IkeKeys::initial(&old, &Secret::copy_of(b"first"), context);
    let shared = [Secret::copy_of(b"new"), Secret::copy_of(b"additional")];
    let rekeyed = keys.rekeyed(old.prf, &new, &shared, context);
    // RFC 9370 §2.2.4: SK(0) | Ni | Nr | SK(1).
    let seed = Prf::HmacSha256.compute(
        keys.d.as_bytes(),
        &[b"new", &[1; 32], &[2; 32], b"additional"],
    );
    let spis: [&[u8]; 4] = [&[1; 32], &[2; 32], &[3; 8], &[4; 8]];
    let all = Prf::HmacSha512
        .plus(seed.as_bytes(), &spis, 64 + 2 * 36 + 2 * 64)
        .unwrap();
    assert_eq!(rekeyed.d.as_bytes(), &all.as_bytes()[..64]);
    assert_eq!(rekeyed.pr.as_bytes(), &all.as_bytes()[136 + 64..]);
    assert!(rekeyed.ai.is_empty());
    assert!(rekeyed.ciphers(&new).is_some());
    assert!(rekeyed.ciphers(&suite("aes128-sha256-x25519")).is_none());
    // RFC 9370 §2.2.2: SKEYSEED(1) = prf(SK_d(0), SK(1) | Ni | Nr).
    let next = keys.after_intermediate(&old, &shared[1], context);
    let seed = Prf::HmacSha256.compute(keys.d.as_bytes(), &[b"additional", &[1; 32], &[2; 32]]);
    let all = Prf::HmacSha256.plus(seed.as_bytes(), &spis, 32).unwrap();
    assert_eq!(next.d, all);
    assert_ne!(next, keys);
}

#[test]
fn prfs_with_a_fixed_key_take_half_of_it_from_each_nonce() {
    let context = KeyContext {
        nonce_i: &[1; 32],
        nonce_r: &[2; 32],
        spi_i: [3; 8],
        spi_r: [4; 8],
    };
    for name in ["prfaesxcbc", "prfaescmac"] {
        let suite = suite(&format!("aes128-sha256-{name}-x25519"));
        let keys = IkeKeys::initial(&suite, &Secret::copy_of(b"shared"), context);
        let key = [[1; 8], [2; 8]].concat();
        let seed = suite.prf.compute(&key, &[b"shared"]);
        let spis: [&[u8]; 4] = [&[1; 32], &[2; 32], &[3; 8], &[4; 8]];
        assert_eq!(keys.d, suite.prf.plus(seed.as_bytes(), &spis, 16).unwrap());
    }
}

#[test]
fn a_ppk_changes_the_keys_that_make_others_and_leaves_the_ciphers() {
    let context = KeyContext {
        nonce_i: &[1; 32],
        nonce_r: &[2; 32],
        spi_i: [3; 8],
        spi_r: [4; 8],
    };
    let suite = suite("aes256-sha256-x25519");
    let keys = IkeKeys::initial(&suite, &Secret::copy_of(b"shared"), context);
    let with = keys.with_ppk(suite.prf, &Secret::copy_of(b"ppk"));
    assert_eq!(
        with.d,
        suite.prf.plus(b"ppk", &[keys.d.as_bytes()], 32).unwrap()
    );
    assert_eq!(
        (&with.ei, &with.er, &with.ai, &with.ar),
        (&keys.ei, &keys.er, &keys.ai, &keys.ar)
    );
    assert!(with.pi != keys.pi && with.pr != keys.pr);
}

#[test]
fn prf_plus_ends_after_255_rounds() {
    for prf in Prf::ALL {
        assert_eq!(Prf::from_id(prf as u16), Some(prf));
        assert!(
            prf.plus(b"key", &[b"seed"], 255 * prf.output_len())
                .is_some()
        );
        assert_eq!(
            prf.plus(b"key", &[b"seed"], 255 * prf.output_len() + 1),
            None
        );
        let long = prf.plus(b"key", &[b"se", b"ed"], 100).unwrap();
        let short = prf.plus(b"key", &[b"seed"], 50).unwrap();
        assert_eq!(long.as_bytes()[..50], *short.as_bytes());
    }
}

fn cipher(encryption: &str, integrity: &str, key: Vec<u8>, integrity_key: Vec<u8>) -> SkCipher {
    let rest = if integrity.is_empty() {
        "prfsha256"
    } else {
        integrity
    };
    let suite = suite(&format!("{encryption}-{rest}-prfsha256-x25519"));
    SkCipher::new(
        suite.encryption,
        suite.integrity,
        Secret::new(key),
        Secret::new(integrity_key),
    )
    .unwrap()
}

#[test]
fn encrypted_payloads_are_those_that_openssl_makes() {
    let mut seen = std::collections::HashSet::new();
    for case in vectors::load("openssl/ike_encrypted_payload.json") {
        let name = (
            case.text("encryption").to_owned(),
            case.text("integrity").to_owned(),
        );
        let cipher = cipher(&name.0, &name.1, case.hex("key"), case.hex("integrity_key"));
        let (aad, iv, plain, sealed) = (
            case.hex("aad"),
            case.hex("iv"),
            case.hex("plain"),
            case.hex("sealed"),
        );
        let mut out = b"before".to_vec();
        cipher.seal(&aad, &iv, &plain, &mut out);
        assert_eq!(out, [&b"before"[..], &sealed].concat(), "{name:?}");
        assert_eq!(cipher.sealed_len(plain.len()), sealed.len(), "{name:?}");
        assert_eq!(*cipher.open(&aad, &sealed).unwrap(), plain, "{name:?}");
        seen.insert(name.0);
    }
    assert_eq!(seen.len(), 3 * 8 + 2);
}

#[test]
fn nothing_that_was_changed_or_cut_is_opened() {
    for case in vectors::load("openssl/ike_encrypted_payload.json") {
        let cipher = cipher(
            case.text("encryption"),
            case.text("integrity"),
            case.hex("key"),
            case.hex("integrity_key"),
        );
        let (aad, sealed) = (case.hex("aad"), case.hex("sealed"));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 0x80;
            assert_eq!(
                cipher.open(&aad, &changed),
                Err(OpenError::Icv),
                "octet {at}"
            );
            assert!(cipher.open(&aad, &sealed[..at]).is_err(), "cut at {at}");
        }
        assert_eq!(cipher.open(&aad[1..], &sealed), Err(OpenError::Icv));
        let longer = [&sealed[..], &[0]].concat();
        assert!(cipher.open(&aad, &longer).is_err());
    }
}

#[test]
fn a_pad_length_beyond_the_payload_is_refused() {
    let key = vec![7; 32];
    let sealer = cipher("aes128ctr", "sha256", vec![1; 20], key.clone());
    let mut out = Vec::new();
    sealer.seal(b"aad", &[0; 8], b"", &mut out);
    // With a counter mode the pad length can be set to any value, and the ICV made anew.
    let body = out.len() - 16;
    out[body - 1] ^= 1;
    let icv = Integrity::HmacSha256_128
        .compute(&key, &[b"aad", &out[..body]])
        .unwrap();
    out.truncate(body);
    out.extend_from_slice(icv.as_bytes());
    assert_eq!(sealer.open(b"aad", &out), Err(OpenError::Padding));
}

#[test]
fn padding_of_any_content_and_length_is_taken() {
    let key = vec![7; 32];
    let encryption = cipher("aes128ctr", "sha256", vec![1; 20], key.clone());
    let mut out = Vec::new();
    // Payload of 3 octets, padding of 5 with some content, pad length.
    encryption.seal(b"aad", &[0; 8], b"abcPADDI", &mut out);
    let body = out.len() - 16;
    out[body - 1] ^= 5;
    let icv = Integrity::HmacSha256_128
        .compute(&key, &[b"aad", &out[..body]])
        .unwrap();
    out.truncate(body);
    out.extend_from_slice(icv.as_bytes());
    assert_eq!(**encryption.open(b"aad", &out).unwrap(), *b"abc");
}

#[test]
fn room_for_plaintext_is_the_inverse_of_the_sealed_length() {
    for (encryption, integrity) in [
        ("aes256", "sha512"),
        ("3des", "sha1"),
        ("aes128gcm16", ""),
        ("aes128ctr", "sha256"),
    ] {
        let suite = suite(&format!(
            "{encryption}-{}-prfsha256-x25519",
            if integrity.is_empty() {
                "prfsha256"
            } else {
                integrity
            }
        ));
        let key = vec![1; suite.encryption.key_len()];
        let integrity_key = vec![1; suite.integrity.map_or(0, Integrity::key_len)];
        let cipher = cipher(encryption, integrity, key, integrity_key);
        for limit in 100..300 {
            let room = cipher.plaintext_room(limit);
            assert!(cipher.sealed_len(room) <= limit, "{encryption}: {limit}");
            assert!(cipher.sealed_len(room + 1) > limit, "{encryption}: {limit}");
        }
        assert_eq!(cipher.plaintext_room(3), 0);
    }
}

#[test]
fn ciphers_refuse_keys_of_another_length_and_never_show_them() {
    let suite = suite("aes256-sha256-x25519");
    let new = |key: usize, integrity: usize| {
        SkCipher::new(
            suite.encryption,
            suite.integrity,
            Secret::new(vec![0xaa; key]),
            Secret::new(vec![0xaa; integrity]),
        )
    };
    let shown = format!("{:?}", new(32, 32).unwrap());
    assert!(!shown.contains("170") && !shown.contains("aa"), "{shown}");
    for (key, integrity) in [(31, 32), (32, 31), (36, 32), (32, 0)] {
        assert!(new(key, integrity).is_none());
    }
    let gcm = Encryption::AesGcm(AesKey::Bits256, Icv::Octets16);
    assert!(
        SkCipher::new(
            gcm,
            suite.integrity,
            Secret::new(vec![0; 36]),
            Secret::new(vec![0; 32])
        )
        .is_none()
    );
    assert!(
        SkCipher::new(
            suite.encryption,
            None,
            Secret::new(vec![0; 32]),
            Secret::default()
        )
        .is_none()
    );
}

#[test]
fn int_auth_chains_the_intermediate_exchanges() {
    let key = Secret::copy_of(&[9; 32]);
    let first = int_auth(Prf::HmacSha256, &key, b"", b"A1", b"P1");
    let second = int_auth(Prf::HmacSha256, &key, first.as_bytes(), b"A2", b"P2");
    let expected = Prf::HmacSha256.compute(&[9; 32], &[first.as_bytes(), b"A2P2"]);
    assert_eq!(second, expected);
}
