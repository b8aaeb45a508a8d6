//! The XDP steering program, its committed object and its loader.
//!
//! The program (`src/steer.bpf.c`) decides for each frame that arrives on a managed port whether the
//! kernel or the data plane gets it. [`Steering`] loads it, attaches it to ports and fills its maps.
//! Everything is pinned in a directory of a BPF file system ([`pins`]), so that it outlives the
//! process that loaded it: with no one left alive, what is not for this host is dropped, not forwarded.
//!
//! `build.sh` compiles the object; a plain build of this crate uses the committed one.

mod error;
mod link;
pub mod pins;
mod reason;
mod steering;

pub use error::SteeringError;
pub use reason::Reason;
pub use steering::{Action, AttachMode, Port, Side, Steering};

/// Most ports that the program serves.
pub const MAX_PORTS: u32 = 64;

/// Most queues per port.
pub const MAX_QUEUES: u32 = 64;

/// Most own addresses per family.
pub const MAX_OWN: u32 = 4096;

/// Places for counters per port.
const MAX_REASONS: u32 = 32;

/// The program as clang made it.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../steer.bpf.o");

/// Name, bytes of a key, bytes of a value and most entries of every map.
const MAPS: [(&str, u32, u32, u32); 5] = [
    ("ports", 4, 16, MAX_PORTS),
    ("sockets", 4, 4, MAX_PORTS * MAX_QUEUES),
    ("own4", 4, 4, MAX_OWN),
    ("own6", 16, 4, MAX_OWN),
    ("counters", 4, 8, MAX_PORTS * MAX_REASONS),
];

#[cfg(test)]
mod object_tests;
