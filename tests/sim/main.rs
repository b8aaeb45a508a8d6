//! The whole data path in memory: workers over memory ports, no privileges, no threads, no waiting.

mod acquire;
mod ah;
mod chaos;
mod drops;
mod encap;
mod forwarding;
mod icmp;
mod icmp_through;
mod inner_fragments;
mod lifetimes;
mod migrate;
mod modes;
mod outer_header;
mod packets;
mod path_mtu;
mod reassembly;
mod replay;
mod selectors;
mod spd;
mod too_big;
mod traffic_analysis;
mod tunnel;
mod workers;
