//! What control does to the machine it runs on: the TUN device, routes under protected prefixes, kernel forwarding.

pub mod forwarding;
pub mod offloads;
pub mod protected_routes;
pub mod tun;
