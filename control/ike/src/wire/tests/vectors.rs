//! Messages composed by hand from the diagrams of the RFCs, octet by octet.

use adit_abi::{Protocol, Spi};

use crate::wire::v2::*;
use crate::wire::{Attribute, AttributeValue, IkeSpi};

/// Octets of hexadecimal text; spaces and line ends are for the reader.
pub fn octets(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |d: u8| (d as char).to_digit(16).expect("a digit") as u8;
    digits
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

/// Whether one payload, as the only one of a message, reads and writes as these octets of its body.
#[track_caller]
fn same(payload: Payload, body: &str) {
    let body = octets(body);
    let mut chain = vec![0, 0];
    chain.extend((body.len() as u16 + 4).to_be_bytes());
    chain.extend(&body);
    let (first, emitted) = emit_payloads(std::slice::from_ref(&payload)).expect("it fits");
    assert_eq!(emitted, chain);
    assert_eq!(parse_payloads(first, &chain), Ok(vec![payload]));
}

#[test]
fn a_first_request_is_laid_out_as_the_rfc_draws_it() {
    let header = Header {
        initiator_spi: IkeSpi([0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]),
        responder_spi: IkeSpi::ZERO,
        exchange: ExchangeType::IkeSaInit,
        from_initiator: true,
        response: false,
        message_id: 0,
    };
    let payloads = vec![
        Payload::KeyExchange(KeyExchange {
            method: 31,
            data: vec![0xab; 32],
        }),
        Payload::Nonce(Nonce::new(vec![0xcd; 16]).expect("16 octets")),
    ];
    // RFC 7296 §3.1: SPIs, next payload KE, version 2.0, IKE_SA_INIT, initiator flag, message ID, length.
    let mut expected = octets(
        "1122334455667788 0000000000000000
         22 20 22 08 00000000 00000058",
    );
    // §3.2 and §3.4: next payload Nonce, length 40, method 31.
    expected.extend(octets("28 00 0028 001f 0000"));
    expected.extend([0xab; 32]);
    // §3.9: last, length 20.
    expected.extend(octets("00 00 0014"));
    expected.extend([0xcd; 16]);
    let emitted = Message::emit(&header, &payloads).expect("it fits");
    assert_eq!(emitted, expected);
    let parsed = Message::parse(&expected).expect("well-formed");
    assert_eq!(parsed.header, header);
    assert_eq!(parsed.payloads, payloads);
    assert_eq!(parsed.encrypted, None);
}

#[test]
fn proposals_nest_transforms_and_attributes() {
    // RFC 7296 §3.3, §3.3.1, §3.3.2, §3.3.5.
    let transforms = vec![
        Transform::with_key_length(TransformType::Encryption, 20, 256),
        Transform::new(TransformType::KeyExchange, 31),
        Transform::new(TransformType::SequenceNumbers, 1),
    ];
    let first = Proposal {
        number: 1,
        protocol: ProtocolId::Esp,
        spi: SpiField::Child(Spi(0xc0ff_ee01)),
        transforms,
    };
    let second = Proposal {
        number: 2,
        protocol: ProtocolId::Esp,
        spi: SpiField::Child(Spi(0xc0ff_ee02)),
        transforms: vec![Transform {
            kind: TransformType::Unknown(200),
            id: 7,
            key_length: None,
            unknown_attributes: vec![
                Attribute {
                    kind: 99,
                    value: AttributeValue::Long(vec![1, 2, 3]),
                },
                Attribute {
                    kind: 98,
                    value: AttributeValue::Short(5),
                },
            ],
        }],
    };
    same(
        Payload::SecurityAssociation(SecurityAssociation {
            proposals: vec![first, second],
        }),
        "02 00 0028  01 03 04 03  c0ffee01
           03 00 000c  01 00 0014  800e 0100
           03 00 0008  04 00 001f
           00 00 0008  05 00 0001
         00 00 001f  02 03 04 01  c0ffee02
           00 00 0013  c8 00 0007  0063 0003 010203  8062 0005",
    );
}

#[test]
fn an_ike_rekey_proposal_bears_an_eight_octet_spi() {
    // RFC 7296 §3.3.1.
    same(
        Payload::SecurityAssociation(SecurityAssociation {
            proposals: vec![Proposal {
                number: 1,
                protocol: ProtocolId::Ike,
                spi: SpiField::Ike(IkeSpi([1, 2, 3, 4, 5, 6, 7, 8])),
                transforms: vec![Transform::new(TransformType::Prf, 5)],
            }],
        }),
        "00 00 0018  01 01 08 01  0102030405060708
           00 00 0008  02 00 0005",
    );
}

#[test]
fn identities_and_their_proof() {
    // RFC 7296 §3.5.
    same(
        Payload::IdInitiator(Identification {
            kind: IdType::Fqdn,
            data: b"a.test".to_vec(),
        }),
        "02 000000 612e74657374",
    );
    same(
        Payload::IdResponder(Identification {
            kind: IdType::Ipv4Address,
            data: vec![192, 0, 2, 1],
        }),
        "01 000000 c0000201",
    );
    // §3.6, §3.7.
    same(
        Payload::Certificate(Certificate {
            encoding: CertificateEncoding::X509Signature,
            data: vec![0x30, 0],
        }),
        "04 3000",
    );
    let request = CertificateRequest {
        encoding: CertificateEncoding::X509Signature,
        authorities: vec![0xaa; 40],
    };
    assert_eq!(request.key_hashes().count(), 2);
    same(
        Payload::CertificateRequest(request),
        &format!("04 {}", "aa".repeat(40)),
    );
    // §3.8, and RFC 7427 §3: the algorithm's length, the algorithm, the signature.
    let auth = Authentication::digital_signature(&[0x30, 0x05], &[9, 9, 9]).expect("it is short");
    assert_eq!(
        auth.algorithm_and_signature(),
        Ok((&[0x30, 0x05][..], &[9, 9, 9][..]))
    );
    same(Payload::Authentication(auth), "0e 000000 02 3005 090909");
}

#[test]
fn notifications_and_deletions() {
    // RFC 7296 §3.10: a group number with INVALID_KE_PAYLOAD, the SPI with REKEY_SA.
    same(
        Payload::Notify(Notify::new(NotifyType::InvalidKePayload, [0, 31])),
        "00 00 0011 001f",
    );
    let rekey = Notify::about_child(NotifyType::RekeySa, Protocol::Esp, Spi(0x0102_0304));
    same(Payload::Notify(rekey), "03 04 4009 01020304");
    // §3.11.
    same(Payload::Delete(Delete::Ike), "01 00 0000");
    same(
        Payload::Delete(Delete::Child {
            protocol: Protocol::Ah,
            spis: vec![Spi(0x1000_0001), Spi(0x1000_0002)],
        }),
        "02 04 0002 10000001 10000002",
    );
}

#[test]
fn traffic_selectors_of_both_families_and_of_unknown_types() {
    // RFC 7296 §3.13, §3.13.1.
    let v4 = TrafficSelector::Ip(IpSelector {
        protocol: 6,
        start_port: 0,
        end_port: 65535,
        addresses: AddressRange::V4([10, 1, 0, 0].into(), [10, 1, 255, 255].into()),
    });
    let v6 = TrafficSelector::Ip(IpSelector {
        protocol: 0,
        start_port: 65535,
        end_port: 0,
        addresses: AddressRange::V6("fd00::".parse().unwrap(), "fd00::ffff".parse().unwrap()),
    });
    let label = TrafficSelector::Unknown {
        kind: 10,
        protocol: 0,
        body: vec![0x41, 0x42],
    };
    same(
        Payload::TrafficSelectorsInitiator(TrafficSelectors {
            selectors: vec![v4, v6, label],
        }),
        "03 000000
         07 06 0010 0000 ffff 0a010000 0a01ffff
         08 00 0028 ffff 0000 fd000000000000000000000000000000 fd00000000000000000000000000ffff
         0a 00 0006 4142",
    );
}

#[test]
fn configuration_attributes() {
    use ConfigurationAttribute as A;
    // RFC 7296 §3.15, §3.15.1; RFC 5739 §5; RFC 8598 §4.
    same(
        Payload::Configuration(Configuration {
            kind: ConfigurationType::Request,
            attributes: vec![A::Ip4Address(None), A::Ip6Address(None), A::Ip4Dns(None)],
        }),
        "01 000000 0001 0000 0008 0000 0003 0000",
    );
    let fd = "fd00::1".parse().unwrap();
    same(
        Payload::Configuration(Configuration {
            kind: ConfigurationType::Reply,
            attributes: vec![
                A::Ip4Address(Some([10, 9, 0, 1].into())),
                A::Ip6Address(Some((fd, 64))),
                A::Ip6Dns(Some(fd)),
                A::Ip4Subnet(Some(([10, 0, 0, 0].into(), [255, 0, 0, 0].into()))),
                A::SupportedAttributes(vec![1, 8]),
                A::Ip6Prefix(Some((fd, 48))),
                A::Ip6Link([1, 2, 3, 4, 5, 6, 7, 8], vec![0xee]),
                A::DnsDomain(b"corp.test".to_vec()),
                A::DnssecTrustAnchor(Some((0x1234, 13, 2, vec![0xdd; 3]))),
                A::Unknown(28672, vec![0x68, 0x69]),
            ],
        }),
        "02 000000
         0001 0004 0a090001
         0008 0011 fd000000000000000000000000000001 40
         000a 0010 fd000000000000000000000000000001
         000d 0008 0a000000 ff000000
         000e 0004 0001 0008
         0012 0011 fd000000000000000000000000000001 30
         0011 0009 0102030405060708 ee
         0019 0009 636f72702e74657374
         001a 0007 1234 0d 02 dddddd
         7000 0002 6869",
    );
}

#[test]
fn an_ipv6_address_without_prefix_length_is_one_address() {
    let chain = octets("00 00 001c 02 000000 0008 0010 fd000000000000000000000000000001");
    let payloads = parse_payloads(PayloadType::Configuration, &chain).expect("tolerated");
    let [Payload::Configuration(configuration)] = &payloads[..] else {
        panic!("{payloads:?}");
    };
    let one = ConfigurationAttribute::Ip6Address(Some(("fd00::1".parse().unwrap(), 128)));
    assert_eq!(configuration.attributes, [one]);
}

#[test]
fn what_is_carried_as_it_is() {
    // RFC 7296 §3.12, §3.16.
    same(Payload::VendorId(b"adit".to_vec()), "61646974");
    same(Payload::Eap(vec![1, 7, 0, 5, 1]), "01 07 0005 01");
    let private = PrivatePayload {
        kind: 200,
        critical: false,
        body: vec![1, 2],
    };
    same(Payload::Private(private), "0102");
}
