//! The client against servers in memory, honest and not, on a clock of the test's own.

use std::net::IpAddr;
use std::time::Duration;

use adit_ike::eap::{Msk, ServerAnswer, ServerFault};
use adit_ike::random::Sequence;
use adit_ike::time::Instant;
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use proptest::prelude::*;

use super::*;
use crate::secret::Secret;

const SECRET: &[u8] = b"a shared secret";
const CONVERSATION: ConversationId = ConversationId(7);

fn settings(port: u16) -> ServerSettings {
    ServerSettings {
        authentication: ([192, 0, 2, 1], port).into(),
        accounting: Some(([192, 0, 2, 1], port + 1).into()),
        secret: Secret::new(SECRET.to_vec()),
        tries: 3,
        timeout: Duration::from_secs(2),
    }
}

/// A client with so many servers, and what a test needs beside it.
struct Rig {
    client: Client,
    random: Sequence,
    now: Instant,
}

impl Rig {
    fn new(servers: u16) -> Self {
        let nas = Nas {
            identifier: "gate.test".into(),
            address: Some(IpAddr::from([192, 0, 2, 9])),
        };
        let servers = (0..servers).map(|at| settings(1812 + 10 * at)).collect();
        Self {
            client: Client::new(nas, servers),
            random: Sequence::new(1),
            now: Instant(0),
        }
    }

    fn ask(&mut self, conversation: ConversationId, eap: &[u8]) {
        let question = Question {
            conversation,
            name: b"alice".to_vec(),
            eap: eap.to_vec(),
            connection: "road".into(),
            called: "192.0.2.9".into(),
            calling: "198.51.100.4".into(),
        };
        self.client.ask(self.now, question, &mut self.random);
    }

    /// The datagram that is to be sent now, and nothing else.
    #[track_caller]
    fn sent(&mut self) -> (Destination, Vec<u8>) {
        match self.client.poll_output() {
            Some(Output::Send { to, datagram }) => (to, datagram),
            other => panic!("{other:?}"),
        }
    }

    /// The answer that is to be given now.
    #[track_caller]
    fn answer(&mut self) -> (ServerAnswer, Option<Box<Grant>>) {
        match self.client.poll_output() {
            Some(Output::Answer {
                conversation: CONVERSATION,
                answer,
                grant,
            }) => (answer, grant),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn refused(&mut self) -> ServerFault {
        match self.answer() {
            (ServerAnswer::Refused(fault, _), None) => fault,
            other => panic!("{other:?}"),
        }
    }

    /// Lets the clock run to the next timeout; how long that was.
    fn wait(&mut self) -> Duration {
        let due = self.client.next_timeout().expect("something is open");
        let waited = due.since(self.now);
        self.now = due;
        self.client.timeout(self.now, &mut self.random);
        waited
    }
}

fn md5(parts: &[&[u8]]) -> [u8; 16] {
    Md5::digest(parts.concat()).into()
}

fn hmac(message: &[u8]) -> [u8; 16] {
    let mac = Hmac::<Md5>::new_from_slice(SECRET).expect("any length");
    mac.chain_update(message).finalize().into_bytes().into()
}

/// A server's response to a request, with a Message-Authenticator as the last attribute.
fn response(request: &[u8], code: u8, attributes: &[(u8, &[u8])]) -> Vec<u8> {
    let mut octets = bare_response(request, code, attributes);
    octets.extend([80, 18]);
    octets.extend([0; 16]);
    finish(request, octets, true)
}

fn bare_response(request: &[u8], code: u8, attributes: &[(u8, &[u8])]) -> Vec<u8> {
    let mut octets = vec![code, request[1], 0, 0];
    octets.extend(&request[4..20]);
    for (kind, value) in attributes {
        octets.extend([*kind, value.len() as u8 + 2]);
        octets.extend(*value);
    }
    octets
}

/// Fills in length and authenticators.
fn finish(request: &[u8], mut octets: Vec<u8>, protected: bool) -> Vec<u8> {
    let length = (octets.len() as u16).to_be_bytes();
    octets[2..4].copy_from_slice(&length);
    if protected {
        let mac = hmac(&octets);
        let at = octets.len() - 16;
        octets[at..].copy_from_slice(&mac);
    }
    let authenticator = md5(&[&octets[..4], &request[4..20], &octets[20..], SECRET]);
    octets[4..20].copy_from_slice(&authenticator);
    octets
}

/// A key as RFC 2548 §2.4.2 hides it, inside its vendor's attribute.
fn mppe(request: &[u8], kind: u8, key: &[u8]) -> Vec<u8> {
    let salt = [0x80 | kind, 1];
    let mut clear = vec![key.len() as u8];
    clear.extend(key);
    clear.resize(clear.len().next_multiple_of(16), 0);
    let mut pad = md5(&[SECRET, &request[4..20], &salt]);
    let mut text = Vec::new();
    for block in clear.chunks(16) {
        let hidden: Vec<u8> = block.iter().zip(pad).map(|(c, p)| c ^ p).collect();
        pad = md5(&[SECRET, &hidden]);
        text.extend(hidden);
    }
    let mut value = 311_u32.to_be_bytes().to_vec();
    value.extend([kind, text.len() as u8 + 4]);
    value.extend(salt);
    value.extend(text);
    value
}

const SUCCESS: &[u8] = &[3, 9, 0, 4];
const CHALLENGE: &[u8] = &[1, 9, 0, 6, 4, 0];

#[test]
fn a_request_says_who_asks_about_whom_and_is_protected() {
    let mut rig = Rig::new(1);
    let eap: Vec<u8> = (0..=255).cycle().take(600).collect();
    rig.ask(CONVERSATION, &eap);
    let (to, datagram) = rig.sent();
    assert_eq!((to.server, to.purpose), (0, Purpose::Authentication));
    let packet = Packet::parse(&datagram).expect("a packet");
    assert_eq!(packet.code, Code::AccessRequest);
    assert_ne!(packet.authenticator, [0; 16]);
    assert_eq!(packet.first(kind::USER_NAME), Some(&b"alice"[..]));
    assert_eq!(packet.first(kind::NAS_IDENTIFIER), Some(&b"gate.test"[..]));
    assert_eq!(
        packet.first(kind::NAS_IP_ADDRESS),
        Some(&[192, 0, 2, 9][..])
    );
    assert_eq!(packet.first(kind::NAS_PORT_ID), Some(&b"road"[..]));
    let lengths: Vec<_> = packet.all(kind::EAP_MESSAGE).map(<[u8]>::len).collect();
    assert_eq!(lengths, [253, 253, 94]);
    assert_eq!(packet.eap(), Some(eap));
    assert_eq!(packet.first(kind::STATE), None);
    // RFC 3579 §3.2; in front, so that nothing precedes it that a collision could use.
    assert_eq!(datagram[20..22], [80, 18]);
    let mut zeroed = datagram.clone();
    zeroed[22..38].fill(0);
    assert_eq!(hmac(&zeroed), datagram[22..38]);
}

#[test]
fn a_conversation_goes_on_with_the_servers_state_and_ends_with_its_key() {
    let mut rig = Rig::new(2);
    rig.ask(CONVERSATION, b"identity");
    let (to, request) = rig.sent();
    let challenge = response(&request, 11, &[(79, CHALLENGE), (24, b"state")]);
    assert_eq!(rig.client.handle(to, &challenge), Ok(()));
    assert!(matches!(rig.answer(), (ServerAnswer::Challenge(eap), None) if eap == CHALLENGE));
    rig.ask(CONVERSATION, b"proof");
    let (again, request) = rig.sent();
    assert_eq!(again, to);
    let packet = Packet::parse(&request).expect("a packet");
    assert_eq!(packet.first(kind::STATE), Some(&b"state"[..]));
    let (receive, send) = (
        mppe(&request, 17, &[0xaa; 32]),
        mppe(&request, 16, &[0xbb; 32]),
    );
    let attributes: &[(u8, &[u8])] = &[
        (79, SUCCESS),
        (1, b"alice@test"),
        (25, b"class"),
        (8, &[10, 9, 0, 7]),
        (27, &[0, 0, 14, 16]),
        (85, &[0, 0, 0, 90]),
        (26, &send),
        (26, &receive),
    ];
    let accept = response(&request, 2, attributes);
    assert_eq!(rig.client.handle(to, &accept), Ok(()));
    let (answer, grant) = rig.answer();
    let key = Msk::from_halves(&[0xaa; 32], &[0xbb; 32]).expect("two halves");
    assert!(matches!(answer, ServerAnswer::Accept(eap, msk) if eap == SUCCESS && msk == key));
    let grant = grant.expect("an acceptance grants something");
    assert_eq!(grant.name, Some(b"alice@test".to_vec()));
    assert_eq!(grant.class, [b"class".to_vec()]);
    assert_eq!(grant.addresses, [IpAddr::from([10, 9, 0, 7])]);
    assert_eq!(grant.session_timeout, Some(Duration::from_secs(3600)));
    assert_eq!(grant.interim_interval, Some(Duration::from_secs(90)));
    assert!(
        grant
            .attributes
            .iter()
            .all(|a| a.kind != kind::VENDOR_SPECIFIC)
    );
    assert_eq!(rig.client.next_timeout(), None);
}

#[test]
fn an_address_that_the_server_leaves_open_is_no_address() {
    //= RFC 2865 §5.8
    for open in [[255, 255, 255, 255], [255, 255, 255, 254]] {
        let mut rig = Rig::new(1);
        rig.ask(CONVERSATION, b"identity");
        let (to, request) = rig.sent();
        let keys = [16, 17].map(|kind| mppe(&request, kind, &[1; 16]));
        let attributes: &[(u8, &[u8])] =
            &[(79, SUCCESS), (8, &open), (26, &keys[0]), (26, &keys[1])];
        let accept = response(&request, 2, attributes);
        assert_eq!(rig.client.handle(to, &accept), Ok(()));
        let (_, grant) = rig.answer();
        assert!(grant.expect("an acceptance").addresses.is_empty());
    }
}

#[test]
fn a_rejection_bears_the_servers_message() {
    let mut rig = Rig::new(1);
    rig.ask(CONVERSATION, b"identity");
    let (to, request) = rig.sent();
    let reject = response(&request, 3, &[(79, &[4, 9, 0, 4])]);
    assert_eq!(rig.client.handle(to, &reject), Ok(()));
    let (answer, _) = rig.answer();
    let expected = Some(vec![4, 9, 0, 4]);
    assert!(
        matches!(answer, ServerAnswer::Refused(ServerFault::Rejected, message) if message == expected)
    );
}

#[test]
fn an_answer_without_message_or_key_is_incomplete() {
    for (code, attributes) in [
        (2, vec![(79, SUCCESS)]),
        (2, vec![]),
        (11, vec![(24, &b"state"[..])]),
    ] {
        let mut rig = Rig::new(1);
        rig.ask(CONVERSATION, b"identity");
        let (to, request) = rig.sent();
        let answer = response(&request, code, &attributes);
        assert_eq!(rig.client.handle(to, &answer), Ok(()));
        assert_eq!(rig.refused(), ServerFault::Incomplete);
    }
}

#[test]
fn what_the_secret_does_not_vouch_for_is_discarded_and_the_request_waits_on() {
    let mut rig = Rig::new(2);
    rig.ask(CONVERSATION, b"identity");
    let (to, request) = rig.sent();
    let good = response(&request, 3, &[(79, &[4, 9, 0, 4])]);
    let changed = |at: usize| {
        let mut octets = good.clone();
        octets[at] ^= 1;
        octets
    };
    let last = good.len() - 1;
    // Without any Message-Authenticator, and with a wrong one under a right authenticator.
    let bare = finish(
        &request,
        bare_response(&request, 2, &[(79, SUCCESS)]),
        false,
    );
    let mut forged = bare_response(&request, 2, &[(79, SUCCESS)]);
    forged.extend([80, 18]);
    forged.extend([7; 16]);
    let forged = finish(&request, forged, false);
    let mut twice = bare_response(&request, 2, &[(79, SUCCESS), (80, &[0; 16])]);
    twice.extend([80, 18]);
    twice.extend([0; 16]);
    let twice = finish(&request, twice, true);
    let elsewhere = Destination { server: 1, ..to };
    let accounting = Destination {
        purpose: Purpose::Accounting,
        ..to
    };
    let accounted = finish(&request, bare_response(&request, 5, &[]), false);
    for (from, datagram, reason) in [
        (to, bare, Discarded::Unprotected),
        (to, forged, Discarded::MessageAuthenticator),
        (to, twice, Discarded::MessageAuthenticator),
        (to, changed(0), Discarded::Authenticator),
        (to, changed(1), Discarded::Unasked),
        (to, changed(10), Discarded::Authenticator),
        (to, changed(last), Discarded::Authenticator),
        (to, accounted, Discarded::Kind),
        (to, response(&request, 1, &[]), Discarded::Kind),
        (elsewhere, good.clone(), Discarded::Unasked),
        (accounting, good.clone(), Discarded::Unasked),
        (to, vec![], Discarded::Malformed(PacketError::Truncated)),
    ] {
        assert_eq!(rig.client.handle(from, &datagram), Err(reason));
        assert!(rig.client.poll_output().is_none());
    }
    assert_eq!(rig.client.handle(to, &good), Ok(()));
    assert_eq!(rig.refused(), ServerFault::Rejected);
    assert_eq!(rig.client.handle(to, &good), Err(Discarded::Unasked));
}

#[test]
fn a_silent_server_is_asked_again_with_the_same_octets_then_the_next_one_is() {
    let mut rig = Rig::new(2);
    rig.ask(CONVERSATION, b"identity");
    let (first, request) = rig.sent();
    let mut waits = Vec::new();
    for _ in 0..2 {
        waits.push(rig.wait());
        //= RFC 2865 §2.5
        assert_eq!(rig.sent(), (first, request.clone()));
    }
    waits.push(rig.wait());
    assert_eq!(waits, [2000, 3000, 4500].map(Duration::from_millis));
    let (second, other) = rig.sent();
    assert_eq!(second.server, 1);
    assert_ne!(other[4..20], request[4..20]);
    // The first one's late answer helps nobody.
    let late = response(&request, 3, &[(79, &[4, 9, 0, 4])]);
    assert_eq!(rig.client.handle(first, &late), Err(Discarded::Unasked));
    for _ in 0..3 {
        rig.wait();
    }
    rig.sent();
    rig.sent();
    assert_eq!(rig.refused(), ServerFault::Silent);
    assert_eq!(rig.client.next_timeout(), None);
}

#[test]
fn a_conversation_does_not_change_servers_in_its_midst() {
    for state in [
        &[(79, CHALLENGE), (24, &b"state"[..])][..],
        &[(79, CHALLENGE)],
    ] {
        let mut rig = Rig::new(2);
        rig.ask(CONVERSATION, b"identity");
        let (to, request) = rig.sent();
        let challenge = response(&request, 11, state);
        assert_eq!(rig.client.handle(to, &challenge), Ok(()));
        rig.answer();
        rig.ask(CONVERSATION, b"proof");
        for _ in 0..3 {
            assert_eq!(rig.sent().0, to);
            rig.wait();
        }
        assert_eq!(rig.refused(), ServerFault::Silent);
    }
}

#[test]
fn a_server_that_was_silent_comes_last_for_a_while() {
    let mut rig = Rig::new(2);
    rig.ask(CONVERSATION, b"identity");
    for _ in 0..3 {
        rig.sent();
        rig.wait();
    }
    assert_eq!(rig.sent().0.server, 1);
    rig.ask(ConversationId(8), b"identity");
    assert_eq!(rig.sent().0.server, 1);
    rig.now += Duration::from_secs(61);
    rig.ask(ConversationId(9), b"identity");
    assert_eq!(rig.sent().0.server, 0);
}

#[test]
fn without_a_server_nobody_is_accepted() {
    let mut rig = Rig::new(0);
    rig.ask(CONVERSATION, b"identity");
    assert_eq!(rig.refused(), ServerFault::Silent);
}

#[test]
fn as_many_requests_are_open_as_there_are_identifiers() {
    let mut rig = Rig::new(1);
    let mut identifiers = std::collections::BTreeSet::new();
    for id in 1000..1256 {
        rig.ask(ConversationId(id), b"identity");
        identifiers.insert(rig.sent().1[1]);
    }
    assert_eq!(identifiers.len(), 256);
    rig.ask(CONVERSATION, b"identity");
    assert_eq!(rig.refused(), ServerFault::Busy);
    rig.client.forget(ConversationId(1000));
    rig.ask(CONVERSATION, b"identity");
    rig.sent();
}

#[test]
fn a_message_that_no_packet_can_carry_is_refused() {
    let mut rig = Rig::new(1);
    rig.ask(CONVERSATION, &[0; 4090]);
    assert_eq!(rig.refused(), ServerFault::Incomplete);
}

#[test]
fn a_forgotten_conversation_gets_no_answer() {
    let mut rig = Rig::new(1);
    rig.ask(CONVERSATION, b"identity");
    let (to, request) = rig.sent();
    rig.client.forget(CONVERSATION);
    assert_eq!(rig.client.next_timeout(), None);
    let late = response(&request, 3, &[]);
    assert_eq!(rig.client.handle(to, &late), Err(Discarded::Unasked));
}

fn record(status: Status) -> Record {
    Record {
        status,
        session: "s-1".into(),
        name: b"alice".to_vec(),
        class: vec![b"class".to_vec()],
        connection: "road".into(),
        called: "192.0.2.9".into(),
        calling: "198.51.100.4".into(),
        addresses: vec![IpAddr::from([10, 9, 0, 7])],
        time: 1_700_000_000,
        traffic: Some(Traffic {
            seconds: 60,
            octets_in: 0x5_0000_0002,
            octets_out: 3,
            packets_in: 4,
            packets_out: 5,
        }),
    }
}

#[test]
fn a_record_is_written_down_by_a_server_that_keeps_accounts() {
    let mut rig = Rig::new(1);
    let stop = record(Status::Stop(TerminateCause::UserRequest));
    rig.client.account(rig.now, RecordId(3), stop);
    let (to, request) = rig.sent();
    assert_eq!(to.purpose, Purpose::Accounting);
    // RFC 2866 §3.
    let expected = md5(&[&request[..4], &[0; 16], &request[20..], SECRET]);
    assert_eq!(request[4..20], expected);
    let packet = Packet::parse(&request).expect("a packet");
    let number = |kind| {
        let value = packet.first(kind).expect("there").try_into();
        u32::from_be_bytes(value.expect("four octets"))
    };
    assert_eq!(number(kind::ACCT_STATUS_TYPE), 2);
    assert_eq!(number(kind::ACCT_TERMINATE_CAUSE), 1);
    assert_eq!(number(kind::ACCT_INPUT_OCTETS), 2);
    assert_eq!(number(kind::ACCT_INPUT_GIGAWORDS), 5);
    assert_eq!(number(kind::EVENT_TIMESTAMP), 1_700_000_000);
    assert_eq!(packet.first(kind::CLASS), Some(&b"class"[..]));
    assert_eq!(packet.first(kind::MESSAGE_AUTHENTICATOR), None);
    let answer = finish(&request, bare_response(&request, 5, &[]), false);
    assert_eq!(rig.client.handle(to, &answer), Ok(()));
    let output = rig.client.poll_output();
    assert!(matches!(
        output,
        Some(Output::Accounted {
            record: RecordId(3),
            written: true
        })
    ));
}

#[test]
fn a_record_goes_to_the_next_server_and_is_given_up_after_the_last() {
    let mut rig = Rig::new(2);
    rig.client
        .account(rig.now, RecordId(3), record(Status::Start));
    let mut asked = Vec::new();
    loop {
        match rig.client.poll_output() {
            Some(Output::Send { to, .. }) => asked.push(to.server),
            Some(Output::Accounted { written, .. }) => {
                assert!(!written);
                break;
            }
            Some(other) => panic!("{other:?}"),
            None => {
                rig.wait();
            }
        }
    }
    assert_eq!(asked, [0, 0, 0, 1, 1, 1]);
}

#[test]
fn packets_that_lie_are_refused() {
    let head = |length: u16| {
        let mut octets = vec![2, 1];
        octets.extend(length.to_be_bytes());
        octets.extend([0; 16]);
        octets
    };
    let with = |length: u16, rest: &[u8]| [&head(length)[..], rest].concat();
    for (octets, error) in [
        (vec![], PacketError::Truncated),
        (vec![2, 1, 0], PacketError::Truncated),
        (head(19), PacketError::Length(19)),
        (head(4097), PacketError::Length(4097)),
        (head(21), PacketError::Truncated),
        (with(21, &[1]), PacketError::Attribute(1)),
        (with(22, &[1, 1]), PacketError::Attribute(1)),
        (with(22, &[1, 0]), PacketError::Attribute(1)),
        (with(23, &[79, 4, 9]), PacketError::Attribute(79)),
    ] {
        assert_eq!(Packet::parse(&octets), Err(error), "{octets:?}");
    }
    assert_eq!(
        Packet::parse(&with(20, &[1, 2, 3])),
        Packet::parse(&head(20))
    );
}

#[test]
fn vendors_attributes_that_lie_are_not_found() {
    let mut packet = Packet::parse(&[&[2, 1, 0, 20][..], &[0; 16]].concat()).expect("empty");
    for value in [
        &[0, 0, 1, 55][..],
        &[0, 0, 1, 55, 17],
        &[0, 0, 1, 55, 17, 0, 1],
        &[0, 0, 1, 55, 17, 1, 1],
        &[0, 0, 1, 55, 17, 4, 1],
        &[0, 0, 1],
    ] {
        packet.add(kind::VENDOR_SPECIFIC, value);
    }
    assert_eq!(packet.vendor(311, 17), None);
    packet.add(kind::VENDOR_SPECIFIC, [0, 0, 1, 55, 16, 3, 9, 17, 4, 7, 8]);
    assert_eq!(packet.vendor(311, 17), Some(&[7, 8][..]));
}

proptest! {
    #[test]
    fn packets_are_read_as_they_were_written(
        code: u8, identifier: u8, authenticator: [u8; 16],
        attributes in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..=253)), 0..12),
    ) {
        let mut octets = vec![code, identifier, 0, 0];
        octets.extend(authenticator);
        for (kind, value) in attributes {
            octets.extend([kind, value.len() as u8 + 2]);
            octets.extend(value);
        }
        let length = (octets.len() as u16).to_be_bytes();
        octets[2..4].copy_from_slice(&length);
        prop_assert_eq!(Packet::parse(&octets).expect("well-formed").emit(), Ok(octets));
    }
}
