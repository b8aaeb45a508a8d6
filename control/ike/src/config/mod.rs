//! What the engine is told: connections and children in swanctl's vocabulary, and the endpoint's own settings.
//!
//! Values, not text: files and the control socket are read elsewhere.

mod addresses;
mod auth;
mod child;
mod connection;
mod selectors;
mod settings;

use thiserror::Error;

pub use addresses::{Fit, Host};
pub use auth::{AuthMethod, EapBackend, LocalAuth, RemoteAuth};
pub use child::{Action, Child, MOST_SELECTORS, Volume};
pub use connection::{Childless, Connection, Fragmentation, SendCertificate, Unique, Version};
pub use selectors::{Addresses, SelectorSpec};
pub use settings::{Retransmission, Settings};

/// A value that the engine cannot work with.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {problem}; {remedy}")]
pub struct ConfigError {
    /// Where it stands, as the configuration names it.
    pub field: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}
