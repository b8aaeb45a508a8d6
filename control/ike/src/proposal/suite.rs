//! What was agreed, as algorithms.

use super::registry::{ESN_YES, NONE};
use super::{Proposal, Protocol, Transform, TransformType};
use crate::crypto::{Encryption, Integrity, KeMethod, Prf};

/// A chosen proposal that does not make a suite: a type is missing, or we do not have the algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no usable {0} in the chosen proposal")]
pub struct SuiteError(pub TransformType);

/// The algorithms of an IKE SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeSuite {
    /// Protects the encrypted payload.
    pub encryption: Encryption,
    /// Its ICV; none beside a combined mode.
    pub integrity: Option<Integrity>,
    /// Makes keys and AUTH.
    pub prf: Prf,
    /// The first key exchange.
    pub ke: KeMethod,
    /// The additional key exchanges in order, each with its number 1 to 7; those chosen as NONE are left out.
    pub additional: Vec<(u8, KeMethod)>,
}

/// The algorithms of a child SA; the data plane knows its own by the same numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildSuite {
    /// ESP or AH.
    pub protocol: Protocol,
    /// The encryption; none with AH.
    pub encryption: Option<Transform>,
    /// The integrity; none beside a combined mode.
    pub integrity: Option<Transform>,
    /// Whether sequence numbers have 64 bits.
    pub esn: bool,
    /// The key exchange of its own, if there is one.
    pub ke: Option<KeMethod>,
    /// The additional key exchanges in order, each with its number 1 to 7.
    pub additional: Vec<(u8, KeMethod)>,
}

impl IkeSuite {
    /// The suite of a chosen proposal.
    ///
    /// # Errors
    /// The type that is missing or that we do not have.
    pub fn from_chosen(proposal: &Proposal) -> Result<Self, SuiteError> {
        let kind = TransformType::Encr;
        let encryption = only(proposal, kind)?
            .and_then(|t| Encryption::from_transform(t.id, t.key_bits))
            .ok_or(SuiteError(kind))?;
        let kind = TransformType::Integ;
        let integrity = match only(proposal, kind)? {
            None => None,
            Some(t) => Some(Integrity::from_id(t.id).ok_or(SuiteError(kind))?),
        };
        //= RFC 5282 §8: a combined mode has no integrity algorithm beside it, any other cipher has one
        if encryption.is_combined_mode() != integrity.is_none() {
            return Err(SuiteError(kind));
        }
        let kind = TransformType::Prf;
        let prf = only(proposal, kind)?
            .and_then(|t| Prf::from_id(t.id))
            .ok_or(SuiteError(kind))?;
        let kind = TransformType::Ke;
        let ke = ke_of(proposal, kind)?.ok_or(SuiteError(kind))?;
        Ok(Self {
            encryption,
            integrity,
            prf,
            ke,
            additional: additional_of(proposal)?,
        })
    }
}

impl ChildSuite {
    /// The suite of a chosen proposal.
    ///
    /// # Errors
    /// The type that is missing or that we do not have.
    pub fn from_chosen(proposal: &Proposal) -> Result<Self, SuiteError> {
        let encryption = only(proposal, TransformType::Encr)?.copied();
        if encryption.is_some() != (proposal.protocol == Protocol::Esp) {
            return Err(SuiteError(TransformType::Encr));
        }
        let integrity = only(proposal, TransformType::Integ)?.copied();
        let combined = encryption.is_some_and(|t| super::registry::is_combined_mode(t.id));
        if combined != integrity.is_none() {
            return Err(SuiteError(TransformType::Integ));
        }
        let esn = proposal
            .of(TransformType::Esn)
            .next()
            .is_some_and(|t| t.id == ESN_YES);
        let ke = ke_of(proposal, TransformType::Ke)?;
        let additional = additional_of(proposal)?;
        Ok(Self {
            protocol: proposal.protocol,
            encryption,
            integrity,
            esn,
            ke,
            additional,
        })
    }
}

/// The one transform of a type; none if there is none or it is NONE.
fn only(proposal: &Proposal, kind: TransformType) -> Result<Option<&Transform>, SuiteError> {
    let mut all = proposal.of(kind);
    let first = all.next();
    if all.next().is_some() {
        return Err(SuiteError(kind));
    }
    Ok(first.filter(|t| t.id != NONE))
}

fn ke_of(proposal: &Proposal, kind: TransformType) -> Result<Option<KeMethod>, SuiteError> {
    match only(proposal, kind)? {
        None => Ok(None),
        Some(t) => Ok(Some(KeMethod::from_id(t.id).ok_or(SuiteError(kind))?)),
    }
}

fn additional_of(proposal: &Proposal) -> Result<Vec<(u8, KeMethod)>, SuiteError> {
    let mut methods = Vec::new();
    for n in 1..=7 {
        if let Some(method) = ke_of(proposal, TransformType::AddKe(n))? {
            methods.push((n, method));
        }
    }
    Ok(methods)
}
