//! The adit control process: configuration, the SAD and the SPD, steering, forwarding, the control socket.

pub mod clock;
pub mod config;
pub mod esp_proposal;
pub mod host;
pub mod netlink;
pub mod plane;
pub mod sadb;
pub mod secret;
pub mod selector_syntax;
pub mod vici;
