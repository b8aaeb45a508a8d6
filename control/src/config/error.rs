//! What is wrong with a configuration file, in words that help.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Line, from 1; 0 if the file could not be read.
    pub line: usize,
    /// The key with its sections, joined by dots.
    pub key: String,
    /// What is there.
    pub found: String,
    /// What should be there.
    pub expected: String,
    /// What to do.
    pub remedy: String,
}

/// Everything that is wrong with a file, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file.
    pub file: PathBuf,
    /// At least one.
    pub errors: Vec<ConfigError>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, e) in self.errors.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:", self.file.display())?;
            if e.line > 0 {
                write!(f, "{}:", e.line)?;
            }
            if !e.key.is_empty() {
                write!(f, " {}:", e.key)?;
            }
            write!(f, " {}", e.found)?;
            if !e.expected.is_empty() {
                write!(f, ", expected {}", e.expected)?;
            }
            if !e.remedy.is_empty() {
                write!(f, "; {}", e.remedy)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Collects what is wrong while a file is checked.
pub(super) struct Report<'a> {
    text: &'a str,
    errors: Vec<ConfigError>,
}

impl<'a> Report<'a> {
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            errors: Vec::new(),
        }
    }

    fn line(&self, offset: usize) -> usize {
        let offset = offset.min(self.text.len());
        1 + self.text.as_bytes()[..offset]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
    }

    pub fn add(
        &mut self,
        span: Range<usize>,
        key: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.errors.push(ConfigError {
            line: self.line(span.start),
            key: key.into(),
            found: found.into(),
            expected: expected.into(),
            remedy: remedy.into(),
        });
    }

    /// What the TOML reader says about a section: syntax, an unknown key, a value of the wrong type.
    pub fn add_toml(&mut self, section: &str, error: &toml::de::Error) {
        let span = error.span().unwrap_or(0..0);
        let message = error.message().trim().to_owned();
        let key = self.key_at(section, &span);
        if let Some((unknown, known)) = unknown_field(&message) {
            let remedy = match nearest(&unknown, &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the keys here are {}", known.join(", ")),
            };
            let key = join(section, &unknown);
            self.add(span, key, "unknown key", "", remedy);
        } else if let Some((found, expected)) = message
            .strip_prefix("invalid type: ")
            .and_then(|rest| rest.split_once(", expected "))
        {
            let remedy = remedy(expected);
            self.add(span, key, format!("{found} found"), plain(expected), remedy);
        } else {
            self.add(span, key, message, "", "");
        }
    }

    /// The key on whose line something is wrong, with its section.
    fn key_at(&self, section: &str, span: &Range<usize>) -> String {
        let start = span.start.min(self.text.len());
        let line_start = self.text[..start].rfind('\n').map_or(0, |n| n + 1);
        let before = self.text[line_start..start].trim();
        match before.strip_suffix('=') {
            Some(key) => {
                let key = key.rsplit(['{', ',']).next().unwrap_or(key).trim();
                join(section, key)
            }
            None => section.to_owned(),
        }
    }

    /// Everything that was found, in the order of lines; [`None`] if nothing was.
    pub fn finish(mut self, file: &Path) -> Option<ConfigErrors> {
        if self.errors.is_empty() {
            return None;
        }
        self.errors.sort_by_key(|e| e.line);
        Some(ConfigErrors {
            file: file.to_owned(),
            errors: self.errors,
        })
    }
}

/// A key under its section.
pub(super) fn join(section: &str, key: &str) -> String {
    if section.is_empty() {
        key.to_owned()
    } else {
        format!("{section}.{key}")
    }
}

/// The TOML reader's word for a type, in the user's.
fn plain(expected: &str) -> &str {
    match expected {
        "a sequence" => "a list",
        "i64" => "a number",
        "a boolean" => "true or false",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}

/// What to do about a value of another type than the TOML reader expected.
fn remedy(expected: &str) -> &'static str {
    match expected {
        "a sequence" => "put it into brackets, as [\"VALUE\"]",
        "i64" => "write a whole number without quotes",
        "a boolean" => "write true or false without quotes",
        "a string" => "put it into quotes",
        other if other.starts_with("struct ") => "write the section as in docs/configuration.md",
        _ => "write it as in docs/configuration.md",
    }
}

/// The unknown name and the known ones, out of the TOML reader's message.
fn unknown_field(message: &str) -> Option<(String, Vec<String>)> {
    let rest = message.strip_prefix("unknown field ")?;
    let mut names = rest.split('`').skip(1).step_by(2).map(str::to_owned);
    let unknown = names.next()?;
    Some((unknown, names.collect()))
}

/// The known key that is at most two letters away.
pub(super) fn nearest<'a>(unknown: &str, known: &'a [String]) -> Option<&'a str> {
    known
        .iter()
        .map(|k| (distance(unknown, k), k.as_str()))
        .min()
        .filter(|(d, _)| *d <= 2)
        .map(|(_, k)| k)
}

/// Letters to add, drop or change to make one word the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
