//! The adit data plane.

mod classify;
mod clearance;
pub mod crypto;
mod esp;
mod events;
mod forward;
mod fragment;
pub mod frame;
mod hash;
pub mod headers;
mod icmp;
mod ledger;
mod lifetime;
pub mod memory_gateway;
mod mode;
mod packet;
pub mod pcapng;
mod pmtu;
pub mod port;
pub mod replay;
mod sad;
pub mod snapshot;
pub mod spd;
mod turn;
mod udp_encap;
pub mod worker;
