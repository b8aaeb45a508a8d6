//! A worker's ports and the bursts that wait to be sent through them.

use adit_abi::{DropReason, MAX_PORTS, PortCounter, Side};

use crate::frame::{Burst, Frame};
use crate::ledger::Ledger;
use crate::port::Port;

/// One port as a worker owns it.
pub struct WorkerPort {
    /// Number of the port in the policy region.
    pub number: u8,
    /// Its side.
    pub side: Side,
    /// Where its frames go and come from.
    pub port: Box<dyn Port + Send>,
}

/// All ports of a worker.
pub struct Ports {
    ports: Vec<WorkerPort>,
    outgoing: Vec<Burst>,
    /// Place in `ports` by port number.
    by_number: [Option<u8>; MAX_PORTS],
    host: Option<usize>,
}

impl Ports {
    /// Takes over a worker's ports. Of two with one number the first is used.
    pub fn new(ports: Vec<WorkerPort>) -> Self {
        let mut by_number = [None; MAX_PORTS];
        for (at, port) in ports.iter().enumerate() {
            if let Some(place @ None) = by_number.get_mut(port.number as usize) {
                *place = Some(at as u8);
            }
        }
        Self {
            outgoing: ports.iter().map(|_| Burst::new()).collect(),
            host: ports.iter().position(|p| p.side == Side::Host),
            by_number,
            ports,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ports.len()
    }

    /// Number and side of the port in a place.
    pub fn identity(&self, at: usize) -> Option<(u8, Side)> {
        self.ports.get(at).map(|p| (p.number, p.side))
    }

    /// The ports in their places.
    pub fn iter(&self) -> impl Iterator<Item = &WorkerPort> {
        self.ports.iter()
    }

    /// Place of the port with a number.
    #[inline]
    pub fn place(&self, number: u8) -> Option<usize> {
        self.by_number
            .get(number as usize)
            .copied()
            .flatten()
            .map(usize::from)
    }

    /// Place of the host's port.
    #[inline]
    pub fn host(&self) -> Option<usize> {
        self.host
    }

    /// Receives a burst from the port in a place; returns how many frames came.
    pub fn receive(&mut self, at: usize, burst: &mut Burst, ledger: &mut Ledger<'_>) -> usize {
        let Some(port) = self.ports.get_mut(at) else {
            return 0;
        };
        let count = port.port.receive(ledger.stock, burst);
        if count > 0 {
            let bytes = burst.iter().map(|frame| frame.len() as u64).sum();
            let number = port.number as usize;
            let counters = &ledger.counters;
            counters.add_port(number, PortCounter::ReceivedPackets, count as u64);
            counters.add_port(number, PortCounter::ReceivedBytes, bytes);
        }
        count
    }

    /// Puts an Ethernet frame into the outgoing burst of the port in a place.
    #[inline]
    pub fn push(&mut self, at: usize, frame: Frame, ledger: &mut Ledger<'_>) {
        let Some(burst) = self.outgoing.get_mut(at) else {
            ledger.drop(frame, DropReason::NoPort);
            return;
        };
        burst.push(frame);
        if burst.is_full() {
            self.transmit(at, ledger);
        }
    }

    fn transmit(&mut self, at: usize, ledger: &mut Ledger<'_>) {
        let (Some(port), Some(burst)) = (self.ports.get_mut(at), self.outgoing.get_mut(at)) else {
            return;
        };
        let bytes_before: u64 = burst.iter().map(|frame| frame.len() as u64).sum();
        let count = port.port.transmit(burst, ledger.stock) as u64;
        let bytes_left: u64 = burst.iter().map(|frame| frame.len() as u64).sum();
        let number = port.number as usize;
        let counters = &ledger.counters;
        counters.add_port(number, PortCounter::SentPackets, count);
        counters.add_port(number, PortCounter::SentBytes, bytes_before - bytes_left);
        for frame in burst.drain(..) {
            ledger.drop(frame, DropReason::TransmitFull);
        }
    }

    /// Sends all outgoing bursts, takes sent frames back and wakes the kernel where it asked for that.
    pub fn finish_turn(&mut self, ledger: &mut Ledger<'_>) {
        for at in 0..self.ports.len() {
            if self.outgoing.get(at).is_some_and(|burst| !burst.is_empty()) {
                self.transmit(at, ledger);
            }
            if let Some(port) = self.ports.get_mut(at) {
                port.port.reclaim(ledger.stock);
                port.port.flush();
            }
        }
    }

    /// Copies what the ports themselves count into the worker's counters; may cost system calls.
    pub fn publish_statistics(&self, ledger: &mut Ledger<'_>) {
        for port in &self.ports {
            let s = port.port.statistics();
            let number = port.number as usize;
            let overruns = s.fill_ring_empty;
            let errors = s.receive_dropped + s.receive_ring_full + s.invalid_descriptors;
            let counters = &ledger.counters;
            counters.set_port(number, PortCounter::ReceiveOverruns, overruns);
            counters.set_port(number, PortCounter::ReceiveErrors, errors);
        }
    }
}
