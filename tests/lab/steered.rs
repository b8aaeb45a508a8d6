//! Parts of the port and steering tests: interfaces of a namespace with the program attached and AF_XDP sockets bound.

use std::os::fd::AsFd;
use std::path::PathBuf;

use adit::lab::{Namespace, Topology};
use adit_bpf::{AttachMode, Reason, Side, Steering, pins};
use adit_dataplane::frame::Umem;
use adit_dataplane::port::xdp::{self, OpenError, OpenedPort, PortRequest, XdpPort, ZeroCopy};
use etherparse::PacketBuilder;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};

/// The number of an interface in a namespace.
pub fn ifindex(namespace: &Namespace, name: &str) -> u32 {
    namespace
        .enter(|| {
            let any = socket(AddressFamily::UNIX, SocketType::DGRAM, None)?;
            name_to_index(any, name)
        })
        .expect("the namespace")
        .expect("the interface")
}

/// A directory for pins that goes with the lab.
pub fn pin_dir(topology: &Topology, name: &str) -> PathBuf {
    let dir = topology.dir().join(name).join("bpf");
    pins::mount_bpffs(&dir).expect("a BPF file system");
    dir
}

/// Attaches to an interface of a namespace.
pub fn attach(
    steering: &mut Steering,
    namespace: &Namespace,
    name: &str,
    side: Side,
) -> AttachMode {
    let index = ifindex(namespace, name);
    namespace
        .enter(|| steering.attach(index, side))
        .expect("the namespace")
        .expect("the program attached")
}

/// Opens `queues` queues of each of the named interfaces of a namespace.
pub fn open(
    namespace: &Namespace,
    umem: &'static Umem,
    names: &[&str],
    queues: u32,
    zero_copy: ZeroCopy,
) -> Result<Vec<OpenedPort>, OpenError> {
    let requests: Vec<PortRequest> = names
        .iter()
        .map(|name| PortRequest {
            ifindex: ifindex(namespace, name),
            name: (*name).to_owned(),
            queues,
        })
        .collect();
    namespace
        .enter(|| xdp::open(umem, &requests, zero_copy, xdp::RING))
        .expect("the namespace")
}

/// Steers queues to their sockets.
pub fn connect<'a>(steering: &mut Steering, queues: impl IntoIterator<Item = &'a XdpPort>) {
    for queue in queues {
        steering
            .set_socket(queue.ifindex(), queue.queue(), queue.as_fd())
            .expect("a place in the map");
    }
}

/// How many frames met one reason on a port.
pub fn count(steering: &Steering, ifindex: u32, reason: Reason) -> u64 {
    let counters = steering.counters(ifindex).expect("the counters");
    counters
        .into_iter()
        .find_map(|(r, frames)| (r == reason).then_some(frames))
        .expect("every reason is there")
}

/// An Ethernet frame with an IPv4 UDP packet from host A to host B, told apart by its number.
pub fn numbered(number: u32, payload: usize) -> Vec<u8> {
    let mut data = vec![0; payload.max(4)];
    data[..4].copy_from_slice(&number.to_be_bytes());
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([10, 1, 0, 2], [10, 2, 0, 2], 64)
        .udp(4000, 5000)
        .write(&mut frame, &data)
        .expect("a packet");
    frame
}

/// The number of a frame made by [`numbered`]; `None` for any other.
pub fn number(frame: &[u8]) -> Option<u32> {
    let ours = frame.get(12..14)? == [8, 0] && frame.get(34..38)? == [0x0f, 0xa0, 0x13, 0x88];
    ours.then(|| u32::from_be_bytes(frame[42..46].try_into().expect("four bytes")))
}
