//! The adit control process.

pub mod vici;
