//! `adit-control`.
fn main() {}
