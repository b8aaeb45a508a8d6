//! A connection's bounded input and output; both may hold keys and are wiped.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};

use adit_vici::packet::{LENGTH_FIELD, first_segment};
use adit_vici::{MAX_SEGMENT, Packet, PacketError};
use zeroize::{Zeroize, Zeroizing};

/// Octets of the input buffer at first; most requests fit.
const FIRST_INPUT: usize = 4096;

/// Octets of queued output above which nothing new is begun for this client.
const SOFT_OUTPUT: usize = 256 * 1024;

/// Octets of queued output above which the client is given up.
const HARD_OUTPUT: usize = 4 * 1024 * 1024;

/// What a read or write left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Some octets went through; there may be more.
    Some,
    /// The socket can do no more for now.
    Blocked,
    /// The peer has closed its side.
    Closed,
}

/// Octets received and not yet parsed: at most one whole segment of the greatest size.
#[derive(Debug)]
pub(super) struct Input {
    buffer: Zeroizing<Vec<u8>>,
    filled: usize,
}

impl Input {
    pub(super) fn new() -> Self {
        Input {
            buffer: Zeroizing::new(vec![0; FIRST_INPUT]),
            filled: 0,
        }
    }

    /// What the first whole segment holds, and how much to [`Input::consume`] after it.
    pub(super) fn segment(&self) -> Result<Option<(&[u8], usize)>, PacketError> {
        first_segment(&self.buffer[..self.filled])
    }

    /// Removes and wipes the first `octets`.
    pub(super) fn consume(&mut self, octets: usize) {
        let octets = octets.min(self.filled);
        self.buffer.copy_within(octets..self.filled, 0);
        let left = self.filled - octets;
        self.buffer[left..self.filled].zeroize();
        self.filled = left;
    }

    /// Reads once; call only while no whole segment is there, which is what bounds the buffer.
    pub(super) fn read_from(&mut self, source: &mut impl Read) -> io::Result<Progress> {
        if self.filled == self.buffer.len() {
            self.grow();
        }
        loop {
            return match source.read(&mut self.buffer[self.filled..]) {
                Ok(0) => Ok(Progress::Closed),
                Ok(octets) => {
                    self.filled += octets;
                    Ok(Progress::Some)
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Progress::Blocked),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
        }
    }

    /// Doubles the buffer as octets really arrive, whatever the length field promises. By hand,
    /// since `Vec` would leave the old, unwiped copy behind.
    fn grow(&mut self) {
        let size = (self.buffer.len() * 2).min(LENGTH_FIELD + MAX_SEGMENT);
        let mut larger = Zeroizing::new(vec![0; size]);
        larger[..self.filled].copy_from_slice(&self.buffer[..self.filled]);
        self.buffer = larger;
    }
}

/// Segments to be sent.
#[derive(Debug, Default)]
pub(super) struct Output {
    segments: VecDeque<Zeroizing<Vec<u8>>>,
    /// Octets of the first segment that are sent.
    sent: usize,
    /// Octets of all segments.
    queued: usize,
    overrun: bool,
}

impl Output {
    /// Queues a packet; beyond the hard limit the queue is given up.
    pub(super) fn push(&mut self, packet: Packet<'_>) {
        match packet.emit() {
            Ok(segment) if self.queued + segment.len() <= HARD_OUTPUT => {
                self.queued += segment.len();
                self.segments.push_back(segment);
            }
            Ok(_) => self.overrun(),
            Err(error) => {
                tracing::error!(?packet, %error, "packet cannot be sent");
                self.overrun();
            }
        }
    }

    /// Gives the queue up.
    pub(super) fn overrun(&mut self) {
        self.overrun = true;
    }

    /// Whether the queue was given up: something in it is missing.
    pub(super) fn is_overrun(&self) -> bool {
        self.overrun
    }

    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.queued < SOFT_OUTPUT && !self.overrun
    }

    /// Writes until all is sent ([`Progress::Some`]) or the socket blocks.
    pub(super) fn write_to(&mut self, sink: &mut impl Write) -> io::Result<Progress> {
        while let Some(segment) = self.segments.front() {
            match sink.write(segment.get(self.sent..).unwrap_or_default()) {
                Ok(0) => return Ok(Progress::Closed),
                Ok(octets) => self.sent += octets,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(Progress::Blocked);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if self.sent >= segment.len() {
                self.queued -= segment.len();
                self.segments.pop_front();
                self.sent = 0;
            }
        }
        Ok(Progress::Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_grows_to_one_greatest_segment_and_wipes_what_it_gave() {
        let segment = Packet::Response {
            message: &vec![7; MAX_SEGMENT - 1],
        }
        .emit()
        .unwrap();
        let mut source = segment.as_slice();
        let mut input = Input::new();
        while input.segment().unwrap().is_none() {
            assert_eq!(input.read_from(&mut source).unwrap(), Progress::Some);
        }
        assert_eq!(input.buffer.len(), LENGTH_FIELD + MAX_SEGMENT);
        let (held, used) = input.segment().unwrap().unwrap();
        assert_eq!(held.len(), MAX_SEGMENT);
        input.consume(used);
        assert!(input.buffer.iter().all(|octet| *octet == 0));
        assert_eq!(input.segment(), Ok(None));
    }

    #[test]
    fn a_length_field_alone_reserves_nothing() {
        let mut input = Input::new();
        let promise = (MAX_SEGMENT as u32).to_be_bytes();
        input.read_from(&mut promise.as_slice()).unwrap();
        assert_eq!(input.segment(), Ok(None));
        assert_eq!(input.buffer.len(), FIRST_INPUT);
    }

    #[test]
    fn output_has_room_to_the_soft_limit_and_is_given_up_at_the_hard_one() {
        let mut output = Output::default();
        let message = vec![0; 64 * 1024];
        let mut pushed = 0;
        while output.has_room() {
            output.push(Packet::Response { message: &message });
            pushed += 1;
        }
        assert_eq!(pushed, 4);
        while !output.is_overrun() {
            output.push(Packet::Response { message: &message });
            pushed += 1;
        }
        assert_eq!(pushed, 64);
    }

    /// Takes a few octets at a time, then blocks.
    struct Narrow {
        taken: Vec<u8>,
        room: usize,
    }

    impl Write for Narrow {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            let octets = &octets[..octets.len().min(self.room).min(3)];
            if octets.is_empty() {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.room -= octets.len();
            self.taken.extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn output_goes_on_where_the_socket_blocked() {
        let mut output = Output::default();
        let mut expected = Vec::new();
        for name in ["one", "two", "three"] {
            output.push(Packet::Register { name });
            expected.extend_from_slice(&Packet::Register { name }.emit().unwrap());
        }
        let mut sink = Narrow {
            taken: Vec::new(),
            room: 0,
        };
        while output.write_to(&mut sink).unwrap() == Progress::Blocked {
            sink.room = 4;
        }
        assert_eq!(sink.taken, expected);
        assert!(output.is_empty() && output.queued == 0);
    }
}
