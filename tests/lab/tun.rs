//! The TUN port on a real device: the host's own packets come up and go down.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adit::lab::traffic::{self, PingPlan};
use adit::lab::{Shape, Side, Topology};
use adit_dataplane::frame::{Burst, ChunkSize, HugePages, Stock, Umem};
use adit_dataplane::port::Port;
use adit_dataplane::port::tun::TunPort;

use crate::{alone, runnable};

/// Turns every IPv4 echo request into its reply.
fn answer(port: &mut TunPort, stock: &mut Stock) {
    let mut burst = Burst::new();
    port.receive(stock, &mut burst);
    for frame in &mut burst {
        let packet = &mut frame.bytes_mut()[14..];
        if packet[0] == 0x45 && packet[9] == 1 && packet[20] == 8 {
            let (source, destination) = packet[12..20].split_at_mut(4);
            source.swap_with_slice(destination);
            // Type 8 becomes 0, and the checksum grows by what it sank: RFC 1624.
            packet[20] = 0;
            let sum = u32::from(u16::from_be_bytes([packet[22], packet[23]])) + 0x0800;
            let sum = (sum & 0xffff) + (sum >> 16);
            packet[22..24].copy_from_slice(&(sum as u16).to_be_bytes());
        }
    }
    port.transmit(&mut burst, stock);
    stock.put_all(&mut burst);
}

#[test]
fn the_hosts_own_packets_come_up_and_answers_go_down() {
    or_skip!(runnable());
    let _alone = alone();
    let topology = Topology::build(Shape::default()).expect("a lab");
    let host = topology.host(Side::A);
    let mut port = host
        .enter(|| TunPort::open("own0"))
        .expect("the namespace")
        .expect("a device");
    host.ip("addr add 10.9.0.1/24 dev own0\nlink set own0 up")
        .expect("an address");
    let umem = Umem::new(128, ChunkSize::K2, HugePages::Off).expect("memory");
    let mut stock = umem.stock(128);
    let done = AtomicBool::new(false);
    let plan = PingPlan {
        count: 20,
        interval: Duration::from_millis(5),
        size: 1400,
        ..PingPlan::default()
    };
    let pings = std::thread::scope(|scope| {
        let stack = scope.spawn(|| {
            let pings = traffic::ping(host, "10.9.0.2".parse().expect("an address"), plan);
            done.store(true, Ordering::Relaxed);
            pings
        });
        while !done.load(Ordering::Relaxed) {
            answer(&mut port, &mut stock);
            std::thread::yield_now();
        }
        stack.join().expect("no panic")
    });
    assert_eq!(pings.expect("a count").received, 20);
    assert_eq!(port.statistics().transient_errors, 0);
    assert_eq!((stock.len(), umem.strays()), (128, 0));
}
