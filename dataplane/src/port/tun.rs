//! A port over a TUN device: packets of this host itself, to and from its own network stack.
//!
//! The device carries bare IP packets. So that everything above sees one shape, a received packet gets
//! an Ethernet header with made-up addresses, and what is sent loses its header again.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use adit_abi::open_tun;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, read, write};

use super::{Port, PortStatistics};
use crate::frame::{Burst, Stock};

/// The address that received frames are for: this port's own, as it were.
pub const PORT_MAC: [u8; 6] = [0x02, b'a', b'd', b'i', b't', 1];

/// The address that received frames are from, and frames to the host's stack may be for.
pub const HOST_MAC: [u8; 6] = [0x02, b'a', b'd', b'i', b't', 2];

const ETHERNET: usize = 14;
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];

/// A port over a TUN device.
pub struct TunPort {
    fd: OwnedFd,
    statistics: PortStatistics,
}

impl TunPort {
    /// A port over the device `name`; see [`open_tun`].
    ///
    /// # Errors
    /// As for [`open_tun`].
    pub fn open(name: &str) -> io::Result<TunPort> {
        TunPort::from_fd(open_tun(name)?)
    }

    /// A port over an open TUN device without packet information (IFF_NO_PI).
    ///
    /// # Errors
    /// What making the descriptor non-blocking says.
    pub fn from_fd(fd: OwnedFd) -> io::Result<TunPort> {
        fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
        Ok(TunPort {
            fd,
            statistics: PortStatistics::default(),
        })
    }
}

/// The type of an Ethernet frame with this packet; `None` if it is neither IPv4 nor IPv6.
fn ethertype(packet: &[u8]) -> Option<[u8; 2]> {
    match packet.first()? >> 4 {
        4 => Some(IPV4),
        6 => Some(IPV6),
        _ => None,
    }
}

impl Port for TunPort {
    fn receive(&mut self, stock: &mut Stock, burst: &mut Burst) -> usize {
        let before = burst.len();
        while !burst.is_full() {
            let Some(mut frame) = stock.take() else {
                self.statistics.fill_ring_empty += 1;
                break;
            };
            let room = frame.tailroom();
            // All of the room there is always fits.
            let _ = frame.grow_back(room);
            let (header, space) = frame.bytes_mut().split_at_mut(ETHERNET);
            let length = match read(&self.fd, &mut *space) {
                Ok(length) => length,
                Err(error) => {
                    if error != Errno::AGAIN {
                        self.statistics.transient_errors += 1;
                    }
                    stock.put(frame);
                    break;
                }
            };
            let Some(ethertype) = ethertype(&space[..length]) else {
                stock.put(frame);
                if length == 0 {
                    break;
                }
                self.statistics.receive_dropped += 1;
                continue;
            };
            header[..6].copy_from_slice(&PORT_MAC);
            header[6..12].copy_from_slice(&HOST_MAC);
            header[12..].copy_from_slice(&ethertype);
            frame.shrink_back(room - ETHERNET - length);
            self.statistics.received += 1;
            self.statistics.received_bytes += frame.len() as u64;
            burst.push(frame);
        }
        burst.len() - before
    }

    fn transmit(&mut self, burst: &mut Burst, stock: &mut Stock) -> usize {
        let mut taken = 0;
        for frame in burst.iter() {
            let packet = match frame.bytes().split_at_checked(ETHERNET) {
                Some((header, packet)) if ethertype(packet).is_some_and(|t| header[12..] == t) => {
                    packet
                }
                _ => {
                    self.statistics.invalid_descriptors += 1;
                    taken += 1;
                    continue;
                }
            };
            match write(&self.fd, packet) {
                Ok(_) => {
                    self.statistics.sent += 1;
                    self.statistics.sent_bytes += frame.len() as u64;
                }
                Err(Errno::AGAIN) => break,
                // The device is down, say. Such a packet is lost as it would be on a wire.
                Err(_) => self.statistics.transient_errors += 1,
            }
            taken += 1;
        }
        for frame in burst.drain(..taken) {
            stock.put(frame);
        }
        taken
    }

    fn reclaim(&mut self, _stock: &mut Stock) {}

    fn flush(&mut self) {}

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }

    fn statistics(&self) -> PortStatistics {
        self.statistics
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;
    use crate::frame::{ChunkSize, HugePages, Umem};

    /// A port whose device is one end of a socket pair: one read or write, one packet, as with TUN.
    fn port() -> (TunPort, OwnedFd, Stock) {
        let (device, host) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::empty(),
            None,
        )
        .unwrap();
        let umem = Umem::new(4, ChunkSize::K2, HugePages::Off).unwrap();
        (TunPort::from_fd(device).unwrap(), host, umem.stock(4))
    }

    #[test]
    fn a_packet_from_the_host_arrives_with_an_ethernet_header() {
        let (mut port, host, mut stock) = port();
        let mut burst = Burst::new();
        assert_eq!(port.receive(&mut stock, &mut burst), 0);
        write(&host, b"\x45 version four").unwrap();
        write(&host, b"\x00 no version").unwrap();
        write(&host, b"\x60 version six").unwrap();
        assert_eq!(port.receive(&mut stock, &mut burst), 2);
        assert_eq!(
            burst[0].bytes(),
            b"\x02adit\x01\x02adit\x02\x08\x00\x45 version four"
        );
        assert_eq!(
            burst[1].bytes(),
            b"\x02adit\x01\x02adit\x02\x86\xdd\x60 version six"
        );
        assert!(burst[0].headroom() >= 128);
        assert_eq!(port.statistics().receive_dropped, 1);
        assert_eq!(stock.len(), 2);
    }

    #[test]
    fn a_frame_to_the_host_loses_its_ethernet_header() {
        let (mut port, host, mut stock) = port();
        let mut burst = Burst::new();
        for bytes in [
            b"............\x08\x00\x45 packet".as_slice(),
            b"............\x86\xdd\x45 packet of another version",
            b"............\x08\x06\x45 not IP",
            b"............\x08",
        ] {
            let mut frame = stock.take().unwrap();
            assert!(frame.fill(bytes));
            burst.push(frame);
        }
        assert_eq!(port.transmit(&mut burst, &mut stock), 4);
        assert!(burst.is_empty());
        assert_eq!(stock.len(), 4);
        let mut buffer = [0; 64];
        let length = read(&host, &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"\x45 packet");
        let statistics = port.statistics();
        assert_eq!((statistics.sent, statistics.invalid_descriptors), (1, 3));
    }

    #[test]
    fn a_dry_stock_leaves_packets_with_the_kernel() {
        let (mut port, host, mut stock) = port();
        write(&host, b"\x45 packet").unwrap();
        let mut burst = Burst::new();
        let held: Vec<_> = std::iter::from_fn(|| stock.take()).collect();
        assert_eq!(port.receive(&mut stock, &mut burst), 0);
        held.into_iter().for_each(|frame| stock.put(frame));
        assert_eq!(port.receive(&mut stock, &mut burst), 1);
    }
}
