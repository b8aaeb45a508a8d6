//! `policy-explain`: which policy a packet meets, and why not those before it.

use adit_abi::{Action, Flow, Selector, has_type};
use adit_vici::Message;

use super::arguments::Arguments;
use crate::gateway::Gateway;
use crate::sadb::PolicyEntry;
use crate::selector_syntax::{SelectorSide, show_local, show_remote};

/// Policies passed over that are told of at most.
const TOLD: usize = 32;

impl Gateway {
    /// Walks the policies as the data plane's look-up decides.
    pub(super) fn policy_explain(&self, message: &Message) -> Result<Message, String> {
        let keys = ["src", "dst", "protocol", "ports", "direction"];
        let a = Arguments::check(message, &keys)?;
        let out = a
            .word("direction", &[("out", true), ("in", false)])?
            .unwrap_or(true);
        let (flow, ports) = packet(&a, out)?;
        let mut entries: Vec<_> = self
            .sadb
            .policies()
            .flat_map(|(_, p)| {
                p.slots
                    .iter()
                    .zip(&p.spec.selectors)
                    .map(move |(n, s)| (p, *n, s))
            })
            .filter(|(p, ..)| p.spec.applies.counts(out))
            .collect();
        entries.sort_unstable_by_key(|(p, slot, _)| (p.spec.priority, *slot));
        let mut passed = Message::new();
        let mut told = 0;
        let mut unclear: Option<&PolicyEntry> = None;
        for (policy, slot, selector) in entries {
            match selector.covers_shown(&flow, ports) {
                Some(true) => {
                    let answer = match unclear {
                        Some(before) if !selector.is_opaque() => hidden(before),
                        _ => self.met(policy, slot, selector, (&flow, ports, out)),
                    };
                    return Ok(answer.with_section("passed", passed));
                }
                Some(false) => unclear = unclear.or(Some(policy)),
                None if told < TOLD => {
                    told += 1;
                    let why = why_not(selector, &flow);
                    passed.add_section(
                        format!("{}#{slot}", policy.spec.name),
                        shown(selector).with("why", why),
                    );
                }
                None => {}
            }
        }
        let answer = match unclear {
            Some(before) => hidden(before),
            None => {
                let unmatched = Action::from_u8(self.sadb.reader().settings().unmatched);
                let action = if unmatched == Action::Bypass {
                    "bypass"
                } else {
                    "discard"
                };
                Message::new()
                    .with("action", action)
                    .with("why", "no policy covers it: gateway.unmatched decides; what stays on the inside is forwarded")
            }
        };
        Ok(answer.with_section("passed", passed))
    }

    fn met(
        &self,
        policy: &PolicyEntry,
        slot: u32,
        selector: &Selector,
        (flow, ports, out): (&Flow, bool, bool),
    ) -> Message {
        let mut answer = Message::new()
            .with("policy", &policy.spec.name)
            .with("priority", policy.spec.priority.to_string())
            .with("action", policy.spec.action.name().to_lowercase());
        let why = match (policy.spec.action, out) {
            (Action::Discard, _) => "the policy says so",
            (Action::Bypass, _) => "it is forwarded in clear",
            (Action::Protect, false) => {
                "in clear it is dropped: only through an SA may it come (RFC 4301 §5.2)"
            }
            (Action::Protect, true) => match self.sadb.sa_of(slot, flow, ports) {
                Some(sa) => {
                    answer
                        .add("spi", sa.spi.to_string())
                        .add("dst", sa.destination.to_string());
                    "it is sealed into this SA"
                }
                None => {
                    let wanted = policy.spec.from_packet.narrow(selector, flow, ports);
                    answer
                        .add("wanted_local", show_local(&wanted))
                        .add("wanted_remote", show_remote(&wanted));
                    "no SA covers it yet: it is held, and an SA for wanted_local and wanted_remote asked for"
                }
            },
        };
        answer.add("why", why);
        answer.with_section("selector", shown(selector))
    }
}

fn hidden(policy: &PolicyEntry) -> Message {
    Message::new()
        .with("policy", &policy.spec.name)
        .with("action", "discard")
        .with(
            "why",
            "the fragment does not show whether this policy covers it (RFC 4301 §7): add a selector with opaque",
        )
}

fn shown(selector: &Selector) -> Message {
    Message::new()
        .with("local", show_local(selector))
        .with("remote", show_remote(selector))
}

/// The first field in which a selector does not cover a flow.
fn why_not(s: &Selector, flow: &Flow) -> String {
    let outside = |first, last, a| a < first || a > last;
    if outside(s.local_first, s.local_last, flow.local) {
        return format!("the local address {} is not in it", flow.local);
    }
    if outside(s.remote_first, s.remote_last, flow.remote) {
        return format!("the remote address {} is not in it", flow.remote);
    }
    if s.protocol != 0 && s.protocol != flow.protocol {
        return format!("the protocol {} is another", flow.protocol);
    }
    let typed = has_type(flow.protocol);
    if !s.local_ports.contains(flow.local_port) {
        let what = if typed {
            "the message type"
        } else {
            "the local port"
        };
        return format!("{what} is not in it");
    }
    "the remote port is not in it".into()
}

/// The packet asked about, with `local` its protected end, and whether it shows its ports.
fn packet(a: &Arguments<'_>, out: bool) -> Result<(Flow, bool), String> {
    let (source, destination) = (a.address("src")?, a.address("dst")?);
    if source.is_v4() != destination.is_v4() {
        return Err("src and dst: expected addresses of one family".into());
    }
    let protocol = a.needed("protocol")?;
    let ports = a.text("ports")?.unwrap_or("");
    // The selector syntax knows the names of protocols and the forms of ports and types.
    let one = |port: &str| {
        let side = SelectorSide::parse(&format!("0.0.0.0[{protocol}/{port}]"));
        side.map_err(|e| {
            format!("protocol and ports: {protocol:?} and {ports:?} found, expected {e}")
        })
    };
    let number = one("any")?.protocol;
    if number == 0 {
        return Err(
            "protocol: a packet has one, expected a name such as tcp, or its number".into(),
        );
    }
    let (local_port, remote_port, shown) = match ports {
        "opaque" => (0, 0, false),
        "" if has_type(number) || matches!(number, 6 | 17 | 33 | 132 | 136) => {
            return Err(format!(
                "ports is missing: expected FROM,TO, a message type, or opaque for a fragment of {protocol}"
            ));
        }
        "" => (0, 0, number != adit_abi::OPAQUE_PROTOCOL),
        kind if has_type(number) => (one(kind)?.ports.first, 0, true),
        _ => {
            let (from, to) = ports
                .split_once(',')
                .ok_or_else(|| format!("ports is {ports:?}, expected FROM,TO"))?;
            (one(from)?.ports.first, one(to)?.ports.first, true)
        }
    };
    let flow = Flow {
        local: source,
        remote: destination,
        protocol: number,
        local_port,
        remote_port,
    };
    Ok((if out { flow } else { flow.reversed() }, shown))
}
