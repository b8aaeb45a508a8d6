//! ICMP errors to the senders of packets that cannot be forwarded (RFC 1812 §4.3.2, RFC 4443 §2.4).
//!
//! An error is made in the frame of the packet it is about: the packet is cut short and headers are put
//! in front. It goes inside as it is; where it would leave the protected side the SPD decides about it.

use adit_abi::{Address, Side};
use arrayvec::ArrayVec;
use zerocopy::IntoBytes;
use zerocopy::byteorder::network_endian::{U16, U32};

use crate::clearance::{Cleared, sealed};
use crate::events::TokenBucket;
use crate::forward::fib::Fib;
use crate::frame::BURST;
use crate::headers::checksum::Sum;
use crate::headers::icmp::{self, Icmp};
use crate::headers::ipv4::{self, Ipv4};
use crate::headers::ipv6::{self, Ipv6};
use crate::headers::protocol;
use crate::packet::{Fragment, Packet};
use crate::snapshot::Snapshot;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Larger than this many bytes, and not to be cut.
    TooBig(usize),
    /// TTL or hop limit ran out.
    TimeExceeded,
    /// No route to the destination.
    NoRoute,
}

/// The errors a worker has to send, at a bounded rate.
#[derive(Default)]
pub struct IcmpErrors {
    bucket: TokenBucket,
    /// Errors made and not yet sent.
    queue: ArrayVec<IcmpError, BURST>,
}

/// An error of the gateway's own. It may go inside without further ado: policies are about traffic that
/// crosses the boundary, and under one that protects all the world nobody would learn his path MTU.
#[derive(Debug)]
pub struct IcmpError(Packet);

impl sealed::Sealed for IcmpError {}

impl Cleared for IcmpError {
    fn into_packet(self) -> Packet {
        self.0
    }
}

impl IcmpError {
    /// Whom it is for.
    pub fn destination(&self) -> &Address {
        &self.0.destination
    }

    /// Gives the clearance up, so that the SPD decides about the error where it leaves the protected side.
    pub fn into_transit(self) -> Packet {
        self.0
    }
}

impl IcmpErrors {
    /// Makes the error about a packet in the packet's own frame and queues it.
    ///
    /// `through_sa` says that the packet came through an SA: the error then speaks with the gateway's
    /// inside address, so that the same policy covers it.
    ///
    /// # Errors
    /// The packet, if no error may be sent about it, or none now.
    pub fn report(
        &mut self,
        packet: Packet,
        problem: Problem,
        through_sa: bool,
        snapshot: &Snapshot,
        now: u64,
    ) -> Result<(), Packet> {
        if self.queue.is_full() || !may_report(&packet) {
            return Err(packet);
        }
        let Some(source) = speaker(&packet, through_sa, &snapshot.fib) else {
            return Err(packet);
        };
        //= RFC 1812 §4.3.2.8: the rate of ICMP errors is limited
        if !self
            .bucket
            .take(now, snapshot.spd.settings().icmp_per_second)
        {
            return Err(packet);
        }
        self.queue.push(IcmpError(build(packet, problem, source)?));
        Ok(())
    }

    /// Whether no error waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The errors that wait to be sent.
    pub fn take(&mut self) -> ArrayVec<IcmpError, BURST> {
        std::mem::take(&mut self.queue)
    }
}

/// The address that an error about a packet comes from.
fn speaker(packet: &Packet, through_sa: bool, fib: &Fib) -> Option<Address> {
    let v4 = packet.is_v4();
    match packet.side {
        // The host's kernel takes an own address as source for forged; any router's will do.
        Side::Host => Some(packet.destination),
        Side::Outside if through_sa => fib.inside_address(v4),
        //= RFC 1812 §4.3.2.4: the source is an address of the interface the packet came in through
        Side::Inside | Side::Outside => fib.address_of(packet.port, v4),
    }
}

/// Whether an error about this packet may be sent at all (RFC 1122 §3.2.2, RFC 4443 §2.4 (e)).
fn may_report(packet: &Packet) -> bool {
    packet.fragment != Fragment::Later
        && !packet.is_icmp_error()
        && crate::classify::check_addresses(&packet.source, &packet.destination).is_ok()
}

fn build(mut packet: Packet, problem: Problem, source: Address) -> Result<Packet, Packet> {
    let v4 = packet.is_v4();
    let (ip_len, most) = if v4 {
        //= RFC 1812 §4.3.2.3: as much of the packet as fits 576 bytes
        (ipv4::LEN, 576)
    } else {
        //= RFC 4443 §2.4 (c): as much of the packet as fits the minimum IPv6 MTU
        (ipv6::LEN, ipv6::MINIMUM_MTU)
    };
    let head = ip_len + icmp::LEN;
    let excess = packet.len().saturating_sub(most - head);
    packet.frame.shrink_back(excess);
    if !packet.frame.grow_front(head) {
        return Err(packet);
    }
    let (source, destination) = (source, packet.source);
    let header = message(problem, v4);
    let bytes = packet.frame.bytes_mut();
    let total = bytes.len();
    let (ip, body) = bytes.split_at_mut(ip_len);
    let protocol = if v4 { protocol::ICMP } else { protocol::ICMPV6 };
    if v4 {
        let mut header = Ipv4::new(&source, &destination, protocol, 64);
        //= RFC 1812 §4.3.2.5: errors have precedence INTERNETWORK CONTROL
        header.traffic_class = 0xc0;
        header.total_len = U16::new(total as u16);
        header.write_checksum();
        ip.copy_from_slice(header.as_bytes());
    } else {
        let mut header = Ipv6::new(&source, &destination, protocol, 64);
        header.payload_len = U16::new(body.len() as u16);
        ip.copy_from_slice(header.as_bytes());
    }
    let sum = Sum::new().add_bytes(header.as_bytes());
    let sum = if v4 {
        sum
    } else {
        sum.add_pseudo_header(&source, &destination, protocol, body.len())
    };
    let (place, quoted) = body.split_at_mut(icmp::LEN);
    let header = Icmp {
        checksum: U16::new(sum.add_bytes(quoted).finish()),
        ..header
    };
    place.copy_from_slice(header.as_bytes());
    Ok(Packet {
        frame: packet.frame,
        source,
        destination,
        protocol,
        port: packet.port,
        side: Side::Inside,
        fragment: Fragment::Whole,
        upper: ip_len as u16,
        ports: Some([u16::from(header.kind) << 8 | u16::from(header.code), 0]),
    })
}

/// The ICMP header, without its checksum.
fn message(problem: Problem, v4: bool) -> Icmp {
    let (kind, code, rest) = match (problem, v4) {
        //= RFC 1191 §4: fragmentation needed and DF set, with the next hop's MTU
        (Problem::TooBig(mtu), true) => (3, 4, mtu),
        //= RFC 4443 §3.2: packet too big, with the next hop's MTU
        (Problem::TooBig(mtu), false) => (2, 0, mtu),
        (Problem::TimeExceeded, true) => (11, 0, 0),
        (Problem::TimeExceeded, false) => (3, 0, 0),
        (Problem::NoRoute, true) => (3, 0, 0),
        (Problem::NoRoute, false) => (1, 0, 0),
    };
    Icmp {
        kind,
        code,
        checksum: U16::new(0),
        rest: U32::new(rest.min(u16::MAX.into()) as u32),
    }
}
