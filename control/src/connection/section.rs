//! Reading a section of a control-socket message key by key: every key known, every key once.

use std::cell::RefCell;
use std::fmt::Display;

use adit_vici::{Element, Message};

/// A key of swanctl's that means nothing here, unless it says what holds anyway.
pub struct Foreign {
    /// The key.
    pub key: &'static str,
    /// Values with which it may stand, because they ask for what is done in any case.
    pub harmless: &'static [&'static str],
    /// Why it is refused otherwise, and what to do.
    pub remedy: &'static str,
}

/// A section, and the path to it in the words of `swanctl.conf`.
pub struct Section<'a> {
    path: String,
    message: &'a Message,
    read: RefCell<Vec<&'a str>>,
}

impl<'a> Section<'a> {
    /// The section that a message is as a whole.
    pub fn new(path: impl Into<String>, message: &'a Message) -> Self {
        Self {
            path: path.into(),
            message,
            read: RefCell::default(),
        }
    }

    /// An error about a key: `connections.gw.version is "3", expected 0, 1 or 2`.
    pub fn wrong(&self, key: &str, found: impl Display, expected: impl Display) -> String {
        format!("{}.{key} is {found}, expected {expected}", self.path)
    }

    fn element(&self, key: &str) -> Option<&'a Element> {
        let (name, element) = self.message.elements().find(|(name, _)| *name == key)?;
        self.read.borrow_mut().push(name);
        Some(element)
    }

    /// A value's text; an empty one counts as left out, as swanctl has it.
    ///
    /// # Errors
    /// When it is no value, or no text.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>, String> {
        match self.element(key) {
            None => Ok(None),
            Some(Element::Value(value)) => match value.as_str() {
                Some("") => Ok(None),
                Some(text) => Ok(Some(text.trim())),
                None => Err(self.wrong(key, "no text", "text in UTF-8")),
            },
            Some(Element::List(items)) if items.is_empty() => Ok(None),
            Some(_) => Err(self.wrong(key, "a list or a section", "one value")),
        }
    }

    /// A list's items as octets. One value stands for a list of one.
    ///
    /// # Errors
    /// When it is a section.
    pub fn blobs(&self, key: &str) -> Result<Vec<&'a [u8]>, String> {
        match self.element(key) {
            None => Ok(Vec::new()),
            Some(Element::Value(value)) if value.as_bytes().is_empty() => Ok(Vec::new()),
            Some(Element::Value(value)) => Ok(vec![value.as_bytes()]),
            Some(Element::List(items)) => Ok(items.iter().map(|item| item.as_bytes()).collect()),
            Some(Element::Section(_)) => Err(self.wrong(key, "a section", "a list")),
        }
    }

    /// A list's items as text; an item that holds commas is several, as in `swanctl.conf`.
    ///
    /// # Errors
    /// When it is a section, or an item is no text.
    pub fn list(&self, key: &str) -> Result<Vec<&'a str>, String> {
        let mut items = Vec::new();
        for blob in self.blobs(key)? {
            let text = std::str::from_utf8(blob)
                .map_err(|_| self.wrong(key, "no text", "text in UTF-8"))?;
            let parts = text.split(',').map(str::trim);
            items.extend(parts.filter(|part| !part.is_empty()));
        }
        Ok(items)
    }

    /// What `parse` makes of a value's text.
    ///
    /// # Errors
    /// What `parse` expected.
    pub fn parsed<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        self.text(key)?
            .map(|text| parse(text).map_err(|e| self.wrong(key, format!("{text:?}"), e)))
            .transpose()
    }

    /// What `parse` makes of each of a list's items.
    ///
    /// # Errors
    /// What `parse` expected.
    pub fn each<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        let items = self.list(key)?.into_iter();
        items
            .map(|text| parse(text).map_err(|e| self.wrong(key, format!("{text:?}"), e)))
            .collect()
    }

    /// One word of several.
    ///
    /// # Errors
    /// The words, when it is none of them.
    pub fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Result<Option<T>, String> {
        self.parsed(key, |text| {
            let found = words.iter().find(|(word, _)| *word == text);
            found.map(|(_, value)| *value).ok_or_else(|| {
                let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                names.join(" or ")
            })
        })
    }

    /// `yes` or `no`, in any of the ways that strongSwan reads.
    ///
    /// # Errors
    /// When it is neither.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, String> {
        self.parsed(key, |text| match text {
            "yes" | "true" | "enabled" | "1" => Ok(true),
            "no" | "false" | "disabled" | "0" => Ok(false),
            _ => Err("yes or no".into()),
        })
    }

    /// A decimal number.
    ///
    /// # Errors
    /// When it is none, or too large.
    pub fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, String> {
        self.parsed(key, |text| {
            text.parse()
                .map_err(|_| "a decimal number that fits".to_owned())
        })
    }

    /// The sections whose names begin with `prefix`, in the message's order, with their names.
    pub fn sections(&self, prefix: &str) -> Vec<(&'a str, Section<'a>)> {
        let mut found = Vec::new();
        for (name, element) in self.message.elements() {
            if let Element::Section(message) = element
                && name.starts_with(prefix)
            {
                self.read.borrow_mut().push(name);
                found.push((name, Section::new(format!("{}.{name}", self.path), message)));
            }
        }
        found
    }

    /// The section of this name.
    ///
    /// # Errors
    /// When it is no section.
    pub fn section(&self, key: &str) -> Result<Option<Section<'a>>, String> {
        match self.element(key) {
            None => Ok(None),
            Some(Element::Section(message)) => {
                Ok(Some(Section::new(format!("{}.{key}", self.path), message)))
            }
            Some(_) => Err(self.wrong(key, "a value", "a section")),
        }
    }

    /// Every sub-section with its name, and nothing else.
    ///
    /// # Errors
    /// When there is a value or a list.
    pub fn all_sections(&self) -> Result<Vec<(&'a str, Section<'a>)>, String> {
        for (name, element) in self.message.elements() {
            if !matches!(element, Element::Section(_)) {
                return Err(self.wrong(name, "a value", "a section"));
            }
        }
        Ok(self.sections(""))
    }

    /// Refuses what nobody asked for, what stands twice, and what means nothing here.
    ///
    /// # Errors
    /// The first such key, and why.
    pub fn finish(self, foreign: &[Foreign]) -> Result<(), String> {
        let mut seen: Vec<&str> = Vec::new();
        for (name, _) in self.message.elements() {
            if seen.contains(&name) {
                return Err(format!("{}.{name} stands twice", self.path));
            }
            seen.push(name);
            if self.read.borrow().contains(&name) {
                continue;
            }
            let Some(foreign) = foreign.iter().find(|f| f.key == name) else {
                let remedy = "docs/configuration.md lists the keys";
                return Err(format!("{}.{name}: unknown key; {remedy}", self.path));
            };
            let harmless = self
                .text(name)?
                .is_none_or(|text| foreign.harmless.contains(&text));
            if !harmless {
                return Err(format!(
                    "{}.{name} is not supported: {}",
                    self.path, foreign.remedy
                ));
            }
        }
        Ok(())
    }
}
