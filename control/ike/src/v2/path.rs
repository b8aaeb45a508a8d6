//! Where an IKE SA's messages run, and whether a NAT lies in between (RFC 7296 §2.23).

use std::net::{IpAddr, SocketAddr};

use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

use crate::endpoint::{Encap, Outer};
use crate::wire::IkeSpi;
use crate::wire::v2::{Notify, NotifyType, Payload};

/// Two ends, and the NATs between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// This end is behind a NAT.
    pub nat_here: bool,
    /// The peer is behind a NAT.
    pub nat_there: bool,
    /// ESP goes in UDP: for a NAT's sake, or because a connection wants it.
    pub encap: bool,
}

impl Path {
    pub const fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            local,
            remote,
            nat_here: false,
            nat_there: false,
            encap: false,
        }
    }

    /// The way of the child SAs' packets.
    pub fn outer(&self) -> Outer {
        Outer {
            local: self.local.ip(),
            remote: self.remote.ip(),
            encap: self.encap.then_some(Encap {
                local: self.local.port(),
                remote: self.remote.port(),
            }),
            //= RFC 3948 §4: who is behind the NAT keeps its mapping alive
            keepalive: self.encap && self.nat_here,
        }
    }

    /// Changes to the ports of encapsulated traffic.
    //= RFC 7296 §2.23: once a NAT is found, and for MOBIKE from the start, everything goes by port 4500
    pub fn float(&mut self, nat_port: u16, first_port: u16) {
        self.local.set_port(nat_port);
        if self.remote.port() == first_port {
            self.remote.set_port(nat_port);
        }
    }

    /// Compares what the peer saw of the addresses with what we see.
    pub fn detect_nat(&mut self, spis: (IkeSpi, IkeSpi), notifies: &[Notify]) {
        let of = |kind| notifies.iter().filter(move |n| n.kind == kind);
        let fits = |n: &Notify, address| bool::from(n.data[..].ct_eq(&hash(spis, address)));
        let mut sources = of(NotifyType::NatDetectionSourceIp).peekable();
        let mut destinations = of(NotifyType::NatDetectionDestinationIp).peekable();
        //= RFC 7296 §2.23: the peer may send several hashes of its source; one that fits is enough
        self.nat_there = sources.peek().is_some() && !sources.any(|n| fits(n, self.remote));
        self.nat_here = destinations.peek().is_some() && !destinations.any(|n| fits(n, self.local));
        self.encap |= self.nat_here || self.nat_there;
    }

    /// What we see of the addresses, for the peer to compare; with `forced` it will believe in a NAT.
    pub fn detection_payloads(&self, spis: (IkeSpi, IkeSpi), forced: bool) -> [Payload; 2] {
        let source = if forced {
            // No address has this hash: the peer then encapsulates, as strongSwan's `encap` does it.
            [0; HASH_LEN]
        } else {
            hash(spis, self.local)
        };
        let notify = |kind, data: [u8; HASH_LEN]| Payload::Notify(Notify::new(kind, data));
        [
            notify(NotifyType::NatDetectionSourceIp, source),
            notify(
                NotifyType::NatDetectionDestinationIp,
                hash(spis, self.remote),
            ),
        ]
    }
}

const HASH_LEN: usize = 20;

//= RFC 7296 §2.23: SHA-1 of the SPIs as in the header, the address and the port
fn hash((spi_i, spi_r): (IkeSpi, IkeSpi), address: SocketAddr) -> [u8; HASH_LEN] {
    let mut sha = Sha1::new();
    sha.update(spi_i.0);
    sha.update(spi_r.0);
    match address.ip() {
        IpAddr::V4(a) => sha.update(a.octets()),
        IpAddr::V6(a) => sha.update(a.octets()),
    }
    sha.update(address.port().to_be_bytes());
    sha.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notifies(payloads: [Payload; 2]) -> Vec<Notify> {
        let notify = |p| match p {
            Payload::Notify(n) => n,
            _ => unreachable!(),
        };
        payloads.into_iter().map(notify).collect()
    }

    #[test]
    fn a_nat_is_seen_on_the_side_it_stands() {
        let (a, b): (SocketAddr, SocketAddr) = (
            "192.0.2.1:500".parse().unwrap(),
            "[2001:db8::2]:500".parse().unwrap(),
        );
        let outside: SocketAddr = "198.51.100.1:1024".parse().unwrap();
        let spis = (IkeSpi([1; 8]), IkeSpi::ZERO);
        let from_a = notifies(Path::new(a, b).detection_payloads(spis, false));

        let mut straight = Path::new(b, a);
        straight.detect_nat(spis, &from_a);
        assert!(!straight.nat_here && !straight.nat_there && !straight.encap);

        let mut translated = Path::new(b, outside);
        translated.detect_nat(spis, &from_a);
        assert!(!translated.nat_here && translated.nat_there && translated.encap);
        assert!(!translated.outer().keepalive);

        let mut inside = Path::new(outside, a);
        inside.detect_nat(spis, &from_a);
        assert!(inside.nat_here && !inside.nat_there && inside.outer().keepalive);

        let mut silent = Path::new(b, outside);
        silent.detect_nat(spis, &[]);
        assert!(!silent.encap, "a peer that sends no hashes knows no NATs");

        let forced = notifies(Path::new(a, b).detection_payloads(spis, true));
        let mut path = Path::new(b, a);
        path.detect_nat(spis, &forced);
        assert!(path.nat_there && path.encap);
    }
}
