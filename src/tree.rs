//! A message as a person or a program reads it.

use std::io::Write;

use adit_vici::{Element, Message, Value};
use serde_json::{Map, Value as Json};

use crate::cli::CliError;

/// The message as JSON: sections are objects, lists arrays, and a value that is a plain decimal
/// number is a number.
pub fn json(message: &Message) -> Json {
    let fields = message.elements().map(|(name, element)| {
        let value = match element {
            Element::Value(value) => scalar(value),
            Element::List(items) => items.iter().map(scalar).collect(),
            Element::Section(section) => json(section),
        };
        (name.to_owned(), value)
    });
    Json::Object(fields.collect::<Map<_, _>>())
}

fn scalar(value: &Value) -> Json {
    let text = text(value);
    match text.parse::<u64>() {
        // Leading zeros or a plus sign say that it is something else.
        Ok(number) if number.to_string() == text => number.into(),
        _ => text.into(),
    }
}

/// Text to print: whatever a gateway sends must not reach a terminal as control characters.
pub fn text(value: &Value) -> String {
    String::from_utf8_lossy(value.as_bytes())
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Prints JSON for people who read it, too.
///
/// # Errors
/// The output's.
pub fn print_json(value: &Json, out: &mut impl Write) -> Result<(), CliError> {
    writeln!(out, "{value:#}")?;
    Ok(())
}

/// Prints the message as indented text, names and values in columns.
///
/// # Errors
/// The output's.
pub fn print(message: &Message, out: &mut impl Write) -> Result<(), CliError> {
    print_at(message, 0, out)
}

fn print_at(message: &Message, indent: usize, out: &mut impl Write) -> Result<(), CliError> {
    let names = message
        .elements()
        .filter(|(_, element)| !matches!(element, Element::Section(_)));
    let width = names.map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, element) in message.elements() {
        match element {
            Element::Value(value) => writeln!(out, "{:indent$}{name:width$}  {}", "", text(value))?,
            Element::List(items) => {
                let items: Vec<String> = items.iter().map(text).collect();
                writeln!(out, "{:indent$}{name:width$}  {}", "", items.join(" "))?;
            }
            Element::Section(section) => {
                writeln!(out, "{:indent$}{name}:", "")?;
                if section.is_empty() {
                    writeln!(out, "{:indent$}  none", "")?;
                }
                print_at(section, indent + 2, out)?;
            }
        }
    }
    Ok(())
}

/// Prints rows under headings, in columns as wide as they need to be.
///
/// # Errors
/// The output's.
pub fn print_table<const N: usize>(
    headings: [&str; N],
    rows: &[[String; N]],
    out: &mut impl Write,
) -> Result<(), CliError> {
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or(0)
    });
    for row in [headings.map(str::to_owned)].iter().chain(rows) {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_decimal_numbers_become_numbers_and_others_stay_text() {
        let message = Message::new()
            .with("count", "18446744073709551615")
            .with("spi", "00001001")
            .with("version", "0.1")
            .with_list("list", ["1", "a"])
            .with_section("inner", Message::new().with("zero", "0"));
        let expected = serde_json::json!({
            "count": u64::MAX, "spi": "00001001", "version": "0.1", "list": [1, "a"], "inner": { "zero": 0 },
        });
        assert_eq!(json(&message), expected);
    }

    #[test]
    fn text_is_aligned_and_control_characters_do_not_reach_the_terminal() {
        let message = Message::new()
            .with("a", "1")
            .with("long", "x\u{1b}[2J")
            .with_section("s", Message::new().with_list("l", ["p", "q"]))
            .with_section("e", Message::new());
        let mut out = Vec::new();
        print(&message, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "a     1\nlong  x\u{fffd}[2J\ns:\n  l  p q\ne:\n  none\n"
        );
    }

    #[test]
    fn tables_are_as_wide_as_they_need_to_be() {
        let rows = [
            ["a".to_owned(), "long".to_owned()],
            ["much".to_owned(), "b".to_owned()],
        ];
        let mut out = Vec::new();
        print_table(["X", "Y"], &rows, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "X     Y\na     long\nmuch  b\n"
        );
    }
}
