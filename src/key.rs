//! Keys for `adit sa add`: hexadecimal from standard input or a file, wiped after use.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use adit_abi::Suite;
use thiserror::Error;
use zeroize::Zeroizing;

/// Octets of a key file that are read; the longest pair of keys needs far fewer.
const MAX_FILE: usize = 1024;

/// Why there is no key.
#[derive(Debug, Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is too long to be one.
    #[error("more than {MAX_FILE} octets")]
    TooLong,
    /// Not two hexadecimal digits for each octet.
    #[error("line {0} is not hexadecimal digits in pairs")]
    Hex(usize),
    /// Another number of keys than the suite has.
    #[error("{suite} takes {expected}, one on a line, found {found} lines")]
    Lines {
        /// The suite.
        suite: Suite,
        /// Its keys in words.
        expected: &'static str,
        /// Lines that are not empty.
        found: usize,
    },
    /// Repeating such a key from a file repeats nonces.
    #[error(
        "a counter-mode suite must not be keyed from a file, since its second use repeats nonces (RFC 8221 §3):\n\
         pipe a fresh key to standard input, or say --unsafe-static-counter-mode-keys"
    )]
    Static,
}

/// The keys of one SA.
pub struct Keys {
    /// Encryption key, with the salt at its end, if the suite has one.
    pub encryption: Option<Zeroizing<Vec<u8>>>,
    /// Integrity key, if the suite has one.
    pub integrity: Option<Zeroizing<Vec<u8>>>,
}

/// Reads the suite's keys from a file, or from standard input where the path is `-`.
///
/// # Errors
/// [`KeyError::Static`] if `fresh` is asked for and the keys lie in a file, redirected or not;
/// otherwise what is wrong with the text.
pub fn read(path: &Path, suite: Suite, fresh: bool) -> Result<Keys, KeyError> {
    let source = if path == Path::new("-") {
        File::from(io::stdin().as_fd().try_clone_to_owned()?)
    } else {
        File::open(path)?
    };
    //= RFC 8221 §3: counter-mode ciphers must not be used with manual keys that outlive a restart
    if fresh && source.metadata()?.is_file() {
        return Err(KeyError::Static);
    }
    // One allocation, so that growing leaves no copy behind.
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_FILE + 1));
    source.take(MAX_FILE as u64 + 1).read_to_end(&mut text)?;
    parse(&text, suite)
}

fn parse(text: &[u8], suite: Suite) -> Result<Keys, KeyError> {
    if text.len() > MAX_FILE {
        return Err(KeyError::TooLong);
    }
    let lines = text.split(|octet| *octet == b'\n').map(<[u8]>::trim_ascii);
    let lines: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
    let has = (suite.enc_key_len() > 0, suite.auth_key_len() > 0);
    match (has, lines.as_slice()) {
        ((true, false), [encryption]) => Ok(Keys {
            encryption: Some(hex(encryption, 1)?),
            integrity: None,
        }),
        ((true, true), [encryption, integrity]) => Ok(Keys {
            encryption: Some(hex(encryption, 1)?),
            integrity: Some(hex(integrity, 2)?),
        }),
        ((false, true), [integrity]) => Ok(Keys {
            encryption: None,
            integrity: Some(hex(integrity, 1)?),
        }),
        (has, lines) => Err(KeyError::Lines {
            suite,
            expected: match has {
                (true, true) => "two keys, encryption and integrity",
                (true, false) => "an encryption key",
                _ => "an integrity key",
            },
            found: lines.len(),
        }),
    }
}

fn hex(line: &[u8], number: usize) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let digits = line.strip_prefix(b"0x").unwrap_or(line);
    let mut octets = Zeroizing::new(Vec::with_capacity(digits.len() / 2));
    for pair in digits.chunks(2) {
        let [high, low] = pair else {
            return Err(KeyError::Hex(number));
        };
        let digit = |octet: u8| char::from(octet).to_digit(16).ok_or(KeyError::Hex(number));
        octets.push((digit(*high)? << 4 | digit(*low)?) as u8);
    }
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suite_says_which_keys_there_are() {
        let octets = |key: &Option<Zeroizing<Vec<u8>>>| key.as_deref().cloned();
        let both = parse(b"  0x00ffAb \n\n0102\r\n", Suite::AES128_SHA256).unwrap();
        assert_eq!(octets(&both.encryption), Some(vec![0, 0xff, 0xab]));
        assert_eq!(octets(&both.integrity), Some(vec![1, 2]));
        let combined = parse(b"00", Suite::AES128_GCM16).unwrap();
        assert_eq!(octets(&combined.encryption), Some(vec![0]));
        assert_eq!(octets(&combined.integrity), None);
        let null = Suite::parse_esp("null-sha256").unwrap();
        let integrity = parse(b"00", null).unwrap();
        assert_eq!(octets(&integrity.encryption), None);
        assert_eq!(octets(&integrity.integrity), Some(vec![0]));
    }

    #[test]
    fn anything_else_is_refused() {
        let lines = |text, suite| parse(text, suite).err().map(|e| e.to_string());
        let (combined, separate) = (Suite::AES128_GCM16, Suite::AES128_SHA256);
        for (text, suite, error) in [
            (
                &b"\n"[..],
                combined,
                "aes128gcm16 takes an encryption key, one on a line, found 0 lines",
            ),
            (
                b"00\n11",
                combined,
                "aes128gcm16 takes an encryption key, one on a line, found 2 lines",
            ),
            (
                b"00",
                separate,
                "aes128-sha256 takes two keys, encryption and integrity, one on a line, found 1 lines",
            ),
        ] {
            assert_eq!(lines(text, suite).as_deref(), Some(error));
        }
        assert!(matches!(parse(b"000", combined), Err(KeyError::Hex(1))));
        assert!(matches!(parse(b"00\n0g", separate), Err(KeyError::Hex(2))));
        assert!(matches!(
            parse(&[b'0'; MAX_FILE + 1], Suite::AES128_GCM16),
            Err(KeyError::TooLong)
        ));
    }

    #[test]
    fn a_file_is_refused_where_the_key_must_be_fresh() {
        let path = std::env::temp_dir().join(format!("adit-key-{}", std::process::id()));
        std::fs::write(&path, "00ff").unwrap();
        let suite = Suite::AES128_GCM16;
        let (fresh, any) = [true, false].map(|fresh| read(&path, suite, fresh)).into();
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(fresh, Err(KeyError::Static)));
        assert_eq!(any.unwrap().encryption.unwrap().as_slice(), [0, 0xff]);
    }
}
