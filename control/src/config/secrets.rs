//! Section `secrets`: keys of manually keyed SAs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use toml::Spanned;
use zeroize::Zeroizing;

use super::Named;
use super::error::Report;
use super::raw::{Field, RawKey, RawSecret};
use super::values::Section;
use crate::secret::Secret;

/// The keys of one direction.
#[derive(Clone, Default)]
pub(super) struct Keys {
    pub enc: Secret,
    pub auth: Secret,
}

/// The keys of a pair of SAs.
#[derive(Clone, Default)]
pub(super) struct KeyPair {
    pub inbound: Keys,
    pub outbound: Keys,
    /// Something is wrong with one of them, and was told.
    pub told: bool,
}

pub(super) fn check(
    report: &mut Report<'_>,
    file: &Path,
    raw: Named<RawSecret>,
) -> BTreeMap<String, KeyPair> {
    let beside = file.parent().unwrap_or(Path::new("."));
    let mut out = BTreeMap::new();
    for (id, (span, raw)) in raw {
        let mut s = Section {
            report: &mut *report,
            name: format!("secrets.{id}"),
            span,
        };
        let mut told = false;
        let mut key = |name, field: &Field<RawKey>| match field {
            Some(value) => read(&mut s, name, value, beside).unwrap_or_else(|| {
                told = true;
                Secret::default()
            }),
            // Which keys there must be depends on the suite.
            None => Secret::default(),
        };
        let mut pair = KeyPair {
            told: false,
            inbound: Keys {
                enc: key("enc_in", &raw.enc_in),
                auth: key("auth_in", &raw.auth_in),
            },
            outbound: Keys {
                enc: key("enc_out", &raw.enc_out),
                auth: key("auth_out", &raw.auth_out),
            },
        };
        pair.told = told;
        out.insert(id, pair);
    }
    out
}

/// A key from the text or from a file beside it; [`None`] after telling why not. What is found is never shown.
fn read(
    s: &mut Section<'_, '_>,
    name: &str,
    value: &Spanned<RawKey>,
    beside: &Path,
) -> Option<Secret> {
    const EXPECTED: &str = "an even number of hexadecimal digits";
    match value.get_ref() {
        RawKey::Hex(text) => Secret::from_hex(text).or_else(|| {
            let remedy = "make one with `openssl rand -hex 32`";
            s.wrong(name, value, "something else found", EXPECTED, remedy);
            None
        }),
        RawKey::File { file } => {
            let path = beside.join(file);
            match fs::read_to_string(&path).map(Zeroizing::new) {
                Ok(text) => Secret::from_hex(&text).or_else(|| {
                    let found = format!("something else found in {}", path.display());
                    s.wrong(name, value, found, EXPECTED, "");
                    None
                }),
                Err(e) => {
                    let found = format!("{} cannot be read: {e}", path.display());
                    s.wrong(name, value, found, "a readable file", "");
                    None
                }
            }
        }
    }
}
