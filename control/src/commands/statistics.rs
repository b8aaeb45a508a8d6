//! `adit-stats`: every counter. None is ever reset.

use adit_abi::{DropReason, PortCounter, Side, WorkerCounter};
use adit_vici::Message;

use crate::clock;
use crate::gateway::Gateway;

const WORKER: &[(&str, WorkerCounter)] = &[
    ("bursts", WorkerCounter::Bursts),
    ("sealed", WorkerCounter::Sealed),
    ("sealed_bytes", WorkerCounter::SealedBytes),
    ("opened", WorkerCounter::Opened),
    ("opened_bytes", WorkerCounter::OpenedBytes),
    ("bypassed", WorkerCounter::Bypassed),
    ("to_host", WorkerCounter::ToHost),
    ("icmp_sent", WorkerCounter::IcmpSent),
    ("mss_clamped", WorkerCounter::MssClamped),
    ("flow_hits", WorkerCounter::FlowHits),
    ("flow_misses", WorkerCounter::FlowMisses),
    ("keepalives_sent", WorkerCounter::KeepalivesSent),
    ("dummies_sent", WorkerCounter::DummiesSent),
    ("fragments", WorkerCounter::Fragments),
    ("reassembled", WorkerCounter::Reassembled),
    ("reassembled_from", WorkerCounter::ReassembledFrom),
    ("reassembly_bytes", WorkerCounter::ReassemblyBytes),
    ("handed_over", WorkerCounter::HandedOver),
    ("path_mtu_learned", WorkerCounter::PathMtuLearned),
    ("ecn_invalid", WorkerCounter::EcnInvalid),
    ("ecn_unusual", WorkerCounter::EcnUnusual),
    ("free_frames", WorkerCounter::FreeFrames),
];

const PORT: &[(&str, PortCounter)] = &[
    ("received_packets", PortCounter::ReceivedPackets),
    ("received_bytes", PortCounter::ReceivedBytes),
    ("sent_packets", PortCounter::SentPackets),
    ("sent_bytes", PortCounter::SentBytes),
    ("receive_overruns", PortCounter::ReceiveOverruns),
    ("receive_errors", PortCounter::ReceiveErrors),
];

impl Gateway {
    pub(super) fn statistics(&self) -> Message {
        let state = self.sadb.state();
        let workers: Vec<_> = (0..state.workers()).map(|n| state.worker(n)).collect();
        let total = |value: &dyn Fn(&adit_abi::WorkerCounters<'_>) -> u64| {
            let sum = workers
                .iter()
                .fold(0u64, |sum, w| sum.wrapping_add(value(w)));
            sum.to_string()
        };
        let mut drops = Message::new();
        let mut sections = Message::new();
        for reason in DropReason::ALL {
            let dropped = total(&|w| w.drops(*reason));
            if dropped != "0" && !reason.rfc().is_empty() {
                sections.add(reason.name(), reason.rfc());
            }
            drops.add(reason.name(), dropped);
        }
        let mut ports = Message::new();
        let mut steering = Message::new();
        for port in &self.ports {
            let mut m = Message::new();
            for (name, counter) in PORT {
                m.add(
                    *name,
                    total(&|w| w.port_value(port.number.into(), *counter)),
                );
            }
            ports.add_section(&port.name, m);
            if port.side != Side::Host {
                let mut m = Message::new();
                for (reason, count) in self.steer.counters(port.ifindex) {
                    m.add(reason.name(), count.to_string());
                }
                steering.add_section(&port.name, m);
            }
        }
        let now = clock::now();
        let mut each = Message::new();
        for (n, worker) in workers.iter().enumerate() {
            let mut m = Message::new();
            for (name, counter) in WORKER {
                m.add(*name, worker.value(*counter).to_string());
            }
            let beat = worker.value(WorkerCounter::Heartbeat);
            let age = now.saturating_sub(beat) / 1_000_000;
            m.add("heartbeat_age_ms", age.to_string());
            each.add_section(n.to_string(), m);
        }
        Message::new()
            .with_section("drops", drops)
            .with_section("drop-rfcs", sections)
            .with_section("ports", ports)
            .with_section("steering", steering)
            .with_section("workers", each)
            .with("events_lost", self.events.lost().to_string())
    }
}
