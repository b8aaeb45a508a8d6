//! Our whole data path in memory, at the test's end of tunnels to a peer.

use crate::peers::sa::EspSa;
use crate::tunnel::Tunnel;
use adit_abi::{
    Action, Direction, Limits, Mode, Prefix, Protocol, RouteKind, SaFlags, SaRecord, SaRef,
    Selector, Spi,
};
use adit_dataplane::memory_gateway::{INSIDE, MemoryGateway, Site, TunnelPlan};
use std::net::IpAddr;
use zerocopy::FromZeros;

/// A gateway in memory with one PROTECT policy a tunnel.
pub struct DataPath(MemoryGateway);

impl DataPath {
    /// A gateway with these tunnels, their sequence numbers as they say.
    pub fn new(tunnels: &[Tunnel]) -> Self {
        let mut gateway = MemoryGateway::new(Site(1), &TunnelPlan::default());
        for (prefix, v6) in [("10.101.0.0", false), ("fd01::", true)] {
            let prefix = Prefix::new(prefix.parse().expect("an address"), 16);
            let prefix = prefix.expect("a prefix");
            gateway.add_route(prefix, RouteKind::Unicast, INSIDE, Site(1).host(v6));
        }
        for tunnel in tunnels {
            let Tunnel { here, there, .. } = *tunnel;
            let alone =
                |address: IpAddr| Prefix::new(address, if address.is_ipv4() { 32 } else { 128 });
            let ends = (alone(here), alone(there));
            let (Some(here), Some(there)) = ends else {
                unreachable!("whole addresses")
            };
            let selector = Selector::between(here, there);
            let mut add = |sa, direction| {
                let record = record(sa, direction, selector);
                publish(&mut gateway, &record, tunnel.before)
            };
            add(&tunnel.from_peer, Direction::Inbound);
            let outbound = add(&tunnel.to_peer, Direction::Outbound);
            let slot = gateway.add_policy(selector, 100, Action::Protect);
            gateway.policy.link(slot, Some(outbound));
        }
        gateway.refresh();
        Self(gateway)
    }

    /// What leaves outside when this IP packet comes from inside.
    ///
    /// # Errors
    /// If that is not exactly one packet.
    pub fn seal(&mut self, inner: &[u8]) -> Result<Vec<u8>, String> {
        self.0.from_inside(inner);
        self.0.run();
        let frames = self.0.outside.drain();
        self.only("sealing", frames)
    }

    /// What leaves inside when this IP packet comes from outside.
    ///
    /// # Errors
    /// If that is not exactly one packet.
    pub fn open(&mut self, outer: &[u8]) -> Result<Vec<u8>, String> {
        self.0.from_outside(outer);
        self.0.run();
        let frames = self.0.inside.drain();
        self.only("opening", frames)
    }

    fn only(&self, way: &str, mut frames: Vec<Vec<u8>>) -> Result<Vec<u8>, String> {
        match (frames.pop(), frames.len()) {
            (Some(frame), 0) => Ok(frame.get(14..).unwrap_or_default().to_vec()),
            (None, _) => Err(format!(
                "no packet came out of {way}; {} wait; drops: {:?}",
                self.0.worker.waiting(),
                self.0.all_drops()
            )),
            (_, more) => Err(format!("{} packets came out", more + 1)),
        }
    }
}

fn record(sa: &EspSa, direction: Direction, selector: Selector) -> SaRecord {
    let mut record = SaRecord::new_zeroed();
    record.spi = Spi(sa.spi);
    record.protocol = Protocol::Esp as u8;
    record.direction = direction as u8;
    record.mode = Mode::Tunnel as u8;
    record.set_suite(sa.suite);
    record.source = sa.src.into();
    record.destination = sa.dst.into();
    record.window = 1024;
    record.enc_key[..sa.enc.len()].copy_from_slice(&sa.enc);
    record.auth_key[..sa.auth.len()].copy_from_slice(&sa.auth);
    record.selector = selector;
    (record.soft, record.hard) = (Limits::default(), Limits::default());
    if sa.esn {
        record.flags = record.flags.with(SaFlags::ESN);
    }
    if let Some((source, destination)) = sa.udp {
        record.flags = record.flags.with(SaFlags::UDP_ENCAP);
        (record.encap_source, record.encap_destination) = (source, destination);
    }
    record
}

/// As steward and control do it, but with a sequence number that is not the first.
fn publish(gateway: &mut MemoryGateway, record: &SaRecord, before: u64) -> SaRef {
    let sa = gateway.policy.reserve_sa().expect("room for an SA");
    let state = gateway.state.sa(sa.slot).expect("a slot of the table");
    state.prepare(sa.generation, before);
    gateway
        .policy
        .publish_sa(sa, record)
        .expect("room for an SA");
    sa
}
