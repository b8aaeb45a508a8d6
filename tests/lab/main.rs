//! Labs in network namespaces, with both daemons. Needs root, and daemons of the same build: `cargo build --workspace` first, or name
//! their directory in `ADIT_BIN_DIR`. What cannot run here says so and counts as skipped.
//!
//! | module | what it shows |
//! | --- | --- |
//! | `topology` | the lab itself: the kernel forwards over its wires, captures and flows see what they should |
//! | `ports` | AF_XDP ports: frames cross a forwarder, none is lost, binding copes with what it meets |
//! | `netlink` | the mirror of routes and neighbours follows the kernel |
//! | `tun` | the TUN port: the host's own packets come up and go down |
//! | `classification` | which frames the XDP program passes, redirects and drops |
//! | `steering` | that the XDP program outlives whoever loaded it, and fails closed |
//! | `tunnel` | `adit lab tunnel`: its report, every kind of outer header, `--keep` |
//! | `fail_closed` | nothing protected passes the outside wire in clear, whoever is dead |
//! | `acquire` | a packet without an SA waits for one and is not lost |
//! | `own_traffic` | what a gateway itself sends is sealed or lost, whatever a policy protects |
//! | `dhcp` | a gateway serves and gets addresses over its ports |
//! | `reload` | `adit.toml` is read again, and what is still wanted goes on |
//! | `restart` | either process can be killed and started again under traffic |
//! | `keepalives` | NAT keepalives go out, with control or without |
//! | `path_mtu` | a narrow path that says so, and a black hole that `adit probe mtu` finds |
//! | `queues` | large frames, and several queues with a worker each |
//! | `troubles` | what a gateway cannot do stands in its status |
//! | `cleanup` | nothing of a lab outlives it, whatever ends it |

#[macro_use]
#[path = "../skip/mod.rs"]
mod skip;

mod acquire;
mod classification;
mod cleanup;
mod dhcp;
mod fail_closed;
mod keepalives;
mod netlink;
mod own_traffic;
mod path_mtu;
mod ports;
mod queues;
mod reload;
mod restart;
mod rig;
mod steered;
mod steering;
mod topology;
mod troubles;
mod tun;
mod tunnel;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Has the labs of this binary run one after another: they measure rates, and the machine may have two cores.
fn alone() -> MutexGuard<'static, ()> {
    static LAB: Mutex<()> = Mutex::new(());
    LAB.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why labs cannot run here, if they cannot.
fn runnable() -> Result<(), String> {
    if rustix::process::geteuid().is_root() {
        Ok(())
    } else {
        Err("network namespaces need root".into())
    }
}
