//! Sealed packets that arrive in fragments are put together before they are opened.

use adit_abi::{DropReason, WorkerCounter};
use adit_dataplane::frame::ChunkSize;
use adit_dataplane::memory_gateway::{MemoryGateway, Site, TunnelPlan};
use adit_dataplane::reassembly::handoff::seats;

use crate::packets::{body, ping, raw, rechecksum, sealed, udp, udp_of};

/// Cuts an IP packet before each of these places of its payload, the way a router or a host does.
pub fn cut(packet: &[u8], places: &[usize], id: u16) -> Vec<Vec<u8>> {
    let v4 = packet[0] >> 4 == 4;
    let (header, payload) = packet.split_at(if v4 { 20 } else { 40 });
    let mut edges = vec![0];
    edges.extend_from_slice(places);
    edges.push(payload.len());
    let piece = |range: std::ops::Range<usize>| {
        let last = range.end == payload.len();
        let mut out = header.to_vec();
        if v4 {
            let field = (range.start / 8) as u16 | if last { 0 } else { 0x2000 };
            out[4..6].copy_from_slice(&id.to_be_bytes());
            out[6..8].copy_from_slice(&field.to_be_bytes());
            out[2..4].copy_from_slice(&(20 + range.len() as u16).to_be_bytes());
        } else {
            let field = range.start as u16 | u16::from(!last);
            let [a, b] = field.to_be_bytes();
            let [c, d] = id.to_be_bytes();
            out.extend_from_slice(&[out[6], 0, a, b, 0, 0, c, d]);
            out[6] = 44;
            out[4..6].copy_from_slice(&(8 + range.len() as u16).to_be_bytes());
        }
        out.extend_from_slice(&payload[range]);
        if v4 {
            rechecksum(&mut out);
        }
        out
    };
    edges.windows(2).map(|w| piece(w[0]..w[1])).collect()
}

fn plan(encap: bool, outer_v6: bool) -> TunnelPlan {
    TunnelPlan {
        encap,
        outer_v6,
        ..TunnelPlan::default()
    }
}

/// A packet of this size for the host behind `a`, sealed by its peer.
fn arriving(a: &MemoryGateway, sequence: u64, size: usize) -> (Vec<u8>, Vec<u8>) {
    let inner = udp_of(Site(2).host(false), Site(1).host(false), size);
    let sa = a.reader.sa(a.inbound()).unwrap();
    let packet = sealed(&sa, sequence, &body(&inner));
    (inner, packet)
}

/// What came out inside, without Ethernet and TTL.
fn inside(a: &mut MemoryGateway) -> Vec<Vec<u8>> {
    let frames = a.inside.drain();
    frames.iter().map(|f| f[14 + 20..].to_vec()).collect()
}

#[test]
fn fragments_in_any_order_and_interleaved_are_opened_once_whole() {
    for (encap, v6) in [(false, false), (true, false), (false, true), (true, true)] {
        let (mut a, _b) = MemoryGateway::pair(&plan(encap, v6));
        let (one, first) = arriving(&a, 1, 1500);
        let (two, second) = arriving(&a, 2, 900);
        let first = cut(&first, &[640, 1280], 1);
        let second = cut(&second, &[512], 2);
        for piece in [&second[1], &first[2], &first[0], &second[0], &first[1]] {
            a.from_outside(piece);
            a.run();
        }
        // The second was complete before the first.
        let got = inside(&mut a);
        assert_eq!(
            got,
            [&two[20..], &one[20..]],
            "{encap} {v6}: {:?}",
            a.all_drops()
        );
        assert_eq!(a.counter(WorkerCounter::Reassembled), 2);
        assert_eq!(a.all_drops(), []);
    }
}

#[test]
fn held_fragments_take_no_frames() {
    let (mut a, _b) = MemoryGateway::pair(&plan(false, false));
    let free = a.worker.free_frames();
    for n in 0..500 {
        let (_, packet) = arriving(&a, 1, 1500);
        a.from_outside(&cut(&packet, &[1000], n)[0]);
        a.run();
    }
    assert_eq!(a.worker.free_frames(), free);
    // One source has its own bound, whoever forged its address; the newest are those that stay.
    let (inner, packet) = arriving(&a, 1, 1500);
    for piece in cut(&packet, &[1000], 9999) {
        a.from_outside(&piece);
    }
    a.run();
    assert_eq!(inside(&mut a), [&inner[20..]]);
    assert!(a.drops(DropReason::ReassemblyFull) > 300);
}

#[test]
fn forged_sources_do_not_crowd_out_a_peer() {
    let (mut a, _b) = MemoryGateway::pair(&plan(false, false));
    let (inner, packet) = arriving(&a, 1, 1500);
    let pieces = cut(&packet, &[1000], 1);
    a.from_outside(&pieces[0]);
    a.run();
    for n in 0..5000u32 {
        let mut forged = pieces[0].clone();
        forged[12..16].copy_from_slice(&(0x0b00_0001 + n).to_be_bytes());
        rechecksum(&mut forged);
        a.from_outside(&forged);
        a.run();
    }
    a.from_outside(&pieces[1]);
    a.run();
    assert_eq!(inside(&mut a), [&inner[20..]], "{:?}", a.all_drops());
    assert!(a.drops(DropReason::ReassemblyFull) > 4000);
}

#[test]
fn a_whole_packet_has_to_fit_a_frame() {
    for (chunk, fits, too_big) in [(ChunkSize::K2, 1700, 1800), (ChunkSize::K4, 3700, 3900)] {
        let plan = TunnelPlan {
            chunk,
            ..TunnelPlan::default()
        };
        let (mut a, _b) = MemoryGateway::pair(&plan);
        a.change_port(adit_dataplane::memory_gateway::INSIDE, |port| {
            port.mtu = 4000
        });
        a.refresh();
        let (inner, packet) = arriving(&a, 1, fits);
        for piece in cut(&packet, &[1480], 1) {
            for piece in if piece.len() > 1500 {
                cut_again(&piece)
            } else {
                vec![piece]
            } {
                a.from_outside(&piece);
            }
        }
        a.run();
        assert_eq!(inside(&mut a), [&inner[20..]], "{:?}", a.all_drops());
        let (_, packet) = arriving(&a, 2, too_big);
        let places: Vec<_> = (1..packet.len() / 1480 + 1)
            .map(|n| n * 1480)
            .filter(|n| *n < packet.len() - 20)
            .collect();
        let pieces = cut(&packet, &places, 2);
        let count = pieces.len() as u64;
        for piece in &pieces {
            a.from_outside(piece);
        }
        a.run();
        let big = a.drops(DropReason::ReassembledTooBig) + a.drops(DropReason::BadFragment);
        assert_eq!(big, count, "{:?}", a.all_drops());
        assert!(a.drops(DropReason::ReassembledTooBig) > 0);
    }
}

/// Cuts a later fragment into two.
fn cut_again(piece: &[u8]) -> Vec<Vec<u8>> {
    let place = u16::from_be_bytes([piece[6], piece[7]]);
    let mut pieces = cut(piece, &[1480], u16::from_be_bytes([piece[4], piece[5]]));
    for (n, out) in pieces.iter_mut().enumerate() {
        let more = if n == 0 { 0x2000 } else { place & 0x2000 };
        let field = ((place & 0x1fff) + n as u16 * 185) | more;
        out[6..8].copy_from_slice(&field.to_be_bytes());
        rechecksum(out);
    }
    pieces
}

#[test]
fn fragments_of_ike_and_of_clear_traffic_go_on_one_by_one() {
    for v6 in [false, true] {
        let (mut a, _b) = MemoryGateway::pair(&plan(true, v6));
        let (from, to) = (Site(2).outer(v6), Site(1).outer(v6));
        let message = [&[0; 4][..], &[7; 3000]].concat();
        let marked = cut(&udp(from, to, (4500, 4500), &message), &[1000, 2000], 1);
        let plain = cut(&udp(from, to, (500, 500), &message), &[1000, 2000], 2);
        // The last first: nothing of it moves before the ports are known.
        a.from_outside(&marked[2]);
        a.run();
        assert!(a.host.drain().is_empty());
        for piece in [&marked[0], &marked[1], &plain[0], &plain[1], &plain[2]] {
            a.from_outside(piece);
        }
        a.run();
        assert_eq!(a.host.drain().len(), 6, "{:?}", a.all_drops());
        // In clear to an own address: the kernel's too, as if it had come whole.
        let other = cut(&udp(from, to, (53, 3000), &message), &[1000, 2000], 3);
        for piece in other.iter().rev() {
            a.from_outside(piece);
        }
        a.run();
        assert_eq!(a.host.drain().len(), 3, "{:?}", a.all_drops());
        // Unless policies have to do with its ports, which only the first fragment shows.
        let mut selector = adit_abi::Selector::between(all(v6), all(v6));
        (selector.protocol, selector.local_ports) = (17, adit_abi::PortRange::one(3000));
        a.add_policy(selector, 1, adit_abi::Action::Protect);
        a.refresh();
        for piece in cut(&udp(from, to, (53, 3000), &message), &[1000, 2000], 4) {
            a.from_outside(&piece);
        }
        a.run();
        assert_eq!(a.all_drops(), [(DropReason::ClearUnderProtect, 3)]);
    }
}

fn all(v6: bool) -> adit_abi::Prefix {
    let any = adit_abi::Address::v4([0; 4]);
    match v6 {
        true => adit_abi::Prefix::from_mapped(adit_abi::Address::UNSPECIFIED, 0),
        false => adit_abi::Prefix::from_mapped(any, 96),
    }
}

#[test]
fn overlap_gives_up_the_whole_and_what_is_still_to_come() {
    for v6 in [false, true] {
        let (mut a, _b) = MemoryGateway::pair(&plan(false, v6));
        let (_, packet) = arriving(&a, 1, 1500);
        let good = cut(&packet, &[800, 1200], 1);
        let evil = cut(&packet, &[792, 1200], 1);
        for piece in [&good[0], &evil[1], &good[1], &good[2]] {
            a.from_outside(piece);
        }
        a.run();
        assert!(a.inside.drain().is_empty());
        let expected = [
            (DropReason::BadFragment, 2),
            (DropReason::FragmentOverlap, 2),
        ];
        assert_eq!(a.all_drops(), expected);
        // Another identification is another datagram.
        for piece in cut(&packet, &[800], 2) {
            a.from_outside(&piece);
        }
        a.run();
        assert_eq!(a.inside.drain().len(), 1);
    }
}

#[test]
fn somebody_elses_fragments_are_ordinary_traffic() {
    let (mut a, _b) = MemoryGateway::pair(&TunnelPlan::default());
    let any = adit_abi::Prefix::from_mapped(adit_abi::Address::UNSPECIFIED, 0);
    let all = adit_abi::Selector::between(any, any);
    a.add_policy(all, 1, adit_abi::Action::Bypass);
    a.refresh();
    let from = adit_abi::Address::v4([198, 51, 100, 1]);
    for protocol in [50, 51] {
        for piece in cut(
            &raw(from, Site(1).host(false), protocol, &[9; 640]),
            &[320],
            1,
        ) {
            a.from_outside(&piece);
        }
    }
    a.run();
    assert_eq!(a.inside.drain().len(), 4, "{:?}", a.all_drops());
}

#[test]
fn fragments_on_the_queues_of_two_workers_come_together() {
    let (mut a, _b) = MemoryGateway::pair(&TunnelPlan::default());
    let (mut other, [mut other_inside, mut other_outside, _host]) = a.another_worker(1);
    let mut seats = seats(2).unwrap().into_iter();
    a.worker.sit(seats.next().unwrap());
    other.sit(seats.next().unwrap());
    let mut whole = 0;
    for n in 0..20 {
        let (_, packet) = arriving(&a, n + 1, 1500);
        let pieces = cut(&packet, &[1000], n as u16);
        a.from_outside(&pieces[0]);
        let ethernet = [&a.site.mac(1)[..], &[2, 0, 0, 0, 0, 9, 8, 0]].concat();
        assert!(other_outside.inject(&[&ethernet[..], &pieces[1]].concat()));
        for _ in 0..3 {
            a.run();
            other.turn(a.now);
        }
        whole += a.inside.drain().len() + other_inside.drain().len();
    }
    assert_eq!(whole, 20);
    let count = |n: usize, c| a.state.worker(n).value(c);
    assert!(count(0, WorkerCounter::Reassembled) > 0 && count(1, WorkerCounter::Reassembled) > 0);
    let handed = count(0, WorkerCounter::HandedOver) + count(1, WorkerCounter::HandedOver);
    assert_eq!(handed, 20);
}

#[test]
fn pings_survive_the_smallest_pieces() {
    let (mut a, _b) = MemoryGateway::pair(&TunnelPlan::default());
    let sa = a.reader.sa(a.inbound()).unwrap();
    let inner = ping(Site(2).host(false), Site(1).host(false), 1);
    let packet = sealed(&sa, 1, &body(&inner));
    let places: Vec<_> = (1..(packet.len() - 20).div_ceil(8))
        .map(|n| n * 8)
        .collect();
    for piece in cut(&packet, &places, 1).iter().rev() {
        a.from_outside(piece);
    }
    a.run();
    assert_eq!(a.inside.drain().len(), 1, "{:?}", a.all_drops());
}
