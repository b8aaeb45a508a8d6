//! IKEv2 (RFC 7296): one IKE SA as a state machine, an exchange or a concern to a file.
//!
//! | file | what |
//! | --- | --- |
//! | `sa` | the IKE SA: what it holds, what it does with messages, answers and time |
//! | `exchange` | message IDs, the windows, copies |
//! | `protection` | the encrypted payload, fragments |
//! | `init` | IKE_SA_INIT, both roles |
//! | `auth` | IKE_AUTH, both roles |
//! | `child` | child SAs: offered, accepted, installed |
//! | `narrowing` | traffic selectors |
//! | `path` | addresses and NATs |
//! | `cookie` | cookies |
//! | `proposals` | proposals between the wire's form and the configuration's |

mod auth;
mod child;
pub(crate) mod cookie;
mod exchange;
pub(crate) mod init;
mod narrowing;
mod path;
mod payloads;
mod proposals;
mod protection;
mod sa;

pub use narrowing::Selectors;
pub(crate) use sa::{Arrival, IkeSa};
