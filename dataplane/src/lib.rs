//! The adit data plane.
