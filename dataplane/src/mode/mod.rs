//! How a packet and its SA's headers are put together and taken apart (RFC 4301 §4.1). Tunnel mode only.

pub mod tunnel;
