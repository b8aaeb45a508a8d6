//! `adit lab`: gateways, hosts and the wire between them in network namespaces, for newcomers and for the privileged tests.
//!
//! [`topology`] builds the network, [`gateway`] runs both daemons in it, [`traffic`] and [`flow`] load it, [`capture`] watches the outside
//! wire, [`dhcp`] has gateways serve and get addresses, [`scenario`] is what the labs play, over a tunnel as [`tunnel`] or [`ikev2`] brings it up, and [`leftovers`] takes everything down again.

pub mod capture;
pub mod charon;
pub mod cli;
pub mod daemons;
pub mod dhcp;
mod error;
pub mod flow;
pub mod gateway;
pub mod ikev2;
pub mod leftovers;
pub mod namespace;
pub mod process;
pub mod rekeys;
pub mod report;
pub mod sas;
pub mod scenario;
pub mod strongswan;
pub mod topology;
pub mod traffic;
pub mod tunnel;
pub mod wait;

pub use error::LabError;
pub use namespace::Namespace;
pub use topology::{Family, Shape, Side, Topology};
