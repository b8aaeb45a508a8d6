//! Whatever can be said in a payload is read back as it was said.

use adit_abi::{Protocol, Spi};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::wire::v2::*;
use crate::wire::{Attribute, AttributeValue, IkeSpi};

fn octets(most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=most)
}

fn spi_field() -> impl Strategy<Value = SpiField> {
    prop_oneof![
        Just(SpiField::None),
        any::<u32>().prop_map(|spi| SpiField::Child(Spi(spi))),
        any::<[u8; 8]>().prop_map(|spi| SpiField::Ike(IkeSpi(spi))),
        vec(any::<u8>(), 9..255).prop_map(SpiField::Unknown),
    ]
}

fn attribute() -> impl Strategy<Value = Attribute> {
    let value = prop_oneof![
        any::<u16>().prop_map(AttributeValue::Short),
        octets(20).prop_map(AttributeValue::Long),
    ];
    // 14 is the key length, which has a place of its own.
    (15_u16..0x8000, value).prop_map(|(kind, value)| Attribute { kind, value })
}

fn transform() -> impl Strategy<Value = Transform> {
    let fields = (
        any::<u8>(),
        any::<u16>(),
        option::of(any::<u16>()),
        vec(attribute(), 0..3),
    );
    fields.prop_map(|(kind, id, key_length, unknown_attributes)| Transform {
        kind: TransformType::from_number(kind),
        id,
        key_length,
        unknown_attributes,
    })
}

fn security_association() -> impl Strategy<Value = SecurityAssociation> {
    let proposal = (any::<u8>(), spi_field(), vec(transform(), 0..12));
    vec(proposal, 1..6).prop_map(|proposals| SecurityAssociation {
        proposals: (1..)
            .zip(proposals)
            .map(|(number, (protocol, spi, transforms))| Proposal {
                number,
                protocol: ProtocolId::from_number(protocol),
                spi,
                transforms,
            })
            .collect(),
    })
}

fn identification() -> impl Strategy<Value = Identification> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|a| (1, a.to_vec())),
        any::<[u8; 16]>().prop_map(|a| (5, a.to_vec())),
        (6_u8.., octets(300)),
    ]
    .prop_map(|(kind, data)| Identification {
        kind: IdType::from_number(kind),
        data,
    })
}

fn notify() -> impl Strategy<Value = Notify> {
    (any::<u8>(), spi_field(), any::<u16>(), octets(100)).prop_map(|(protocol, spi, kind, data)| {
        Notify {
            protocol: ProtocolId::from_number(protocol),
            spi,
            kind: NotifyType::from_number(kind),
            data,
        }
    })
}

fn delete() -> impl Strategy<Value = Delete> {
    let child = |protocol| {
        vec(any::<u32>().prop_map(Spi), 0..20)
            .prop_map(move |spis| Delete::Child { protocol, spis })
    };
    let unknown = (4_u8.., 1_u8..20, 0_usize..10).prop_map(|(protocol, spi_size, count)| {
        let spis = vec![0x7e; usize::from(spi_size) * count];
        Delete::Unknown {
            protocol,
            spi_size,
            spis,
        }
    });
    prop_oneof![
        Just(Delete::Ike),
        child(Protocol::Esp),
        child(Protocol::Ah),
        unknown
    ]
}

fn traffic_selectors() -> impl Strategy<Value = TrafficSelectors> {
    let range = prop_oneof![
        any::<[[u8; 4]; 2]>().prop_map(|[a, b]| AddressRange::V4(a.into(), b.into())),
        any::<[[u8; 16]; 2]>().prop_map(|[a, b]| AddressRange::V6(a.into(), b.into())),
    ];
    let ip = (any::<u8>(), any::<[u16; 2]>(), range).prop_map(|(protocol, ports, addresses)| {
        TrafficSelector::Ip(IpSelector {
            protocol,
            start_port: ports[0],
            end_port: ports[1],
            addresses,
        })
    });
    let unknown = (9_u8.., any::<u8>(), octets(30)).prop_map(|(kind, protocol, body)| {
        TrafficSelector::Unknown {
            kind,
            protocol,
            body,
        }
    });
    vec(prop_oneof![4 => ip, 1 => unknown], 1..12)
        .prop_map(|selectors| TrafficSelectors { selectors })
}

fn configuration_attribute() -> impl Strategy<Value = ConfigurationAttribute> {
    use ConfigurationAttribute as A;
    let v4 = || option::of(any::<[u8; 4]>().prop_map(std::net::Ipv4Addr::from));
    let v6 = || option::of(any::<[u8; 16]>().prop_map(std::net::Ipv6Addr::from));
    let prefix = || {
        option::of((
            any::<[u8; 16]>().prop_map(std::net::Ipv6Addr::from),
            0_u8..=128,
        ))
    };
    let subnet = option::of(any::<[[u8; 4]; 2]>().prop_map(|[a, m]| (a.into(), m.into())));
    let anchor = option::of((any::<u16>(), any::<u8>(), any::<u8>(), octets(48)));
    prop_oneof![
        v4().prop_map(A::Ip4Address),
        v4().prop_map(A::Ip4Netmask),
        v4().prop_map(A::Ip4Dns),
        v4().prop_map(A::Ip4Nbns),
        v4().prop_map(A::Ip4Dhcp),
        octets(20).prop_map(A::ApplicationVersion),
        prefix().prop_map(A::Ip6Address),
        v6().prop_map(A::Ip6Dns),
        v6().prop_map(A::Ip6Dhcp),
        subnet.prop_map(A::Ip4Subnet),
        vec(0_u16..0x8000, 0..20).prop_map(A::SupportedAttributes),
        prefix().prop_map(A::Ip6Subnet),
        (any::<[u8; 8]>(), octets(20)).prop_map(|(interface, link)| A::Ip6Link(interface, link)),
        prefix().prop_map(A::Ip6Prefix),
        octets(60).prop_map(A::DnsDomain),
        anchor.prop_map(A::DnssecTrustAnchor),
        (27_u16..0x8000, octets(20)).prop_map(|(kind, value)| A::Unknown(kind, value)),
    ]
}

fn payload() -> impl Strategy<Value = Payload> {
    let configuration = (any::<u8>(), vec(configuration_attribute(), 0..12));
    prop_oneof![
        security_association().prop_map(Payload::SecurityAssociation),
        (any::<u16>(), octets(1200))
            .prop_map(|(method, data)| Payload::KeyExchange(KeyExchange { method, data })),
        identification().prop_map(Payload::IdInitiator),
        identification().prop_map(Payload::IdResponder),
        (any::<u8>(), octets(1500)).prop_map(|(encoding, data)| {
            let encoding = CertificateEncoding::from_number(encoding);
            Payload::Certificate(Certificate { encoding, data })
        }),
        (any::<u8>(), octets(100)).prop_map(|(encoding, authorities)| {
            let encoding = CertificateEncoding::from_number(encoding);
            Payload::CertificateRequest(CertificateRequest {
                encoding,
                authorities,
            })
        }),
        (any::<u8>(), octets(600)).prop_map(|(method, data)| {
            let method = AuthMethod::from_number(method);
            Payload::Authentication(Authentication { method, data })
        }),
        vec(any::<u8>(), 16..=256)
            .prop_map(|octets| Payload::Nonce(Nonce::new(octets).expect("16 to 256"))),
        notify().prop_map(Payload::Notify),
        delete().prop_map(Payload::Delete),
        octets(40).prop_map(Payload::VendorId),
        traffic_selectors().prop_map(Payload::TrafficSelectorsInitiator),
        traffic_selectors().prop_map(Payload::TrafficSelectorsResponder),
        configuration.prop_map(|(kind, attributes)| {
            let kind = ConfigurationType::from_number(kind);
            Payload::Configuration(Configuration { kind, attributes })
        }),
        octets(300).prop_map(Payload::Eap),
        (128_u8.., octets(40)).prop_map(|(kind, body)| {
            Payload::Private(PrivatePayload {
                kind,
                critical: false,
                body,
            })
        }),
    ]
}

fn header() -> impl Strategy<Value = Header> {
    let fields = (
        any::<[[u8; 8]; 2]>(),
        any::<u8>(),
        any::<[bool; 2]>(),
        any::<u32>(),
    );
    fields.prop_map(|(spis, exchange, flags, message_id)| Header {
        initiator_spi: IkeSpi(spis[0]),
        responder_spi: IkeSpi(spis[1]),
        exchange: ExchangeType::from_number(exchange),
        from_initiator: flags[0],
        response: flags[1],
        message_id,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn payloads_are_read_as_they_were_written(payloads in vec(payload(), 0..6)) {
        let (first, octets) = emit_payloads(&payloads).expect("it fits");
        prop_assert_eq!(parse_payloads(first, &octets), Ok(payloads));
    }

    #[test]
    fn messages_are_read_as_they_were_written(header in header(), payloads in vec(payload(), 0..4)) {
        let octets = Message::emit(&header, &payloads).expect("it fits");
        let message = Message { header, payloads, encrypted: None };
        prop_assert_eq!(Message::parse(&octets), Ok(message));
    }

    #[test]
    fn a_chain_cut_anywhere_is_refused(payloads in vec(payload(), 1..4), cut in any::<prop::sample::Index>()) {
        let (first, octets) = emit_payloads(&payloads).expect("it fits");
        let cut = cut.index(octets.len());
        prop_assert!(parse_payloads(first, &octets[..cut]).is_err());
    }

    #[test]
    fn a_chain_with_octets_changed_is_read_or_refused(
        payloads in vec(payload(), 1..4),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (first, mut octets) = emit_payloads(&payloads).expect("it fits");
        for (at, octet) in changes {
            let at = at.index(octets.len());
            octets[at] = octet;
        }
        if let Ok(read) = parse_payloads(first, &octets) {
            let (first, again) = emit_payloads(&read).expect("it fits");
            prop_assert_eq!(parse_payloads(first, &again), Ok(read));
        }
    }
}
