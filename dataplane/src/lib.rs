//! The adit data plane.

pub mod frame;
pub mod port;
