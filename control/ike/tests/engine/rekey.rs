//! New keys for children and IKE SAs: no packet is lost, whoever asks and however often both ask at once.

use std::time::Duration;

use adit_abi::Direction;
use adit_ike::config::Connection;
use adit_ike::endpoint::{Event, Input, Target};
use adit_ike::proposal::{Protocol, parse_list};
use adit_ike::random::Sequence;

use crate::host::fit_each_other;
use crate::network::{A, B, Fate, Faults, Network};

fn established(change: impl Fn(usize, &mut Connection)) -> Network {
    let mut net = Network::pair(change);
    net.initiate(A);
    net.run(Duration::from_secs(1));
    assert_eq!((net.ends[A].children(), net.ends[B].children()), (1, 1));
    net
}

/// Lets time pass with a packet each way every so often.
fn run_with_traffic(net: &mut Network, time: Duration) {
    let until = net.now + time;
    while net.now < until {
        net.packet(A);
        net.packet(B);
        net.run(Duration::from_millis(7));
    }
}

fn rekey_child(net: &mut Network, end: usize) {
    let connection = None;
    let child = "net".into();
    net.input(end, Input::Rekey(Target::ChildNamed { connection, child }));
}

fn rekey_ike(net: &mut Network, end: usize) {
    net.input(end, Input::Rekey(Target::Connection("gw".into())));
}

fn count(net: &Network, end: usize, which: impl Fn(&Event) -> bool) -> usize {
    net.ends[end].events.iter().filter(|e| which(e)).count()
}

fn check(net: &Network) {
    let [a, b] = &net.ends;
    assert_eq!((net.lost, net.unsent), (0, 0), "of {} packets", net.packets);
    assert_eq!((a.established(), b.established()), (1, 1));
    assert_eq!((a.children(), b.children()), (1, 1));
    assert_eq!(
        (a.sas.len(), b.sas.len()),
        (2, 2),
        "{:?} {:?}",
        a.sas.keys(),
        b.sas.keys()
    );
    assert!(fit_each_other(a, b));
    assert_eq!(a.failures(), Vec::<&adit_ike::endpoint::Reason>::new());
    assert_eq!(b.failures(), Vec::<&adit_ike::endpoint::Reason>::new());
}

/// No IKE SA is left over.
fn check_alone(net: &Network) {
    assert!(net.ends.iter().all(|e| e.endpoint.ike_sa_count() == 1));
}

#[test]
fn a_rekeyed_child_loses_no_packet_and_the_responder_follows_the_first_one() {
    for end in [A, B] {
        let mut net = established(|_, _| {});
        let old = net.ends[A].active;
        run_with_traffic(&mut net, Duration::from_millis(100));
        rekey_child(&mut net, end);
        run_with_traffic(&mut net, Duration::from_secs(10));
        check(&net);
        assert_ne!(net.ends[A].active, old);
        for end in [A, B] {
            assert_eq!(
                count(&net, end, |e| matches!(e, Event::ChildRekeyed { .. })),
                1
            );
            assert_eq!(
                count(&net, end, |e| matches!(e, Event::ChildDown { .. })),
                0
            );
        }
    }
}

#[test]
fn a_responder_keeps_its_outbound_sa_until_a_packet_or_a_delete_comes() {
    let mut net = established(|_, _| {});
    let old = net.ends[B].active.unwrap();
    // Nothing after the CREATE_CHILD_SA response reaches B.
    net.meddle = Box::new({
        let mut sent = 0;
        move |end, _| {
            sent += usize::from(end == A);
            if end == A && sent > 1 {
                Fate::Drop
            } else {
                Fate::Pass
            }
        }
    });
    rekey_child(&mut net, A);
    net.run(Duration::from_secs(1));
    assert_ne!(net.ends[A].active, Some(old));
    assert_eq!(
        net.ends[B].active,
        Some(old),
        "nothing shows that A has the new one"
    );
    assert_eq!(net.ends[B].of(Direction::Inbound).len(), 2);
    net.packet(A);
    net.run(Duration::from_secs(1));
    assert_ne!(net.ends[B].active, Some(old), "the first packet shows it");
}

#[test]
fn children_rekeyed_again_and_again_by_both_ends_lose_no_packet() {
    for seed in 0..6 {
        let mut net = established(|_, c| {
            let mut child = (*c.children[0]).clone();
            child.esp_proposals = parse_list(Protocol::Esp, "aes256gcm16-x25519-esn").unwrap();
            c.children = vec![std::sync::Arc::new(child)];
        });
        net.reseed(seed);
        net.faults = Faults {
            lost: 10,
            repeated: 10,
            jitter: 300,
        };
        let mut random = Sequence::new(seed);
        for _ in 0..25 {
            match random.next_number() % 4 {
                0 => rekey_child(&mut net, A),
                1 => rekey_child(&mut net, B),
                _ => {
                    rekey_child(&mut net, A);
                    let between = Duration::from_millis(random.next_number() % 60);
                    run_with_traffic(&mut net, between);
                    rekey_child(&mut net, B);
                }
            }
            let pause = Duration::from_millis(random.next_number() % 4000);
            run_with_traffic(&mut net, pause);
        }
        net.faults = Faults::default();
        run_with_traffic(&mut net, Duration::from_secs(90));
        check(&net);
        assert!(count(&net, A, |e| matches!(e, Event::ChildRekeyed { .. })) >= 5);
    }
}

#[test]
fn an_ike_sa_gets_new_keys_and_keeps_its_children() {
    for end in [A, B] {
        let mut net = established(|_, _| {});
        let active = net.ends[A].active;
        rekey_ike(&mut net, end);
        run_with_traffic(&mut net, Duration::from_secs(5));
        check(&net);
        assert_eq!(net.ends[A].active, active, "the child is the same");
        for end in [A, B] {
            assert_eq!(
                count(&net, end, |e| matches!(e, Event::IkeRekeyed { .. })),
                1
            );
            assert_eq!(count(&net, end, |e| matches!(e, Event::IkeDown { .. })), 0);
        }
        // The new one works in both directions.
        for end in [A, B] {
            rekey_child(&mut net, end);
            run_with_traffic(&mut net, Duration::from_secs(10));
            check(&net);
        }
    }
}

#[test]
fn both_ends_rekey_the_ike_sa_at_once_and_one_remains() {
    for (lost, seed) in (0..30).map(|n| (if n < 8 { 0 } else { 10 }, n)) {
        let mut net = established(|_, _| {});
        net.reseed(seed);
        net.faults = Faults {
            lost,
            repeated: lost,
            jitter: 20 * lost,
        };
        rekey_ike(&mut net, A);
        rekey_ike(&mut net, B);
        run_with_traffic(&mut net, Duration::from_secs(3));
        net.faults = Faults::default();
        net.run(Duration::from_secs(400));
        check(&net);
        check_alone(&net);
    }
}

#[test]
fn ike_sas_and_children_rekeyed_in_any_order_lose_no_packet() {
    for seed in 100..105 {
        let mut net = established(|_, _| {});
        net.reseed(seed);
        net.faults = Faults {
            lost: 8,
            repeated: 8,
            jitter: 200,
        };
        let mut random = Sequence::new(seed);
        for _ in 0..25 {
            for _ in 0..=random.next_number() % 3 {
                let end = if random.next_number().is_multiple_of(2) {
                    A
                } else {
                    B
                };
                if random.next_number().is_multiple_of(3) {
                    rekey_ike(&mut net, end);
                } else {
                    rekey_child(&mut net, end);
                }
                run_with_traffic(&mut net, Duration::from_millis(random.next_number() % 50));
            }
            run_with_traffic(&mut net, Duration::from_millis(random.next_number() % 5000));
        }
        net.faults = Faults::default();
        run_with_traffic(&mut net, Duration::from_secs(100));
        net.run(Duration::from_secs(400));
        check(&net);
        check_alone(&net);
    }
}

#[test]
fn lifetimes_rekey_by_themselves() {
    let mut net = established(|_, c| {
        c.rekey_time = Duration::from_secs(300);
        c.rand_time = Duration::from_secs(30);
        let mut child = (*c.children[0]).clone();
        child.rekey_time = Duration::from_secs(60);
        child.rand_time = Duration::from_secs(10);
        child.life_time = Duration::from_secs(90);
        c.children = vec![std::sync::Arc::new(child)];
    });
    run_with_traffic(&mut net, Duration::from_secs(1000));
    assert_eq!((net.lost, net.unsent), (0, 0));
    assert_eq!((net.ends[A].children(), net.ends[B].children()), (1, 1));
    assert!(count(&net, A, |e| matches!(e, Event::ChildRekeyed { .. })) >= 14);
    assert!(count(&net, A, |e| matches!(e, Event::IkeRekeyed { .. })) >= 3);
}

#[test]
fn reauthentication_brings_up_another_before_the_old_one_goes() {
    let mut net = established(|end, c| {
        if end == A {
            c.reauth_time = Duration::from_secs(60);
            c.rand_time = Duration::ZERO;
        }
    });
    run_with_traffic(&mut net, Duration::from_secs(100));
    assert_eq!((net.lost, net.unsent), (0, 0));
    assert_eq!((net.ends[A].children(), net.ends[B].children()), (1, 1));
    assert_eq!(count(&net, A, |e| matches!(e, Event::IkeUp(_))), 2);
}
