//! Sealing and opening do not touch the heap.
//!
//! A binary of its own, because it replaces the global allocator.

#![allow(unsafe_code)]

use adit_abi::{Integrity, Suite};
use adit_dataplane::crypto::{Job, Keys, Provider};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting per thread so that the test harness's other threads do not count.
struct Counting;

// SAFETY: every call is handed on to `System` unchanged; the counter allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps `alloc`'s contract, which is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: `ptr` came from `System.alloc` with this layout.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn sealing_and_opening_a_burst_allocate_nothing() {
    for suite in Suite::each_esp_transform() {
        for provider in [Provider::Reference, Provider::Fast] {
            let (enc, auth) = (vec![1; suite.enc_key_len()], vec![2; suite.auth_key_len()]);
            let keys = Keys {
                enc: &enc,
                auth: &auth,
            };
            let transform = provider.transform(suite, keys, true).expect("keys");
            let len = 8 + suite.iv_len() + 1_424 + suite.icv_len();
            let mut packets = vec![vec![0; len]; 64];
            let mut jobs: Vec<Job<'_>> = (1..)
                .zip(&mut packets)
                .map(|(sequence, packet)| Job::new(packet, sequence))
                .collect();

            let before = ALLOCATIONS.get();
            transform.seal(&mut jobs);
            jobs[7].packet[30] ^= 1;
            transform.open(&mut jobs);
            assert_eq!(ALLOCATIONS.get(), before, "{provider:?} {suite}");

            assert_eq!(jobs.iter().filter(|job| job.ok).count(), 63);
        }
    }
    for integrity in Integrity::all() {
        for provider in [Provider::Reference, Provider::Fast] {
            let key = vec![2; integrity.key_len()];
            let authenticator = provider
                .authenticator(integrity, &key, true)
                .expect("a key");
            let mut icv = vec![0; integrity.icv_len()];
            let parts: [&[u8]; 3] = [&[1; 20], &[2; 12], &[3; 1_400]];
            let before = ALLOCATIONS.get();
            assert!(authenticator.sign(&parts, 1 << 40, &mut icv));
            assert!(authenticator.verify(&parts, 1 << 40, &icv));
            assert_eq!(ALLOCATIONS.get(), before, "{provider:?} {integrity}");
        }
    }
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(Box::new(0)));
    assert_eq!(ALLOCATIONS.get(), before + 2, "the counter counts");
}
