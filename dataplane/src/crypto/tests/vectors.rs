//! Published test vectors (`tests/vectors`), through both providers.

use super::{PROVIDERS, body, open};
use crate::crypto::Keys;
use crate::crypto::aead::Aead;
use crate::crypto::cbc::{Cbc, Chain};
use crate::crypto::fast::{AwsLcAead, InterleavedCbc};
use crate::crypto::reference::{self, AesCbc, Standard};
use adit_abi::{Integrity, Suite};
use aes::cipher::KeyInit;
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::AesGcm;
use aes_gcm::aead::consts::U12;
use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Algorithm, CHACHA20_POLY1305};
use chacha20poly1305::ChaCha20Poly1305;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use std::path::Path;

/// Octets written in hexadecimal.
struct Hex(Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
            return Err(D::Error::custom("odd number of hexadecimal digits"));
        };
        pairs
            .iter()
            .map(|pair| str::from_utf8(pair).map_err(D::Error::custom))
            .map(|pair| u8::from_str_radix(pair?, 16).map_err(D::Error::custom))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Hex {
    fn array<const N: usize>(&self) -> [u8; N] {
        self.0[..].try_into().expect("a vector of the wrong length")
    }
}

fn load<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/vectors")
        .join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[derive(Deserialize)]
struct File<T> {
    tests: Vec<T>,
}

#[derive(Deserialize)]
struct Wycheproof<T> {
    #[serde(rename = "numberOfTests")]
    count: usize,
    #[serde(rename = "testGroups")]
    groups: Vec<File<T>>,
}

impl<T: DeserializeOwned> Wycheproof<T> {
    fn tests(name: &str) -> Vec<T> {
        let file: Self = load(name);
        let tests: Vec<T> = file.groups.into_iter().flat_map(|g| g.tests).collect();
        assert_eq!(tests.len(), file.count);
        tests
    }
}

/// An AEAD from RustCrypto and from aws-lc.
type Aeads = [Box<dyn Aead<16>>; 2];

fn aeads<A>(algorithm: &'static Algorithm, key: &[u8]) -> Aeads
where
    A: KeyInit + 'static,
    Standard<A>: Aead<16>,
{
    [
        Box::new(Standard::<A>::new(key).expect("key length")),
        Box::new(AwsLcAead::new(algorithm, key).expect("key length")),
    ]
}

fn aes_gcm(key: &[u8]) -> Aeads {
    match key.len() {
        16 => aeads::<AesGcm<Aes128, U12>>(&AES_128_GCM, key),
        24 => aeads::<AesGcm<Aes192, U12>>(&AES_192_GCM, key),
        _ => aeads::<AesGcm<Aes256, U12>>(&AES_256_GCM, key),
    }
}

/// AES-CBC from both providers.
fn cbcs(key: &[u8]) -> [Box<dyn Cbc<16>>; 2] {
    fn both<C: KeyInit + 'static>(key: &[u8]) -> [Box<dyn Cbc<16>>; 2]
    where
        AesCbc<C>: Cbc<16>,
        InterleavedCbc<C>: Cbc<16>,
    {
        [
            Box::new(AesCbc(C::new_from_slice(key).expect("key length"))),
            Box::new(InterleavedCbc::<C>::new(key).expect("key length")),
        ]
    }
    match key.len() {
        16 => both::<Aes128>(key),
        24 => both::<Aes192>(key),
        _ => both::<Aes256>(key),
    }
}

fn encrypt(cbc: &dyn Cbc<16>, iv: &[u8; 16], clear: &[u8]) -> Vec<u8> {
    let mut octets = clear.to_vec();
    let (blocks, []) = octets.as_chunks_mut() else {
        panic!("not whole blocks")
    };
    cbc.encrypt(&mut [Chain { iv, blocks }]);
    octets
}

fn decrypt(cbc: &dyn Cbc<16>, iv: &[u8; 16], sealed: &[u8]) -> Vec<u8> {
    let mut octets = sealed.to_vec();
    let (blocks, []) = octets.as_chunks_mut() else {
        panic!("not whole blocks")
    };
    cbc.decrypt(Chain { iv, blocks });
    octets
}

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

#[test]
fn published_esp_packets_open_to_their_plaintext() {
    let mut opened = 0;
    for file in [
        "rfc/esp_aes_gcm.json",
        "rfc/esp_chacha20_poly1305.json",
        "openssl/esp_aes_cbc_hmac_sha256.json",
    ] {
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
                assert!(
                    open(&*transform, &mut packet, sequence),
                    "{file}: {}",
                    test.name
                );
                assert_eq!(body(suite, &packet), test.plain.0, "{file}: {}", test.name);
                opened += 1;
            }
        }
    }
    assert_eq!(opened, 2 * (14 + 1 + 12));
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AeadTest {
    tc_id: u32,
    key: Hex,
    iv: Hex,
    aad: Hex,
    msg: Hex,
    ct: Hex,
    tag: Hex,
    result: String,
}

fn check_aead(aeads: &Aeads, test: &AeadTest) {
    let nonce = test.iv.array();
    let valid = test.result == "valid";
    for aead in aeads {
        let mut octets = test.msg.0.clone();
        let tag = aead
            .encrypt(&nonce, &test.aad.0, &mut octets)
            .expect("length");
        assert_eq!(octets, test.ct.0, "{}", test.tc_id);
        assert_eq!(tag[..] == test.tag.0[..], valid, "{}", test.tc_id);

        let mut octets = test.ct.0.clone();
        let ok = aead.decrypt(&nonce, &test.aad.0, &mut octets, &test.tag.array());
        assert_eq!(ok, valid, "{}", test.tc_id);
        assert!(!valid || octets == test.msg.0, "{}", test.tc_id);
    }
}

#[test]
fn wycheproof_aes_gcm() {
    for test in Wycheproof::tests("wycheproof/aes_gcm.json") {
        let test: AeadTest = test;
        check_aead(&aes_gcm(&test.key.0), &test);
    }
}

#[test]
fn wycheproof_chacha20_poly1305() {
    for test in Wycheproof::tests("wycheproof/chacha20_poly1305.json") {
        let test: AeadTest = test;
        check_aead(
            &aeads::<ChaCha20Poly1305>(&CHACHA20_POLY1305, &test.key.0),
            &test,
        );
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CbcTest {
    tc_id: u32,
    key: Hex,
    iv: Hex,
    msg: Hex,
    ct: Hex,
    result: String,
}

/// What precedes a correct PKCS #5 padding, which these vectors carry inside the ciphertext.
fn without_padding(octets: &[u8]) -> Option<&[u8]> {
    let &len = octets.last()?;
    let (message, padding) = octets.split_at_checked(octets.len().checked_sub(len.into())?)?;
    ((1..=16).contains(&len) && padding.iter().all(|&octet| octet == len)).then_some(message)
}

#[test]
fn wycheproof_aes_cbc() {
    for test in Wycheproof::tests("wycheproof/aes_cbc_pkcs5.json") {
        let test: CbcTest = test;
        let (iv, valid) = (test.iv.array(), test.result == "valid");
        for cbc in cbcs(&test.key.0) {
            let clear = decrypt(&*cbc, &iv, &test.ct.0);
            let message = without_padding(&clear);
            assert_eq!(message == Some(&test.msg.0), valid, "{}", test.tc_id);
            assert_eq!(encrypt(&*cbc, &iv, &clear), test.ct.0, "{}", test.tc_id);
        }
    }
}

#[derive(Deserialize)]
struct CbcCase {
    name: String,
    key: Hex,
    iv: Hex,
    plain: Hex,
    cipher: Hex,
}

#[test]
fn rfc_3602_aes_cbc() {
    for test in load::<File<CbcCase>>("rfc/aes_cbc.json").tests {
        let iv = test.iv.array();
        for cbc in cbcs(&test.key.0) {
            assert_eq!(
                encrypt(&*cbc, &iv, &test.plain.0),
                test.cipher.0,
                "{}",
                test.name
            );
            assert_eq!(
                decrypt(&*cbc, &iv, &test.cipher.0),
                test.plain.0,
                "{}",
                test.name
            );
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MacTest {
    tc_id: u32,
    key: Hex,
    msg: Hex,
    tag: Hex,
    result: String,
}

#[test]
fn wycheproof_hmac_sha256() {
    for test in Wycheproof::tests("wycheproof/hmac_sha256.json") {
        let test: MacTest = test;
        let mac = reference::mac(Integrity::HmacSha256, &test.key.0).expect("any key will do");
        let (first, second) = test.msg.0.split_at(test.msg.0.len() / 3);
        let mut sum = [0; 32];
        mac.sum(&[first, second], &mut sum);
        let valid = test.result == "valid";
        assert_eq!(
            sum[..test.tag.0.len()] == test.tag.0,
            valid,
            "{}",
            test.tc_id
        );
    }
}

#[derive(Deserialize)]
struct MacCase {
    name: String,
    key: Hex,
    data: Hex,
    mac: Hex,
}

#[test]
fn rfc_4868_hmac_sha256() {
    for test in load::<File<MacCase>>("rfc/hmac_sha256.json").tests {
        let mac = reference::mac(Integrity::HmacSha256, &test.key.0).expect("any key will do");
        let mut sum = [0; 32];
        mac.sum(&[&test.data.0], &mut sum);
        assert_eq!(sum[..], test.mac.0, "{}", test.name);
    }
}
