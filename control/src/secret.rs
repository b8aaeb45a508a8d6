//! Key bytes: wiped when dropped, never shown.

use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Key bytes of an SA.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// In a time that tells nothing of the bytes.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl Secret {
    /// Takes the bytes over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads hexadecimal digits, with or without `0x` in front; white space between them is skipped.
    ///
    /// `None` for anything else. The caller wipes the text.
    pub fn from_hex(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text
            .strip_prefix("0x")
            .or_else(|| text.strip_prefix("0X"))
            .unwrap_or(text);
        // Sized at once, so that growing leaves no copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 2));
        let mut high = None;
        for c in text.chars().filter(|c| !c.is_ascii_whitespace()) {
            let digit = u8::try_from(c.to_digit(16)?).ok()?;
            match high.take() {
                None => high = Some(digit << 4),
                Some(h) => bytes.push(h | digit),
            }
        }
        high.is_none().then_some(Self(bytes))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Shows the length only.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} octets>", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_is_read_and_nothing_else() {
        assert_eq!(Secret::from_hex("0x00ff 10").unwrap().bytes(), [0, 255, 16]);
        assert_eq!(Secret::from_hex("Ab").unwrap().bytes(), [0xab]);
        assert!(Secret::from_hex("abc").is_none());
        assert!(Secret::from_hex("zz").is_none());
    }

    #[test]
    fn debug_shows_no_key() {
        let s = Secret::from_hex("deadbeef").unwrap();
        assert_eq!(format!("{s:?}"), "<4 octets>");
    }
}
