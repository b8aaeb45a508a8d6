//! Fuzz targets: one function for each place where bytes from outside are read.
//!
//! `fuzz/run TARGET SECONDS` lets libFuzzer look for new inputs, starting from `fuzz/corpus/TARGET`. The corpora
//! are replayed, each file with a few thousand small changes, by the ordinary test `fuzz/tests/replay.rs`.

mod cipher;
mod eap;
mod ike;
mod ike_exchange;
mod messages;
mod pipeline;
mod radius;
mod region;

/// A place to throw bytes at. It must neither panic nor take long, whatever they are.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name: the folder of its corpus.
    pub name: &'static str,
    /// Takes one input.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target {
        name: "vici-packet",
        run: messages::vici_packet,
    },
    Target {
        name: "vici-message",
        run: messages::vici_message,
    },
    Target {
        name: "plane-message",
        run: messages::plane_message,
    },
    Target {
        name: "policy-region",
        run: region::policy,
    },
    Target {
        name: "state-region",
        run: region::state,
    },
    Target {
        name: "esp-cipher",
        run: cipher::open,
    },
    Target {
        name: "frame-inside",
        run: pipeline::inside,
    },
    Target {
        name: "frame-outside",
        run: pipeline::outside,
    },
    Target {
        name: "frame-host",
        run: pipeline::host,
    },
    Target {
        name: "esp-inner",
        run: pipeline::inner,
    },
    Target {
        name: "ike-message",
        run: ike::message,
    },
    Target {
        name: "ike-payload",
        run: ike::payload,
    },
    Target {
        name: "ike-chain",
        run: ike::chain,
    },
    Target {
        name: "ike-exchange",
        run: ike_exchange::exchange,
    },
    Target {
        name: "ike-fragments",
        run: ike::fragments,
    },
    Target {
        name: "eap-peer",
        run: eap::peer,
    },
    Target {
        name: "eap-authenticator",
        run: eap::authenticator,
    },
    Target {
        name: "radius-packet",
        run: radius::packet,
    },
    Target {
        name: "radius-response",
        run: radius::response,
    },
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|t| t.name == name).copied()
}

/// All names, for a message.
pub fn names() -> String {
    TARGETS
        .iter()
        .map(|t| t.name)
        .collect::<Vec<_>>()
        .join(", ")
}
