//! Putting outer packets together before they are opened (RFC 4303 §3.4.1, RFC 4302 §3.4.1): ESP, AH, and
//! UDP to the gateway's own addresses, of which a later fragment does not show whether ESP is in it.
//!
//! Fragments are copied out of the UMEM when they arrive, so that none starves the ports. Only what is sealed is
//! put together here; fragments of IKE and of anything in clear go on one by one, as soon as the first of
//! them has shown the ports, and the host's kernel puts them together.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `piece` | one fragment, taken apart |
//! | `datagram` | the fragments of one datagram, and what they make |
//! | `table` | datagrams under way, and who gives way to whom |
//! | `handoff` | from the worker that received a fragment to the one that puts it together |
//!
//! A whole packet has to fit one frame: with frames of 2,048 bytes those of 1,792, with 4,096 those of 3,840.

mod datagram;
pub mod handoff;
pub(crate) mod piece;
mod table;

use std::collections::VecDeque;

use adit_abi::{DropReason, SaKey, Side, Spi, WorkerCounter};
use zerocopy::FromBytes;

use crate::classify;
use crate::frame::HEADROOM;
use crate::headers::esp::Esp;
use crate::headers::{protocol, udp};
use crate::ledger::Ledger;
use crate::packet::{Fragment, Packet, Refused};
use crate::turn::Turn;
use crate::udp_encap::{self, Datagram as UdpDatagram};
use datagram::{Held, Misfit};
use handoff::Seat;
use piece::{Identity, Piece};
use table::{Entry, Kind, Table};

/// Fragments taken from other workers in one turn.
const PER_TURN: usize = 64;

/// Something that goes on.
#[derive(Debug)]
pub enum Ready {
    /// A whole packet, to be opened.
    Whole(Packet),
    /// A fragment of IKE for this gateway's own.
    Ike(Packet),
    /// A fragment in clear, its ports known.
    Clear(Packet),
}

/// A fragment that goes on by itself.
struct Passing {
    held: Held,
    ike: bool,
    ports: [u16; 2],
}

/// One worker's datagrams under way.
#[derive(Default)]
pub struct Reassembly {
    table: Table,
    seat: Option<Seat>,
    whole: VecDeque<Packet>,
    passing: VecDeque<Passing>,
}

/// Whether a packet from outside to one of this gateway's own addresses is a fragment to be held.
#[inline]
pub fn holds(packet: &Packet) -> bool {
    packet.fragment != Fragment::Whole
        && matches!(
            packet.protocol,
            protocol::ESP | protocol::AH | protocol::UDP
        )
}

impl Reassembly {
    /// Takes its place among several workers.
    pub fn sit(&mut self, seat: Seat) {
        self.seat = Some(seat);
    }

    /// What others wake this worker with.
    pub fn waker(&self) -> Option<crate::threads::Waker> {
        self.seat.as_ref()?.waker()
    }

    /// Takes a fragment; its frame goes home.
    #[cold]
    pub fn take(&mut self, packet: Packet, turn: &mut Turn<'_>) {
        let held = Held::copy_of(&packet);
        turn.ledger.stock.put(packet.frame);
        let identity = match Piece::parse(&held.bytes) {
            Ok(piece) => piece.identity,
            Err(reason) => return turn.ledger.count(reason),
        };
        let held = match &self.seat {
            None => held,
            Some(seat) => match seat.hand_over(&identity, held) {
                Ok(Some(held)) => held,
                Ok(None) => return turn.ledger.add(WorkerCounter::HandedOver, 1),
                Err(handoff::Full) => return turn.ledger.count(DropReason::ReassemblyFull),
            },
        };
        self.hold(identity, held, turn);
    }

    /// Takes what other workers have handed over, and gives up on what has taken too long.
    #[inline]
    pub fn turn(&mut self, turn: &mut Turn<'_>) {
        if let Some(seat) = &self.seat {
            let handed: arrayvec::ArrayVec<Held, PER_TURN> = std::iter::from_fn(|| seat.receive())
                .take(PER_TURN)
                .collect();
            for held in handed {
                if let Ok(identity) = Piece::parse(&held.bytes).map(|piece| piece.identity) {
                    self.hold(identity, held, turn);
                }
            }
        }
        if self.table.len() > 0 {
            self.expire(turn);
        }
    }

    #[cold]
    fn expire(&mut self, turn: &mut Turn<'_>) {
        let mut expired = Vec::new();
        self.table.expire(turn.now, &mut expired);
        //= RFC 8200 §4.5 not done: no time-exceeded message is sent about fragments that nobody vouches for
        count(&expired, DropReason::ReassemblyTimeout, &mut turn.ledger);
        turn.ledger
            .counters
            .set(WorkerCounter::ReassemblyBytes, self.table.bytes() as u64);
    }

    /// Fragments held.
    pub fn fragments(&self) -> usize {
        self.table.fragments()
    }

    /// Something that goes on, if there is anything.
    #[inline]
    pub fn next(&mut self, ledger: &mut Ledger<'_>) -> Option<Ready> {
        if let Some(packet) = self.whole.pop_front() {
            return Some(Ready::Whole(packet));
        }
        while let Some(passing) = self.passing.pop_front() {
            match framed(&passing, ledger) {
                Ok(packet) if passing.ike => return Some(Ready::Ike(packet)),
                Ok(packet) => return Some(Ready::Clear(packet)),
                Err(Some(refused)) => ledger.refuse(refused),
                Err(None) => ledger.count(DropReason::NoFrame),
            }
        }
        None
    }

    fn hold(&mut self, identity: Identity, held: Held, turn: &mut Turn<'_>) {
        let mut evicted = Vec::new();
        let length = held.bytes.len();
        let kind = self
            .table
            .entry(identity, turn.now, &mut evicted)
            .map(|entry| entry.kind);
        match kind {
            None => turn.ledger.count(DropReason::ReassemblyFull),
            Some(Kind::Dead) => turn.ledger.count(DropReason::BadFragment),
            Some(Kind::Clear(ports)) => self.pass(held, false, ports),
            Some(Kind::Ike) => self.pass(held, true, [0; 2]),
            Some(Kind::Unknown | Kind::Sealed) => {
                // A large datagram can be its source's own undoing.
                if self.table.charge(&identity, length, &mut evicted) {
                    self.insert(identity, held, turn);
                } else {
                    turn.ledger.count(DropReason::ReassemblyFull);
                }
            }
        }
        count(&evicted, DropReason::ReassemblyFull, &mut turn.ledger);
    }

    fn pass(&mut self, held: Held, ike: bool, ports: [u16; 2]) {
        self.passing.push_back(Passing { held, ike, ports });
    }

    fn insert(&mut self, identity: Identity, held: Held, turn: &mut Turn<'_>) {
        let Some(entry) = self.table.entry(identity, turn.now, &mut Vec::new()) else {
            return;
        };
        match entry.datagram.insert(held) {
            Ok(()) => {}
            Err(Misfit::Duplicate) => return turn.ledger.count(DropReason::DuplicateFragment),
            Err(Misfit::Fatal(reason)) => return self.kill(&identity, 1, reason, turn),
        }
        if entry.kind == Kind::Unknown
            && let Some(first) = entry.datagram.first()
        {
            let (kind, key) = kind_of(&first);
            entry.kind = kind;
            if let Some(key) = key
                && let Some(sa) = turn.policy.find_sa(&key)
                && turn
                    .policy
                    .sa(sa)
                    .is_some_and(|sa| sa.source == identity.source)
            {
                self.table.vouch(&identity, turn.now);
            }
        }
        self.settle(identity, turn);
    }

    /// Does what a datagram's kind and completeness ask for.
    fn settle(&mut self, identity: Identity, turn: &mut Turn<'_>) {
        let Some(entry) = self.table.entry(identity, turn.now, &mut Vec::new()) else {
            return;
        };
        match entry.kind {
            Kind::Unknown => {}
            Kind::Dead => self.kill(&identity, 0, DropReason::BadFragment, turn),
            kind @ (Kind::Clear(_) | Kind::Ike) => {
                let ports = match kind {
                    Kind::Clear(ports) => ports,
                    _ => [0; 2],
                };
                let pieces = entry.datagram.take();
                self.table.discharge(&identity);
                for held in pieces {
                    self.pass(held, kind == Kind::Ike, ports);
                }
            }
            Kind::Sealed => {
                let room = turn.ledger.stock.umem().chunk_size().bytes() - HEADROOM;
                if entry.datagram.least_len() > room {
                    self.kill(&identity, 0, DropReason::ReassembledTooBig, turn);
                } else if entry.datagram.is_complete() {
                    self.complete(&identity, turn);
                }
            }
        }
    }

    fn complete(&mut self, identity: &Identity, turn: &mut Turn<'_>) {
        let Some(mut entry) = self.table.remove(identity) else {
            return;
        };
        let Some(mut frame) = turn.ledger.stock.take() else {
            return count(&[entry], DropReason::NoFrame, &mut turn.ledger);
        };
        let fragments = entry.datagram.len() as u64;
        turn.ledger.add(WorkerCounter::Reassembled, 1);
        turn.ledger.add(WorkerCounter::ReassembledFrom, fragments);
        if let Err(reason) = entry.datagram.write(&mut frame) {
            return turn.ledger.drop(frame, reason);
        }
        let Some((port, side)) = entry.datagram.take().first().map(|h| (h.port, h.side)) else {
            return turn.ledger.drop(frame, DropReason::BadFragment);
        };
        match classify::parse(frame, port, side) {
            Ok(packet) => self.whole.push_back(packet),
            Err(refused) => turn.ledger.refuse(refused),
        }
    }

    /// Drops a datagram as a whole, and what is still to come of it; `extra` fragments are not in it.
    fn kill(&mut self, identity: &Identity, extra: usize, reason: DropReason, turn: &mut Turn<'_>) {
        self.table.discharge(identity);
        let Some(entry) = self.table.entry(*identity, turn.now, &mut Vec::new()) else {
            return;
        };
        entry.kind = Kind::Dead;
        for _ in 0..entry.datagram.take().len() + extra {
            turn.ledger.count(reason);
        }
    }
}

/// What a datagram is, by its first fragment, and the key of its SA.
fn kind_of(first: &Piece<'_>) -> (Kind, Option<SaKey>) {
    let key = |at: usize, protocol: u8| {
        let bytes = first.payload.get(at..).unwrap_or_default();
        let spi = match protocol {
            protocol::AH => bytes
                .get(4..)?
                .first_chunk::<4>()
                .map(|b| u32::from_be_bytes(*b))?,
            _ => Esp::ref_from_prefix(bytes).ok()?.0.spi.get(),
        };
        Some(SaKey {
            spi: Spi(spi),
            protocol,
            destination: first.identity.destination,
        })
    };
    if first.next_header != protocol::UDP {
        return (Kind::Sealed, key(0, first.next_header));
    }
    let Some([a, b, c, d]) = first.payload.first_chunk::<4>() else {
        return (Kind::Dead, None);
    };
    let ports = [u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])];
    match ports[1] {
        udp_encap::IKE_PORT => (Kind::Ike, None),
        udp_encap::PORT => match udp_encap::peek(first.payload) {
            UdpDatagram::Ike => (Kind::Ike, None),
            UdpDatagram::Esp => (Kind::Sealed, key(udp::LEN, protocol::ESP)),
            // Too short to tell: nobody cuts a packet into such pieces but to deceive.
            _ => (Kind::Dead, None),
        },
        _ => (Kind::Clear(ports), None),
    }
}

/// Puts a fragment into a frame again.
fn framed(passing: &Passing, ledger: &mut Ledger<'_>) -> Result<Packet, Option<Refused>> {
    let mut frame = ledger.stock.take().ok_or(None)?;
    if !frame.fill(&passing.held.bytes) {
        let reason = DropReason::NoRoom;
        return Err(Some(Refused { frame, reason }));
    }
    let mut packet = classify::parse(frame, passing.held.port, Side::Outside).map_err(Some)?;
    if !passing.ike {
        packet.ports = Some(passing.ports);
    }
    Ok(packet)
}

fn count(entries: &[Entry], reason: DropReason, ledger: &mut Ledger<'_>) {
    for entry in entries {
        for _ in 0..entry.datagram.len() {
            ledger.count(reason);
        }
    }
}
