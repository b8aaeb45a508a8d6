//! The whole data path in memory: workers over memory ports, no privileges, no threads, no waiting.

mod packets;
mod tunnel;
