//! IKE as pure state machines: no socket, clock or random numbers of their own.

pub mod wire;
