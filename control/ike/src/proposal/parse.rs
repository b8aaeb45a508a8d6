//! Proposals as swanctl writes them: `aes256gcm16-prfsha384-ecp384`, `aes128-sha256-x25519-ke1_mlkem768`.

use super::registry::{self, ENCR_NULL, ENCR_NULL_AUTH_AES_GMAC, ESN_NO, NONE};
use super::{Proposal, Protocol, Transform, TransformType};
use TransformType::{AddKe, Encr, Esn, Integ, Ke, Prf};

/// Proposals in one list, at most. IKE numbers them in one octet, and nobody writes as many.
const MAX_PROPOSALS: usize = 64;

/// Why a proposal cannot be used, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{token}: {problem}; {remedy}")]
pub struct ProposalError {
    /// The token or the proposal concerned.
    pub token: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

impl ProposalError {
    fn new(token: &str, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            token: token.into(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

/// Parses a list of proposals, separated by commas, where `default` stands for ours.
///
/// # Errors
/// The token that cannot be used, and what to write instead.
pub fn parse_list(protocol: Protocol, text: &str) -> Result<Vec<Proposal>, ProposalError> {
    let mut proposals = Vec::new();
    for item in text.split(',').map(str::trim).filter(|i| !i.is_empty()) {
        match item {
            "default" => proposals.extend(super::defaults::of(protocol)),
            item => proposals.push(Proposal::parse(protocol, item)?),
        }
    }
    if proposals.is_empty() {
        return Err(ProposalError::new(
            "proposals",
            "the list is empty",
            "leave the key out, or write `default`",
        ));
    }
    if proposals.len() > MAX_PROPOSALS {
        let problem = format!("there are {} proposals", proposals.len());
        return Err(ProposalError::new(
            "proposals",
            problem,
            format!("write at most {MAX_PROPOSALS}"),
        ));
    }
    Ok(proposals)
}

impl Proposal {
    /// Parses one proposal.
    ///
    /// # Errors
    /// The token that cannot be used, and what to write instead.
    pub fn parse(protocol: Protocol, text: &str) -> Result<Self, ProposalError> {
        let text = text.trim().to_ascii_lowercase();
        let mut proposal = Self::new(protocol);
        for token in text.split('-') {
            proposal.add(parse_token(protocol, token)?);
        }
        proposal.complete(&text)?;
        proposal.transforms.sort_by_key(|t| t.kind);
        Ok(proposal)
    }

    /// Adds what swanctl implies, and refuses what cannot be agreed on.
    fn complete(&mut self, text: &str) -> Result<(), ProposalError> {
        let wrong = |problem: &str, remedy: &str| Err(ProposalError::new(text, problem, remedy));
        let combined = self
            .of(Encr)
            .filter(|t| registry::is_combined_mode(t.id))
            .count();
        let separate = self.of(Encr).count() - combined;
        //= RFC 5282 §8: combined-mode ciphers and others are offered in proposals of their own
        if combined > 0 && separate > 0 {
            return wrong(
                "ciphers with and without integrity of their own stand in one proposal",
                "write them as two proposals with a comma between",
            );
        }
        let additional = self
            .transforms
            .iter()
            .any(|t| matches!(t.kind, AddKe(_)) && t.id != NONE);
        if additional && !self.of(Ke).any(|t| t.id != NONE) {
            return wrong(
                "there is an additional key exchange but no first one",
                "add `x25519`",
            );
        }
        match self.protocol {
            Protocol::Ike => self.complete_ike(text, combined > 0),
            Protocol::Esp => self.complete_esp(text, combined > 0),
            Protocol::Ah => self.complete_ah(text),
        }
    }

    fn complete_ike(&mut self, text: &str, combined: bool) -> Result<(), ProposalError> {
        let wrong = |problem: &str, remedy: &str| Err(ProposalError::new(text, problem, remedy));
        if !self.has(Encr) {
            return wrong("IKE needs a cipher", "begin with `aes256gcm16` or `aes256`");
        }
        if self
            .of(Encr)
            .any(|t| matches!(t.id, ENCR_NULL | ENCR_NULL_AUTH_AES_GMAC))
        {
            return wrong(
                "IKE itself is always encrypted",
                "use `aes256gcm16` in place of `null` or a GMAC",
            );
        }
        if self.has(Esn) {
            return wrong(
                "`esn` and `noesn` belong to ESP and AH",
                "leave them out of an IKE proposal",
            );
        }
        if !self.of(Ke).any(|t| t.id != NONE) || self.of(Ke).any(|t| t.id == NONE) {
            return wrong("IKE needs a key exchange", "add `x25519` or `ecp256`");
        }
        if !self.has(Prf) {
            let prfs: Vec<_> = self
                .of(Integ)
                .filter_map(|t| registry::prf_of_integrity(t.id))
                .collect();
            for prf in prfs {
                self.add(Transform::new(Prf, prf));
            }
        }
        // Beside a combined mode `sha256` means only the PRF, as swanctl has it.
        if combined {
            self.transforms.retain(|t| t.kind != Integ);
        } else if !self.has(Integ) {
            return wrong("this cipher needs an integrity algorithm", "add `sha256`");
        }
        if !self.has(Prf) {
            return wrong("IKE needs a PRF", "add `prfsha256`");
        }
        Ok(())
    }

    fn complete_esp(&mut self, text: &str, combined: bool) -> Result<(), ProposalError> {
        let wrong = |problem: &str, remedy: &str| Err(ProposalError::new(text, problem, remedy));
        if !self.has(Encr) {
            return wrong(
                "ESP needs a cipher",
                "begin with `aes256gcm16`, or with `null` for none",
            );
        }
        self.refuse_prf(text)?;
        if combined && self.has(Integ) {
            return wrong(
                "this cipher has integrity of its own",
                "leave the integrity algorithm out",
            );
        }
        //= RFC 8221 §4: encryption without integrity is never used
        if !combined && !self.has(Integ) {
            return wrong(
                "this cipher needs an integrity algorithm",
                "add `sha256`, or use `aes256gcm16`",
            );
        }
        self.default_esn();
        Ok(())
    }

    fn complete_ah(&mut self, text: &str) -> Result<(), ProposalError> {
        if !self.has(Integ) {
            return Err(ProposalError::new(
                text,
                "AH needs an integrity algorithm",
                "add `sha256`",
            ));
        }
        self.refuse_prf(text)?;
        self.default_esn();
        Ok(())
    }

    fn refuse_prf(&self, text: &str) -> Result<(), ProposalError> {
        if self.has(Prf) {
            let problem = format!("{} has no PRF of its own", self.protocol);
            return Err(ProposalError::new(
                text,
                problem,
                "leave out what begins with `prf`",
            ));
        }
        Ok(())
    }

    fn default_esn(&mut self) {
        if !self.has(Esn) {
            self.add(Transform::new(Esn, ESN_NO));
        }
    }
}

fn parse_token(protocol: Protocol, token: &str) -> Result<Transform, ProposalError> {
    let (additional, name) = match token
        .strip_prefix("ke")
        .and_then(|rest| rest.split_once('_'))
    {
        Some((n, name)) => (Some(n), name),
        None => (None, token),
    };
    let Some(transform) = registry::by_name(protocol, name) else {
        return Err(unknown_token(protocol, token, name));
    };
    let Some(n) = additional else {
        return Ok(transform);
    };
    let n = n.parse().ok().filter(|n| (1..=7).contains(n));
    match (n, transform.kind) {
        (None, _) => Err(ProposalError::new(
            token,
            "additional key exchanges are ke1_ to ke7_",
            "number them from ke1_",
        )),
        (Some(n), Ke) => Ok(Transform {
            kind: AddKe(n),
            ..transform
        }),
        (Some(_), _) => Err(ProposalError::new(
            token,
            "this is no key exchange",
            format!("write `{name}`"),
        )),
    }
}

fn unknown_token(protocol: Protocol, token: &str, name: &str) -> ProposalError {
    if let Some(instead) = registry::instead_of(name) {
        return ProposalError::new(
            token,
            "adit does not have this algorithm",
            format!("use {instead}"),
        );
    }
    if protocol == Protocol::Ah && registry::by_name(Protocol::Esp, name).is_some() {
        return ProposalError::new(
            token,
            "AH does not encrypt",
            "leave the cipher out, or use esp_proposals",
        );
    }
    let kinds: &[TransformType] = match protocol {
        Protocol::Ike => &[Encr, Integ, Prf, Ke],
        Protocol::Esp => &[Encr, Integ, Ke, Esn],
        Protocol::Ah => &[Integ, Ke, Esn],
    };
    let names: Vec<_> = kinds.iter().flat_map(|k| registry::names(*k)).collect();
    ProposalError::new(
        token,
        "no algorithm has this name",
        format!("it can be one of {}", names.join(", ")),
    )
}
