//! Every reason to drop a packet is raised, each by its own packet and each counted once.

use adit_abi::{
    Action, Address, Direction, DropReason, Integrity, Limits, Mode, PortRange, Prefix, RouteKind,
    Selector, Spi, Suite,
};
use adit_dataplane::memory_gateway::{
    INSIDE, MemoryGateway, OUTSIDE, Site, TunnelPlan, WIRE, tunnel_sa,
};
use adit_dataplane::worker::{Answer, Change};

use crate::packets::{body, cuttable, ip, ping, raw, rechecksum, sealed, udp, udp_of};
use crate::reassembly::cut;
use crate::too_big::error_about;

/// A case takes a gateway of a pair and makes it drop exactly one packet.
type Case = fn(&mut MemoryGateway);

fn here() -> Address {
    Site(1).host(false)
}

fn there() -> Address {
    Site(2).host(false)
}

/// An address that no policy mentions.
fn elsewhere() -> Address {
    Address::v4([198, 51, 100, 7])
}

/// An inner packet as it comes through the tunnel.
fn inner() -> Vec<u8> {
    ping(there(), here(), 1)
}

/// Sends a body sealed by the peer under the inbound SA.
fn arrive(g: &mut MemoryGateway, sequence: u64, body: &[u8]) {
    let sa = g.reader.sa(g.inbound()).unwrap();
    g.from_outside(&sealed(&sa, sequence, body));
}

/// A BYPASS policy for everything.
fn bypass_all(g: &mut MemoryGateway) {
    let any = Prefix::from_mapped(Address::UNSPECIFIED, 0);
    g.add_policy(Selector::between(any, any), 1, Action::Bypass);
    g.refresh();
}

fn hold_for(g: &mut MemoryGateway, seconds: u16) {
    g.change_settings(|s| s.hold_seconds = seconds);
    g.refresh();
}

fn unlink(g: &mut MemoryGateway) {
    g.policy.link(0, None);
}

fn fragment_of(packet: &[u8], field: u16) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[6..8].copy_from_slice(&field.to_be_bytes());
    rechecksum(&mut packet);
    packet
}

const CASES: &[(DropReason, Case)] = &[
    (DropReason::Truncated, |g| {
        let packet = ping(here(), there(), 1);
        g.from_inside(&packet[..packet.len() - 1]);
    }),
    (DropReason::Truncated, |g| {
        // An ESP packet too short for IV, ICV and any payload.
        let sa = g.reader.sa(g.inbound()).unwrap();
        let packet = sealed(&sa, 1, &body(&inner()));
        g.from_outside(&raw(sa.source, sa.destination, 50, &packet[20..55]));
    }),
    (DropReason::BadLength, |g| {
        let mut packet = ping(here(), there(), 1);
        packet[3] = 19;
        packet[2] = 0;
        rechecksum(&mut packet);
        g.from_inside(&packet);
    }),
    (DropReason::BadLength, |g| {
        // Not a multiple of 4 between IV and ICV.
        let sa = g.reader.sa(g.inbound()).unwrap();
        let packet = sealed(&sa, 1, &body(&inner()));
        g.from_outside(&raw(
            sa.source,
            sa.destination,
            50,
            &packet[20..packet.len() - 1],
        ));
    }),
    (DropReason::NotIp, |g| {
        let mut frame = g.site.mac(INSIDE).to_vec();
        frame.extend_from_slice(&[2, 0, 0, 0, 0, 1, 0x88, 0xcc, 1, 2, 3]);
        assert!(g.inside.inject(&frame));
    }),
    (DropReason::BadChecksum, |g| {
        let mut packet = ping(here(), there(), 1);
        packet[10] ^= 1;
        g.from_inside(&packet);
    }),
    (DropReason::Unroutable, |g| {
        g.from_inside(&ping(here(), Address::v4([224, 0, 0, 5]), 1));
    }),
    (DropReason::HopLimit, |g| {
        let mut packet = Vec::new();
        let builder = ip(here(), there(), 1).udp(1, 2);
        builder.write(&mut packet, b"late").unwrap();
        g.from_inside(&packet);
    }),
    (DropReason::NoRoute, |g| {
        bypass_all(g);
        g.from_inside(&ping(here(), elsewhere(), 1));
    }),
    (DropReason::NoNeighbour, |g| {
        bypass_all(g);
        let silent = Address::v4([192, 0, 2, 77]);
        g.from_inside(&ping(here(), silent, 1));
        g.run();
        g.now += 10_000_000_000;
    }),
    (DropReason::PolicyDiscard, |g| {
        let to = Prefix::from_mapped(elsewhere(), 128);
        let selector = Selector::between(g.site.network(false), to);
        g.add_policy(selector, 1, Action::Discard);
        g.refresh();
        g.from_inside(&ping(here(), elsewhere(), 1));
    }),
    (DropReason::NoPolicy, |g| {
        g.from_inside(&ping(here(), elsewhere(), 1));
    }),
    (DropReason::NoSa, |g| {
        unlink(g);
        g.from_inside(&ping(here(), there(), 1));
    }),
    (DropReason::NoSa, |g| {
        // The link still points at an SA that has gone.
        g.policy.remove_sa(g.outbound());
        g.from_inside(&ping(here(), there(), 1));
    }),
    (DropReason::HeldTooLong, |g| {
        unlink(g);
        hold_for(g, 10);
        g.from_inside(&ping(here(), there(), 1));
        g.run();
        g.now += 11_000_000_000;
        g.run();
    }),
    (DropReason::AcquireRefused, |g| {
        unlink(g);
        hold_for(g, 10);
        g.from_inside(&ping(here(), there(), 1));
        g.run();
        let (_, _, policy) = g.reader.policies().next().unwrap();
        g.worker.apply(Change::Answer(Answer {
            policy: 0,
            selector: policy.selector,
            clear: false,
        }));
        g.run();
    }),
    (DropReason::SaNotReady, |g| {
        let sa = g.outbound();
        g.state.sa(sa.slot).unwrap().prepare(sa.generation + 1, 0);
        g.from_inside(&ping(here(), there(), 1));
    }),
    (DropReason::SaNotReady, |g| {
        let sa = g.inbound();
        g.state.sa(sa.slot).unwrap().prepare(sa.generation + 1, 0);
        arrive(g, 1, &body(&inner()));
    }),
    (DropReason::ClearUnderProtect, |g| {
        g.from_outside(&inner());
    }),
    (DropReason::UnknownSpi, |g| {
        let mut sa = g.reader.sa(g.inbound()).unwrap();
        sa.spi.0 += 1;
        g.from_outside(&sealed(&sa, 1, &body(&inner())));
    }),
    (DropReason::Replayed, |g| {
        for _ in 0..2 {
            arrive(g, 7, &body(&inner()));
        }
    }),
    (DropReason::TooOld, |g| {
        arrive(g, 5000, &body(&inner()));
        g.run();
        arrive(g, 5000 - 1024, &body(&inner()));
    }),
    (DropReason::BadIcv, |g| {
        let sa = g.reader.sa(g.inbound()).unwrap();
        let mut packet = sealed(&sa, 1, &body(&inner()));
        *packet.last_mut().unwrap() ^= 1;
        g.from_outside(&packet);
    }),
    (DropReason::BadPadding, |g| {
        let mut body = inner();
        body.extend_from_slice(&[1, 9, 2, 4]);
        arrive(g, 1, &body);
    }),
    (DropReason::BadPadding, |g| {
        // More padding than there is payload.
        arrive(g, 1, &[1, 2, 200, 4]);
    }),
    (DropReason::BadNextHeader, |g| {
        let mut body = body(&inner());
        *body.last_mut().unwrap() = 6;
        arrive(g, 1, &body);
    }),
    (DropReason::BadInner, |g| {
        // IPv4 under the next header of IPv6.
        let mut body = body(&inner());
        *body.last_mut().unwrap() = 41;
        arrive(g, 1, &body);
    }),
    (DropReason::BadInner, |g| {
        let mut inner = inner();
        inner[3] += 40;
        rechecksum(&mut inner);
        arrive(g, 1, &body(&inner));
    }),
    (DropReason::SelectorMismatch, |g| {
        narrow_inbound(g);
        arrive(g, 1, &body(&ping(elsewhere(), here(), 1)));
    }),
    (DropReason::SelectorMismatch, |g| {
        // A policy was pointed at an SA that is not for it.
        let far = Prefix::from_mapped(elsewhere(), 128);
        g.change_sa(g.outbound(), |r| {
            r.selector = Selector::between(Site(1).network(false), far);
        });
        g.from_inside(&ping(here(), there(), 1));
    }),
    (DropReason::SequenceExhausted, |g| {
        let sa = g.outbound();
        let last = u64::from(u32::MAX);
        g.state.sa(sa.slot).unwrap().prepare(sa.generation, last);
        g.from_inside(&ping(here(), there(), 1));
    }),
    (DropReason::SequenceZero, |g| {
        arrive(g, 0, &body(&inner()));
    }),
    (DropReason::LifetimeExpired, |g| {
        g.change_sa(g.outbound(), |r| r.hard.packets = 2);
        for n in 0..3 {
            g.from_inside(&ping(here(), there(), n));
        }
    }),
    (DropReason::LifetimeExpired, |g| {
        let now = g.now;
        g.change_sa(g.inbound(), |r| {
            r.hard = Limits {
                expires: now,
                ..Limits::default()
            };
        });
        arrive(g, 1, &body(&inner()));
    }),
    (DropReason::TooBig, |g| {
        let mut packet = udp_of(here(), there(), 1480);
        packet[6] |= 0x40;
        rechecksum(&mut packet);
        g.from_inside(&packet);
    }),
    (DropReason::Fragment, |g| {
        // The policy selects by port, and a later fragment has none.
        let mut selector = Selector::between(Site(1).network(false), Site(2).network(false));
        (selector.protocol, selector.remote_ports) = (17, PortRange::one(53));
        g.add_policy(selector, 1, Action::Bypass);
        g.refresh();
        g.from_inside(&fragment_of(&udp(here(), there(), (1, 2), &[0; 16]), 2));
    }),
    (DropReason::Fragment, |g| {
        // Only the first fragment shows that TCP, which a policy protects, follows the destination options.
        bypass_all(g);
        let mut tcp = Selector::between(Site(1).network(true), Site(2).network(true));
        tcp.protocol = 6;
        g.add_policy(tcp, 0, Action::Protect);
        g.refresh();
        let (from, to) = (Site(1).host(true), Site(2).host(true));
        let mut later = vec![60, 0, 0, 12 << 3, 0, 0, 0, 77];
        later.extend_from_slice(&[0x5a; 16]);
        g.from_inside(&raw(from, to, 44, &later));
    }),
    (DropReason::BadFragment, |g| {
        // More to come, and not a multiple of 8 bytes.
        let packet = raw(Site(2).outer(false), Site(1).outer(false), 50, &[9; 63]);
        g.from_outside(&fragment_of(&packet, 0x2000));
    }),
    (DropReason::BadFragment, |g| {
        // A first fragment too short to show whether it is IKE or ESP.
        let (from, to) = (Site(2).outer(false), Site(1).outer(false));
        let packet = udp(from, to, (4500, 4500), &[9; 64]);
        g.from_outside(&cut(&packet, &[8], 1)[0]);
    }),
    (DropReason::FragmentOverlap, |g| {
        let packet = raw(Site(2).outer(false), Site(1).outer(false), 50, &[9; 64]);
        g.from_outside(&cut(&packet, &[32], 1)[0]);
        g.from_outside(&cut(&packet, &[24], 1)[1]);
    }),
    (DropReason::DuplicateFragment, |g| {
        let packet = raw(Site(2).outer(false), Site(1).outer(false), 50, &[9; 64]);
        for _ in 0..2 {
            g.from_outside(&cut(&packet, &[32], 1)[0]);
        }
    }),
    (DropReason::ReassemblyTimeout, |g| {
        let packet = raw(Site(2).outer(false), Site(1).outer(false), 50, &[9; 64]);
        g.from_outside(&cut(&packet, &[32], 1)[0]);
        g.run();
        g.now += 15_000_000_000;
    }),
    (DropReason::ReassemblyFull, |g| {
        let packet = raw(Site(2).outer(false), Site(1).outer(false), 50, &[9; 64]);
        for id in 0..65 {
            g.from_outside(&cut(&packet, &[32], id)[1]);
        }
    }),
    (DropReason::IcmpAboutSa, |g| {
        g.from_inside(&udp_of(here(), there(), 1400));
        g.run();
        let packet = g.outside.drain().remove(0)[14..].to_vec();
        g.from_outside(&error_about(&packet, 3, 4, 1400, 48));
    }),
    (DropReason::IcmpQuote, |g| {
        narrow_inbound(g);
        let other = udp(here(), elsewhere(), (1, 2), &[0; 64]);
        let error = error_about(&other, 3, 1, 0, 48);
        arrive(g, 1, &body(&error));
    }),
    (DropReason::ImplausibleIcmp, |g| {
        let packet = raw(Site(1).outer(false), Site(2).outer(false), 50, &[9; 64]);
        g.from_outside(&error_about(&packet, 3, 4, 1400, 48));
    }),
    (DropReason::ReassembledTooBig, |g| {
        let packet = raw(Site(2).outer(false), Site(1).outer(false), 50, &[9; 2000]);
        for piece in &cut(&packet, &[1000], 1) {
            g.from_outside(piece);
        }
    }),
    (DropReason::Keepalive, |g| {
        let (from, to) = (Site(2).outer(false), Site(1).outer(false));
        g.from_outside(&udp(from, to, (4500, 4500), &[0xff]));
    }),
    (DropReason::BadEncap, |g| {
        let (from, to) = (Site(2).outer(false), Site(1).outer(false));
        g.from_outside(&udp(from, to, (4500, 4500), &[0xff, 0xff]));
    }),
    (DropReason::BadSa, |g| {
        g.change_sa(g.outbound(), |r| r.encryption = 200);
        g.from_inside(&ping(here(), there(), 1));
    }),
    (DropReason::BadSa, |g| {
        // An outbound SA is not for opening.
        let sa = g.reader.sa(g.outbound()).unwrap();
        g.from_outside(&sealed(&sa, 1, &body(&inner())));
    }),
    (DropReason::Dummy, |g| {
        arrive(g, 1, &[0, 0, 1, 2, 2, 59, 1, 59]);
    }),
    (DropReason::TransmitFull, |g| {
        // Nobody takes frames off the outside wire.
        for n in 0..WIRE as u16 + 1 {
            g.from_inside(&ping(here(), there(), n));
            g.run();
        }
    }),
    (DropReason::NoFrame, |g| {
        // All but one frame wait on the outside wire.
        let mut n = 0;
        while g.worker.free_frames() > 2 {
            g.from_inside(&ping(here(), there(), n));
            g.run();
            n += 1;
        }
        g.from_inside(&cuttable(udp_of(here(), there(), 1480)));
    }),
    (DropReason::NoRoom, |g| {
        // A packet that fills its frame to the end leaves no room for the trailer.
        g.change_port(OUTSIDE, |port| port.mtu = 4000);
        g.refresh();
        g.from_inside(&udp_of(here(), there(), 1778));
    }),
    (DropReason::BadAhLength, |g| {
        // Four bytes of padding more than SHA-256 needs over IPv4.
        let plan = TunnelPlan {
            suite: Suite::ah(Integrity::HmacSha256),
            ..TunnelPlan::default()
        };
        let mut sa = tunnel_sa(&plan, Spi(0x5001), Site(2), Site(1));
        sa.direction = Direction::Inbound as u8;
        g.add_sa(&sa);
        let mut header = [4, 6, 0, 0, 0, 0, 0x50, 1, 0, 0, 0, 1].to_vec();
        header.resize(32, 0);
        header.extend_from_slice(&inner());
        g.from_outside(&raw(sa.source, sa.destination, 51, &header));
    }),
    (DropReason::NotNested, |g| {
        // ESP alone, where the SA wants AH around it.
        g.change_sa(g.inbound(), |r| r.around = Spi(0x5001));
        arrive(g, 1, &body(&inner()));
    }),
    (DropReason::NotOwn, |g| {
        // A transport-mode SA between hosts that are not the gateway.
        g.change_sa(g.outbound(), |r| r.mode = Mode::Transport as u8);
        g.from_inside(&ping(here(), there(), 1));
    }),
    (DropReason::NotOwn, |g| {
        let sa = g.change_sa(g.inbound(), |r| {
            r.mode = Mode::Transport as u8;
            r.destination = elsewhere();
        });
        let sa = g.reader.sa(sa).unwrap();
        g.from_outside(&sealed(&sa, 1, &body(&inner())));
    }),
    (DropReason::NoPort, |g| {
        g.policy.set_port(usize::from(INSIDE), None);
        g.refresh();
        g.from_inside(&ping(here(), there(), 1));
    }),
    (DropReason::NoPort, |g| {
        bypass_all(g);
        let to = Prefix::from_mapped(elsewhere(), 128);
        g.add_route(to, RouteKind::Unicast, 9, Address::UNSPECIFIED);
        g.refresh();
        g.from_inside(&ping(here(), elsewhere(), 1));
    }),
    (DropReason::Broadcast, |g| {
        g.from_inside(&udp(here(), Address::v4([255; 4]), (68, 67), b"discover"));
    }),
    (DropReason::Broadcast, |g| {
        let mut frame = vec![0xff; 6];
        frame.extend_from_slice(&[2, 0, 0, 0, 0, 1, 8, 0]);
        frame.extend_from_slice(&ping(here(), there(), 1));
        assert!(g.inside.inject(&frame));
    }),
    (DropReason::BadExtension, |g| {
        // A hop-by-hop header that claims to be longer than the packet.
        let (from, to) = (Site(1).host(true), Site(2).host(true));
        g.from_inside(&raw(from, to, 0, &[17, 200, 0, 0, 0, 0, 0, 0]));
    }),
    (DropReason::BadExtension, |g| {
        // A routing header of type 0 (RFC 5095).
        let (from, to) = (Site(1).host(true), Site(2).host(true));
        g.from_inside(&raw(from, to, 43, &[59, 0, 0, 0, 0, 0, 0, 0]));
    }),
    (DropReason::OtherHost, |g| {
        let mut frame = vec![2, 0, 0, 0, 0, 0x77];
        frame.extend_from_slice(&[2, 0, 0, 0, 0, 1, 8, 0]);
        frame.extend_from_slice(&ping(here(), there(), 1));
        assert!(g.inside.inject(&frame));
    }),
    (DropReason::Vlan, |g| {
        let mut frame = g.site.mac(INSIDE).to_vec();
        frame.extend_from_slice(&[2, 0, 0, 0, 0, 1, 0x81, 0, 0, 5, 8, 0]);
        frame.extend_from_slice(&ping(here(), there(), 1));
        assert!(g.inside.inject(&frame));
    }),
    (DropReason::EcnCongestion, |g| {
        let sa = g.reader.sa(g.inbound()).unwrap();
        let mut packet = sealed(&sa, 1, &body(&inner()));
        packet[1] |= 3;
        rechecksum(&mut packet);
        g.from_outside(&packet);
    }),
];

fn narrow_inbound(g: &mut MemoryGateway) {
    g.change_sa(g.inbound(), |r| {
        r.selector = Selector::between(Site(1).network(false), Site(2).network(false));
    });
}

#[test]
fn every_reason_is_raised_by_some_packet_and_counted_once() {
    for (n, (reason, case)) in CASES.iter().enumerate() {
        let plan = TunnelPlan {
            // Few enough that a wire can hold all but a few of them.
            frames: if *reason == DropReason::NoFrame {
                WIRE - 2
            } else {
                2 * WIRE
            },
            ..TunnelPlan::default()
        };
        let (mut gateway, _peer) = MemoryGateway::pair(&plan);
        case(&mut gateway);
        gateway.run();
        // These end as many packets as there were fragments.
        let packets = match reason {
            DropReason::FragmentOverlap | DropReason::ReassembledTooBig => 2,
            _ => 1,
        };
        assert_eq!(gateway.all_drops(), [(*reason, packets)], "case {n}");
        assert_eq!(gateway.umem.strays(), 0, "case {n}");
    }
}

#[test]
fn no_reason_is_without_a_case() {
    let missing: Vec<_> = DropReason::ALL
        .iter()
        .filter(|reason| !CASES.iter().any(|(covered, _)| covered == *reason))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn an_sa_counts_what_was_wrong_with_its_packets() {
    use std::sync::atomic::Ordering::Relaxed;
    let (mut g, _peer) = MemoryGateway::pair(&TunnelPlan::default());
    narrow_inbound(&mut g);
    arrive(&mut g, 1, &body(&inner()));
    g.run();
    arrive(&mut g, 1, &body(&inner()));
    arrive(&mut g, 2, &[1, 2, 200, 4]);
    arrive(&mut g, 3, &body(&ping(elsewhere(), here(), 1)));
    let sa = g.reader.sa(g.inbound()).unwrap();
    let mut forged = sealed(&sa, 4, &body(&inner()));
    forged[60] ^= 1;
    g.from_outside(&forged);
    g.run();
    let state = g.state.sa(g.inbound().slot).unwrap();
    assert_eq!(state.replays().load(Relaxed), 1);
    assert_eq!(state.icv_failures().load(Relaxed), 1);
    assert_eq!(state.selector_mismatches().load(Relaxed), 1);
    assert_eq!(state.malformed().load(Relaxed), 1);
    // The one that was opened, and the one outside the selectors.
    assert_eq!(state.packets().load(Relaxed), 2);
    assert_eq!(g.inside.drain().len(), 1);
}

#[test]
fn the_hosts_own_packets_do_not_come_back_to_it() {
    let (mut g, _peer) = MemoryGateway::pair(&TunnelPlan::default());
    bypass_all(&mut g);
    g.from_host(&ping(g.site.outer(false), g.site.gateway(false), 1));
    g.run();
    assert_eq!(g.all_drops(), [(DropReason::NoRoute, 1)]);
    assert!(g.host.drain().is_empty());
}
