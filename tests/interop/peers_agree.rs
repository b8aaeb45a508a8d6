//! scapy, tshark and the Linux kernel understand each other's ESP.

use crate::peers::guest::{GUEST_MAC, Guest, Link};
use crate::peers::sa::EspSa;
use crate::peers::scapy::{self, Oracle};
use crate::peers::tshark::{self, decrypt, write_capture};
use crate::ping::{self, Echo};
use adit_abi::Suite;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, Instant};

const TEST_MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];

/// Outer addresses of the test and of the guest, in each family.
const OUTER: [(IpAddr, IpAddr); 2] = [
    (
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)),
    ),
    (
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2)),
    ),
];

/// One tunnel between the test and the guest, with inner addresses of its own.
struct Tunnel {
    to_guest: EspSa,
    from_guest: EspSa,
    here: IpAddr,
    there: IpAddr,
    /// The last sequence number in use before the first ping, in both directions.
    before: u64,
}

impl Tunnel {
    /// Every suite, each mix of families, without ESN and with ESN about to go beyond 32 bits.
    fn all() -> Vec<Self> {
        let mut tunnels = Vec::new();
        for suite in Suite::ALL {
            for (here, there) in OUTER {
                for inner_v6 in [false, true] {
                    for esn in [false, true] {
                        let number = u16::try_from(tunnels.len()).expect("few tunnels");
                        let spi = 0x1000 + u32::from(number) * 2;
                        let sa = |spi, src, dst| EspSa {
                            esn,
                            ..EspSa::fresh(suite, spi, src, dst)
                        };
                        let inner = |side: u8| match inner_v6 {
                            false => IpAddr::from([10, side, number.to_be_bytes()[1], 1]),
                            true => {
                                IpAddr::from([0xfd00 | u16::from(side), 0, 0, 0, 0, 0, number, 1])
                            }
                        };
                        tunnels.push(Self {
                            to_guest: sa(spi, here, there),
                            from_guest: sa(spi + 1, there, here),
                            here: inner(1),
                            there: inner(2),
                            before: if esn { 0xffff_fffe } else { 0 },
                        });
                    }
                }
            }
        }
        tunnels
    }

    /// What the guest's `ip -batch` makes of this tunnel.
    fn iproute(&self) -> String {
        let Self { here, there, .. } = self;
        let policy = |sa: &EspSa, src, dst, direction| {
            let (outer_src, outer_dst, spi) = (sa.src, sa.dst, sa.spi);
            format!(
                "xfrm policy add src {src} dst {dst} dir {direction} \
                 tmpl src {outer_src} dst {outer_dst} proto esp spi {spi:#x} mode tunnel\n"
            )
        };
        [
            format!("addr add {there} dev lo\n"),
            self.to_guest.iproute(self.before),
            self.from_guest.iproute(self.before),
            policy(&self.to_guest, here, there, "in"),
            policy(&self.from_guest, there, here, "out"),
        ]
        .concat()
    }

    fn describe(&self) -> String {
        let Self { to_guest: sa, .. } = self;
        let esn = if sa.esn { " with ESN" } else { "" };
        format!("{}{esn}, {} in {}", sa.suite, self.here, sa.src)
    }
}

#[test]
fn scapy_opens_what_it_seals() {
    let report = or_skip!(scapy::self_test());
    assert_eq!(report.trim(), "112 packets sealed and opened");
}

#[test]
fn tshark_decrypts_what_scapy_seals_and_says_when_the_icv_is_wrong() {
    let mut oracle = or_skip!(Oracle::start());
    let mut packets = Vec::new();
    let mut tunnels = Tunnel::all();
    tunnels.retain(|t| tshark::knows(&t.to_guest));
    for tunnel in &tunnels {
        let inner = ping::request(tunnel.here, tunnel.there, &echo(1));
        let mut sealed = oracle.seal(&tunnel.to_guest, 1, &inner).expect("sealing");
        packets.push(sealed.clone());
        if let Some(octet) = sealed.last_mut() {
            *octet ^= 1;
        }
        packets.push(sealed);
    }
    let capture = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scapy.pcap");
    write_capture(&capture, &packets);
    let sas: Vec<_> = tunnels.iter().map(|t| t.to_guest.clone()).collect();
    let verdicts = or_skip!(decrypt(&capture, &sas));
    assert_eq!(verdicts.len(), packets.len());
    for (tunnel, pair) in tunnels.iter().zip(verdicts.chunks(2)) {
        let case = format!("{}: {pair:?}", tunnel.describe());
        let [good, spoilt] = pair else { unreachable!() };
        assert_eq!(good.icv_good, Some(true), "{case}");
        assert_eq!(good.spi, Some(tunnel.to_guest.spi), "{case}");
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
    let tunnels = Tunnel::all();
    let mut guest = or_skip!(Guest::boot("scapy", &Link::Test, &setup(&tunnels)));
    for tunnel in &tunnels {
        // Across the border between the halves of the number where there is one.
        for step in 1..=3 {
            let (sequence, echo) = (tunnel.before + step, echo(step as u16));
            let inner = ping::request(tunnel.here, tunnel.there, &echo);
            let outer = oracle.seal(&tunnel.to_guest, sequence, &inner);
            guest.send(&ethernet(&outer.expect("sealing")));
            let Some(answer) = next_from(&guest, &tunnel.from_guest) else {
                let counters = guest.must("cat /proc/net/xfrm_stat; ip -s xfrm state");
                panic!("{}: no reply; {counters}", tunnel.describe());
            };
            let high = (sequence >> 32) as u32;
            let opened = oracle.open(&tunnel.from_guest, high, &answer);
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

fn echo(seq: u16) -> Echo {
    Echo {
        id: 0x1d1d,
        seq,
        data: (0..56).collect(),
    }
}

/// The guest's addresses, routes, SAs and policies.
fn setup(tunnels: &[Tunnel]) -> String {
    let mac = TEST_MAC.map(|octet| format!("{octet:02x}")).join(":");
    let mut script = String::from("ip link set eth0 up\nip -batch - <<END || exit 1\n");
    for (here, there) in OUTER {
        let len = if here.is_ipv4() { 24 } else { 64 };
        script += &format!(
            "addr add {there}/{len} dev eth0\n\
             neigh add {here} lladdr {mac} dev eth0 nud permanent\n\
             route add default via {here}\n"
        );
    }
    for tunnel in tunnels {
        script += &tunnel.iproute();
    }
    script + "END\n"
}

fn ethernet(packet: &[u8]) -> Vec<u8> {
    let v4 = packet.first().is_some_and(|octet| octet >> 4 == 4);
    let kind: [u8; 2] = if v4 { [0x08, 0x00] } else { [0x86, 0xdd] };
    [&GUEST_MAC[..], &TEST_MAC, &kind, packet].concat()
}

/// The next packet with the outer addresses of this SA; noise of the guest's own is passed over.
fn next_from(guest: &Guest, sa: &EspSa) -> Option<Vec<u8>> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let frame = guest.receive(deadline)?;
        let packet = frame.get(14..).unwrap_or_default();
        let ends = match sa.src {
            IpAddr::V4(_) => packet.get(12..20).map(<[u8]>::to_vec),
            IpAddr::V6(_) => packet.get(8..40).map(<[u8]>::to_vec),
        };
        let wanted = match (sa.src, sa.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => [src.octets(), dst.octets()].concat(),
            (IpAddr::V6(src), IpAddr::V6(dst)) => [src.octets(), dst.octets()].concat(),
            _ => unreachable!("an SA has one outer family"),
        };
        if ends.is_some_and(|ends| ends == wanted) {
            return Some(packet.to_vec());
        }
    }
}
