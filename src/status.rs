//! `adit status`: how the gateway stands.

use std::io::Write;

use adit_vici::{Client, Message};

use crate::cli::CliError;
use crate::tree;

/// Asks and prints.
///
/// # Errors
/// The gateway's, or the output's.
pub fn run(mut client: Client, json: bool, out: &mut impl Write) -> Result<(), CliError> {
    let status = client.request("adit-status", &Message::new())?;
    if json {
        tree::print_json(&tree::json(&status), out)
    } else {
        tree::print(&status, out)
    }
}
