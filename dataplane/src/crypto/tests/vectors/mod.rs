//! Published test vectors (`tests/vectors`), through both providers.

mod aeads;
mod ciphers;
mod macs;
mod packets;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use std::path::Path;

/// Octets written in hexadecimal.
struct Hex(Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
            return Err(D::Error::custom("odd number of hexadecimal digits"));
        };
        pairs
            .iter()
            .map(|pair| str::from_utf8(pair).map_err(D::Error::custom))
            .map(|pair| u8::from_str_radix(pair?, 16).map_err(D::Error::custom))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Hex {
    fn array<const N: usize>(&self) -> [u8; N] {
        self.0[..].try_into().expect("a vector of the wrong length")
    }
}

fn load<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/vectors")
        .join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[derive(Deserialize)]
struct File<T> {
    tests: Vec<T>,
}

#[derive(Deserialize)]
struct Wycheproof<T> {
    #[serde(rename = "numberOfTests")]
    count: usize,
    #[serde(rename = "testGroups")]
    groups: Vec<File<T>>,
}

impl<T: DeserializeOwned> Wycheproof<T> {
    fn tests(name: &str) -> Vec<T> {
        let file: Self = load(name);
        let tests: Vec<T> = file.groups.into_iter().flat_map(|g| g.tests).collect();
        assert_eq!(tests.len(), file.count);
        tests
    }
}
