//! ESP in tunnel mode (RFC 4303): runs of packets of one SA, sealed and opened in place.

pub mod open;
pub mod runs;
pub mod seal;
pub mod tfc;
