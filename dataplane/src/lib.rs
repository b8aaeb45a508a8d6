//! The adit data plane.

pub mod crypto;
pub mod frame;
pub mod pcapng;
pub mod port;
