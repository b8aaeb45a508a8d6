//! `stats` and `adit-status`: how the gateway stands.

use std::time::{SystemTime, UNIX_EPOCH};

use adit_bpf::AttachMode;
use adit_vici::Message;

use crate::gateway::{Gateway, GatewayPort};
use crate::plane::session::Stage;
use crate::vici::replies::{self, Stats};

impl Gateway {
    pub(super) fn stats(&self) -> Message {
        let uptime = self.started.elapsed();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        replies::stats(&Stats {
            uptime,
            since: now.saturating_sub(uptime).as_secs(),
            scheduled: u64::from(self.next_expiry().is_some()),
            ike_sas: 0,
            half_open: 0,
            plugins: ["manual", "netlink", "steer", "vici"]
                .map(str::to_owned)
                .into(),
        })
    }

    pub(super) fn status(&self) -> Message {
        let yes = |b: bool| if b { "yes" } else { "no" };
        let session = &self.session;
        let mut plane = Message::new()
            .with("connected", yes(session.stage != Stage::Absent))
            .with("stage", session.stage.name())
            .with("workers", self.sadb.state().workers().to_string());
        if session.stage != Stage::Absent {
            plane.add("pid", session.pid.to_string());
        }
        if let Some(reason) = &session.failure {
            plane.add("failure", reason);
        }
        let ports = self.real_ports().fold(Message::new(), |m, port| {
            m.with_section(&port.name, self.port_status(port))
        });
        let refused = self.routes.refusals();
        let refused = refused.chain(self.steering_refused.as_deref());
        let host = Message::new()
            .with("tun", &self.config.gateway.tun)
            .with("present", yes(self.has_tun()))
            .with_list("refused", refused);
        let fill = |used: usize, capacity: u32| {
            Message::new()
                .with("used", used.to_string())
                .with("capacity", capacity.to_string())
        };
        let (reader, capacity) = (self.sadb.reader(), self.sadb.capacity());
        let entries = self.sadb.policies().map(|(_, p)| p.slots.len()).sum();
        Message::new()
            .with("daemon", env!("CARGO_PKG_NAME"))
            .with("version", env!("CARGO_PKG_VERSION"))
            .with("pid", std::process::id().to_string())
            .with("uptime", self.started.elapsed().as_secs().to_string())
            .with("open", yes(self.steer.is_open()))
            .with_section("dataplane", plane)
            .with_section("ports", ports)
            .with_section("host", host)
            .with_section("sad", fill(self.sadb.sa_count(), capacity.sas))
            .with_section("spd", fill(entries, capacity.policies))
            .with_section("routes", fill(reader.routes().count(), capacity.routes))
            .with_section(
                "neighbours",
                fill(reader.neighbours().count(), capacity.neighbours),
            )
    }

    fn port_status(&self, port: &GatewayPort) -> Message {
        let mut m = Message::new()
            .with("side", port.side.name())
            .with("queues", port.queues.to_string());
        let mut reasons = Vec::new();
        match self.steer.mode(port.ifindex) {
            Some(AttachMode::Native) => {
                m.add("xdp", "native");
            }
            Some(AttachMode::Generic { reason }) => {
                m.add("xdp", "generic");
                reasons.push(format!("xdp: {reason}"));
            }
            None => {
                m.add("xdp", "none");
            }
        }
        let mut bindings = self
            .session
            .bindings
            .iter()
            .filter(|((number, _), _)| *number == port.number)
            .map(|(_, binding)| binding);
        if let Some(first) = bindings.next() {
            let same = bindings.all(|b| b.zero_copy == first.zero_copy);
            m.add(
                "bind",
                match (same, first.zero_copy) {
                    (false, _) => "mixed",
                    (true, true) => "zero-copy",
                    (true, false) => "copy",
                },
            );
            reasons.push(first.reason.clone());
        }
        m.add("reason", reasons.join("; "));
        m
    }
}
