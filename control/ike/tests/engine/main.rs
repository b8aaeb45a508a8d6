//! Whole exchanges between endpoints on a virtual clock, over a network that loses, repeats, delays and reorders.

mod authenticate;
mod delete;
mod establish;
mod host;
mod network;
mod pki;
mod rekey;
