//! From a PROTECT policy to the SA that a packet is sealed into.
//!
//! ```text
//! policy ── link word ──► the one SA that covers all of it                      (the usual case: one load)
//!                    └──► the newest of several SAs that cover parts ── next ── next …
//! policy + the packet's fields that it takes (PFP) ── flow place ──► SA ── next …
//! ```
//!
//! A chain leads past SAs that do not fit, and past other policies' where two keys share a place: whoever
//! follows it looks at each SA's own selectors and policy. Its length is bounded for readers, whatever lies in
//! memory.

use super::{PolicyReader, PolicyWriter};
use crate::sa::SaRef;
use crate::selector::{Flow, FromPacket};
use crate::sync::Ordering;

/// SAs that a reader follows along one chain at most.
const LONGEST: usize = 64;

/// Set in a link word whose SA covers a part of the policy only.
const SEVERAL: u64 = 1 << 63;
/// Where the policy's PFP flags lie in its link word.
const FROM_PACKET: u32 = 56;

/// What a policy's link word says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyLink {
    /// The SA, if there is one.
    pub sa: Option<SaRef>,
    /// Whether it is the first of several, each of which covers a part.
    pub several: bool,
    /// Fields by which the policy's SAs are told apart.
    pub from_packet: FromPacket,
}

impl PolicyLink {
    /// Whether every packet of the policy goes into the one SA.
    #[inline]
    pub fn is_plain(&self) -> bool {
        !self.several && self.from_packet.is_empty()
    }

    const fn to_word(self) -> u64 {
        let several = if self.several { SEVERAL } else { 0 };
        SaRef::to_word(self.sa) | several | (self.from_packet.bits() as u64) << FROM_PACKET
    }

    const fn from_word(word: u64) -> Self {
        Self {
            sa: SaRef::from_word(word),
            several: word & SEVERAL != 0,
            from_packet: FromPacket::from_bits((word >> FROM_PACKET) as u8),
        }
    }
}

impl PolicyReader {
    /// Where a PROTECT policy's packets go now.
    #[inline]
    pub fn policy_link(&self, policy: u32) -> PolicyLink {
        let word = self.span(self.layout.links).get(policy as usize);
        PolicyLink::from_word(word.map_or(0, |w| w.load(Ordering::Acquire)))
    }

    /// The SA that a PROTECT policy seals into now, or the first of several.
    #[inline]
    pub fn link(&self, policy: u32) -> Option<SaRef> {
        self.policy_link(policy).sa
    }

    /// SAs that a packet may belong into by the fields its policy takes from packets. Some may be another
    /// policy's: an SA that is found so names its policy's slot in its record.
    pub fn sas_by_flow(
        &self,
        policy: u32,
        link: &PolicyLink,
        flow: &Flow,
    ) -> impl Iterator<Item = SaRef> {
        let head = (!link.from_packet.is_empty())
            .then(|| self.flow_place(policy, &link.from_packet.key(flow)))
            .and_then(|place| self.flow_head(place));
        self.chain(head)
    }

    /// The SAs of a policy that cover a part of it each, the newest first.
    pub fn sas_of(&self, link: &PolicyLink) -> impl Iterator<Item = SaRef> {
        self.chain(link.sa)
    }

    fn chain(&self, first: Option<SaRef>) -> impl Iterator<Item = SaRef> {
        std::iter::successors(first, |sa| self.next_of(*sa)).take(LONGEST)
    }

    fn next_of(&self, sa: SaRef) -> Option<SaRef> {
        let word = self.span(self.layout.next).get(sa.slot as usize)?;
        SaRef::from_word(word.load(Ordering::Acquire))
    }

    /// The place at which SAs for this key are found, see [`FromPacket::key`].
    pub fn flow_place(&self, policy: u32, key: &Flow) -> u32 {
        let mut hash = self.seed ^ u64::from(policy);
        let ([a, b], [c, d]) = (key.local.to_words(), key.remote.to_words());
        let rest = u64::from(key.local_port) << 32
            | u64::from(key.remote_port) << 16
            | u64::from(key.protocol);
        for word in [a, b, c, d, rest] {
            let wide = u128::from(hash ^ word) * 0x9e37_79b9_7f4a_7c15;
            hash = ((wide >> 64) as u64 ^ wide as u64).wrapping_add(self.seed);
        }
        (hash >> 16) as u32 & (self.capacity.flow_places() as u32 - 1)
    }

    fn flow_head(&self, place: u32) -> Option<SaRef> {
        let word = self.span(self.layout.flows).get(place as usize)?;
        SaRef::from_word(word.load(Ordering::Acquire))
    }
}

impl PolicyWriter {
    /// Writes a policy's link by one store.
    pub fn set_link(&self, policy: u32, link: PolicyLink) {
        let words = self.reader().span(self.reader().layout.links);
        if let Some(word) = words.get(policy as usize) {
            word.store(link.to_word(), Ordering::Release);
        }
    }

    /// Points a PROTECT policy at the one SA to seal into, or at none; its PFP flags stay.
    pub fn link(&self, policy: u32, sa: Option<SaRef>) {
        let link = self.reader().policy_link(policy);
        self.set_link(
            policy,
            PolicyLink {
                sa,
                several: false,
                ..link
            },
        );
    }

    /// Chains SAs one behind the other, from the last to the first, so that a reader on its way finds an end.
    /// An SA is in one chain at most.
    pub fn chain(&self, sas: &[SaRef]) {
        let words = self.reader().span(self.reader().layout.next);
        let mut next = None;
        for sa in sas.iter().rev() {
            if let Some(word) = words.get(sa.slot as usize) {
                word.store(SaRef::to_word(next), Ordering::Release);
            }
            next = Some(*sa);
        }
    }

    /// Chains the SAs that are found at a flow place; see [`PolicyReader::flow_place`].
    pub fn set_flow_place(&self, place: u32, sas: &[SaRef]) {
        self.chain(sas);
        let words = self.reader().span(self.reader().layout.flows);
        if let Some(word) = words.get(place as usize) {
            word.store(SaRef::to_word(sas.first().copied()), Ordering::Release);
        }
    }
}
