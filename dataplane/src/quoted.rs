//! The packet that an ICMP error quotes: the beginning of what could not be delivered (RFC 792, RFC 4443 §3).

use adit_abi::{Address, Flow};
use zerocopy::FromBytes;

use crate::headers::icmp;
use crate::headers::ipv4::{self, Ipv4};
use crate::headers::ipv6::{self, Extension, Ipv6};
use crate::headers::protocol;
use crate::packet::Packet;

/// Extension headers looked through in a quoted IPv6 packet.
const MAX_EXTENSIONS: usize = 8;

/// What can be read of a quoted packet.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a> {
    /// Who sent it.
    pub source: Address,
    /// For whom it was.
    pub destination: Address,
    /// Upper-layer protocol.
    pub protocol: u8,
    /// Bytes that the whole packet had, as its header says.
    pub len: usize,
    /// Its upper-layer header, as far as it is quoted; empty in a later fragment.
    pub upper: &'a [u8],
}

impl<'a> Quoted<'a> {
    /// What an ICMP error quotes; `None` if it is cut before the addresses are all there.
    pub fn of(error: &'a Packet) -> Option<Self> {
        let bytes = error.upper().get(icmp::LEN..)?;
        match bytes.first()? >> 4 {
            4 if error.is_v4() => Self::parse_v4(bytes),
            6 if !error.is_v4() => Self::parse_v6(bytes),
            _ => None,
        }
    }

    fn parse_v4(bytes: &'a [u8]) -> Option<Self> {
        let (ip, _) = Ipv4::ref_from_prefix(bytes).ok()?;
        let later = ip.fragment.get() & ipv4::OFFSET != 0;
        let upper = bytes.get(ip.header_len().max(ipv4::LEN)..);
        Some(Self {
            source: Address::v4(ip.source),
            destination: Address::v4(ip.destination),
            protocol: ip.protocol,
            len: ip.total_len.get().into(),
            upper: upper.filter(|_| !later).unwrap_or_default(),
        })
    }

    fn parse_v6(bytes: &'a [u8]) -> Option<Self> {
        let (ip, mut rest) = Ipv6::ref_from_prefix(bytes).ok()?;
        let mut protocol = ip.next_header;
        for _ in 0..MAX_EXTENSIONS {
            let length = match protocol {
                protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS => {
                    Extension::ref_from_prefix(rest).ok()?.0.total_len()
                }
                protocol::FRAGMENT => {
                    let (header, _) = Extension::ref_from_prefix(rest).ok()?;
                    if header.is_later_fragment() {
                        rest = &[];
                        protocol = header.next_header;
                        break;
                    }
                    size_of::<Extension>()
                }
                _ => break,
            };
            protocol = rest.first().copied()?;
            rest = rest.get(length..)?;
        }
        Some(Self {
            source: Address::v6(ip.source),
            destination: Address::v6(ip.destination),
            protocol,
            len: ipv6::LEN + usize::from(ip.payload_len.get()),
            upper: rest,
        })
    }

    /// What selectors look at when its sender is the protected end, and whether its ports are shown.
    pub fn flow_outward(&self) -> (Flow, bool) {
        let ports = match (self.protocol, self.upper.first_chunk::<4>()) {
            (protocol::ICMP | protocol::ICMPV6, Some([kind, code, ..])) => {
                Some([u16::from(*kind) << 8 | u16::from(*code), 0])
            }
            (
                protocol::TCP
                | protocol::UDP
                | protocol::SCTP
                | protocol::DCCP
                | protocol::UDP_LITE,
                Some([a, b, c, d]),
            ) => Some([u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])]),
            (
                protocol::ICMP
                | protocol::ICMPV6
                | protocol::TCP
                | protocol::UDP
                | protocol::SCTP
                | protocol::DCCP
                | protocol::UDP_LITE,
                None,
            ) => None,
            _ => Some([0, 0]),
        };
        let [local_port, remote_port] = ports.unwrap_or_default();
        let flow = Flow {
            local: self.source,
            remote: self.destination,
            protocol: self.protocol,
            local_port,
            remote_port,
        };
        (flow, ports.is_some())
    }
}
