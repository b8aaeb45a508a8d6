//! `adit open`: the one way to let clear traffic through.

use std::io::Write;

use adit_vici::Message;

use crate::cli::{CliError, Gateway};
use crate::sa::done;

/// Does it.
///
/// # Errors
/// The gateway's or the output's.
pub fn run(gateway: &Gateway, out: &mut impl Write) -> Result<(), CliError> {
    let answer = gateway.connect()?.request("adit-open", &Message::new())?;
    done(
        gateway.json,
        &answer,
        "open: the kernel gets every frame until adit-control starts again",
        out,
    )
}
