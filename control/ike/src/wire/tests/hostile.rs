//! Messages that lie about lengths, counts and versions.

use super::vectors::octets;
use crate::wire::v2::*;
use crate::wire::{Fault, Header as AnyHeader, IkeSpi, WireError};

fn header(first: u8, version: u8, length: usize) -> Vec<u8> {
    let mut octets = octets("1111111111111111 0000000000000000 00 00 22 08 00000000 00000000");
    octets[16] = first;
    octets[17] = version;
    octets[24..].copy_from_slice(&(length as u32).to_be_bytes());
    octets
}

/// The error of one payload with this body.
#[track_caller]
fn refused(kind: PayloadType, body: &str) -> WireError {
    let body = octets(body);
    let mut chain = vec![0, 0];
    chain.extend((body.len() as u16 + 4).to_be_bytes());
    chain.extend(body);
    parse_payloads(kind, &chain).expect_err("to be refused")
}

#[test]
fn a_version_1_message_is_told_by_its_header() {
    let datagram = header(1, 0x10, 28);
    let header = AnyHeader::parse(&datagram).expect("a header");
    assert_eq!(header.version.major, 1);
    assert_eq!(header.initiator_spi, IkeSpi([0x11; 8]));
    let error = Message::parse(&datagram).expect_err("not version 2");
    assert_eq!(error.fault, Fault::MajorVersion(1));
}

#[test]
fn a_higher_major_version_is_answered_with_ours_and_a_higher_minor_one_is_taken() {
    //= RFC 7296 §2.5
    let error = Message::parse(&header(0, 0x30, 28)).expect_err("version 3");
    assert_eq!(error.fault, Fault::MajorVersion(3));
    let notify = Notify::answering(&error);
    assert_eq!(notify.kind, NotifyType::InvalidMajorVersion);
    assert!(notify.data.is_empty());
    assert!(Message::parse(&header(0, 0x27, 28)).is_ok());
}

#[test]
fn a_length_that_is_not_the_datagrams_is_refused() {
    for length in [0, 27, 29, usize::MAX] {
        let error = Message::parse(&header(0, 0x20, length)).expect_err("a lie");
        assert_eq!((error.payload, error.field), ("header", "length"));
        assert_eq!(Notify::answering(&error).kind, NotifyType::InvalidSyntax);
    }
    assert!(Message::parse(&header(0, 0x20, 28)[..27]).is_err());
}

#[test]
fn an_unknown_payload_is_skipped_unless_it_is_critical() {
    //= RFC 7296 §2.5, §3.2
    let chain = octets("29 00 0005 aa  00 00 0008 00 00 4000");
    let kind = PayloadType::from_number(49);
    let payloads = parse_payloads(kind, &chain).expect("skipped");
    assert_eq!(payloads.len(), 2);
    let chain = octets("29 80 0005 aa  00 00 0008 00 00 4000");
    let error = parse_payloads(kind, &chain).expect_err("critical");
    assert_eq!(error.fault, Fault::UnsupportedCritical(49));
    let notify = Notify::answering(&error);
    assert_eq!(notify.kind, NotifyType::UnsupportedCriticalPayload);
    assert_eq!(notify.data, [49]);
}

#[test]
fn the_critical_bit_of_a_known_payload_is_ignored() {
    let chain = octets("00 80 0008 00 00 4000");
    assert!(parse_payloads(PayloadType::Notify, &chain).is_ok());
}

#[test]
fn generic_headers_that_lie_are_refused() {
    for chain in [
        "00 00 0003 00 00 4000",
        "00 00 0000",
        "00 00 0009 00 00 4000",
        "00 00 0007 00 00 4000",
        "00 00",
        "29 00 0008 00 00 4000",
        "00 00 0008 00 00 4000 00",
        "2e 00 0008 00 00 4000 00 00 0004",
        "35 00 0008 00 00 4000 00 00 0008 0001 0001",
    ] {
        let read = parse_payloads(PayloadType::Notify, &octets(chain));
        assert!(read.is_err(), "{chain}: {read:?}");
    }
}

#[test]
fn nothing_may_follow_an_encrypted_payload() {
    //= RFC 7296 §3.14
    let mut datagram = header(46, 0x20, 28 + 12 + 8);
    datagram.extend(octets("29 00 000c 0102030405060708  00 00 0008 00 00 4000"));
    let error = Message::parse(&datagram).expect_err("octets after SK");
    assert_eq!(error.field, "payloads after SK");
}

#[test]
fn fragments_with_impossible_numbers_are_refused() {
    //= RFC 7383 §2.6
    for numbers in ["0000 0001", "0001 0000", "0003 0002", "00"] {
        let numbers = octets(numbers);
        let mut datagram = header(53, 0x20, 28 + 4 + numbers.len());
        datagram.extend([0x21, 0, 0, 4 + numbers.len() as u8]);
        datagram.extend(numbers);
        assert!(Message::parse(&datagram).is_err());
    }
}

#[test]
fn too_many_payloads_are_refused() {
    let chain = octets("2b 00 0004").repeat(MAX_PAYLOADS);
    let mut end = chain.clone();
    end.extend(octets("00 00 0004"));
    let error = parse_payloads(PayloadType::VendorId, &end).expect_err("too many");
    assert_eq!(error.fault, Fault::TooMany(MAX_PAYLOADS));
    end.drain(..4);
    assert!(parse_payloads(PayloadType::VendorId, &end).is_ok());
}

#[test]
fn proposals_that_lie_are_refused() {
    let kind = PayloadType::SecurityAssociation;
    for (body, field) in [
        ("", "last substructure"),
        // Length shorter than its own head, beyond the payload.
        ("00 00 0003 01 03 04 00", "proposal length"),
        ("00 00 000d 01 03 04 00 01020304", "proposal length"),
        // SPI beyond the proposal.
        ("00 00 0008 01 03 04 00", "SPI"),
        // More transforms than there are, fewer than there are.
        ("00 00 0008 01 03 00 01", "last substructure"),
        (
            "00 00 0010 01 03 00 00  00 00 0008 01 00 0014",
            "octets after the last transform",
        ),
        // Last that is not last, and the other way round.
        ("02 00 0008 01 03 00 00", "last substructure"),
        (
            "00 00 0008 01 03 00 00  00 00 0008 02 03 00 00",
            "last substructure",
        ),
        (
            "00 00 0010 01 03 00 01  03 00 0008 01 00 0014",
            "last substructure",
        ),
        // Numbers that do not grow.
        (
            "02 00 0008 01 03 00 00  00 00 0008 01 03 00 00",
            "proposal number",
        ),
        (
            "02 00 0008 02 03 00 00  00 00 0008 01 03 00 00",
            "proposal number",
        ),
        // An attribute beyond its transform.
        (
            "00 00 0014 01 03 00 01  00 00 000c 01 00 0014 000e 0004",
            "attribute value",
        ),
        (
            "00 00 0012 01 03 00 01  00 00 000a 01 00 0014 800e",
            "attribute length",
        ),
    ] {
        let error = refused(kind, body);
        assert_eq!((error.payload, error.field), ("SA", field), "{body}");
    }
}

#[test]
fn proposal_numbers_may_begin_anywhere_and_have_gaps() {
    // An answer bears the number of what it chose.
    let answer = "00 00 000c  00 00 0008 07 03 00 00";
    let gap = "00 00 0014  02 00 0008 01 03 00 00  00 00 0008 03 03 00 00";
    for chain in [answer, gap] {
        let read = parse_payloads(PayloadType::SecurityAssociation, &octets(chain));
        assert!(read.is_ok(), "{chain}: {read:?}");
    }
}

#[test]
fn too_many_proposals_and_transforms_are_refused() {
    let proposals = |count: u8| -> String {
        (1..=count)
            .map(|n| {
                let more = if n == count { 0 } else { 2 };
                format!("{more:02x} 00 0008 {n:02x} 03 00 00 ")
            })
            .collect()
    };
    let error = refused(PayloadType::SecurityAssociation, &proposals(129));
    assert_eq!(error.fault, Fault::TooMany(MAX_PROPOSALS));
    let transforms: String = (1..=6)
        .map(|n| {
            let more = if n == 6 { 0 } else { 2 };
            let middle = "03 00 0008 01 00 0014".repeat(199);
            format!("{more:02x} 00 0648 {n:02x} 03 00 c8 {middle} 00 00 0008 01 00 0014 ")
        })
        .collect();
    let error = refused(PayloadType::SecurityAssociation, &transforms);
    assert_eq!(error.fault, Fault::TooMany(MAX_TRANSFORMS));
}

#[test]
fn a_key_length_given_twice_or_in_the_wrong_form_makes_a_transform_unchoosable() {
    //= RFC 7296 §3.3.6
    for attributes in ["800e 0080 800e 0100", "000e 0002 0080"] {
        let length = octets(attributes).len();
        let chain = format!(
            "00 00 {:04x}  00 00 {:04x} 01 03 00 01  00 00 {:04x} 01 00 000c {attributes}",
            length + 20,
            length + 16,
            length + 8
        );
        let read = parse_payloads(PayloadType::SecurityAssociation, &octets(&chain));
        let Ok([Payload::SecurityAssociation(sa)]) = read.as_deref() else {
            panic!("{read:?}");
        };
        let transform = &sa.proposals[0].transforms[0];
        assert!(!transform.unknown_attributes.is_empty(), "{transform:?}");
    }
}

#[test]
fn fields_that_are_cut_or_lie_are_named() {
    use PayloadType as P;
    for (kind, body, payload, field) in [
        (P::KeyExchange, "00", "KE", "key exchange method"),
        (P::KeyExchange, "001f 00", "KE", "reserved"),
        (P::IdInitiator, "02 0000", "IDi", "reserved"),
        (
            P::IdResponder,
            "01 000000 0a0000",
            "IDr",
            "identification data",
        ),
        (
            P::IdResponder,
            "05 000000 0a000001",
            "IDr",
            "identification data",
        ),
        (P::Certificate, "", "CERT", "cert encoding"),
        (P::CertificateRequest, "", "CERTREQ", "cert encoding"),
        (P::Authentication, "02 00", "AUTH", "reserved"),
        (
            P::Nonce,
            "000102030405060708090a0b0c0d0e",
            "Nonce",
            "nonce data",
        ),
        (P::Notify, "00 00 40", "N", "notify message type"),
        (P::Notify, "03 04 4009 0102", "N", "SPI"),
        (P::Delete, "03 04 0002 01020304", "D", "SPIs"),
        (
            P::Delete,
            "03 04 0001 01020304 05",
            "D",
            "octets after the SPIs",
        ),
        (P::Delete, "03 00 0000", "D", "SPI size"),
        (P::Delete, "01 08 0001 0102030405060708", "D", "SPI size"),
        (P::Delete, "03 00 ffff", "D", "SPIs"),
        (
            P::TrafficSelectorsInitiator,
            "00 000000",
            "TSi",
            "number of TSs",
        ),
        (P::TrafficSelectorsInitiator, "01 000000", "TSi", "TS type"),
        (
            P::TrafficSelectorsResponder,
            "01 000000 07 00 0003",
            "TSr",
            "selector length",
        ),
        (
            P::TrafficSelectorsResponder,
            "01 000000 07 00 0008 0000 ffff",
            "TSr",
            "starting address",
        ),
        (
            P::TrafficSelectorsResponder,
            "01 000000 07 00 0014 0000 ffff 00000000 ffffffff 00000000",
            "TSr",
            "selector length",
        ),
        (
            P::TrafficSelectorsResponder,
            "01 000000 09 00 0004 00",
            "TSr",
            "octets after the last selector",
        ),
        (P::Configuration, "01 0000", "CP", "reserved"),
        (
            P::Configuration,
            "01 000000 0001 0004 0a00",
            "CP",
            "attribute value",
        ),
        (
            P::Configuration,
            "01 000000 0001 0003 0a0000",
            "CP",
            "IPv4 address",
        ),
        (
            P::Configuration,
            "01 000000 0001 0005 0a00000001",
            "CP",
            "attribute length",
        ),
        (
            P::Configuration,
            "01 000000 000f 0011 fd000000000000000000000000000001 81",
            "CP",
            "prefix length",
        ),
        (
            P::Configuration,
            "01 000000 000e 0003 000100",
            "CP",
            "supported attribute",
        ),
    ] {
        let error = refused(kind, body);
        assert_eq!((error.payload, error.field), (payload, field), "{body}");
    }
}

#[test]
fn nonces_have_16_to_256_octets() {
    for (length, good) in [
        (0, false),
        (15, false),
        (16, true),
        (256, true),
        (257, false),
    ] {
        assert_eq!(Nonce::new(vec![0; length]).is_ok(), good, "{length}");
    }
}

#[test]
fn a_payload_too_long_for_its_length_field_is_not_sent() {
    let long = Payload::VendorId(vec![0; 65_532]);
    assert!(emit_payloads(&[long]).is_err());
    let many = vec![
        Payload::VendorId(vec![0; 40_000]),
        Payload::VendorId(vec![0; 40_000]),
    ];
    let any = Message::parse(&header(0, 0x20, 28))
        .expect("well-formed")
        .header;
    assert!(Message::emit(&any, &many).is_err());
    let selectors = TrafficSelectors {
        selectors: vec![
            TrafficSelector::Unknown {
                kind: 10,
                protocol: 0,
                body: Vec::new(),
            };
            256
        ],
    };
    assert!(emit_payloads(&[Payload::TrafficSelectorsInitiator(selectors)]).is_err());
}

#[test]
fn a_nonce_or_proof_is_not_shown() {
    let nonce = Nonce::new(vec![0x42; 16]).expect("16 octets");
    assert_eq!(format!("{nonce:?}"), "Nonce(16 octets)");
    let auth = Authentication {
        method: AuthMethod::SharedKey,
        data: vec![0x42; 32],
    };
    assert!(!format!("{auth:?}").contains("66"));
}
