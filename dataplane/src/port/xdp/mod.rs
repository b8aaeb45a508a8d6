//! AF_XDP ports: every queue of every interface has its own socket and rings, all on one UMEM.
//!
//! [`open`] binds them all or none. Whether the kernel copies frames between its own memory and the
//! UMEM is a property of the UMEM, not of a queue: so if one queue cannot do without, all copy.
//!
//! Binding alone brings no traffic: somebody has to put each socket into the map that the steering
//! program of the interface redirects to.

mod queue;
mod ring;
mod socket;

use std::os::fd::AsFd;

use rustix::io::Errno;

pub use queue::XdpPort;
pub use socket::{RING, Step};
use socket::{Registration, Socket, SocketError};

use crate::frame::Umem;

/// An interface to open ports on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRequest {
    /// The interface's number in the network namespace of the calling thread.
    pub ifindex: u32,
    /// The interface's name, for messages only.
    pub name: String,
    /// How many of its queues to bind, from queue 0.
    pub queues: u32,
}

/// Whether frames may be copied between the kernel's memory and the UMEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroCopy {
    /// No copying if every queue can do without, otherwise copying on all.
    Auto,
    /// Copying on all.
    Copy,
    /// No copying; opening fails where a queue cannot do without.
    Force,
}

/// An interface whose queues are all bound.
pub struct OpenedPort {
    /// The interface's number.
    pub ifindex: u32,
    /// One port per queue, in the order of their numbers.
    pub queues: Vec<XdpPort>,
    /// Whether frames are used in place, as the kernel says.
    pub zero_copy: bool,
    /// Why that is so, in words for the operator.
    pub reason: String,
}

/// Why the ports could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("{name} queue {queue}: {}: {errno}{}", doing(*step), hint(*step, *errno))]
pub struct OpenError {
    /// The interface.
    pub name: String,
    /// Its queue.
    pub queue: u32,
    /// What failed.
    pub step: Step,
    /// How.
    pub errno: Errno,
}

fn doing(step: Step) -> &'static str {
    match step {
        Step::Create => "cannot create an AF_XDP socket",
        Step::Register => "cannot register the frame memory",
        Step::SizeRings => "cannot set up the rings",
        Step::MapRings => "cannot map the rings",
        Step::BindZeroCopy => "cannot bind in zero-copy mode",
        Step::BindCopy => "cannot bind in copy mode",
    }
}

fn hint(step: Step, errno: Errno) -> &'static str {
    match (step, errno) {
        (_, Errno::PERM | Errno::ACCESS) => " (CAP_NET_RAW is needed)",
        (Step::Create, Errno::AFNOSUPPORT) => " (the kernel was built without XDP_SOCKETS)",
        (Step::Register, Errno::NOBUFS | Errno::NOMEM) => {
            " (raise the limit of locked memory, or use fewer frames)"
        }
        (Step::BindZeroCopy, Errno::OPNOTSUPP) => " (the driver has no zero-copy mode)",
        (Step::BindZeroCopy | Step::BindCopy, Errno::BUSY) => " (another program holds this queue)",
        (Step::BindZeroCopy | Step::BindCopy, Errno::INVAL) => " (is there such a queue?)",
        (Step::BindZeroCopy | Step::BindCopy, Errno::NODEV) => " (is there such an interface?)",
        _ => "",
    }
}

/// How many frames the rings of a worker with `ports` ports can hold, with some over for the packets it
/// makes itself: a UMEM of so many for each worker never runs dry.
pub const fn frames_per_worker(ports: u32) -> u32 {
    ports * 2 * RING + queue::RESERVE as u32
}

/// Opens and binds every queue of every interface asked for, on one registration of `umem`.
///
/// Each ring has `slots` slots, a power of two; [`RING`] serves well. A queue that is still held by a socket of an ended process is waited for, up to 2 s.
///
/// # Errors
/// The first queue that fails; then nothing stays bound.
pub fn open(
    umem: &'static Umem,
    requests: &[PortRequest],
    zero_copy: ZeroCopy,
    slots: u32,
) -> Result<Vec<OpenedPort>, OpenError> {
    match zero_copy {
        ZeroCopy::Copy => bind_all(umem, requests, false, slots, |_| {
            "copy mode was asked for".to_owned()
        }),
        ZeroCopy::Force => bind_all(umem, requests, true, slots, |_| {
            "zero-copy was asked for".to_owned()
        }),
        ZeroCopy::Auto => bind_all(umem, requests, true, slots, |_| {
            "every queue supports it".to_owned()
        })
        .or_else(|refusal| {
            bind_all(umem, requests, false, slots, |request| {
                if request.name == refusal.name {
                    refusal.to_string()
                } else {
                    format!("frames are shared with another port: {refusal}")
                }
            })
        }),
    }
}

fn bind_all(
    umem: &'static Umem,
    requests: &[PortRequest],
    zero_copy: bool,
    slots: u32,
    reason: impl Fn(&PortRequest) -> String,
) -> Result<Vec<OpenedPort>, OpenError> {
    let mut opened: Vec<OpenedPort> = Vec::with_capacity(requests.len());
    let all_queues: u32 = requests.iter().map(|request| request.queues).sum();
    // Half for receiving, half to be sent. With fewer frames than the rings hold, no port may
    // have them all and leave the others deaf.
    let share = umem.chunks() / (2 * all_queues.max(1));
    for request in requests {
        let mut port = OpenedPort {
            ifindex: request.ifindex,
            queues: Vec::with_capacity(request.queues as usize),
            zero_copy,
            reason: reason(request),
        };
        for queue in 0..request.queues {
            let first = opened
                .iter()
                .chain([&port])
                .find_map(|port| port.queues.first());
            let socket = bind_one(umem, first, request.ifindex, queue, zero_copy, slots).map_err(
                |SocketError { step, errno }| OpenError {
                    name: request.name.clone(),
                    queue,
                    step,
                    errno,
                },
            )?;
            port.zero_copy = socket.is_zero_copy();
            port.queues
                .push(XdpPort::new(socket, umem, request.ifindex, queue, share));
        }
        opened.push(port);
    }
    Ok(opened)
}

fn bind_one(
    umem: &'static Umem,
    first: Option<&XdpPort>,
    ifindex: u32,
    queue: u32,
    zero_copy: bool,
    slots: u32,
) -> Result<Socket, SocketError> {
    let registration = match first {
        None => Registration::Own(umem),
        Some(port) => Registration::Shared(port.as_fd()),
    };
    let socket = Socket::new(&registration, slots)?;
    socket.bind(&registration, ifindex, queue, zero_copy)?;
    Ok(socket)
}
