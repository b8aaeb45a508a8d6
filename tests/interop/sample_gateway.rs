//! A control socket with made-up contents behind it, for clients to be tried on.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adit_abi::{Action, Suite};
use adit_control::vici::listings::{ChildSa, Direction, IkeSa, Policy, list_policy, list_sa};
use adit_control::vici::replies::{Stats, Version, stats, version};
use adit_control::vici::{Access, Answer, Commands, Reply, Request, failure, success};
use adit_vici::Message;

use crate::serving::Serving;

/// A running sample.
pub struct SampleGateway {
    serving: Serving,
    asked: Arc<Mutex<Vec<(String, Message)>>>,
}

struct Sample {
    sas: Vec<IkeSa>,
    asked: Arc<Mutex<Vec<(String, Message)>>>,
}

impl SampleGateway {
    /// A gateway that has these SAs, and the policies of [`policies`].
    pub fn start(name: &str, sas: Vec<IkeSa>) -> Self {
        Self::start_for(name, Access::default(), sas)
    }

    /// The same for others than root.
    pub fn start_for(name: &str, access: Access, sas: Vec<IkeSa>) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let sample = Sample {
            sas,
            asked: asked.clone(),
        };
        let serving = Serving::start(name, access, sample, |_, _| false);
        SampleGateway { serving, asked }
    }

    /// Its control socket.
    pub fn path(&self) -> PathBuf {
        self.serving.path()
    }

    /// The commands it was asked for, with their arguments, in order.
    pub fn asked(&self) -> Vec<(String, Message)> {
        self.asked.lock().unwrap().clone()
    }
}

impl Commands for Sample {
    fn handle(&mut self, request: Request<'_>, reply: &mut Reply<'_>) -> Answer {
        if request.cursor == 0 {
            self.asked
                .lock()
                .unwrap()
                .push((request.name.to_owned(), request.message.clone()));
        }
        match request.name {
            "version" => Answer::Done(version(&Version {
                daemon: "adit-control".into(),
                version: "1.2.3".into(),
                sysname: "Linux".into(),
                release: "6.18".into(),
                machine: "x86_64".into(),
            })),
            "stats" => Answer::Done(stats(&Stats {
                uptime: Duration::from_secs(301),
                since: 1_763_836_205,
                scheduled: 3,
                ike_sas: 2,
                half_open: 1,
                plugins: vec!["vici".into(), "netlink".into()],
            })),
            "list-sas" => {
                for (index, sa) in self.sas.iter().enumerate().skip(request.cursor as usize) {
                    if !reply.has_room() {
                        return Answer::More(index as u64);
                    }
                    reply.event("list-sa", &list_sa(sa));
                }
                Answer::Done(Message::new())
            }
            "list-policies" => {
                for policy in policies()
                    .iter()
                    .filter(|policy| policy.is_asked_for(request.message))
                {
                    reply.event("list-policy", &list_policy(policy));
                }
                Answer::Done(Message::new())
            }
            "adit-status" => {
                Answer::Done(Message::new().with("daemon", "adit-control").with_section(
                    "dataplane",
                    Message::new().with("connected", "yes").with("pid", "77"),
                ))
            }
            "adit-stats" => Answer::Done(
                Message::new().with_section(
                    "drops",
                    Message::new()
                        .with("replayed", "3")
                        .with("unknown_spi", "0"),
                ),
            ),
            "sa-add" | "policy-add" | "policy-delete" => Answer::Done(success()),
            "sa-delete" => Answer::Done(failure("there is no SA 0x00001001 to 192.0.2.2")),
            _ => Answer::Unknown,
        }
    }

    fn knows_event(&self, event: &str) -> bool {
        ["list-sa", "list-policy"].contains(&event)
    }
}

/// One with IKE, and one with manual keys for one direction only.
pub fn sas() -> Vec<IkeSa> {
    let mut site = IkeSa::manual("site-b", 1, "192.0.2.1", "192.0.2.2", vec![child(7)]);
    site.version = 2;
    site.state = "ESTABLISHED".into();
    (site.local.port, site.remote.port) = (500, 4500);
    site.remote.id = "gw-b.example".into();
    site.initiator = true;
    (site.initiator_spi, site.responder_spi) = (0x0102_0304_0506_0708, 0xf1f2_f3f4_f5f6_f7f8);
    site.established = Some(60);

    let lone = ChildSa {
        name: "lab".into(),
        reqid: 2,
        encap: true,
        suite: Some(Suite::AES256_SHA256),
        esn: false,
        inbound: None,
        outbound: Some(Direction {
            spi: 0x3003,
            bytes: 100,
            packets: 1,
            ..Direction::default()
        }),
        rekey_time: None,
        life_time: None,
        install_time: 5,
        ..child(8)
    };
    vec![
        site,
        IkeSa::manual("lab", 2, "2001:db8::1", "2001:db8::2", vec![lone]),
    ]
}

/// A child SA with everything in it.
pub fn child(unique_id: u64) -> ChildSa {
    ChildSa {
        name: "net".into(),
        unique_id,
        reqid: 1,
        state: "INSTALLED".into(),
        mode: "TUNNEL".into(),
        encap: false,
        suite: Some(Suite::AES128_GCM16),
        esn: true,
        inbound: Some(Direction {
            spi: 0x1001,
            bytes: 8400,
            packets: 100,
            last_use: Some(2),
            window: Some(1024),
            ..Direction::default()
        }),
        outbound: Some(Direction {
            spi: 0x2002,
            bytes: 4200,
            packets: 50,
            last_use: Some(3),
            window: None,
            ..Direction::default()
        }),
        rekey_time: Some(3000),
        life_time: Some(3600),
        install_time: 60,
        local_ts: vec!["10.1.0.0/24".into(), "fd00:1::/64".into()],
        remote_ts: vec!["10.2.0.0/24[tcp/80]".into()],
    }
}

/// One of each action.
pub fn policies() -> Vec<Policy> {
    let policy = |name: &str, action, priority| Policy {
        name: name.into(),
        ike: None,
        reqid: priority,
        action,
        priority,
        direction: "both",
        from_packet: Vec::new(),
        counts: [0; 4],
        sa: None,
        local_ts: vec!["10.1.0.0/24".into()],
        remote_ts: vec!["10.2.0.0/24".into(), "10.3.0.0/24".into()],
    };
    let protect = Policy {
        ike: Some("site-b".into()),
        sa: Some((0x2002, "192.0.2.2".into())),
        ..policy("net", Action::Protect, 30)
    };
    vec![
        protect,
        policy("ssh", Action::Bypass, 10),
        policy("rest", Action::Discard, 20),
    ]
}
