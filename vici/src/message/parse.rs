//! Octets to a message, within bounds of depth and number.

use super::{
    Element, Fault, KEY_VALUE, LIST_END, LIST_ITEM, LIST_START, Message, MessageError, SECTION_END,
    SECTION_START, Value, is_name,
};

/// How deep sections may be nested.
pub const MAX_DEPTH: usize = 16;

/// How many elements and list items one message may hold, those of its sections included.
pub const MAX_ELEMENTS: usize = 32 * 1024;

impl Message {
    /// Parses a whole message.
    ///
    /// Equal names are kept in order; the getters see the first.
    ///
    /// # Errors
    /// A [`MessageError`] that names the first faulty element and its offset.
    pub fn parse(octets: &[u8]) -> Result<Self, MessageError> {
        let mut cursor = Cursor {
            octets,
            offset: 0,
            elements: 0,
        };
        let mut root = Message::new();
        // The sections being read, innermost last: a loop, so that input cannot choose the stack depth.
        let mut open: Vec<(String, Message)> = Vec::new();
        while let Some(kind) = cursor.next_octet() {
            let start = cursor.offset - 1;
            let mut name = String::new();
            let step = step(kind, &mut cursor, &mut name, &mut root, &mut open);
            step.map_err(|fault| error(start, &open, &name, fault))?;
        }
        if open.is_empty() {
            Ok(root)
        } else {
            Err(error(octets.len(), &open, "", Fault::Unclosed))
        }
    }
}

/// Reads the element that begins with `kind`; its name goes to `name` as soon as it is known.
fn step(
    kind: u8,
    cursor: &mut Cursor<'_>,
    name: &mut String,
    root: &mut Message,
    open: &mut Vec<(String, Message)>,
) -> Result<(), Fault> {
    if kind != SECTION_END {
        cursor.count()?;
    }
    match kind {
        SECTION_START => {
            *name = cursor.name()?;
            if open.len() == MAX_DEPTH {
                return Err(Fault::Depth);
            }
            open.push((std::mem::take(name), Message::new()));
        }
        SECTION_END => {
            let (name, section) = open.pop().ok_or(Fault::Misplaced(kind))?;
            innermost(root, open)
                .elements
                .push((name, Element::Section(section)));
        }
        KEY_VALUE => {
            *name = cursor.name()?;
            let value = cursor.value()?;
            innermost(root, open)
                .elements
                .push((std::mem::take(name), Element::Value(value)));
        }
        LIST_START => {
            *name = cursor.name()?;
            let items = cursor.items()?;
            innermost(root, open)
                .elements
                .push((std::mem::take(name), Element::List(items)));
        }
        LIST_ITEM | LIST_END => return Err(Fault::Misplaced(kind)),
        other => return Err(Fault::Type(other)),
    }
    Ok(())
}

fn innermost<'a>(root: &'a mut Message, open: &'a mut [(String, Message)]) -> &'a mut Message {
    match open.last_mut() {
        Some((_, section)) => section,
        None => root,
    }
}

fn error(offset: usize, open: &[(String, Message)], name: &str, fault: Fault) -> MessageError {
    let path: Vec<&str> = open
        .iter()
        .map(|(section, _)| section.as_str())
        .chain((!name.is_empty()).then_some(name))
        .collect();
    MessageError {
        offset,
        element: path.join("."),
        fault,
    }
}

struct Cursor<'a> {
    octets: &'a [u8],
    offset: usize,
    elements: usize,
}

impl<'a> Cursor<'a> {
    fn next_octet(&mut self) -> Option<u8> {
        let octet = self.octets.get(self.offset).copied()?;
        self.offset += 1;
        Some(octet)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let taken = self
            .octets
            .get(self.offset..)
            .and_then(|rest| rest.get(..length))
            .ok_or(Fault::Truncated)?;
        self.offset += length;
        Ok(taken)
    }

    fn count(&mut self) -> Result<(), Fault> {
        self.elements += 1;
        if self.elements > MAX_ELEMENTS {
            Err(Fault::Elements)
        } else {
            Ok(())
        }
    }

    fn name(&mut self) -> Result<String, Fault> {
        let length = self.next_octet().ok_or(Fault::Truncated)?;
        let name = self.take(usize::from(length))?;
        if !is_name(name) {
            return Err(Fault::Name);
        }
        String::from_utf8(name.to_vec()).map_err(|_| Fault::Name)
    }

    fn value(&mut self) -> Result<Value, Fault> {
        let (high, low) = (
            self.next_octet().ok_or(Fault::Truncated)?,
            self.next_octet().ok_or(Fault::Truncated)?,
        );
        self.take(usize::from(u16::from_be_bytes([high, low])))
            .map(Value::from)
    }

    fn items(&mut self) -> Result<Vec<Value>, Fault> {
        let mut items = Vec::new();
        loop {
            match self.next_octet().ok_or(Fault::Unclosed)? {
                LIST_ITEM => {
                    self.count()?;
                    items.push(self.value()?);
                }
                LIST_END => return Ok(items),
                kind @ (SECTION_START | SECTION_END | KEY_VALUE | LIST_START) => {
                    return Err(Fault::Misplaced(kind));
                }
                other => return Err(Fault::Type(other)),
            }
        }
    }
}
