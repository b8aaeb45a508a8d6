//! A Linux kernel's XFRM and adit exchange packets.

use crate::data_path::DataPath;
use crate::linux_gateway::LinuxGateway;
use crate::peers::guest::{Guest, Link};
use crate::ping::{self, Echo};
use crate::tunnel::{Tunnel, setup};
use crate::wire;
use adit::lab::daemons::Daemons;
use adit::lab::gateway::{self, Gateway};
use adit::lab::sas::{LabSa, SaShape, TunnelPlan};
use adit::lab::traffic::{self, PingPlan};
use adit::lab::wait::{self, Look};
use adit::lab::{Family, Shape, Side, Topology};
use adit_abi::Suite;
use adit_vici::Message;
use std::thread;
use std::time::Duration;

/// Pings each way.
const PINGS: u64 = 3;

const TAPPED: Shape = Shape {
    queues: 1,
    tapped: true,
};

#[test]
fn the_linux_kernel_answers_pings_that_the_data_path_seals() {
    let tunnels = Tunnel::all();
    let mut data_path = DataPath::new(&tunnels);
    let mut guest = or_skip!(Guest::boot("data-path", &Link::Test, &setup(&tunnels)));
    for tunnel in &tunnels {
        // Across the border between the halves of the sequence number where there is one.
        for (number, size) in (1..).zip([56, 0, 1300]) {
            if let Err(reason) = exchange(&mut data_path, &guest, tunnel, &Echo::new(number, size))
            {
                let counters = guest.must("cat /proc/net/xfrm_stat; ip -s xfrm state list nokeys");
                panic!("{}, echo {number}: {reason}; {counters}", tunnel.describe());
            }
        }
    }
}

fn exchange(
    data_path: &mut DataPath,
    guest: &Guest,
    tunnel: &Tunnel,
    echo: &Echo,
) -> Result<(), String> {
    let Tunnel { here, there, .. } = *tunnel;
    wire::send(
        guest,
        &data_path.seal(&ping::request(here, there, 64, echo))?,
    );
    let (src, dst) = (tunnel.from_peer.src, tunnel.from_peer.dst);
    let answer = wire::receive(guest, src, dst).ok_or("no reply")?;
    let reply = ping::reply(&data_path.open(&answer)?);
    assert_eq!(reply, Some((there, here, echo.clone())));
    Ok(())
}

#[test]
fn both_processes_and_the_linux_kernel_answer_each_others_pings() {
    or_skip!(crate::runnable());
    or_skip!(Daemons::find());
    let topology = Topology::build(TAPPED).expect("a lab");
    let mut kernel = or_skip!(LinuxGateway::boot("both-processes", &topology));
    let mut gateway = Gateway::new(&topology, Side::A).expect("a gateway");
    gateway.start().expect("a gateway that is ready");
    // From here on the kernel would forward in clear if it were let.
    topology.kernel_forwarding(true).expect("forwarding");
    let gateways = [gateway];
    let mut before: Option<TunnelPlan> = None;
    for shape in shapes() {
        let plan = TunnelPlan::fresh(shape).expect("random octets");
        kernel.install(&plan);
        match before.replace(plan.clone()) {
            None => gateway::install(&gateways, &plan),
            Some(old) => gateway::rekey(&gateways, &old, &plan),
        }
        .unwrap_or_else(|e| panic!("{shape:?}: {e}"));
        let outcome = both_ways(&topology, &mut kernel);
        if outcome != [PINGS; 4] {
            let (drops, kernel) = (gateways[0].drops(), kernel.state());
            panic!("{shape:?}: {outcome:?} of {PINGS}; {drops:?}; {kernel}");
        }
    }
    let old = before.expect("a tunnel");
    large_packets(&topology, &mut kernel, &gateways, &old);
}

/// Packets larger than the path, sealed whole and cut by either end; among padding and dummies.
fn large_packets(
    topology: &Topology,
    kernel: &mut LinuxGateway,
    gateways: &[Gateway; 1],
    old: &TunnelPlan,
) {
    let plan = TunnelPlan::fresh(SaShape::default()).expect("random octets");
    kernel.install(&plan);
    gateway::rekey(gateways, old, &plan).expect("a rekey");
    let ours = |sa: &&LabSa| (sa.from, sa.inner) == (Side::A, Family::V4);
    let sa = plan.sas.iter().find(ours).expect("an SA");
    // Nothing has been sealed under it yet, so no sequence number is used twice.
    let key = Message::new()
        .with("spi", format!("{:#010x}", sa.spi))
        .with("dst", sa.destination(Family::V4).to_string());
    let request = |command, message| gateways[0].request(command, message).expect("an SA");
    request("sa-delete", &key);
    let again = key
        .clone()
        .with("direction", "out")
        .with("policy", "lab-v4")
        .with("src", sa.source(Family::V4).to_string())
        .with("suite", plan.proposal())
        .with("enc_key", sa.enc_key.as_slice())
        .with_list("local_ts", [Side::A.prefix(Family::V4)])
        .with_list("remote_ts", [Side::B.prefix(Family::V4)])
        .with("df", "clear")
        .with("fragment", "after")
        .with("tfc_padding", "mtu")
        .with("dummies", "50");
    request("sa-add", &again);
    let large = PingPlan {
        count: PINGS as u32,
        size: 1472,
        ..PingPlan::default()
    };
    let to = Side::B.host_address(Family::V4);
    let pings = traffic::ping(topology.host(Side::A), to, large).expect("a count");
    let nothing = Message::new();
    let counted = || {
        let stats = request("adit-stats", &nothing);
        let worker = stats.section("workers").and_then(|w| w.sections().next());
        let (_, worker) = worker.expect("a worker");
        let count = |key| worker.str(key).and_then(|n| n.parse::<u64>().ok());
        ["fragments", "reassembled", "dummies_sent"].map(count)
    };
    // Dummies come at their own rate, whatever else is sent.
    let limit = Duration::from_secs(10);
    let all = wait::until("fragments both ways and a dummy", limit, || {
        let counted = counted();
        Ok(if counted.iter().all(|n| n.is_some_and(|n| n > 0)) {
            Look::Ready(())
        } else {
            Look::NotYet(format!("{counted:?}"))
        })
    });
    let counted = counted();
    assert_eq!(pings.received, PINGS, "{counted:?}; {}", kernel.state());
    all.expect("counts");
}

/// Each kind of suite in IPv4 and one in IPv6, with and without ESN; in a long run every transform in both.
fn shapes() -> Vec<SaShape> {
    let long = std::env::var_os("ADIT_LONG").is_some();
    let kinds = [
        Suite::AES256_GCM16,
        Suite::CHACHA20_POLY1305,
        Suite::AES128_SHA256,
    ];
    let mut shapes = Vec::new();
    for suite in Suite::each_esp_transform() {
        for outer in Family::BOTH {
            let quick = match outer {
                Family::V4 => kinds.contains(&suite),
                Family::V6 => suite == kinds[0],
            };
            if long || quick {
                shapes.extend([false, true].map(|esn| SaShape {
                    suite,
                    outer,
                    esn,
                    encap: false,
                }));
            }
        }
    }
    shapes
}

/// Replies that came to host A in IPv4 and IPv6 inside, then those that came to the kernel.
fn both_ways(topology: &Topology, kernel: &mut LinuxGateway) -> [u64; 4] {
    let plan = PingPlan {
        count: PINGS as u32,
        // Once anything came back, ping waits no longer than this for the last reply.
        interval: Duration::from_millis(500),
        ..PingPlan::default()
    };
    let from_host = |family| {
        let to = Side::B.host_address(family);
        let pings = traffic::ping(topology.host(Side::A), to, plan);
        pings.expect("a count").received
    };
    thread::scope(|scope| {
        let hosts = Family::BOTH.map(|family| scope.spawn(move || from_host(family)));
        let kernels = Family::BOTH.map(|family| kernel.ping(family, PINGS));
        let [v4, v6] = hosts.map(|pings| pings.join().expect("a count"));
        [v4, v6, kernels[0], kernels[1]]
    })
}
