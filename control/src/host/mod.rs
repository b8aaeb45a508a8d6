//! What control does to the machine it runs on: routes under protected prefixes, kernel forwarding.

pub mod forwarding;
pub mod offloads;
pub mod protected_routes;
