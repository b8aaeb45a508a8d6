//! scapy opens what we seal, and we open what scapy seals.

use crate::data_path::DataPath;
use crate::peers::sa::EspSa;
use crate::peers::scapy::{self, Oracle};
use crate::ping::{self, Echo};
use crate::tunnel::Tunnel;
use adit_abi::Suite;
use adit_dataplane::crypto::{Job, Keys, Provider, Transform};
use etherparse::{IpNumber, PacketBuilder};
use std::net::IpAddr;

/// Octets of echo data: every length of padding, nothing at all, and up to a full Ethernet frame.
const SIZES: [usize; 20] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 56, 1000, 1400,
];

/// Sequence numbers of an SA without ESN and of one with: first, last, and around the half's border.
fn sequences(esn: bool) -> &'static [u64] {
    match esn {
        false => &[1, 0x8000_0000, 0xffff_ffff],
        true => &[1, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0001, u64::MAX],
    }
}

#[test]
fn both_providers_and_scapy_open_each_others_packets() {
    let mut oracle = or_skip!(Oracle::start());
    let (src, dst): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
    for provider in [Provider::Reference, Provider::Fast] {
        for suite in Suite::each_esp_transform().filter(|suite| scapy::knows(*suite)) {
            for esn in [false, true] {
                let sa = EspSa {
                    esn,
                    ..EspSa::fresh(suite, 0x1234_5678, src, dst)
                };
                let (enc, auth) = (&sa.enc, &sa.auth);
                let transform = provider
                    .transform(suite, Keys { enc, auth }, esn)
                    .expect("keys of the right length");
                for (&sequence, size) in sequences(esn).iter().cycle().zip(SIZES) {
                    let case = format!("{provider:?} {suite} esn={esn} {sequence:#x} {size}");
                    agree(&mut oracle, &*transform, &sa, sequence, size)
                        .unwrap_or_else(|e| panic!("{case}: {e}"));
                }
            }
        }
    }
}

#[test]
fn the_data_path_and_scapy_open_each_others_packets() {
    let mut oracle = or_skip!(Oracle::start());
    for tunnels in [Tunnel::all(), Tunnel::all_in_udp()] {
        let mut data_path = DataPath::new(&tunnels);
        let known = tunnels.iter().filter(|t| scapy::knows(t.to_peer.suite));
        for tunnel in known {
            for (sequence, size) in (tunnel.before + 1..).zip([0, 1, 2, 3, 15, 56, 1352]) {
                exchange(&mut oracle, &mut data_path, tunnel, sequence, size)
                    .unwrap_or_else(|e| panic!("{}, {size} octets: {e}", tunnel.describe()));
            }
        }
    }
}

/// One packet each way. A gateway is a hop of the inner packet: before it at one end, behind it at the other.
fn exchange(
    oracle: &mut Oracle,
    data_path: &mut DataPath,
    tunnel: &Tunnel,
    sequence: u64,
    size: usize,
) -> Result<(), String> {
    let Tunnel { here, there, .. } = *tunnel;
    let echo = Echo::new(1, size);
    let high = (sequence >> 32) as u32;

    let sealed = data_path.seal(&ping::request(here, there, 64, &echo))?;
    let opened = oracle.open(&tunnel.to_peer, high, &sealed)?;
    assert_eq!(opened.inner, ping::request(here, there, 63, &echo));
    assert_eq!(opened.sequence, sequence);
    assert_eq!((opened.ttl, opened.ds), (64, 0));

    let sent = ping::request(there, here, 64, &echo);
    let theirs = oracle.seal(&tunnel.from_peer, sequence, &sent)?;
    let received = data_path.open(&theirs)?;
    assert_eq!(received, ping::request(there, here, 63, &echo));
    Ok(())
}

fn agree(
    oracle: &mut Oracle,
    transform: &dyn Transform,
    sa: &EspSa,
    sequence: u64,
    size: usize,
) -> Result<(), String> {
    let (here, there) = ([10, 1, 0, 1].into(), [10, 2, 0, 1].into());
    let inner = ping::request(here, there, 64, &Echo::new(1, size));
    let body = with_trailer(&inner, sa.suite.block());

    let mut esp = sa.spi.to_be_bytes().to_vec();
    esp.resize(8 + sa.suite.iv_len(), 0);
    esp.extend_from_slice(&body);
    esp.resize(esp.len() + sa.suite.icv_len(), 0);
    if !done(&mut esp, sequence, |jobs| transform.seal(jobs)) {
        return Err("not sealed".into());
    }
    let opened = oracle.open(sa, (sequence >> 32) as u32, &outer(sa, &esp))?;
    assert_eq!(opened.inner, inner);
    assert_eq!(opened.sequence, sequence);

    let mut theirs = oracle.seal(sa, sequence, &inner)?.split_off(20);
    if !done(&mut theirs, sequence, |jobs| transform.open(jobs)) {
        return Err("scapy's packet not opened".into());
    }
    let ends = 8 + sa.suite.iv_len()..theirs.len() - sa.suite.icv_len();
    assert_eq!(theirs[ends], body);
    Ok(())
}

/// The payload with padding, pad length and next header behind it (RFC 4303 §2.4).
fn with_trailer(inner: &[u8], block: usize) -> Vec<u8> {
    let padded = (inner.len() + 2).next_multiple_of(block);
    let pad = (padded - inner.len() - 2) as u8;
    let trailer = (1..=pad).chain([pad, IpNumber::IPV4.0]);
    inner.iter().copied().chain(trailer).collect()
}

fn done(packet: &mut [u8], sequence: u64, work: impl Fn(&mut [Job<'_>])) -> bool {
    let mut jobs = [Job::new(packet, sequence)];
    work(&mut jobs);
    jobs[0].ok
}

fn outer(sa: &EspSa, esp: &[u8]) -> Vec<u8> {
    let (IpAddr::V4(src), IpAddr::V4(dst)) = (sa.src, sa.dst) else {
        unreachable!("this test's outer packets are IPv4");
    };
    let mut packet = Vec::new();
    PacketBuilder::ipv4(src.octets(), dst.octets(), 64)
        .write(&mut packet, IpNumber::ENCAPSULATING_SECURITY_PAYLOAD, esp)
        .expect("writing to memory");
    packet
}
