//! scapy, tshark and the Linux kernel understand each other's ESP.

use crate::peers::guest::{Guest, Link};
use crate::peers::scapy::{self, Oracle};
use crate::peers::tshark::{self, decrypt, write_capture};
use crate::ping::{self, Echo};
use crate::tunnel::{Tunnel, setup};
use crate::wire;
use std::path::Path;

#[test]
fn scapy_opens_what_it_seals() {
    let report = or_skip!(scapy::self_test());
    assert_eq!(report.trim(), "288 packets sealed and opened");
}

#[test]
fn tshark_decrypts_what_scapy_seals_and_says_when_the_icv_is_wrong() {
    let mut oracle = or_skip!(Oracle::start());
    let mut packets = Vec::new();
    let mut tunnels = Tunnel::all();
    tunnels.retain(|t| tshark::knows(&t.to_peer) && scapy::knows(t.to_peer.suite));
    for tunnel in &tunnels {
        let inner = ping::request(tunnel.here, tunnel.there, 64, &Echo::new(1, 56));
        let mut sealed = oracle.seal(&tunnel.to_peer, 1, &inner).expect("sealing");
        packets.push(sealed.clone());
        if let Some(octet) = sealed.last_mut() {
            *octet ^= 1;
        }
        packets.push(sealed);
    }
    let capture = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scapy.pcap");
    write_capture(&capture, &packets);
    let sas: Vec<_> = tunnels.iter().map(|t| t.to_peer.clone()).collect();
    let verdicts = or_skip!(decrypt(&capture, &sas));
    assert_eq!(verdicts.len(), packets.len());
    for (tunnel, pair) in tunnels.iter().zip(verdicts.chunks(2)) {
        let case = format!("{}: {pair:?}", tunnel.describe());
        let [good, spoilt] = pair else { unreachable!() };
        assert_eq!(good.icv_good, Some(true), "{case}");
        assert_eq!(good.spi, Some(tunnel.to_peer.spi), "{case}");
        assert_eq!(good.sequence, Some(1), "{case}");
        let pair = (tunnel.here, tunnel.there);
        assert!(good.addresses.contains(&pair), "{case}");
        assert!(good.layers.contains("icmp"), "{case}");
        assert_eq!(spoilt.icv_good, Some(false), "{case}");
    }
}

#[test]
fn the_linux_kernel_answers_pings_that_scapy_seals() {
    let mut oracle = or_skip!(Oracle::start());
    let mut tunnels = Tunnel::all();
    tunnels.retain(|tunnel| scapy::knows(tunnel.to_peer.suite));
    let mut guest = or_skip!(Guest::boot("scapy", &Link::Test, &setup(&tunnels)));
    for tunnel in &tunnels {
        // Across the border between the halves of the number where there is one.
        for step in 1..=3 {
            let (sequence, echo) = (tunnel.before + step, Echo::new(step as u16, 56));
            let inner = ping::request(tunnel.here, tunnel.there, 64, &echo);
            let outer = oracle.seal(&tunnel.to_peer, sequence, &inner);
            wire::send(&guest, &outer.expect("sealing"));
            let Tunnel { from_peer, .. } = tunnel;
            let Some(answer) = wire::receive(&guest, from_peer.src, from_peer.dst) else {
                let counters = guest.must("cat /proc/net/xfrm_stat; ip -s xfrm state list nokeys");
                panic!("{}: no reply; {counters}", tunnel.describe());
            };
            let high = (sequence >> 32) as u32;
            let opened = oracle.open(from_peer, high, &answer);
            let opened = opened.unwrap_or_else(|e| panic!("{}: {e}", tunnel.describe()));
            assert_eq!(opened.sequence, sequence, "{}", tunnel.describe());
            let reply = ping::reply(&opened.inner);
            let expected = (tunnel.there, tunnel.here, echo);
            assert_eq!(reply, Some(expected), "{}", tunnel.describe());
        }
    }
    let (status, output) = guest.run("echo gone; exit 7");
    assert_eq!((status, output.as_str()), (7, "gone\n"));
}
