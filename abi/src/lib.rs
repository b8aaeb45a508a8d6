//! What both adit processes agree on.

mod suite;

pub use suite::Suite;
