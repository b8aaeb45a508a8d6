//! IKE messages: whole datagrams, single payloads, and what lies inside SK.

use adit_ike::wire::Header;
use adit_ike::wire::v2::{
    Message, Payload, PayloadType, Progress, Reassembly, Sealing, emit_payloads, parse_payloads,
    without_padding,
};

/// What was read can be written, and reads the same again.
fn again(payloads: &[Payload]) {
    // What is tolerated can be a little shorter than what we send.
    if let Ok((first, octets)) = emit_payloads(payloads) {
        let read = parse_payloads(first, &octets).expect("our own payloads");
        assert_eq!(read, payloads);
    }
}

/// A datagram as it comes from the network; what is encrypted is taken apart for every size of IV, block and ICV.
pub fn message(datagram: &[u8]) {
    let _ = Header::parse(datagram);
    let Ok(message) = Message::parse(datagram) else {
        return;
    };
    again(&message.payloads);
    let Some(encrypted) = message.encrypted else {
        let octets = Message::emit(&message.header, &message.payloads);
        if let Ok(octets) = octets {
            assert_eq!(Message::parse(&octets), Ok(message));
        }
        return;
    };
    for (iv, block, icv) in [(8, 1, 16), (16, 16, 12), (8, 8, 0)] {
        let sealing = Sealing { iv, block, icv };
        if let Ok(parts) = encrypted.parts(datagram, &sealing)
            && let Ok(text) = without_padding(parts.text)
        {
            let prefix = encrypted.intermediate_prefix(datagram, text.len());
            assert!(prefix.is_ok_and(|prefix| prefix.len() <= datagram.len()));
            let _ = parse_payloads(encrypted.first, text);
        }
    }
}

/// The body of one payload, of the type that the first octet names.
pub fn payload(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else {
        return;
    };
    let mut chain = vec![0, 0];
    chain.extend((body.len() as u16).saturating_add(4).to_be_bytes());
    chain.extend(body);
    if let Ok(payloads) = parse_payloads(PayloadType::from_number(*kind), &chain) {
        again(&payloads);
    }
}

/// What stands inside SK: the type of the first payload, and the chain.
pub fn chain(data: &[u8]) {
    if let Some((first, octets)) = data.split_first()
        && let Ok(payloads) = parse_payloads(PayloadType::from_number(*first), octets)
    {
        again(&payloads);
    }
}

/// Fragments in any order: two octets for each, number and total, then as many octets of text as the total says.
pub fn fragments(data: &[u8]) {
    let mut reassembly = Reassembly::new();
    let mut rest = data;
    while let Some(([number, total], after)) = rest.split_first_chunk() {
        let (text, after) = after.split_at(after.len().min(usize::from(*total)));
        rest = after;
        let fragment = adit_ike::wire::v2::FragmentNumber {
            number: u16::from(*number),
            total: u16::from(*total),
        };
        let wanted = reassembly.wants(fragment);
        match reassembly.add(fragment, PayloadType::Notify, text.to_vec()) {
            Progress::Whole(_, whole) => assert!(wanted && whole.len() <= data.len()),
            Progress::Waiting => assert!(!reassembly.wants(fragment)),
            Progress::TooLong => unreachable!("the input is shorter than a message"),
        }
    }
}
