//! Kernel forwarding on managed ports is switched off: it stays closed even where no steering program is attached.

use std::fs;
use std::path::PathBuf;

use tracing::warn;

/// Switches the kernel's forwarding off on an interface, and says what stays open.
///
/// IPv6 obeys the setting for all interfaces alone: if that is on, only the steering program keeps it closed.
pub fn switch_off(interface: &str) {
    for family in ["ipv4", "ipv6"] {
        let path = setting(family, interface, "forwarding");
        // A kernel without IPv6 has no such file.
        if !path.exists() {
            continue;
        }
        if let Err(e) = fs::write(&path, "0\n") {
            warn!(
                interface,
                "kernel forwarding of {family} stays as it is: {e}"
            );
        }
    }
    let all = setting("ipv6", "all", "forwarding");
    if fs::read_to_string(all).is_ok_and(|v| v.trim() == "1") {
        warn!(
            interface,
            "net.ipv6.conf.all.forwarding is 1: set it to 0, or only the steering program keeps clear IPv6 in"
        );
    }
}

fn setting(family: &str, interface: &str, name: &str) -> PathBuf {
    ["/proc/sys/net", family, "conf", interface, name]
        .iter()
        .collect()
}
