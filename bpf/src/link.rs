//! Links: what keeps the program attached to an interface.

use std::io;
use std::path::Path;

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, Xdp, XdpMode};

use crate::error::{SteeringError, while_doing};

/// A link to an interface, which dies with the returned value unless it is pinned.
pub(crate) fn attach(
    program: &mut Xdp,
    ifindex: u32,
    mode: XdpMode,
) -> Result<FdLink, ProgramError> {
    let id = program.attach_to_if_index(ifindex, mode)?;
    let link = program.take_link(id)?;
    // Not an fd where the kernel is older than 5.9: such a link cannot be pinned, and is of no use.
    FdLink::try_from(link).map_err(|error| ProgramError::IOError(io::Error::other(error)))
}

/// Makes a pinned link use `program`.
pub(crate) fn update(program: &mut Xdp, path: &Path) -> Result<(), SteeringError> {
    let doing = || format!("update {}", path.display());
    let link = PinnedLink::from_pin(path).map_err(while_doing(doing()))?;
    let link = XdpLink::try_from(FdLink::from(link)).map_err(while_doing(doing()))?;
    let updated = program
        .attach_to_link(link)
        .and_then(|id| program.take_link(id));
    // The pin keeps the link; this is one more reference to it, which goes.
    updated.map(drop).map_err(while_doing(doing()))
}
