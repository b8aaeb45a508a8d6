//! What the kernel knows of links, addresses, routes and neighbours, mirrored into the policy region.
//!
//! [`route_socket`] speaks NETLINK_ROUTE, [`update`] turns its messages into plain values, [`mirror`] turns those
//! into changes of the table. [`Follower`] ties them together in a `mio` loop.

pub mod ethtool;
pub mod follower;
pub mod mirror;
mod neighbours;
pub mod own_rules;
pub mod request;
mod resolving;
pub mod route_socket;
mod routes;
mod socket;
#[cfg(test)]
mod tests;
pub mod update;

pub use follower::Follower;
pub use mirror::{Mirror, MirrorPort};
pub use update::Update;

/// The routing protocol number of adit's own routes and rules, which the mirror leaves out.
pub const OWN_PROTOCOL: u8 = 173;
/// The kernel's table of adit's own routes, and the priority of the rule that leads there: before the main table.
pub const OWN_TABLE: u8 = 173;
/// The table of what is sent from a protected address alone: all of it is caught, but for exceptions.
pub const FROM_PROTECTED_TABLE: u8 = 174;
