//! Why steering failed.

use std::error::Error;
use std::path::PathBuf;

use crate::{MAX_PORTS, MAX_QUEUES};

/// Why steering failed.
#[derive(Debug, thiserror::Error)]
pub enum SteeringError {
    /// Pins need a BPF file system.
    #[error("{} is not on a BPF file system (mount one there: mount -t bpf bpf DIR)", .0.display())]
    NotBpffs(PathBuf),
    /// There is nothing to adopt.
    #[error("nothing is pinned in {}", .0.display())]
    NothingPinned(PathBuf),
    /// A map pinned by another version.
    #[error("the pinned map {} has another shape (stop the gateway to unpin it)", .0.display())]
    Shape(PathBuf),
    /// Neither mode worked.
    #[error("cannot attach to interface {ifindex}: native: {native}; generic: {generic}")]
    Attach {
        /// The interface.
        ifindex: u32,
        /// What the kernel said to native mode.
        native: String,
        /// What the kernel said to generic mode.
        generic: String,
    },
    /// The interface is not attached.
    #[error("interface {0} is not attached")]
    NotAttached(u32),
    /// Every place is taken.
    #[error("more than {MAX_PORTS} ports")]
    TooManyPorts,
    /// The queue has no place.
    #[error("queue {0} of a port: only {MAX_QUEUES} are served")]
    Queue(u32),
    /// The kernel refused something.
    #[error("cannot {doing}: {}", chain(source.as_ref()))]
    Kernel {
        /// What was tried.
        doing: String,
        /// What it said.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Turns an error of the kernel's into ours.
pub(crate) fn while_doing<E: Error + Send + Sync + 'static>(
    doing: impl Into<String>,
) -> impl FnOnce(E) -> SteeringError {
    move |source| SteeringError::Kernel {
        doing: doing.into(),
        source: Box::new(source),
    }
}

/// An error and what caused it: the loader's own words seldom say which errno it was.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
