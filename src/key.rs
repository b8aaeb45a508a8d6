//! Keys for `adit sa add`: hexadecimal from standard input or a file, wiped after use.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

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
    /// Neither one nor two keys.
    #[error("expected one line (encryption key) or two (then the integrity key), found {0}")]
    Lines(usize),
    /// Repeating such a key from a file repeats nonces.
    #[error(
        "a counter-mode suite must not be keyed from a file, since its second use repeats nonces (RFC 8221 §3):\n\
         pipe a fresh key to standard input, or say --unsafe-static-counter-mode-keys"
    )]
    Static,
}

/// The keys of one SA.
pub struct Keys {
    /// Encryption key, with the salt at its end.
    pub encryption: Zeroizing<Vec<u8>>,
    /// Integrity key, if the suite has one.
    pub integrity: Option<Zeroizing<Vec<u8>>>,
}

/// Reads the keys from a file, or from standard input where the path is `-`.
///
/// # Errors
/// [`KeyError::Static`] if `fresh` is asked for and the keys lie in a file, redirected or not;
/// otherwise what is wrong with the text.
pub fn read(path: &Path, fresh: bool) -> Result<Keys, KeyError> {
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
    parse(&text)
}

fn parse(text: &[u8]) -> Result<Keys, KeyError> {
    if text.len() > MAX_FILE {
        return Err(KeyError::TooLong);
    }
    let lines = text.split(|octet| *octet == b'\n').map(<[u8]>::trim_ascii);
    let lines: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
    match lines.as_slice() {
        [encryption] => Ok(Keys {
            encryption: hex(encryption, 1)?,
            integrity: None,
        }),
        [encryption, integrity] => Ok(Keys {
            encryption: hex(encryption, 1)?,
            integrity: Some(hex(integrity, 2)?),
        }),
        other => Err(KeyError::Lines(other.len())),
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
    fn one_line_is_the_encryption_key_and_a_second_the_integrity_key() {
        let keys = parse(b"  0x00ffAb \n\n0102\r\n").unwrap();
        assert_eq!(keys.encryption.as_slice(), [0, 0xff, 0xab]);
        assert_eq!(
            keys.integrity.as_deref().map(Vec::as_slice),
            Some(&[1, 2][..])
        );
        assert!(parse(b"00").unwrap().integrity.is_none());
    }

    #[test]
    fn anything_else_is_refused() {
        assert!(matches!(parse(b"\n"), Err(KeyError::Lines(0))));
        assert!(matches!(parse(b"00\n11\n22"), Err(KeyError::Lines(3))));
        assert!(matches!(parse(b"000"), Err(KeyError::Hex(1))));
        assert!(matches!(parse(b"00\n0g"), Err(KeyError::Hex(2))));
        assert!(matches!(
            parse(&[b'0'; MAX_FILE + 1]),
            Err(KeyError::TooLong)
        ));
    }

    #[test]
    fn a_file_is_refused_where_the_key_must_be_fresh() {
        let path = std::env::temp_dir().join(format!("adit-key-{}", std::process::id()));
        std::fs::write(&path, "00ff").unwrap();
        let (fresh, any) = (read(&path, true), read(&path, false));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(fresh, Err(KeyError::Static)));
        assert_eq!(any.unwrap().encryption.as_slice(), [0, 0xff]);
    }
}
