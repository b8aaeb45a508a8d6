//! The way out: next hop, MTU, Ethernet header, outgoing bursts.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `fib` | ports, routes and neighbours, compiled |
//! | `hop_cache` | each worker's memory of look-ups |
//! | `waiting` | packets that wait for a neighbour |
//! | `ports` | ports and outgoing bursts |

pub mod fib;
pub mod hop_cache;
pub mod ports;
pub mod waiting;

use adit_abi::{Address, DropReason, Side, WorkerCounter};
use zerocopy::IntoBytes;
use zerocopy::byteorder::network_endian::U16;

use crate::clearance::Cleared;
use crate::fragment::Fragments;
use crate::frame::Frame;
use crate::headers::ethernet::{self, Ethernet};
use crate::icmp::Problem;
use crate::ledger::Ledger;
use crate::packet::{Packet, Refused};
use crate::turn::Turn;
use fib::{Fib, Hop, Wire};
use hop_cache::HopCache;
use ports::Ports;
use waiting::Waiting;

/// What a worker needs to send packets.
pub struct Forward {
    /// The worker's ports.
    pub ports: Ports,
    waiting: Waiting,
    hops: HopCache,
    /// Number of the snapshot in force, from 1.
    epoch: u64,
}

impl Forward {
    /// Over these ports, for frames of this size.
    pub fn new(ports: Ports, chunk: usize) -> Self {
        Self {
            ports,
            waiting: Waiting::new(chunk),
            hops: HopCache::default(),
            epoch: 1,
        }
    }

    /// Another snapshot is in force: nothing remembered holds any more.
    pub fn change_snapshot(&mut self) {
        self.epoch += 1;
    }

    /// Number of the snapshot in force: what was looked up under another is out of date.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Where a destination leads.
    #[inline]
    pub fn hop(&mut self, fib: &Fib, destination: &Address) -> Hop {
        self.hops.hop(self.epoch, fib, destination)
    }

    /// Forwards a cleared packet to where its destination address leads: counts the hop limit down, cuts
    /// the packet where it must and may be cut, and tells the sender where it cannot go on.
    ///
    /// `through_sa` says that the packet came through an SA.
    pub fn forward<T: Cleared>(&mut self, item: T, through_sa: bool, turn: &mut Turn<'_>) {
        let mut packet = item.into_packet();
        let hop = self.hop(&turn.snapshot.fib, &packet.destination);
        let wire = match hop {
            Hop::Wire(wire) => wire,
            Hop::Host { .. } => return self.hand_to_host(packet, &mut turn.ledger),
            Hop::Refused(DropReason::NoRoute) => {
                return turn.report(packet, DropReason::NoRoute, Problem::NoRoute, through_sa);
            }
            Hop::Refused(reason) => return turn.ledger.drop(packet.frame, reason),
        };
        // What the host sent was counted down there, if it is not the host's own.
        if packet.side != Side::Host {
            if packet.hop_limit() <= 1 {
                let problem = Problem::TimeExceeded;
                return turn.report(packet, DropReason::HopLimit, problem, through_sa);
            }
            packet.decrement_hop_limit();
        }
        let mtu = usize::from(wire.mtu);
        if packet.len() <= mtu {
            return self.put_on_wire(packet.frame, &wire, turn);
        }
        match Fragments::of(packet, mtu, &turn.ledger) {
            Ok(mut pieces) => {
                while let Some(piece) = pieces.next(&mut turn.ledger) {
                    self.put_on_wire(piece.frame, &wire, turn);
                }
                pieces.finish(&mut turn.ledger);
            }
            Err((packet, reason @ DropReason::TooBig)) => {
                turn.report(packet, reason, Problem::TooBig(mtu), through_sa);
            }
            Err((packet, reason)) => turn.ledger.drop(packet.frame, reason),
        }
    }

    /// Sends a cleared packet of the gateway's own to a hop looked up before.
    pub fn send<T: Cleared>(&mut self, item: T, wire: &Wire, turn: &mut Turn<'_>) {
        let packet = item.into_packet();
        if packet.len() > usize::from(wire.mtu) {
            // Its parts were measured against this very MTU, unless the SA's headers alone exceed it.
            return turn.ledger.drop(packet.frame, DropReason::TooBig);
        }
        self.put_on_wire(packet.frame, wire, turn);
    }

    /// Sends a cleared packet of the gateway's own that is larger than `mtu`, in fragments.
    #[cold]
    pub fn send_in_pieces<T: Cleared>(
        &mut self,
        item: T,
        wire: &Wire,
        mtu: u16,
        turn: &mut Turn<'_>,
    ) {
        match Fragments::of_own(item.into_packet(), mtu.into(), &turn.ledger) {
            Ok(mut pieces) => {
                while let Some(piece) = pieces.next(&mut turn.ledger) {
                    self.put_on_wire(piece.frame, wire, turn);
                }
                pieces.finish(&mut turn.ledger);
            }
            Err((packet, reason)) => turn.ledger.drop(packet.frame, reason),
        }
    }

    fn put_on_wire(&mut self, frame: Frame, wire: &Wire, turn: &mut Turn<'_>) {
        match wire.mac {
            Some(mac) => self.emit(frame, wire, mac, &mut turn.ledger),
            None => self.waiting.hold(frame, *wire, turn),
        }
    }

    #[inline]
    fn emit(&mut self, frame: Frame, wire: &Wire, mac: [u8; 6], ledger: &mut Ledger<'_>) {
        let Some(at) = self.ports.place(wire.port) else {
            ledger.drop(frame, DropReason::NoPort);
            return;
        };
        match with_ethernet(frame, mac, wire.source) {
            Ok(frame) => self.ports.push(at, frame, ledger),
            Err(refused) => ledger.refuse(refused),
        }
    }

    fn hand_to_host(&mut self, packet: Packet, ledger: &mut Ledger<'_>) {
        // What the host's own kernel sent must not go back to it: it would come round again.
        if packet.side == Side::Host {
            ledger.drop(packet.frame, DropReason::NoRoute);
            return;
        }
        let Some(at) = self.ports.host() else {
            ledger.drop(packet.frame, DropReason::NoPort);
            return;
        };
        match with_ethernet(packet.frame, [0; 6], [0; 6]) {
            Ok(frame) => {
                ledger.add(WorkerCounter::ToHost, 1);
                self.ports.push(at, frame, ledger);
            }
            Err(refused) => ledger.refuse(refused),
        }
    }

    /// Sends what waited for neighbours that the snapshot knows by now.
    pub fn send_resolved(&mut self, fib: &Fib, ledger: &mut Ledger<'_>) {
        while let Some((frame, wire)) = self.waiting.resolved(fib, ledger.stock) {
            match wire.mac {
                Some(mac) => self.emit(frame, &wire, mac, ledger),
                None => ledger.drop(frame, DropReason::NoNeighbour),
            }
        }
    }

    /// Gives up on packets that have waited too long, and asks for the others' neighbours again.
    pub fn expire(&mut self, turn: &mut Turn<'_>) {
        self.waiting.expire(turn);
    }

    /// How many packets wait for a neighbour.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

/// Puts an Ethernet header in front of an IP packet.
#[inline]
fn with_ethernet(
    mut frame: Frame,
    destination: [u8; 6],
    source: [u8; 6],
) -> Result<Frame, Refused> {
    let v6 = frame.bytes().first().is_some_and(|first| first >> 4 == 6);
    let ethertype = if v6 { ethernet::IPV6 } else { ethernet::IPV4 };
    let header = Ethernet {
        destination,
        source,
        ethertype: U16::new(ethertype),
    };
    if !frame.grow_front(ethernet::LEN) {
        let reason = DropReason::NoRoom;
        return Err(Refused { frame, reason });
    }
    if let Some(head) = frame.bytes_mut().first_chunk_mut::<{ ethernet::LEN }>() {
        head.copy_from_slice(header.as_bytes());
    }
    Ok(frame)
}
