//! RADIUS: packets, and responses to a request that is truly open, from a server that knows the secret and one that does not.

use adit_control::radius::{Client, ConversationId, Nas, Output, Packet, Question, ServerSettings};
use adit_control::secret::Secret;
use adit_ike::random::Sequence;
use adit_ike::time::Instant;

/// A packet that can be read can be written, and is the same.
pub fn packet(data: &[u8]) {
    if let Ok(packet) = Packet::parse(data) {
        let octets = packet.emit().expect("what was parsed fits a packet");
        assert_eq!(Packet::parse(&octets), Ok(packet.clone()));
        let _ = packet.eap();
        let _ = packet.vendor(311, 16);
    }
}

/// Whoever does not know the secret is not believed, whatever it sends.
pub fn response(data: &[u8]) {
    let nas = Nas {
        identifier: "gate".into(),
        address: None,
    };
    let server = ServerSettings {
        authentication: ([192, 0, 2, 1], 1812).into(),
        accounting: None,
        secret: Secret::new(b"secret".to_vec()),
        tries: 1,
        timeout: std::time::Duration::from_secs(1),
    };
    let mut client = Client::new(nas, vec![server]);
    let question = Question {
        conversation: ConversationId(1),
        name: b"alice".to_vec(),
        eap: vec![2, 0, 0, 5, 1],
        connection: "road".into(),
        called: String::new(),
        calling: String::new(),
    };
    client.ask(Instant(0), question, &mut Sequence::new(1));
    let Some(Output::Send { to, .. }) = client.poll_output() else {
        unreachable!("a question is sent");
    };
    // The first request's identifier is 0: most inputs shall get past that check.
    let mut datagram = data.to_vec();
    if let Some(identifier) = datagram.get_mut(1) {
        *identifier = 0;
    }
    assert!(client.handle(to, &datagram).is_err());
    assert!(client.poll_output().is_none());
}
