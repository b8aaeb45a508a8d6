//! A transform that is dropped leaves no key behind in the heap.
//!
//! A binary of its own, because it replaces the global allocator by one that looks at what is freed.
//! It sees Rust's allocations only; aws-lc wipes its own whenever it frees them.

mod watching;

use adit_abi::{Integrity, Suite};
use adit_dataplane::crypto::{Job, Keys, Provider};

use watching::freed_keys;

/// One of those that the allocator looks for.
const KEY_OCTET: u8 = watching::KEY_OCTETS[0];

#[test]
fn a_dropped_transform_leaves_no_key_in_the_heap() {
    let key = [KEY_OCTET; 64];
    for suite in Suite::every_esp() {
        for provider in [Provider::Reference, Provider::Fast] {
            let keys = Keys {
                enc: &key[..suite.enc_key_len()],
                auth: &key[..suite.auth_key_len()],
            };
            let before = freed_keys();
            let transform = provider.transform(suite, keys, false).expect("keys");
            let mut packet = [0; 128];
            let len = 8 + suite.iv_len() + 64 + suite.icv_len();
            let mut jobs = [Job::new(&mut packet[..len], 1)];
            transform.seal(&mut jobs);
            assert!(jobs[0].ok);
            drop(transform);
            assert_eq!(freed_keys(), before, "{provider:?} {suite}");
        }
    }
    for integrity in Integrity::all() {
        for provider in [Provider::Reference, Provider::Fast] {
            let key = &key[..integrity.key_len()];
            let before = freed_keys();
            let authenticator = provider.authenticator(integrity, key, true).expect("a key");
            let mut icv = [0; 32];
            let icv = &mut icv[..integrity.icv_len()];
            assert!(authenticator.sign(&[&[1; 70], &[2; 33]], 1, icv));
            drop(authenticator);
            assert_eq!(freed_keys(), before, "{provider:?} {integrity}");
        }
    }
    let before = freed_keys();
    drop(std::hint::black_box(Box::new(key)));
    assert!(
        freed_keys() > before,
        "the allocator sees a key that is not wiped"
    );
}
