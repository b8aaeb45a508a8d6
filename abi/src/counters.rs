//! One worker's counters in the state region. Written by that worker alone, so adding needs no lock.

use crate::drop_reason::DropReason;
use crate::layout::MAX_PORTS;
use crate::sync::{AtomicU64, Ordering};

/// Where the worker's own counters begin, after the drop counters.
const WORKER_START: usize = DropReason::CAPACITY;
/// Where the counters of ports begin.
const PORT_START: usize = WORKER_START + 32;
/// Counters of one port.
const PORT_WORDS: usize = 6;

/// Counters of a worker besides its drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum WorkerCounter {
    /// Bursts handled.
    Bursts = 0,
    /// Packets sealed.
    Sealed = 1,
    /// Bytes of inner packets sealed.
    SealedBytes = 2,
    /// Packets opened and admitted.
    Opened = 3,
    /// Bytes of inner packets opened and admitted.
    OpenedBytes = 4,
    /// Packets forwarded in clear under BYPASS.
    Bypassed = 5,
    /// Packets handed to the kernel.
    ToHost = 6,
    /// ICMP errors sent.
    IcmpSent = 7,
    /// TCP MSS options lowered.
    MssClamped = 8,
    /// Flow cache hits.
    FlowHits = 9,
    /// Flow cache misses.
    FlowMisses = 10,
    /// NAT keepalives sent.
    KeepalivesSent = 11,
    /// `CLOCK_BOOTTIME` nanoseconds of the worker's last turn: its heartbeat.
    Heartbeat = 12,
    /// Free frames in the worker's stock when last looked at.
    FreeFrames = 13,
    /// Fragments made, beyond the packets they were cut from.
    Fragments = 14,
    /// Outer packets put together from fragments.
    Reassembled = 15,
    /// Fragments handed to the worker that puts their packet together.
    HandedOver = 16,
    /// Bytes of outer fragments held when last looked at.
    ReassemblyBytes = 17,
    /// Path MTUs learned from ICMP messages.
    PathMtuLearned = 18,
    /// Fragments that the packets put together came in.
    ReassembledFrom = 19,
    /// Dummy packets sent (RFC 4303 §2.6).
    DummiesSent = 20,
    /// Packets whose inner and outer ECN fields no tunnel makes, and which are always dangerous: `(!!!)` in RFC 6040
    /// figure 4.
    EcnInvalid = 21,
    /// The same for possibly dangerous ones: `(!)`.
    EcnUnusual = 22,
}

/// Counters of one port on one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PortCounter {
    /// Packets received.
    ReceivedPackets = 0,
    /// Bytes of frames received.
    ReceivedBytes = 1,
    /// Packets sent.
    SentPackets = 2,
    /// Bytes of frames sent.
    SentBytes = 3,
    /// Frames that the kernel dropped because no buffer was ready.
    ReceiveOverruns = 4,
    /// Frames lost to a full receive ring or invalid descriptors.
    ReceiveErrors = 5,
}

const _: () = assert!(PORT_START + MAX_PORTS * PORT_WORDS <= crate::layout::WORKER_WORDS);

/// View of one worker's counters.
#[derive(Clone, Copy)]
pub struct WorkerCounters<'a> {
    words: &'a [AtomicU64],
}

impl<'a> WorkerCounters<'a> {
    pub(crate) fn new(words: &'a [AtomicU64]) -> Self {
        Self { words }
    }

    fn get(&self, at: usize) -> u64 {
        self.words.get(at).map_or(0, |w| w.load(Ordering::Relaxed))
    }

    /// One writer: a plain load and store is enough and costs no locked instruction.
    #[inline]
    fn bump(&self, at: usize, n: u64) {
        if let Some(w) = self.words.get(at) {
            w.store(w.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
        }
    }

    /// Counts `n` drops. Only the worker itself may call this.
    #[inline]
    pub fn dropped(&self, reason: DropReason, n: u64) {
        self.bump(reason as usize, n);
    }

    /// Drops so far for a reason.
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.get(reason as usize)
    }

    /// Adds to a counter. Only the worker itself may call this.
    #[inline]
    pub fn add(&self, counter: WorkerCounter, n: u64) {
        self.bump(WORKER_START + counter as usize, n);
    }

    /// Sets a gauge. Only the worker itself may call this.
    #[inline]
    pub fn set(&self, counter: WorkerCounter, n: u64) {
        if let Some(w) = self.words.get(WORKER_START + counter as usize) {
            w.store(n, Ordering::Relaxed);
        }
    }

    /// The counter's value.
    pub fn value(&self, counter: WorkerCounter) -> u64 {
        self.get(WORKER_START + counter as usize)
    }

    /// Adds to a port's counter; ports past [`MAX_PORTS`] are ignored. Only the worker itself may call this.
    #[inline]
    pub fn add_port(&self, port: usize, counter: PortCounter, n: u64) {
        if port < MAX_PORTS {
            self.bump(PORT_START + port * PORT_WORDS + counter as usize, n);
        }
    }

    /// Sets a port's counter, for those that mirror the kernel's. Only the worker itself may call this.
    pub fn set_port(&self, port: usize, counter: PortCounter, n: u64) {
        if port < MAX_PORTS
            && let Some(w) = self
                .words
                .get(PORT_START + port * PORT_WORDS + counter as usize)
        {
            w.store(n, Ordering::Relaxed);
        }
    }

    /// A port's counter.
    pub fn port_value(&self, port: usize, counter: PortCounter) -> u64 {
        if port < MAX_PORTS {
            self.get(PORT_START + port * PORT_WORDS + counter as usize)
        } else {
            0
        }
    }
}
