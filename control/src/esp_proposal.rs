//! ESP and AH proposals as swanctl writes them: `aes128gcm16`, `aes256-sha256-esn`; `sha256`.

use adit_abi::{Protocol, Suite, SuiteError};

/// A suite, and whether sequence numbers are extended (RFC 4304).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EspProposal {
    /// The suite.
    pub suite: Suite,
    /// Whether sequence numbers have 64 bits.
    pub esn: bool,
}

impl EspProposal {
    /// Parses a proposal of a protocol.
    ///
    /// # Errors
    /// The word that is wrong, and what to write instead.
    pub fn parse(protocol: Protocol, text: &str) -> Result<Self, SuiteError> {
        let text = text.trim();
        let (name, esn) = match (text.strip_suffix("-esn"), text.strip_suffix("-noesn")) {
            (_, Some(name)) => (name, false),
            (Some(name), None) => (name, true),
            (None, None) => (text, false),
        };
        let suite = match protocol {
            Protocol::Esp => Suite::parse_esp(name),
            Protocol::Ah => Suite::parse_ah(name),
        };
        suite.map(|suite| Self { suite, esn })
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
        let esp = Suite::every_esp().map(|suite| (Protocol::Esp, suite));
        for (protocol, suite) in esp.chain(Suite::every_ah().map(|suite| (Protocol::Ah, suite))) {
            for esn in [false, true] {
                let p = EspProposal { suite, esn };
                assert_eq!(EspProposal::parse(protocol, &p.name()), Ok(p));
            }
        }
        let p = EspProposal::parse(Protocol::Esp, "aes128gcm128-noesn").unwrap();
        assert_eq!((p.suite, p.esn), (Suite::AES128_GCM16, false));
        assert!(EspProposal::parse(Protocol::Esp, "des-md5").is_err());
    }
}
