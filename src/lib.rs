//! What the operator's command, `adit`, is made of; the privileged tests use parts of it.

pub mod check;
pub mod cli;
pub mod explain;
pub mod key;
pub mod lab;
pub mod open;
pub mod packet_options;
pub mod policy;
pub mod probe;
pub mod reload;
pub mod sa;
pub mod stats;
pub mod status;
pub mod tree;
