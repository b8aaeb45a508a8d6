//! Tunnels between the test and a peer, one for each thing that can differ.

use crate::peers::sa::EspSa;
use crate::wire::TEST_MAC;
use adit_abi::Suite;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Outer addresses of the test and of the peer, in each family: those of the gateways in memory.
const OUTER: [(IpAddr, IpAddr); 2] = [
    (
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)),
    ),
    (
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 1)),
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 2)),
    ),
];

/// Suites of the tunnels in UDP.
const UDP: [Suite; 3] = [
    Suite::AES128_GCM16,
    Suite::CHACHA20_POLY1305,
    Suite::AES128_SHA256,
];

/// One tunnel between the test and the peer, with inner addresses of its own.
pub struct Tunnel {
    /// The SA that the test seals by.
    pub to_peer: EspSa,
    /// The SA that the peer seals by.
    pub from_peer: EspSa,
    /// The test's inner address.
    pub here: IpAddr,
    /// The peer's inner address.
    pub there: IpAddr,
    /// The last sequence number in use before the first packet, in both directions.
    pub before: u64,
}

impl Tunnel {
    /// Every transform, the families inside and outside, without ESN and with ESN about to go beyond 32 bits.
    pub fn all() -> Vec<Self> {
        Self::all_in(None)
    }

    /// Some of them in UDP, the peer behind a NAT that has changed its port.
    pub fn all_in_udp() -> Vec<Self> {
        Self::all_in(Some((4500, 40_123)))
    }

    fn all_in(udp: Option<(u16, u16)>) -> Vec<Self> {
        let back = udp.map(|(here, there)| (there, here));
        let mut tunnels = Vec::new();
        // What is in UDP does not depend on the suite but for its length.
        let suites =
            Suite::each_esp_transform().filter(|suite| udp.is_none() || UDP.contains(suite));
        for (n, suite) in suites.enumerate() {
            for (here, there) in OUTER {
                for esn in [false, true] {
                    // Each suite meets every family inside and outside; two of them every mix.
                    let inner_v6 = esn ^ here.is_ipv6() ^ (n % 2 == 1);
                    let number = u16::try_from(tunnels.len()).expect("few tunnels");
                    let spi = 0x1000 + u32::from(number) * 2;
                    let sa = |spi, src, dst, udp| EspSa {
                        esn,
                        udp,
                        ..EspSa::fresh(suite, spi, src, dst)
                    };
                    let inner = |side: u8| match inner_v6 {
                        false => IpAddr::from([10, 100 + side, number.to_be_bytes()[1], 1]),
                        true => IpAddr::from([0xfd00 | u16::from(side), 0, 0, 0, 0, 0, number, 1]),
                    };
                    tunnels.push(Self {
                        to_peer: sa(spi, here, there, udp),
                        from_peer: sa(spi + 1, there, here, back),
                        here: inner(1),
                        there: inner(2),
                        before: if esn { 0xffff_fffe } else { 0 },
                    });
                }
            }
        }
        tunnels
    }

    /// What the guest's `ip -batch` makes of this tunnel.
    fn iproute(&self) -> String {
        let (here, there) = (self.here.to_string(), self.there.to_string());
        [
            format!("addr add {there} dev lo\n"),
            self.to_peer.iproute(self.before),
            self.from_peer.iproute(self.before),
            self.to_peer.iproute_policy("in", &here, &there),
            self.from_peer.iproute_policy("out", &there, &here),
        ]
        .concat()
    }

    /// For messages.
    pub fn describe(&self) -> String {
        let Self { to_peer: sa, .. } = self;
        let esn = if sa.esn { " with ESN" } else { "" };
        let udp = if sa.udp.is_some() { " and UDP" } else { "" };
        format!("{}{esn}, {} in {}{udp}", sa.suite, self.here, sa.src)
    }
}

/// A script that gives the Linux guest its addresses, routes, SAs and policies.
pub fn setup(tunnels: &[Tunnel]) -> String {
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
