//! What `ethtool` shows and sets, over generic netlink: receive queues in use, and offloads that spoil frames.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use netlink_packet_core::{DefaultNla, Emitable, NlasIterator};
use rustix::net::netlink::GENERIC;

use super::socket::{self, DATAGRAM, HEADER};

const GENERIC_HEADER: usize = 4;

// <linux/netlink.h> and <linux/genetlink.h>.
const ERROR: u16 = 2;
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const NESTED: u16 = 0x8000;
const CONTROLLER: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

// <linux/ethtool_netlink.h>.
const FEATURES_SET: u8 = 12;
const CHANNELS_GET: u8 = 17;
const HEADER_ATTRIBUTE: u16 = 1;
const DEVICE_INDEX: u16 = 1;
const HEADER_FLAGS: u16 = 3;
const OMIT_REPLY: u32 = 2;
const FEATURES_WANTED: u16 = 3;
const BITSET_BITS: u16 = 3;
const BITSET_BIT: u16 = 1;
const BIT_NAME: u16 = 2;
const CHANNELS_RX: u16 = 6;
const CHANNELS_COMBINED: u16 = 9;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// A socket for the kernel's ethtool family.
pub struct Ethtool {
    fd: OwnedFd,
    family: u16,
    sequence: u32,
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let nla = DefaultNla::new(kind, value.to_vec());
    let mut out = vec![0; nla.buffer_len()];
    nla.emit(&mut out);
    out
}

fn nest(kind: u16, parts: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | NESTED, &parts.concat())
}

fn text(value: &str) -> Vec<u8> {
    [value.as_bytes(), &[0]].concat()
}

fn attributes(bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    NlasIterator::new(bytes)
        .map_while(Result::ok)
        .map(|nla| (nla.kind() & !NESTED, nla.value().to_vec()))
        .collect()
}

impl Ethtool {
    /// Finds the family.
    ///
    /// # Errors
    /// When the kernel has none.
    pub fn open() -> io::Result<Self> {
        let mut this = Self {
            fd: socket::open(Some(GENERIC), 0)?,
            family: CONTROLLER,
            sequence: 0,
        };
        let name = attribute(FAMILY_NAME, &text("ethtool"));
        let answer = this.ask(GET_FAMILY, &name)?;
        this.family = attributes(&answer)
            .iter()
            .find(|(kind, _)| *kind == FAMILY_ID)
            .and_then(|(_, value)| value.first_chunk())
            .map(|bytes| u16::from_ne_bytes(*bytes))
            .ok_or(io::ErrorKind::InvalidData)?;
        Ok(this)
    }

    /// Receive queues that an interface uses now.
    ///
    /// # Errors
    /// When the driver does not say.
    pub fn receive_queues(&mut self, ifindex: u32) -> io::Result<u32> {
        let answer = self.ask(CHANNELS_GET, &header(ifindex, 0))?;
        let n = attributes(&answer)
            .iter()
            .filter(|(kind, _)| matches!(*kind, CHANNELS_RX | CHANNELS_COMBINED))
            .filter_map(|(_, value)| value.first_chunk())
            .fold(0u32, |n, bytes| {
                n.saturating_add(u32::from_ne_bytes(*bytes))
            });
        if n == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(n)
    }

    /// Switches an offload off, by the name that `ethtool -k` shows it under in the kernel.
    ///
    /// # Errors
    /// When the driver cannot, or the kernel does not know it.
    pub fn switch_off(&mut self, ifindex: u32, feature: &str) -> io::Result<()> {
        // A bit that is named without a value is cleared.
        let bit = nest(BITSET_BIT, &[attribute(BIT_NAME, &text(feature))]);
        let wanted = nest(FEATURES_WANTED, &[nest(BITSET_BITS, &[bit])]);
        let body = [header(ifindex, OMIT_REPLY), wanted].concat();
        self.ask(FEATURES_SET, &body).map(|_| ())
    }

    /// Sends a request and gives the attributes of the answer, which are none where there is only an
    /// acknowledgement.
    fn ask(&mut self, command: u8, body: &[u8]) -> io::Result<Vec<u8>> {
        self.sequence += 1;
        let length = HEADER + GENERIC_HEADER + body.len();
        let mut message = Vec::with_capacity(length);
        message.extend((length as u32).to_ne_bytes());
        message.extend(self.family.to_ne_bytes());
        message.extend((REQUEST | ACKNOWLEDGE).to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend([0; 4]);
        message.extend([command, 1, 0, 0]);
        message.extend(body);
        socket::send(&self.fd, &message)?;
        let deadline = Instant::now() + PATIENCE;
        let mut answer = Vec::new();
        let mut buffer = vec![0; DATAGRAM];
        loop {
            socket::wait(&self.fd, deadline)?;
            let Some(datagram) = socket::take(&self.fd, &mut buffer)? else {
                continue;
            };
            for one in socket::split(datagram) {
                match Answer::read(one, self.sequence) {
                    Answer::Other => {}
                    Answer::Body(body) => answer = body.to_vec(),
                    Answer::Error(0) => return Ok(answer),
                    Answer::Error(code) => return Err(io::Error::from_raw_os_error(code)),
                }
            }
        }
    }
}

enum Answer<'a> {
    /// To somebody else's question, or cut off.
    Other,
    Body(&'a [u8]),
    /// 0 is an acknowledgement.
    Error(i32),
}

impl<'a> Answer<'a> {
    fn read(message: &'a [u8], sequence: u32) -> Self {
        let word = |at: usize| message.get(at..).and_then(<[u8]>::first_chunk::<4>);
        let kind = message.get(4..).and_then(<[u8]>::first_chunk::<2>);
        match (kind, word(8)) {
            (Some(kind), Some(n)) if u32::from_ne_bytes(*n) == sequence => {
                if u16::from_ne_bytes(*kind) != ERROR {
                    return match message.get(HEADER + GENERIC_HEADER..) {
                        Some(body) => Self::Body(body),
                        None => Self::Other,
                    };
                }
                let code = word(HEADER).map_or(0, |c| i32::from_ne_bytes(*c));
                Self::Error(code.saturating_abs())
            }
            _ => Self::Other,
        }
    }
}

fn header(ifindex: u32, flags: u32) -> Vec<u8> {
    nest(
        HEADER_ATTRIBUTE,
        &[
            attribute(DEVICE_INDEX, &ifindex.to_ne_bytes()),
            attribute(HEADER_FLAGS, &flags.to_ne_bytes()),
        ],
    )
}
