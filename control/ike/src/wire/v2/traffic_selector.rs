//! TSi and TSr payloads (RFC 7296 §3.13).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::error::{Fault, WireError};
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

const IPV4_RANGE: u8 = 7;
const IPV6_RANGE: u8 = 8;

/// Addresses from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressRange {
    /// Of IPv4.
    V4(Ipv4Addr, Ipv4Addr),
    /// Of IPv6.
    V6(Ipv6Addr, Ipv6Addr),
}

impl AddressRange {
    /// From one address to another; `None` if they are of different families.
    pub const fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => Some(Self::V4(first, last)),
            (IpAddr::V6(first), IpAddr::V6(last)) => Some(Self::V6(first, last)),
            _ => None,
        }
    }

    /// The lowest address.
    pub const fn first(&self) -> IpAddr {
        match *self {
            Self::V4(first, _) => IpAddr::V4(first),
            Self::V6(first, _) => IpAddr::V6(first),
        }
    }

    /// The highest address.
    pub const fn last(&self) -> IpAddr {
        match *self {
            Self::V4(_, last) => IpAddr::V4(last),
            Self::V6(_, last) => IpAddr::V6(last),
        }
    }
}

/// A range of addresses with a protocol and a range of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IpSelector {
    /// IP protocol, 0 for any.
    pub protocol: u8,
    /// Lowest port; with ICMP, type and code of the lowest (RFC 7296 §3.13.1). 65535 with an `end_port` of 0 means OPAQUE.
    pub start_port: u16,
    /// Highest port.
    pub end_port: u16,
    /// The addresses. A sender can turn first and last around: such a range is empty.
    pub addresses: AddressRange,
}

/// One item of a TSi or TSr payload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TrafficSelector {
    /// TS_IPV4_ADDR_RANGE or TS_IPV6_ADDR_RANGE.
    Ip(IpSelector),
    /// Another type: never matches here, but can be shown.
    Unknown {
        /// Its type.
        kind: u8,
        /// The octet that is the IP protocol in other types.
        protocol: u8,
        /// What follows its length.
        body: Vec<u8>,
    },
}

impl TrafficSelector {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let kind = reader.u8("TS type")?;
        let protocol = reader.u8("IP protocol ID")?;
        let length = usize::from(reader.u16("selector length")?);
        let body = length
            .checked_sub(4)
            .ok_or(reader.error("selector length", Fault::Length(length)))?;
        let mut body = reader.part(body, "selector")?;
        if !matches!(kind, IPV4_RANGE | IPV6_RANGE) {
            return Ok(Self::Unknown {
                kind,
                protocol,
                body: body.rest().to_vec(),
            });
        }
        let start_port = body.u16("start port")?;
        let end_port = body.u16("end port")?;
        let addresses = if kind == IPV4_RANGE {
            AddressRange::V4(
                body.array::<4>("starting address")?.into(),
                body.array::<4>("ending address")?.into(),
            )
        } else {
            AddressRange::V6(
                body.array::<16>("starting address")?.into(),
                body.array::<16>("ending address")?.into(),
            )
        };
        body.end("selector length")?;
        Ok(Self::Ip(IpSelector {
            protocol,
            start_port,
            end_port,
            addresses,
        }))
    }

    fn emit(&self, writer: &mut Writer) {
        let (kind, protocol) = match self {
            Self::Ip(ip) => match ip.addresses {
                AddressRange::V4(..) => (IPV4_RANGE, ip.protocol),
                AddressRange::V6(..) => (IPV6_RANGE, ip.protocol),
            },
            Self::Unknown { kind, protocol, .. } => (*kind, *protocol),
        };
        writer.u8(kind);
        writer.u8(protocol);
        let length = writer.open_length(2);
        match self {
            Self::Ip(ip) => {
                writer.u16(ip.start_port);
                writer.u16(ip.end_port);
                match ip.addresses {
                    AddressRange::V4(first, last) => {
                        writer.bytes(&first.octets());
                        writer.bytes(&last.octets());
                    }
                    AddressRange::V6(first, last) => {
                        writer.bytes(&first.octets());
                        writer.bytes(&last.octets());
                    }
                }
            }
            Self::Unknown { body, .. } => writer.bytes(body),
        }
        writer.close(length, "TS", "selector length");
    }
}

/// The traffic selectors of one side: at most 255, as their count has one octet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrafficSelectors {
    /// The items, the triggering packet's first where there is one (RFC 7296 §2.9).
    pub selectors: Vec<TrafficSelector>,
}

impl TrafficSelectors {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let count = reader.u8("number of TSs")?;
        reader.array::<3>("reserved")?;
        if count == 0 {
            return Err(reader.error("number of TSs", Fault::Value(0)));
        }
        let selectors = (0..count)
            .map(|_| TrafficSelector::parse(reader))
            .collect::<Result<_, _>>()?;
        reader.end("octets after the last selector")?;
        Ok(Self { selectors })
    }

    pub(super) fn emit(&self, writer: &mut Writer) {
        writer.count8("TS", "number of TSs", self.selectors.len());
        writer.bytes(&[0; 3]);
        for selector in &self.selectors {
            selector.emit(writer);
        }
    }
}
