//! HMACs and MACs of AES.

use super::{File, Hex, Wycheproof, load};
use crate::crypto::reference;
use adit_abi::Integrity;
use serde::Deserialize;

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
fn published_macs_are_ours_however_the_message_is_cut() {
    for (integrity, file, count) in [
        (Integrity::HmacMd5, "rfc/hmac_md5.json", 7),
        (Integrity::HmacSha1, "rfc/hmac_sha1.json", 7),
        (Integrity::HmacSha256, "rfc/hmac_sha256.json", 4),
        (Integrity::HmacSha384, "rfc/hmac_sha384.json", 4),
        (Integrity::HmacSha512, "rfc/hmac_sha512.json", 4),
        (Integrity::AesCmac, "rfc/aes_cmac.json", 4),
        (Integrity::AesXcbc, "rfc/aes_xcbc.json", 7),
    ] {
        let tests = load::<File<MacCase>>(file).tests;
        assert_eq!(tests.len(), count, "{file}");
        for test in tests {
            let mac = reference::mac(integrity, &test.key.0).expect("a key that will do");
            for at in 0..=test.data.0.len().min(48) {
                let (first, second) = test.data.0.split_at(at);
                let mut sum = vec![0; test.mac.0.len()];
                mac.sum(&[first, &[], second], &mut sum);
                assert_eq!(sum, test.mac.0, "{file} {}, cut at {at}", test.name);
            }
        }
    }
}
