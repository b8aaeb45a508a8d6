//! The control socket over real Unix sockets, with a loop and commands of the test's own.

mod serving;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use adit_control::vici::{
    Access, Answer, BindError, Commands, MAX_CONNECTIONS, Reply, Request, Server, Ticket, failure,
    success,
};
use adit_vici::{Client, ClientError, MAX_SEGMENT, Message, Packet};
use mio::Poll;
use serving::Serving;

const LIMIT: Duration = Duration::from_secs(20);

/// A server in a thread of its own, at a path of its own, that counts how often its commands were called.
struct Running {
    serving: Serving,
    calls: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Sample {
    waiting: Vec<Ticket>,
    completed: Vec<Ticket>,
    raised: Vec<Message>,
    calls: Arc<AtomicUsize>,
}

impl Commands for Sample {
    fn handle(&mut self, request: Request<'_>, reply: &mut Reply<'_>) -> Answer {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match request.name {
            "echo" => Answer::Done(request.message.clone()),
            "whoami" => Answer::Done(Message::new().with("pid", request.peer.pid.to_string())),
            "fail" => Answer::Done(failure("no such SA")),
            "wait" => {
                self.waiting.push(reply.ticket());
                Answer::Later
            }
            "release" => {
                self.completed.append(&mut self.waiting);
                Answer::Done(success())
            }
            "raise" => {
                self.raised.push(request.message.clone());
                Answer::Done(success())
            }
            "list" => stream(request, reply),
            "flood" => {
                let message = Message::new().with("filling", "x".repeat(60_000));
                (0..1000).for_each(|_| reply.event("item", &message));
                Answer::Done(success())
            }
            _ => Answer::Unknown,
        }
    }

    fn knows_event(&self, event: &str) -> bool {
        ["item", "news"].contains(&event)
    }
}

/// Streams `count` numbered items with as many octets of filling as asked.
fn stream(request: Request<'_>, reply: &mut Reply<'_>) -> Answer {
    let number = |name: &str| {
        request
            .message
            .str(name)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    };
    let filling = "x".repeat(number("filling") as usize);
    for item in request.cursor..number("count") {
        if !reply.has_room() {
            return Answer::More(item);
        }
        reply.event(
            "item",
            &Message::new()
                .with("number", item.to_string())
                .with("filling", &filling),
        );
    }
    Answer::Done(Message::new())
}

impl Running {
    fn start(name: &str) -> Self {
        Self::start_with(name, Access::default())
    }

    fn start_with(name: &str, access: Access) -> Self {
        let calls = Arc::new(AtomicUsize::new(0));
        let sample = Sample {
            calls: calls.clone(),
            ..Sample::default()
        };
        let serving = Serving::start(&format!("vici-{name}"), access, sample, finish);
        Running { serving, calls }
    }

    fn raw(&self) -> UnixStream {
        let stream = UnixStream::connect(self.serving.path()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream
    }

    fn client(&self) -> Client {
        Client::new(self.raw())
    }
}

/// Answers who waited and was released, and raises what is to be raised.
fn finish(sample: &mut Sample, server: &mut Server) -> bool {
    let left = !sample.completed.is_empty() || !sample.raised.is_empty();
    for ticket in sample.completed.drain(..) {
        server.complete(ticket, &success());
        assert!(!server.complete(ticket, &success()), "a ticket serves once");
    }
    for message in sample.raised.drain(..) {
        server.raise("news", &message);
    }
    left
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::yield_now();
    }
}

fn count(number: usize, filling: usize) -> Message {
    Message::new()
        .with("count", number.to_string())
        .with("filling", filling.to_string())
}

fn assert_serves(running: &Running) {
    let asked = Message::new().with("still", "here");
    assert_eq!(running.client().request("echo", &asked).unwrap(), asked);
}

fn assert_closed(stream: &mut UnixStream) {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

#[test]
fn commands_are_answered_refused_or_unknown() {
    let running = Running::start("answers");
    let mut client = running.client();
    let asked = Message::new()
        .with("key", [0, 255, 10])
        .with_list("list", ["a", "b"]);
    assert_eq!(client.request("echo", &asked).unwrap(), asked);
    let refused = client.request("fail", &Message::new()).unwrap_err();
    assert_eq!(refused.to_string(), "fail: no such SA");
    assert!(matches!(
        client.request("nonsense", &Message::new()),
        Err(ClientError::UnknownCommand(_))
    ));
    let who = client.request("whoami", &Message::new()).unwrap();
    assert_eq!(
        who.str("pid"),
        Some(std::process::id().to_string().as_str())
    );
}

#[test]
fn a_request_of_the_greatest_size_passes() {
    let running = Running::start("greatest");
    let mut message = Message::new();
    for _ in 0..8 {
        message.add("v", vec![7; 65_000]);
    }
    assert!(message.emit().unwrap().len() > MAX_SEGMENT - 8 * 1024);
    assert_eq!(running.client().request("echo", &message).unwrap(), message);
}

#[test]
fn the_socket_file_has_the_mode_asked_for_and_goes_with_the_server() {
    for mode in [0o600, 0o660] {
        let mut running =
            Running::start_with(&format!("mode-{mode:o}"), Access { mode, group: None });
        let file = fs::symlink_metadata(running.serving.path()).unwrap();
        assert!(file.file_type().is_socket());
        assert_eq!(file.permissions().mode() & 0o7777, mode);
        running.serving.stop();
        assert!(!running.serving.path().exists());
    }
}

#[test]
fn a_dead_socket_is_replaced_and_a_served_one_or_a_plain_file_is_left_alone() {
    let running = Running::start("paths");
    let poll = Poll::new().unwrap();
    let bind = |path: &Path| Server::bind(path, Access::default(), poll.registry(), 0);
    assert!(matches!(
        bind(&running.serving.path()),
        Err(BindError::InUse(_))
    ));
    assert_serves(&running);

    let dead = running.serving.path().with_file_name("dead");
    drop(UnixListener::bind(&dead).unwrap());
    let server = bind(&dead).unwrap();
    drop(server);

    let plain = running.serving.path().with_file_name("plain");
    fs::write(&plain, "precious").unwrap();
    assert!(matches!(bind(&plain), Err(BindError::NotASocket(_))));
    assert_eq!(fs::read_to_string(&plain).unwrap(), "precious");
}

#[test]
fn events_reach_those_that_registered_and_only_while_they_are() {
    let running = Running::start("events");
    let (mut listener, mut other) = (running.client(), running.client());
    assert!(matches!(
        listener.subscribe("nonsense"),
        Err(ClientError::UnknownEvent(_))
    ));
    listener.subscribe("news").unwrap();
    let news = |number: &str| Message::new().with("number", number);
    other.request("raise", &news("1")).unwrap();
    assert_eq!(
        listener.next_event().unwrap(),
        ("news".to_owned(), news("1"))
    );
    listener.unsubscribe("news").unwrap();
    assert!(matches!(
        listener.unsubscribe("news"),
        Err(ClientError::UnknownEvent(_))
    ));
    other.request("raise", &news("2")).unwrap();
    other.request("echo", &Message::new()).unwrap();
    listener.subscribe("news").unwrap();
    other.request("raise", &news("3")).unwrap();
    assert_eq!(listener.next_event().unwrap().1, news("3"));
}

#[test]
fn a_long_streamed_answer_comes_whole_and_in_order_without_being_held_in_memory() {
    let running = Running::start("stream");
    // 9 MB, more than twice what a connection's output may hold.
    let (number, filling) = (900, 10_000);
    let mut next = 0;
    running
        .client()
        .stream("list", "item", &count(number, filling), |message| {
            assert_eq!(message.str("number"), Some(next.to_string().as_str()));
            next += 1;
        })
        .unwrap();
    assert_eq!(next, number);
    assert!(running.calls.load(Ordering::SeqCst) > 10, "in pieces");
}

#[test]
fn a_client_that_registered_for_nothing_gets_the_response_alone() {
    let running = Running::start("unregistered");
    let mut client = running.client();
    assert!(client.request("list", &count(10, 10)).unwrap().is_empty());
    client.set_timeout(Some(Duration::from_millis(1))).unwrap();
    assert!(client.next_event().is_err());
}

#[test]
fn an_answer_may_come_later_and_the_next_request_waits_for_it() {
    let running = Running::start("later");
    let mut early = running.raw();
    let request = |name| Packet::Request { name, message: b"" }.emit().unwrap();
    early
        .write_all(&[request("wait").as_slice(), request("echo").as_slice()].concat())
        .unwrap();
    until("the request was seen", || {
        running.calls.load(Ordering::SeqCst) == 1
    });

    let mut other = running.client();
    other.request("echo", &Message::new()).unwrap();
    early.set_nonblocking(true).unwrap();
    assert_eq!(
        early.read(&mut [0; 64]).unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
    early.set_nonblocking(false).unwrap();

    other.request("release", &Message::new()).unwrap();
    let message = success().emit().unwrap();
    let both = [
        Packet::Response { message: &message }.emit().unwrap(),
        Packet::Response { message: b"" }.emit().unwrap(),
    ]
    .map(|segment| segment.to_vec())
    .concat();
    let mut got = vec![0; both.len()];
    early.read_exact(&mut got).unwrap();
    assert_eq!(got, both);
}

#[test]
fn a_client_that_leaves_while_it_waits_is_forgotten() {
    let running = Running::start("leaves");
    let mut gone = running.raw();
    gone.write_all(
        &Packet::Request {
            name: "wait",
            message: b"",
        }
        .emit()
        .unwrap(),
    )
    .unwrap();
    until("the request was seen", || {
        running.calls.load(Ordering::SeqCst) == 1
    });
    drop(gone);
    running
        .client()
        .request("release", &Message::new())
        .unwrap();
    assert_serves(&running);
}

#[test]
fn what_a_client_asked_before_it_left_is_done() {
    let running = Running::start("parting");
    let mut listener = running.client();
    listener.subscribe("news").unwrap();
    let request = Packet::Request {
        name: "raise",
        message: b"",
    }
    .emit()
    .unwrap();
    running.raw().write_all(&request).unwrap();
    assert_eq!(listener.next_event().unwrap().0, "news");
}

#[test]
fn a_request_is_answered_though_the_client_sends_no_more() {
    let running = Running::start("half-closed");
    let mut stream = running.raw();
    stream
        .write_all(
            &Packet::Request {
                name: "echo",
                message: b"",
            }
            .emit()
            .unwrap(),
        )
        .unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, *Packet::Response { message: b"" }.emit().unwrap());
}

#[test]
fn octets_may_trickle_in() {
    let running = Running::start("trickle");
    let mut stream = running.raw();
    let message = b"\x03\x01a\x00\x01b";
    let request = Packet::Request {
        name: "echo",
        message,
    }
    .emit()
    .unwrap();
    for octet in request.iter() {
        stream.write_all(&[*octet]).unwrap();
    }
    let expected = Packet::Response { message }.emit().unwrap();
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *expected);
}

#[test]
fn a_malformed_message_gets_an_error_and_the_connection_lives() {
    let running = Running::start("malformed");
    let mut stream = running.raw();
    for broken in [
        &b"\x03"[..],
        b"\x02",
        b"\x03\x01a\xff\xff",
        b"\x09",
        &b"\x01\x01s".repeat(50),
    ] {
        stream
            .write_all(
                &Packet::Request {
                    name: "echo",
                    message: broken,
                }
                .emit()
                .unwrap(),
            )
            .unwrap();
    }
    for element in ["", "", "\"a\"", "", "s.s"] {
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut segment = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut segment).unwrap();
        let Packet::Response { message } = Packet::parse(&segment).unwrap() else {
            panic!("no response")
        };
        let answer = Message::parse(message).unwrap();
        assert_eq!(answer.str("success"), Some("no"));
        let reason = answer.str("errmsg").unwrap();
        assert!(
            reason.contains("at octet") && reason.contains(element),
            "{reason}"
        );
    }
    let asked = Message::new().with("a", "b");
    assert_eq!(Client::new(stream).request("echo", &asked).unwrap(), asked);
    assert_eq!(
        running.calls.load(Ordering::SeqCst),
        1,
        "no broken message reached the commands"
    );
}

#[test]
fn broken_framing_costs_that_connection_alone() {
    let running = Running::start("framing");
    let mut bystander = running.client();
    bystander.subscribe("news").unwrap();
    for broken in [
        &b"\0\0\0\0"[..],
        b"\0\x08\0\x01",
        b"\xff\xff\xff\xff",
        b"\0\0\0\x01\x08",
        b"\0\0\0\x01\x00",
        b"\0\0\0\x03\x03\x09x",
        b"\0\0\0\x01\x05",
        b"\0\0\0\x02\x01\x02",
    ] {
        let mut stream = running.raw();
        stream.write_all(broken).unwrap();
        assert_closed(&mut stream);
    }
    running.client().request("raise", &Message::new()).unwrap();
    assert_eq!(bystander.next_event().unwrap().0, "news");
}

#[test]
fn a_client_that_takes_nothing_is_given_up_and_nobody_else_waits() {
    let running = Running::start("deaf");
    let mut deaf = running.raw();
    for packet in [
        Packet::Register { name: "item" },
        Packet::Request {
            name: "flood",
            message: b"",
        },
    ] {
        deaf.write_all(&packet.emit().unwrap()).unwrap();
    }
    assert_serves(&running);
    assert_closed(&mut deaf);

    // One that streams by room only waits for ever, and so may it.
    let mut slow = running.raw();
    let request = count(1_000_000, 1000).emit().unwrap();
    for packet in [
        Packet::Register { name: "item" },
        Packet::Request {
            name: "list",
            message: &request,
        },
    ] {
        slow.write_all(&packet.emit().unwrap()).unwrap();
    }
    assert_serves(&running);
}

#[test]
fn requests_without_taking_answers_fill_the_queues_and_no_more() {
    let running = Running::start("greedy");
    let mut greedy = running.raw();
    greedy.set_nonblocking(true).unwrap();
    let message = Message::new().with("v", vec![0; 60_000]).emit().unwrap();
    let request = Packet::Request {
        name: "echo",
        message: &message,
    }
    .emit()
    .unwrap();
    let mut sent = 0;
    let blocked = Instant::now() + Duration::from_millis(300);
    while Instant::now() < blocked {
        match greedy.write(&request[sent % request.len()..]) {
            Ok(octets) => sent += octets,
            Err(_) => thread::yield_now(),
        }
    }
    assert!(sent < 8 * 1024 * 1024, "{sent} octets were taken in");
    assert_serves(&running);
}

#[test]
fn only_so_many_clients_are_let_in_and_a_place_is_free_again_when_one_leaves() {
    let running = Running::start("many");
    let mut clients: Vec<Client> = (0..MAX_CONNECTIONS).map(|_| running.client()).collect();
    for client in &mut clients {
        client.request("echo", &Message::new()).unwrap();
    }
    assert_closed(&mut running.raw());
    clients.pop();
    until("a place is free", || {
        running.client().request("echo", &Message::new()).is_ok()
    });
}
