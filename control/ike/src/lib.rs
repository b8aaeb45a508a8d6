//! IKE as pure state machines: no socket, clock or random numbers of their own.

pub mod crypto;
pub mod proposal;
pub mod wire;
