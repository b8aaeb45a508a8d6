//! The mirror of the kernel's links, addresses, routes and neighbours, in a gateway's namespace.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use adit::lab::{Family, Namespace, Shape, Side, Topology};
use adit_abi::{Capacity, PolicyWriter, RouteKind};
use adit_control::netlink::ethtool::Ethtool;
use adit_control::netlink::{Follower, MirrorPort};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{alone, runnable};

const LIMIT: Duration = Duration::from_secs(10);

/// A mirror that follows gw-a, and the table that it fills.
struct Rig {
    follower: Follower,
    table: PolicyWriter,
}

impl Rig {
    fn new() -> Self {
        let mut table = PolicyWriter::create(&Capacity::default(), 1).expect("a table");
        let mut follower = Follower::open(&mut table).expect("netlink");
        for (number, name, side) in [
            (0, "inside", adit_abi::Side::Inside),
            (1, "outside", adit_abi::Side::Outside),
        ] {
            let link = follower.find_link(&mut table, name).expect("netlink");
            let ifindex = link.expect("an interface").ifindex;
            follower.set_port(MirrorPort {
                number,
                ifindex,
                side,
            });
        }
        follower.read_all(&mut table).expect("netlink");
        Rig { follower, table }
    }

    /// Follows until it is so.
    fn until(&mut self, what: &str, so: impl Fn(&PolicyWriter) -> bool) {
        let deadline = Instant::now() + LIMIT;
        loop {
            self.follower.follow(&mut self.table).expect("netlink");
            if so(&self.table) {
                return;
            }
            let routes: Vec<_> = self.table.reader().routes().map(show).collect();
            let neighbours: Vec<_> = self
                .table
                .reader()
                .neighbours()
                .map(|n| n.address)
                .collect();
            assert!(
                Instant::now() < deadline,
                "{what}: {routes:?} {neighbours:?}"
            );
            let tick = Timespec {
                tv_sec: 0,
                tv_nsec: 100_000_000,
            };
            let mut fds = [PollFd::from_borrowed_fd(self.follower.fd(), PollFlags::IN)];
            poll(&mut fds, Some(&tick)).expect("poll");
        }
    }
}

/// Runs a test inside gw-a of a lab of its own.
fn in_gateway(shape: Shape, test: impl FnOnce(&Namespace, Rig) + Send) {
    let _alone = alone();
    let topology = Topology::build(shape).expect("a lab");
    let gateway = topology.gateway(Side::A);
    gateway
        .enter(|| test(gateway, Rig::new()))
        .expect("the namespace");
}

fn show(r: adit_abi::RouteRecord) -> String {
    format!("{} {:?} {} {}", r.prefix(), r.kind(), r.gateway, r.port)
}

fn has(table: &PolicyWriter, route: &str) -> bool {
    table.reader().routes().any(|r| show(r) == route)
}

#[test]
fn the_table_follows_the_kernel() {
    or_skip!(runnable());
    let inside = |family| IpAddr::to_string(&Side::A.inside_address(family));
    in_gateway(Shape::default(), |gateway, mut rig| {
        // What was there before.
        for family in Family::BOTH {
            let connected = format!("{} Unicast :: 0", Side::A.prefix(family));
            assert!(has(&rig.table, &connected), "{connected}");
        }
        let own = format!("{}/32 Local :: 0", inside(Family::V4));
        assert!(has(&rig.table, &own));
        let port = rig.table.reader().port(0).expect("a port");
        assert_eq!(port.mtu, 1500);
        assert_eq!(IpAddr::from(port.v4).to_string(), inside(Family::V4));
        assert_eq!(IpAddr::from(port.v6).to_string(), inside(Family::V6));
        let addresses = rig.follower.mirror().own_addresses();
        assert!(addresses.contains(&Side::A.outside_address(Family::V6)));

        // What comes, changes and goes.
        let far = Side::B.outside_address(Family::V4);
        gateway
            .ip(&format!("route add 10.77.0.0/16 via {far}"))
            .expect("a route");
        rig.until("a route", |t| {
            has(t, &format!("10.77.0.0/16 Unicast {far} 1"))
        });
        gateway
            .ip("route replace blackhole 10.77.0.0/16")
            .expect("a route");
        rig.until("a replaced route", |t| {
            t.reader()
                .routes()
                .filter(|r| r.prefix().to_string() == "10.77.0.0/16")
                .map(show)
                .eq(["10.77.0.0/16 Blackhole :: 0".to_owned()])
        });
        gateway.ip("route del 10.77.0.0/16").expect("no route");
        rig.until("no route", |t| !has(t, "10.77.0.0/16 Blackhole :: 0"));
        gateway
            .ip("link add other type bridge\nlink set other up\naddr add 10.78.0.1/24 dev other")
            .expect("a link");
        rig.until("a route that is not ours", |t| {
            t.reader()
                .routes()
                .any(|r| r.kind() == RouteKind::Kernel && r.prefix().to_string() == "10.78.0.0/24")
        });

        // IPv4 routes of an interface that goes down vanish without a word.
        gateway
            .ip(&format!("route add 10.79.0.0/16 via {far}"))
            .expect("a route");
        rig.until("a route", |t| {
            has(t, &format!("10.79.0.0/16 Unicast {far} 1"))
        });
        gateway.ip("link set outside down").expect("a link");
        rig.until("routes gone with their interface", |t| {
            !has(t, &format!("10.79.0.0/16 Unicast {far} 1"))
        });
        gateway.ip("link set outside up mtu 1400").expect("a link");
        rig.until("another MTU", |t| {
            t.reader().port(1).is_some_and(|p| p.mtu == 1400)
        });
    });
}

#[test]
fn a_neighbour_is_resolved_when_asked_for() {
    or_skip!(runnable());
    in_gateway(Shape::default(), |gateway, mut rig| {
        let outside = rig.follower.port_ifindex(1).expect("a port");
        for family in Family::BOTH {
            let far = Side::B.outside_address(family);
            rig.follower.resolve(outside, far, Instant::now());
            rig.until("a neighbour", |t| {
                t.reader()
                    .neighbours()
                    .any(|n| IpAddr::from(n.address) == far && n.port == 1)
            });
            let mut shown = gateway.command("ip");
            let shown = shown
                .args(["neigh", "show", &far.to_string(), "dev", "outside"])
                .output()
                .expect("ip");
            let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
            assert!(
                shown.contains("managed"),
                "the kernel keeps it fresh: {shown}"
            );
        }
    });
}

#[test]
fn changes_that_come_too_fast_are_made_up_for() {
    or_skip!(runnable());
    in_gateway(Shape::default(), |gateway, mut rig| {
        let passing = "link add passing type bridge\naddr add 10.78.0.1/24 dev passing";
        gateway.ip(passing).expect("a link");
        let address = IpAddr::from([10, 78, 0, 1]);
        rig.follower.read_all(&mut rig.table).expect("netlink");
        assert!(rig.follower.mirror().own_addresses().contains(&address));
        // Far more than the socket's buffer holds while nobody reads.
        for round in 0..3 {
            let batch: String = (0..12_000)
                .map(|n| {
                    let (verb, a, b) = if round == 1 {
                        ("del", n / 250, n % 250)
                    } else {
                        ("add", n / 250, n % 250)
                    };
                    format!("route {verb} 10.{}.{b}.0/24 dev inside\n", 100 + a)
                })
                .collect();
            gateway.ip(&batch).expect("routes");
        }
        gateway.ip("link del passing").expect("no link");
        rig.until("every route", |t| {
            t.reader()
                .routes()
                .filter(|r| r.length == 96 + 24 && r.destination.v4_bytes()[1] >= 100)
                .count()
                == 12_000
        });
        assert!(rig.follower.mirror().link("passing").is_none());
        assert!(!rig.follower.mirror().own_addresses().contains(&address));
    });
}

#[test]
fn queues_are_counted_and_offloads_switched_off() {
    or_skip!(runnable());
    let shape = Shape {
        queues: 2,
        ..Shape::default()
    };
    in_gateway(shape, |gateway, rig| {
        let inside = rig.follower.port_ifindex(0).expect("a port");
        let mut ethtool = Ethtool::open().expect("ethtool");
        assert_eq!(ethtool.receive_queues(inside).expect("a number"), 2);
        let gro = || {
            let mut shown = gateway.command("ethtool");
            let shown = shown.args(["-k", "inside"]).output().expect("ethtool");
            let text = String::from_utf8_lossy(&shown.stdout).into_owned();
            text.contains("generic-receive-offload: on")
        };
        let mut on = gateway.command("ethtool");
        on.args(["-K", "inside", "gro", "on"])
            .output()
            .expect("ethtool");
        assert!(gro());
        ethtool.switch_off(inside, "rx-gro").expect("off");
        assert!(!gro());
        ethtool.switch_off(inside, "rx-gro").expect("off already");
        assert!(ethtool.switch_off(inside, "rx-sorcery").is_err());
        assert!(ethtool.switch_off(u32::MAX >> 1, "rx-gro").is_err());
    });
}
