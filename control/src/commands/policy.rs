//! `policy-add` and `policy-delete`.

use adit_abi::Action;
use adit_abi::message::Verdict;
use adit_vici::Message;

use super::arguments::Arguments;
use crate::config::DIRECTIONS;
use crate::gateway::Gateway;
use crate::sadb::{Origin, PolicySpec};
use crate::selector_syntax::pairs;

const KEYS: &[&str] = &[
    "name",
    "action",
    "priority",
    "direction",
    "pfp",
    "local_ts",
    "remote_ts",
    "spi",
    "dst",
];

impl Gateway {
    pub(super) fn policy_add(&mut self, message: &Message) -> Result<(), String> {
        let a = Arguments::check(message, KEYS)?;
        let actions = [
            ("protect", Action::Protect),
            ("bypass", Action::Bypass),
            ("discard", Action::Discard),
        ];
        let name = a.needed("name")?.to_owned();
        let sa = match (a.text("spi")?, a.text("dst")?) {
            (None, None) => None,
            _ => Some(a.sa_key()?),
        };
        let selectors = pairs(&a.sides("local_ts")?, &a.sides("remote_ts")?)
            .map_err(|e| format!("local_ts and remote_ts: expected {e}"))?;
        let spec = PolicySpec {
            name: name.clone(),
            selectors,
            action: a.word("action", &actions)?.ok_or("action is missing")?,
            priority: a.number("priority")?.ok_or("priority is missing")?,
            applies: a.word("direction", &DIRECTIONS)?.unwrap_or_default(),
            from_packet: a.packet_fields("pfp")?,
            origin: Origin::Command,
        };
        self.add_policy(spec).map_err(|e| e.to_string())?;
        let Some(key) = sa else { return Ok(()) };
        self.link(&name, &key).map_err(|e| {
            // All or nothing.
            let _ = self.remove_policy(&name);
            e.to_string()
        })
    }

    pub(super) fn release(&mut self, message: &Message) -> Result<(), String> {
        let a = Arguments::check(message, &["policy", "verdict", "local_ts", "remote_ts"])?;
        let verdicts = [("clear", Verdict::Clear), ("drop", Verdict::Drop)];
        let verdict = a
            .word("verdict", &verdicts)?
            .ok_or("verdict is missing: expected clear or drop")?;
        let only = if a.has("local_ts") || a.has("remote_ts") {
            let only = pairs(&a.sides("local_ts")?, &a.sides("remote_ts")?)
                .map_err(|e| format!("local_ts and remote_ts: expected {e}"))?;
            Some(only)
        } else {
            None
        };
        self.release_held(a.needed("policy")?, only.as_deref(), verdict)
            .map_err(|e| e.to_string())
    }

    pub(super) fn policy_delete(&mut self, message: &Message) -> Result<(), String> {
        let name = Arguments::check(message, &["name"])?.needed("name")?;
        self.remove_policy(name).map_err(|e| e.to_string())
    }
}
