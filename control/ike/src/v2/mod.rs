//! IKEv2 (RFC 7296): one IKE SA as a state machine, an exchange or a concern to a file.
//!
//! | file | what |
//! | --- | --- |
//! | `sa` | the IKE SA: what it holds, how it begins and ends |
//! | `messages` | messages read and sent |
//! | `schedule` | what it does by itself: tasks, copies, lifetimes, liveness |
//! | `exchange` | message IDs, the windows, copies |
//! | `protection` | the encrypted payload, fragments |
//! | `init` | IKE_SA_INIT, both roles |
//! | `intermediate` | IKE_INTERMEDIATE with additional key exchanges |
//! | `auth` | IKE_AUTH, both roles |
//! | `child` | child SAs: offered, accepted, installed |
//! | `key_exchange` | nonces and key exchanges |
//! | `create_child` | CREATE_CHILD_SA for children, new and rekeyed |
//! | `rekey_ike` | CREATE_CHILD_SA for the IKE SA itself |
//! | `informational` | INFORMATIONAL: Delete, liveness |
//! | `narrowing` | traffic selectors |
//! | `configuration` | virtual addresses |
//! | `path` | addresses and NATs |
//! | `cookie` | cookies |
//! | `proposals` | proposals between the wire's form and the configuration's |

mod auth;
mod child;
mod configuration;
pub(crate) mod cookie;
mod create_child;
mod exchange;
mod informational;
pub(crate) mod init;
mod intermediate;
mod key_exchange;
mod messages;
mod narrowing;
mod path;
mod payloads;
mod proposals;
mod protection;
mod rekey_ike;
mod sa;
mod schedule;

pub(crate) use child::ChildSa;
pub use narrowing::Selectors;
pub(crate) use sa::{Arrival, IkeSa};
pub(crate) use schedule::{Queued, Task};
