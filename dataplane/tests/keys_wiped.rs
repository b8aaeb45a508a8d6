//! A transform that is dropped leaves no key behind in the heap.
//!
//! A binary of its own, because it replaces the global allocator by one that looks at what is freed.
//! It sees Rust's allocations only; aws-lc wipes its own whenever it frees them.

#![allow(unsafe_code)]

use adit_abi::{Integrity, Suite};
use adit_dataplane::crypto::{Job, Keys, Provider};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

const KEY_OCTET: u8 = 0xc7;

thread_local! {
    static FREED_KEYS: Cell<u64> = const { Cell::new(0) };
}

struct Watching;

// SAFETY: every call is handed on to `System`; memory is read only while the caller still owns it.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps `alloc`'s contract. Zeroed, so that all of it may be read below.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        let mut run = 0;
        for offset in 0..layout.size() {
            // SAFETY: `ptr` is good for `layout.size()` octets until it is handed back.
            let octet = unsafe { ptr.add(offset).read_volatile() };
            run = if octet == KEY_OCTET { run + 1 } else { 0 };
            if run == 16 {
                FREED_KEYS.set(FREED_KEYS.get() + 1);
            }
        }
        // SAFETY: `ptr` came from `System` with this layout.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static WATCHING: Watching = Watching;

#[test]
fn a_dropped_transform_leaves_no_key_in_the_heap() {
    let key = [KEY_OCTET; 64];
    for suite in Suite::every_esp() {
        for provider in [Provider::Reference, Provider::Fast] {
            let keys = Keys {
                enc: &key[..suite.enc_key_len()],
                auth: &key[..suite.auth_key_len()],
            };
            let before = FREED_KEYS.get();
            let transform = provider.transform(suite, keys, false).expect("keys");
            let mut packet = [0; 128];
            let len = 8 + suite.iv_len() + 64 + suite.icv_len();
            let mut jobs = [Job::new(&mut packet[..len], 1)];
            transform.seal(&mut jobs);
            assert!(jobs[0].ok);
            drop(transform);
            assert_eq!(FREED_KEYS.get(), before, "{provider:?} {suite}");
        }
    }
    for integrity in Integrity::all() {
        for provider in [Provider::Reference, Provider::Fast] {
            let key = &key[..integrity.key_len()];
            let before = FREED_KEYS.get();
            let authenticator = provider.authenticator(integrity, key, true).expect("a key");
            let mut icv = [0; 32];
            let icv = &mut icv[..integrity.icv_len()];
            assert!(authenticator.sign(&[&[1; 70], &[2; 33]], 1, icv));
            drop(authenticator);
            assert_eq!(FREED_KEYS.get(), before, "{provider:?} {integrity}");
        }
    }
    let before = FREED_KEYS.get();
    drop(std::hint::black_box(Box::new(key)));
    assert!(
        FREED_KEYS.get() > before,
        "the allocator sees a key that is not wiped"
    );
}
