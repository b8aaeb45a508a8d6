//! ESP proposals as swanctl writes them: `aes128gcm16`, `aes256-sha256-esn`.

use adit_abi::{Suite, SuiteError};

/// A suite, and whether sequence numbers are extended (RFC 4304).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EspProposal {
    /// The suite.
    pub suite: Suite,
    /// Whether sequence numbers have 64 bits.
    pub esn: bool,
}

impl EspProposal {
    /// Parses a proposal.
    ///
    /// # Errors
    /// The word that is wrong, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, SuiteError> {
        let text = text.trim();
        let (name, esn) = match (text.strip_suffix("-esn"), text.strip_suffix("-noesn")) {
            (_, Some(name)) => (name, false),
            (Some(name), None) => (name, true),
            (None, None) => (text, false),
        };
        Suite::parse_esp(name).map(|suite| Self { suite, esn })
    }

    /// The proposal as swanctl writes it.
    pub fn name(&self) -> String {
        format!("{}{}", self.suite, if self.esn { "-esn" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_is_read_back_with_and_without_esn() {
        for suite in Suite::every_esp() {
            for esn in [false, true] {
                let p = EspProposal { suite, esn };
                assert_eq!(EspProposal::parse(&p.name()), Ok(p));
            }
        }
        let p = EspProposal::parse("aes128gcm128-noesn").unwrap();
        assert_eq!((p.suite, p.esn), (Suite::AES128_GCM16, false));
        assert!(EspProposal::parse("des-md5").is_err());
    }
}
