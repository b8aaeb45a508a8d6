//! Traffic through a tunnel between two gateways.

use adit_abi::{Suite, WorkerCounter};
use adit_dataplane::crypto::Provider;
use adit_dataplane::memory_gateway::{MemoryGateway, Site, TunnelPlan};

use crate::packets::{hops_later, ping, udp};

/// Moves what `from` sent outside to `to`; returns the frames.
pub fn carry(from: &mut MemoryGateway, to: &mut MemoryGateway) -> Vec<Vec<u8>> {
    let frames = from.outside.drain();
    for frame in &frames {
        to.from_outside(&frame[14..]);
    }
    frames
}

pub fn every_plan() -> impl Iterator<Item = TunnelPlan> {
    let flags = [false, true];
    const ALL: &[u8] = &[0, 1, 2, 3, 4, 5, 6, 7];
    Suite::each_esp_transform()
        .enumerate()
        .flat_map(move |(k, suite)| {
            // Every mix for two suites, two opposite ones for each of the others.
            let mixes = match suite {
                Suite::AES128_GCM16 | Suite::AES128_SHA256 => ALL.to_vec(),
                _ => vec![k as u8 % 8, !k as u8 % 8],
            };
            [Provider::Reference, Provider::Fast]
                .into_iter()
                .flat_map(move |provider| {
                    mixes.clone().into_iter().map(move |n| TunnelPlan {
                        suite,
                        provider,
                        esn: flags[usize::from(n & 1)],
                        encap: flags[usize::from(n >> 1 & 1)],
                        outer_v6: flags[usize::from(n >> 2 & 1)],
                        ..TunnelPlan::default()
                    })
                })
        })
}

#[test]
fn every_suite_family_mix_and_encapsulation_carries_packets_both_ways() {
    for plan in every_plan() {
        let (mut a, mut b) = MemoryGateway::pair(&plan);
        for v6 in [false, true] {
            let (host_a, host_b) = (Site(1).host(v6), Site(2).host(v6));
            let there: Vec<_> = (0..70u16)
                .map(|n| {
                    if n % 2 == 0 {
                        ping(host_a, host_b, n)
                    } else {
                        udp(
                            host_a,
                            host_b,
                            (n, 53),
                            &vec![n as u8 | 0x80; 16 + usize::from(n) * 7],
                        )
                    }
                })
                .collect();
            let back: Vec<_> = (0..3).map(|n| ping(host_b, host_a, n)).collect();
            for (from, to, packets) in [(0, 1, &there), (1, 0, &back)] {
                let [from, to] = if (from, to) == (0, 1) {
                    [&mut a, &mut b]
                } else {
                    [&mut b, &mut a]
                };
                for packet in packets {
                    from.from_inside(packet);
                }
                assert_eq!(from.run(), packets.len());
                let sealed = carry(from, to);
                assert_eq!(
                    sealed.len(),
                    packets.len(),
                    "{plan:?} {:?}",
                    from.all_drops()
                );
                for (sealed, packet) in sealed.iter().zip(packets).take(4) {
                    let clear = &packet[packet.len() - 16..];
                    assert_eq!(
                        sealed.windows(clear.len()).any(|w| w == clear),
                        !plan.suite.encryption().unwrap().is_confidential(),
                        "clear text outside"
                    );
                }
                to.run();
                let opened = to.inside.drain();
                assert_eq!(opened.len(), packets.len(), "{plan:?} {:?}", to.all_drops());
                for (opened, packet) in opened.iter().zip(packets) {
                    assert_eq!(opened[14..], hops_later(packet, 2), "{plan:?}");
                }
            }
        }
        assert_eq!(a.all_drops(), []);
        assert_eq!(b.all_drops(), []);
        assert_eq!(a.counter(WorkerCounter::Sealed), 140);
        assert_eq!(b.counter(WorkerCounter::Opened), 140);
        assert_eq!((a.umem.strays(), b.umem.strays()), (0, 0));
    }
}
