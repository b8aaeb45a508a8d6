//! What both adit processes agree on: RFC 4301's value types, the layout of the two shared-memory
//! regions, the messages that pass between control and the data plane, and the TUN device that both hold.
//!
//! ```text
//! policy region   written by control, read by the data plane
//!   header | settings | ports | SA index | SA slots | policy slots | policy→SA links | selector sets | policy names | routes | neighbours
//! state region    written by the data plane, read by control
//!   header | worker counters | event rings | policy counters | SA states
//! ```
//!
//! Nothing in shared memory is a pointer, every bit pattern is valid to a reader, and a reader
//! never blocks: a slot that changes under it reads as *unknown*.

mod address;
mod counters;
mod drop_reason;
mod event;
mod forwarding;
mod index;
mod layout;
#[cfg(not(loom))]
pub mod link;
pub mod message;
mod policy;
#[cfg(not(loom))]
mod policy_region;
#[cfg(not(loom))]
mod region;
mod sa;
mod sa_state;
mod selector;
mod selector_set;
pub mod slots;
#[cfg(not(loom))]
mod state_region;
mod suite;
mod sync;
#[cfg(not(loom))]
mod tun;

pub use address::{Address, Prefix};
pub use counters::{PortCounter, WorkerCounter, WorkerCounters};
pub use drop_reason::DropReason;
pub use event::{Event, EventReader, EventRing};
pub use forwarding::{NeighbourRecord, PortRecord, RouteKind, RouteRecord, Settings, Side};
pub use index::{SaIndexReader, SaIndexWriter};
pub use layout::{Capacity, LAYOUT_VERSION, LayoutError, MAX_PORTS, MAX_WORKERS};
pub use policy::{Action, Applies, PolicyName, PolicyRecord};
#[cfg(not(loom))]
pub use policy_region::{PolicyLink, PolicyReader, PolicyWriter, TableFull};
#[cfg(not(loom))]
pub use region::{Region, RegionError};
pub use sa::{Direction, Limits, Mode, Protocol, SaFlags, SaKey, SaRecord, SaRef, Spi};
pub use sa_state::{LearnedMtu, SaState, SaStateFlag, window_words};
pub use selector::{Flow, FromPacket, OPAQUE_PROTOCOL, PortRange, Selector, has_type};
pub use selector_set::{SelectorEnd, SelectorSet};
#[cfg(not(loom))]
pub use state_region::StateRegion;
pub use suite::{AesKey, Encryption, IcvLen, Integrity, Suite, SuiteError};
#[cfg(not(loom))]
pub use tun::open_tun;
