//! AES-GCM, AES-CCM, AES-GMAC and ChaCha20-Poly1305.

use super::{File, Hex, Wycheproof, load};
use crate::crypto::aead::{Aead, Nonce};
use crate::crypto::fast::{AwsLcAead, ShortGcm};
use crate::crypto::gcm::{self, Gcm};
use crate::crypto::reference::{AesCcm, Standard};
use aes::cipher::KeyInit;
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::AesGcm;
use aes_gcm::aead::consts::{U11, U12, U16};
use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Algorithm, CHACHA20_POLY1305};
use ccm::Ccm;
use chacha20poly1305::ChaCha20Poly1305;
use serde::Deserialize;

type Boxed<const ICV: usize> = Box<dyn Aead<ICV>>;

/// An AEAD from RustCrypto and from aws-lc.
fn both<A>(algorithm: &'static Algorithm, key: &[u8]) -> Vec<Boxed<16>>
where
    A: KeyInit + 'static,
    Standard<A>: Aead<16>,
{
    vec![
        Box::new(Standard::<A>::new(key).expect("key length")),
        Box::new(AwsLcAead::new(algorithm, key).expect("key length")),
    ]
}

/// AES-GCM put together from its parts, with tags of any length.
fn own_gcm<const ICV: usize>(key: &[u8]) -> Boxed<ICV> {
    fn own<C: gcm::Block + KeyInit + 'static, const ICV: usize>(key: &[u8]) -> Boxed<ICV> {
        Box::new(Gcm::<C>::new(key).expect("key length"))
    }
    match key.len() {
        16 => own::<Aes128, ICV>(key),
        24 => own::<Aes192, ICV>(key),
        _ => own::<Aes256, ICV>(key),
    }
}

/// AES-GCM with short tags from both providers.
fn short_gcm<const ICV: usize>(key: &[u8]) -> [Boxed<ICV>; 2] {
    fn fast<C: gcm::Block + KeyInit + 'static, const ICV: usize>(
        algorithm: &'static Algorithm,
        key: &[u8],
    ) -> Boxed<ICV> {
        Box::new(ShortGcm::<C>::new(algorithm, key).expect("key length"))
    }
    let fast = match key.len() {
        16 => fast::<Aes128, ICV>(&AES_128_GCM, key),
        24 => fast::<Aes192, ICV>(&AES_192_GCM, key),
        _ => fast::<Aes256, ICV>(&AES_256_GCM, key),
    };
    [own_gcm(key), fast]
}

fn aes_gcm(key: &[u8]) -> Vec<Boxed<16>> {
    let mut all = match key.len() {
        16 => both::<AesGcm<Aes128, U12>>(&AES_128_GCM, key),
        24 => both::<AesGcm<Aes192, U12>>(&AES_192_GCM, key),
        _ => both::<AesGcm<Aes256, U12>>(&AES_256_GCM, key),
    };
    all.push(own_gcm(key));
    all
}

fn aes_ccm(key: &[u8]) -> Boxed<16> {
    fn ccm<C: gcm::Block + KeyInit + 'static>(key: &[u8]) -> Boxed<16> {
        Box::new(AesCcm(
            Ccm::<C, U16, U11>::new_from_slice(key).expect("key length"),
        ))
    }
    match key.len() {
        16 => ccm::<Aes128>(key),
        24 => ccm::<Aes192>(key),
        _ => ccm::<Aes256>(key),
    }
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

fn check_wycheproof(aeads: &[Boxed<16>], test: &AeadTest) {
    let nonce = test.iv.array();
    let valid = test.result == "valid";
    for aead in aeads {
        let mut octets = test.msg.0.clone();
        let tag = aead.encrypt(&nonce, &test.aad.0, &mut octets);
        let tag = tag.expect("length");
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
        check_wycheproof(&aes_gcm(&test.key.0), &test);
    }
}

#[test]
fn wycheproof_chacha20_poly1305() {
    for test in Wycheproof::tests("wycheproof/chacha20_poly1305.json") {
        let test: AeadTest = test;
        let aeads = both::<ChaCha20Poly1305>(&CHACHA20_POLY1305, &test.key.0);
        check_wycheproof(&aeads, &test);
    }
}

#[derive(Deserialize)]
struct Case {
    name: String,
    key: Hex,
    nonce: Hex,
    aad: Hex,
    plain: Hex,
    cipher: Hex,
    tag: Hex,
}

fn check<const ICV: usize>(aead: &dyn Aead<ICV>, nonce: &Nonce, case: &Case) {
    let (name, aad) = (&case.name, &case.aad.0);
    let mut octets = case.plain.0.clone();
    let tag = aead.encrypt(nonce, aad, &mut octets).expect("length");
    assert_eq!(octets, case.cipher.0, "{name}");
    assert_eq!(tag[..], case.tag.0, "{name}");
    for bit in (0..ICV * 8).step_by(7) {
        let mut tag = tag;
        tag[bit / 8] ^= 1 << (bit % 8);
        assert!(!aead.decrypt(nonce, aad, &mut octets.clone(), &tag));
    }
    assert!(aead.decrypt(nonce, aad, &mut octets, &tag), "{name}");
    assert_eq!(octets, case.plain.0, "{name}");
}

fn cases(file: &str, count: usize) -> Vec<Case> {
    let cases = load::<File<Case>>(file).tests;
    assert_eq!(cases.len(), count, "{file}");
    cases
}

#[test]
fn nist_aes_gcm_with_short_tags() {
    for case in cases("nist/aes_gcm_short_tags.json", 180) {
        let nonce = case.nonce.array();
        match case.tag.0.len() {
            8 => short_gcm::<8>(&case.key.0)
                .iter()
                .for_each(|aead| check(&**aead, &nonce, &case)),
            _ => short_gcm::<12>(&case.key.0)
                .iter()
                .for_each(|aead| check(&**aead, &nonce, &case)),
        }
    }
}

#[test]
fn nist_aes_gmac_however_the_message_is_cut() {
    for case in cases("nist/aes_gmac.json", 30) {
        for aead in aes_gcm(&case.key.0) {
            check(&*aead, &case.nonce.array(), &case);
        }
        fn sums<C: gcm::Block + KeyInit>(case: &Case) {
            let gcm = Gcm::<C>::new(&case.key.0).expect("key length");
            for at in 0..=case.aad.0.len() {
                let (first, second) = case.aad.0.split_at(at);
                let sum = gcm.gmac(&case.nonce.array(), &[first, second]);
                assert_eq!(sum[..], case.tag.0, "{} cut at {at}", case.name);
            }
        }
        match case.key.0.len() {
            16 => sums::<Aes128>(&case),
            24 => sums::<Aes192>(&case),
            _ => sums::<Aes256>(&case),
        }
    }
}

#[test]
fn nist_aes_ccm() {
    for case in cases("nist/aes_ccm.json", 30) {
        let mut nonce = [0; 12];
        nonce[1..].copy_from_slice(&case.nonce.0);
        check(&*aes_ccm(&case.key.0), &nonce, &case);
    }
}
