//! Ports: where frames come in and go out.
//!
//! Everything above this module sees Ethernet frames and the [`Port`] trait. [`xdp`] is a port over
//! AF_XDP sockets, [`tun`] one over a TUN device, [`memory`] one without a kernel behind it. [`fault`] and
//! [`recording`] wrap any of them: with an unreliable wire, and with a capture file.

pub mod fault;
pub mod memory;
pub mod recording;
pub mod tun;
pub mod xdp;

use std::os::fd::BorrowedFd;

use crate::frame::{Burst, Stock};

/// A source and sink of Ethernet frames, owned by one worker.
///
/// No method blocks. A frame is at any time in the worker's stock, in a burst, or held by the port.
pub trait Port {
    /// Appends received frames to `burst`, as many as are there and fit; returns how many.
    fn receive(&mut self, stock: &mut Stock, burst: &mut Burst) -> usize;

    /// Takes frames from the front of `burst` for sending; returns how many.
    ///
    /// What does not fit stays in the burst in its order, and is the caller's to drop and count.
    /// Frames that were sent earlier go back to `stock` where that makes room.
    fn transmit(&mut self, burst: &mut Burst, stock: &mut Stock) -> usize;

    /// Takes back frames that were sent, and offers free ones for receiving.
    fn reclaim(&mut self, stock: &mut Stock);

    /// Wakes the kernel if it asked for that; call it once per turn of the worker's loop.
    fn flush(&mut self);

    /// What to poll for readability while idle; `None` if there is nothing to wait for.
    fn poll_fd(&self) -> Option<BorrowedFd<'_>>;

    /// What was counted since the port was opened.
    fn statistics(&self) -> PortStatistics;
}

impl<P: Port + ?Sized> Port for Box<P> {
    fn receive(&mut self, stock: &mut Stock, burst: &mut Burst) -> usize {
        (**self).receive(stock, burst)
    }

    fn transmit(&mut self, burst: &mut Burst, stock: &mut Stock) -> usize {
        (**self).transmit(burst, stock)
    }

    fn reclaim(&mut self, stock: &mut Stock) {
        (**self).reclaim(stock);
    }

    fn flush(&mut self) {
        (**self).flush();
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        (**self).poll_fd()
    }

    fn statistics(&self) -> PortStatistics {
        (**self).statistics()
    }
}

/// For a port around another one, in its field of this name: what it does not change goes straight on.
macro_rules! the_rest_goes_on_to {
    ($port:ident) => {
        fn reclaim(&mut self, stock: &mut $crate::frame::Stock) {
            self.$port.reclaim(stock);
        }

        fn flush(&mut self) {
            self.$port.flush();
        }

        fn poll_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
            self.$port.poll_fd()
        }

        fn statistics(&self) -> $crate::port::PortStatistics {
            self.$port.statistics()
        }
    };
}
use the_rest_goes_on_to;

/// What a port counted since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStatistics {
    /// Frames received.
    pub received: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Frames taken for sending.
    pub sent: u64,
    /// Bytes taken for sending.
    pub sent_bytes: u64,
    /// Frames that arrived and were lost for another reason than the next two.
    pub receive_dropped: u64,
    /// Frames lost because the receive ring was full: the worker was too slow.
    pub receive_ring_full: u64,
    /// Times a frame arrived and there was no free one to put it in: the stock ran dry.
    pub fill_ring_empty: u64,
    /// Descriptors the kernel refused, in either direction: a fault of ours.
    pub invalid_descriptors: u64,
    /// System calls that failed in a way that may pass: the link is down, no buffers.
    pub transient_errors: u64,
}
