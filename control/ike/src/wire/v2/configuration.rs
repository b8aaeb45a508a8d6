//! CP payloads: addresses and the like, asked for and given (RFC 7296 §3.15, RFC 5739, RFC 8598).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::wire::code::codes;
use crate::wire::error::{Fault, WireError};
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

/// Attributes in one payload: dozens of split subnets and names fit.
const MAX_ATTRIBUTES: usize = 1024;

codes! {
    /// Whether attributes are asked for or given (RFC 7296 §3.15.1).
    pub enum ConfigurationType: u8 {
        Request = 1, "CFG_REQUEST";
        Reply = 2, "CFG_REPLY";
        Set = 3, "CFG_SET";
        Ack = 4, "CFG_ACK";
    }
}

/// One attribute. Where a value is `None`, it is asked for without a wish, or acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigurationAttribute {
    /// INTERNAL_IP4_ADDRESS, 1.
    Ip4Address(Option<Ipv4Addr>),
    /// INTERNAL_IP4_NETMASK, 2.
    Ip4Netmask(Option<Ipv4Addr>),
    /// INTERNAL_IP4_DNS, 3.
    Ip4Dns(Option<Ipv4Addr>),
    /// INTERNAL_IP4_NBNS, 4.
    Ip4Nbns(Option<Ipv4Addr>),
    /// INTERNAL_IP4_DHCP, 6.
    Ip4Dhcp(Option<Ipv4Addr>),
    /// APPLICATION_VERSION, 7: text without a terminating zero.
    ApplicationVersion(Vec<u8>),
    /// INTERNAL_IP6_ADDRESS, 8: address and prefix length.
    Ip6Address(Option<(Ipv6Addr, u8)>),
    /// INTERNAL_IP6_DNS, 10.
    Ip6Dns(Option<Ipv6Addr>),
    /// INTERNAL_IP6_DHCP, 12.
    Ip6Dhcp(Option<Ipv6Addr>),
    /// INTERNAL_IP4_SUBNET, 13: address and netmask.
    Ip4Subnet(Option<(Ipv4Addr, Ipv4Addr)>),
    /// SUPPORTED_ATTRIBUTES, 14: the types that are understood.
    SupportedAttributes(Vec<u16>),
    /// INTERNAL_IP6_SUBNET, 15: address and prefix length.
    Ip6Subnet(Option<(Ipv6Addr, u8)>),
    /// INTERNAL_IP6_LINK, 17 (RFC 5739): interface identifier and the server's link ID.
    Ip6Link([u8; 8], Vec<u8>),
    /// INTERNAL_IP6_PREFIX, 18 (RFC 5739): prefix and its length.
    Ip6Prefix(Option<(Ipv6Addr, u8)>),
    /// INTERNAL_DNS_DOMAIN, 25 (RFC 8598): a domain to be resolved inside.
    DnsDomain(Vec<u8>),
    /// INTERNAL_DNSSEC_TA, 26 (RFC 8598): key tag, algorithm, digest type and digest of the domain before it.
    DnssecTrustAnchor(Option<(u16, u8, u8, Vec<u8>)>),
    /// Any other; ignored on receipt.
    Unknown(u16, Vec<u8>),
}

impl ConfigurationAttribute {
    /// Its type.
    pub const fn kind(&self) -> u16 {
        match self {
            Self::Ip4Address(_) => 1,
            Self::Ip4Netmask(_) => 2,
            Self::Ip4Dns(_) => 3,
            Self::Ip4Nbns(_) => 4,
            Self::Ip4Dhcp(_) => 6,
            Self::ApplicationVersion(_) => 7,
            Self::Ip6Address(_) => 8,
            Self::Ip6Dns(_) => 10,
            Self::Ip6Dhcp(_) => 12,
            Self::Ip4Subnet(_) => 13,
            Self::SupportedAttributes(_) => 14,
            Self::Ip6Subnet(_) => 15,
            Self::Ip6Link(..) => 17,
            Self::Ip6Prefix(_) => 18,
            Self::DnsDomain(_) => 25,
            Self::DnssecTrustAnchor(_) => 26,
            Self::Unknown(kind, _) => *kind,
        }
    }

    fn parse(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        // The highest bit is reserved.
        let kind = reader.u16("attribute type")? & 0x7fff;
        let length = reader.u16("attribute length")?;
        let mut value = reader.part(length.into(), "attribute value")?;
        Self::parse_value(kind, &mut value)
    }

    /// Reads a value of this type.
    fn parse_value(kind: u16, value: &mut Reader<'_>) -> Result<Self, WireError> {
        let attribute = match kind {
            1 => Self::Ip4Address(ip4(value)?),
            2 => Self::Ip4Netmask(ip4(value)?),
            3 => Self::Ip4Dns(ip4(value)?),
            4 => Self::Ip4Nbns(ip4(value)?),
            6 => Self::Ip4Dhcp(ip4(value)?),
            7 => Self::ApplicationVersion(value.rest().to_vec()),
            8 => Self::Ip6Address(optional(value, |value| {
                let address = ip6_octets(value)?;
                // Some clients send the address alone.
                let alone = value.is_empty();
                Ok((address, if alone { 128 } else { prefix_length(value)? }))
            })?),
            10 => Self::Ip6Dns(optional(value, ip6_octets)?),
            12 => Self::Ip6Dhcp(optional(value, ip6_octets)?),
            13 => Self::Ip4Subnet(optional(value, |value| {
                Ok((ip4_octets(value)?, ip4_octets(value)?))
            })?),
            14 => {
                let mut kinds = Vec::with_capacity(value.len() / 2);
                while !value.is_empty() {
                    kinds.push(value.u16("supported attribute")? & 0x7fff);
                }
                Self::SupportedAttributes(kinds)
            }
            15 => Self::Ip6Subnet(optional(value, ip6_prefix)?),
            17 => Self::Ip6Link(value.array("link interface ID")?, value.rest().to_vec()),
            18 => Self::Ip6Prefix(optional(value, ip6_prefix)?),
            25 => Self::DnsDomain(value.rest().to_vec()),
            26 => Self::DnssecTrustAnchor(optional(value, |value| {
                Ok((
                    value.u16("key tag")?,
                    value.u8("DNSKEY algorithm")?,
                    value.u8("digest type")?,
                    value.rest().to_vec(),
                ))
            })?),
            kind => Self::Unknown(kind, value.rest().to_vec()),
        };
        value.end("attribute length")?;
        Ok(attribute)
    }

    fn emit(&self, writer: &mut Writer) {
        writer.u16(self.kind() & 0x7fff);
        let value = self.value();
        writer.count16("CP", "attribute length", value.len());
        writer.bytes(&value);
    }

    fn value(&self) -> Vec<u8> {
        let ip6 = |&(address, length): &(Ipv6Addr, u8)| [&address.octets()[..], &[length]].concat();
        match self {
            Self::Ip4Address(address)
            | Self::Ip4Netmask(address)
            | Self::Ip4Dns(address)
            | Self::Ip4Nbns(address)
            | Self::Ip4Dhcp(address) => given(address, |address| address.octets().to_vec()),
            Self::Ip6Dns(address) | Self::Ip6Dhcp(address) => {
                given(address, |address| address.octets().to_vec())
            }
            Self::ApplicationVersion(octets)
            | Self::DnsDomain(octets)
            | Self::Unknown(_, octets) => octets.clone(),
            Self::Ip6Address(value) | Self::Ip6Subnet(value) | Self::Ip6Prefix(value) => {
                given(value, ip6)
            }
            Self::Ip4Subnet(value) => given(value, |(address, mask)| {
                [address.octets(), mask.octets()].concat()
            }),
            Self::SupportedAttributes(kinds) => {
                kinds.iter().flat_map(|kind| kind.to_be_bytes()).collect()
            }
            Self::Ip6Link(interface, link) => [&interface[..], link].concat(),
            Self::DnssecTrustAnchor(value) => given(value, |(tag, algorithm, kind, digest)| {
                let [high, low] = tag.to_be_bytes();
                [&[high, low, *algorithm, *kind][..], digest].concat()
            }),
        }
    }
}

fn given<T>(value: &Option<T>, octets: impl FnOnce(&T) -> Vec<u8>) -> Vec<u8> {
    value.as_ref().map(octets).unwrap_or_default()
}

/// `None` for no octets, else a value.
fn optional<'a, T>(
    value: &mut Reader<'a>,
    parse: impl FnOnce(&mut Reader<'a>) -> Result<T, WireError>,
) -> Result<Option<T>, WireError> {
    if value.is_empty() {
        Ok(None)
    } else {
        parse(value).map(Some)
    }
}

fn ip4(value: &mut Reader<'_>) -> Result<Option<Ipv4Addr>, WireError> {
    optional(value, ip4_octets)
}

fn ip4_octets(value: &mut Reader<'_>) -> Result<Ipv4Addr, WireError> {
    value.array::<4>("IPv4 address").map(Into::into)
}

fn ip6_octets(value: &mut Reader<'_>) -> Result<Ipv6Addr, WireError> {
    value.array::<16>("IPv6 address").map(Into::into)
}

fn ip6_prefix(value: &mut Reader<'_>) -> Result<(Ipv6Addr, u8), WireError> {
    Ok((ip6_octets(value)?, prefix_length(value)?))
}

fn prefix_length(value: &mut Reader<'_>) -> Result<u8, WireError> {
    match value.u8("prefix length")? {
        length @ 0..=128 => Ok(length),
        length => Err(value.error("prefix length", Fault::Value(length.into()))),
    }
}

/// Attributes asked for or given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// Which of the two.
    pub kind: ConfigurationType,
    /// The attributes, in order.
    pub attributes: Vec<ConfigurationAttribute>,
}

impl Configuration {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let kind = ConfigurationType::from_number(reader.u8("CFG type")?);
        reader.array::<3>("reserved")?;
        let mut attributes = Vec::new();
        while !reader.is_empty() {
            if attributes.len() == MAX_ATTRIBUTES {
                return Err(reader.error("attributes", Fault::TooMany(MAX_ATTRIBUTES)));
            }
            attributes.push(ConfigurationAttribute::parse(reader)?);
        }
        Ok(Self { kind, attributes })
    }

    pub(super) fn emit(&self, writer: &mut Writer) {
        writer.u8(self.kind.number());
        writer.bytes(&[0; 3]);
        for attribute in &self.attributes {
            attribute.emit(writer);
        }
    }
}
