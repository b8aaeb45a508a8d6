//! Frames: fixed chunks of one memory area (the UMEM) that the kernel and the workers share.
//!
//! A [`Frame`] owns its chunk, so the compiler sees to it that a chunk is in one place at a time: a
//! worker's [`Stock`], a [`Burst`], or (by its address) a ring of the kernel. Headers are prepended
//! and trailers appended in place: a packet never moves between chunks on its way through.
//!
//! A frame that is dropped by mistake is not lost: its chunk goes back to the UMEM as a *stray*, and
//! the next stock that runs dry picks it up. [`Umem::strays`] counts them.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arrayvec::ArrayVec;
use crossbeam_queue::ArrayQueue;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

/// How many frames are handled together at most.
pub const BURST: usize = 64;

/// Frames handled together.
pub type Burst = ArrayVec<Frame, BURST>;

/// Bytes in front of the data of a frame that was just filled or received.
///
/// It equals `XDP_PACKET_HEADROOM`, which the kernel leaves in front of what it receives: room for
/// an IPv6, a UDP, an ESP header and an IV, and then for a second such set.
pub const HEADROOM: usize = 256;

/// Size of one chunk of the UMEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ChunkSize {
    /// 2,048 bytes: a full 1,514-byte Ethernet frame with 256 bytes before and 278 after it.
    K2 = 11,
    /// 4,096 bytes: Ethernet frames of up to 3,776 bytes with room for trailers.
    K4 = 12,
}

impl ChunkSize {
    /// The size in bytes.
    pub const fn bytes(self) -> usize {
        1 << self.shift()
    }

    /// Its logarithm to base 2, which is the number behind the name.
    const fn shift(self) -> u32 {
        self as u32
    }
}

/// Whether the UMEM lies in huge pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HugePages {
    /// Ordinary pages.
    Off,
    /// Huge pages where the system has enough free ones, otherwise ordinary pages.
    Prefer,
}

/// The memory area that every frame of this process lies in.
///
/// It lives as long as the process: the kernel may write into it while any socket that it was
/// registered with lingers.
pub struct Umem {
    base: *mut u8,
    chunks: u32,
    chunk: ChunkSize,
    huge: bool,
    handed_out: AtomicU32,
    returned: ArrayQueue<u32>,
    strays: AtomicU64,
}

// SAFETY: `base` points to a mapping that is never unmapped. Its bytes are only reached through
// `Frame`s, each of which owns its chunk alone.
unsafe impl Send for Umem {}
// SAFETY: as above; every other field is an atomic, a lock-free queue or never written again.
unsafe impl Sync for Umem {}

impl Umem {
    /// Maps memory for `chunks` chunks, for the rest of the process's life.
    ///
    /// # Errors
    /// What `mmap` says; `InvalidInput` for no chunks at all.
    pub fn new(chunks: u32, chunk: ChunkSize, huge: HugePages) -> io::Result<&'static Umem> {
        if chunks == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a UMEM needs at least one chunk",
            ));
        }
        let bytes = chunks as usize * chunk.bytes();
        let (base, huge) = map(bytes, huge)?;
        Ok(Box::leak(Box::new(Umem {
            base,
            chunks,
            chunk,
            huge,
            handed_out: AtomicU32::new(0),
            returned: ArrayQueue::new(chunks as usize),
            strays: AtomicU64::new(0),
        })))
    }

    /// A stock of `frames` frames that no one else holds; fewer when the UMEM has no more.
    pub fn stock(&'static self, frames: u32) -> Stock {
        let mut stock = Stock {
            umem: self,
            free: Vec::with_capacity(self.chunks as usize),
        };
        // Strays first, so that a worker that ends and is started anew finds its frames again.
        while stock.free.len() < frames as usize {
            let Some(frame) = self.fresh().or_else(|| self.stray()) else {
                break;
            };
            stock.free.push(frame);
        }
        stock
    }

    fn fresh(&'static self) -> Option<Frame> {
        let index = self
            .handed_out
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
                (n < self.chunks).then_some(n + 1)
            })
            .ok()?;
        Some(Frame::at_default(self, index))
    }

    fn stray(&'static self) -> Option<Frame> {
        let index = self.returned.pop()?;
        Some(Frame::at_default(self, index))
    }

    /// How many chunks there are.
    pub fn chunks(&self) -> u32 {
        self.chunks
    }

    /// The size of every chunk.
    pub fn chunk_size(&self) -> ChunkSize {
        self.chunk
    }

    /// Whether the memory lies in huge pages.
    pub fn in_huge_pages(&self) -> bool {
        self.huge
    }

    /// How many frames were dropped instead of being put back in a stock, since the start.
    pub fn strays(&self) -> u64 {
        self.strays.load(Ordering::Relaxed)
    }

    /// Chunks that no frame and no ring holds: never handed out, or dropped and not taken again.
    pub fn unclaimed(&self) -> u32 {
        self.chunks - self.handed_out.load(Ordering::Relaxed) + self.returned.len() as u32
    }

    /// First byte of the memory, for registration with a socket.
    pub(crate) fn base(&self) -> *mut u8 {
        self.base
    }

    /// Length of the memory in bytes.
    pub(crate) fn len(&self) -> usize {
        self.chunks as usize * self.chunk.bytes()
    }

    /// The frame whose data begins at `address` (an offset in the UMEM) and is `len` bytes long;
    /// `None` if that does not lie within one chunk.
    ///
    /// # Safety
    /// The caller holds the chunk: it gave it away by [`Frame::into_address`] and nothing has made a
    /// frame of it since.
    pub(crate) unsafe fn frame(&'static self, address: u64, len: u32) -> Option<Frame> {
        let index = u32::try_from(address >> self.chunk.shift()).ok()?;
        let start = address as usize & (self.chunk.bytes() - 1);
        if index >= self.chunks || start + len as usize > self.chunk.bytes() {
            return None;
        }
        Some(Frame {
            umem: self,
            index,
            start: start as u16,
            len: len as u16,
        })
    }
}

impl fmt::Debug for Umem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Umem")
            .field("chunks", &self.chunks)
            .field("chunk", &self.chunk)
            .field("huge", &self.huge)
            .finish_non_exhaustive()
    }
}

fn map(bytes: usize, huge: HugePages) -> io::Result<(*mut u8, bool)> {
    const HUGE_PAGE: usize = 2 << 20;
    let prot = ProtFlags::READ | ProtFlags::WRITE;
    // The kernel pins every page at registration anyway; faulting them here keeps that out of the
    // first burst of ports that are not sockets.
    let flags = MapFlags::PRIVATE | MapFlags::POPULATE;
    if huge == HugePages::Prefer {
        let rounded = bytes.next_multiple_of(HUGE_PAGE);
        // SAFETY: a new anonymous mapping at an address the kernel chooses disturbs no other memory.
        let mapped = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                rounded,
                prot,
                flags | MapFlags::HUGETLB | MapFlags::HUGE_2MB,
            )
        };
        if let Ok(base) = mapped {
            keep_out_of_dumps(base.cast(), rounded);
            return Ok((base.cast(), true));
        }
    }
    // SAFETY: as above.
    let base = unsafe { mmap_anonymous(ptr::null_mut(), bytes, prot, flags) }?;
    keep_out_of_dumps(base.cast(), bytes);
    Ok((base.cast(), false))
}

/// Packets in clear have no business in a core dump.
fn keep_out_of_dumps(base: *mut u8, bytes: usize) {
    // SAFETY: the range was just mapped by us, and the advice changes no content.
    // A refusal costs secrecy of dumps only, and dumps are off in the data plane.
    let _ = unsafe { madvise(base.cast(), bytes, Advice::LinuxDontDump) };
}

/// One chunk of the UMEM and the part of it that is data: owned, moved, never copied.
pub struct Frame {
    umem: &'static Umem,
    index: u32,
    /// Offset of the data in the chunk; `start + len` never exceeds the chunk size.
    start: u16,
    len: u16,
}

const _: () = assert!(size_of::<Frame>() == 16 && size_of::<Option<Frame>>() == 16);

impl Frame {
    fn at_default(umem: &'static Umem, index: u32) -> Frame {
        Frame {
            umem,
            index,
            start: HEADROOM as u16,
            len: 0,
        }
    }

    /// The data.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the chunk lies in the mapping, `start + len` within the chunk, and this frame is
        // the only one with access to it; the mapping began as zeroes, so every byte is initialised.
        unsafe { std::slice::from_raw_parts(self.data(), self.len as usize) }
    }

    /// The data, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` excludes any other reference.
        unsafe { std::slice::from_raw_parts_mut(self.data(), self.len as usize) }
    }

    fn data(&self) -> *mut u8 {
        // SAFETY: `address` lies within the mapping.
        unsafe { self.umem.base.add(self.address() as usize) }
    }

    /// Bytes of data.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is no data.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Offset of the data from the start of the UMEM in bytes, as ring descriptors want it.
    pub fn address(&self) -> u64 {
        (u64::from(self.index) << self.umem.chunk.shift()) + u64::from(self.start)
    }

    /// The number of the chunk.
    pub fn chunk(&self) -> u32 {
        self.index
    }

    /// Bytes free in front of the data.
    pub fn headroom(&self) -> usize {
        self.start as usize
    }

    /// Bytes free behind the data.
    pub fn tailroom(&self) -> usize {
        self.umem.chunk.bytes() - self.start as usize - self.len as usize
    }

    /// Prepends `n` bytes of unspecified content; false, and nothing changed, without room for them.
    #[must_use]
    pub fn grow_front(&mut self, n: usize) -> bool {
        if n > self.headroom() {
            return false;
        }
        self.start -= n as u16;
        self.len += n as u16;
        true
    }

    /// Removes the first `n` bytes; all of them if there are fewer.
    pub fn shrink_front(&mut self, n: usize) {
        let n = n.min(self.len()) as u16;
        self.start += n;
        self.len -= n;
    }

    /// Appends `n` bytes of unspecified content; false, and nothing changed, without room for them.
    #[must_use]
    pub fn grow_back(&mut self, n: usize) -> bool {
        if n > self.tailroom() {
            return false;
        }
        self.len += n as u16;
        true
    }

    /// Removes the last `n` bytes; all of them if there are fewer.
    pub fn shrink_back(&mut self, n: usize) {
        self.len -= n.min(self.len()) as u16;
    }

    /// Replaces the data, with [`HEADROOM`] in front of it; false, and an empty frame, if it does not fit.
    #[must_use]
    pub fn fill(&mut self, data: &[u8]) -> bool {
        self.reset();
        if !self.grow_back(data.len()) {
            return false;
        }
        self.bytes_mut().copy_from_slice(data);
        true
    }

    /// Empties the frame and gives it its [`HEADROOM`] back.
    pub fn reset(&mut self) {
        self.start = HEADROOM as u16;
        self.len = 0;
    }

    /// Gives the chunk away, to a ring of the kernel; returns its [`Frame::address`].
    pub(crate) fn into_address(self) -> u64 {
        let address = self.address();
        mem::forget(self);
        address
    }
}

impl Drop for Frame {
    #[cold]
    fn drop(&mut self) {
        self.umem.strays.fetch_add(1, Ordering::Relaxed);
        // The queue has a place for every chunk, and no chunk is in it twice.
        let _ = self.umem.returned.push(self.index);
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The content may be somebody's clear text.
        write!(f, "Frame {}[{}+{}]", self.index, self.start, self.len)
    }
}

/// The free frames of one worker, last in first out so that warm ones are used again first.
///
/// It has room for every frame of the UMEM, so putting one back neither fails nor allocates.
pub struct Stock {
    umem: &'static Umem,
    free: Vec<Frame>,
}

impl Stock {
    /// An empty frame; `None` when all frames are under way.
    pub fn take(&mut self) -> Option<Frame> {
        self.free.pop().or_else(|| self.umem.stray())
    }

    /// Puts a frame back; its data is gone.
    pub fn put(&mut self, mut frame: Frame) {
        debug_assert!(ptr::eq(frame.umem, self.umem), "a frame of another UMEM");
        frame.reset();
        self.free.push(frame);
    }

    /// Puts every frame of a burst back.
    pub fn put_all(&mut self, burst: &mut Burst) {
        for frame in burst.drain(..) {
            self.put(frame);
        }
    }

    /// How many frames it holds.
    pub fn len(&self) -> usize {
        self.free.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.free.is_empty()
    }

    /// The UMEM the frames lie in.
    pub fn umem(&self) -> &'static Umem {
        self.umem
    }
}

impl fmt::Debug for Stock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stock of {}", self.free.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn umem(chunks: u32, chunk: ChunkSize) -> &'static Umem {
        Umem::new(chunks, chunk, HugePages::Prefer).unwrap()
    }

    #[test]
    fn every_chunk_is_handed_out_exactly_once() {
        let umem = umem(10, ChunkSize::K2);
        let (mut a, mut b) = (umem.stock(6), umem.stock(6));
        assert_eq!((a.len(), b.len(), umem.unclaimed()), (6, 4, 0));
        let frames: Vec<Frame> = std::iter::from_fn(|| a.take().or_else(|| b.take())).collect();
        let mut chunks: Vec<u32> = frames.iter().map(Frame::chunk).collect();
        chunks.sort_unstable();
        assert_eq!(chunks, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_ethernet_frame_leaves_room_for_every_header_and_trailer() {
        for chunk in [ChunkSize::K2, ChunkSize::K4] {
            let mut stock = umem(1, chunk).stock(1);
            let mut frame = stock.take().unwrap();
            assert!(frame.fill(&[7; 1514]));
            assert!(frame.headroom() >= 128);
            assert!(frame.tailroom() >= 64);
        }
    }

    #[test]
    fn growing_stops_at_the_ends_of_the_chunk() {
        let mut stock = umem(3, ChunkSize::K2).stock(3);
        let _below = stock.take().unwrap();
        let mut frame = stock.take().unwrap();
        assert!(frame.fill(b"packet"));
        assert!(!frame.grow_front(257));
        assert!(frame.grow_front(256));
        assert_eq!((frame.headroom(), frame.len()), (0, 262));
        assert_eq!(frame.address() % 2048, 0);
        assert!(!frame.grow_back(2048 - 262 + 1));
        assert!(frame.grow_back(2048 - 262));
        frame.bytes_mut().fill(0xee);
        assert_eq!(frame.bytes().len(), 2048);
        frame.shrink_front(2040);
        frame.shrink_back(100);
        assert!(frame.is_empty());
        assert!(!frame.fill(&[0; 2048]), "no room beside the headroom");
        assert!(frame.is_empty());
    }

    #[test]
    fn headers_are_prepended_in_front_of_the_data() {
        let mut stock = umem(1, ChunkSize::K2).stock(1);
        let mut frame = stock.take().unwrap();
        assert!(frame.fill(b"payload"));
        assert!(frame.grow_front(3));
        frame.bytes_mut()[..3].copy_from_slice(b"hdr");
        assert_eq!(frame.bytes(), b"hdrpayload");
        frame.shrink_front(3);
        assert_eq!(frame.bytes(), b"payload");
    }

    #[test]
    fn a_dropped_frame_comes_back_as_a_stray() {
        let umem = umem(2, ChunkSize::K2);
        let mut stock = umem.stock(2);
        let (first, second) = (stock.take().unwrap(), stock.take().unwrap());
        let lost = first.chunk();
        drop(first);
        assert_eq!((umem.strays(), umem.unclaimed()), (1, 1));
        assert_eq!(stock.take().unwrap().chunk(), lost);
        stock.put(second);
        assert_eq!(stock.len(), 1);
    }

    #[test]
    fn an_address_outside_the_chunks_makes_no_frame() {
        let umem = umem(2, ChunkSize::K2);
        let mut stock = umem.stock(2);
        let frame = stock.take().unwrap();
        let (chunk, address) = (frame.chunk(), frame.into_address());
        // SAFETY: refused addresses make no frame; the last one was given away just above.
        let (beyond, across, back) = unsafe {
            (
                umem.frame(4096, 1),
                umem.frame(2047, 2),
                umem.frame(address, 10),
            )
        };
        assert!(beyond.is_none() && across.is_none());
        let back = back.unwrap();
        assert_eq!((back.chunk(), back.len()), (chunk, 10));
    }

    #[test]
    fn an_empty_umem_is_refused() {
        assert!(Umem::new(0, ChunkSize::K2, HugePages::Off).is_err());
    }
}
