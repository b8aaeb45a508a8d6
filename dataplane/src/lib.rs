//! The adit data plane.

pub mod crypto;
pub mod frame;
pub mod port;
