//! `adit stats`: the gateway's counters.

use std::io::Write;

use adit_vici::{Client, Element, Message};

use crate::cli::CliError;
use crate::tree;

/// Asks and prints; JSON has every counter, the text those that are not zero unless `all` is set.
///
/// # Errors
/// The gateway's, or the output's.
pub fn run(
    mut client: Client,
    json: bool,
    all: bool,
    out: &mut impl Write,
) -> Result<(), CliError> {
    let stats = client.request("adit-stats", &Message::new())?;
    if json {
        tree::print_json(&tree::json(&stats), out)
    } else {
        tree::print(&if all { stats } else { without_zeros(&stats) }, out)
    }
}

/// The message without values of 0, but with its sections.
fn without_zeros(message: &Message) -> Message {
    let mut kept = Message::new();
    for (name, element) in message.elements() {
        match element {
            Element::Value(value) if value.as_bytes() == b"0" => {}
            Element::Value(value) => {
                kept.add(name, value.as_bytes());
            }
            Element::List(items) => {
                kept.add_list(name, items.iter().map(|item| item.as_bytes()));
            }
            Element::Section(section) => {
                kept.add_section(name, without_zeros(section));
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_left_out_of_the_text() {
        let drops = Message::new()
            .with("replayed", "3")
            .with("unknown_spi", "0");
        let stats = Message::new()
            .with_section("drops", drops)
            .with_section("workers", Message::new());
        let shown = without_zeros(&stats);
        assert_eq!(
            shown.section("drops"),
            Some(&Message::new().with("replayed", "3"))
        );
        assert!(shown.section("workers").is_some());
    }
}
