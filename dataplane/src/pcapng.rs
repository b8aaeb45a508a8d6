//! Writing capture files in the pcapng format (draft-ietf-opsawg-pcapng), little-endian.

use std::io::{self, Write};
use std::time::Duration;

/// Which way a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It was received.
    In,
    /// It was sent.
    Out,
}

/// A capture file of one section with one Ethernet interface.
pub struct PcapngWriter<W> {
    out: W,
    /// One block at a time, so that each is written at once.
    block: Vec<u8>,
}

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;

const LINKTYPE_ETHERNET: u16 = 1;

const OPTION_IF_NAME: u16 = 2;
const OPTION_IF_TSRESOL: u16 = 9;
const OPTION_EPB_FLAGS: u16 = 2;
const NANOSECONDS: u8 = 9;

/// The largest frame a UMEM chunk holds, with the block around it.
const BLOCK_CAPACITY: usize = 4096 + 64;

impl<W: Write> PcapngWriter<W> {
    /// Begins a file for the interface `name`.
    ///
    /// # Errors
    /// What writing says.
    pub fn new(out: W, name: &str) -> io::Result<PcapngWriter<W>> {
        let mut writer = PcapngWriter {
            out,
            block: Vec::with_capacity(BLOCK_CAPACITY),
        };
        writer.begin(SECTION_HEADER);
        writer.block.extend(0x1a2b_3c4d_u32.to_le_bytes()); // byte-order magic
        writer.block.extend([1, 0, 0, 0]); // version 1.0
        writer.block.extend([0xff; 8]); // of unknown length
        writer.end()?;

        writer.begin(INTERFACE_DESCRIPTION);
        writer.block.extend(LINKTYPE_ETHERNET.to_le_bytes());
        writer.block.extend([0; 2]); // reserved
        writer.block.extend([0; 4]); // no limit on the length
        let name = &name.as_bytes()[..name.len().min(usize::from(u16::MAX))];
        writer.option(OPTION_IF_NAME, name);
        writer.option(OPTION_IF_TSRESOL, &[NANOSECONDS]);
        writer.option(0, &[]);
        writer.end()?;
        Ok(writer)
    }

    /// Appends a frame that passed at `time` since 1970-01-01 00:00 UTC.
    ///
    /// # Errors
    /// What writing says.
    pub fn frame(&mut self, time: Duration, direction: Direction, frame: &[u8]) -> io::Result<()> {
        let nanoseconds = time.as_nanos() as u64;
        self.begin(ENHANCED_PACKET);
        self.block.extend([0; 4]); // interface 0
        self.block
            .extend(((nanoseconds >> 32) as u32).to_le_bytes());
        self.block.extend((nanoseconds as u32).to_le_bytes());
        let length = (frame.len() as u32).to_le_bytes();
        self.block.extend(length); // captured
        self.block.extend(length); // original
        self.block.extend(frame);
        self.pad();
        let flags: u32 = match direction {
            Direction::In => 1,
            Direction::Out => 2,
        };
        self.option(OPTION_EPB_FLAGS, &flags.to_le_bytes());
        self.option(0, &[]);
        self.end()
    }

    /// Writes out what is buffered below.
    ///
    /// # Errors
    /// What writing says.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// The output.
    pub fn into_inner(self) -> W {
        self.out
    }

    fn begin(&mut self, kind: u32) {
        self.block.clear();
        self.block.extend(kind.to_le_bytes());
        self.block.extend([0; 4]); // length, known at the end
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        self.block.extend(code.to_le_bytes());
        self.block.extend((value.len() as u16).to_le_bytes());
        self.block.extend(value);
        self.pad();
    }

    fn pad(&mut self) {
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }

    /// The length stands at both ends of a block, so that files can be read backwards.
    fn end(&mut self) -> io::Result<()> {
        let length = (self.block.len() as u32 + 4).to_le_bytes();
        self.block[4..8].copy_from_slice(&length);
        self.block.extend(length);
        self.out.write_all(&self.block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_the_draft_says() {
        let mut writer = PcapngWriter::new(Vec::new(), "inside").unwrap();
        let time = Duration::from_nanos(0x1_0000_0002);
        writer.frame(time, Direction::Out, b"frame").unwrap();
        #[rustfmt::skip]
        let expected = [
            // Section header.
            0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0,
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 28, 0, 0, 0,
            // Interface description: Ethernet, no limit, its name, nanoseconds, end of options.
            1, 0, 0, 0, 44, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
            2, 0, 6, 0, b'i', b'n', b's', b'i', b'd', b'e', 0, 0,
            9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 44, 0, 0, 0,
            // Enhanced packet: interface, time, lengths, data, outbound, end of options.
            6, 0, 0, 0, 52, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0,
            b'f', b'r', b'a', b'm', b'e', 0, 0, 0,
            2, 0, 4, 0, 2, 0, 0, 0, 0, 0, 0, 0, 52, 0, 0, 0,
        ];
        assert_eq!(writer.into_inner(), expected);
    }
}
