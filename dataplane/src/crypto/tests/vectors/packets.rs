//! Whole ESP packets, and the ICV fields of AH.

use super::{File, Hex, load};
use crate::crypto::Keys;
use crate::crypto::tests::{PROVIDERS, body, open, seal};
use adit_abi::{Integrity, Suite};
use serde::Deserialize;
use std::collections::BTreeSet;

#[derive(Deserialize)]
struct EspTest {
    name: String,
    suite: String,
    enc: Hex,
    auth: Hex,
    esn: bool,
    sequence: Hex,
    plain: Hex,
    packet: Hex,
}

/// Opens every packet of these files by both providers; how many there were, and the suites that were met.
fn open_all(files: &[&str]) -> (usize, BTreeSet<Suite>) {
    let (mut opened, mut suites) = (0, BTreeSet::new());
    for file in files {
        for test in load::<File<EspTest>>(file).tests {
            let suite = Suite::parse_esp(&test.suite).expect("a suite's name");
            let sequence = u64::from_be_bytes(test.sequence.array());
            let keys = Keys {
                enc: &test.enc.0,
                auth: &test.auth.0,
            };
            for provider in PROVIDERS {
                let transform = provider.transform(suite, keys, test.esn).expect("keys");
                let mut packet = test.packet.0.clone();
                let case = format!("{provider:?}, {file}: {}", test.name);
                assert!(open(&*transform, &mut packet, sequence), "{case}");
                assert_eq!(body(suite, &packet), test.plain.0, "{case}");
            }
            opened += 1;
            suites.insert(suite);
        }
    }
    (opened, suites)
}

#[test]
fn published_esp_packets_open_to_their_plaintext() {
    let (opened, _) = open_all(&[
        "rfc/esp_aes_gcm.json",
        "rfc/esp_chacha20_poly1305.json",
        "openssl/esp_aes_cbc_hmac_sha256.json",
    ]);
    assert_eq!(opened, 14 + 1 + 12);
}

#[test]
fn packets_that_openssl_sealed_open_under_every_suite_but_those_with_xcbc() {
    let (opened, suites) = open_all(&["openssl/esp_every_suite.json"]);
    let known = Suite::every_esp().filter(|s| s.integrity() != Some(Integrity::AesXcbc));
    assert_eq!(suites, known.collect());
    assert_eq!(opened, suites.len() * 2, "with ESN and without");
}

#[test]
fn sealing_without_an_iv_gives_what_openssl_gave() {
    let mut sealed = 0;
    for mut test in load::<File<EspTest>>("openssl/esp_every_suite.json").tests {
        let suite = Suite::parse_esp(&test.suite).expect("a suite's name");
        // The file's IVs are random, so only what has none can be compared octet for octet.
        if suite.iv_len() > 0 {
            continue;
        }
        let sequence = u64::from_be_bytes(test.sequence.array());
        let keys = Keys {
            enc: &test.enc.0,
            auth: &test.auth.0,
        };
        for provider in PROVIDERS {
            let transform = provider.transform(suite, keys, test.esn).expect("keys");
            let expected = test.packet.0.clone();
            let icv = expected.len() - suite.icv_len();
            test.packet.0[4..8].fill(0xee);
            test.packet.0[icv..].fill(0xee);
            assert!(seal(&*transform, &mut test.packet.0, sequence));
            assert_eq!(test.packet.0, expected, "{}", test.name);
            sealed += 1;
        }
    }
    assert_eq!(sealed, 2 * 2 * 6);
}

#[derive(Deserialize)]
struct AhTest {
    name: String,
    suite: String,
    key: Hex,
    esn: bool,
    sequence: Hex,
    parts: Vec<Hex>,
    icv: Hex,
}

#[test]
fn icv_fields_that_openssl_computed_verify_and_no_others() {
    let mut seen = BTreeSet::new();
    for test in load::<File<AhTest>>("openssl/ah_every_integrity.json").tests {
        let integrity = Integrity::parse(&test.suite).expect("a keyword");
        seen.insert(integrity);
        let sequence = u64::from_be_bytes(test.sequence.array());
        let parts: Vec<&[u8]> = test.parts.iter().map(|part| &part.0[..]).collect();
        for provider in PROVIDERS {
            let name = format!("{provider:?}, {}", test.name);
            let it = provider.authenticator(integrity, &test.key.0, test.esn);
            let it = it.expect("a key");
            assert_eq!(it.icv_len(), test.icv.0.len());
            assert!(it.verify(&parts, sequence, &test.icv.0), "{name}");
            // However the same octets are cut.
            let whole = parts.concat();
            let cut: Vec<&[u8]> = whole.chunks(whole.len().div_ceil(13)).collect();
            assert!(it.verify(&cut, sequence, &test.icv.0), "{name}");
            for bit in 0..test.icv.0.len() * 8 {
                let mut icv = test.icv.0.clone();
                icv[bit / 8] ^= 1 << (bit % 8);
                assert!(!it.verify(&parts, sequence, &icv), "{name} bit {bit}");
            }
        }
    }
    assert_eq!(seen.len(), Integrity::all().count() - 1, "all but XCBC");
}
