//! The addresses, keys and settings of gateways in memory.

use std::net::IpAddr;

use adit_abi::{Address, Limits, Mode, Prefix, Protocol, SaFlags, SaRecord, Selector, Spi, Suite};
use zerocopy::FromZeros;

use crate::crypto::Provider;
use crate::frame::ChunkSize;

/// What the tunnel of [`MemoryGateway::pair`](super::MemoryGateway::pair) is like.
#[derive(Clone, Copy, Debug)]
pub struct TunnelPlan {
    /// The suite of both SAs.
    pub suite: Suite,
    /// Extended sequence numbers.
    pub esn: bool,
    /// UDP encapsulation.
    pub encap: bool,
    /// IPv6 outside.
    pub outer_v6: bool,
    /// Anti-replay window.
    pub window: u16,
    /// Who computes.
    pub provider: Provider,
    /// Size of the frames.
    pub chunk: ChunkSize,
    /// Frames of the worker.
    pub frames: u32,
}

impl Default for TunnelPlan {
    fn default() -> Self {
        Self {
            suite: Suite::AES128_GCM16,
            esn: false,
            encap: false,
            outer_v6: false,
            window: 1024,
            provider: Provider::default(),
            chunk: ChunkSize::K2,
            frames: 192,
        }
    }
}

/// Which of two gateways: it fixes the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site(pub u8);

impl Site {
    /// The network inside: `10.N.0.0/24` or `2001:db8:N::/64`.
    pub fn network(self, v6: bool) -> Prefix {
        let length = if v6 { 64 } else { 24 };
        Prefix::new(IpAddr::from(self.host(v6)), length)
            .unwrap_or(Prefix::from_mapped(Address::UNSPECIFIED, 0))
    }

    /// A host inside: `10.N.0.2` or `2001:db8:N::2`.
    pub fn host(self, v6: bool) -> Address {
        self.inside(v6, 2)
    }

    /// The gateway's address inside: `10.N.0.1` or `2001:db8:N::1`.
    pub fn gateway(self, v6: bool) -> Address {
        self.inside(v6, 1)
    }

    fn inside(self, v6: bool, last: u8) -> Address {
        if v6 {
            v6_address(self.0, last)
        } else {
            Address::v4([10, self.0, 0, last])
        }
    }

    /// The gateway's address outside: `192.0.2.N` or `2001:db8:ff::N`.
    pub fn outer(self, v6: bool) -> Address {
        if v6 {
            v6_address(0xff, self.0)
        } else {
            Address::v4([192, 0, 2, self.0])
        }
    }

    /// Ethernet address of a port.
    pub fn mac(self, port: u8) -> [u8; 6] {
        [0x02, 0xad, 0x17, 0, self.0, port]
    }

    /// The other of two gateways.
    #[must_use]
    pub fn peer(self) -> Self {
        Self(3 - self.0.min(2))
    }
}

fn v6_address(net: u8, last: u8) -> Address {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8, 0, net]);
    bytes[15] = last;
    Address::v6(bytes)
}

/// An SA of a tunnel between two sites, with fresh random keys. Its direction is still to be set; the
/// selector is the one of `Direction::Outbound` or `Direction::Inbound` alike, as seen from each end.
///
/// # Panics
/// When the system gives no random octets.
pub fn tunnel_sa(plan: &TunnelPlan, spi: Spi, from: Site, to: Site) -> SaRecord {
    let mut record = SaRecord::new_zeroed();
    record.spi = spi;
    record.protocol = if plan.suite.is_ah() {
        Protocol::Ah
    } else {
        Protocol::Esp
    } as u8;
    record.mode = Mode::Tunnel as u8;
    record.set_suite(plan.suite);
    record.source = from.outer(plan.outer_v6);
    record.destination = to.outer(plan.outer_v6);
    record.window = plan.window;
    if plan.esn {
        record.flags = record.flags.with(SaFlags::ESN);
    }
    if plan.encap {
        record.flags = record.flags.with(SaFlags::UDP_ENCAP);
        (record.encap_source, record.encap_destination) = (4500, 4500);
    }
    getrandom::fill(&mut record.enc_key).expect("random octets");
    getrandom::fill(&mut record.auth_key).expect("random octets");
    let any = Prefix::from_mapped(Address::UNSPECIFIED, 0);
    record.selector = Selector::between(any, any);
    (record.soft, record.hard) = (Limits::default(), Limits::default());
    record
}
