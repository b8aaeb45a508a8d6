//! The VICI control protocol.
