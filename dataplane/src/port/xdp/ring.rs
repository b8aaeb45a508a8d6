//! One end of a ring that the kernel holds the other end of.
//!
//! The cursors count descriptors since the ring was made and wrap at 2^32; a slot is a cursor modulo
//! the ring's size, a power of two. Each end keeps its own cursor and the last value it saw of the
//! other one, and looks again only when that says there is too little.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::net::xdp::XdpRingFlags;

/// Where the parts of a ring lie. Everything points into memory shared with the other end.
pub(super) struct Layout<T> {
    pub producer: NonNull<AtomicU32>,
    pub consumer: NonNull<AtomicU32>,
    pub flags: NonNull<AtomicU32>,
    pub slots: NonNull<T>,
    /// How many slots; a power of two.
    pub size: u32,
}

impl<T: Copy> Layout<T> {
    fn producer(&self) -> &AtomicU32 {
        // SAFETY: the ends of the ring are made by `unsafe` constructors whose callers promise that
        // the layout is valid for as long as they exist.
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as in `producer`.
        unsafe { self.consumer.as_ref() }
    }

    fn needs_wakeup(&self) -> bool {
        // SAFETY: as in `producer`.
        let flags = unsafe { self.flags.as_ref() }.load(Ordering::Relaxed);
        flags & XdpRingFlags::XDP_RING_NEED_WAKEUP.bits() != 0
    }

    fn slot(&self, cursor: u32) -> *mut T {
        // SAFETY: the masked cursor is less than `size`.
        unsafe { self.slots.as_ptr().add((cursor & (self.size - 1)) as usize) }
    }
}

/// Our end of a ring that the kernel consumes: fill and transmit.
pub(super) struct Producer<T> {
    layout: Layout<T>,
    /// Next slot to write; slots from the shared cursor up to here are not published yet.
    produced: u32,
    /// The consumer's cursor as last seen.
    consumed: u32,
}

// SAFETY: the layout's memory belongs to whoever owns the two ends, not to a thread.
unsafe impl<T: Send> Send for Producer<T> {}

impl<T: Copy> Producer<T> {
    /// # Safety
    /// `layout` is valid for as long as this end exists, its size is a power of two, and no one else
    /// produces into the ring.
    pub unsafe fn new(layout: Layout<T>) -> Producer<T> {
        debug_assert!(layout.size.is_power_of_two());
        let produced = layout.producer().load(Ordering::Relaxed);
        let consumed = layout.consumer().load(Ordering::Acquire);
        Producer {
            layout,
            produced,
            consumed,
        }
    }

    /// Free slots; looks at the consumer's cursor only if there seem to be fewer than `wanted`.
    pub fn free(&mut self, wanted: u32) -> u32 {
        if self.layout.size - self.in_use() < wanted {
            self.refresh();
        }
        self.layout.size - self.in_use()
    }

    /// Writes one slot, unseen by the consumer until [`Producer::publish`]; false when the ring is full.
    #[must_use]
    pub fn push(&mut self, value: T) -> bool {
        if self.free(1) == 0 {
            return false;
        }
        // SAFETY: the slot lies in the ring, and the consumer has passed it and does not look at it
        // before the producer's cursor says so.
        unsafe { self.layout.slot(self.produced).write(value) };
        self.produced = self.produced.wrapping_add(1);
        true
    }

    /// Shows the consumer everything that was pushed.
    pub fn publish(&mut self) {
        // Release: the slots are written before the cursor moves.
        self.layout
            .producer()
            .store(self.produced, Ordering::Release);
    }

    /// Slots that were pushed and that the consumer has not taken.
    pub fn pending(&mut self) -> u32 {
        self.refresh();
        self.in_use()
    }

    /// Whether the consumer sleeps until it is woken by a system call.
    pub fn needs_wakeup(&self) -> bool {
        self.layout.needs_wakeup()
    }

    fn refresh(&mut self) {
        // Acquire: the consumer has read a slot before we write it again.
        self.consumed = self.layout.consumer().load(Ordering::Acquire);
    }

    fn in_use(&self) -> u32 {
        // Never more than the size unless the other end went mad; then the ring is simply full.
        self.produced
            .wrapping_sub(self.consumed)
            .min(self.layout.size)
    }
}

/// Our end of a ring that the kernel produces into: receive and completion.
pub(super) struct Consumer<T> {
    layout: Layout<T>,
    /// Next slot to read; slots from the shared cursor up to here were read and not released yet.
    consumed: u32,
    /// The producer's cursor as last seen.
    produced: u32,
}

// SAFETY: as for `Producer`.
unsafe impl<T: Send> Send for Consumer<T> {}

impl<T: Copy> Consumer<T> {
    /// # Safety
    /// `layout` is valid for as long as this end exists, its size is a power of two, no one else
    /// consumes from the ring, and every bit pattern of a slot is a `T`.
    pub unsafe fn new(layout: Layout<T>) -> Consumer<T> {
        debug_assert!(layout.size.is_power_of_two());
        let consumed = layout.consumer().load(Ordering::Relaxed);
        let produced = layout.producer().load(Ordering::Acquire);
        Consumer {
            layout,
            consumed,
            produced,
        }
    }

    /// Reads one slot, which the producer may not write again until [`Consumer::release`].
    pub fn pop(&mut self) -> Option<T> {
        if self.produced == self.consumed {
            // Acquire: the slots are read after the cursor that covers them.
            self.produced = self.layout.producer().load(Ordering::Acquire);
            if self.produced == self.consumed {
                return None;
            }
        }
        // SAFETY: the slot lies in the ring, and the producer wrote it before its cursor passed it and
        // leaves it alone until ours does.
        let value = unsafe { self.layout.slot(self.consumed).read() };
        self.consumed = self.consumed.wrapping_add(1);
        Some(value)
    }

    /// Gives every slot that was read back to the producer.
    pub fn release(&mut self) {
        // Release: the slots are read before the cursor moves.
        self.layout
            .consumer()
            .store(self.consumed, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::UnsafeCell;
    use std::collections::VecDeque;

    use super::*;

    /// Ring memory without a kernel, with the cursors at any place to start.
    struct Memory {
        producer: AtomicU32,
        consumer: AtomicU32,
        flags: AtomicU32,
        slots: Vec<UnsafeCell<u64>>,
    }

    impl Memory {
        fn starting_at(cursor: u32, size: u32) -> Memory {
            Memory {
                producer: AtomicU32::new(cursor),
                consumer: AtomicU32::new(cursor),
                flags: AtomicU32::new(0),
                slots: (0..size).map(|_| UnsafeCell::new(u64::MAX)).collect(),
            }
        }

        fn layout(&self) -> Layout<u64> {
            Layout {
                producer: NonNull::from(&self.producer),
                consumer: NonNull::from(&self.consumer),
                flags: NonNull::from(&self.flags),
                slots: NonNull::new(self.slots[0].get()).unwrap(),
                size: self.slots.len() as u32,
            }
        }

        fn ends(&self) -> (Producer<u64>, Consumer<u64>) {
            // SAFETY: the tests keep the memory until both ends are gone, and make them once.
            unsafe { (Producer::new(self.layout()), Consumer::new(self.layout())) }
        }
    }

    /// What the ring is to do, said with a queue.
    #[derive(Default)]
    struct Oracle {
        pushed: VecDeque<u64>,
        visible: VecDeque<u64>,
        unreleased: usize,
    }

    impl Oracle {
        fn in_use(&self) -> usize {
            self.pushed.len() + self.visible.len() + self.unreleased
        }
    }

    /// Every sequence of `STEPS` operations on a ring of `size` slots whose cursors start at `cursor`.
    fn every_sequence(cursor: u32, size: u32) {
        const STEPS: u32 = 8;
        for sequence in 0..4u32.pow(STEPS) {
            let memory = Memory::starting_at(cursor, size);
            let (mut producer, mut consumer) = memory.ends();
            let mut oracle = Oracle::default();
            let mut next = 0;
            for step in 0..STEPS {
                match sequence >> (2 * step) & 3 {
                    0 => {
                        let fits = oracle.in_use() < size as usize;
                        assert_eq!(producer.push(next), fits, "{sequence:b} at {step}");
                        if fits {
                            oracle.pushed.push_back(next);
                        }
                        next += 1;
                    }
                    1 => {
                        producer.publish();
                        oracle.visible.append(&mut oracle.pushed);
                    }
                    2 => {
                        let value = oracle.visible.pop_front();
                        assert_eq!(consumer.pop(), value, "{sequence:b} at {step}");
                        oracle.unreleased += usize::from(value.is_some());
                    }
                    _ => {
                        consumer.release();
                        oracle.unreleased = 0;
                    }
                }
                assert_eq!(
                    producer.pending() as usize,
                    oracle.in_use(),
                    "{sequence:b} at {step}"
                );
            }
        }
    }

    #[test]
    fn every_short_sequence_agrees_with_a_queue() {
        every_sequence(0, 2);
        every_sequence(0, 4);
    }

    #[test]
    fn cursors_wrap_where_32_bits_end() {
        every_sequence(u32::MAX - 1, 2);
        every_sequence(u32::MAX - 2, 4);
        every_sequence(i32::MAX as u32, 2);
    }

    #[test]
    fn two_threads_see_every_value_once_and_in_order() {
        const VALUES: u64 = 200_000;
        let memory = Memory::starting_at(u32::MAX - 1000, 64);
        let (mut producer, mut consumer) = memory.ends();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut next = 0;
                while next < VALUES {
                    if producer.push(next) {
                        next += 1;
                    } else {
                        std::thread::yield_now();
                    }
                    if next % 7 == 0 || next == VALUES || producer.free(1) == 0 {
                        producer.publish();
                    }
                }
            });
            let mut expected = 0;
            while expected < VALUES {
                match consumer.pop() {
                    Some(value) => {
                        assert_eq!(value, expected);
                        expected += 1;
                    }
                    None => std::thread::yield_now(),
                }
                consumer.release();
            }
        });
    }

    #[test]
    fn a_consumer_cursor_gone_mad_makes_a_full_ring_not_an_overrun() {
        let memory = Memory::starting_at(0, 4);
        let (mut producer, _consumer) = memory.ends();
        memory.consumer.store(12345, Ordering::Relaxed);
        assert_eq!(producer.pending(), 4);
        assert!(!producer.push(1));
    }

    #[test]
    fn wakeup_is_what_the_flags_say() {
        let memory = Memory::starting_at(0, 4);
        let (producer, _consumer) = memory.ends();
        assert!(!producer.needs_wakeup());
        memory.flags.store(1, Ordering::Relaxed);
        assert!(producer.needs_wakeup());
    }
}
