//! The documents name what there is: configuration keys, drop reasons, files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use adit_abi::DropReason;
use adit_bpf::Reason;

use super::{root, sources};

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The cells of every table row whose first cell is one name in code.
fn rows(text: &str) -> Vec<(&str, Vec<&str>)> {
    text.lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
            let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
            Some((name, cells.collect()))
        })
        .collect()
}

/// The part of a document between a heading and the next one.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let start = text.find(&format!("\n{heading}\n")).expect(heading) + heading.len() + 2;
    let rest = &text[start..];
    let end = ["\n## ", "\n### "].map(|next| rest.find(next).unwrap_or(rest.len()));
    &rest[..end[0].min(end[1])]
}

/// The fields of each struct in the configuration's raw form.
fn raw_keys() -> Vec<(String, BTreeSet<String>)> {
    let mut out: Vec<(String, BTreeSet<String>)> = Vec::new();
    for line in read("control/src/config/raw.rs").lines() {
        if let Some(rest) = line.strip_prefix("pub(super) struct ") {
            let name = rest.trim_end_matches(" {").to_owned();
            out.push((name, BTreeSet::new()));
        } else if let (Some(rest), Some((_, keys))) =
            (line.strip_prefix("    pub "), out.last_mut())
        {
            let key = rest.split(':').next().expect("a name");
            keys.insert(key.to_owned());
        }
    }
    out
}

#[test]
fn every_configuration_key_is_described_in_its_section_and_no_other() {
    let text = read("docs/configuration.md");
    let part = |heading: &str| section(&text, heading);
    let child = part("### `[connections.NAME.children.CHILD]`");
    let (child, packets) = child.split_once("| key of `packets`").expect("tables");
    let (packets, manual) = packets.split_once("| key of `manual`").expect("tables");
    let secret = part("## `[secrets.ID]`");
    let places = [
        ("RawGateway", part("## `[gateway]`")),
        ("RawTable", part("### `[gateway.table]`")),
        ("RawPort", part("### `ports`")),
        ("RawConnection", part("## `[connections.NAME]`")),
        ("RawChild", child),
        ("RawPackets", packets),
        ("RawManual", manual),
        ("RawPolicy", part("## `[policies.NAME]`")),
        ("RawSecret", secret),
    ];
    let raw = raw_keys();
    assert_eq!(
        raw.iter()
            .map(|(name, _)| name.as_str())
            .collect::<BTreeSet<_>>(),
        places.iter().map(|(name, _)| *name).collect(),
        "every struct has its place"
    );
    for (name, keys) in raw {
        let (_, place) = places.iter().find(|(n, _)| *n == name).expect("a place");
        let described: BTreeSet<_> = rows(place)
            .iter()
            .map(|(key, _)| (*key).to_owned())
            .collect();
        assert_eq!(described, keys, "{name}");
    }
}

#[test]
fn every_drop_reason_is_in_the_table_with_the_section_that_asks_for_it() {
    let text = read("docs/operations.md");
    let table = rows(section(&text, "## Why packets are dropped"));
    let described: Vec<_> = table
        .iter()
        .map(|(name, cells)| (*name, cells[1]))
        .collect();
    let expected: Vec<_> = DropReason::ALL
        .iter()
        .map(|r| (r.name(), if r.rfc().is_empty() { "–" } else { r.rfc() }))
        .collect();
    assert_eq!(described, expected);
}

#[test]
fn every_counter_of_the_steering_program_is_in_the_table() {
    let text = read("docs/operations.md");
    let table = rows(section(&text, "## What the steering program does"));
    let described: Vec<_> = table.iter().map(|(name, _)| *name).collect();
    assert_eq!(described, Reason::ALL.map(Reason::name));
}

/// Markdown files of the project; what is built or fetched has none of its own.
fn documents(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name.starts_with('.') || name == "target" || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            documents(&path, into);
        } else if name.ends_with(".md") {
            into.push(path);
        }
    }
}

/// How a heading is named in a link: lower case, spaces to hyphens, punctuation left out.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            c if c.is_alphanumeric() => Some(c),
            _ => None,
        })
        .collect()
}

/// Targets of `[…](…)` outside fenced code.
fn links(text: &str) -> Vec<String> {
    let prose = text.split("```").step_by(2);
    prose
        .flat_map(|part| part.split("](").skip(1))
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.to_owned())
        .collect()
}

#[test]
fn relative_links_lead_somewhere() {
    let mut files = Vec::new();
    documents(root(), &mut files);
    assert!(files.len() >= 6, "the documents are found: {files:?}");
    let mut looked_at = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).expect("text");
        for link in links(&text) {
            if link.contains("://") {
                continue;
            }
            looked_at += 1;
            let (path, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => file.clone(),
                path => file.parent().expect("a folder").join(path),
            };
            assert!(target.exists(), "{}: {link}", file.display());
            if heading.is_empty() {
                continue;
            }
            let there = std::fs::read_to_string(&target).expect("a document");
            let found = there
                .lines()
                .filter(|line| line.starts_with('#'))
                .any(|line| anchor(line.trim_start_matches(['#', ' '])) == heading);
            assert!(found, "{}: no heading for {link}", file.display());
        }
    }
    assert!(looked_at > 10, "links are found");
}

/// A word in code with enough underscores is the name of a test.
#[test]
fn every_test_that_an_rfc_table_names_exists() {
    let mut files = Vec::new();
    for folder in ["abi", "control", "dataplane", "src", "tests", "vici"] {
        sources(&root().join(folder), &mut files);
    }
    let all: String = files.iter().flat_map(std::fs::read_to_string).collect();
    let mut tables = Vec::new();
    documents(&root().join("docs/rfc"), &mut tables);
    assert!(!tables.is_empty(), "the tables are found");
    for table in tables {
        let text = std::fs::read_to_string(&table).expect("text");
        for word in text.split('`').skip(1).step_by(2) {
            let is_name = word
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
            if is_name && word.matches('_').count() > 2 {
                let found = all.contains(&format!("fn {word}("));
                assert!(found, "{}: there is no test {word}", table.display());
            }
        }
    }
}
