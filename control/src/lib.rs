//! The adit control process.
