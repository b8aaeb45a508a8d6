//! FreeRADIUS accepts whom it should through our client, with the key that the peer has, and keeps our accounts.

use crate::peers::freeradius::{FreeRadius, SECRET};
use adit_control::clock;
use adit_control::radius::{
    Client, ConversationId, Destination, Grant, Nas, Output, Question, Record, RecordId,
    ServerSettings, Sockets, Status, TerminateCause, Traffic,
};
use adit_control::secret::Secret;
use adit_ike::eap::{
    Authenticator, AuthenticatorStep, Backend, EapFailure, Msk, Peer, PeerStep, ServerFault,
};
use adit_ike::random::Sequence;
use adit_ike::time::Instant;
use mio::{Events, Poll};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

const USERS: &str = "\
alice Cleartext-Password := \"Wonder-land\"
    Framed-IP-Address = 10.9.0.7,
    Session-Timeout = 3600,
    Class = 0x0badcafe
";

/// A client with its sockets and a clock.
struct Rig {
    client: Client,
    sockets: Sockets,
    poll: Poll,
    random: Sequence,
}

/// A server of these addresses that has so long to answer.
fn server(
    authentication: SocketAddr,
    accounting: Option<SocketAddr>,
    timeout: Duration,
) -> ServerSettings {
    ServerSettings {
        authentication,
        accounting,
        secret: Secret::new(SECRET.to_vec()),
        tries: 2,
        timeout,
    }
}

fn real(server_: &FreeRadius) -> ServerSettings {
    let accounting = Some(server_.accounting);
    server(server_.authentication, accounting, Duration::from_secs(5))
}

impl Rig {
    fn new(servers: Vec<ServerSettings>) -> Self {
        let nas = Nas {
            identifier: "gate.test".into(),
            address: Some(IpAddr::from([127, 0, 0, 1])),
        };
        let client = Client::new(nas, servers);
        let poll = Poll::new().expect("epoll");
        let sockets = Sockets::open(&client, poll.registry(), 0).expect("sockets");
        Self {
            client,
            sockets,
            poll,
            random: Sequence::new(clock::now()),
        }
    }

    /// Runs until the client has something to say.
    fn next(&mut self) -> Output {
        let mut events = Events::with_capacity(8);
        loop {
            match self.client.poll_output() {
                Some(Output::Send { to, datagram }) => self.send(to, &datagram),
                Some(output) => return output,
                None => {
                    let now = Instant(clock::now());
                    let due = self.client.next_timeout().expect("something is open");
                    let wait = due.since(now) + Duration::from_millis(1);
                    self.poll.poll(&mut events, Some(wait)).expect("epoll");
                    for event in &events {
                        while self.sockets.receive(event.token(), &mut self.client) {}
                    }
                    self.client.timeout(Instant(clock::now()), &mut self.random);
                }
            }
        }
    }

    fn send(&mut self, to: Destination, datagram: &[u8]) {
        self.sockets.send(to, datagram);
    }

    fn account(&mut self, record: Record) -> bool {
        let now = Instant(clock::now());
        self.client.account(now, RecordId(1), record);
        match self.next() {
            Output::Accounted { written, .. } => written,
            other => panic!("{other:?}"),
        }
    }

    /// A whole EAP conversation of a peer with what stands behind us.
    fn converse(&mut self, name: &str, password: &str) -> Verdict {
        let mut peer = Peer::new(name, password.as_bytes(), [0x21; 16]);
        let (mut authenticator, mut step) = Authenticator::ask_identity(Backend::Server, 1);
        let mut granted = None;
        loop {
            step = match step {
                AuthenticatorStep::Send(message) => match peer.handle(&message) {
                    PeerStep::Send(answer) => authenticator.handle(&answer),
                    other => panic!("{other:?}"),
                },
                AuthenticatorStep::AskServer(eap) => {
                    let question = Question {
                        conversation: ConversationId(5),
                        name: authenticator.name().to_vec(),
                        eap,
                        connection: "road".into(),
                        called: "192.0.2.9".into(),
                        calling: "198.51.100.4".into(),
                    };
                    let now = Instant(clock::now());
                    self.client.ask(now, question, &mut self.random);
                    match self.next() {
                        Output::Answer { answer, grant, .. } => {
                            granted = grant;
                            authenticator.server(answer)
                        }
                        other => panic!("{other:?}"),
                    }
                }
                AuthenticatorStep::Succeeded(message, msk) => match peer.handle(&message) {
                    PeerStep::Succeeded(theirs) => {
                        let grant = granted.expect("an acceptance grants something");
                        return Ok((msk, theirs, *grant));
                    }
                    other => panic!("{other:?}"),
                },
                AuthenticatorStep::Failed(_, why) => return Err(why),
                other => panic!("{other:?}"),
            };
        }
    }
}

/// The authenticator's key, the peer's, and what was granted.
type Verdict = Result<(Msk, Msk, Grant), EapFailure>;

#[test]
fn freeradius_authenticates_a_peer_through_us_and_gives_us_its_key() {
    let server = or_skip!(FreeRadius::start("radius-eap", USERS));
    let mut rig = Rig::new(vec![real(&server)]);
    let (ours, theirs, grant) = rig.converse("alice", "Wonder-land").expect("acceptance");
    assert_eq!(ours, theirs);
    assert_eq!(grant.addresses, [IpAddr::from([10, 9, 0, 7])]);
    assert_eq!(grant.session_timeout, Some(Duration::from_secs(3600)));
    assert_eq!(grant.class, [vec![0x0b, 0xad, 0xca, 0xfe]]);

    let rejected = EapFailure::Server(ServerFault::Rejected);
    assert_eq!(rig.converse("alice", "guess").err(), Some(rejected));
    assert_eq!(rig.converse("bob", "guess").err(), Some(rejected));

    let mut record = Record {
        status: Status::Start,
        session: "session-1".into(),
        name: b"alice".to_vec(),
        class: grant.class,
        connection: "road".into(),
        called: "192.0.2.9".into(),
        calling: "198.51.100.4".into(),
        addresses: grant.addresses,
        time: 1_700_000_000,
        traffic: None,
    };
    assert!(rig.account(record.clone()));
    record.status = Status::Stop(TerminateCause::UserRequest);
    record.traffic = Some(Traffic {
        seconds: 61,
        octets_in: (3 << 32) + 77,
        ..Traffic::default()
    });
    assert!(rig.account(record));
    let accounts = server.accounts();
    for line in [
        "Acct-Status-Type = Start",
        "Acct-Status-Type = Stop",
        "Acct-Session-Id = \"session-1\"",
        "User-Name = \"alice\"",
        "Class = 0x0badcafe",
        "Framed-IP-Address = 10.9.0.7",
        "Acct-Session-Time = 61",
        "Acct-Input-Octets = 77",
        "Acct-Input-Gigawords = 3",
        "Acct-Terminate-Cause = User-Request",
        "NAS-Port-Id = \"road\"",
        "NAS-Identifier = \"gate.test\"",
        "Calling-Station-Id = \"198.51.100.4\"",
    ] {
        assert!(accounts.contains(line), "no `{line}` in\n{accounts}");
    }
}

#[test]
fn the_next_server_is_asked_when_the_first_is_silent_or_has_another_secret() {
    let freeradius = or_skip!(FreeRadius::start("radius-failover", USERS));
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let silent = silent.local_addr().expect("its address");
    let quick = Duration::from_millis(50);
    let mut rig = Rig::new(vec![server(silent, None, quick), real(&freeradius)]);
    assert!(rig.converse("alice", "Wonder-land").is_ok());

    let mut wrong = server(freeradius.authentication, None, quick);
    wrong.secret = Secret::new(b"another secret".to_vec());
    let mut rig = Rig::new(vec![wrong]);
    let verdict = rig.converse("alice", "Wonder-land");
    let expected = EapFailure::Server(ServerFault::Silent);
    assert_eq!(verdict.err(), Some(expected));
}
