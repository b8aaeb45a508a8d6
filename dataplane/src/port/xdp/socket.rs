//! One AF_XDP socket: UMEM registration, its four rings in memory, and binding to a queue.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::net::sockopt::{
    set_xdp_rx_ring_size, set_xdp_tx_ring_size, set_xdp_umem_completion_ring_size,
    set_xdp_umem_fill_ring_size, set_xdp_umem_reg, xdp_mmap_offsets, xdp_options,
};
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, SocketAddrXdpWithSharedUmem, XDP_PGOFF_RX_RING,
    XDP_PGOFF_TX_RING, XDP_UMEM_PGOFF_COMPLETION_RING, XDP_UMEM_PGOFF_FILL_RING, XdpDesc,
    XdpOptionsFlags, XdpRingOffset, XdpUmemReg, XdpUmemRegFlags,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use super::ring::{Consumer, Layout, Producer};
use crate::frame::Umem;

/// Slots of each ring, where nobody asks for another number. A power of two.
pub const RING: u32 = 2048;

/// A socket that was closed holds its queue until the kernel has cleaned up behind it.
const BUSY_PATIENCE: Duration = Duration::from_secs(2);
const BUSY_STEP: Duration = Duration::from_millis(5);

/// Step of opening a socket, for the message when it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Creating the socket.
    Create,
    /// Registering the UMEM.
    Register,
    /// Setting the sizes of the rings.
    SizeRings,
    /// Mapping the rings.
    MapRings,
    /// Binding in zero-copy mode.
    BindZeroCopy,
    /// Binding in copy mode.
    BindCopy,
}

/// Why a socket could not be opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct SocketError {
    pub step: Step,
    pub errno: Errno,
}

fn at(step: Step) -> impl Fn(Errno) -> SocketError {
    move |errno| SocketError { step, errno }
}

/// The rings of a socket; unmapped when dropped, because a mapped ring keeps the queue busy.
pub(super) struct Rings {
    pub fill: Producer<u64>,
    pub completion: Consumer<u64>,
    pub receive: Consumer<XdpDesc>,
    pub transmit: Producer<XdpDesc>,
    // Behind the ends that point into them, so dropped after them.
    _mappings: [Mapping; 4],
}

/// A socket with its rings, not yet bound.
pub(super) struct Socket {
    pub rings: Rings,
    /// Slots of each of its rings.
    pub slots: u32,
    fd: OwnedFd,
}

/// Whose UMEM registration a socket uses.
pub(super) enum Registration<'a> {
    /// Its own: it registers the memory.
    Own(&'static Umem),
    /// That of a socket bound before.
    Shared(BorrowedFd<'a>),
}

impl Socket {
    /// A socket with mapped rings in the network namespace of the calling thread.
    ///
    /// Each ring has `slots` slots, a power of two.
    pub fn new(registration: &Registration<'_>, slots: u32) -> Result<Socket, SocketError> {
        let fd = socket_with(
            AddressFamily::XDP,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(at(Step::Create))?;
        if let Registration::Own(umem) = registration {
            register(fd.as_fd(), umem).map_err(at(Step::Register))?;
        }
        size_rings(fd.as_fd(), slots).map_err(at(Step::SizeRings))?;
        let rings = Rings::map(fd.as_fd(), slots).map_err(at(Step::MapRings))?;
        Ok(Socket { rings, slots, fd })
    }

    /// Binds to a queue of an interface, waiting for an old socket there to go away.
    pub fn bind(
        &self,
        registration: &Registration<'_>,
        ifindex: u32,
        queue: u32,
        zero_copy: bool,
    ) -> Result<(), SocketError> {
        let step = if zero_copy {
            Step::BindZeroCopy
        } else {
            Step::BindCopy
        };
        let deadline = Instant::now() + BUSY_PATIENCE;
        loop {
            match self.bind_once(registration, ifindex, queue, zero_copy) {
                Err(Errno::BUSY) if Instant::now() < deadline => std::thread::sleep(BUSY_STEP),
                other => return other.map_err(at(step)),
            }
        }
    }

    fn bind_once(
        &self,
        registration: &Registration<'_>,
        ifindex: u32,
        queue: u32,
        zero_copy: bool,
    ) -> rustix::io::Result<()> {
        match registration {
            Registration::Own(_) => {
                let mode = if zero_copy {
                    SocketAddrXdpFlags::XDP_ZEROCOPY
                } else {
                    SocketAddrXdpFlags::XDP_COPY
                };
                let flags = mode | SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP;
                bind(&self.fd, &SocketAddrXdp::new(flags, ifindex, queue))
            }
            // The mode and need-wakeup come with the registration; the kernel refuses to hear them again.
            Registration::Shared(owner) => bind(
                &self.fd,
                &SocketAddrXdpWithSharedUmem {
                    addr: SocketAddrXdp::new(SocketAddrXdpFlags::XDP_SHARED_UMEM, ifindex, queue),
                    shared_umem_fd: *owner,
                },
            ),
        }
    }

    /// Whether the bound socket works without copying, as the kernel says.
    pub fn is_zero_copy(&self) -> bool {
        xdp_options(&self.fd)
            .is_ok_and(|options| options.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn register(fd: BorrowedFd<'_>, umem: &'static Umem) -> rustix::io::Result<()> {
    set_xdp_umem_reg(
        fd,
        XdpUmemReg {
            addr: umem.base() as u64,
            len: umem.len() as u64,
            chunk_size: umem.chunk_size().bytes() as u32,
            // The kernel's own 256 bytes in front of the data are what `frame::HEADROOM` promises.
            headroom: 0,
            flags: XdpUmemRegFlags::empty(),
            tx_metadata_len: 0,
        },
    )
}

fn size_rings(fd: BorrowedFd<'_>, slots: u32) -> rustix::io::Result<()> {
    set_xdp_umem_fill_ring_size(fd, slots)?;
    set_xdp_umem_completion_ring_size(fd, slots)?;
    set_xdp_rx_ring_size(fd, slots)?;
    set_xdp_tx_ring_size(fd, slots)
}

impl Rings {
    fn map(fd: BorrowedFd<'_>, slots: u32) -> rustix::io::Result<Rings> {
        let offsets = xdp_mmap_offsets(fd)?;
        let fill = Mapping::new::<u64>(fd, XDP_UMEM_PGOFF_FILL_RING, &offsets.fr, slots)?;
        let completion =
            Mapping::new::<u64>(fd, XDP_UMEM_PGOFF_COMPLETION_RING, &offsets.cr, slots)?;
        let receive = Mapping::new::<XdpDesc>(fd, XDP_PGOFF_RX_RING, &offsets.rx, slots)?;
        let transmit = Mapping::new::<XdpDesc>(fd, XDP_PGOFF_TX_RING, &offsets.tx, slots)?;
        // SAFETY: the layouts lie in mappings that `Rings` keeps until its ends are dropped, `slots` is the
        // power of two that the kernel accepted, the kernel holds the other end of each, and descriptors are plain integers.
        unsafe {
            Ok(Rings {
                fill: Producer::new(fill.layout(&offsets.fr)?),
                completion: Consumer::new(completion.layout(&offsets.cr)?),
                receive: Consumer::new(receive.layout(&offsets.rx)?),
                transmit: Producer::new(transmit.layout(&offsets.tx)?),
                _mappings: [fill, completion, receive, transmit],
            })
        }
    }
}

/// The memory of one ring.
struct Mapping {
    base: NonNull<c_void>,
    bytes: usize,
    slots: u32,
}

// SAFETY: the mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new<T>(
        fd: BorrowedFd<'_>,
        page_offset: u64,
        offsets: &XdpRingOffset,
        slots: u32,
    ) -> rustix::io::Result<Mapping> {
        let bytes = offsets.desc as usize + slots as usize * size_of::<T>();
        // SAFETY: a new shared mapping at an address the kernel chooses disturbs no other memory.
        let base = unsafe {
            mmap(
                ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::POPULATE,
                fd,
                page_offset,
            )
        }?;
        let base = NonNull::new(base).ok_or(Errno::NOMEM)?;
        Ok(Mapping { base, bytes, slots })
    }

    /// Where the parts of the ring lie; an error from a kernel older than 5.4, which has no flags.
    fn layout<T>(&self, offsets: &XdpRingOffset) -> rustix::io::Result<Layout<T>> {
        let flags = offsets.flags.ok_or(Errno::NOSYS)?;
        // SAFETY: the kernel gave these offsets for this mapping, and they are aligned for their types.
        unsafe {
            Ok(Layout {
                producer: self.base.byte_add(offsets.producer as usize).cast(),
                consumer: self.base.byte_add(offsets.consumer as usize).cast(),
                flags: self.base.byte_add(flags as usize).cast(),
                slots: self.base.byte_add(offsets.desc as usize).cast(),
                size: self.slots,
            })
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: we mapped this range, and the ends that point into it are gone.
        let _ = unsafe { munmap(self.base.as_ptr(), self.bytes) };
    }
}
