//! tshark reads in every kind of IKE payload what was written into it, and finds nothing malformed.

use crate::peers::tshark::{dissect, write_capture};
use adit_abi::{Protocol, Spi};
use adit_ike::wire::IkeSpi;
use adit_ike::wire::v2::*;
use std::path::Path;

fn header(exchange: ExchangeType) -> Header {
    Header {
        initiator_spi: IkeSpi([0x11; 8]),
        responder_spi: IkeSpi([0x22; 8]),
        exchange,
        from_initiator: true,
        response: false,
        message_id: 7,
    }
}

/// A message in UDP between ports 500, in IPv4.
fn packet(message: &[u8]) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64);
    let builder = builder.udp(500, 500);
    let mut packet = Vec::with_capacity(builder.size(message.len()));
    let written = builder.write(&mut packet, message);
    written.expect("a datagram");
    packet
}

fn proposals() -> Payload {
    let esp = Proposal {
        number: 1,
        protocol: ProtocolId::Esp,
        spi: SpiField::Child(Spi(0xc0ff_ee01)),
        transforms: vec![
            Transform::with_key_length(TransformType::Encryption, 20, 256),
            Transform::new(TransformType::KeyExchange, 31),
            Transform::new(TransformType::SequenceNumbers, 1),
        ],
    };
    let ike = Proposal {
        number: 2,
        protocol: ProtocolId::Ike,
        spi: SpiField::Ike(IkeSpi([9; 8])),
        transforms: vec![
            Transform::with_key_length(TransformType::Encryption, 12, 128),
            Transform::new(TransformType::Prf, 5),
            Transform::new(TransformType::Integrity, 12),
            Transform::new(TransformType::KeyExchange, 14),
        ],
    };
    let proposals = vec![esp, ike];
    Payload::SecurityAssociation(SecurityAssociation { proposals })
}

fn selectors() -> TrafficSelectors {
    let v4 = IpSelector {
        protocol: 6,
        start_port: 80,
        end_port: 443,
        addresses: AddressRange::V4([10, 1, 0, 0].into(), [10, 1, 255, 255].into()),
    };
    let [first, last] = ["fd00::", "fd00::ffff"].map(|a| a.parse().expect("an address"));
    let v6 = IpSelector {
        protocol: 0,
        start_port: 0,
        end_port: 65535,
        addresses: AddressRange::V6(first, last),
    };
    TrafficSelectors {
        selectors: vec![TrafficSelector::Ip(v4), TrafficSelector::Ip(v6)],
    }
}

fn configuration() -> Payload {
    use ConfigurationAttribute as A;
    let address = "fd00::1".parse().expect("an address");
    Payload::Configuration(Configuration {
        kind: ConfigurationType::Reply,
        attributes: vec![
            A::Ip4Address(Some([10, 9, 0, 1].into())),
            A::Ip6Address(Some((address, 64))),
            A::Ip6Dns(Some(address)),
            A::Ip4Subnet(Some(([10, 0, 0, 0].into(), [255, 0, 0, 0].into()))),
            A::Ip6Prefix(Some((address, 48))),
            A::SupportedAttributes(vec![1, 8]),
        ],
    })
}

/// Each payload, and what tshark's text of it must hold.
fn payloads() -> Vec<(Payload, &'static [&'static str])> {
    const DER: &[u8] = &[0x30, 0x03, 0x06, 0x01, 0x2a];
    let name = Identification {
        kind: IdType::Fqdn,
        data: b"gate.test".to_vec(),
    };
    let address = Identification {
        kind: IdType::Ipv4Address,
        data: vec![192, 0, 2, 9],
    };
    let auth = Authentication::digital_signature(DER, &[0x77; 64]).expect("it is short");
    let request = CertificateRequest {
        encoding: CertificateEncoding::X509Signature,
        authorities: vec![0xaa; 40],
    };
    let url = Certificate {
        encoding: CertificateEncoding::HashAndUrlX509Certificate,
        data: [&[0x33; 20][..], b"http://ca.test/a.der"].concat(),
    };
    let exchange = KeyExchange {
        method: 31,
        data: vec![0xab; 32],
    };
    let nonce = Nonce::new(vec![0xcd; 32]).expect("32 octets");
    let deleted = Delete::Child {
        protocol: Protocol::Esp,
        spis: vec![Spi(0x1000_0001), Spi(0x1000_0002)],
    };
    let rekey = Notify::about_child(NotifyType::RekeySa, Protocol::Esp, Spi(0x0102_0304));
    let private = PrivatePayload {
        kind: 200,
        critical: false,
        body: vec![1, 2],
    };
    vec![
        (
            proposals(),
            &[
                "Payload: Proposal (2) # 1",
                "Protocol ID: ESP (3)",
                "SPI: c0ffee01",
                "Transform ID (ENCR): AES-GCM with a 16 octet ICV (20)",
                "Key Length: 256",
                "Transform ID (ESN): Extended Sequence Numbers (1)",
                "Payload: Proposal (2) # 2",
                "SPI: 0909090909090909",
                "Transform ID (PRF): PRF_HMAC_SHA2_256 (5)",
                "Transform ID (INTEG): AUTH_HMAC_SHA2_256_128 (12)",
                "Transform ID (D-H): 2048 bit MODP group (14)",
            ],
        ),
        (
            Payload::KeyExchange(exchange),
            &[
                "DH Group #: Curve25519 (31)",
                "Key Exchange Data: abababababababababababababababababababababababababababababababab",
            ],
        ),
        (Payload::IdInitiator(name), &["ID_FQDN: gate.test"]),
        (Payload::IdResponder(address), &["ID_IPV4_ADDR: 192.0.2.9"]),
        (
            Payload::Certificate(url),
            &[
                "Hash: 3333333333333333333333333333333333333333",
                "URL: http://ca.test/a.der",
            ],
        ),
        (
            Payload::CertificateRequest(request),
            &["Certificate Authority Data: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"],
        ),
        (
            Payload::Authentication(auth),
            &[
                "Authentication Method: Digital Signature (14)",
                "ASN.1 Length: 5",
                "ASN.1 Data: 300306012a",
                "Signature Value: 77777777",
            ],
        ),
        (
            Payload::Nonce(nonce),
            &["Nonce DATA: cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"],
        ),
        (
            Payload::Notify(rekey),
            &["Notify Message Type: REKEY_SA (16393)", "SPI: 01020304"],
        ),
        (
            Payload::Delete(deleted),
            &["Number of SPIs: 2", "Delete SPI: 10000002"],
        ),
        (Payload::Delete(Delete::Ike), &["Protocol ID: IKE (1)"]),
        (
            Payload::VendorId(b"adit".to_vec()),
            &["Vendor ID: 61646974"],
        ),
        (
            Payload::TrafficSelectorsInitiator(selectors()),
            &[
                "Number of Traffic Selectors: 2",
                "Protocol ID: TCP (6)",
                "Start Port: 80",
                "End Port: 443",
                "Ending Addr: 10.1.255.255",
                "Ending Addr: fd00::ffff",
            ],
        ),
        (
            Payload::TrafficSelectorsResponder(selectors()),
            &["Starting Addr: 10.1.0.0"],
        ),
        (
            configuration(),
            &[
                "Type: CFG_REPLY (2)",
                "INTERNAL IP4 ADDRESS: 10.9.0.1",
                "INTERNAL IP6 ADDRESS (PREFIX): 64",
                "INTERNAL IP6 DNS: fd00::1",
                "INTERNAL IP4 SUBNET (NETMASK): 255.0.0.0",
                "INTERNAL_IP6_PREFIX (Length): 48",
                "SUPPORTED ATTRIBUTES: 8",
            ],
        ),
        (
            Payload::Eap(vec![1, 7, 0, 5, 1]),
            &["Code: Request (1)", "Id: 7", "Type: Identity (1)"],
        ),
        (Payload::Private(private), &["Data Payload: 0102"]),
    ]
}

#[test]
fn tshark_reads_in_every_payload_what_was_written() {
    let payloads = payloads();
    let packets: Vec<_> = payloads
        .iter()
        .map(|(payload, _)| {
            let message = Message::emit(
                &header(ExchangeType::IkeSaInit),
                std::slice::from_ref(payload),
            );
            packet(&message.expect("it fits"))
        })
        .collect();
    let capture = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ike-payloads.pcap");
    write_capture(&capture, &packets);
    let texts = or_skip!(dissect(&capture, "isakmp"));
    assert_eq!(texts.len(), payloads.len());
    for ((payload, expected), text) in payloads.iter().zip(&texts) {
        well_formed(text);
        for line in [
            "Initiator SPI: 1111111111111111",
            "Exchange type: IKE_SA_INIT (34)",
            "Flags: 0x08 (Initiator, No higher version, Request)",
            "Message ID: 0x00000007",
        ]
        .iter()
        .chain(*expected)
        {
            assert!(text.contains(line), "{payload:?}: no `{line}` in\n{text}");
        }
    }
}

#[test]
fn tshark_knows_every_notification_by_the_name_we_give_it() {
    // Its registry is older than these, and calls 46 by the name of 44.
    let newer = |kind: NotifyType| kind.number() > 16431 || (46..=48).contains(&kind.number());
    let kinds: Vec<_> = NotifyType::KNOWN
        .iter()
        .copied()
        .filter(|k| !newer(*k))
        .collect();
    let packets: Vec<_> = kinds
        .iter()
        .map(|kind| {
            let notify = Payload::Notify(Notify::new(*kind, []));
            packet(
                &Message::emit(&header(ExchangeType::Informational), &[notify]).expect("it fits"),
            )
        })
        .collect();
    let capture = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ike-notifications.pcap");
    write_capture(&capture, &packets);
    let texts = or_skip!(dissect(&capture, "isakmp"));
    assert_eq!(texts.len(), kinds.len());
    for (kind, text) in kinds.iter().zip(&texts) {
        let line = format!("Notify Message Type: {kind} ({})", kind.number());
        assert!(text.contains(&line), "no `{line}` in\n{text}");
    }
}

#[test]
fn tshark_finds_the_parts_of_encrypted_messages() {
    let sealing = Sealing {
        iv: 8,
        block: 1,
        icv: 16,
    };
    let payloads = [Payload::VendorId(vec![0; 700])];
    let split =
        |limit| split(&header(ExchangeType::IkeAuth), &payloads, &sealing, limit).expect("it fits");
    let messages: Vec<_> = split(1000).into_iter().chain(split(500)).collect();
    let packets: Vec<_> = messages.into_iter().map(|m| packet(&m.finish())).collect();
    let capture = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ike-encrypted.pcap");
    write_capture(&capture, &packets);
    let texts = or_skip!(dissect(&capture, "isakmp"));
    let expected = [
        "Payload: Encrypted and Authenticated (46)|Next payload: Vendor ID (43)",
        "Payload: Encrypted and Authenticated Fragment (53)|Next payload: Vendor ID (43)|Fragment Number: 1|Total Fragments: 2",
        "Payload: Encrypted and Authenticated Fragment (53)|Next payload: NONE|Fragment Number: 2|Total Fragments: 2",
    ];
    assert_eq!(texts.len(), expected.len());
    for (text, lines) in texts.iter().zip(expected) {
        for line in lines.split('|') {
            assert!(text.contains(line), "no `{line}` in\n{text}");
        }
    }
}

#[track_caller]
fn well_formed(text: &str) {
    for complaint in ["Malformed", "Expert Info", "bogus", "Extra data"] {
        assert!(!text.contains(complaint), "{text}");
    }
}
