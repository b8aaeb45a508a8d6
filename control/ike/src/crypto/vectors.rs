//! Published vectors (`tests/vectors`) for the tests.

use serde_json::Value;

/// The octets of hexadecimal digits; everything between them is passed over.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(octet).collect()
}

/// One case of a file.
pub struct Case(Value);

impl Case {
    /// A text; empty if there is none.
    pub fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// Octets; none if there are none.
    pub fn hex(&self, key: &str) -> Vec<u8> {
        hex(self.text(key))
    }
}

/// The cases of a file.
pub fn load(file: &str) -> Vec<Case> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/vectors")
        .join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let parsed: Value = serde_json::from_str(&text).unwrap();
    let cases: Vec<_> = parsed["tests"]
        .as_array()
        .unwrap()
        .iter()
        .cloned()
        .map(Case)
        .collect();
    assert!(!cases.is_empty(), "{file}");
    cases
}
