//! Proposals between the wire's form and the configuration's, and the reasons where none fits.

use crate::endpoint::{By, Reason};
use crate::proposal::{
    Chosen, Mismatch, Prefer, Proposal, Protocol, Transform, TransformType, select,
};
use crate::wire::v2::{self as wire, ProtocolId, SecurityAssociation, SpiField};

/// The SA payload that offers these proposals, numbered from 1, each with this SPI.
pub(crate) fn offer(proposals: &[Proposal], spi: &SpiField) -> SecurityAssociation {
    let proposals = proposals.iter().take(MOST_OFFERED).enumerate();
    SecurityAssociation {
        proposals: proposals
            .map(|(at, p)| to_wire(p, u8::try_from(at + 1).unwrap_or(u8::MAX), spi.clone()))
            .collect(),
    }
}

/// Proposals in one SA payload: they are numbered from 1 in one octet.
const MOST_OFFERED: usize = 254;

/// The proposal as an SA payload has it.
pub(crate) fn to_wire(proposal: &Proposal, number: u8, spi: SpiField) -> wire::Proposal {
    let transform = |t: &Transform| wire::Transform {
        kind: wire::TransformType::from_number(t.kind.id()),
        id: t.id,
        key_length: t.key_bits,
        unknown_attributes: Vec::new(),
    };
    wire::Proposal {
        number,
        protocol: ProtocolId::from_number(proposal.protocol as u8),
        spi,
        transforms: proposal.transforms.iter().map(transform).collect(),
    }
}

/// The proposal that an SA payload has; `None` for a protocol that is not known.
///
/// A transform with attributes that nobody knows cannot be chosen and is left out (RFC 7296 §3.3.6).
pub(crate) fn from_wire(proposal: &wire::Proposal) -> Option<Proposal> {
    let protocol = Protocol::from_id(proposal.protocol.number())?;
    let known = proposal
        .transforms
        .iter()
        .filter(|t| t.unknown_attributes.is_empty());
    let transforms = known.map(|t| Transform {
        kind: TransformType::from_id(t.kind.number()),
        id: t.id,
        key_bits: t.key_length,
    });
    Some(Proposal {
        protocol,
        transforms: transforms.collect(),
    })
}

/// What was chosen of an offer: to answer with, and to work with.
pub(crate) struct Choice {
    /// Which of the offered proposals.
    pub offered: usize,
    pub proposal: Proposal,
}

/// Chooses among what an SA payload offers.
///
/// # Errors
/// Why nothing fits.
pub(crate) fn choose(
    offer: &SecurityAssociation,
    configured: &[Proposal],
) -> Result<Choice, Box<Mismatch>> {
    // Places are kept: a proposal of an unknown protocol has no transforms and fits nothing.
    let offered: Vec<_> = offer
        .proposals
        .iter()
        .map(|p| from_wire(p).unwrap_or(Proposal::new(Protocol::Ike)))
        .collect();
    let Chosen {
        offered, proposal, ..
    } = select(&offered, configured, Prefer::Configured)?;
    Ok(Choice { offered, proposal })
}

/// Whether what the responder chose is something that was offered; then the choice as a proposal.
pub(crate) fn check_choice(
    answer: &SecurityAssociation,
    offered: &[Proposal],
) -> Option<(Proposal, SpiField)> {
    //= RFC 7296 §2.7: the responder's choice is one proposal, with one transform of each type
    let [one] = answer.proposals.as_slice() else {
        return None;
    };
    let chosen = from_wire(one)?;
    let unique = chosen
        .kinds()
        .iter()
        .all(|kind| chosen.of(*kind).count() == 1);
    let all_known = one
        .transforms
        .iter()
        .all(|t| t.unknown_attributes.is_empty());
    let result = select(std::slice::from_ref(&chosen), offered, Prefer::Configured).ok()?;
    (unique && all_known).then_some((result.proposal, one.spi.clone()))
}

/// NO_PROPOSAL_CHOSEN, said by us.
pub(crate) fn refused_by_us(mismatch: &Mismatch, key: String) -> Reason {
    let text = |all: &[Proposal]| all.iter().map(ToString::to_string).collect();
    Reason::NoProposal {
        by: By::Us,
        key,
        ours: text(&mismatch.configured),
        theirs: text(&mismatch.offered),
        mismatches: mismatch.to_string().lines().map(str::to_owned).collect(),
    }
}

/// NO_PROPOSAL_CHOSEN, said by the peer, which does not say what it would take.
pub(crate) fn refused_by_peer(ours: &[Proposal], key: String) -> Reason {
    Reason::NoProposal {
        by: By::Peer,
        key,
        ours: ours.iter().map(ToString::to_string).collect(),
        theirs: Vec::new(),
        mismatches: Vec::new(),
    }
}
