//! `adit-dataplane`.
fn main() {}
