//! What passes the outside wire: two `tcpdump`s in the middle of it, one for each direction, and a reader for what they wrote.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use super::process::{self, Daemon};
use super::wait::{self, Look};
use super::{LabError, Side, Topology, flow};

/// A running capture of the outside wire, both directions.
#[derive(Debug)]
pub struct WireCapture {
    taps: [(Daemon, PathBuf); 2],
}

impl WireCapture {
    /// Starts capturing the first `octets` of every frame; 0 for whole frames. `name` goes into the file names, in the lab's directory.
    ///
    /// # Errors
    /// [`LabError::Usage`] if the lab's wire is not tapped, [`LabError`] if `tcpdump` cannot be run.
    pub fn start(topology: &Topology, name: &str, octets: u32) -> Result<Self, LabError> {
        process::require("tcpdump", "tcpdump")?;
        let wire = topology.wire().ok_or_else(|| {
            LabError::Usage(
                "this lab's outside wire is not tapped: build it with Shape::tapped".into(),
            )
        })?;
        let tap = |side: Side| {
            let file = topology
                .dir()
                .join(format!("{name}-from-{}.pcap", side.gateway()));
            let log = file.with_extension("log");
            let mut tcpdump = Daemon::start(
                format!("tcpdump of {}", side.gateway()),
                &log,
                wire.command("tcpdump")
                    // Only what comes in from that gateway: each frame is seen once, and its sender is known.
                    .args(["-i", &format!("to-{}", side.gateway()), "-Q", "in"])
                    .args(["-n", "-U", "--immediate-mode", "-Z", "root"])
                    .args(["-s", &octets.to_string()])
                    // KiB; the default of 2 MiB overflows when the machine's two cores are busy.
                    .args(["-B", "65536"])
                    .arg("-w")
                    .arg(&file),
            )?;
            wait::until("tcpdump to listen", Duration::from_secs(5), || {
                tcpdump.check_alive()?;
                Ok(Look::at(tcpdump.log_text().contains("listening on")))
            })?;
            Ok::<_, LabError>((tcpdump, file))
        };
        Ok(WireCapture {
            taps: [tap(Side::A)?, tap(Side::B)?],
        })
    }

    /// The frames that the gateway of `side` has sent so far.
    ///
    /// # Errors
    /// [`LabError`] if the file cannot be read.
    pub fn so_far(&self, side: Side) -> Result<Vec<Frame>, LabError> {
        read(&self.taps[side as usize].1)
    }

    /// Ends the capture and gives everything that passed.
    ///
    /// # Errors
    /// [`LabError::Output`] if frames escaped the capture: nothing can be concluded from it then.
    pub fn stop(self) -> Result<Captured, LabError> {
        let mut frames = Vec::new();
        let mut files = Vec::new();
        for (tcpdump, file) in self.taps {
            let log = tcpdump.log().to_owned();
            tcpdump.stop_by(Signal::INT)?;
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            if !said
                .lines()
                .any(|line| line == "0 packets dropped by kernel")
            {
                return Err(LabError::Output {
                    program: "tcpdump",
                    why: "it did not see every frame".into(),
                    output: said,
                });
            }
            frames.push(read(&file)?);
            files.push(file);
        }
        let mut frames = frames.into_iter();
        Ok(Captured {
            from_a: frames.next().unwrap_or_default(),
            from_b: frames.next().unwrap_or_default(),
            files,
        })
    }
}

/// What passed the outside wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// Frames sent by gw-a, in order.
    pub from_a: Vec<Frame>,
    /// Frames sent by gw-b, in order.
    pub from_b: Vec<Frame>,
    /// The capture files, gw-a's first.
    pub files: Vec<PathBuf>,
}

impl Captured {
    /// All frames, gw-a's first.
    pub fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.from_a.iter().chain(&self.from_b)
    }

    /// How many frames are of the kind that `pick` says.
    pub fn count(&self, pick: impl Fn(&Kind) -> bool) -> usize {
        self.frames().filter(|frame| pick(&frame.kind())).count()
    }

    /// The frames that show what policy protects.
    pub fn clear(&self) -> Vec<&Frame> {
        self.frames()
            .filter(|frame| frame.kind() == Kind::Clear)
            .collect()
    }
}

/// One captured Ethernet frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// When it passed, since the epoch.
    pub at: Duration,
    /// Its first octets, from the destination MAC address on.
    pub octets: Vec<u8>,
}

/// What a frame on the outside wire is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ESP, by itself or in UDP 4500, with its SPI and the low half of its sequence number.
    Esp {
        /// Security Parameters Index.
        spi: u32,
        /// The sequence number's low 32 bits.
        sequence: u32,
        /// Within UDP.
        udp: bool,
    },
    /// A NAT keepalive (RFC 3948 §2.3).
    Keepalive,
    /// A packet from or to a host of the lab, or a payload of a [`flow`], that anyone on the wire can read.
    Clear,
    /// What the gateways say for themselves: ARP, neighbour discovery, their own connections.
    Own,
}

impl Frame {
    /// What it is.
    pub fn kind(&self) -> Kind {
        if holds(&self.octets, flow::MARKER) {
            return Kind::Clear;
        }
        self.ip_kind().unwrap_or(Kind::Own)
    }

    fn ip_kind(&self) -> Option<Kind> {
        let ethertype = u16::from_be_bytes(*self.octets.get(12..)?.first_chunk()?);
        let packet = self.octets.get(14..)?;
        let (protocol, body, inner) = match ethertype {
            0x0800 => {
                let header = usize::from(packet.first()? & 15) * 4;
                let addresses = [packet.get(12..14)?, packet.get(16..18)?];
                let inner = addresses.iter().any(|a| matches!(a, [10, 1 | 2]));
                (*packet.get(9)?, packet.get(header..)?, inner)
            }
            0x86dd => {
                let addresses = [packet.get(8..10)?, packet.get(24..26)?];
                let inner = addresses.iter().any(|a| matches!(a, [0xfd, 1 | 2]));
                (*packet.get(6)?, packet.get(40..)?, inner)
            }
            _ => return None,
        };
        if inner {
            return Some(Kind::Clear);
        }
        match protocol {
            50 => esp(body, false),
            17 => {
                let ports = [body.get(0..2)?, body.get(2..4)?];
                if !ports.contains(&&4500u16.to_be_bytes()[..]) {
                    return None;
                }
                let datagram = body.get(8..)?;
                let length = u16::from_be_bytes(*body.get(4..)?.first_chunk()?);
                if length == 9 && datagram.first() == Some(&0xff) {
                    return Some(Kind::Keepalive);
                }
                esp(datagram, true).filter(|kind| !matches!(kind, Kind::Esp { spi: 0, .. }))
            }
            _ => None,
        }
    }
}

fn esp(body: &[u8], udp: bool) -> Option<Kind> {
    Some(Kind::Esp {
        spi: u32::from_be_bytes(*body.first_chunk()?),
        sequence: u32::from_be_bytes(*body.get(4..)?.first_chunk()?),
        udp,
    })
}

fn holds(octets: &[u8], pattern: &[u8]) -> bool {
    octets
        .windows(pattern.len())
        .any(|window| window == pattern)
}

/// Reads a pcap file; a record that is not complete yet ends it.
fn read(file: &Path) -> Result<Vec<Frame>, LabError> {
    let octets =
        std::fs::read(file).map_err(|e| LabError::io(format!("read {}", file.display()), e))?;
    parse_pcap(&octets).ok_or_else(|| LabError::Output {
        program: "tcpdump",
        why: format!("{} is no little-endian Ethernet pcap file", file.display()),
        output: String::new(),
    })
}

/// The frames of a pcap file: 24 octets of header, then records of seconds, microseconds, captured and original length, octets.
fn parse_pcap(octets: &[u8]) -> Option<Vec<Frame>> {
    let word = |at: usize| Some(u32::from_le_bytes(*octets.get(at..)?.first_chunk()?));
    if word(0)? != 0xa1b2_c3d4 || word(20)? != 1 {
        return None;
    }
    let mut frames = Vec::new();
    let mut at = 24;
    while let (Some(seconds), Some(micros), Some(length)) = (word(at), word(at + 4), word(at + 8)) {
        let start = at + 16;
        let Some(frame) = octets.get(start..start.saturating_add(length as usize)) else {
            break;
        };
        frames.push(Frame {
            at: Duration::new(seconds.into(), micros.saturating_mul(1000)),
            octets: frame.to_vec(),
        });
        at = start + frame.len();
    }
    Some(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(ethertype: u16, packet: &[u8]) -> Frame {
        let mut octets = vec![2; 12];
        octets.extend(ethertype.to_be_bytes());
        octets.extend(packet);
        Frame {
            at: Duration::ZERO,
            octets,
        }
    }

    fn ipv4(protocol: u8, source: [u8; 4], body: &[u8]) -> Frame {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
        packet.extend(source);
        packet.extend([192, 0, 2, 2]);
        packet.extend(body);
        frame(0x0800, &packet)
    }

    #[test]
    fn esp_is_told_by_protocol_and_by_udp_port() {
        let body = [0, 0, 1, 0, 0, 0, 0, 7, 9, 9];
        let kind = |udp| Kind::Esp {
            spi: 256,
            sequence: 7,
            udp,
        };
        assert_eq!(ipv4(50, [192, 0, 2, 1], &body).kind(), kind(false));
        let mut datagram = vec![0x11, 0x94, 0x11, 0x94, 0, 18, 0, 0];
        datagram.extend(body);
        assert_eq!(ipv4(17, [192, 0, 2, 1], &datagram).kind(), kind(true));
    }

    #[test]
    fn a_hosts_packet_is_clear_and_so_is_a_flows_payload_anywhere() {
        assert_eq!(ipv4(1, [10, 1, 0, 2], &[8, 0]).kind(), Kind::Clear);
        assert_eq!(ipv4(1, [192, 0, 2, 1], flow::MARKER).kind(), Kind::Clear);
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, 58, 64];
        packet.extend([0xfd, 2]);
        packet.extend([0; 40]);
        assert_eq!(frame(0x86dd, &packet).kind(), Kind::Clear);
    }

    #[test]
    fn a_keepalive_and_the_gateways_own_packets_are_neither() {
        let keepalive = [0x11, 0x94, 0x11, 0x94, 0, 9, 0, 0, 0xff];
        assert_eq!(ipv4(17, [192, 0, 2, 1], &keepalive).kind(), Kind::Keepalive);
        let ike = [
            0x11, 0x94, 0x11, 0x94, 0, 20, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,
        ];
        assert_eq!(ipv4(17, [192, 0, 2, 1], &ike).kind(), Kind::Own);
        assert_eq!(ipv4(6, [192, 0, 2, 1], &[0; 20]).kind(), Kind::Own);
        assert_eq!(frame(0x0806, &[0; 28]).kind(), Kind::Own);
        assert_eq!(frame(0x0800, &[0x45]).kind(), Kind::Own);
    }

    #[test]
    fn a_pcap_file_that_is_still_growing_gives_its_whole_records() {
        let mut file = Vec::new();
        for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 262_144, 1, 5, 6, 3, 60] {
            file.extend(word.to_le_bytes());
        }
        file.extend([1, 2, 3]);
        let whole = parse_pcap(&file).expect("a pcap file");
        assert_eq!(whole.len(), 1);
        assert_eq!(whole[0].at, Duration::new(5, 6000));
        assert_eq!(whole[0].octets, [1, 2, 3]);
        for word in [5u32, 7, 100, 100] {
            file.extend(word.to_le_bytes());
        }
        assert_eq!(parse_pcap(&file).expect("a pcap file").len(), 1);
        assert_eq!(parse_pcap(&file[..10]), None);
    }
}
