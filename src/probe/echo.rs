//! Echo requests as whole IP packets, and what comes back of them.

use std::net::IpAddr;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It came back.
    Back,
    /// It was refused, with the MTU that fits.
    TooBig(u16),
    /// Nothing was heard of it.
    Nothing,
}

/// A series of echo requests between two addresses of one family.
#[derive(Debug)]
pub struct Echo {
    from: IpAddr,
    to: IpAddr,
    id: u16,
    sequence: u16,
}

impl Echo {
    /// A series that is told from others' by `id`.
    pub fn new(from: IpAddr, to: IpAddr, id: u16) -> Self {
        Self {
            from,
            to,
            id,
            sequence: 0,
        }
    }

    /// Whom it asks.
    pub fn to(&self) -> IpAddr {
        self.to
    }

    /// The next request, an IP packet of `size` octets that nobody may cut.
    pub fn request(&mut self, size: u16) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut packet = match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                // The kernel writes identification and checksum.
                let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 1, 0, 0];
                ip[2..4].copy_from_slice(&size.to_be_bytes());
                ip.extend(from.octets());
                ip.extend(to.octets());
                ip
            }
            (from, to) => {
                let mut ip = vec![0x60, 0, 0, 0, 0, 0, 58, 64];
                ip[4..6].copy_from_slice(&size.saturating_sub(40).to_be_bytes());
                for address in [from, to] {
                    ip.extend(adit_abi::Address::from(address).0);
                }
                ip
            }
        };
        let head = packet.len();
        let kind = if self.to.is_ipv4() { 8 } else { 128 };
        packet.extend([kind, 0, 0, 0]);
        packet.extend(self.id.to_be_bytes());
        packet.extend(self.sequence.to_be_bytes());
        packet.resize(usize::from(size).max(packet.len()), 0);
        let (ip, message) = packet.split_at_mut(head);
        let pseudo = match self.to {
            IpAddr::V4(_) => 0,
            IpAddr::V6(_) => sum(&ip[8..40]) + message.len() as u32 + 58,
        };
        let checksum = !fold(sum(message) + pseudo);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        packet
    }

    /// What a message that was heard says about the last request; [`None`] if it is about something else.
    ///
    /// Of IPv4 it comes with its IP header, of IPv6 without, as raw sockets give it.
    pub fn answer(&self, heard: &[u8]) -> Option<Answer> {
        let (message, reply, too_big) = match self.to {
            IpAddr::V4(_) => {
                let header = usize::from(heard.first()? & 0xf) * 4;
                (heard.get(header..)?, 0, (3, 4))
            }
            IpAddr::V6(_) => (heard, 129, (2, 0)),
        };
        let (kind, code) = (*message.first()?, *message.get(1)?);
        if kind == reply {
            return self.is_last(message).then_some(Answer::Back);
        }
        if (kind, code) != too_big {
            return None;
        }
        let quoted = message.get(8..)?;
        let header = match self.to {
            IpAddr::V4(_) => usize::from(quoted.first()? & 0xf) * 4,
            IpAddr::V6(_) => 40,
        };
        if !self.is_last(quoted.get(header..)?) {
            return None;
        }
        Some(Answer::TooBig(u16::from_be_bytes(
            *message.get(6..)?.first_chunk()?,
        )))
    }

    fn is_last(&self, message: &[u8]) -> bool {
        let [a, b] = self.id.to_be_bytes();
        let [c, d] = self.sequence.to_be_bytes();
        message.get(4..8) == Some(&[a, b, c, d])
    }
}

/// The sum of 16-bit words (RFC 1071).
fn sum(bytes: &[u8]) -> u32 {
    bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo(v6: bool) -> Echo {
        match v6 {
            false => Echo::new([10, 1, 0, 1].into(), [10, 2, 0, 1].into(), 7),
            true => Echo::new("fd01::1".parse().unwrap(), "fd02::1".parse().unwrap(), 7),
        }
    }

    #[test]
    fn requests_are_whole_packets_with_right_checksums() {
        for v6 in [false, true] {
            let packet = echo(v6).request(1300);
            assert_eq!(packet.len(), 1300);
            let sliced = etherparse::SlicedPacket::from_ip(&packet).unwrap();
            match sliced.transport.unwrap() {
                etherparse::TransportSlice::Icmpv4(icmp) => {
                    let expected = icmp.icmp_type().calc_checksum(icmp.payload());
                    assert_eq!(icmp.checksum(), expected);
                    assert_eq!(packet[6], 0x40, "DF");
                }
                etherparse::TransportSlice::Icmpv6(icmp) => {
                    let address = |at: usize| packet[at..at + 16].try_into().unwrap();
                    assert!(icmp.is_checksum_valid(address(8), address(24)));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn only_the_last_request_is_answered() {
        for v6 in [false, true] {
            let mut echo = echo(v6);
            let (first, last) = (echo.request(600), echo.request(700));
            let header = if v6 { 40 } else { 20 };
            let reply = |request: &[u8]| {
                let mut heard = request.to_vec();
                heard[header] = if v6 { 129 } else { 0 };
                heard[if v6 { header } else { 0 }..].to_vec()
            };
            assert_eq!(echo.answer(&reply(&last)), Some(Answer::Back));
            assert_eq!(echo.answer(&reply(&first)), None);
            assert_eq!(
                echo.answer(&last[if v6 { header } else { 0 }..]),
                None,
                "its own echo"
            );
            let error = |about: &[u8]| {
                let mut heard = if v6 { Vec::new() } else { last[..20].to_vec() };
                heard.extend(if v6 {
                    [2, 0, 0, 0, 0, 0]
                } else {
                    [3, 4, 0, 0, 0, 0]
                });
                heard.extend(1400u16.to_be_bytes());
                heard.extend(&about[..about.len().min(100)]);
                heard
            };
            assert_eq!(echo.answer(&error(&last)), Some(Answer::TooBig(1400)));
            assert_eq!(echo.answer(&error(&first)), None);
            for n in 0..60 {
                let _ = echo.answer(&error(&last)[..n.min(40)]);
            }
        }
    }
}
