//! Cutting a packet that is too big for its way (RFC 791 §3.2, RFC 8200 §4.5): an IPv4 packet that may be cut, or a
//! sealed packet of the gateway's own of either family.
//!
//! Before sealing it is the inner packet that is cut, so that the far end opens each piece by itself and
//! the receiving host puts them together. Where an SA selects by port its far end refuses all pieces but
//! the first unless it keeps track of them (RFC 4301 §7). After sealing it is the outer packet that is cut, and the
//! far end puts it together before it opens it.

use adit_abi::{DropReason, WorkerCounter};
use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, IntoBytes};

use crate::frame::Frame;
use crate::headers::checksum::Sum;
use crate::headers::ipv4::{self, Ipv4};
use crate::headers::ipv6::{self, Extension, Ipv6};
use crate::headers::{protocol, udp};
use crate::ledger::Ledger;
use crate::packet::{Fragment, Packet};

/// Bytes of an IPv6 fragment header.
const EXTENSION: usize = size_of::<Extension>();

/// The pieces of one packet, made one by one in frames of the stock.
pub struct Fragments {
    whole: Packet,
    header: usize,
    /// Identification, where each piece gets an IPv6 fragment header.
    extension: Option<u32>,
    /// Payload bytes of each piece but the last: a multiple of 8.
    step: usize,
    /// Payload bytes done.
    done: usize,
}

impl Fragments {
    /// Begins to cut `packet` to pieces of at most `mtu` bytes.
    ///
    /// # Errors
    /// The packet, with the reason to drop it: it may not be cut, or there are not enough free frames.
    pub fn of(
        packet: Packet,
        mtu: usize,
        ledger: &Ledger<'_>,
    ) -> Result<Self, (Packet, DropReason)> {
        let Some(ip) = packet.v4().filter(|ip| !ip.df()) else {
            return Err((packet, DropReason::TooBig));
        };
        let header = ip.header_len();
        let step = mtu.saturating_sub(header) & !7;
        let payload = packet.len().saturating_sub(header);
        let place = usize::from(ip.fragment.get() & ipv4::OFFSET) * 8;
        if step == 0 || place + payload > usize::from(u16::MAX) {
            return Err((packet, DropReason::TooBig));
        }
        if ledger.stock.len() < payload.div_ceil(step) {
            return Err((packet, DropReason::NoFrame));
        }
        Ok(Self {
            whole: packet,
            header,
            extension: None,
            step,
            done: 0,
        })
    }

    /// Begins to cut a sealed packet of the gateway's own to pieces of at most `mtu` bytes, whatever its
    /// DF bit says.
    ///
    /// # Errors
    /// The packet, with the reason to drop it: the MTU is too small, or there are not enough free frames.
    pub fn of_own(
        mut packet: Packet,
        mtu: usize,
        ledger: &Ledger<'_>,
    ) -> Result<Self, (Packet, DropReason)> {
        //= RFC 6864 §4.2: identifications do not repeat within a datagram's lifetime: the SA's numbers do not
        let id = sequence(&packet);
        // AH covers the identification, so it stays what it was (RFC 4302 §3.3.3.1.1.1).
        let free = packet.protocol != protocol::AH;
        if let Some(ip) = packet.v4_mut() {
            if free {
                ip.id = U16::new(id as u16);
            }
            ip.fragment = U16::new(0);
            // Its checksum is written anew for each piece.
            return Self::of(packet, mtu, ledger);
        }
        let header = ipv6::LEN;
        // Extension headers of a packet in transport mode are not known to be ones that may be cut off.
        if usize::from(packet.upper) != header {
            return Err((packet, DropReason::TooBig));
        }
        let step = mtu.saturating_sub(header + EXTENSION) & !7;
        let payload = packet.len().saturating_sub(header);
        if step == 0 {
            return Err((packet, DropReason::TooBig));
        }
        if ledger.stock.len() < payload.div_ceil(step) {
            return Err((packet, DropReason::NoFrame));
        }
        Ok(Self {
            whole: packet,
            header,
            extension: Some(id),
            step,
            done: 0,
        })
    }

    /// The next piece; the whole packet's frame goes home after the last.
    ///
    /// `None` at the end.
    pub fn next(&mut self, ledger: &mut Ledger<'_>) -> Option<Packet> {
        let bytes = self.whole.frame.bytes();
        let payload = bytes.get(self.header + self.done..).unwrap_or_default();
        if payload.is_empty() {
            return None;
        }
        let last = payload.len() <= self.step;
        let payload = payload.get(..self.step).unwrap_or(payload);
        let head = bytes.get(..self.header).unwrap_or_default();
        let mut frame = ledger.stock.take()?;
        let front = self.header + self.extension.map_or(0, |_| EXTENSION);
        if !frame.fill(head) || !frame.grow_back(front - self.header + payload.len()) {
            ledger.stock.put(frame);
            return None;
        }
        if let Some(place) = frame.bytes_mut().get_mut(front..) {
            place.copy_from_slice(payload);
        }
        match self.extension {
            None => write_header(&mut frame, self.header, self.done, last),
            Some(id) => write_extension(&mut frame, id, self.done, last),
        }
        let fragment = if self.done == 0 && self.whole.fragment != Fragment::Later {
            Fragment::First
        } else {
            Fragment::Later
        };
        self.done += payload.len();
        Some(Packet {
            frame,
            source: self.whole.source,
            destination: self.whole.destination,
            protocol: self.whole.protocol,
            port: self.whole.port,
            side: self.whole.side,
            fragment,
            upper: self.whole.upper,
            ports: match fragment {
                Fragment::Later => None,
                _ => self.whole.ports,
            },
        })
    }

    /// Ends the cutting and gives the whole packet's frame home.
    pub fn finish(self, ledger: &mut Ledger<'_>) {
        let made = self.done.div_ceil(self.step) as u64;
        ledger.add(WorkerCounter::Fragments, made.saturating_sub(1));
        ledger.stock.put(self.whole.frame);
    }
}

/// The low half of a sealed packet's sequence number.
fn sequence(packet: &Packet) -> u32 {
    let at = match packet.protocol {
        protocol::UDP => udp::LEN + 4,
        protocol::AH => 8,
        _ => 4,
    };
    let bytes = packet.upper().get(at..).and_then(<[u8]>::first_chunk::<4>);
    bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// The fragment header of a piece that begins `done` bytes into the whole's payload, and what the IPv6 header
/// says of it.
fn write_extension(frame: &mut Frame, id: u32, done: usize, last: bool) {
    let payload = frame.len().saturating_sub(ipv6::LEN);
    let Ok((ip, rest)) = Ipv6::mut_from_prefix(frame.bytes_mut()) else {
        return;
    };
    let extension = Extension {
        next_header: ip.next_header,
        length: 0,
        third: U16::new(done as u16 & 0xfff8 | u16::from(!last)),
        fourth: U32::new(id),
    };
    ip.next_header = protocol::FRAGMENT;
    ip.payload_len = U16::new(payload as u16);
    if let Some(place) = rest.get_mut(..EXTENSION) {
        place.copy_from_slice(extension.as_bytes());
    }
}

/// Length, place, options and checksum of a piece that begins `done` bytes into the whole's payload.
fn write_header(frame: &mut Frame, header: usize, done: usize, last: bool) {
    let total = frame.len();
    let bytes = frame.bytes_mut();
    let Some(head) = bytes.get_mut(..header) else {
        return;
    };
    if done > 0
        && let Some(options) = head.get_mut(ipv4::LEN..)
    {
        drop_uncopied(options);
    }
    if let Ok((ip, _)) = Ipv4::mut_from_prefix(head) {
        let field = ip.fragment.get();
        let more = field & ipv4::MF | if last { 0 } else { ipv4::MF };
        let place = (field & ipv4::OFFSET) + (done / 8) as u16;
        ip.fragment = U16::new(more | place & ipv4::OFFSET);
        ip.total_len = U16::new(total as u16);
        ip.checksum = U16::new(0);
    }
    let sum = Sum::new().add_bytes(head).finish();
    if let Ok((ip, _)) = Ipv4::mut_from_prefix(head) {
        ip.checksum = U16::new(sum);
    }
}

/// Replaces options that belong in the first fragment only by no-operations.
fn drop_uncopied(mut options: &mut [u8]) {
    //= RFC 791 §3.1: only options with the copied flag go into every fragment
    loop {
        let (kind, length) = match *options {
            [] | [0, ..] => return,
            [1, ..] => (1, 1),
            [kind, length, ..] => (kind, usize::from(length)),
            [kind] => (kind, 1),
        };
        if length == 0 || length > options.len() {
            return;
        }
        let (option, rest) = options.split_at_mut(length);
        if kind & 0x80 == 0 {
            option.fill(1);
        }
        options = rest;
    }
}
