//! CBC and counter mode.

use super::{File, Hex, Wycheproof, load};
use crate::crypto::cbc::{Cbc, Chain};
use crate::crypto::ctr::AesCtr;
use crate::crypto::fast::InterleavedCbc;
use crate::crypto::reference::{AesCbc, TripleDesCbc};
use crate::crypto::separate::{Cipher, Part};
use aes::cipher::KeyInit;
use aes::{Aes128, Aes192, Aes256};
use serde::Deserialize;

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

fn encrypt<const B: usize>(cbc: &dyn Cbc<B>, iv: &[u8; B], clear: &[u8]) -> Vec<u8> {
    let mut octets = clear.to_vec();
    let (blocks, []) = octets.as_chunks_mut() else {
        panic!("not whole blocks")
    };
    cbc.encrypt(&mut [Chain { iv, blocks }]);
    octets
}

fn decrypt<const B: usize>(cbc: &dyn Cbc<B>, iv: &[u8; B], sealed: &[u8]) -> Vec<u8> {
    let mut octets = sealed.to_vec();
    let (blocks, []) = octets.as_chunks_mut() else {
        panic!("not whole blocks")
    };
    cbc.decrypt(Chain { iv, blocks });
    octets
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
            let (plain, cipher) = (&test.plain.0, &test.cipher.0);
            assert_eq!(encrypt(&*cbc, &iv, plain), *cipher, "{}", test.name);
            assert_eq!(decrypt(&*cbc, &iv, cipher), *plain, "{}", test.name);
        }
    }
}

#[test]
fn nist_3des_cbc() {
    let tests = load::<File<CbcCase>>("nist/tdes_cbc.json").tests;
    assert_eq!(tests.len(), 20);
    for test in tests {
        let iv = test.iv.array();
        let cbc = <TripleDesCbc as KeyInit>::new_from_slice(&test.key.0).expect("key length");
        let (plain, cipher) = (&test.plain.0, &test.cipher.0);
        assert_eq!(encrypt(&cbc, &iv, plain), *cipher, "{}", test.name);
        assert_eq!(decrypt(&cbc, &iv, cipher), *plain, "{}", test.name);
    }
}

#[derive(Deserialize)]
struct CtrCase {
    name: String,
    key: Hex,
    nonce: Hex,
    iv: Hex,
    plain: Hex,
    cipher: Hex,
}

#[test]
fn rfc_3686_aes_ctr() {
    fn check<C: Cipher>(cipher: &C, test: &CtrCase) {
        // The IV is the sequence number, so a number makes the vector's IV.
        let (mut iv, mut body) = ([0; 8], test.plain.0.clone());
        let sequence = u64::from_be_bytes(test.iv.array());
        cipher.encrypt(&mut [Part {
            sequence,
            iv: &mut iv,
            body: &mut body,
        }]);
        assert_eq!((&iv[..], &body), (&test.iv.0[..], &test.cipher.0));
        cipher.decrypt(Part {
            sequence: 0,
            iv: &mut iv,
            body: &mut body,
        });
        assert_eq!(body, test.plain.0, "{}", test.name);
    }
    let tests = load::<File<CtrCase>>("rfc/aes_ctr.json").tests;
    assert_eq!(tests.len(), 9);
    for test in tests {
        let key = [&test.key.0[..], &test.nonce.0].concat();
        match test.key.0.len() {
            16 => check(&AesCtr::<Aes128>::new(&key).expect("key length"), &test),
            24 => check(&AesCtr::<Aes192>::new(&key).expect("key length"), &test),
            _ => check(&AesCtr::<Aes256>::new(&key).expect("key length"), &test),
        }
    }
}
