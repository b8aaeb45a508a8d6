//! Labs in network namespaces, with both daemons. Needs root; what cannot run here says so and counts as skipped.
//!
//! | module | what it shows |
//! | --- | --- |
//! | `topology` | the lab itself: the kernel forwards over its wires, captures and flows see what they should |
//! | `cleanup` | nothing of a lab outlives it, whatever ends it |

#[macro_use]
#[path = "../skip/mod.rs"]
mod skip;

mod cleanup;
mod topology;

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
