//! A global allocator that looks for keys in what is freed; for test binaries that hold nothing else.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// A key in these tests is one of these octets, again and again; the others are a key's digits and what they stand for.
pub const KEY_OCTETS: [u8; 3] = [0xc7, b'7', 0x77];

thread_local! {
    static FREED_KEYS: Cell<u64> = const { Cell::new(0) };
}

/// How often this thread has freed memory with a key in it.
pub fn freed_keys() -> u64 {
    FREED_KEYS.get()
}

struct Watching;

// SAFETY: every call is handed on to `System`; memory is read only while the caller still owns it.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps `alloc`'s contract. Zeroed, so that all of it may be read below.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        let (mut run, mut last) = (0, 0);
        for offset in 0..layout.size() {
            // SAFETY: `ptr` is good for `layout.size()` octets until it is handed back.
            let octet = unsafe { ptr.add(offset).read_volatile() };
            run = match KEY_OCTETS.contains(&octet) {
                true if octet == last => run + 1,
                true => 1,
                false => 0,
            };
            last = octet;
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
