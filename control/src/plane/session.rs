//! What is known of the data plane that is connected, and how it came to its ports.

use std::collections::BTreeMap;

use adit_abi::message::Setup;

/// How far the data plane has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// There is none.
    #[default]
    Absent,
    /// It was given the regions.
    Mapping,
    /// It was told which ports to open.
    Opening,
    /// All ports are open and all workers run.
    Ready,
}

impl Stage {
    /// The word for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Mapping => "mapping",
            Self::Opening => "opening",
            Self::Ready => "ready",
        }
    }
}

/// How one queue is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Whether in zero-copy mode.
    pub zero_copy: bool,
    /// Why in this mode.
    pub reason: String,
}

/// The data plane as far as control knows it.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// How far it has come.
    pub stage: Stage,
    /// Its process.
    pub pid: u32,
    /// What it ran when it said Hello.
    pub running: Option<Setup>,
    /// Its bound queues by port number and queue.
    pub bindings: BTreeMap<(u8, u16), Binding>,
    /// The last thing that it could not do.
    pub failure: Option<String>,
}

/// In which settings two setups differ, for a warning.
pub fn differences(ours: &Setup, theirs: &Setup) -> Vec<&'static str> {
    let mut out = Vec::new();
    let mut check = |name, same: bool| {
        if !same {
            out.push(name);
        }
    };
    check("frame_size", ours.frame_size == theirs.frame_size);
    check(
        "frames_per_worker",
        ours.frames_per_worker == theirs.frames_per_worker,
    );
    check("ring_size", ours.ring_size == theirs.ring_size);
    check("workers", ours.workers == theirs.workers);
    check("huge_pages", ours.huge_pages == theirs.huge_pages);
    check("zero_copy", ours.zero_copy == theirs.zero_copy);
    check("cpus", ours.cpus == theirs.cpus);
    check("ports", ours.ports == theirs.ports);
    out
}
