//! Ports joined by queues in memory, for tests, simulations and benches without privileges.
//!
//! A [`MemoryPort`] works as an AF_XDP port does: a frame it sends stays with the port until the
//! far end has copied it out, and comes back to the sender's stock by `reclaim`. [`Wire`] is a far end
//! for a test's own hands.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use super::{Port, PortStatistics};
use crate::frame::{Burst, Frame, Stock, Umem};

/// One direction of a cable.
struct Lane {
    /// Sent and not yet received.
    under_way: ArrayQueue<Frame>,
    /// Received, to go back to the sender.
    spent: ArrayQueue<Frame>,
}

impl Lane {
    fn new(capacity: usize) -> Arc<Lane> {
        Arc::new(Lane {
            under_way: ArrayQueue::new(capacity),
            spent: ArrayQueue::new(capacity),
        })
    }
}

/// One end of a cable in memory.
pub struct MemoryPort {
    outgoing: Arc<Lane>,
    incoming: Arc<Lane>,
    /// Frames of ours on the outgoing lane, under way or spent.
    outstanding: usize,
    statistics: PortStatistics,
}

impl MemoryPort {
    /// Both ends of a cable that holds `capacity` frames in each direction.
    pub fn pair(capacity: usize) -> (MemoryPort, MemoryPort) {
        let (there, back) = (Lane::new(capacity), Lane::new(capacity));
        let end = |outgoing: &Arc<Lane>, incoming: &Arc<Lane>| MemoryPort {
            outgoing: Arc::clone(outgoing),
            incoming: Arc::clone(incoming),
            outstanding: 0,
            statistics: PortStatistics::default(),
        };
        (end(&there, &back), end(&back, &there))
    }

    /// A port and the far end of its cable in the hands of a test, which gets `capacity` frames of
    /// `umem` to inject from.
    pub fn with_wire(umem: &'static Umem, capacity: u32) -> (MemoryPort, Wire) {
        let (port, far) = MemoryPort::pair(capacity as usize);
        let stock = umem.stock(capacity);
        (port, Wire { port: far, stock })
    }

    /// Frames sent and not yet taken back.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }
}

impl Port for MemoryPort {
    fn receive(&mut self, stock: &mut Stock, burst: &mut Burst) -> usize {
        let before = burst.len();
        while !burst.is_full() {
            let Some(theirs) = self.incoming.under_way.pop() else {
                break;
            };
            match stock.take() {
                None => self.statistics.fill_ring_empty += 1,
                Some(mut ours) => {
                    if ours.fill(theirs.bytes()) {
                        self.statistics.received += 1;
                        self.statistics.received_bytes += ours.len() as u64;
                        burst.push(ours);
                    } else {
                        self.statistics.receive_dropped += 1;
                        stock.put(ours);
                    }
                }
            }
            // The sender never has more frames outstanding than this queue holds.
            let _ = self.incoming.spent.push(theirs);
        }
        burst.len() - before
    }

    fn transmit(&mut self, burst: &mut Burst, stock: &mut Stock) -> usize {
        self.reclaim(stock);
        let room = self.outgoing.under_way.capacity() - self.outstanding;
        let count = room.min(burst.len());
        for frame in burst.drain(..count) {
            self.statistics.sent += 1;
            self.statistics.sent_bytes += frame.len() as u64;
            self.outstanding += 1;
            // `outstanding` bounds what is in this queue.
            let _ = self.outgoing.under_way.push(frame);
        }
        count
    }

    fn reclaim(&mut self, stock: &mut Stock) {
        while let Some(frame) = self.outgoing.spent.pop() {
            self.outstanding -= 1;
            stock.put(frame);
        }
    }

    fn flush(&mut self) {}

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn statistics(&self) -> PortStatistics {
        self.statistics
    }
}

/// The far end of a [`MemoryPort`]'s cable, driven by a test.
pub struct Wire {
    port: MemoryPort,
    stock: Stock,
}

impl Wire {
    /// Sends one Ethernet frame to the port; false if the cable is full or the frame too long.
    #[must_use]
    pub fn inject(&mut self, bytes: &[u8]) -> bool {
        self.port.reclaim(&mut self.stock);
        let Some(mut frame) = self.stock.take() else {
            return false;
        };
        let mut burst = Burst::new();
        if frame.fill(bytes) {
            burst.push(frame);
            self.port.transmit(&mut burst, &mut self.stock);
        } else {
            self.stock.put(frame);
            return false;
        }
        let sent = burst.is_empty();
        self.stock.put_all(&mut burst);
        sent
    }

    /// Everything the port has sent since the last call, in order.
    pub fn drain(&mut self) -> Vec<Vec<u8>> {
        let lane = &self.port.incoming;
        std::iter::from_fn(|| {
            let frame = lane.under_way.pop()?;
            let bytes = frame.bytes().to_vec();
            // The sender never has more frames outstanding than this queue holds.
            let _ = lane.spent.push(frame);
            Some(bytes)
        })
        .collect()
    }

    /// What was counted at this far end.
    pub fn statistics(&self) -> PortStatistics {
        self.port.statistics()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{ChunkSize, HugePages};

    fn umem(chunks: u32) -> &'static Umem {
        Umem::new(chunks, ChunkSize::K2, HugePages::Off).unwrap()
    }

    #[test]
    fn what_is_injected_is_received_and_what_is_sent_is_drained() {
        let umem = umem(16);
        let mut stock = umem.stock(8);
        let (mut port, mut wire) = MemoryPort::with_wire(umem, 4);
        assert!(wire.inject(b"one") && wire.inject(b"two"));
        let mut burst = Burst::new();
        assert_eq!(port.receive(&mut stock, &mut burst), 2);
        assert_eq!(burst[0].bytes(), b"one");
        assert_eq!(port.transmit(&mut burst, &mut stock), 2);
        assert_eq!(wire.drain(), [b"one".to_vec(), b"two".to_vec()]);
        port.reclaim(&mut stock);
        assert_eq!((stock.len(), port.outstanding()), (8, 0));
        assert_eq!((port.statistics().received, port.statistics().sent), (2, 2));
    }

    #[test]
    fn frames_that_do_not_fit_stay_in_the_burst_in_their_order() {
        let umem = umem(16);
        let mut stock = umem.stock(16);
        let (mut near, _far) = MemoryPort::pair(3);
        let mut burst = Burst::new();
        for n in 0..5u8 {
            let mut frame = stock.take().unwrap();
            assert!(frame.fill(&[n]));
            burst.push(frame);
        }
        assert_eq!(near.transmit(&mut burst, &mut stock), 3);
        let left: Vec<u8> = burst.iter().map(|frame| frame.bytes()[0]).collect();
        assert_eq!(left, [3, 4]);
        assert_eq!(near.transmit(&mut burst, &mut stock), 0);
    }

    #[test]
    fn a_dry_stock_loses_frames_and_counts_them() {
        let umem = umem(4);
        let mut stock = umem.stock(1);
        let (mut port, mut wire) = MemoryPort::with_wire(umem, 3);
        assert!(wire.inject(b"a") && wire.inject(b"b"));
        let mut burst = Burst::new();
        assert_eq!(port.receive(&mut stock, &mut burst), 1);
        assert_eq!(port.statistics().fill_ring_empty, 1);
    }

    #[test]
    fn an_overlong_injection_is_refused() {
        let umem = umem(4);
        let (_port, mut wire) = MemoryPort::with_wire(umem, 4);
        assert!(!wire.inject(&[0; 2048]));
        assert!(wire.inject(&[0; 1792]));
    }
}
