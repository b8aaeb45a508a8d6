//! Offloads of a NIC that spoil the frames which the data plane gets: switched off on every port.

use tracing::{info, warn};

use crate::netlink::ethtool::Ethtool;

/// Joined packets are larger than a frame, and a stripped VLAN tag is lost. Names as `ethtool -k` of the kernel.
const SPOILING: [&str; 4] = ["rx-gro", "rx-gro-hw", "rx-lro", "rx-vlan-hw-parse"];

/// Switches them off. What a driver refuses is told: there the steering program may not attach, or tagged
/// frames may be taken for untagged ones.
pub fn switch_off(ethtool: &mut Ethtool, ifindex: u32, interface: &str) {
    for feature in SPOILING {
        match ethtool.switch_off(ifindex, feature) {
            Ok(()) => info!(interface, feature, "off"),
            Err(e) => warn!(interface, feature, "stays as it is: {e}"),
        }
    }
}
