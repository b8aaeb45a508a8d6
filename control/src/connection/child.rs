//! `children`: what a connection protects, and how.

use std::time::Duration;

use adit_abi::Mode;
use adit_ike::config::{Action, Child, Volume};
use adit_ike::proposal::{self, Protocol};

use super::foreign;
use super::section::{Foreign, Section};
use super::values;
use crate::sadb::DontFragment;

/// What the data plane is told of a child's SAs, and the engine need not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildSettings {
    /// Anti-replay window in packets, 0 for the largest that the table has, up to 1,024.
    pub replay_window: u16,
    /// The outer DF bit.
    pub df: DontFragment,
    /// Whether ECN bits are copied to the outer header.
    pub copy_ecn: bool,
    /// Whether the DSCP is copied to the outer header.
    pub copy_dscp: bool,
    /// Size to which packets are padded against traffic analysis, [`u16::MAX`] for the path's most, 0 for none.
    pub tfc_padding: u16,
    /// Where its policies stand among others: lower numbers decide first; 0 leaves it to how particular they are.
    pub priority: u64,
}

const ACTIONS: &[(&str, Action)] = &[
    ("none", Action::None),
    ("clear", Action::None),
    ("trap", Action::Trap),
    ("hold", Action::Trap),
    ("route", Action::Trap),
    ("start", Action::Start),
    ("restart", Action::Start),
];

const UNSUPPORTED: &[Foreign] = &[
    foreign(
        "inactivity",
        &["0", "0s"],
        "idle children are not closed; leave it out",
    ),
    foreign("updown", &[], "subscribe to the event child-updown instead"),
    foreign("hostaccess", &["no", "0"], "it only serves updown scripts"),
    foreign(
        "policies",
        &["yes", "1"],
        "an SA without a policy carries nothing here",
    ),
    foreign(
        "policies_fwd_out",
        &["no", "0"],
        "forwarding policies are the kernel's; one policy covers both",
    ),
    foreign(
        "ipcomp",
        &["no", "0"],
        "packets are not compressed; leave it out",
    ),
    foreign(
        "reqid",
        &["0"],
        "SAs are tied to policies by name; leave it out",
    ),
    foreign("interface", &[], "policies hold on all ports; leave it out"),
    foreign(
        "mark_in",
        &["0", "0/0x00000000"],
        "marks are the kernel's; use selectors",
    ),
    foreign(
        "mark_in_sa",
        &["no", "0"],
        "marks are the kernel's; use selectors",
    ),
    foreign(
        "mark_out",
        &["0", "0/0x00000000"],
        "marks are the kernel's; use selectors",
    ),
    foreign(
        "set_mark_in",
        &["0", "0/0x00000000"],
        "marks are the kernel's; use selectors",
    ),
    foreign(
        "set_mark_out",
        &["0", "0/0x00000000"],
        "marks are the kernel's; use selectors",
    ),
    foreign(
        "if_id_in",
        &["0"],
        "XFRM interfaces are the kernel's; use selectors",
    ),
    foreign(
        "if_id_out",
        &["0"],
        "XFRM interfaces are the kernel's; use selectors",
    ),
    foreign(
        "label",
        &[],
        "security labels are not matched; use selectors",
    ),
    foreign(
        "label_mode",
        &["system"],
        "security labels are not matched; use selectors",
    ),
    foreign(
        "hw_offload",
        &["no", "auto", "0"],
        "no NIC seals for a userspace data plane; leave it out",
    ),
    foreign(
        "sha256_96",
        &["no", "0"],
        "the peer's fault of truncating SHA-256 to 96 bits is not imitated; mend the peer",
    ),
];

/// A limit and what follows from it as swanctl has it: the hard one a tenth more, the lot the difference.
fn with_margin(rekey: u64, life: Option<u64>, rand: Option<u64>) -> (u64, u64) {
    let life = life.unwrap_or_else(|| rekey.saturating_add(rekey / 10));
    let rand = rand.unwrap_or_else(|| life.saturating_sub(rekey));
    (life, rand.min(rekey))
}

/// Reads one section of `children`.
///
/// # Errors
/// The key that is wrong, and what was expected.
pub(super) fn child(name: &str, section: Section<'_>) -> Result<(Child, ChildSettings), String> {
    let mut child = Child::new(name);
    let sides = |key| section.each(key, values::selector);
    let (local, remote) = (sides("local_ts")?, sides("remote_ts")?);
    if !local.is_empty() {
        child.local_ts = local;
    }
    if !remote.is_empty() {
        child.remote_ts = remote;
    }
    child.mode = section
        .word(
            "mode",
            &[
                ("tunnel", Mode::Tunnel),
                ("transport", Mode::Transport),
                ("beet", Mode::Beet),
            ],
        )?
        .unwrap_or(Mode::Tunnel);
    let esp = section.list("esp_proposals")?.join(",");
    let ah = section.list("ah_proposals")?.join(",");
    let (key, protocol, text) = if ah.is_empty() {
        ("esp_proposals", Protocol::Esp, esp)
    } else {
        ("ah_proposals", Protocol::Ah, ah)
    };
    let text = if text.is_empty() { "default" } else { &text };
    child.esp_proposals = proposal::parse_list(protocol, text)
        .map_err(|e| section.wrong(key, format!("{text:?}"), e))?;

    let time = |key| section.parsed(key, values::time);
    let seconds = |d: Option<Duration>| d.map(|d| d.as_secs());
    let rekey_time = time("rekey_time")?.unwrap_or(child.rekey_time);
    let (life, rand) = with_margin(
        rekey_time.as_secs(),
        seconds(time("life_time")?),
        seconds(time("rand_time")?),
    );
    child.rekey_time = rekey_time;
    child.life_time = Duration::from_secs(life);
    child.rand_time = Duration::from_secs(rand);
    let amounts = |unit: &str| -> Result<[u64; 3], String> {
        let amount = |what| section.parsed(&format!("{what}_{unit}"), values::amount);
        let rekey = amount("rekey")?.unwrap_or(0);
        let (life, rand) = with_margin(rekey, amount("life")?, amount("rand")?);
        Ok([rekey, life, rand])
    };
    let (bytes, packets) = (amounts("bytes")?, amounts("packets")?);
    let volume = |at: usize| Volume {
        bytes: bytes[at],
        packets: packets[at],
    };
    (child.rekey, child.life, child.rand) = (volume(0), volume(1), volume(2));

    let action = |key| section.word(key, ACTIONS).map(Option::unwrap_or_default);
    child.start_action = action("start_action")?;
    child.close_action = action("close_action")?;
    child.dpd_action = action("dpd_action")?;

    let window: Option<u16> = section.number("replay_window")?;
    let settings = ChildSettings {
        // swanctl's default of 32 is the least that the RFC allows, not a wish.
        replay_window: match window {
            None | Some(32) => 0,
            Some(n) => n.clamp(64, 8192),
        },
        df: match section.flag("copy_df")? {
            None | Some(true) => DontFragment::Copy,
            Some(false) => DontFragment::Clear,
        },
        copy_ecn: section.flag("copy_ecn")?.unwrap_or(true),
        copy_dscp: section
            .word(
                "copy_dscp",
                &[("out", true), ("yes", true), ("no", false), ("in", false)],
            )?
            .unwrap_or(true),
        tfc_padding: section
            .parsed("tfc_padding", |text| match text {
                "mtu" => Ok(u16::MAX),
                _ => text.parse().map_err(|_| "a number of bytes, or mtu".into()),
            })?
            .unwrap_or(0),
        priority: section.number("priority")?.unwrap_or(0),
    };
    section.finish(UNSUPPORTED)?;
    Ok((child, settings))
}
