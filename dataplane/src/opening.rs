//! Opens every port of a [`Setup`] and deals their queues out: worker *i* gets queue *i* of every port.

use std::os::fd::OwnedFd;

use adit_abi::Side;
use adit_abi::message::{Setup, ZeroCopy};
use thiserror::Error;

use crate::frame::{ChunkSize, HugePages, Stock, Umem};
use crate::port::tun::TunPort;
use crate::port::xdp::{self, PortRequest, XdpPort};
use crate::port::{Port, PortStatistics};
use crate::worker::WorkerPort;

/// Why the ports of a setup cannot be opened.
#[derive(Debug, Error)]
pub enum OpeningError {
    /// The memory for frames.
    #[error("cannot map the UMEM of {frames} frames: {source}")]
    Umem {
        /// Frames asked for.
        frames: u32,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The AF_XDP sockets.
    #[error(transparent)]
    Xdp(#[from] xdp::OpenError),
    /// A queue has no zero-copy mode, and the setup asks for nothing else.
    #[error("{0}; set gateway.zero_copy = \"auto\" to copy where it must be")]
    ZeroCopy(xdp::OpenError),
    /// A queue without a worker would swallow what arrives there; a worker without a queue could not send.
    #[error(
        "port {name} has {queues} queues for {workers} workers: set `queues` of the port and `gateway.workers` to one number, and the NIC's channels with it"
    )]
    Queues {
        /// The interface.
        name: String,
        /// Its queues.
        queues: u16,
        /// Workers of the setup.
        workers: u16,
    },
    /// The TUN device.
    #[error("cannot use the TUN device of port {name}: {source}")]
    Tun {
        /// The interface.
        name: String,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// One bound queue, for the report to control.
#[derive(Debug, Clone)]
pub struct BoundQueue {
    /// Port number.
    pub port: u8,
    /// Queue number.
    pub queue: u16,
    /// Whether the kernel bound it in zero-copy mode.
    pub zero_copy: bool,
    /// Why this mode.
    pub reason: String,
}

/// What one worker starts with.
pub struct Outfit {
    /// Its queues.
    pub ports: Vec<WorkerPort>,
    /// Its frames.
    pub stock: Stock,
    /// Its AF_XDP sockets with their report, for the XSKMAP.
    pub bound: Vec<(BoundQueue, OwnedFd)>,
}

/// Opens everything; nothing stays open if one port fails.
///
/// # Errors
/// Says which port failed and what to do about it.
pub fn open(setup: &Setup, tun: Option<&OwnedFd>) -> Result<Vec<Outfit>, OpeningError> {
    let workers = setup.workers;
    if let Some(port) = setup
        .ports
        .iter()
        .find(|p| p.side != Side::Host && p.queues != workers)
    {
        return Err(OpeningError::Queues {
            name: port.name.clone(),
            queues: port.queues,
            workers,
        });
    }
    let chunk = if setup.frame_size == 4096 {
        ChunkSize::K4
    } else {
        ChunkSize::K2
    };
    let huge = if setup.huge_pages {
        HugePages::Prefer
    } else {
        HugePages::Off
    };
    let frames = setup.frames_per_worker.saturating_mul(u32::from(workers));
    let umem =
        Umem::new(frames, chunk, huge).map_err(|source| OpeningError::Umem { frames, source })?;

    let nics: Vec<_> = setup
        .ports
        .iter()
        .filter(|p| p.side != Side::Host)
        .collect();
    let requests: Vec<_> = nics
        .iter()
        .map(|p| PortRequest {
            ifindex: p.ifindex,
            name: p.name.clone(),
            queues: p.queues.into(),
        })
        .collect();
    let zero_copy = match setup.zero_copy {
        ZeroCopy::Auto => xdp::ZeroCopy::Auto,
        ZeroCopy::Copy => xdp::ZeroCopy::Copy,
        ZeroCopy::Force => xdp::ZeroCopy::Force,
    };
    let opened = xdp::open(umem, &requests, zero_copy, setup.ring_size).map_err(|e| {
        if e.step == xdp::Step::BindZeroCopy {
            OpeningError::ZeroCopy(e)
        } else {
            e.into()
        }
    })?;

    let mut outfits: Vec<_> = (0..workers)
        .map(|_| Outfit {
            ports: Vec::new(),
            stock: umem.stock(setup.frames_per_worker),
            bound: Vec::new(),
        })
        .collect();
    for (nic, port) in nics.iter().zip(opened) {
        let (zero_copy, reason) = (port.zero_copy, port.reason);
        for ((outfit, queue), number) in outfits.iter_mut().zip(port.queues).zip(0u16..) {
            outfit.add_queue(nic.number, nic.side, number, queue, zero_copy, &reason)?;
        }
    }
    for host in setup.ports.iter().filter(|p| p.side == Side::Host) {
        let Some(tun) = tun else { continue };
        let failed = |source| OpeningError::Tun {
            name: host.name.clone(),
            source,
        };
        for (n, outfit) in outfits.iter_mut().enumerate() {
            let port = TunPort::from_fd(tun.try_clone().map_err(failed)?).map_err(failed)?;
            // One reader keeps the host's own packets in order; every worker may write.
            let port: Box<dyn Port + Send> = if n == 0 {
                Box::new(port)
            } else {
                Box::new(SendOnly(port))
            };
            outfit.ports.push(WorkerPort {
                number: host.number,
                side: Side::Host,
                port,
            });
        }
    }
    Ok(outfits)
}

impl Outfit {
    fn add_queue(
        &mut self,
        port: u8,
        side: Side,
        queue: u16,
        mut xdp: XdpPort,
        zero_copy: bool,
        reason: &str,
    ) -> Result<(), OpeningError> {
        use std::os::fd::AsFd;
        // The kernel must find buffers before the first frame is steered here.
        xdp.reclaim(&mut self.stock);
        let fd = xdp
            .as_fd()
            .try_clone_to_owned()
            .map_err(|source| OpeningError::Tun {
                name: format!("{port}"),
                source,
            })?;
        let report = BoundQueue {
            port,
            queue,
            zero_copy,
            reason: reason.to_owned(),
        };
        self.bound.push((report, fd));
        self.ports.push(WorkerPort {
            number: port,
            side,
            port: Box::new(xdp),
        });
        Ok(())
    }
}

/// A port that another worker receives from.
struct SendOnly<P>(P);

impl<P: Port> Port for SendOnly<P> {
    fn receive(&mut self, _: &mut Stock, _: &mut crate::frame::Burst) -> usize {
        0
    }

    fn transmit(&mut self, burst: &mut crate::frame::Burst, stock: &mut Stock) -> usize {
        self.0.transmit(burst, stock)
    }

    fn reclaim(&mut self, stock: &mut Stock) {
        self.0.reclaim(stock);
    }

    fn flush(&mut self) {
        self.0.flush();
    }

    fn poll_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }

    fn statistics(&self) -> PortStatistics {
        self.0.statistics()
    }
}
