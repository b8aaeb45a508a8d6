//! From a received frame to a packet, and from an outside packet to what it is to this gateway.

use adit_abi::{Address, DropReason, OPAQUE_PROTOCOL, Protocol, SaKey, Side, Spi, has_type};
use zerocopy::FromBytes;

use crate::frame::Frame;
use crate::headers::ah::Ah;
use crate::headers::chain::{MAX_EXTENSIONS, is_extension};
use crate::headers::esp::Esp;
use crate::headers::ethernet::{self, Ethernet, VlanTag};
use crate::headers::ipv4::{self, Ipv4};
use crate::headers::ipv6::{self, Extension, Ipv6};
use crate::headers::{checksum::Sum, protocol};
use crate::packet::{Fragment, Packet, Refused};
use crate::udp_encap::{self, Datagram};

/// Where a frame came in.
#[derive(Clone, Copy, Debug)]
pub struct Ingress {
    /// Port number.
    pub port: u8,
    /// The port's side.
    pub side: Side,
    /// The port's Ethernet address; all zeros accepts every frame.
    pub mac: [u8; 6],
}

/// Strips the Ethernet header and parses the IP packet behind it.
///
/// # Errors
/// The frame, with the reason to drop it.
pub fn classify(mut frame: Frame, ingress: &Ingress) -> Result<Packet, Refused> {
    let reason = match strip_ethernet(&mut frame, ingress) {
        Ok(()) => return parse(frame, ingress.port, ingress.side),
        Err(reason) => reason,
    };
    Err(Refused { frame, reason })
}

fn strip_ethernet(frame: &mut Frame, ingress: &Ingress) -> Result<(), DropReason> {
    let (header, rest) =
        Ethernet::ref_from_prefix(frame.bytes()).map_err(|_| DropReason::Truncated)?;
    if ingress.side != Side::Host {
        //= RFC 1812 §5.3.4: a packet that came as a link-layer broadcast is not forwarded
        if header.is_group() {
            return Err(DropReason::Broadcast);
        }
        if header.destination != ingress.mac && ingress.mac != [0; 6] {
            return Err(DropReason::OtherHost);
        }
    }
    let mut ethertype = header.ethertype.get();
    let mut length = ethernet::LEN;
    if ethertype == ethernet::VLAN {
        let (tag, _) = VlanTag::ref_from_prefix(rest).map_err(|_| DropReason::Truncated)?;
        // A priority tag means no VLAN; any other belongs to an interface that is not this port.
        if tag.vlan() != 0 {
            return Err(DropReason::Vlan);
        }
        ethertype = tag.ethertype.get();
        length += size_of::<VlanTag>();
    }
    if ethertype != ethernet::IPV4 && ethertype != ethernet::IPV6 {
        return Err(DropReason::NotIp);
    }
    frame.shrink_front(length);
    let version = if ethertype == ethernet::IPV4 { 4 } else { 6 };
    match frame.bytes().first() {
        None => Err(DropReason::Truncated),
        Some(first) if first >> 4 == version => Ok(()),
        Some(_) => Err(DropReason::NotIp),
    }
}

/// Parses the IP packet that a frame's data begins with, and cuts off what follows it.
///
/// # Errors
/// The frame, with the reason to drop it.
pub fn parse(frame: Frame, port: u8, side: Side) -> Result<Packet, Refused> {
    let parsed = match frame.bytes().first().map(|first| first >> 4) {
        Some(4) => parse_v4(frame.bytes()),
        Some(6) => parse_v6(frame.bytes()),
        Some(_) => Err(DropReason::NotIp),
        None => Err(DropReason::Truncated),
    };
    match parsed.and_then(|parsed| parsed.ports(frame.bytes()).map(|ports| (parsed, ports))) {
        Err(reason) => Err(Refused { frame, reason }),
        Ok((parsed, ports)) => {
            let mut frame = frame;
            frame.shrink_back(frame.len() - parsed.total);
            Ok(Packet {
                frame,
                source: parsed.source,
                destination: parsed.destination,
                protocol: parsed.protocol,
                port,
                side,
                fragment: parsed.fragment,
                upper: parsed.upper as u16,
                ports,
            })
        }
    }
}

/// What the IP header and its extensions say.
struct Parsed {
    source: Address,
    destination: Address,
    protocol: u8,
    fragment: Fragment,
    /// Offset of the upper-layer header, at most `total`.
    upper: usize,
    /// Bytes of the packet, at most those there are.
    total: usize,
}

fn parse_v4(bytes: &[u8]) -> Result<Parsed, DropReason> {
    let (ip, _) = Ipv4::ref_from_prefix(bytes).map_err(|_| DropReason::Truncated)?;
    let (upper, total) = (ip.header_len(), ip.total_len.get() as usize);
    if upper < ipv4::LEN || total < upper {
        return Err(DropReason::BadLength);
    }
    if total > bytes.len() {
        return Err(DropReason::Truncated);
    }
    //= RFC 1122 §3.2.1.2: verify the IP header checksum and discard silently what is bad
    if Sum::new().add_bytes(&bytes[..upper]).fold() != 0xffff {
        return Err(DropReason::BadChecksum);
    }
    let place = ip.fragment.get();
    //= RFC 1858 §3.2.2: a fragment that would replace TCP's flags is discarded
    if place & ipv4::OFFSET == 1 && ip.protocol == protocol::TCP {
        return Err(DropReason::Fragment);
    }
    let fragment = if place & ipv4::OFFSET != 0 {
        Fragment::Later
    } else if place & ipv4::MF != 0 {
        Fragment::First
    } else {
        Fragment::Whole
    };
    Ok(Parsed {
        source: Address::v4(ip.source),
        destination: Address::v4(ip.destination),
        protocol: ip.protocol,
        fragment,
        upper,
        total,
    })
}

fn parse_v6(bytes: &[u8]) -> Result<Parsed, DropReason> {
    let (ip, _) = Ipv6::ref_from_prefix(bytes).map_err(|_| DropReason::Truncated)?;
    let total = ipv6::LEN + ip.payload_len.get() as usize;
    let packet = bytes.get(..total).ok_or(DropReason::Truncated)?;
    let mut parsed = Parsed {
        source: Address::v6(ip.source),
        destination: Address::v6(ip.destination),
        protocol: ip.next_header,
        fragment: Fragment::Whole,
        upper: ipv6::LEN,
        total,
    };
    for _ in 0..=MAX_EXTENSIONS {
        if !is_extension(parsed.protocol) {
            // An IPv4-mapped address on the wire would pass for IPv4 further on (RFC 4942 §2.2).
            if parsed.source.is_v4() || parsed.destination.is_v4() {
                return Err(DropReason::Unroutable);
            }
            return Ok(parsed);
        }
        let rest = packet.get(parsed.upper..).unwrap_or_default();
        let (header, _) = Extension::ref_from_prefix(rest).map_err(|_| DropReason::BadExtension)?;
        let length = match parsed.protocol {
            protocol::FRAGMENT => {
                if header.third.get() & 0xfff8 == 8 && header.next_header == protocol::TCP {
                    return Err(DropReason::Fragment);
                }
                if header.is_later_fragment() {
                    parsed.fragment = Fragment::Later;
                } else if header.is_fragment() {
                    parsed.fragment = Fragment::First;
                }
                size_of::<Extension>()
            }
            //= RFC 5095 §3: a type 0 routing header is not processed
            protocol::ROUTING if header.routing_type() == 0 => {
                return Err(DropReason::BadExtension);
            }
            //= RFC 8200 §4.1: hop-by-hop options come first or not at all
            protocol::HOP_BY_HOP if parsed.upper != ipv6::LEN => {
                return Err(DropReason::BadExtension);
            }
            _ => header.total_len(),
        };
        parsed.upper += length;
        parsed.protocol = header.next_header;
        if parsed.upper > total {
            return Err(DropReason::BadExtension);
        }
        if parsed.fragment == Fragment::Later {
            if is_extension(parsed.protocol) {
                //= RFC 4301 §4.4.1.1: what a fragment does not show is OPAQUE
                // The protocol behind the extension is in the first fragment only.
                parsed.protocol = OPAQUE_PROTOCOL;
            }
            if parsed.source.is_v4() || parsed.destination.is_v4() {
                return Err(DropReason::Unroutable);
            }
            return Ok(parsed);
        }
    }
    Err(DropReason::BadExtension)
}

impl Parsed {
    /// The ports, as [`Packet::ports`] has them.
    fn ports(&self, bytes: &[u8]) -> Result<Option<[u16; 2]>, DropReason> {
        let icmp = matches!(self.protocol, protocol::ICMP | protocol::ICMPV6);
        if self.protocol == OPAQUE_PROTOCOL {
            return Ok(None);
        }
        if !has_type(self.protocol)
            && !matches!(
                self.protocol,
                protocol::TCP
                    | protocol::UDP
                    | protocol::SCTP
                    | protocol::DCCP
                    | protocol::UDP_LITE
            )
        {
            return Ok(Some([0, 0]));
        }
        if self.fragment == Fragment::Later {
            return Ok(None);
        }
        let upper = bytes.get(self.upper..self.total).unwrap_or_default();
        match upper.first_chunk::<4>() {
            Some([kind, code, ..]) if icmp => {
                Ok(Some([u16::from(*kind) << 8 | u16::from(*code), 0]))
            }
            //= RFC 4301 §4.4.1.1: the Mobility Header's message type stands in the local port's upper half
            Some([_, _, kind, _]) if has_type(self.protocol) => {
                Ok(Some([u16::from(*kind) << 8, 0]))
            }
            Some([a, b, c, d]) => Ok(Some([
                u16::from_be_bytes([*a, *b]),
                u16::from_be_bytes([*c, *d]),
            ])),
            //= RFC 4301 §7: a first fragment too short to show its ports is discarded
            None if self.fragment == Fragment::First => Err(DropReason::Fragment),
            None => Err(DropReason::Truncated),
        }
    }
}

/// Whether a packet may be forwarded at all, by its addresses.
///
/// # Errors
/// The reason to drop it.
pub fn check_addresses(source: &Address, destination: &Address) -> Result<(), DropReason> {
    //= RFC 1812 §5.3.7: martian addresses are not forwarded
    if is_martian(source) || is_limited_broadcast(source) || is_martian(destination) {
        return Err(DropReason::Unroutable);
    }
    //= RFC 1812 §5.3.5.1: limited broadcasts are not forwarded
    if is_limited_broadcast(destination) {
        return Err(DropReason::Broadcast);
    }
    Ok(())
}

fn is_limited_broadcast(address: &Address) -> bool {
    address.is_v4() && address.v4_bytes() == [255; 4]
}

/// Multicast, loopback, unspecified, link-local or reserved.
fn is_martian(address: &Address) -> bool {
    if address.is_v4() {
        let [a, b, ..] = address.v4_bytes();
        a == 0 || a == 127 || (a, b) == (169, 254) || (a >= 224 && !is_limited_broadcast(address))
    } else {
        let [a, b, ..] = address.0;
        let n = address.to_u128();
        a == 0xff || (a == 0xfe && b & 0xc0 == 0x80) || n <= 1
    }
}

/// What a packet from outside is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// An ESP or AH packet: where that header begins in the frame's data, and its key.
    Sealed {
        /// Offset of the ESP or AH header.
        at: u16,
        /// SPI, protocol and outer destination.
        key: SaKey,
    },
    /// IKE for this gateway: the kernel's.
    Ike,
    /// Anything else, in clear.
    Clear,
    /// It ends here.
    Drop(DropReason),
}

/// Sorts a packet from outside (RFC 4303 §3.4, RFC 3948 §2). `own` says whether it is addressed to this
/// gateway.
pub fn arrival(packet: &Packet, own: bool) -> Arrival {
    match packet.protocol {
        //= RFC 4303 §3.4.1: ESP never opens a fragment; those to this gateway were put together before
        _ if packet.fragment != Fragment::Whole => Arrival::Clear,
        protocol::ESP => sealed(packet, packet.upper, Protocol::Esp),
        protocol::AH => sealed(packet, packet.upper, Protocol::Ah),
        protocol::UDP if own => udp(packet),
        _ => Arrival::Clear,
    }
}

fn sealed(packet: &Packet, at: u16, protocol: Protocol) -> Arrival {
    let bytes = packet.frame.bytes().get(at as usize..).unwrap_or_default();
    let spi = match protocol {
        Protocol::Esp => Esp::ref_from_prefix(bytes)
            .map(|(header, _)| header.spi)
            .ok(),
        Protocol::Ah => Ah::ref_from_prefix(bytes)
            .map(|(header, _)| header.spi)
            .ok(),
    };
    match spi {
        Some(spi) => Arrival::Sealed {
            at,
            key: SaKey::of(protocol, Spi(spi.get()), packet.destination),
        },
        None => Arrival::Drop(DropReason::Truncated),
    }
}

fn udp(packet: &Packet) -> Arrival {
    let Some([_, to]) = packet.ports else {
        return Arrival::Clear;
    };
    match to {
        udp_encap::PORT => match udp_encap::check(packet.upper()) {
            Datagram::Esp => {
                let at = packet.upper + crate::headers::udp::LEN as u16;
                sealed(packet, at, Protocol::Esp)
            }
            Datagram::Ike => Arrival::Ike,
            Datagram::Keepalive => Arrival::Drop(DropReason::Keepalive),
            Datagram::Malformed => Arrival::Drop(DropReason::BadEncap),
        },
        udp_encap::IKE_PORT => Arrival::Ike,
        _ => Arrival::Clear,
    }
}
