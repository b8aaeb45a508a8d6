//! Choosing among what was offered, and saying why nothing fits (RFC 7296 §2.7, §3.3.6).

use super::registry::{self, NONE};
use super::{Proposal, Transform, TransformType};
use std::fmt;

/// Whose order decides where both have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Prefer {
    /// Ours.
    #[default]
    Configured,
    /// The peer's.
    Offered,
}

/// What was chosen: one transform of each type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Which of the offered proposals, counted from zero.
    pub offered: usize,
    /// Which of the configured proposals, counted from zero.
    pub configured: usize,
    /// The transforms chosen, as they are answered.
    pub proposal: Proposal,
}

/// An offered and a configured proposal, and the first type on which they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairMismatch {
    /// Which of the offered proposals, counted from zero.
    pub offered: usize,
    /// Which of the configured proposals, counted from zero.
    pub configured: usize,
    /// The first type of which they have nothing in common; none where the protocols differ.
    pub first: Option<TransformType>,
    /// How many types agree.
    agreed: usize,
}

/// Why nothing was chosen: both lists, and the first mismatch of each pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What the peer offered.
    pub offered: Vec<Proposal>,
    /// What we have.
    pub configured: Vec<Proposal>,
    /// Every pair, those of one configured proposal beside each other.
    pub pairs: Vec<PairMismatch>,
}

/// Pairs kept for a report at most; a peer may offer 255 proposals.
const MAX_PAIRS: usize = 64;

/// Chooses the first pair of an offered and a configured proposal that fit.
///
/// # Errors
/// Both lists with the first mismatch of each pair.
pub fn select(
    offered: &[Proposal],
    configured: &[Proposal],
    prefer: Prefer,
) -> Result<Chosen, Box<Mismatch>> {
    let by_configured =
        || (0..configured.len()).flat_map(|c| (0..offered.len()).map(move |o| (o, c)));
    let by_offered = || (0..offered.len()).flat_map(|o| (0..configured.len()).map(move |c| (o, c)));
    let order: Vec<_> = match prefer {
        Prefer::Configured => by_configured().collect(),
        Prefer::Offered => by_offered().collect(),
    };
    let mut pairs = Vec::new();
    for (o, c) in order {
        match select_one(&offered[o], &configured[c], prefer) {
            Ok(proposal) => {
                return Ok(Chosen {
                    offered: o,
                    configured: c,
                    proposal,
                });
            }
            Err((first, agreed)) => {
                if pairs.len() < MAX_PAIRS {
                    pairs.push(PairMismatch {
                        offered: o,
                        configured: c,
                        first,
                        agreed,
                    });
                }
            }
        }
    }
    let (offered, configured) = (offered.to_vec(), configured.to_vec());
    Err(Box::new(Mismatch {
        offered,
        configured,
        pairs,
    }))
}

/// Steps of the search for key exchanges that differ, at most; more than any sensible proposal needs.
const MAX_STEPS: usize = 10_000;

/// What may be chosen of one type, the best first; an element is `None` where both sides do without the type.
type Candidates = Vec<Option<Transform>>;

/// One transform of each type, or the first type that has none in common and how many have.
fn select_one(
    offered: &Proposal,
    configured: &Proposal,
    prefer: Prefer,
) -> Result<Proposal, (Option<TransformType>, usize)> {
    if offered.protocol != configured.protocol {
        return Err((None, 0));
    }
    let mut kinds = configured.kinds();
    kinds.extend(offered.kinds());
    kinds.sort();
    kinds.dedup();
    let of_kind = |kind: &TransformType| candidates(*kind, offered, configured, prefer);
    let lists: Vec<Candidates> = kinds.iter().map(of_kind).collect();
    let agreed = lists.iter().filter(|list| !list.is_empty()).count();
    if let Some(at) = lists.iter().position(Vec::is_empty) {
        return Err((kinds.get(at).copied(), agreed));
    }
    let mut chosen = Vec::new();
    let mut steps = MAX_STEPS;
    if !choose_each(&lists, &mut chosen, &mut steps) {
        // Only key exchanges stand in each other's way.
        let last = kinds.iter().rfind(|kind| kind.is_ke()).copied();
        return Err((last, agreed.saturating_sub(1)));
    }
    let transforms = chosen.into_iter().flatten().collect();
    Ok(Proposal {
        protocol: configured.protocol,
        transforms,
    })
}

fn candidates(
    kind: TransformType,
    offered: &Proposal,
    configured: &Proposal,
    prefer: Prefer,
) -> Candidates {
    //= RFC 7296 §3.3.6: a proposal with a transform type that is not understood is passed over
    if matches!(kind, TransformType::Other(_)) {
        return Vec::new();
    }
    //= RFC 9370 §2.2.1: a key exchange that is left out is one that was offered as NONE
    // So are integrity beside a combined mode and sequence numbers of 32 bits. It is answered as it was offered.
    if !offered.has(kind) || !configured.has(kind) {
        let present = if offered.has(kind) {
            offered
        } else {
            configured
        };
        let none = present.of(kind).find(|t| t.id == NONE);
        return none
            .map(|t| offered.has(kind).then_some(*t))
            .into_iter()
            .collect();
    }
    let (leading, other) = match prefer {
        Prefer::Configured => (configured, offered),
        Prefer::Offered => (offered, configured),
    };
    let common = leading.of(kind).filter(|t| other.of(kind).any(|o| o == *t));
    common.map(|t| Some(*t)).collect()
}

/// Chooses one of each list so that no key exchange is there twice; the first lists have the better choice.
//= RFC 9370 §2.2.1: the responder's choice has no key exchange method twice, but for NONE
fn choose_each(lists: &[Candidates], chosen: &mut Candidates, steps: &mut usize) -> bool {
    let Some((list, rest)) = lists.split_first() else {
        return true;
    };
    for candidate in list {
        let Some(left) = steps.checked_sub(1) else {
            return false;
        };
        *steps = left;
        let method =
            |t: &Option<Transform>| t.filter(|t| t.kind.is_ke() && t.id != NONE).map(|t| t.id);
        let used =
            method(candidate).is_some() && chosen.iter().any(|c| method(c) == method(candidate));
        if used {
            continue;
        }
        chosen.push(*candidate);
        if choose_each(rest, chosen, steps) {
            return true;
        }
        chosen.pop();
    }
    false
}

impl Mismatch {
    /// The pair that comes nearest: the most types in common.
    pub fn nearest(&self) -> Option<&PairMismatch> {
        // Of equals the first, which both sides prefer.
        self.pairs.iter().rev().max_by_key(|p| p.agreed)
    }

    /// What to write into the connection's proposals so that the nearest pair fits; none if we cannot do what was offered.
    pub fn remedy(&self) -> Option<String> {
        let nearest = self.nearest()?;
        let offered = self.offered.get(nearest.offered)?;
        let configured = self.configured.get(nearest.configured)?;
        let kind = nearest.first?;
        let known = |t: &&Transform| registry::name_of(t).is_some();
        let theirs: Vec<_> = offered.of(kind).filter(known).collect();
        let Some(best) = theirs
            .iter()
            .find(|t| !registry::is_weak(t))
            .or_else(|| theirs.first())
        else {
            // The peer does without this type.
            let drop = configured.of(kind).next().filter(|_| !offered.has(kind))?;
            return Some(format!(
                "take the {kind} (`{drop}`) out of `{configured}`, or add it on the peer"
            ));
        };
        let weak = if registry::is_weak(best) {
            "; it is weak, so better change the peer"
        } else {
            ""
        };
        Some(format!("add `{best}` to `{configured}`{weak}"))
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for pair in &self.pairs {
            let (Some(offered), Some(configured)) = (
                self.offered.get(pair.offered),
                self.configured.get(pair.configured),
            ) else {
                continue;
            };
            match pair.first {
                None => writeln!(
                    f,
                    "offered {}, configured {}",
                    offered.protocol, configured.protocol
                )?,
                Some(kind) => writeln!(
                    f,
                    "offered {offered}, configured {configured}: the {kind} differs (offered {}, configured {})",
                    Names(offered, kind),
                    Names(configured, kind)
                )?,
            }
        }
        if self.offered.is_empty() {
            writeln!(f, "the peer offered no proposal")?;
        }
        match self.remedy() {
            Some(remedy) => f.write_str(&remedy),
            None => f.write_str("change the peer's proposals"),
        }
    }
}

/// The transforms of one type, for people.
struct Names<'a>(&'a Proposal, TransformType);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.of(self.1).map(|t| t.to_string()).collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join(", "))
    }
}
