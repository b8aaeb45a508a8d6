//! Conversations between our peer and our authenticator, and with those who do not follow.

use proptest::prelude::*;

use super::*;

const OURS: [u8; 16] = [0x5b; 16];
const THEIRS: [u8; 16] = [0x21; 16];

/// How a conversation ended, on both sides.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    peer: Result<Msk, EapFailure>,
    authenticator: Result<Msk, EapFailure>,
}

fn converse(name: &str, password: &str, known: Option<&str>, ask: bool) -> Outcome {
    let mut peer = Peer::new(name, password.as_bytes(), THEIRS);
    let backend = Backend::MsChapV2(OURS);
    let (mut authenticator, mut step) = if ask {
        Authenticator::ask_identity(backend, 254)
    } else {
        Authenticator::with_identity(backend, 254, b"gate")
    };
    for _ in 0..20 {
        let (message, verdict) = match step {
            AuthenticatorStep::Send(message) => (message, None),
            AuthenticatorStep::AskPassword(asked) => {
                assert_eq!(asked, name.as_bytes());
                step = authenticator.password(known.map(str::as_bytes));
                continue;
            }
            AuthenticatorStep::Succeeded(message, msk) => (message, Some(Ok(msk))),
            AuthenticatorStep::Failed(message, why) => (message, Some(Err(why))),
            other => panic!("{other:?}"),
        };
        step = match (peer.handle(&message), verdict) {
            (PeerStep::Send(answer), None) => authenticator.handle(&answer),
            (PeerStep::Succeeded(msk), Some(authenticator)) => {
                let peer = Ok(msk);
                return Outcome {
                    peer,
                    authenticator,
                };
            }
            (PeerStep::Failed(why), Some(authenticator)) => {
                let peer = Err(why);
                return Outcome {
                    peer,
                    authenticator,
                };
            }
            other => panic!("{other:?}"),
        };
    }
    panic!("the conversation does not end");
}

#[test]
fn who_knows_the_password_shares_a_key() {
    for ask in [true, false] {
        let outcome = converse("alice", "Grün-7", Some("Grün-7"), ask);
        let key = outcome.peer.expect("success");
        assert_eq!(Ok(key.clone()), outcome.authenticator);
        assert_ne!(key.as_bytes()[..16], key.as_bytes()[16..32]);
        assert_ne!(key.as_bytes()[..32], [0; 32]);
    }
}

#[test]
fn a_domain_may_stand_before_the_name() {
    let outcome = converse("CORP\\alice", "secret", Some("secret"), true);
    assert_eq!(outcome.peer, outcome.authenticator);
    assert!(outcome.peer.is_ok());
}

#[test]
fn a_wrong_password_and_an_unknown_name_look_alike_to_the_peer() {
    for (known, why) in [
        (Some("secret"), EapFailure::WrongPassword),
        (None, EapFailure::UnknownName),
    ] {
        let outcome = converse("alice", "guess", known, true);
        assert_eq!(outcome.peer, Err(EapFailure::WrongPassword));
        assert_eq!(outcome.authenticator, Err(why));
    }
}

/// A peer that has sent its proof, and the identifier of the challenge.
fn proven() -> (Peer, Authenticator, u8) {
    let mut peer = Peer::new("alice", b"secret", THEIRS);
    let backend = Backend::MsChapV2(OURS);
    let (mut authenticator, step) = Authenticator::with_identity(backend, 8, b"alice");
    let AuthenticatorStep::Send(challenge) = step else {
        panic!("{step:?}")
    };
    let PeerStep::Send(proof) = peer.handle(&challenge) else {
        panic!("no proof")
    };
    let step = authenticator.handle(&proof);
    assert_eq!(step, AuthenticatorStep::AskPassword(b"alice".to_vec()));
    (peer, authenticator, challenge[1])
}

#[test]
fn a_server_that_does_not_know_the_password_is_not_believed() {
    let (mut peer, _, id) = proven();
    let text = mschapv2::message::success_text(&[7; 20]);
    let lie = mschapv2::message::Message::Success { id, text };
    let lie = Packet::request(id + 1, Method::MsChapV2(lie.emit())).emit();
    let step = peer.handle(&lie);
    assert!(matches!(step, PeerStep::Failed(EapFailure::WrongServer)));
    let identifier = id + 1;
    let body = Body::Success;
    let canned = Packet { identifier, body }.emit();
    assert!(matches!(peer.handle(&canned), PeerStep::Ignore));
}

#[test]
fn a_success_before_the_end_is_ignored_and_a_failure_ends() {
    //= RFC 3748 §4.2
    for mut peer in [Peer::new("alice", b"secret", THEIRS), proven().0] {
        assert!(matches!(peer.handle(&[3, 1, 0, 4]), PeerStep::Ignore));
        let end = peer.handle(&[4, 1, 0, 4]);
        assert!(matches!(end, PeerStep::Failed(EapFailure::Refused)));
    }
}

#[test]
fn a_failure_after_both_said_success_is_ignored() {
    //= RFC 3748 §4.2
    let (mut peer, mut authenticator, _) = proven();
    let AuthenticatorStep::Send(success) = authenticator.password(Some(b"secret")) else {
        panic!("not proven")
    };
    assert!(matches!(peer.handle(&success), PeerStep::Send(_)));
    assert!(matches!(peer.handle(&[4, 9, 0, 4]), PeerStep::Ignore));
    assert!(matches!(peer.handle(&[3, 9, 0, 4]), PeerStep::Succeeded(_)));
}

#[test]
fn a_repeated_request_is_answered_as_before() {
    //= RFC 3748 §4.1
    let mut peer = Peer::new("alice", b"secret", THEIRS);
    let (_, step) = Authenticator::with_identity(Backend::MsChapV2(OURS), 8, b"alice");
    let AuthenticatorStep::Send(challenge) = step else {
        panic!("{step:?}")
    };
    let answers = [0; 2].map(|_| match peer.handle(&challenge) {
        PeerStep::Send(answer) => answer,
        other => panic!("{other:?}"),
    });
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn another_method_is_answered_with_the_one_we_have_until_it_began() {
    //= RFC 3748 §5.3.1
    let tls = |identifier| Packet::request(identifier, Method::Other(13, vec![0x20])).emit();
    let mut peer = Peer::new("alice", b"secret", THEIRS);
    let PeerStep::Send(nak) = peer.handle(&tls(1)) else {
        panic!("no answer")
    };
    assert_eq!(nak, [2, 1, 0, 6, 3, 26]);
    let (mut peer, _, _) = proven();
    assert!(matches!(peer.handle(&tls(77)), PeerStep::Ignore));
}

#[test]
fn a_peer_that_wants_another_method_is_told_apart() {
    for (wanted, named) in [(vec![13, 21], Some(13)), (vec![0], None), (vec![], None)] {
        let (mut authenticator, _) =
            Authenticator::with_identity(Backend::MsChapV2(OURS), 8, b"alice");
        let nak = Packet::response(10, Method::Nak(wanted)).emit();
        // 8 is taken by the name that was not asked for, so 9 is the challenge's.
        assert_eq!(authenticator.handle(&nak), AuthenticatorStep::Ignore);
        let nak = [&[nak[0], 9][..], &nak[2..]].concat();
        assert_eq!(
            authenticator.handle(&nak),
            AuthenticatorStep::Failed(vec![4, 9, 0, 4], EapFailure::Method(named))
        );
    }
}

#[test]
fn a_proof_for_another_challenge_is_refused() {
    let backend = Backend::MsChapV2(OURS);
    let (mut authenticator, _) = Authenticator::with_identity(backend, 8, b"alice");
    let response = mschapv2::message::Message::Response {
        id: 8,
        challenge: THEIRS,
        response: [0; 24],
        name: b"alice".to_vec(),
    };
    let response = Packet::response(9, Method::MsChapV2(response.emit())).emit();
    let step = authenticator.handle(&response);
    assert!(matches!(
        step,
        AuthenticatorStep::Failed(_, EapFailure::OutOfOrder)
    ));
}

fn key() -> Msk {
    Msk::from_halves(&[1; 16], &[2; 16]).expect("two halves")
}

/// An authenticator whose server was asked who the peer is.
fn passed_on() -> Authenticator {
    let (mut authenticator, step) = Authenticator::ask_identity(Backend::Server, 40);
    assert_eq!(step, AuthenticatorStep::Send(vec![1, 40, 0, 5, 1]));
    let identity = Packet::response(40, Method::Identity(b"alice".to_vec())).emit();
    let step = authenticator.handle(&identity);
    assert_eq!(step, AuthenticatorStep::AskServer(identity));
    assert_eq!(authenticator.name(), b"alice");
    authenticator
}

#[test]
fn with_a_server_behind_it_everything_is_passed_on() {
    let mut authenticator = passed_on();
    let challenge = Packet::request(99, Method::Other(4, vec![1, 2])).emit();
    let step = authenticator.server(ServerAnswer::Challenge(challenge.clone()));
    assert_eq!(step, AuthenticatorStep::Send(challenge));
    let stale = Packet::response(40, Method::Other(4, vec![3])).emit();
    assert_eq!(authenticator.handle(&stale), AuthenticatorStep::Ignore);
    let response = Packet::response(99, Method::Other(4, vec![3])).emit();
    let step = authenticator.handle(&response);
    assert_eq!(step, AuthenticatorStep::AskServer(response.clone()));
    // The peer repeats itself while the server thinks.
    assert_eq!(authenticator.handle(&response), AuthenticatorStep::Ignore);
    let success = vec![3, 99, 0, 4];
    let step = authenticator.server(ServerAnswer::Accept(success.clone(), key()));
    assert_eq!(step, AuthenticatorStep::Succeeded(success, key()));
}

#[test]
fn a_name_from_elsewhere_reaches_the_server_as_if_the_peer_had_said_it() {
    let (_, step) = Authenticator::with_identity(Backend::Server, 40, b"alice");
    let identity = Packet::response(40, Method::Identity(b"alice".to_vec())).emit();
    assert_eq!(step, AuthenticatorStep::AskServer(identity));
}

#[test]
fn what_a_server_refuses_or_leaves_out_fails() {
    let failed = |answer, message: &[u8], fault| {
        let step = passed_on().server(answer);
        let expected = AuthenticatorStep::Failed(message.to_vec(), EapFailure::Server(fault));
        assert_eq!(step, expected);
    };
    let ours = [4, 40, 0, 4];
    let refused = |message| ServerAnswer::Refused(ServerFault::Rejected, message);
    failed(
        refused(Some(vec![4, 41, 0, 4])),
        &[4, 41, 0, 4],
        ServerFault::Rejected,
    );
    failed(refused(None), &ours, ServerFault::Rejected);
    failed(
        refused(Some(vec![3, 41, 0, 4])),
        &ours,
        ServerFault::Rejected,
    );
    let silent = ServerAnswer::Refused(ServerFault::Silent, None);
    failed(silent, &ours, ServerFault::Silent);
    for message in [vec![], vec![4, 41, 0, 4], vec![1, 2, 0, 5, 1]] {
        let accept = ServerAnswer::Accept(message, key());
        failed(accept, &ours, ServerFault::Incomplete);
    }
    let challenge = ServerAnswer::Challenge(vec![3, 41, 0, 4]);
    failed(challenge, &ours, ServerFault::Incomplete);
}

#[test]
fn a_conversation_that_does_not_end_is_ended() {
    let mut authenticator = passed_on();
    for id in 41..120 {
        let challenge = Packet::request(id, Method::Other(4, vec![])).emit();
        let _ = authenticator.server(ServerAnswer::Challenge(challenge));
        let response = Packet::response(id, Method::Other(4, vec![])).emit();
        if let AuthenticatorStep::Failed(_, why) = authenticator.handle(&response) {
            assert_eq!(why, EapFailure::TooLong);
            return;
        }
    }
    panic!("it went on");
}

#[test]
fn packets_are_laid_out_as_the_rfc_draws_them() {
    // RFC 3748 §4.1, §4.2, §5.1.
    let identity = Packet::response(7, Method::Identity(b"bob".to_vec()));
    let octets = [2, 7, 0, 8, 1, b'b', b'o', b'b'];
    assert_eq!(identity.emit(), octets);
    let padded = [&octets[..], &[0, 0]].concat();
    assert_eq!(Packet::parse(&padded), Ok(identity));
    for (octets, error) in [
        (&[1, 1, 0][..], PacketError::Truncated),
        (&[1, 1, 0, 6, 1], PacketError::Truncated),
        (&[1, 1, 0, 4], PacketError::Length(4)),
        (&[1, 1, 0, 3], PacketError::Length(3)),
        (&[3, 1, 0, 5, 1], PacketError::Length(5)),
        (&[5, 1, 0, 4], PacketError::Code(5)),
        (&[1, 1, 0xff, 0xff, 1], PacketError::Length(65535)),
    ] {
        assert_eq!(Packet::parse(octets), Err(error), "{octets:?}");
    }
}

#[test]
fn keys_are_not_shown() {
    assert_eq!(format!("{:?}", key()), "Msk(…)");
    assert_eq!(Msk::from_halves(&[], &[1]), None);
    assert_eq!(Msk::from_halves(&[1; 33], &[1; 32]), None);
}

proptest! {
    #[test]
    fn packets_are_read_as_they_were_written(identifier: u8, code in 1_u8..=4, number: u8, data in prop::collection::vec(any::<u8>(), 0..200)) {
        let length = if code < 3 { data.len() + 5 } else { 4 };
        let mut octets = vec![code, identifier];
        octets.extend((length as u16).to_be_bytes());
        if code < 3 {
            octets.push(number);
            octets.extend(&data);
        }
        prop_assert_eq!(Packet::parse(&octets).expect("well-formed").emit(), octets);
    }

    #[test]
    fn whatever_the_other_side_sends_nobody_stumbles(messages in prop::collection::vec((any::<u8>(), 0_u8..6, prop::collection::vec(any::<u8>(), 0..80)), 1..6)) {
        let (mut peer, mut authenticator, id) = proven();
        for (code, near, data) in messages {
            let mut octets = vec![code % 6, id.wrapping_add(near)];
            octets.extend((data.len() as u16 + 5).to_be_bytes());
            octets.push(26);
            octets.extend(data);
            let _ = peer.handle(&octets);
            let _ = authenticator.password(Some(b"other"));
            let step = authenticator.handle(&octets);
            prop_assert!(!matches!(step, AuthenticatorStep::Succeeded(..)));
        }
    }
}
