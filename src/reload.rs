//! `adit reload`: the gateway reads its configuration file again.

use std::io::Write;

use adit_vici::Message;

use crate::cli::{CliError, Gateway};
use crate::sa::done;

/// Does it, and says what changed.
///
/// # Errors
/// The gateway's, with what is wrong in the file line by line, or the output's.
pub fn run(gateway: &Gateway, out: &mut impl Write) -> Result<(), CliError> {
    let answer = gateway
        .connect()?
        .request("reload-settings", &Message::new())?;
    done(gateway.json, &answer, &said(&answer), out)
}

fn said(answer: &Message) -> String {
    let lines = [
        ("added", "added"),
        ("replaced", "replaced, with its SAs in place:"),
        ("removed", "removed"),
        ("used-up", "stays away, its keys have been used:"),
        ("restart", "counts from the next start on: gateway."),
    ];
    let lines = lines.into_iter().flat_map(|(key, words)| {
        let space = if words.ends_with('.') { "" } else { " " };
        let item = move |item| format!("{words}{space}{item}");
        answer.list(key).map(item)
    });
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        return "nothing changed".into();
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_said_line_by_line() {
        let answer = Message::new()
            .with_list("added", ["site/net"])
            .with_list("removed", [""; 0])
            .with_list("restart", ["ports"]);
        assert_eq!(
            said(&answer),
            "added site/net\ncounts from the next start on: gateway.ports"
        );
        assert_eq!(said(&Message::new()), "nothing changed");
    }
}
