//! Transport mode and BEET between two gateways: what stays in front of ESP, what travels behind it, and that
//! the far end gets back what was sent.

use adit_abi::{
    Action, Address, Direction, DropReason, Mode, Prefix, SaFlags, SaRecord, Selector, Spi, Suite,
};
use adit_dataplane::memory_gateway::{MemoryGateway, Site, TunnelPlan, tunnel_sa};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};

use crate::packets::{assert_checksums, parse, raw, rechecksum, syn, udp, udp_of};
use crate::tunnel::carry;

/// Two gateways with one SA each way in a mode, for traffic between two addresses.
pub fn linked(
    plan: &TunnelPlan,
    mode: Mode,
    ends: [Address; 2],
    change: impl Fn(&mut SaRecord),
) -> (MemoryGateway, MemoryGateway) {
    let [mut a, mut b] = [1, 2].map(|n| MemoryGateway::new(Site(n), plan));
    for (spi, from, to) in [(0x1001, 1, 2), (0x2001, 2, 1)] {
        let mut record = tunnel_sa(plan, Spi(spi), Site(from), Site(to));
        record.mode = mode as u8;
        record.policy = 1;
        for gateway in [&mut a, &mut b] {
            let outbound = gateway.site == Site(from);
            let direction = if outbound {
                Direction::Outbound
            } else {
                Direction::Inbound
            };
            record.direction = direction as u8;
            record.selector = between(gateway.site, ends);
            let mut record = record;
            change(&mut record);
            gateway.add_sa(&record);
        }
    }
    for gateway in [&mut a, &mut b] {
        let selector = between(gateway.site, ends);
        let slot = gateway.add_policy(selector, 100, Action::Protect);
        let out = gateway.outbound();
        gateway.policy.link(slot, Some(out));
        gateway.refresh();
    }
    (a, b)
}

/// All traffic between two addresses, as a site sees it.
pub fn between(site: Site, ends: [Address; 2]) -> Selector {
    let [local, remote] = match site {
        Site(1) => ends,
        _ => [ends[1], ends[0]],
    };
    let alone = |address| Prefix::from_mapped(address, 128);
    Selector::between(alone(local), alone(remote))
}

/// The two gateways' own outer addresses.
pub fn outers(v6: bool) -> [Address; 2] {
    [1, 2].map(|n| Site(n).outer(v6))
}

/// The suites of this file: one of each kind.
const KINDS: [Suite; 2] = [Suite::AES128_GCM16, Suite::AES128_SHA256];

fn every_plan() -> impl Iterator<Item = TunnelPlan> {
    KINDS.into_iter().flat_map(|suite| {
        (0..8u8).map(move |n| TunnelPlan {
            suite,
            esn: n & 1 != 0,
            encap: n & 2 != 0,
            outer_v6: n & 4 != 0,
            ..TunnelPlan::default()
        })
    })
}

/// Sends the host's packets from `a` to `b`'s host; what came on the wire and what arrived.
pub fn exchange(
    a: &mut MemoryGateway,
    b: &mut MemoryGateway,
    packets: &[Vec<u8>],
) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    for packet in packets {
        a.from_host(packet);
    }
    a.run();
    let wire: Vec<_> = carry(a, b).iter().map(|f| f[14..].to_vec()).collect();
    b.run();
    let arrived = b.host.drain().iter().map(|f| f[14..].to_vec()).collect();
    (wire, arrived)
}

/// An IPv4 packet with these options, a multiple of 4 bytes.
pub fn with_options(packet: &[u8], options: &[u8]) -> Vec<u8> {
    let mut out = packet[..20].to_vec();
    out[0] = 0x45 + (options.len() / 4) as u8;
    out.extend_from_slice(options);
    out.extend_from_slice(&packet[20..]);
    let total = (out.len() as u16).to_be_bytes();
    out[2..4].copy_from_slice(&total);
    rechecksum(&mut out);
    out
}

/// An IPv6 packet with extension headers, each given as its number and what follows its next-header byte, in
/// front of its UDP header.
pub fn with_extensions(packet: &[u8], extensions: &[(u8, &[u8])]) -> Vec<u8> {
    let mut out = packet[..40].to_vec();
    let mut field = 6;
    for (number, rest) in extensions {
        out[field] = *number;
        field = out.len();
        out.push(0);
        out.extend_from_slice(rest);
    }
    out[field] = packet[6];
    out.extend_from_slice(&packet[40..]);
    let length = (out.len() as u16 - 40).to_be_bytes();
    out[4..6].copy_from_slice(&length);
    out
}

const HOP_BY_HOP: (u8, &[u8]) = (0, &[0, 5, 2, 0, 0, 1, 0]);
const OPTIONS: (u8, &[u8]) = (60, &[0, 1, 4, 0, 0, 0, 0]);
/// Destination options with a home address behind four bytes of padding.
const HOME: (u8, &[u8]) = (
    60,
    &[
        2, 1, 2, 0, 0, 201, 16, 0x20, 1, 0xd, 0xb8, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5,
    ],
);
/// A routing header of type 2 that has been worked off.
const ROUTING: (u8, &[u8]) = (
    43,
    &[
        2, 2, 0, 0, 0, 0, 0, 0x20, 1, 0xd, 0xb8, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5,
    ],
);

#[test]
fn transport_mode_gives_the_far_host_the_very_packet() {
    for plan in every_plan() {
        let ends = outers(plan.outer_v6);
        let (mut a, mut b) = linked(&plan, Mode::Transport, ends, |_| ());
        let packets: Vec<_> = (0..40)
            .map(|n| udp(ends[0], ends[1], (1000, 53), &vec![0xa5; n * 7]))
            .chain([syn(ends[0], ends[1], &[])])
            .collect();
        let (wire, arrived) = exchange(&mut a, &mut b, &packets);
        assert_eq!(arrived, packets, "{plan:?} {:?}", b.all_drops());
        for packet in &wire {
            assert_checksums(packet);
            let number = match parse(packet).net {
                Some(NetSlice::Ipv4(ip)) => ip.header().protocol().0,
                Some(NetSlice::Ipv6(ip)) => ip.header().next_header().0,
                _ => panic!("not IP"),
            };
            assert_eq!(number, if plan.encap { 17 } else { 50 });
            assert!(!packet.windows(8).any(|w| w == [0xa5; 8]), "clear text");
        }
        let (_, back) = exchange(&mut b, &mut a, &[udp(ends[1], ends[0], (53, 1000), b"re")]);
        assert_eq!(back.len(), 1);
        assert_eq!((a.all_drops(), b.all_drops()), (vec![], vec![]));
    }
}

#[test]
fn ipv4_options_stay_in_front_of_esp() {
    let ends = outers(false);
    for encap in [false, true] {
        let plan = TunnelPlan {
            encap,
            ..TunnelPlan::default()
        };
        let (mut a, mut b) = linked(&plan, Mode::Transport, ends, |_| ());
        let plain = udp(ends[0], ends[1], (1, 2), b"options");
        // Router alert, then the longest there is.
        let packets = [
            with_options(&plain, &[148, 4, 0, 0]),
            with_options(&plain, &[1; 40]),
        ];
        let (wire, arrived) = exchange(&mut a, &mut b, &packets);
        assert_eq!(arrived, packets, "{:?}", b.all_drops());
        assert_eq!(wire[0][20..24], [148, 4, 0, 0]);
        assert_eq!(wire[1][20..60], [1; 40]);
    }
}

#[test]
fn ipv6_extension_headers_stand_on_their_side_of_esp() {
    let ends = outers(true);
    let plain = udp(ends[0], ends[1], (1, 2), b"extended");
    // What goes on the wire in front of ESP (50), and what is hidden behind it.
    type Chain<'a> = (&'a [(u8, &'a [u8])], &'a [u8]);
    let cases: [Chain<'_>; 7] = [
        (&[], &[50]),
        (&[HOP_BY_HOP], &[0, 50]),
        (&[OPTIONS], &[50]),
        (&[HOP_BY_HOP, OPTIONS, ROUTING, OPTIONS], &[0, 60, 43, 50]),
        (&[ROUTING], &[43, 50]),
        (&[HOME], &[60, 50]),
        (&[ROUTING, HOME, OPTIONS], &[43, 60, 50]),
    ];
    for (extensions, expected) in cases {
        for suite in KINDS {
            let plan = TunnelPlan {
                suite,
                outer_v6: true,
                ..TunnelPlan::default()
            };
            let (mut a, mut b) = linked(&plan, Mode::Transport, ends, |_| ());
            let packet = with_extensions(&plain, extensions);
            let (wire, arrived) = exchange(&mut a, &mut b, std::slice::from_ref(&packet));
            assert_eq!(arrived, [packet], "{expected:?} {:?}", b.all_drops());
            assert_eq!(chain(&wire[0]), expected);
        }
    }
}

/// Header numbers of an IPv6 packet, up to and with the first that is no extension.
pub fn chain(packet: &[u8]) -> Vec<u8> {
    let (mut number, mut at, mut found) = (packet[6], 40, Vec::new());
    loop {
        found.push(number);
        if ![0, 43, 60].contains(&number) {
            return found;
        }
        (number, at) = (packet[at], at + 8 + usize::from(packet[at + 1]) * 8);
    }
}

#[test]
fn checksums_are_right_behind_a_nat_with_and_without_the_original_addresses() {
    let plan = TunnelPlan {
        encap: true,
        ..TunnelPlan::default()
    };
    // A host of a private network behind 192.0.2.1.
    let private = Address::v4([10, 9, 8, 7]);
    let [public, peer] = outers(false);
    let sum = SaRecord::sum_of(&private, &peer);
    for original in [0, sum] {
        // Gateway A does not know of the NAT: its own address is the private one.
        let (mut a, _) = linked(&plan, Mode::Transport, [private, peer], |r| {
            if r.direction == Direction::Outbound as u8 {
                r.source = private;
            }
        });
        let (_, mut b) = linked(&plan, Mode::Transport, [public, peer], |_| ());
        let record = a.reader.sa(a.outbound()).unwrap();
        b.change_sa(b.inbound(), |r| {
            (r.spi, r.enc_key) = (record.spi, record.enc_key);
            r.original_sum = original;
        });
        let packets = [
            udp(private, peer, (500, 600), b"an odd length"),
            syn(private, peer, &[]),
        ];
        let mut unsummed = udp(private, peer, (500, 600), b"no checksum");
        unsummed[26..28].fill(0);
        for packet in packets.iter().chain([&unsummed]) {
            a.from_host(packet);
        }
        a.run();
        let wire = a.outside.drain();
        assert_eq!(wire.len(), 3, "{:?}", a.all_drops());
        for frame in wire {
            let mut packet = frame[14..].to_vec();
            packet[12..16].copy_from_slice(&public.v4_bytes());
            packet[20..22].copy_from_slice(&61_000u16.to_be_bytes());
            rechecksum(&mut packet);
            b.from_outside(&packet);
        }
        b.run();
        let arrived = b.host.drain();
        assert_eq!(arrived.len(), 3, "{:?}", b.all_drops());
        for frame in &arrived {
            assert_eq!(frame[26..30], public.v4_bytes());
            assert_checksums(&frame[14..]);
        }
        let last = SlicedPacket::from_ip(&arrived[2][14..]).unwrap();
        let Some(TransportSlice::Udp(last)) = last.transport else {
            panic!("no UDP")
        };
        assert_eq!(last.checksum(), 0, "none stays none");
    }
}

#[test]
fn transport_mode_carries_nothing_but_the_gateways_own() {
    let ends = outers(false);
    let (mut a, _b) = linked(&TunnelPlan::default(), Mode::Transport, ends, |_| ());
    a.from_inside(&udp(ends[0], ends[1], (1, 2), b"forged"));
    a.run();
    assert_eq!(a.all_drops(), [(DropReason::NotOwn, 1)]);
    assert!(a.outside.drain().is_empty());
}

#[test]
fn the_largest_packet_of_a_mode_fills_the_wire_and_one_byte_more_is_refused() {
    for mode in [Mode::Transport, Mode::Beet] {
        for plan in every_plan().filter(|plan| !plan.esn) {
            let ends = outers(plan.outer_v6);
            let largest = |options: &[u8]| {
                let (mut a, mut b) = linked(&plan, mode, ends, |_| ());
                let sent = |n: usize| with_options_of(&udp_of(ends[0], ends[1], n), options);
                let fits = |a: &mut MemoryGateway, b: &mut MemoryGateway, n| {
                    let (wire, arrived) = exchange(a, b, &[sent(n)]);
                    assert_eq!(wire.len(), arrived.len());
                    // What was refused was so with an ICMP error to the host.
                    let told = a.host.drain();
                    assert_eq!(wire.len() + told.len(), 1, "{:?}", a.all_drops());
                    a.now += 1_000_000_000;
                    wire.first().map(Vec::len)
                };
                // The whole overhead is below 100 bytes.
                let (mut mtu, mut refused) = (1380 - options.len(), 1500);
                while refused - mtu > 1 {
                    let middle = (mtu + refused) / 2;
                    match fits(&mut a, &mut b, middle) {
                        Some(_) => mtu = middle,
                        None => refused = middle,
                    }
                }
                (mtu, fits(&mut a, &mut b, mtu).unwrap())
            };
            let (_, wire) = largest(&[]);
            let block = if plan.suite == KINDS[0] { 4 } else { 16 };
            assert!(
                (1500 - block + 1..=1500).contains(&wire),
                "{mode:?} {plan:?} {wire}"
            );
            if !plan.outer_v6 {
                let (_, wire) = largest(&[1; 8]);
                assert!(
                    (1500 - block + 1..=1500).contains(&wire),
                    "{mode:?} {plan:?} {wire}"
                );
            }
        }
    }
}

fn with_options_of(packet: &[u8], options: &[u8]) -> Vec<u8> {
    match options {
        [] => packet.to_vec(),
        _ => with_options(packet, options),
    }
}

#[test]
fn beet_shows_the_outer_addresses_only_and_gives_everything_else_back() {
    for plan in every_plan() {
        for inner_v6 in [false, true] {
            let ends = [Site(1).host(inner_v6), Site(2).host(inner_v6)];
            let (mut a, mut b) = linked(&plan, Mode::Beet, ends, |_| ());
            let mut packet = udp(ends[0], ends[1], (7, 8), b"bound end to end");
            if inner_v6 {
                // Traffic class and flow label.
                packet[..4].copy_from_slice(&[0x6b, 0x81, 0x23, 0x45]);
            } else {
                packet[1] = 0xb8;
                rechecksum(&mut packet);
            }
            let mut packets = vec![packet.clone()];
            if inner_v6 {
                packets.push(with_extensions(&packet, &[HOP_BY_HOP, OPTIONS]));
            } else {
                for count in (4..=40).step_by(4) {
                    packets.push(with_options(&packet, &vec![1; count]));
                }
            }
            for packet in &packets {
                a.from_inside(packet);
            }
            a.run();
            let wire = carry(&mut a, &mut b);
            for frame in &wire {
                let address = if inner_v6 {
                    ends[0].0.to_vec()
                } else {
                    ends[0].v4_bytes().to_vec()
                };
                assert!(!frame.windows(address.len()).any(|w| w == address));
                // Counted down once, like the inner header would have been.
                let hops = if plan.outer_v6 {
                    frame[14 + 7]
                } else {
                    frame[14 + 8]
                };
                assert_eq!(hops, 63);
            }
            b.run();
            let arrived = b.inside.drain();
            assert_eq!(arrived.len(), packets.len(), "{plan:?} {:?}", b.all_drops());
            for (arrived, sent) in arrived.iter().zip(&packets) {
                let mut expected = crate::packets::hops_later(sent, 2);
                if inner_v6 && !plan.outer_v6 {
                    // IPv4 has no flow label to carry.
                    expected[1] &= 0xf0;
                    expected[2..4].fill(0);
                }
                if !inner_v6 && plan.outer_v6 {
                    expected[4..6].fill(0);
                    rechecksum(&mut expected);
                }
                assert_eq!(arrived[14..], expected, "{plan:?}");
            }
            assert_eq!((a.all_drops(), b.all_drops()), (vec![], vec![]));
        }
    }
}

#[test]
fn beet_without_one_address_on_either_side_is_no_sa() {
    let plan = TunnelPlan::default();
    let ends = [Site(1).host(false), Site(2).host(false)];
    let (mut a, _b) = linked(&plan, Mode::Beet, ends, |r| {
        r.selector.remote_last = Address::v4([10, 2, 0, 9]);
    });
    a.from_inside(&udp(ends[0], ends[1], (1, 2), b"unbound"));
    a.run();
    assert_eq!(a.all_drops(), [(DropReason::BadSa, 1)]);
}

#[test]
fn a_pseudo_header_that_cannot_be_is_dropped() {
    let plan = TunnelPlan::default();
    let ends = [Site(1).host(false), Site(2).host(false)];
    let (mut a, _b) = linked(&plan, Mode::Beet, ends, |_| ());
    let sa = a.reader.sa(a.inbound()).unwrap();
    let bodies: [&[u8]; 5] = [
        // Cut short.
        &[17, 0],
        // Longer than the packet.
        &[17, 9, 0, 0, 1, 1, 1, 1],
        // Padding that is neither 0 nor 4, or more than there is.
        &[17, 0, 2, 0, 1, 1, 1, 1],
        &[17, 0, 8, 0, 1, 1, 1, 1],
        // More options than a header holds.
        &[17; 8 * 18],
    ];
    for (n, body) in (1..).zip(bodies) {
        let mut body = body.to_vec();
        let padding = (body.len() + 2).next_multiple_of(4) - body.len() - 2;
        body.extend(1..=padding as u8);
        body.extend([padding as u8, 94]);
        a.from_outside(&crate::packets::sealed(&sa, n, &body));
        a.run();
    }
    assert_eq!(a.all_drops(), [(DropReason::BadInner, 5)]);
    // And in IPv6 there is none at all.
    let ends = [Site(1).host(true), Site(2).host(true)];
    let (mut a, _b) = linked(&plan, Mode::Beet, ends, |_| ());
    let sa = a.reader.sa(a.inbound()).unwrap();
    let body = [17, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 94];
    a.from_outside(&crate::packets::sealed(&sa, 1, &body));
    a.run();
    assert_eq!(a.all_drops(), [(DropReason::BadNextHeader, 1)]);
}

#[test]
fn a_transport_packet_whose_headers_do_not_lead_to_esp_is_dropped() {
    // UDP encapsulation of a packet that says so itself: flags of the SA do not matter.
    let ends = outers(false);
    let plan = TunnelPlan {
        encap: true,
        ..TunnelPlan::default()
    };
    let (mut a, mut b) = linked(&plan, Mode::Transport, ends, |_| ());
    b.change_sa(b.inbound(), |r| r.flags = SaFlags::default());
    let packet = udp(ends[0], ends[1], (5, 6), b"either way");
    let (_, arrived) = exchange(&mut a, &mut b, std::slice::from_ref(&packet));
    assert_eq!(arrived, [packet]);
    // A fragment is no datagram.
    let mut piece = raw(ends[0], ends[1], 17, &[9; 64]);
    piece[6] = 0x20;
    rechecksum(&mut piece);
    a.from_host(&piece);
    a.run();
    assert_eq!(a.all_drops(), [(DropReason::Fragment, 1)]);
}
