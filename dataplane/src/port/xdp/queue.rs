//! The port over one queue of an interface.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::sockopt::xdp_statistics;
use rustix::net::xdp::{XdpDesc, XdpDescOptions};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::socket::Socket;
use crate::frame::{BURST, Burst, Frame, Stock, Umem};
use crate::port::{Port, PortStatistics};

/// Frames that refilling leaves in a stock, for packets the worker makes itself.
pub(super) const RESERVE: usize = BURST;

/// One queue of one interface, with its own four rings on the UMEM shared by all.
///
/// The rings are empty at first: [`Port::reclaim`] or [`Port::receive`] with the stock of the worker
/// that owns the port fills them. Frames that the kernel holds when the port is dropped are gone for the
/// rest of the process's life, because the kernel may still write into them.
pub struct XdpPort {
    socket: Socket,
    umem: &'static Umem,
    ifindex: u32,
    queue: u32,
    /// Most frames to keep there for receiving.
    share: u32,
    /// Frames of ours in the fill ring, in the kernel or in the receive ring.
    posted: u32,
    /// Frames of ours in the transmit ring, in the kernel or in the completion ring.
    sending: u32,
    statistics: PortStatistics,
}

impl XdpPort {
    pub(super) fn new(
        socket: Socket,
        umem: &'static Umem,
        ifindex: u32,
        queue: u32,
        share: u32,
    ) -> XdpPort {
        XdpPort {
            share: share.min(socket.slots),
            socket,
            umem,
            ifindex,
            queue,
            posted: 0,
            sending: 0,
            statistics: PortStatistics::default(),
        }
    }

    /// The interface's number in its network namespace.
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// The queue's number, from 0.
    pub fn queue(&self) -> u32 {
        self.queue
    }

    /// Frames that the kernel or a ring holds: to receive into, and to be sent.
    pub fn in_kernel(&self) -> (u32, u32) {
        (self.posted, self.sending)
    }

    /// A frame of what the kernel gave back; a descriptor it never got from us is counted, not trusted.
    fn returned(&mut self, address: u64, len: u32) -> Option<Frame> {
        // SAFETY: the kernel returns each address that was given to it by `into_address` once, by the
        // receive or the completion ring, and has then done with the chunk.
        let frame = unsafe { self.umem.frame(address, len) };
        self.statistics.invalid_descriptors += u64::from(frame.is_none());
        frame
    }

    /// Offers free frames to receive into.
    fn refill(&mut self, stock: &mut Stock) {
        let spare = stock.len().saturating_sub(RESERVE) as u32;
        let count = spare.min(self.share.saturating_sub(self.posted));
        if count == 0 {
            return;
        }
        let fill = &mut self.socket.rings.fill;
        for _ in 0..count.min(fill.free(count)) {
            let Some(frame) = stock.take() else { break };
            // There is room, as was just asked.
            let _ = fill.push(frame.into_address());
            self.posted += 1;
        }
        fill.publish();
    }

    /// Takes back what was sent.
    fn complete(&mut self, stock: &mut Stock) {
        if self.sending == 0 {
            return;
        }
        while let Some(address) = self.socket.rings.completion.pop() {
            self.sending = self.sending.saturating_sub(1);
            if let Some(frame) = self.returned(address, 0) {
                stock.put(frame);
            }
        }
        self.socket.rings.completion.release();
    }

    /// In copy mode the kernel sends a few dozen frames per call and only when called.
    fn wake_transmit(&mut self) {
        let mut pending = self.socket.rings.transmit.pending();
        while pending > 0 && self.socket.rings.transmit.needs_wakeup() {
            match send(&self.socket, &[], SendFlags::DONTWAIT) {
                // AGAIN: the budget of this call is spent, or the queue below is full.
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => self.statistics.transient_errors += 1,
            }
            let left = self.socket.rings.transmit.pending();
            if left == pending {
                // No progress: the next turn of the loop tries again.
                return;
            }
            pending = left;
        }
    }

    fn wake_fill(&mut self) {
        if self.posted > 0 && self.socket.rings.fill.needs_wakeup() {
            match recv(&self.socket, &mut [0u8; 0], RecvFlags::DONTWAIT) {
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => self.statistics.transient_errors += 1,
            }
        }
    }
}

impl Port for XdpPort {
    fn receive(&mut self, stock: &mut Stock, burst: &mut Burst) -> usize {
        let before = burst.len();
        while !burst.is_full() {
            let Some(descriptor) = self.socket.rings.receive.pop() else {
                break;
            };
            self.posted = self.posted.saturating_sub(1);
            if let Some(frame) = self.returned(descriptor.addr, descriptor.len) {
                self.statistics.received += 1;
                self.statistics.received_bytes += u64::from(descriptor.len);
                burst.push(frame);
            }
        }
        let received = burst.len() - before;
        if received > 0 {
            self.socket.rings.receive.release();
        }
        self.refill(stock);
        received
    }

    fn transmit(&mut self, burst: &mut Burst, stock: &mut Stock) -> usize {
        self.complete(stock);
        let room = self.socket.rings.transmit.free(burst.len() as u32);
        // The completion ring must have a place for everything under way.
        let count = room
            .min(self.socket.slots - self.sending)
            .min(burst.len() as u32) as usize;
        for frame in burst.drain(..count) {
            if frame.is_empty() {
                // The kernel skips an empty descriptor and never completes it.
                self.statistics.invalid_descriptors += 1;
                stock.put(frame);
                continue;
            }
            let len = frame.len() as u32;
            // There is room, as was just asked.
            let _ = self.socket.rings.transmit.push(XdpDesc {
                addr: frame.into_address(),
                len,
                options: XdpDescOptions::empty(),
            });
            self.sending += 1;
            self.statistics.sent += 1;
            self.statistics.sent_bytes += u64::from(len);
        }
        self.socket.rings.transmit.publish();
        count
    }

    fn reclaim(&mut self, stock: &mut Stock) {
        self.complete(stock);
        self.refill(stock);
    }

    fn flush(&mut self) {
        self.wake_transmit();
        self.wake_fill();
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }

    fn statistics(&self) -> PortStatistics {
        let mut statistics = self.statistics;
        if let Ok(kernel) = xdp_statistics(&self.socket) {
            statistics.receive_dropped += kernel.rx_dropped;
            statistics.receive_ring_full += kernel.rx_ring_full.unwrap_or(0);
            statistics.fill_ring_empty += kernel.rx_fill_ring_empty_descs.unwrap_or(0);
            statistics.invalid_descriptors += kernel.rx_invalid_descs + kernel.tx_invalid_descs;
        }
        statistics
    }
}

impl AsFd for XdpPort {
    /// The socket, to be put in the steering program's map and to be polled.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
