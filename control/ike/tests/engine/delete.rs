//! Delete, liveness, and what comes up again.

use std::sync::Arc;
use std::time::Duration;

use adit_ike::config::Action;
use adit_ike::endpoint::{Event, Input, Reason, Target, Why};

use crate::host::child;
use crate::network::{A, B, Fate, Faults, Network};

fn established() -> Network {
    established_with(|_, _| {})
}

fn established_with(change: impl Fn(usize, &mut adit_ike::config::Connection)) -> Network {
    let mut net = Network::pair(change);
    net.initiate(A);
    net.run(Duration::from_secs(1));
    assert_eq!((net.ends[A].children(), net.ends[B].children()), (1, 1));
    net
}

fn whys(net: &Network, end: usize) -> Vec<(&'static str, Why)> {
    let events = net.ends[end].events.iter();
    events
        .filter_map(|e| match e {
            Event::IkeDown { why, .. } => Some(("ike", *why)),
            Event::ChildDown { why, .. } => Some(("child", *why)),
            _ => None,
        })
        .collect()
}

#[test]
fn terminating_a_child_takes_it_out_at_both_ends() {
    for end in [A, B] {
        let mut net = established();
        let child: Arc<str> = "net".into();
        let target = Target::ChildNamed {
            connection: None,
            child,
        };
        net.input(end, Input::Terminate(target));
        net.run(Duration::from_secs(1));
        assert!(
            net.ends
                .iter()
                .all(|e| e.sas.is_empty() && e.established() == 1)
        );
        assert_eq!(whys(&net, end), [("child", Why::Command)]);
        assert_eq!(whys(&net, 1 - end), [("child", Why::Peer)]);
    }
}

#[test]
fn terminating_a_child_at_both_ends_at_once_takes_it_out_once() {
    let mut net = established();
    for end in [A, B] {
        let child: Arc<str> = "net".into();
        let connection = Some("gw".into());
        net.input(
            end,
            Input::Terminate(Target::ChildNamed { connection, child }),
        );
    }
    net.run(Duration::from_secs(1));
    assert!(
        net.ends
            .iter()
            .all(|e| e.sas.is_empty() && e.established() == 1)
    );
    assert_eq!(whys(&net, A), [("child", Why::Command)]);
    assert_eq!(whys(&net, B), [("child", Why::Command)]);
}

#[test]
fn terminating_a_connection_leaves_nothing_behind() {
    for end in [A, B] {
        let mut net = established();
        net.faults = Faults {
            lost: 20,
            repeated: 20,
            jitter: 2000,
        };
        net.input(end, Input::Terminate(Target::Connection("gw".into())));
        net.run(Duration::from_secs(400));
        assert!(
            net.ends
                .iter()
                .all(|e| e.sas.is_empty() && e.endpoint.ike_sa_count() == 0)
        );
        assert_eq!(
            whys(&net, end),
            [("child", Why::Command), ("ike", Why::Command)]
        );
        assert_eq!(
            whys(&net, 1 - end),
            [("child", Why::Peer), ("ike", Why::Peer)]
        );
    }
}

#[test]
fn terminating_at_both_ends_at_once_leaves_nothing_behind() {
    let mut net = established();
    for end in [A, B] {
        net.input(end, Input::Terminate(Target::Connection("gw".into())));
    }
    net.run(Duration::from_secs(60));
    assert!(
        net.ends
            .iter()
            .all(|e| e.sas.is_empty() && e.endpoint.ike_sa_count() == 0)
    );
}

#[test]
fn a_silent_peer_is_asked_and_answers() {
    let mut net = established_with(|_, c| c.dpd_delay = Duration::from_secs(30));
    let before = net.ends[A].sent.len();
    net.run(Duration::from_secs(100));
    let sent = net.ends[A].sent.len() - before;
    assert!((3..=8).contains(&sent), "{sent}");
    assert!(
        net.ends
            .iter()
            .all(|e| e.children() == 1 && e.failures().is_empty())
    );
}

#[test]
fn a_peer_that_is_heard_otherwise_is_not_asked() {
    let mut net = established_with(|end, c| {
        c.dpd_delay = Duration::from_secs(if end == A { 30 } else { 0 });
    });
    let before = net.ends[A].sent.len();
    let child = net.ends[A].sas.values().next().unwrap().child;
    for _ in 0..20 {
        net.run(Duration::from_secs(10));
        net.input(A, Input::Heard(child));
    }
    assert_eq!(net.ends[A].sent.len(), before);
}

#[test]
fn a_peer_that_vanished_is_found_and_its_tunnel_comes_up_again() {
    let mut net = established_with(|end, c| {
        c.dpd_delay = Duration::from_secs(if end == A { 10 } else { 0 });
        c.keyingtries = 0;
        let mut again = child(
            "net",
            if end == A {
                ("10.1.0.0/16", "10.2.0.0/16")
            } else {
                ("10.2.0.0/16", "10.1.0.0/16")
            },
        );
        again.dpd_action = Action::Start;
        c.children = vec![Arc::new(again)];
    });
    net.meddle = Box::new(|_, _| Fate::Drop);
    net.run(Duration::from_secs(600));
    assert!(matches!(
        net.ends[A].failures()[0],
        Reason::Unanswered {
            exchange: "INFORMATIONAL",
            ..
        }
    ));
    assert_eq!(
        whys(&net, A),
        [("child", Why::Unanswered), ("ike", Why::Unanswered)]
    );
    assert!(net.ends[A].sas.is_empty());
    // B still has the old one: it never asks.
    net.meddle = Box::new(|_, _| Fate::Pass);
    net.run_until("the tunnel", |net| net.ends[A].children() == 1);
    assert!(net.ends[A].active.is_some());
}

#[test]
fn a_child_that_the_peer_closes_comes_up_again_where_the_configuration_says_so() {
    let mut net = established_with(|end, c| {
        if end == A {
            let mut again = child("net", ("10.1.0.0/16", "10.2.0.0/16"));
            again.close_action = Action::Start;
            c.children = vec![Arc::new(again)];
        }
    });
    let child = net.ends[B].sas.values().next().unwrap().child;
    net.input(B, Input::Terminate(Target::Child(child)));
    net.run(Duration::from_secs(1));
    assert_eq!((net.ends[A].children(), net.ends[B].children()), (1, 1));
    assert_eq!(whys(&net, A), [("child", Why::Peer)]);
}

#[test]
fn what_the_data_plane_cannot_take_is_deleted_at_both_ends() {
    let mut net = established();
    let child = net.ends[A].sas.values().next().unwrap().child;
    let reason = "the table is full".to_owned();
    net.input(A, Input::InstallFailed { child, reason });
    net.run(Duration::from_secs(1));
    assert!(net.ends.iter().all(|e| e.sas.is_empty()));
    assert!(matches!(net.ends[A].failures()[..], [Reason::Local(_)]));
}

#[test]
fn several_children_share_one_ike_sa() {
    let mut net = established_with(|end, c| {
        let nets = [
            ("10.1.0.0/16", "10.2.0.0/16"),
            ("10.3.0.0/16", "10.4.0.0/16"),
            ("10.5.0.0/16", "10.6.0.0/16"),
        ];
        c.children = Vec::new();
        for (n, (l, r)) in nets.into_iter().enumerate() {
            let mut one = child(&format!("net{n}"), if end == A { (l, r) } else { (r, l) });
            if n > 0 {
                one.start_action = Action::None;
            }
            c.children.push(Arc::new(one));
        }
    });
    for name in ["net1", "net2", "net1"] {
        let (connection, child) = ("gw".into(), name.into());
        net.input(A, Input::Acquire { connection, child });
    }
    net.run(Duration::from_secs(1));
    assert!(
        net.ends
            .iter()
            .all(|e| e.established() == 1 && e.children() == 3)
    );
    assert!(crate::host::fit_each_other(&net.ends[A], &net.ends[B]));
}

#[test]
fn copies_of_a_delete_are_answered_after_it_is_done() {
    let mut net = established();
    net.meddle = Box::new({
        let mut dropped = 0;
        move |end, _| {
            if end == B && dropped < 2 {
                dropped += 1;
                return Fate::Drop;
            }
            Fate::Pass
        }
    });
    net.input(A, Input::Terminate(Target::Connection("gw".into())));
    net.run(Duration::from_secs(20));
    assert_eq!(
        net.ends[A].endpoint.ike_sa_count(),
        0,
        "the third copy was answered"
    );
    assert_eq!(
        whys(&net, A),
        [("child", Why::Command), ("ike", Why::Command)]
    );
}
