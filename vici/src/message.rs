//! Messages: an ordered tree of key-values, lists and sections.
//!
//! On the wire every element begins with a type octet; names have an 8-bit length, values a 16-bit
//! big-endian one. Lists hold values only. Numbers travel as text, secrets as raw octets.

mod parse;

use std::fmt;

use thiserror::Error;
use zeroize::Zeroizing;

pub use parse::{MAX_DEPTH, MAX_ELEMENTS};

const SECTION_START: u8 = 1;
const SECTION_END: u8 = 2;
const KEY_VALUE: u8 = 3;
const LIST_START: u8 = 4;
const LIST_ITEM: u8 = 5;
const LIST_END: u8 = 6;

/// A value: octets, mostly text; wiped when dropped, because it may be a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(Zeroizing<Vec<u8>>);

impl Value {
    /// The octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl<T: AsRef<[u8]> + ?Sized> From<&T> for Value {
    fn from(octets: &T) -> Self {
        Value(Zeroizing::new(octets.as_ref().to_vec()))
    }
}

/// Shows the length only.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} octets>", self.0.len())
    }
}

/// What an element holds.
#[derive(Clone, PartialEq, Eq)]
pub enum Element {
    /// A key-value's value.
    Value(Value),
    /// A list's items.
    List(Vec<Value>),
    /// A section's elements.
    Section(Message),
}

/// Shows names and lengths: values may be keys.
impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Element::Value(value) => value.fmt(f),
            Element::List(items) => items.fmt(f),
            Element::Section(message) => message.fmt(f),
        }
    }
}

/// An ordered sequence of named elements; a section holds another of its kind.
///
/// ```
/// use adit_vici::Message;
/// let message = Message::new()
///     .with("version", "2")
///     .with_list("local_ts", ["10.1.0.0/24", "fd00:1::/64"])
///     .with_section("child", Message::new().with("mode", "tunnel"));
/// let parsed = Message::parse(&message.emit().unwrap()).unwrap();
/// assert_eq!(parsed.str("version"), Some("2"));
/// assert_eq!(parsed.list("local_ts").count(), 2);
/// assert_eq!(parsed.section("child").and_then(|child| child.str("mode")), Some("tunnel"));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Message {
    elements: Vec<(String, Element)>,
}

/// Shows names and lengths: values may be keys.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.elements.iter().map(|(name, element)| (name, element)))
            .finish()
    }
}

/// Why octets are not a message, or a message cannot be emitted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("message element {element:?} at octet {offset}: {fault}")]
pub struct MessageError {
    /// Where in the encoded message the fault lies; 0 when emitting.
    pub offset: usize,
    /// Path of names to the element, as far as they were read, joined by dots.
    pub element: String,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Fault {
    /// The octets end inside an element.
    #[error("ends early")]
    Truncated,
    /// An element type the protocol does not define.
    #[error("element type {0} is not defined")]
    Type(u8),
    /// A list item, list end or section end where none can stand, or anything else within a list.
    #[error("element type {0} cannot stand here")]
    Misplaced(u8),
    /// A section or list that is still open at the end.
    #[error("section or list is not closed")]
    Unclosed,
    /// Sections nested deeper than [`MAX_DEPTH`].
    #[error("sections are nested deeper than {MAX_DEPTH}")]
    Depth,
    /// More than [`MAX_ELEMENTS`] elements and items.
    #[error("more than {MAX_ELEMENTS} elements")]
    Elements,
    /// A name longer than 255 octets or not printable ASCII; it may be empty.
    #[error("name is not 0 to 255 printable ASCII characters")]
    Name,
    /// A value longer than 65,535 octets.
    #[error("value is longer than 65535 octets")]
    ValueLength,
}

impl Message {
    /// An empty message.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key-value at the end.
    pub fn add(&mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> &mut Self {
        self.elements
            .push((name.into(), Element::Value(Value::from(value.as_ref()))));
        self
    }

    /// Adds a list at the end.
    pub fn add_list<T: AsRef<[u8]>>(
        &mut self,
        name: impl Into<String>,
        items: impl IntoIterator<Item = T>,
    ) -> &mut Self {
        let items = items
            .into_iter()
            .map(|item| Value::from(item.as_ref()))
            .collect();
        self.elements.push((name.into(), Element::List(items)));
        self
    }

    /// Adds a section at the end.
    pub fn add_section(&mut self, name: impl Into<String>, section: Message) -> &mut Self {
        self.elements.push((name.into(), Element::Section(section)));
        self
    }

    /// Adds everything of another message at the end.
    pub fn append(&mut self, other: Message) -> &mut Self {
        self.elements.extend(other.elements);
        self
    }

    /// [`Message::add`], for building in one expression.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.add(name, value);
        self
    }

    /// [`Message::add_list`], for building in one expression.
    #[must_use]
    pub fn with_list<T: AsRef<[u8]>>(
        mut self,
        name: impl Into<String>,
        items: impl IntoIterator<Item = T>,
    ) -> Self {
        self.add_list(name, items);
        self
    }

    /// [`Message::add_section`], for building in one expression.
    #[must_use]
    pub fn with_section(mut self, name: impl Into<String>, section: Message) -> Self {
        self.add_section(name, section);
        self
    }

    /// The first element of this name.
    pub fn element(&self, name: &str) -> Option<&Element> {
        self.elements
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, element)| element)
    }

    /// All elements, in order.
    pub fn elements(&self) -> impl Iterator<Item = (&str, &Element)> {
        self.elements
            .iter()
            .map(|(name, element)| (name.as_str(), element))
    }

    /// The octets of the first element of this name, if it is a key-value.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        match self.element(name) {
            Some(Element::Value(value)) => Some(value.as_bytes()),
            _ => None,
        }
    }

    /// The text of the first element of this name, if it is a key-value of UTF-8.
    pub fn str(&self, name: &str) -> Option<&str> {
        self.bytes(name)
            .and_then(|octets| std::str::from_utf8(octets).ok())
    }

    /// The items of the first element of this name that are UTF-8, or nothing if it is no list.
    ///
    /// [`Message::element`] gives every item, as octets.
    pub fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        let items = match self.element(name) {
            Some(Element::List(items)) => items.as_slice(),
            _ => &[],
        };
        items.iter().filter_map(Value::as_str)
    }

    /// The first element of this name, if it is a section.
    pub fn section(&self, name: &str) -> Option<&Message> {
        match self.element(name) {
            Some(Element::Section(section)) => Some(section),
            _ => None,
        }
    }

    /// All sections, in order.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &Message)> {
        self.elements().filter_map(|(name, element)| match element {
            Element::Section(section) => Some((name, section)),
            _ => None,
        })
    }

    /// Whether it has no element.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// Emits the message; what holds it is wiped when dropped.
    ///
    /// # Errors
    /// A name or value that does not fit its length field, or a name that is not printable ASCII.
    pub fn emit(&self) -> Result<Zeroizing<Vec<u8>>, MessageError> {
        // Allocated once at its full size, so that no grown-out-of copy of a key stays behind.
        let mut out = Zeroizing::new(Vec::with_capacity(self.encoded_len()));
        self.emit_into(&mut out)?;
        Ok(out)
    }

    fn encoded_len(&self) -> usize {
        self.elements
            .iter()
            .map(|(name, element)| {
                2 + name.len()
                    + match element {
                        Element::Value(value) => 2 + value.0.len(),
                        Element::List(items) => {
                            1 + items.iter().map(|item| 3 + item.0.len()).sum::<usize>()
                        }
                        Element::Section(section) => 1 + section.encoded_len(),
                    }
            })
            .sum()
    }

    fn emit_into(&self, out: &mut Vec<u8>) -> Result<(), MessageError> {
        for (name, element) in &self.elements {
            let fault = |fault| MessageError {
                offset: 0,
                element: name.clone(),
                fault,
            };
            if !is_name(name.as_bytes()) {
                return Err(fault(Fault::Name));
            }
            let length = u8::try_from(name.len()).map_err(|_| fault(Fault::Name))?;
            out.push(match element {
                Element::Value(_) => KEY_VALUE,
                Element::List(_) => LIST_START,
                Element::Section(_) => SECTION_START,
            });
            out.push(length);
            out.extend_from_slice(name.as_bytes());
            match element {
                Element::Value(value) => emit_value(value, out).map_err(fault)?,
                Element::List(items) => {
                    for item in items {
                        out.push(LIST_ITEM);
                        emit_value(item, out).map_err(fault)?;
                    }
                    out.push(LIST_END);
                }
                Element::Section(section) => {
                    section.emit_into(out).map_err(|mut error| {
                        error.element = format!("{name}.{}", error.element);
                        error
                    })?;
                    out.push(SECTION_END);
                }
            }
        }
        Ok(())
    }
}

fn emit_value(value: &Value, out: &mut Vec<u8>) -> Result<(), Fault> {
    let length = u16::try_from(value.0.len()).map_err(|_| Fault::ValueLength)?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&value.0);
    Ok(())
}

fn is_name(name: &[u8]) -> bool {
    name.iter()
        .all(|octet| octet.is_ascii_graphic() || *octet == b' ')
}
