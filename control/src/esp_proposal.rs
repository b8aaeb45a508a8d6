//! ESP proposals as swanctl writes them: `aes128gcm16`, `aes256-sha256-esn`.

use adit_abi::Suite;

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
    /// The names that there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (name, esn) = match (text.strip_suffix("-esn"), text.strip_suffix("-noesn")) {
            (_, Some(name)) => (name, false),
            (Some(name), None) => (name, true),
            (None, None) => (text, false),
        };
        // The length of the ICV may be given in bits, as swanctl allows.
        let name = name.replace("gcm128", "gcm16");
        let suite = Suite::ALL.into_iter().find(|s| s.name() == name);
        suite.map(|suite| Self { suite, esn }).ok_or_else(|| {
            let names: Vec<_> = Suite::ALL.iter().map(|s| s.name()).collect();
            format!("one of {}, with -esn behind it or not", names.join(", "))
        })
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
        for suite in Suite::ALL {
            for esn in [false, true] {
                let p = EspProposal { suite, esn };
                assert_eq!(EspProposal::parse(&p.name()), Ok(p));
            }
        }
        let p = EspProposal::parse("aes128gcm128-noesn").unwrap();
        assert_eq!((p.suite, p.esn), (Suite::Aes128Gcm16, false));
        assert!(EspProposal::parse("des-md5").is_err());
    }
}
