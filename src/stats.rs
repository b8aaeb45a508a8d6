//! `adit stats`: the gateway's counters.

use std::io::Write;

use adit_vici::{Client, Element, Message};

use crate::cli::CliError;
use crate::tree;

/// The section that says which RFC is behind a drop.
const RFCS: &str = "drop-rfcs";

/// What the text holds; JSON holds everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub struct Shown {
    /// Show counters that are zero, too
    #[arg(long)]
    pub all: bool,
    /// Show which section of which RFC is behind each drop
    #[arg(long)]
    pub rfcs: bool,
}

/// Asks and prints.
///
/// # Errors
/// The gateway's, or the output's.
pub fn run(
    mut client: Client,
    json: bool,
    shown: Shown,
    out: &mut impl Write,
) -> Result<(), CliError> {
    let stats = client.request("adit-stats", &Message::new())?;
    if json {
        return tree::print_json(&tree::json(&stats), out);
    }
    tree::print(&picked(&stats, shown), out)
}

/// What of the message is shown, with its sections though they be empty.
fn picked(message: &Message, shown: Shown) -> Message {
    let mut kept = Message::new();
    for (name, element) in message.elements() {
        match element {
            Element::Value(value) if value.as_bytes() == b"0" && !shown.all => {}
            Element::Value(value) => {
                kept.add(name, value.as_bytes());
            }
            Element::List(items) => {
                kept.add_list(name, items.iter().map(|item| item.as_bytes()));
            }
            Element::Section(_) if name == RFCS && !shown.rfcs => {}
            Element::Section(section) => {
                kept.add_section(name, picked(section, shown));
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_and_rfcs_are_shown_on_request_only() {
        let drops = Message::new()
            .with("replayed", "3")
            .with("unknown_spi", "0");
        let rfcs = Message::new().with("replayed", "RFC 4303 §3.4.3");
        let stats = Message::new()
            .with_section("drops", drops)
            .with_section(RFCS, rfcs)
            .with_section("workers", Message::new());
        let shown = |all, rfcs| picked(&stats, Shown { all, rfcs });
        let little = shown(false, false);
        let replayed = Message::new().with("replayed", "3");
        assert_eq!(little.section("drops"), Some(&replayed));
        assert!(little.section("workers").is_some() && little.section(RFCS).is_none());
        assert!(shown(false, true).section(RFCS).is_some());
        assert_eq!(shown(true, true), stats);
    }
}
