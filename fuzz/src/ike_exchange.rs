//! Whole exchanges between two live IKE endpoints: the input is a script of what happens to them and to their datagrams.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use adit_ike::config::{
    AuthMethod, Child, Connection, Host, LocalAuth, RemoteAuth, SelectorSpec, Settings,
};
use adit_ike::crypto::Secret;
use adit_ike::endpoint::{
    Answer, Ask, ChildId, Endpoint, Input, Output, RandomSpis, Target, Transmit,
};
use adit_ike::identity::IdentityPattern;
use adit_ike::proposal::{Protocol, parse_list};
use adit_ike::random::Sequence;
use adit_ike::time::Instant;

/// Datagrams kept in the network at most.
const FLYING: usize = 64;
/// Steps of one script at most: each may cost a key exchange.
const STEPS: usize = 48;

struct World {
    now: Instant,
    ends: [Endpoint; 2],
    children: [Option<ChildId>; 2],
    flying: VecDeque<(usize, Transmit)>,
}

fn address(end: usize) -> IpAddr {
    IpAddr::from([192, 0, 2, end as u8 + 1])
}

fn endpoint(end: usize) -> Endpoint {
    let random = Box::new(Sequence::new(end as u64));
    let spis = Box::new(RandomSpis::new());
    let mut endpoint = Endpoint::new(Settings::default(), random, spis, Instant(0));
    let mut c = Connection::new("gw");
    c.local_addrs = vec![Host::Address(address(end))];
    c.remote_addrs = vec![Host::Address(address(1 - end))];
    let parse = |protocol, text| parse_list(protocol, text).unwrap_or_default();
    c.proposals = parse(Protocol::Ike, "aes128gcm16-prfsha256-x25519");
    c.local = vec![LocalAuth::new(AuthMethod::Psk)];
    c.remote = vec![RemoteAuth::new(AuthMethod::Psk, IdentityPattern::Any)];
    c.dpd_delay = Duration::from_secs(30);
    let mut child = Child::new("net");
    child.esp_proposals = parse(Protocol::Esp, "aes128gcm16-esn");
    child.start_action = adit_ike::config::Action::Start;
    let net = |n| SelectorSpec::prefix(IpAddr::from([10, n, 0, 0]), 16);
    child.local_ts = net(end as u8).into_iter().collect();
    child.remote_ts = net(1 - end as u8).into_iter().collect();
    c.children = vec![Arc::new(child)];
    endpoint.load(c).expect("a good connection");
    endpoint
}

impl World {
    fn input(&mut self, end: usize, input: Input<'_>) {
        self.ends[end].handle(self.now, input);
        // Each input leads to few outputs; many would be a loop.
        for _ in 0..1000 {
            match self.ends[end].poll_output() {
                Output::Timeout(_) => return,
                Output::Transmit(t) if self.flying.len() < FLYING => {
                    self.flying.push_back((1 - end, t))
                }
                Output::Ask { id, ask, .. } => {
                    let answer = match ask {
                        Ask::Secret { .. } => Answer::Secret(Some(Secret::copy_of(b"secret"))),
                        _ => Answer::Secret(None),
                    };
                    self.ends[end].handle(self.now, Input::Answer { id, answer });
                }
                Output::Install(sa) => self.children[end] = Some(sa.child),
                Output::Transmit(_) | Output::Remove(_) | Output::Event(_) => {}
            }
        }
        panic!("no end of outputs");
    }

    fn deliver(&mut self, end: usize, t: &Transmit) {
        let (local, remote) = (t.destination, t.source);
        let message = &t.message;
        self.input(
            end,
            Input::Datagram {
                local,
                remote,
                message,
            },
        );
    }
}

/// Runs a script: an octet says what happens, the next ones where.
pub fn exchange(script: &[u8]) {
    let mut world = World {
        now: Instant(1),
        ends: [endpoint(0), endpoint(1)],
        children: [None; 2],
        flying: VecDeque::new(),
    };
    let mut octets = script.iter().copied();
    for _ in 0..STEPS {
        let Some(what) = octets.next() else {
            return;
        };
        let end = usize::from(what & 1);
        let gateway: Arc<str> = "gw".into();
        match what >> 1 & 15 {
            0 => world.input(
                end,
                Input::Initiate {
                    connection: gateway,
                    child: None,
                },
            ),
            1 => world.input(end, Input::Rekey(Target::Connection(gateway))),
            2 => {
                let (connection, child) = (None, "net".into());
                world.input(end, Input::Rekey(Target::ChildNamed { connection, child }));
            }
            3 => world.input(end, Input::Terminate(Target::Connection(gateway))),
            4 => {
                if let Some(child) = world.children[end] {
                    world.input(end, Input::Terminate(Target::Child(child)));
                }
            }
            5 => {
                if let Some(child) = world.children[end] {
                    world.input(end, Input::FirstPacket(child));
                }
            }
            6 => {
                world.now += Duration::from_secs(u64::from(octets.next().unwrap_or(0)));
                world.input(end, Input::Timeout);
            }
            // Lost, repeated, overtaken, changed, from elsewhere.
            7 => drop(world.flying.pop_front()),
            8 => {
                if let Some((to, t)) = world.flying.front().cloned() {
                    world.deliver(to, &t);
                }
            }
            9 => world
                .flying
                .rotate_left(usize::from(world.flying.len() > 1)),
            10 => {
                if let Some((to, mut t)) = world.flying.pop_front() {
                    let at = usize::from(octets.next().unwrap_or(0)) * 2 % t.message.len();
                    t.message[at] ^= octets.next().unwrap_or(1);
                    world.deliver(to, &t);
                }
            }
            11 => {
                if let Some((to, mut t)) = world.flying.pop_front() {
                    t.source = SocketAddr::from(([198, 51, 100, 1], 1024));
                    world.deliver(to, &t);
                }
            }
            _ => {
                if let Some((to, t)) = world.flying.pop_front() {
                    world.deliver(to, &t);
                }
            }
        }
    }
}
