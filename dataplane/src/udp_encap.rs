//! UDP encapsulation of ESP (RFC 3948).

use adit_abi::{Address, SaRecord};
use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, IntoBytes};

use crate::clearance::{Cleared, sealed};
use crate::frame::Frame;
use crate::headers::checksum::Sum;
use crate::headers::udp::{self, Udp};
use crate::headers::{ipv4::Ipv4, ipv6::Ipv6, protocol};
use crate::packet::{Fragment, Packet};

/// The port of UDP-encapsulated ESP and of IKE behind the non-ESP marker (RFC 3948 §2.1).
pub const PORT: u16 = 4500;
/// The port of IKE without a marker (RFC 7296 §2).
pub const IKE_PORT: u16 = 500;

/// What a datagram to [`PORT`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// Encapsulated ESP.
    Esp,
    /// IKE, behind the non-ESP marker.
    Ike,
    /// A NAT keepalive.
    Keepalive,
    /// None of these.
    Malformed,
}

/// Sorts a whole datagram, UDP header first.
pub fn check(datagram: &[u8]) -> Datagram {
    let Ok((header, payload)) = Udp::ref_from_prefix(datagram) else {
        return Datagram::Malformed;
    };
    // A shorter UDP length would hide bytes from one of two readers of the same packet.
    if header.length.get() as usize != datagram.len() {
        return Datagram::Malformed;
    }
    //= RFC 3948 §2.3: a NAT keepalive is one octet 0xff
    if payload == [0xff] {
        return Datagram::Keepalive;
    }
    peek(datagram)
}

/// Sorts a datagram by what follows its UDP header, whatever its length says.
pub fn peek(datagram: &[u8]) -> Datagram {
    let payload = datagram.get(udp::LEN..).unwrap_or_default();
    match payload.first_chunk::<4>() {
        //= RFC 3948 §2.2: four octets of zero are the non-ESP marker
        Some([0, 0, 0, 0]) => Datagram::Ike,
        Some(_) => Datagram::Esp,
        None => Datagram::Malformed,
    }
}

/// The UDP header in front of a sealed packet of `esp` bytes, with checksum 0.
pub fn header(sa: &SaRecord, esp: usize) -> Udp {
    Udp {
        source: U16::new(sa.encap_source),
        destination: U16::new(sa.encap_destination),
        length: U16::new((udp::LEN + esp) as u16),
        //= RFC 3948 §2.1: the checksum over IPv4 SHOULD be zero
        checksum: U16::new(0),
    }
}

/// Writes the checksum of a whole datagram between IPv6 addresses.
pub fn write_checksum(datagram: &mut [u8], source: &Address, destination: &Address) {
    //= RFC 8200 §8.1: UDP over IPv6 must have a checksum; one that comes out zero is sent as 0xffff
    let length = datagram.len();
    if let Ok((header, _)) = Udp::mut_from_prefix(datagram) {
        header.checksum = U16::new(0);
    }
    let sum = Sum::new()
        .add_pseudo_header(source, destination, protocol::UDP, length)
        .add_bytes(datagram)
        .finish();
    if let Ok((header, _)) = Udp::mut_from_prefix(datagram) {
        header.checksum = U16::new(if sum == 0 { 0xffff } else { sum });
    }
}

/// A NAT keepalive of this gateway.
#[derive(Debug)]
pub struct Keepalive(Packet);

impl sealed::Sealed for Keepalive {}

impl Cleared for Keepalive {
    fn into_packet(self) -> Packet {
        self.0
    }
}

/// Builds the keepalive of an outbound SA in an empty frame (RFC 3948 §4); the frame back if it is too small.
///
/// # Errors
/// The frame, when it has no room.
pub fn keepalive(sa: &SaRecord, mut frame: Frame) -> Result<Keepalive, Frame> {
    let v4 = sa.destination.is_v4();
    let ip = if v4 {
        size_of::<Ipv4>()
    } else {
        size_of::<Ipv6>()
    };
    if !frame.grow_back(ip + udp::LEN + 1) {
        return Err(frame);
    }
    let length = frame.len();
    let bytes = frame.bytes_mut();
    let (head, datagram) = bytes.split_at_mut(ip);
    let hop_limit = crate::mode::tunnel::outer_hop_limit(sa);
    if v4 {
        let mut ip = Ipv4::new(&sa.source, &sa.destination, protocol::UDP, hop_limit);
        ip.total_len = U16::new(length as u16);
        ip.write_checksum();
        head.copy_from_slice(ip.as_bytes());
    } else {
        let mut ip = Ipv6::new(&sa.source, &sa.destination, protocol::UDP, hop_limit);
        ip.payload_len = U16::new(datagram.len() as u16);
        head.copy_from_slice(ip.as_bytes());
    }
    let (udp_bytes, payload) = datagram.split_at_mut(udp::LEN);
    udp_bytes.copy_from_slice(header(sa, 1).as_bytes());
    payload.fill(0xff);
    if !v4 {
        write_checksum(datagram, &sa.source, &sa.destination);
    }
    Ok(Keepalive(Packet {
        frame,
        source: sa.source,
        destination: sa.destination,
        protocol: protocol::UDP,
        port: u8::MAX,
        side: adit_abi::Side::Host,
        fragment: Fragment::Whole,
        upper: ip as u16,
        ports: Some([sa.encap_source, sa.encap_destination]),
    }))
}
