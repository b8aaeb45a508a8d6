use super::{AesKey, Encryption, Integrity, Suite, SuiteError};
use crate::sa::SaRecord;

#[test]
fn codes_are_read_back_and_every_other_pair_of_bytes_names_no_suite() {
    let mut known = 0;
    for encryption in 0..=u8::MAX {
        for integrity in 0..=u8::MAX {
            if let Some(suite) = Suite::from_codes(encryption, integrity) {
                assert_eq!(suite.codes(), (encryption, integrity));
                known += 1;
            }
        }
    }
    assert_eq!(
        known,
        Suite::every_esp().count() + Suite::every_ah().count()
    );
    // 22 that authenticate by themselves, 8 ciphers beside 7 integrity transforms.
    assert_eq!(Suite::every_esp().count(), 22 + 8 * 7);
    assert_eq!(Suite::every_ah().count(), 10);
}

#[test]
fn codes_of_today_are_those_of_tomorrow() {
    for (text, codes) in [
        ("null-md5", (0x10, 1)),
        ("3des-sha1", (0x20, 2)),
        ("aes128-aesxcbc", (0x34, 3)),
        ("aes256ctr-aescmac", (0x4c, 4)),
        ("aes192gcm12", (0x5a, 0)),
        ("aes256ccm8", (0x6d, 0)),
        ("aes128gmac", (0x74, 0)),
        ("chacha20poly1305", (0x80, 0)),
        ("null-sha256", (0x10, 5)),
        ("null-sha384", (0x10, 6)),
        ("null-sha512", (0x10, 7)),
    ] {
        assert_eq!(Suite::parse_esp(text).unwrap().codes(), codes, "{text}");
    }
    assert_eq!(Suite::parse_ah("aes256gmac").unwrap().codes(), (0, 10));
}

#[test]
fn names_are_read_back() {
    for suite in Suite::every_esp() {
        assert_eq!(Suite::parse_esp(&suite.to_string()), Ok(suite));
    }
    for suite in Suite::every_ah() {
        assert_eq!(Suite::parse_ah(&suite.to_string()), Ok(suite));
    }
    for (text, same) in [
        ("aes-sha", "aes128-sha1"),
        ("sha2_256-aes256", "aes256-sha256"),
        ("aes128gcm128", "aes128gcm16"),
        ("aes192ccm64", "aes192ccm8"),
    ] {
        assert_eq!(Suite::parse_esp(text).unwrap().to_string(), same);
    }
}

#[test]
fn every_key_fits_a_record() {
    let suites = Suite::every_esp().chain(Suite::every_ah());
    for suite in suites {
        assert!(suite.enc_key_len() <= SaRecord::ENC_KEY, "{suite}");
        assert!(suite.auth_key_len() <= SaRecord::AUTH_KEY, "{suite}");
        assert!(suite.block().is_multiple_of(4), "{suite}");
        assert!((8..=32).contains(&suite.icv_len()), "{suite}");
    }
}

#[test]
fn each_transform_is_in_the_short_list() {
    let suites: Vec<_> = Suite::each_esp_transform().collect();
    for encryption in Encryption::all() {
        assert!(suites.iter().any(|s| s.encryption() == Some(encryption)));
    }
    for integrity in Integrity::ESP {
        assert!(suites.iter().any(|s| s.integrity() == Some(integrity)));
    }
}

#[test]
fn encryption_without_integrity_is_refused() {
    for encryption in Encryption::all().filter(|e| e.icv_len().is_none()) {
        let error = Suite::esp(encryption, None).unwrap_err();
        assert_eq!(error, SuiteError::Unauthenticated(encryption));
        assert_eq!(Suite::parse_esp(&encryption.to_string()), Err(error));
        assert_eq!(Suite::from_codes(encryption.code(), 0), None);
    }
}

#[test]
fn what_is_wrong_is_named_with_its_remedy() {
    for (text, error) in [
        (
            "aes128",
            "aes128 does not authenticate: write aes128-sha256",
        ),
        ("null", "null does not authenticate: write null-sha256"),
        ("aes128gcm16-sha256", "leave -sha256 out"),
        ("sha256", "write null-sha256"),
        ("aes128-sha256-sha512", "\"sha512\" is a second"),
        ("aes128-aes256-sha256", "\"aes256\" is a second"),
        ("des-sha256", "\"des\" is no transform"),
        ("aes128-modp2048", "\"modp2048\" is no transform"),
        ("aes512-sha256", "\"aes512\" is no transform"),
        ("aes128gcm10", "\"aes128gcm10\" is no transform"),
        ("", "\"\" is no transform"),
        ("aes128-", "\"\" is no transform"),
        ("aesß28", "is no transform"),
    ] {
        let found = Suite::parse_esp(text).unwrap_err().to_string();
        assert!(found.contains(error), "{text}: {found}");
    }
    for (text, error) in [
        ("aes128-sha256", "in place of aes128"),
        ("sha256-sha1", "\"sha1\" is a second"),
        ("rot13", "\"rot13\" is no transform"),
    ] {
        let found = Suite::parse_ah(text).unwrap_err().to_string();
        assert!(found.contains(error), "{text}: {found}");
    }
    let gmac = Integrity::AesGmac(AesKey::Bits128);
    let found = Suite::esp(Encryption::Null, Some(gmac)).unwrap_err();
    assert!(found.to_string().contains("write aes128gmac alone"));
}

#[test]
fn ikes_numbers_are_read_back() {
    for encryption in Encryption::all() {
        let (id, key_length) = encryption.ikev2();
        assert_eq!(Encryption::from_ikev2(id, key_length), Some(encryption));
        // A Key Length too many or too few is another transform, or none.
        let other = key_length.map_or(Some(128), |_| None);
        assert_eq!(Encryption::from_ikev2(id, other), None);
    }
    for integrity in Integrity::all() {
        assert_eq!(Integrity::from_ikev2(integrity.ikev2()), Some(integrity));
    }
    assert_eq!(Encryption::from_ikev2(12, Some(512)), None);
    assert_eq!(Encryption::from_ikev2(2, None), None, "DES");
    assert_eq!(Integrity::from_ikev2(0), None);
}

#[test]
fn only_3des_and_md5_are_legacy() {
    let legacy = |text| Suite::parse_esp(text).unwrap().is_legacy();
    assert!(legacy("3des-sha256") && legacy("aes128-md5") && legacy("null-md5"));
    let others = Suite::every_esp().filter(|s| !s.is_legacy());
    assert_eq!(others.count(), 22 + 7 * 6);
}
