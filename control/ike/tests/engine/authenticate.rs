//! Certificates, EAP, virtual addresses and what else IKE_AUTH brings.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_abi::Direction;
use adit_ike::config::{
    AuthMethod, Childless, Connection, Fragmentation, LocalAuth, RemoteAuth, SelectorSpec, Unique,
};
use adit_ike::endpoint::{By, Event, Input, Reason};
use adit_ike::identity::{Identity, IdentityPattern};
use adit_ike::pools::Pool;
use adit_ike::wire::v2::ConfigurationAttribute;

use crate::host::{Host, connection, fit_each_other};
use crate::network::{A, B, Faults, Network};
use crate::pki::certify;

fn up(net: &Network) -> bool {
    net.ends
        .iter()
        .all(|e| e.established() == 1 && e.children() == 1)
}

fn named(name: &str) -> IdentityPattern {
    IdentityPattern::Exact(Identity::parse(name).unwrap())
}

/// Both ends prove themselves by certificates.
fn by_certificate(end: usize, c: &mut Connection) {
    let peer = if end == A { "b.example" } else { "a.example" };
    c.local = vec![LocalAuth::new(AuthMethod::PublicKey)];
    c.remote = vec![RemoteAuth::new(AuthMethod::PublicKey, named(peer))];
}

fn with_certificates(net: &mut Network) {
    for (end, pki) in net.ends.iter_mut().zip(certify(["a.example", "b.example"])) {
        end.endpoint.trust(pki.authorities());
        end.pki = Some(pki);
    }
}

#[test]
fn two_certificates_of_one_authority_bring_a_child_up() {
    let mut net = Network::pair(by_certificate);
    with_certificates(&mut net);
    net.initiate(A);
    net.run(Duration::from_secs(1));
    assert!(
        up(&net),
        "{:?} {:?}",
        net.ends[A].events,
        net.ends[B].events
    );
    assert!(fit_each_other(&net.ends[A], &net.ends[B]));
    let (info, _) = net.ends[A].endpoint.established().next().unwrap();
    assert_eq!(info.remote_id, Some(Identity::parse("b.example").unwrap()));
}

#[test]
fn long_messages_go_in_fragments_that_may_be_lost_repeated_and_reordered() {
    for seed in 0..20 {
        let mut net = Network::pair_with(
            |s| s.fragment_size = 200,
            |end, c| {
                by_certificate(end, c);
                c.fragmentation = Fragmentation::Yes;
            },
        );
        with_certificates(&mut net);
        net.reseed(seed);
        net.faults = Faults {
            lost: 4,
            repeated: 20,
            jitter: 100,
        };
        net.initiate(A);
        net.run_until("the child", up);
        let long = |e: &crate::host::Host| e.sent.iter().filter(|t| t.message[18] == 35).count();
        assert!(long(&net.ends[A]) >= 4 && long(&net.ends[B]) >= 4);
        let sent = net.ends.iter().flat_map(|e| &e.sent);
        assert!(
            sent.filter(|t| t.message[18] != 34)
                .all(|t| t.message.len() <= 200)
        );
    }
}

#[test]
fn without_fragmentation_long_messages_go_whole() {
    let mut net = Network::pair_with(
        |s| s.fragment_size = 200,
        |end, c| {
            by_certificate(end, c);
            c.fragmentation = if end == A {
                Fragmentation::No
            } else {
                Fragmentation::Yes
            };
        },
    );
    with_certificates(&mut net);
    net.initiate(A);
    net.run(Duration::from_secs(1));
    assert!(up(&net));
    assert_eq!((net.ends[A].sent.len(), net.ends[B].sent.len()), (2, 2));
}

#[test]
fn a_certificate_of_another_authority_is_refused_with_its_reason() {
    let mut net = Network::pair(by_certificate);
    with_certificates(&mut net);
    let [stranger] = certify(["a.example"]);
    net.ends[A].pki = Some(stranger);
    net.initiate(A);
    net.run(Duration::from_secs(60));
    let failures = net.ends[B].failures();
    assert!(
        matches!(failures[..], [Reason::Authentication { by: By::Us, .. }]),
        "{failures:?}"
    );
    assert!(
        net.ends
            .iter()
            .all(|e| e.sas.is_empty() && e.established() == 0)
    );
}

#[test]
fn an_initiator_that_does_not_believe_the_responder_tells_it() {
    let mut net = Network::pair(by_certificate);
    with_certificates(&mut net);
    let [stranger] = certify(["b.example"]);
    let own = net.ends[B].pki.replace(stranger);
    // B goes on believing A.
    net.ends[B].trusts = own;
    net.initiate(A);
    net.run(Duration::from_secs(60));
    assert!(matches!(
        net.ends[A].failures()[..],
        [Reason::Authentication { by: By::Us, .. }]
    ));
    assert!(
        net.ends
            .iter()
            .all(|e| e.sas.is_empty() && e.established() == 0)
    );
}

/// A client with EAP and a gateway with a certificate; the client wants addresses.
fn roadwarrior(end: usize, c: &mut Connection) {
    let mut child = (*c.children[0]).clone();
    if end == A {
        let mut local = LocalAuth::new(AuthMethod::Eap);
        local.id = Some(Identity::parse("me@example").unwrap());
        c.local = vec![local];
        c.remote = vec![RemoteAuth::new(AuthMethod::PublicKey, named("b.example"))];
        c.vips = vec![IpAddr::from([0; 4]), IpAddr::from([0; 16])];
        child.local_ts = vec![SelectorSpec::DYNAMIC];
        child.remote_ts = vec![SelectorSpec::prefix(IpAddr::from([0; 4]), 0).unwrap()];
    } else {
        c.local = vec![LocalAuth::new(AuthMethod::PublicKey)];
        c.remote = vec![RemoteAuth::new(AuthMethod::Eap, IdentityPattern::Any)];
        c.pools = vec!["four".into(), "six".into()];
        child.remote_ts = vec![SelectorSpec::DYNAMIC];
        child.local_ts = vec![SelectorSpec::prefix(IpAddr::from([10, 2, 0, 0]), 16).unwrap()];
    }
    c.children = vec![Arc::new(child)];
}

fn with_pools(net: &mut Network) {
    for (name, first, last) in [
        ("four", "10.9.0.1", "10.9.0.1"),
        ("six", "fd00::1", "fd00::ff"),
    ] {
        let dns = ConfigurationAttribute::Ip4Dns(Some([10, 2, 0, 53].into()));
        let pool = Pool {
            name: name.into(),
            addresses: Some((first.parse().unwrap(), last.parse().unwrap())),
            attributes: vec![dns],
        };
        net.ends[B].endpoint.pools_mut().load(pool).unwrap();
    }
}

#[test]
fn a_roadwarrior_proves_itself_by_eap_and_gets_addresses_of_both_families() {
    for seed in 0..15 {
        let mut net = Network::pair(roadwarrior);
        with_certificates(&mut net);
        with_pools(&mut net);
        net.reseed(seed);
        net.faults = Faults {
            lost: 5,
            repeated: 10,
            jitter: 200,
        };
        net.initiate(A);
        net.run_until("the child", up);
        assert!(fit_each_other(&net.ends[A], &net.ends[B]));
        let (info, _) = net.ends[A].endpoint.established().next().unwrap();
        let addresses: Vec<_> = info.vips_here.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.9.0.1", "fd00::1"]);
        assert_eq!(info.dns, [IpAddr::from([10, 2, 0, 53])]);
        let selectors = &net.ends[B].of(Direction::Outbound)[0].selectors;
        assert_eq!(
            selectors.remote[0].addresses.first(),
            addresses[0].parse::<IpAddr>().unwrap()
        );
        let (info, _) = net.ends[B].endpoint.established().next().unwrap();
        assert_eq!(info.eap_id.as_deref(), Some(&b"me@example"[..]));
        // Terminated, the addresses are free again, and kept for who had them.
        net.faults = Faults::default();
        let target = adit_ike::endpoint::Target::Connection("gw".into());
        net.input(A, Input::Terminate(target));
        net.run(Duration::from_secs(60));
        let leases = net.ends[B]
            .endpoint
            .pools()
            .all()
            .flat_map(|(_, leases)| leases);
        assert!(leases.into_iter().all(|l| !l.online));
    }
}

#[test]
fn addresses_stay_leased_when_the_ike_sa_gets_new_keys() {
    let mut net = Network::pair(roadwarrior);
    with_certificates(&mut net);
    with_pools(&mut net);
    net.initiate(A);
    net.run(Duration::from_secs(1));
    for end in [A, B] {
        let target = adit_ike::endpoint::Target::Connection("gw".into());
        net.input(end, Input::Rekey(target));
    }
    net.run(Duration::from_secs(400));
    assert!(up(&net));
    let leases = net.ends[B]
        .endpoint
        .pools()
        .all()
        .flat_map(|(_, leases)| leases);
    assert!(leases.into_iter().all(|l| l.online));
}

#[test]
fn a_wrong_eap_password_is_told_on_both_ends() {
    let mut net = Network::pair(roadwarrior);
    with_certificates(&mut net);
    with_pools(&mut net);
    net.ends[A].secret = Some(b"another");
    net.initiate(A);
    net.run(Duration::from_secs(60));
    for end in [A, B] {
        let failures = net.ends[end].failures();
        let told = |r: &&Reason| matches!(r, Reason::Authentication { problem, .. } if problem.contains("password"));
        assert!(failures.iter().any(told), "{failures:?}");
        assert_eq!(net.ends[end].established(), 0);
    }
}

#[test]
fn an_empty_pool_is_told_and_leaves_an_ike_sa_without_children() {
    let mut net = Network::pair(roadwarrior);
    with_certificates(&mut net);
    net.initiate(A);
    net.run(Duration::from_secs(5));
    let failures = net.ends[B].failures();
    assert!(
        matches!(failures[..], [Reason::Local(what)] if what.contains("pools")),
        "{failures:?}"
    );
    assert_eq!(net.ends[B].children(), 0);
}

/// A starts anew and knows nothing.
fn forget(net: &mut Network) {
    net.ends[A] = Host::new("192.0.2.1", 77);
    let nets = ("10.1.0.0/16", "10.2.0.0/16");
    let again = connection("gw", ("192.0.2.1", "192.0.2.2"), nets);
    net.ends[A].endpoint.load(again).unwrap();
}

#[test]
fn a_peer_that_has_forgotten_everything_takes_the_place_of_its_old_self() {
    let mut net = Network::pair(|_, _| {});
    net.initiate(A);
    net.run(Duration::from_secs(1));
    forget(&mut net);
    net.initiate(A);
    net.run(Duration::from_secs(1));
    assert_eq!((net.ends[B].established(), net.ends[B].sas.len()), (1, 2));
    assert!(fit_each_other(&net.ends[A], &net.ends[B]));
    let replaced = |e: &Event| {
        matches!(
            e,
            Event::IkeDown {
                why: adit_ike::endpoint::Why::Replaced,
                ..
            }
        )
    };
    assert!(net.ends[B].events.iter().any(replaced));
}

#[test]
fn initial_contact_is_ignored_where_the_connection_says_so() {
    let mut net = Network::pair(|_, c| c.unique = Unique::Never);
    net.initiate(A);
    net.run(Duration::from_secs(1));
    forget(&mut net);
    net.initiate(A);
    net.run(Duration::from_secs(1));
    assert_eq!(net.ends[B].established(), 2);
}

#[test]
fn an_ike_sa_can_begin_without_a_child_and_get_it_later() {
    let mut net = Network::pair(|end, c| {
        if end == A {
            c.childless = Childless::Prefer;
        }
    });
    net.initiate(A);
    net.run(Duration::from_secs(1));
    assert!(up(&net));
    assert!(net.ends[A].sent.iter().any(|t| t.message[18] == 36));
    let mut without = Network::pair(|end, c| {
        c.childless = if end == A {
            Childless::Force
        } else {
            Childless::Never
        };
    });
    without.initiate(A);
    without.run(Duration::from_secs(1));
    assert_eq!(without.ends[A].established(), 0);
    assert!(matches!(without.ends[A].failures()[..], [Reason::Local(_)]));
}
