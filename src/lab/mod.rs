//! `adit lab`: gateways, hosts and the wire between them in network namespaces, for newcomers and for the privileged tests.
//!
//! [`topology`] builds the network, [`gateway`] runs both daemons in it, [`traffic`] and [`flow`] load it, [`capture`] watches the outside
//! wire, [`dhcp`] has gateways serve and get addresses, [`tunnel`] is the scenario that `adit lab tunnel` plays, and [`leftovers`] takes everything down again.

pub mod capture;
pub mod cli;
pub mod daemons;
pub mod dhcp;
mod error;
pub mod flow;
pub mod gateway;
pub mod leftovers;
pub mod namespace;
pub mod process;
pub mod report;
pub mod sas;
pub mod topology;
pub mod traffic;
pub mod tunnel;
pub mod wait;

pub use error::LabError;
pub use namespace::Namespace;
pub use topology::{Family, Shape, Side, Topology};
