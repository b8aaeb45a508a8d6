//! The client against a scripted server on a socket pair.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use adit_vici::{Client, ClientError, Message, Packet};

/// What the server expects, octet for octet, and what it sends then.
type Script = Vec<(Vec<u8>, Vec<Vec<u8>>)>;

fn play(script: Script) -> (Client, JoinHandle<()>) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let server = thread::spawn(move || {
        for (expected, answers) in script {
            let mut got = vec![0; expected.len()];
            theirs.read_exact(&mut got).unwrap();
            assert_eq!(got, expected);
            for answer in answers {
                theirs.write_all(&answer).unwrap();
            }
        }
    });
    let client = Client::new(ours);
    client.set_timeout(Some(Duration::from_secs(10))).unwrap();
    (client, server)
}

fn request(name: &str, message: &Message) -> Vec<u8> {
    Packet::Request {
        name,
        message: &message.emit().unwrap(),
    }
    .emit()
    .unwrap()
    .to_vec()
}

fn response(message: &Message) -> Vec<u8> {
    Packet::Response {
        message: &message.emit().unwrap(),
    }
    .emit()
    .unwrap()
    .to_vec()
}

fn event(name: &str, message: &Message) -> Vec<u8> {
    Packet::Event {
        name,
        message: &message.emit().unwrap(),
    }
    .emit()
    .unwrap()
    .to_vec()
}

fn bare(packet: Packet<'_>) -> Vec<u8> {
    packet.emit().unwrap().to_vec()
}

fn text(key: &str, value: &str) -> Message {
    Message::new().with(key, value)
}

#[test]
fn a_request_gets_its_response_past_an_event() {
    let version = text("daemon", "adit");
    let (mut client, server) = play(vec![(
        request("version", &Message::new()),
        vec![event("log", &text("msg", "hello")), response(&version)],
    )]);
    assert_eq!(client.request("version", &Message::new()).unwrap(), version);
    assert_eq!(
        client.next_event().unwrap(),
        ("log".to_owned(), text("msg", "hello"))
    );
    server.join().unwrap();
}

#[test]
fn a_refusal_carries_the_reason_and_the_connection_lives() {
    let refused = text("success", "no").with("errmsg", "no such SA");
    let (mut client, server) = play(vec![
        (
            request("sa-delete", &Message::new()),
            vec![response(&refused)],
        ),
        (
            request("nonsense", &Message::new()),
            vec![bare(Packet::CommandUnknown)],
        ),
        (
            request("stats", &Message::new()),
            vec![response(&Message::new())],
        ),
    ]);
    let error = client.request("sa-delete", &Message::new()).unwrap_err();
    assert_eq!(error.to_string(), "sa-delete: no such SA");
    let error = client.request("nonsense", &Message::new()).unwrap_err();
    assert!(matches!(error, ClientError::UnknownCommand(name) if name == "nonsense"));
    assert!(client.request("stats", &Message::new()).unwrap().is_empty());
    server.join().unwrap();
}

#[test]
fn a_streamed_command_registers_collects_and_unregisters() {
    let (mut client, server) = play(vec![
        (
            bare(Packet::Register { name: "list-sa" }),
            vec![bare(Packet::Confirm)],
        ),
        (
            request("list-sas", &Message::new()),
            vec![
                event("list-sa", &text("n", "1")),
                event("log", &text("msg", "between")),
                event("list-sa", &text("n", "2")),
                response(&Message::new()),
            ],
        ),
        (
            bare(Packet::Unregister { name: "list-sa" }),
            vec![bare(Packet::Confirm)],
        ),
    ]);
    let all = client
        .collect("list-sas", "list-sa", &Message::new())
        .unwrap();
    assert_eq!(all, [text("n", "1"), text("n", "2")]);
    assert_eq!(client.next_event().unwrap().0, "log");
    server.join().unwrap();
}

#[test]
fn an_unknown_event_is_an_error() {
    let (mut client, server) = play(vec![(
        bare(Packet::Register { name: "list-sa" }),
        vec![bare(Packet::EventUnknown)],
    )]);
    let error = client
        .collect("list-sas", "list-sa", &Message::new())
        .unwrap_err();
    assert!(matches!(error, ClientError::UnknownEvent(name) if name == "list-sa"));
    server.join().unwrap();
}

#[test]
fn a_server_that_breaks_the_framing_is_an_error() {
    for broken in [
        &b"\0\x10\0\0"[..],
        b"\0\0\0\0",
        b"\0\0\0\x01\x63",
        b"\0\0\0\x02\x01\x03",
        b"\0\0\0\x09\x01",
    ] {
        let (mut client, server) = play(vec![(
            request("stats", &Message::new()),
            vec![broken.to_vec()],
        )]);
        let error = client.request("stats", &Message::new()).unwrap_err();
        let refused = matches!(
            error,
            ClientError::Packet(_) | ClientError::Message(_) | ClientError::Io(_)
        );
        assert!(refused, "{error}");
        server.join().unwrap();
    }
}
