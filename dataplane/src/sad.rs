//! Each worker's contexts of the SAs it uses: the cipher keyed, and what else depends on the record alone.
//!
//! A context belongs to one generation of a slot. Whether that generation is still in the table is the
//! caller's to know: it comes from a look-up just made. Contexts of SAs that have gone are dropped a few
//! at a time, and with them their keys.

use adit_abi::{
    Direction, DropReason, Flow, Mode, PolicyReader, SaFlags, SaRecord, SaRef, SaState,
    SelectorSet, StateRegion, Suite,
};
use std::sync::atomic::Ordering;
use zeroize::Zeroize;

use crate::ah;
use crate::crypto::{Authenticator, Keys, Provider, Transform};
use crate::forward::fib::Hop;
use crate::headers::{esp, udp};
use crate::mode::{beet, transport};

/// Contexts looked at in one turn while contexts of dead SAs are searched for.
const SWEEP: usize = 32;

/// An SA's cryptography, by its protocol.
pub enum Crypto {
    /// ESP's.
    Esp(Box<dyn Transform>),
    /// AH's.
    Ah(Box<dyn Authenticator>),
}

/// What a worker keeps about one SA.
pub struct SaContext {
    /// Which SA.
    pub sa: SaRef,
    /// Its record, the keys wiped.
    pub record: SaRecord,
    /// Its selectors, if it has several.
    selectors: Option<Box<SelectorSet>>,
    /// Its suite.
    pub suite: Suite,
    /// Its direction.
    pub direction: Direction,
    /// Its mode.
    pub mode: Mode,
    /// Its cryptography, keyed.
    pub crypto: Crypto,
    /// Where its sealed packets go, under the snapshot of this number.
    pub hop: Option<(u64, Hop)>,
    /// Inner packets are padded to so many bytes, as far as the path lets them be (RFC 4303 §2.7).
    pub pad_to: u16,
    /// Outer DSCP for each inner one, where the SA maps them; as old as `hop`.
    pub dscp_map: Option<Box<[u8; 64]>>,
    /// Number of the tables it was made from.
    tables: u32,
}

impl SaContext {
    /// Checks and copies an SA out of the table and keys its cipher.
    fn new(
        policy: &PolicyReader,
        sa: SaRef,
        window_capacity: u16,
        provider: Provider,
        tables: u32,
    ) -> Result<Self, DropReason> {
        let mut record = policy.sa(sa).ok_or(DropReason::NoSa)?;
        let made = Self::check(&record, window_capacity).and_then(|(suite, direction, mode)| {
            let bad = DropReason::BadSa;
            let keys = Keys {
                enc: record.enc_key.get(..suite.enc_key_len()).ok_or(bad)?,
                auth: record.auth_key.get(..suite.auth_key_len()).ok_or(bad)?,
            };
            let esn = record.esn();
            let crypto = match suite.integrity() {
                Some(integrity) if suite.is_ah() => provider
                    .authenticator(integrity, keys.auth, esn)
                    .map(Crypto::Ah),
                _ => provider.transform(suite, keys, esn).map(Crypto::Esp),
            };
            Ok((suite, direction, mode, crypto.map_err(|_| bad)?))
        });
        record.zeroize();
        let (suite, direction, mode, crypto) = made?;
        let selectors = policy.selector_set(&record).map(Box::new);
        if record.selector_set != 0 && selectors.is_none() {
            return Err(DropReason::BadSa);
        }
        // Only now is the set surely this SA's.
        if !policy.is_live(sa) {
            return Err(DropReason::NoSa);
        }
        Ok(Self {
            sa,
            record,
            selectors,
            suite,
            direction,
            mode,
            crypto,
            hop: None,
            pad_to: 0,
            dscp_map: None,
            tables,
        })
    }

    fn check(
        record: &SaRecord,
        window_capacity: u16,
    ) -> Result<(Suite, Direction, Mode), DropReason> {
        let bad = DropReason::BadSa;
        let suite = record.suite().ok_or(bad)?;
        let direction = record.direction().ok_or(bad)?;
        let mode = record.mode().ok_or(bad)?;
        let window = record.window;
        let window_fits = window == 0 || (64..=window_capacity).contains(&window);
        let one_family = record.source.is_v4() == record.destination.is_v4();
        let bound = mode != Mode::Beet || beet::is_bound(record);
        let encap = record.flags.contains(SaFlags::UDP_ENCAP);
        // AH covers the addresses that a NAT changes, and only ESP is known to be without them.
        let fits_protocol = match suite.is_ah() {
            true => mode != Mode::Beet && !encap && record.around.0 == 0,
            false => !encap || record.around.0 == 0,
        };
        if !window_fits || !one_family || !bound || !fits_protocol || !record.spi.is_usable() {
            return Err(bad);
        }
        Ok((suite, direction, mode))
    }

    /// Whether the SA's selectors cover a flow; the answers are those of [`adit_abi::Selector::covers_shown`].
    #[inline]
    pub fn covers(&self, flow: &Flow, ports: bool) -> Option<bool> {
        match &self.selectors {
            None => self.record.selector.covers_shown(flow, ports),
            Some(set) => set.covers_shown(flow, ports),
        }
    }

    /// Whether packets are encapsulated in UDP.
    #[inline]
    pub fn encap(&self) -> bool {
        self.record.flags.contains(SaFlags::UDP_ENCAP)
    }

    /// Bytes of a plain outer IP header.
    #[inline]
    pub fn outer_ip_len(&self) -> usize {
        transport::plain_header(self.record.destination.is_v4())
    }

    /// Bytes between the outer IP header and the payload: UDP, ESP, IV; or AH.
    #[inline]
    pub fn ipsec_len(&self) -> usize {
        if self.suite.is_ah() {
            let v4 = self.record.destination.is_v4();
            return ah::header_len(&self.record, v4, self.suite.icv_len());
        }
        let udp = if self.encap() { udp::LEN } else { 0 };
        udp + esp::LEN + self.suite.iv_len()
    }

    /// The most payload that fits `room` bytes together with what follows it.
    pub fn payload_in(&self, room: usize) -> usize {
        if self.suite.is_ah() {
            return room;
        }
        let (block, icv) = (self.suite.block(), self.suite.icv_len());
        (room.saturating_sub(icv) / block * block).saturating_sub(2)
    }

    /// Room that is needed in front of a packet at most.
    #[inline]
    pub fn front(&self) -> usize {
        self.ipsec_len()
            + match self.mode {
                Mode::Tunnel => self.outer_ip_len(),
                Mode::Transport => 0,
                Mode::Beet => self.outer_ip_len() + beet::PSEUDO_ROOM,
            }
    }

    /// The SA's state, once the steward has prepared it for this generation.
    ///
    /// # Errors
    /// [`DropReason::SaNotReady`] until then.
    #[inline]
    pub fn state<'a>(&self, region: &'a StateRegion) -> Result<SaState<'a>, DropReason> {
        region.state_of(self.sa).ok_or(DropReason::SaNotReady)
    }
}

/// The contexts, by slot.
pub struct Sad {
    contexts: Vec<Option<Box<SaContext>>>,
    /// Slots that have one.
    used: Vec<u32>,
    provider: Provider,
    /// Number of the tables in force.
    tables: u32,
    /// The SAD generation that was last swept to its end, and the one being swept.
    swept: u64,
    sweeping: u64,
    cursor: usize,
}

impl Sad {
    /// No contexts yet.
    pub fn new(policy: &PolicyReader, provider: Provider) -> Self {
        let mut sad = Self {
            contexts: Vec::new(),
            used: Vec::new(),
            provider,
            tables: 0,
            swept: 0,
            sweeping: 0,
            cursor: 0,
        };
        sad.change_tables(policy);
        sad
    }

    /// Another policy region is in force: contexts are made anew when their SAs are used next.
    pub fn change_tables(&mut self, policy: &PolicyReader) {
        self.tables = self.tables.wrapping_add(1);
        let slots = policy.capacity().sas as usize;
        if self.contexts.len() < slots {
            self.contexts.resize_with(slots, || None);
        }
        self.swept = u64::MAX;
    }

    /// The context of an SA that was found live just now.
    ///
    /// # Errors
    /// [`DropReason::NoSa`] if it has gone since, [`DropReason::BadSa`] or [`DropReason::Unsupported`]
    /// if it cannot be used.
    #[inline]
    pub fn context(
        &mut self,
        policy: &PolicyReader,
        window_capacity: u16,
        sa: SaRef,
    ) -> Result<&mut SaContext, DropReason> {
        let current = self
            .contexts
            .get(sa.slot as usize)
            .ok_or(DropReason::BadSa)?
            .as_ref()
            .is_some_and(|c| c.sa == sa && c.tables == self.tables);
        if !current {
            self.key(policy, window_capacity, sa)?;
        }
        self.contexts
            .get_mut(sa.slot as usize)
            .and_then(Option::as_deref_mut)
            .ok_or(DropReason::BadSa)
    }

    #[cold]
    fn key(
        &mut self,
        policy: &PolicyReader,
        window_capacity: u16,
        sa: SaRef,
    ) -> Result<(), DropReason> {
        let place = self
            .contexts
            .get_mut(sa.slot as usize)
            .ok_or(DropReason::BadSa)?;
        let made = SaContext::new(policy, sa, window_capacity, self.provider, self.tables)?;
        if place.replace(Box::new(made)).is_none() {
            self.used.push(sa.slot);
        }
        Ok(())
    }

    /// Drops contexts whose SAs have left the table, a bounded number of looks a turn.
    pub fn sweep(&mut self, policy: &PolicyReader) {
        let generation = policy.sad_generation();
        if self.swept == generation {
            return;
        }
        if self.sweeping != generation {
            (self.sweeping, self.cursor) = (generation, 0);
        }
        for _ in 0..SWEEP {
            let Some(slot) = self.used.get(self.cursor).copied() else {
                self.swept = self.sweeping;
                return;
            };
            let tables = self.tables;
            match self.contexts.get_mut(slot as usize) {
                Some(Some(context)) if context.tables == tables && policy.is_live(context.sa) => {
                    self.cursor += 1;
                }
                Some(place) => {
                    *place = None;
                    self.used.swap_remove(self.cursor);
                }
                None => {
                    self.used.swap_remove(self.cursor);
                }
            }
        }
    }

    /// The context of an SA that [`Sad::context`] has returned in this turn.
    pub fn known(&self, sa: SaRef) -> Option<&SaContext> {
        let context = self.contexts.get(sa.slot as usize)?.as_deref()?;
        (context.sa == sa).then_some(context)
    }

    /// How many contexts there are.
    pub fn len(&self) -> usize {
        self.used.len()
    }
}

/// Counts a packet that came for an SA and was dropped among the SA's own counters.
pub fn count_refused(state: &SaState<'_>, reason: DropReason) {
    let counter = match reason {
        DropReason::Replayed | DropReason::TooOld | DropReason::SequenceZero => state.replays(),
        DropReason::BadIcv => state.icv_failures(),
        DropReason::Dummy => state.dummies(),
        DropReason::BadPadding
        | DropReason::BadNextHeader
        | DropReason::BadInner
        | DropReason::BadAhLength => state.malformed(),
        _ => return,
    };
    counter.fetch_add(1, Ordering::Relaxed);
}
