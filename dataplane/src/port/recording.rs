//! A port that writes what passes through it to a capture file.
//!
//! For tests and labs: it writes on the worker's own time.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use arrayvec::ArrayVec;

use super::{Port, the_rest_goes_on_to};
use crate::frame::{BURST, Burst, Stock};
use crate::pcapng::{Direction, PcapngWriter};

/// A port with a capture file beside it.
pub struct Recording<P, W> {
    port: P,
    file: PcapngWriter<W>,
    /// The first thing that went wrong; nothing is written after it.
    trouble: Option<io::Error>,
    copies: Vec<u8>,
}

impl<P: Port, W: Write> Recording<P, W> {
    /// Wraps a port; the file calls it `name`.
    ///
    /// # Errors
    /// What writing the file's head says.
    pub fn new(port: P, out: W, name: &str) -> io::Result<Recording<P, W>> {
        Ok(Recording {
            port,
            file: PcapngWriter::new(out, name)?,
            trouble: None,
            copies: Vec::new(),
        })
    }

    /// Ends the recording and returns the port and the output.
    ///
    /// # Errors
    /// The first error of writing since the start.
    pub fn finish(mut self) -> io::Result<(P, W)> {
        if let Some(trouble) = self.trouble {
            return Err(trouble);
        }
        self.file.flush()?;
        Ok((self.port, self.file.into_inner()))
    }

    fn write(&mut self, direction: Direction, frame: &[u8]) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        if self.trouble.is_none() {
            self.trouble = self.file.frame(now, direction, frame).err();
        }
    }
}

impl<P: Port, W: Write> Port for Recording<P, W> {
    fn receive(&mut self, stock: &mut Stock, burst: &mut Burst) -> usize {
        let before = burst.len();
        let received = self.port.receive(stock, burst);
        for frame in &burst[before..] {
            self.write(Direction::In, frame.bytes());
        }
        received
    }

    fn transmit(&mut self, burst: &mut Burst, stock: &mut Stock) -> usize {
        // The port keeps what it takes, and only then says how many. So they are copied before.
        self.copies.clear();
        let mut ends = ArrayVec::<usize, BURST>::new();
        for frame in burst.iter() {
            self.copies.extend_from_slice(frame.bytes());
            ends.push(self.copies.len());
        }
        let sent = self.port.transmit(burst, stock);
        let mut start = 0;
        let copies = std::mem::take(&mut self.copies);
        for end in ends.into_iter().take(sent) {
            self.write(Direction::Out, &copies[start..end]);
            start = end;
        }
        self.copies = copies;
        sent
    }

    the_rest_goes_on_to!(port);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{ChunkSize, HugePages, Umem};
    use crate::port::memory::MemoryPort;

    fn count(haystack: &[u8], needle: &[u8]) -> usize {
        haystack
            .windows(needle.len())
            .filter(|window| *window == needle)
            .count()
    }

    #[test]
    fn what_was_received_and_what_was_taken_for_sending_is_written() {
        let umem = Umem::new(16, ChunkSize::K2, HugePages::Off).unwrap();
        let mut stock = umem.stock(8);
        let (port, mut wire) = MemoryPort::with_wire(umem, 3);
        let mut port = Recording::new(port, Vec::new(), "inside").unwrap();
        assert!(wire.inject(b"received"));
        let mut burst = Burst::new();
        assert_eq!(port.receive(&mut stock, &mut burst), 1);
        stock.put_all(&mut burst);
        for bytes in [b"sent-1", b"sent-2", b"sent-3", b"unsent"] {
            let mut frame = stock.take().unwrap();
            assert!(frame.fill(bytes));
            burst.push(frame);
        }
        assert_eq!(port.transmit(&mut burst, &mut stock), 3);
        assert_eq!(burst[0].bytes(), b"unsent");
        let (_, file) = port.finish().unwrap();
        assert_eq!(count(&file, b"received"), 1);
        assert_eq!(count(&file, b"sent-"), 3);
        assert_eq!(count(&file, b"unsent"), 0);
    }

    #[test]
    fn a_full_disk_stops_the_recording_and_not_the_port() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                if self.0 < bytes.len() {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                self.0 -= bytes.len();
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let umem = Umem::new(8, ChunkSize::K2, HugePages::Off).unwrap();
        let mut stock = umem.stock(4);
        let (port, mut wire) = MemoryPort::with_wire(umem, 4);
        let mut port = Recording::new(port, Full(100), "inside").unwrap();
        assert!(wire.inject(b"one") && wire.inject(b"two"));
        assert_eq!(port.receive(&mut stock, &mut Burst::new()), 2);
        let trouble = port.finish().map(drop).unwrap_err();
        assert_eq!(trouble.kind(), io::ErrorKind::StorageFull);
    }
}
