//! SK and SKF: framing, padding, fragments.

use super::vectors::octets;
use crate::wire::v2::*;
use crate::wire::{Fault, IkeSpi, WireError};

const GCM: Sealing = Sealing {
    iv: 8,
    block: 1,
    icv: 16,
};
const CBC_SHA256: Sealing = Sealing {
    iv: 16,
    block: 16,
    icv: 16,
};

fn header() -> Header {
    Header {
        initiator_spi: IkeSpi([1; 8]),
        responder_spi: IkeSpi([2; 8]),
        exchange: ExchangeType::IkeAuth,
        from_initiator: true,
        response: false,
        message_id: 1,
    }
}

fn payloads(octets: usize) -> Vec<Payload> {
    vec![
        Payload::VendorId(vec![0x5a; octets]),
        Payload::Notify(Notify::new(NotifyType::InitialContact, [])),
    ]
}

/// A cipher anyone can follow, to see that the right octets reach it.
fn seal(mut unsealed: Unsealed) -> Vec<u8> {
    let parts = unsealed.parts();
    parts.iv.fill(0x11);
    parts.text.iter_mut().for_each(|octet| *octet ^= 0x77);
    let (covered, icv) = unsealed.authenticated();
    icv.fill(
        covered
            .iter()
            .fold(0, |sum: u8, octet| sum.wrapping_add(*octet)),
    );
    unsealed.finish()
}

fn open(datagram: &[u8], sealing: &Sealing) -> (Encrypted, Vec<u8>) {
    let message = Message::parse(datagram).expect("well-formed");
    let encrypted = message.encrypted.expect("SK or SKF");
    let parts = encrypted.parts(datagram, sealing).expect("it fits");
    assert!(parts.iv.iter().all(|octet| *octet == 0x11));
    let sum = parts.authenticated.iter();
    let sum = sum.fold(0, |sum: u8, octet| sum.wrapping_add(*octet));
    assert!(parts.icv.iter().all(|octet| *octet == sum));
    let text: Vec<u8> = parts.text.iter().map(|octet| octet ^ 0x77).collect();
    (encrypted, without_padding(&text).expect("padding").to_vec())
}

#[test]
fn an_encrypted_payload_is_laid_out_as_the_rfc_draws_it() {
    let payloads = vec![Payload::Delete(Delete::Ike)];
    let mut unsealed = Unsealed::new(&header(), &payloads, &CBC_SHA256).expect("it fits");
    unsealed.parts().iv.fill(0xaa);
    unsealed.authenticated().1.fill(0xcc);
    // RFC 7296 §3.1, §3.14: header, next payload D, length, IV, text, padding, pad length 7, ICV.
    let expected = octets(
        "0101010101010101 0202020202020202 2e 20 23 08 00000001 00000050
         2a 00 0034
         aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
         00 00 0008 01 00 0000
         00000000000000 07
         cccccccccccccccccccccccccccccccc",
    );
    assert_eq!(unsealed.finish(), expected);
}

#[test]
fn what_was_sealed_is_found_again() {
    for sealing in [GCM, CBC_SHA256] {
        for size in [0, 1, 14, 15, 16, 300] {
            let sent = payloads(size);
            let datagram = seal(Unsealed::new(&header(), &sent, &sealing).expect("it fits"));
            let (encrypted, text) = open(&datagram, &sealing);
            assert_eq!(encrypted.fragment, None);
            assert_eq!(parse_payloads(encrypted.first, &text), Ok(sent));
        }
    }
}

#[test]
fn associated_data_ends_with_the_payload_header() {
    // RFC 5282 §5.1; for fragments their numbers belong to it.
    let long = payloads(1000);
    for (limit, expected) in [(2000, 32), (500, 36)] {
        let mut made = split(&header(), &long, &GCM, limit).expect("it fits");
        for unsealed in &mut made {
            assert_eq!(unsealed.parts().associated.len(), expected);
        }
        let datagram = seal(made.remove(0));
        let encrypted = Message::parse(&datagram).expect("well-formed").encrypted;
        let parts = encrypted.expect("SK or SKF");
        let parts = parts.parts(&datagram, &GCM).expect("it fits");
        assert_eq!(parts.associated, &datagram[..expected]);
    }
}

#[test]
fn fragments_fit_the_limit_and_come_together_in_any_order() {
    for sealing in [GCM, CBC_SHA256] {
        let sent = payloads(3000);
        let made = split(&header(), &sent, &sealing, 548).expect("it fits");
        let datagrams: Vec<_> = made.into_iter().map(seal).collect();
        assert!(datagrams.len() > 5);
        let mut reassembly = Reassembly::new();
        let mut whole = None;
        for datagram in datagrams.iter().rev() {
            assert!(datagram.len() <= 548);
            assert_eq!(whole, None);
            let (encrypted, text) = open(datagram, &sealing);
            let number = encrypted.fragment.expect("a fragment");
            assert!(reassembly.wants(number));
            if let Progress::Whole(first, text) = reassembly.add(number, encrypted.first, text) {
                whole = Some(parse_payloads(first, &text));
            } else {
                assert!(!reassembly.wants(number), "a replay is told");
            }
        }
        assert_eq!(whole, Some(Ok(sent)));
    }
}

#[test]
fn the_limit_is_used_up() {
    for sealing in [GCM, CBC_SHA256] {
        for limit in 200..260 {
            let room = sealing.room(limit, true).expect("room");
            assert!(sealing.message_len(room, true) <= limit);
            assert!(sealing.message_len(room + 1, true) > limit);
        }
        assert_eq!(sealing.room(60, true), None);
    }
}

#[test]
fn a_set_of_more_fragments_replaces_one_of_fewer_and_not_the_other_way_round() {
    let mut reassembly = Reassembly::new();
    let number = |number, total| FragmentNumber { number, total };
    let add = |reassembly: &mut Reassembly, at, text: &[u8]| {
        reassembly.add(at, PayloadType::Notify, text.to_vec())
    };
    assert_eq!(
        add(&mut reassembly, number(1, 2), b"old"),
        Progress::Waiting
    );
    assert_eq!(add(&mut reassembly, number(3, 3), b"c"), Progress::Waiting);
    assert!(!reassembly.wants(number(2, 2)));
    assert_eq!(
        add(&mut reassembly, number(2, 2), b"old"),
        Progress::Waiting
    );
    assert_eq!(add(&mut reassembly, number(1, 3), b"a"), Progress::Waiting);
    assert_eq!(
        add(&mut reassembly, number(2, 3), b"b"),
        Progress::Whole(PayloadType::Notify, b"abc".to_vec())
    );
}

#[test]
fn reassembly_is_bounded() {
    let mut reassembly = Reassembly::new();
    let number = |number, total| FragmentNumber { number, total };
    assert!(!reassembly.wants(number(1, MAX_FRAGMENTS + 1)));
    assert!(!reassembly.wants(number(0, 3)));
    assert!(!reassembly.wants(number(4, 3)));
    let big = vec![0; 40_000];
    let first = reassembly.add(number(1, 3), PayloadType::Notify, big.clone());
    assert_eq!(first, Progress::Waiting);
    let second = reassembly.add(number(2, 3), PayloadType::None, big);
    assert_eq!(second, Progress::TooLong);
    assert!(reassembly.wants(number(1, 3)), "everything was dropped");
}

#[test]
fn an_intermediate_exchange_is_authenticated_as_if_it_had_come_whole() {
    // RFC 9242 §3.3.2: next payload SK, lengths without IV, padding and ICV.
    let sent = payloads(1000);
    let (_, text) = emit_payloads(&sent).expect("it fits");
    let prefix = |limit| {
        let made = split(&header(), &sent, &GCM, limit).expect("it fits");
        let datagram = seal(made.into_iter().next().expect("a first one"));
        let encrypted = Message::parse(&datagram).expect("well-formed").encrypted;
        let encrypted = encrypted.expect("SK or SKF");
        encrypted.intermediate_prefix(&datagram, text.len())
    };
    let whole = prefix(2000).expect("it fits");
    // 1004 and 8 octets of payloads: 0x3f4; with the payload header 0x3f8, with both headers 0x414.
    assert_eq!(text.len(), 1012);
    let expected = octets(
        "0101010101010101 0202020202020202 2e 20 23 08 00000001 00000414
         2b 00 03f8",
    );
    assert_eq!(whole, expected);
    assert_eq!(prefix(500), Ok(whole));
}

#[test]
fn sealed_texts_of_improper_length_are_refused() {
    let datagram = seal(Unsealed::new(&header(), &payloads(4), &GCM).expect("it fits"));
    let encrypted = Message::parse(&datagram).expect("well-formed").encrypted;
    let encrypted = encrypted.expect("SK");
    let wrong = |sealing: Sealing| encrypted.parts(&datagram, &sealing).map(|_| ());
    let whole = datagram.len() - 32;
    for sealing in [
        Sealing { block: 16, ..GCM },
        Sealing {
            icv: whole - 8,
            ..GCM
        },
        Sealing { icv: whole, ..GCM },
        Sealing {
            iv: whole + 1,
            ..GCM
        },
    ] {
        assert!(wrong(sealing).is_err(), "{sealing:?}");
    }
    assert_eq!(wrong(GCM), Ok(()));
}

#[test]
fn padding_beyond_the_text_is_refused() {
    let error = |fault| Err(WireError::new("SK", "pad length", fault));
    assert_eq!(without_padding(&[]), error(Fault::Truncated));
    assert_eq!(without_padding(&[0, 0, 3]), error(Fault::Length(3)));
    assert_eq!(without_padding(&[9, 8, 1]), Ok(&[9][..]));
    assert_eq!(without_padding(&[2, 1, 2]), Ok(&[][..]));
}
