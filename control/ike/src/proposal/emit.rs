//! Proposals and transforms as swanctl writes them.

use super::registry::{self, ESN_NO};
use super::{Proposal, Protocol, Transform, TransformType};
use TransformType::{AddKe, Encr, Esn, Integ, Ke, Prf};
use std::fmt;

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let AddKe(n) = self.kind {
            write!(f, "ke{n}_")?;
        }
        if let Some(name) = registry::name_of(self) {
            return f.write_str(name);
        }
        let word = match self.kind {
            Encr => "encr",
            Prf => "prf",
            Integ => "integ",
            Ke | AddKe(_) => "ke",
            Esn => "esn",
            TransformType::Other(kind) => return write!(f, "type{kind}({})", self.id),
        };
        write!(f, "{word}({}", self.id)?;
        if let Some(bits) = self.key_bits {
            write!(f, ",{bits}")?;
        }
        f.write_str(")")
    }
}

impl fmt::Display for Proposal {
    /// What [`Proposal::parse`] reads back to the same proposal, if every transform has a name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for transform in self.transforms.iter().filter(|t| !self.is_implied(t)) {
            write!(f, "{between}{transform}")?;
            between = "-";
        }
        Ok(())
    }
}

impl Proposal {
    /// Whether swanctl adds this transform by itself.
    fn is_implied(&self, transform: &Transform) -> bool {
        match (self.protocol, transform.kind) {
            (Protocol::Ike, Prf) => {
                let prfs = self.of(Prf).map(|t| t.id);
                self.has(Integ)
                    && self
                        .of(Integ)
                        .filter_map(|t| registry::prf_of_integrity(t.id))
                        .eq(prfs)
            }
            (Protocol::Esp | Protocol::Ah, Esn) => {
                transform.id == ESN_NO && self.of(Esn).count() == 1
            }
            _ => false,
        }
    }
}
