//! The XDP program on real interfaces: what it passes and redirects, and that nothing gets by it when its users die.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use adit::lab::traffic::{self, PingPlan};
use adit::lab::wait::{self, Look};
use adit::lab::{Family, Shape, Side as End, Topology};
use adit_bpf::{Action, AttachMode, Reason, Side, Steering, SteeringError};
use adit_dataplane::frame::{ChunkSize, HugePages, Umem};
use adit_dataplane::port::xdp::ZeroCopy;

use crate::steered::{attach, connect, count, ifindex, numbered, open, pin_dir};
use crate::{alone, runnable};

const QUICK: PingPlan = PingPlan {
    count: 3,
    interval: Duration::from_millis(10),
    size: 56,
    linger: Duration::from_millis(200),
    source: None,
};
const OWN4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A network, and the program loaded in it with a directory for its pins.
fn lab() -> (Topology, PathBuf, Steering) {
    let topology = Topology::build(Shape::default()).expect("a lab");
    let dir = pin_dir(&topology, "a");
    let steering = Steering::load(&dir).expect("the program");
    (topology, dir, steering)
}

/// What comes back of three pings from host A.
fn answered(topology: &Topology, to: IpAddr) -> u64 {
    traffic::ping(topology.host(End::A), to, QUICK)
        .expect("a count")
        .received
}

#[test]
fn transit_never_reaches_the_kernel_and_what_is_for_the_gateway_does() {
    or_skip!(runnable());
    let _alone = alone();
    let (topology, dir, mut steering) = lab();
    topology.kernel_forwarding(true).expect("forwarding");
    let gateway = topology.gateway(End::A);
    for family in Family::BOTH {
        steering
            .set_own(End::A.inside_address(family), false)
            .expect("an own address");
    }
    for family in Family::BOTH {
        assert_eq!(
            answered(&topology, End::B.host_address(family)),
            3,
            "{family} before"
        );
    }
    let mode = attach(&mut steering, gateway, "inside", Side::Inside);
    assert_eq!(mode, AttachMode::Native);
    for family in Family::BOTH {
        assert_eq!(
            answered(&topology, End::B.host_address(family)),
            0,
            "{family} transit"
        );
        assert_eq!(
            answered(&topology, End::A.inside_address(family)),
            3,
            "{family} own"
        );
    }
    let inside = ifindex(gateway, "inside");
    assert_eq!(count(&steering, inside, Reason::DropNoSocket), 6);
    assert!(count(&steering, inside, Reason::PassOwn) >= 6);

    // Dead: every fd of the program, its link and its maps is closed, the pins remain.
    drop(steering);
    for family in Family::BOTH {
        assert_eq!(
            answered(&topology, End::B.host_address(family)),
            0,
            "{family} transit"
        );
        assert_eq!(
            answered(&topology, End::A.inside_address(family)),
            3,
            "{family} own"
        );
    }
    let mut steering = Steering::adopt(&dir).expect("the pins");
    assert_eq!(count(&steering, inside, Reason::DropNoSocket), 12);
    assert_eq!(steering.own().expect("addresses").len(), 2);
    steering.detach(inside).expect("attached");
    for family in Family::BOTH {
        assert_eq!(
            answered(&topology, End::B.host_address(family)),
            3,
            "{family} after"
        );
    }
}

#[test]
fn a_new_program_takes_over_attached_ports_with_their_maps() {
    or_skip!(runnable());
    let _alone = alone();
    let (topology, dir, mut first) = lab();
    let gateway = topology.gateway(End::A);
    first.set_own(OWN4.into(), true).expect("an own address");
    attach(&mut first, gateway, "inside", Side::Inside);
    attach(&mut first, gateway, "outside", Side::Outside);
    drop(first);

    let mut second = Steering::load(&dir).expect("the program");
    assert_eq!(second.own().expect("addresses"), [(OWN4.into(), true)]);
    let mut sides: Vec<Side> = second
        .ports()
        .expect("the ports")
        .iter()
        .map(|port| port.side)
        .collect();
    sides.sort_by_key(|side| *side as u8);
    assert_eq!(sides, [Side::Inside, Side::Outside]);
    // Attaching again is not refused, and may change the side.
    let mode = attach(&mut second, gateway, "inside", Side::Outside);
    assert_eq!(mode, AttachMode::Native);
    drop(second);
    Steering::unpin_all(&dir).expect("unpinned");
    Steering::unpin_all(&dir).expect("twice is fine");
    assert!(matches!(
        Steering::adopt(&dir),
        Err(SteeringError::NothingPinned(_))
    ));
    let mut third = Steering::load(&dir).expect("the program");
    assert_eq!(third.own().expect("addresses"), []);
    attach(&mut third, gateway, "inside", Side::Inside);
}

#[test]
fn an_interface_that_went_away_and_came_back_is_attached_anew() {
    or_skip!(runnable());
    let _alone = alone();
    let (topology, _, mut steering) = lab();
    let gateway = topology.gateway(End::A);
    gateway
        .ip("link add index 77 name gone type veth peer name far")
        .expect("a pair");
    attach(&mut steering, gateway, "gone", Side::Outside);
    gateway.ip("link del gone").expect("deleted");
    gateway
        .ip("link add index 77 name gone type veth peer name far")
        .expect("a pair");
    let mode = attach(&mut steering, gateway, "gone", Side::Outside);
    assert_eq!(mode, AttachMode::Native);
    assert_eq!(steering.ports().expect("the ports").len(), 1);
}

#[test]
fn pins_outside_a_bpf_file_system_are_refused() {
    or_skip!(runnable());
    let dir = std::env::temp_dir().join(format!("adit-no-bpffs-{}", std::process::id()));
    let refused = Steering::load(&dir).err().map(|error| error.to_string());
    std::fs::remove_dir(&dir).expect("an empty directory");
    assert!(refused.is_some_and(|why| why.contains("mount -t bpf")));
}

#[test]
fn a_dead_sockets_place_is_empty() {
    or_skip!(runnable());
    let _alone = alone();
    let (topology, _, mut steering) = lab();
    let gateway = topology.gateway(End::A);
    attach(&mut steering, gateway, "inside", Side::Inside);
    let umem = Umem::new(64, ChunkSize::K2, HugePages::Off).expect("memory");
    let ports = open(gateway, umem, &["inside"], 1, ZeroCopy::Copy).expect("a port");
    connect(&mut steering, &ports[0].queues);
    // What control does: it got the socket from another process, put it in the map, and lets it go.
    drop(
        ports[0].queues[0]
            .as_fd()
            .try_clone_to_owned()
            .expect("a copy"),
    );
    let index = ports[0].ifindex;
    let transit = numbered(1, 20);
    let try_it = || gateway.enter(|| steering.try_frame(index, &transit).expect("a verdict"));
    assert_eq!(try_it().expect("the namespace"), Action::Redirect);
    drop(ports);
    wait::until("an empty place", Duration::from_secs(2), || {
        Ok(Look::at(try_it()? == Action::Drop))
    })
    .expect("transit dropped");
}
