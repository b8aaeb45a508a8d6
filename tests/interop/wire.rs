//! IP packets on the wire between a test and the Linux guest.

use crate::peers::guest::{GUEST_MAC, Guest};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The test's own MAC address.
pub const TEST_MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];

/// Sends a whole IP packet.
pub fn send(guest: &Guest, packet: &[u8]) {
    let v4 = packet.first().is_some_and(|octet| octet >> 4 == 4);
    let kind: [u8; 2] = if v4 { [0x08, 0x00] } else { [0x86, 0xdd] };
    guest.send(&[&GUEST_MAC[..], &TEST_MAC, &kind, packet].concat());
}

/// The next packet between these addresses, all others passed over; `None` if none comes in 10 seconds.
pub fn receive(guest: &Guest, src: IpAddr, dst: IpAddr) -> Option<Vec<u8>> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let frame = guest.receive(deadline)?;
        let packet = frame.get(14..).unwrap_or_default();
        let (wanted, found) = match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                ([src.octets(), dst.octets()].concat(), packet.get(12..20))
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                ([src.octets(), dst.octets()].concat(), packet.get(8..40))
            }
            _ => panic!("{src} and {dst} are of two families"),
        };
        if found == Some(&wanted[..]) {
            return Some(packet.to_vec());
        }
    }
}
