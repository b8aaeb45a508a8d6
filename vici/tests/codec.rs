//! The codec against hand-made octets, hostile input and itself.

use adit_vici::message::{Fault, MAX_DEPTH, MAX_ELEMENTS};
use adit_vici::packet::{checked_length, first_segment};
use adit_vici::{Element, MAX_SEGMENT, Message, Packet, PacketError, Value};
use proptest::prelude::*;

/// `key1 = value1`, `section1 { sub-section { key2 = value2 } list1 = [item1, item2] }`.
const TREE: &[u8] = b"\x03\x04key1\x00\x06value1\
    \x01\x08section1\x01\x0bsub-section\x03\x04key2\x00\x06value2\x02\
    \x04\x05list1\x05\x00\x05item1\x05\x00\x05item2\x06\x02";

fn tree() -> Message {
    Message::new().with("key1", "value1").with_section(
        "section1",
        Message::new()
            .with_section("sub-section", Message::new().with("key2", "value2"))
            .with_list("list1", ["item1", "item2"]),
    )
}

#[test]
fn a_tree_has_exactly_these_octets() {
    assert_eq!(tree().emit().unwrap().as_slice(), TREE);
    assert_eq!(Message::parse(TREE).unwrap(), tree());
}

#[test]
fn getters_find_by_name_and_kind() {
    let message = tree();
    let section = message.section("section1").unwrap();
    assert_eq!(message.str("key1"), Some("value1"));
    assert_eq!(message.str("section1"), None, "a section is no value");
    assert_eq!(
        section.list("list1").collect::<Vec<_>>(),
        ["item1", "item2"]
    );
    assert_eq!(section.list("absent").count(), 0);
    assert_eq!(
        section.sections().map(|(name, _)| name).collect::<Vec<_>>(),
        ["sub-section"]
    );
    assert_eq!(message.bytes("key1"), Some(&b"value1"[..]));
}

#[test]
fn packets_have_exactly_these_octets() {
    let cases: [(Packet<'_>, &[u8]); 8] = [
        (
            Packet::Request {
                name: "version",
                message: b"",
            },
            b"\0\0\0\x09\x00\x07version",
        ),
        (
            Packet::Response {
                message: b"\x03\x01a\x00\x01b",
            },
            b"\0\0\0\x07\x01\x03\x01a\x00\x01b",
        ),
        (Packet::CommandUnknown, b"\0\0\0\x01\x02"),
        (
            Packet::Register { name: "list-sa" },
            b"\0\0\0\x09\x03\x07list-sa",
        ),
        (
            Packet::Unregister { name: "list-sa" },
            b"\0\0\0\x09\x04\x07list-sa",
        ),
        (Packet::Confirm, b"\0\0\0\x01\x05"),
        (Packet::EventUnknown, b"\0\0\0\x01\x06"),
        (
            Packet::Event {
                name: "log",
                message: b"\x04\x01l\x06",
            },
            b"\0\0\0\x09\x07\x03log\x04\x01l\x06",
        ),
    ];
    for (packet, octets) in cases {
        assert_eq!(packet.emit().unwrap().as_slice(), octets, "{packet:?}");
        let (segment, used) = first_segment(octets).unwrap().unwrap();
        assert_eq!(used, octets.len());
        assert_eq!(Packet::parse(segment).unwrap(), packet);
    }
}

#[test]
fn a_broken_message_is_refused_with_element_and_offset() {
    let cases: [(&[u8], usize, &str, Fault); 12] = [
        (b"\x03", 0, "", Fault::Truncated),
        (b"\x03\x05ab", 0, "", Fault::Truncated),
        (b"\x03\x01a\x00", 0, "a", Fault::Truncated),
        (b"\x03\x01a\x00\x02b", 0, "a", Fault::Truncated),
        (b"\x03\x01\x1f\x00\x00", 0, "", Fault::Name),
        (b"\x03\x01\xff\x00\x00", 0, "", Fault::Name),
        (b"\x03\x01a\x00\x00\x09", 5, "", Fault::Type(9)),
        (b"\x02", 0, "", Fault::Misplaced(2)),
        (b"\x05\x00\x01a", 0, "", Fault::Misplaced(5)),
        (
            b"\x01\x01s\x04\x01l\x01\x01x\x02\x06\x02",
            3,
            "s.l",
            Fault::Misplaced(1),
        ),
        (b"\x01\x01s\x01\x01t", 6, "s.t", Fault::Unclosed),
        (b"\x01\x01s\x04\x01l\x05\x00\x00", 3, "s.l", Fault::Unclosed),
    ];
    for (octets, offset, element, fault) in cases {
        let error = Message::parse(octets).unwrap_err();
        assert_eq!(
            (error.offset, error.element.as_str(), error.fault),
            (offset, element, fault),
            "{octets:x?}"
        );
    }
}

#[test]
fn depth_and_number_are_bounded() {
    let deep = |depth: usize| [b"\x01\x01s".repeat(depth), vec![2; depth]].concat();
    assert!(Message::parse(&deep(MAX_DEPTH)).is_ok());
    assert_eq!(
        Message::parse(&deep(MAX_DEPTH + 1)).unwrap_err().fault,
        Fault::Depth
    );
    assert_eq!(
        Message::parse(&b"\x01\x01s".repeat(MAX_SEGMENT / 3))
            .unwrap_err()
            .fault,
        Fault::Depth
    );

    let many = |number: usize| b"\x03\x01a\x00\x00".repeat(number);
    assert!(Message::parse(&many(MAX_ELEMENTS)).is_ok());
    assert_eq!(
        Message::parse(&many(MAX_ELEMENTS + 1)).unwrap_err().fault,
        Fault::Elements
    );
    let items = [
        &b"\x04\x01l"[..],
        &b"\x05\x00\x00".repeat(MAX_ELEMENTS),
        b"\x06",
    ]
    .concat();
    assert_eq!(Message::parse(&items).unwrap_err().fault, Fault::Elements);
}

#[test]
fn a_broken_packet_is_refused() {
    let cases: [(&[u8], PacketError); 8] = [
        (b"", PacketError::Empty),
        (b"\x08", PacketError::Type(8)),
        (b"\x00", PacketError::NameTruncated(0)),
        (b"\x00\x05ab", PacketError::NameTruncated(0)),
        (b"\x03\x00", PacketError::Name(3)),
        (b"\x00\x01\n", PacketError::Name(0)),
        (b"\x03\x01ab", PacketError::Trailing(3, 1)),
        (b"\x05\x00", PacketError::Trailing(5, 1)),
    ];
    for (octets, error) in cases {
        assert_eq!(Packet::parse(octets), Err(error), "{octets:x?}");
    }
}

#[test]
fn the_length_field_is_judged_before_the_rest_is_there() {
    let one_more = (MAX_SEGMENT as u32 + 1).to_be_bytes();
    assert_eq!(
        first_segment(&one_more),
        Err(PacketError::TooLong(MAX_SEGMENT + 1))
    );
    assert_eq!(first_segment(&[0; 4]), Err(PacketError::Empty));
    assert_eq!(first_segment(&[0, 0, 0]), Ok(None));
    assert_eq!(first_segment(&[0, 0, 0, 2, 1]), Ok(None));
    assert_eq!(
        checked_length((MAX_SEGMENT as u32).to_be_bytes()),
        Ok(MAX_SEGMENT)
    );
    assert_eq!(
        first_segment(&[0, 0, 0, 1, 5, 9]),
        Ok(Some((&[5][..], 5))),
        "what follows is left"
    );
}

#[test]
fn what_does_not_fit_is_not_emitted() {
    let long = "n".repeat(256);
    assert_eq!(
        Message::new()
            .with(long.as_str(), "")
            .emit()
            .unwrap_err()
            .fault,
        Fault::Name
    );
    assert!(
        Message::new().with("", "").emit().is_ok(),
        "strongSwan names its totals so"
    );
    let inner = Message::new().with("v", vec![0; 65536]);
    let error = Message::new().with_section("s", inner).emit().unwrap_err();
    assert_eq!(
        (error.element.as_str(), error.fault),
        ("s.v", Fault::ValueLength)
    );
    assert_eq!(
        Packet::Register { name: &long }.emit(),
        Err(PacketError::Name(3))
    );
    let big = vec![0; MAX_SEGMENT];
    assert_eq!(
        Packet::Response { message: &big }.emit(),
        Err(PacketError::TooLong(MAX_SEGMENT + 1))
    );
}

#[test]
fn debug_shows_no_value() {
    let message = Message::new()
        .with("enc_key", "sesame")
        .with_list("keys", ["sesame"]);
    let octets = message.emit().unwrap();
    let shown = format!(
        "{message:?} {:?}",
        Packet::Request {
            name: "sa-add",
            message: &octets
        }
    );
    assert!(!shown.contains("sesame"), "{shown}");
    assert!(
        shown.contains("enc_key") && shown.contains("sa-add"),
        "{shown}"
    );
}

fn message(depth: u32) -> impl Strategy<Value = Message> {
    let value = prop::collection::vec(any::<u8>(), 0..40)
        .prop_map(|octets| Element::Value(Value::from(&octets)));
    let list = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..5)
        .prop_map(|items| Element::List(items.iter().map(Value::from).collect()));
    let leaf = prop_oneof![value, list];
    let element = leaf.prop_recursive(depth, 64, 5, |inner| {
        prop::collection::vec(("[ -~]{0,12}", inner), 0..5)
            .prop_map(|elements| Element::Section(build(elements)))
    });
    prop::collection::vec(("[ -~]{0,12}", element), 0..6).prop_map(build)
}

fn build(elements: Vec<(String, Element)>) -> Message {
    let mut message = Message::new();
    for (name, element) in elements {
        match element {
            Element::Value(value) => message.add(name, value.as_bytes()),
            Element::List(items) => message.add_list(name, items.iter().map(Value::as_bytes)),
            Element::Section(section) => message.add_section(name, section),
        };
    }
    message
}

proptest! {
    #[test]
    fn parse_undoes_emit(message in message(5)) {
        prop_assert_eq!(Message::parse(&message.emit().unwrap()).unwrap(), message);
    }

    #[test]
    fn what_parses_emits_the_same_octets(octets in near_message()) {
        if let Ok(message) = Message::parse(&octets) {
            let again = message.emit().unwrap();
            prop_assert_eq!(again.as_slice(), octets.as_slice());
        }
    }

    #[test]
    fn no_octets_panic_the_packet_parser(octets in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = first_segment(&octets);
        if let Ok(packet) = Packet::parse(&octets) {
            let segment = packet.emit().unwrap();
            prop_assert_eq!(&segment[4..], octets.as_slice());
        }
    }

    #[test]
    fn a_message_cut_short_never_passes_for_another(message in message(3), cut in any::<prop::sample::Index>()) {
        let octets = message.emit().unwrap();
        let cut = cut.index(octets.len() + 1);
        if let Ok(shorter) = Message::parse(&octets[..cut]) {
            // Cut between two elements of the top level: a prefix of the message.
            prop_assert!(shorter.elements().zip(message.elements()).all(|(a, b)| a == b));
        }
    }
}

/// Octets that look enough like a message to get past the first element.
fn near_message() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\x03\x01a\x00\x01b".to_vec()),
        Just(b"\x01\x01s".to_vec()),
        Just(vec![2]),
        Just(b"\x04\x01l".to_vec()),
        Just(b"\x05\x00\x01i".to_vec()),
        Just(vec![6]),
        prop::collection::vec(any::<u8>(), 0..3),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}
