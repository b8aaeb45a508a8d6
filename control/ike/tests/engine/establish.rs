//! IKE_SA_INIT and IKE_AUTH: an IKE SA and its first child come about, or both ends know why not.

use std::time::Duration;

use adit_abi::Direction;
use adit_ike::config::{AuthMethod, RemoteAuth, Settings};
use adit_ike::endpoint::{By, Event, Input, Reason};
use adit_ike::identity::{Identity, IdentityPattern};
use adit_ike::proposal::{Protocol, parse_list};

use crate::host::{Host, connection, fit_each_other};
use crate::network::{A, B, Fate, Faults, Network};

fn up(net: &Network) -> bool {
    net.ends
        .iter()
        .all(|e| e.established() == 1 && e.children() == 1)
}

fn check_up(net: &Network) {
    let [a, b] = &net.ends;
    assert_eq!((a.sas.len(), b.sas.len()), (2, 2), "two SAs on both ends");
    assert!(fit_each_other(a, b));
    assert_eq!(a.failures(), Vec::<&Reason>::new());
    assert_eq!(b.failures(), Vec::<&Reason>::new());
}

#[test]
fn two_ends_with_one_secret_have_a_child_after_four_messages() {
    let mut net = Network::pair(|_, _| {});
    net.initiate(A);
    net.run(Duration::from_secs(1));
    assert!(up(&net));
    check_up(&net);
    assert_eq!((net.ends[A].sent.len(), net.ends[B].sent.len()), (2, 2));
    let outbound = net.ends[A].of(Direction::Outbound)[0];
    assert!(outbound.outer.encap.is_none());
    assert!(outbound.esn);
    assert_eq!(outbound.keys.enc.len(), 36);
    let up = |e: &Event| matches!(e, Event::IkeUp(_) | Event::ChildUp { .. });
    assert!(
        net.ends
            .iter()
            .all(|e| e.events.iter().filter(|e| up(e)).count() == 2)
    );
}

#[test]
fn loss_repetition_and_reordering_only_delay_it() {
    for seed in 0..60 {
        let mut net = Network::pair(|_, _| {});
        net.reseed(seed);
        net.faults = Faults {
            lost: 15,
            repeated: 40,
            jitter: 5000,
        };
        net.ends.iter_mut().for_each(|e| e.events.clear());
        net.initiate(A);
        net.run_until("the child", up);
        // What still flies changes nothing.
        net.faults = Faults::default();
        net.run(Duration::from_secs(60));
        assert!(up(&net), "seed {seed}");
        check_up(&net);
        assert_eq!(net.ends[B].endpoint.half_open_count(), 0);
    }
}

#[test]
fn every_cipher_and_group_that_is_on_by_default_comes_up() {
    for text in [
        "aes128-sha256-modp2048",
        "aes256-sha512-ecp384",
        "chacha20poly1305-prfsha384-ecp256",
        "aes192gcm12-prfaescmac-ecp521",
        "aes256ccm8-prfaesxcbc-x25519",
        "aes128ctr-aesxcbc-x25519",
    ] {
        let mut net = Network::pair(|_, c| {
            c.proposals = parse_list(Protocol::Ike, text).unwrap();
        });
        net.initiate(A);
        net.run(Duration::from_secs(1));
        assert!(up(&net), "{text}: {:?}", net.ends[A].events);
        check_up(&net);
    }
}

#[test]
fn the_group_that_the_responder_wants_is_taken_at_the_second_try() {
    let mut net = Network::pair(|end, c| {
        let text = if end == A {
            "aes256gcm16-prfsha256-ecp256-x25519"
        } else {
            "aes256gcm16-prfsha256-x25519"
        };
        c.proposals = parse_list(Protocol::Ike, text).unwrap();
    });
    net.initiate(A);
    net.run(Duration::from_secs(1));
    assert!(up(&net));
    check_up(&net);
    assert_eq!(net.ends[A].sent.len(), 3);
}

#[test]
fn under_load_an_initiator_must_return_a_cookie() {
    let settings = Settings {
        cookie_threshold: 0,
        ..Settings::default()
    };
    let (a, b) = (
        Host::new("192.0.2.1", 1),
        Host::with_settings("192.0.2.2", 2, settings),
    );
    let mut net = Network::between(a, b);
    let mut ca = connection(
        "gw",
        ("192.0.2.1", "192.0.2.2"),
        ("10.1.0.0/16", "10.2.0.0/16"),
    );
    ca.proposals = parse_list(Protocol::Ike, "aes256gcm16-prfsha256-ecp256-x25519").unwrap();
    net.ends[A].endpoint.load(ca).unwrap();
    let cb = connection(
        "gw",
        ("192.0.2.2", "192.0.2.1"),
        ("10.2.0.0/16", "10.1.0.0/16"),
    );
    net.ends[B].endpoint.load(cb).unwrap();
    net.initiate(A);
    net.run(Duration::from_secs(1));
    assert!(up(&net));
    check_up(&net);
    // Bare, with the cookie, with the cookie and the other group, IKE_AUTH.
    assert_eq!(net.ends[A].sent.len(), 4);
    assert!(net.ends[A].sent[0].message.len() < net.ends[A].sent[1].message.len());
}

#[test]
fn a_proposal_that_does_not_fit_is_explained_on_both_ends() {
    let mut net = Network::pair(|end, c| {
        let text = if end == A {
            "aes128gcm16-prfsha256-x25519"
        } else {
            "aes256gcm16-prfsha256-x25519"
        };
        c.proposals = parse_list(Protocol::Ike, text).unwrap();
    });
    net.initiate(A);
    net.run(Duration::from_secs(30));
    let theirs = &net.ends[B].failures()[..];
    let [
        Reason::NoProposal {
            by: By::Us,
            key,
            ours,
            theirs,
            mismatches,
        },
        ..,
    ] = theirs
    else {
        panic!("{theirs:?}");
    };
    assert_eq!(key, "connections.gw.proposals");
    assert!(ours[0].contains("aes256gcm16") && theirs[0].contains("aes128gcm16"));
    assert!(
        mismatches.iter().any(|m| m.contains("encryption")),
        "{mismatches:?}"
    );
    let [
        Reason::NoProposal {
            by: By::Peer, ours, ..
        },
    ] = net.ends[A].failures()[..]
    else {
        panic!("{:?}", net.ends[A].failures());
    };
    assert!(ours[0].contains("aes128gcm16"));
    assert_eq!(
        net.ends[A].endpoint.ike_sa_count() + net.ends[B].endpoint.ike_sa_count(),
        0
    );
}

#[test]
fn a_forged_refusal_does_not_stop_an_initiator_that_gets_a_good_answer() {
    use adit_ike::wire::v2::{Header, Message, Notify, NotifyType, Payload};
    let mut net = Network::pair(|_, _| {});
    net.initiate(A);
    let request = Message::parse(&net.ends[A].sent[0].message).unwrap();
    let header = Header {
        response: true,
        from_initiator: false,
        ..request.header
    };
    for kind in [NotifyType::NoProposalChosen, NotifyType::InvalidSyntax] {
        let forged = Message::emit(&header, &[Payload::Notify(Notify::new(kind, []))]).unwrap();
        let (local, remote) = (net.ends[A].address, net.ends[B].address);
        net.input(
            A,
            Input::Datagram {
                local,
                remote,
                message: &forged,
            },
        );
    }
    net.run(Duration::from_secs(1));
    assert!(up(&net));
    check_up(&net);
}

#[test]
fn another_secret_is_told_on_both_ends() {
    let mut net = Network::pair(|_, _| {});
    net.ends[B].secret = Some(b"another");
    net.initiate(A);
    net.run(Duration::from_secs(90));
    for (end, expected) in [(A, By::Peer), (B, By::Us)] {
        let failures = net.ends[end].failures();
        assert!(
            matches!(failures[..], [Reason::Authentication { by, .. }] if *by == expected),
            "{failures:?}"
        );
        assert_eq!(net.ends[end].endpoint.ike_sa_count(), 0);
        assert!(net.ends[end].sas.is_empty());
    }
}

#[test]
fn an_identity_that_nobody_expects_is_refused_by_name() {
    let mut net = Network::pair(|end, c| {
        if end == B {
            let other = IdentityPattern::Exact(Identity::from(
                "198.51.100.9".parse::<std::net::IpAddr>().unwrap(),
            ));
            c.remote = vec![RemoteAuth::new(AuthMethod::Psk, other)];
        }
    });
    net.initiate(A);
    net.run(Duration::from_secs(90));
    let failures = net.ends[B].failures();
    assert!(
        matches!(failures[..], [Reason::Authentication { by: By::Us, .. }]),
        "{failures:?}"
    );
}

#[test]
fn selectors_are_narrowed_to_what_both_have() {
    let mut net = Network::between(Host::new("192.0.2.1", 1), Host::new("192.0.2.2", 2));
    let a = connection(
        "gw",
        ("192.0.2.1", "192.0.2.2"),
        ("10.1.0.0/16", "0.0.0.0/0"),
    );
    let b = connection(
        "gw",
        ("192.0.2.2", "192.0.2.1"),
        ("10.2.0.0/16", "10.1.7.0/24"),
    );
    net.ends[A].endpoint.load(a).unwrap();
    net.ends[B].endpoint.load(b).unwrap();
    net.initiate(A);
    net.run(Duration::from_secs(1));
    assert!(up(&net));
    check_up(&net);
    let selectors = &net.ends[A].of(Direction::Outbound)[0].selectors;
    assert_eq!(selectors.local[0].addresses.first().to_string(), "10.1.7.0");
    assert_eq!(
        selectors.remote[0].addresses.last().to_string(),
        "10.2.255.255"
    );
}

#[test]
fn selectors_without_anything_in_common_leave_an_ike_sa_without_children() {
    let mut net = Network::between(Host::new("192.0.2.1", 1), Host::new("192.0.2.2", 2));
    let a = connection(
        "gw",
        ("192.0.2.1", "192.0.2.2"),
        ("10.1.0.0/16", "10.3.0.0/16"),
    );
    let b = connection(
        "gw",
        ("192.0.2.2", "192.0.2.1"),
        ("10.2.0.0/16", "10.1.0.0/16"),
    );
    net.ends[A].endpoint.load(a).unwrap();
    net.ends[B].endpoint.load(b).unwrap();
    net.initiate(A);
    net.run(Duration::from_secs(1));
    for (end, expected) in [(A, By::Peer), (B, By::Us)] {
        assert_eq!(
            (net.ends[end].established(), net.ends[end].children()),
            (1, 0)
        );
        let failures = net.ends[end].failures();
        assert!(
            matches!(failures[..], [Reason::Selectors { by, .. }] if *by == expected),
            "{failures:?}"
        );
    }
}

#[test]
fn nobody_there_is_told_after_the_last_copy() {
    let mut net = Network::pair(|_, _| {});
    net.meddle = Box::new(|_, _| Fate::Drop);
    net.initiate(A);
    net.run(Duration::from_secs(170));
    let failures = net.ends[A].failures();
    assert!(
        matches!(
            failures[..],
            [Reason::Unanswered {
                sent: 6,
                exchange: "IKE_SA_INIT"
            }]
        ),
        "{failures:?}"
    );
    assert_eq!(net.ends[A].sent.len(), 6);
    assert_eq!(net.ends[A].endpoint.ike_sa_count(), 0);
}

#[test]
fn an_initiator_that_vanishes_is_forgotten() {
    let mut net = Network::pair(|_, _| {});
    net.meddle = Box::new(|end, t| {
        let exchange = t.message[18];
        if end == A && exchange == 35 {
            Fate::Drop
        } else {
            Fate::Pass
        }
    });
    net.initiate(A);
    net.run(Duration::from_secs(1));
    assert_eq!(net.ends[B].endpoint.half_open_count(), 1);
    net.run(Duration::from_secs(40));
    assert_eq!(net.ends[B].endpoint.half_open_count(), 0);
    assert_eq!(net.ends[B].endpoint.ike_sa_count(), 0);
}

#[test]
fn one_address_cannot_fill_the_half_open_table() {
    let settings = Settings {
        half_open_per_address: 2,
        ..Settings::default()
    };
    let b = Host::with_settings("192.0.2.2", 2, settings);
    let mut net = Network::between(Host::new("192.0.2.1", 1), b);
    let cb = connection(
        "gw",
        ("192.0.2.2", "192.0.2.1"),
        ("10.2.0.0/16", "10.1.0.0/16"),
    );
    net.ends[B].endpoint.load(cb).unwrap();
    net.meddle = Box::new(|_, t| {
        if t.message[18] == 35 {
            Fate::Drop
        } else {
            Fate::Pass
        }
    });
    for n in 0..5 {
        let name = format!("gw{n}");
        let ends = ("192.0.2.1", "192.0.2.2");
        let another = connection(&name, ends, ("10.1.0.0/16", "10.2.0.0/16"));
        net.ends[A].endpoint.load(another).unwrap();
        let (connection, child) = (name.as_str().into(), None);
        net.input(A, Input::Initiate { connection, child });
    }
    net.run(Duration::from_secs(1));
    assert_eq!(net.ends[B].endpoint.half_open_count(), 2);
}

#[test]
fn forced_encapsulation_moves_to_port_4500() {
    let mut net = Network::pair(|_, c| c.encap = true);
    net.initiate(A);
    net.run(Duration::from_secs(1));
    assert!(up(&net));
    check_up(&net);
    let last = net.ends[A].sent.last().unwrap();
    assert_eq!(
        (last.source.port(), last.destination.port(), last.marker),
        (4500, 4500, true)
    );
    for end in &net.ends {
        let encap = end.of(Direction::Outbound)[0]
            .outer
            .encap
            .expect("encapsulated");
        assert_eq!((encap.local, encap.remote), (4500, 4500));
    }
}

#[test]
fn ml_kem_comes_beside_x25519_where_both_have_it_and_stays_away_where_not() {
    for (theirs, messages) in [
        ("aes256gcm16-prfsha256-x25519-ke1_mlkem768", 3),
        ("aes256gcm16-prfsha256-x25519", 2),
    ] {
        for seed in 0..12 {
            let mut net = Network::pair(|end, c| {
                let both =
                    "aes256gcm16-prfsha256-x25519-ke1_mlkem768, aes256gcm16-prfsha256-x25519";
                let text = if end == A { both } else { theirs };
                c.proposals = parse_list(Protocol::Ike, text).unwrap();
            });
            net.reseed(seed);
            if seed > 0 {
                net.faults = Faults {
                    lost: 10,
                    repeated: 30,
                    jitter: 3000,
                };
            }
            net.initiate(A);
            net.run_until("the child", up);
            let mut exchanges: Vec<_> = net.ends[A].sent.iter().map(|t| t.message[18]).collect();
            exchanges.dedup();
            assert_eq!(exchanges.len(), messages, "{exchanges:?}");
            check_up(&net);
        }
    }
}
