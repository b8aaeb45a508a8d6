//! The adit control process: configuration, the SAD and the SPD, steering, forwarding, the control socket.

pub mod clock;
mod commands;
pub mod config;
pub mod connection;
pub mod daemon;
pub mod esp_proposal;
pub mod gateway;
pub mod host;
pub mod ike;
pub mod netlink;
pub mod plane;
pub mod radius;
pub mod rate_limit;
pub mod sadb;
pub mod secret;
pub mod selector_syntax;
pub mod steer;
pub mod vici;
