//! SAs as people see them: no keys.

use std::sync::atomic::Ordering;

use adit_abi::{Address, LearnedMtu, SaKey, SaRecord, SaRef};
use zeroize::Zeroize;

use super::spec::{Origin, unique_of};
use super::{Sadb, Stage};
use crate::esp_proposal::EspProposal;

/// What the data plane counted for one SA. Never goes back while the SA lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaCounts {
    /// Outbound: the last number used. Inbound: the highest one verified.
    pub sequence: u64,
    /// Packets sealed or opened.
    pub packets: u64,
    /// Bytes of inner packets.
    pub bytes: u64,
    /// First use, `CLOCK_BOOTTIME` nanoseconds, 0 for never.
    pub first_used: u64,
    /// Last use, the same clock.
    pub last_used: u64,
    /// Replays, or older than the window.
    pub replays: u64,
    /// Wrong ICVs.
    pub icv_failures: u64,
    /// Opened packets outside the selectors.
    pub selector_mismatches: u64,
    /// Malformed trailers or inner headers.
    pub malformed: u64,
    /// Dummy packets sent or received.
    pub dummies: u64,
    /// The path MTU that routers have told, and when.
    pub learned_mtu: Option<LearnedMtu>,
}

/// One SA without its keys.
#[derive(Clone, Copy, Debug)]
pub struct SaView {
    /// Its place.
    pub sa: SaRef,
    /// Whether it is in the table yet.
    pub stage: Stage,
    /// Its record; keys are zero.
    pub record: SaRecord,
    /// The number by which people tell SAs apart.
    pub unique: u32,
    /// Where it comes from.
    pub origin: Origin,
    /// What was counted.
    pub counts: SaCounts,
}

impl SaView {
    /// The SAD key.
    pub fn key(&self) -> SaKey {
        self.record.key()
    }

    /// The path MTU in bytes that counts at `now` (`CLOCK_BOOTTIME` nanoseconds), where what is learned holds for
    /// `seconds`; [`None`] for the route's.
    pub fn path_mtu(&self, now: u64, seconds: u32) -> Option<u16> {
        let learned = self.counts.learned_mtu.filter(|l| l.holds(now, seconds));
        let told = Some(self.record.path_mtu).filter(|mtu| *mtu != 0);
        learned.map(|l| l.bytes).into_iter().chain(told).min()
    }

    /// The slot of its policy.
    pub fn policy(&self) -> Option<u32> {
        self.record.policy.checked_sub(1)
    }

    /// Suite and ESN; [`None`] for a suite that this version does not know.
    pub fn proposal(&self) -> Option<EspProposal> {
        let esn = self.record.esn();
        self.record.suite().map(|suite| EspProposal { suite, esn })
    }
}

impl Sadb {
    /// Every SA, in no order.
    pub fn sas(&self) -> impl Iterator<Item = SaView> {
        let in_force = |(sa, _): &(SaRef, SaRecord)| self.by_slot.contains_key(&sa.slot);
        let records = self.reader().sas().filter(in_force);
        let installed = records.map(|(sa, mut record)| {
            record.zeroize();
            self.view(sa, record, Stage::Installed)
        });
        self.preparing().chain(installed)
    }

    /// The outer destinations of outbound SAs, each once.
    pub fn far_ends(&self) -> impl Iterator<Item = Address> {
        self.far_ends.keys().copied()
    }

    /// The SA that lies in a slot.
    pub fn sa_in_slot(&self, slot: u32) -> Option<SaView> {
        let generation = self.reader().sa_generation(slot)?;
        self.sa(SaRef { slot, generation })
    }

    /// SAs that the data plane still prepares.
    pub fn preparing(&self) -> impl Iterator<Item = SaView> {
        self.pending.values().map(|p| {
            let mut record = *p.record;
            record.zeroize();
            self.view(p.sa, record, Stage::Preparing)
        })
    }

    /// The SA of the other direction that belongs to this one.
    pub fn partner(&self, key: &SaKey) -> Option<SaView> {
        let entry = self.sas.get(&self.pairs.partner(key)?)?;
        self.sa(entry.sa)
    }

    /// One SA by its key, whether it is in the table yet or not.
    pub fn by_key(&self, key: &SaKey) -> Option<SaView> {
        let entry = self.sas.get(key)?;
        match entry.stage {
            Stage::Installed => self.sa(entry.sa),
            Stage::Preparing => self.preparing().find(|view| view.sa == entry.sa),
        }
    }

    /// One SA by its place.
    pub fn sa(&self, sa: SaRef) -> Option<SaView> {
        let mut record = self.reader().sa(sa)?;
        record.zeroize();
        Some(self.view(sa, record, Stage::Installed))
    }

    fn view(&self, sa: SaRef, record: SaRecord, stage: Stage) -> SaView {
        SaView {
            sa,
            stage,
            record,
            unique: unique_of(&record),
            origin: Origin::from_cookie(record.cookie.into()),
            counts: self.counts(sa),
        }
    }

    /// What was counted for an SA; nothing before its state is prepared.
    pub fn counts(&self, sa: SaRef) -> SaCounts {
        let Some(state) = self.state.state_of(sa) else {
            return SaCounts::default();
        };
        let get = |word: &std::sync::atomic::AtomicU64| word.load(Ordering::Relaxed);
        SaCounts {
            sequence: get(state.sequence()),
            packets: get(state.packets()),
            bytes: get(state.bytes()),
            first_used: get(state.first_used()),
            last_used: get(state.last_used()),
            replays: get(state.replays()),
            icv_failures: get(state.icv_failures()),
            selector_mismatches: get(state.selector_mismatches()),
            malformed: get(state.malformed()),
            dummies: get(state.dummies()),
            learned_mtu: LearnedMtu::from_word(get(state.learned_mtu())),
        }
    }
}
