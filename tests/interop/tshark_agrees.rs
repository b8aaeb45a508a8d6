//! tshark decrypts a capture of what we seal, and finds every ICV right.

use crate::data_path::DataPath;
use crate::peers::tshark::{self, Verdict, decrypt, write_capture};
use crate::ping::{self, Echo};
use crate::tunnel::Tunnel;
use std::path::Path;

#[test]
fn tshark_decrypts_what_the_data_path_seals() {
    for (name, mut tunnels) in [("plain", Tunnel::all()), ("udp", Tunnel::all_in_udp())] {
        tunnels.retain(|tunnel| tshark::knows(&tunnel.to_peer));
        let mut data_path = DataPath::new(&tunnels);
        let mut packets = Vec::new();
        let mut expected = Vec::new();
        for tunnel in &tunnels {
            for (sequence, size) in (1_u32..).zip([0, 3, 56, 1352]) {
                let inner = ping::request(tunnel.here, tunnel.there, 64, &Echo::new(1, size));
                let sealed = data_path.seal(&inner);
                packets.push(sealed.unwrap_or_else(|e| panic!("{}: {e}", tunnel.describe())));
                expected.push((tunnel, sequence));
            }
        }
        let capture = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sealed-{name}.pcap"));
        write_capture(&capture, &packets);
        let sas: Vec<_> = tunnels.iter().map(|t| t.to_peer.clone()).collect();
        let verdicts = or_skip!(decrypt(&capture, &sas));
        assert_eq!(verdicts.len(), expected.len());
        for ((tunnel, sequence), verdict) in expected.iter().zip(&verdicts) {
            check(tunnel, *sequence, verdict);
        }
    }
}

fn check(tunnel: &Tunnel, sequence: u32, verdict: &Verdict) {
    let case = format!("{}: {verdict:?}", tunnel.describe());
    assert_eq!(verdict.icv_good, Some(true), "{case}");
    assert_eq!(verdict.spi, Some(tunnel.to_peer.spi), "{case}");
    assert_eq!(verdict.sequence, Some(sequence), "{case}");
    let ends = (tunnel.here, tunnel.there);
    assert!(verdict.addresses.contains(&ends), "{case}");
    assert!(verdict.layers.contains("icmp"), "{case}");
}
