//! From outside to inside: SAD, anti-replay, open, admit; and the check of what comes in clear
//! (RFC 4301 §5.2).

use adit_abi::{
    Address, Direction, DropReason, Event, Mode, SaFlags, SaRef, SaState, Side, WorkerCounter,
};
use arrayvec::ArrayVec;

use super::Stages;
use super::outbound::outer_wire;
use crate::ah;
use crate::classify::{Arrival, arrival, check_addresses};
use crate::clearance::FromSa;
use crate::esp;
use crate::esp::open::Arrived;
use crate::esp::runs::{BySa, take_run};
use crate::forward::Forward;
use crate::forward::fib::Hop;
use crate::frame::BURST;
use crate::headers::protocol;
use crate::icmp::Problem;
use crate::packet::{Fragment, Packet, Packets};
use crate::path_mtu::{self, About, AboutSa};
use crate::pmtu;
use crate::reassembly::{self, Ready};
use crate::sad::{Crypto, SaContext};
use crate::spd::admit::{Admitted, admit};
use crate::spd::flow_cache::FlowCache;
use crate::spd::fragments::{FragmentPorts, Way};
use crate::spd::{Bypassed, Decision, decide};
use crate::turn::Turn;

/// SAs that may be taken off one packet.
const MAX_NESTING: usize = 4;

impl Stages {
    /// Takes packets that came in from outside.
    pub fn inbound(&mut self, turn: &mut Turn<'_>, packets: &mut Packets) {
        let mut arrivals: ArrayVec<(Packet, Arrival), BURST> = ArrayVec::new();
        let mut known: Option<(Address, bool)> = None;
        for packet in packets.drain(..) {
            let fragment = packet.fragment != Fragment::Whole;
            let own = (fragment || may_concern_us(packet.protocol))
                && is_own(turn, &mut known, packet.destination);
            if fragment && own && reassembly::holds(&packet) {
                //= RFC 4303 §3.4.1: reassembly comes before ESP
                self.reassembly.take(packet, turn);
                continue;
            }
            if own && packet.is_icmp_error() && !fragment {
                self.icmp_error(turn, packet);
                continue;
            }
            let arrival = arrival(&packet, own);
            if let Arrival::Sealed { key, .. } = &arrival {
                // Brings the index's line in while the other packets of the burst are sorted.
                std::hint::black_box(
                    turn.policy
                        .sa_home(key)
                        .load(std::sync::atomic::Ordering::Relaxed),
                );
            }
            arrivals.push((packet, arrival));
        }
        let mut to_open: BySa<Arrived> = ArrayVec::new();
        for (packet, arrival) in arrivals {
            match arrival {
                Arrival::Sealed { at, key } => match turn.policy.find_sa(&key) {
                    Some(sa) => {
                        let around = None;
                        to_open.push((sa, Arrived { packet, at, around }));
                    }
                    None => self.unknown_spi(turn, packet),
                },
                Arrival::Ike => self.forward.forward(Bypassed::ike(packet), false, turn),
                Arrival::Clear => self.clear(turn, packet),
                Arrival::Drop(reason) => turn.ledger.drop(packet.frame, reason),
            }
        }
        // Every packet of the burst ends up in one place at most, so each list has room for all.
        let mut onward = Onward::default();
        self.open_all(turn, &mut to_open, &mut onward);
        for _ in 1..MAX_NESTING {
            if onward.nested.is_empty() {
                break;
            }
            let mut nested = std::mem::take(&mut onward.nested);
            self.open_all(turn, &mut nested, &mut onward);
        }
        for (_, arrived) in onward.nested {
            turn.ledger
                .drop(arrived.packet.frame, DropReason::NotNested);
        }
        self.outbound(turn, &mut onward.transit);
    }

    /// Opens packets of any number of SAs.
    fn open_all(&mut self, turn: &mut Turn<'_>, to_open: &mut BySa<Arrived>, onward: &mut Onward) {
        let mut run = ArrayVec::new();
        while let Some(sa) = take_run(to_open, &mut run) {
            if let Err(reason) = self.open_run(turn, sa, &mut run, onward) {
                for arrived in run.drain(..) {
                    turn.ledger.drop(arrived.packet.frame, reason);
                }
            }
        }
    }

    /// Moves on what has been put together from fragments, and fragments of what is not sealed.
    pub fn reassemble(&mut self, turn: &mut Turn<'_>) {
        self.reassembly.turn(turn);
        let mut whole = Packets::new();
        while let Some(ready) = self.reassembly.next(&mut turn.ledger) {
            match ready {
                Ready::Whole(packet) => {
                    if whole.is_full() {
                        self.inbound(turn, &mut whole);
                    }
                    whole.push(packet);
                }
                Ready::Ike(packet) => self.forward.forward(Bypassed::ike(packet), false, turn),
                Ready::Clear(packet) => self.clear_fragment(turn, packet),
            }
        }
        if !whole.is_empty() {
            self.inbound(turn, &mut whole);
        }
    }

    /// An ICMP error from outside to one of the gateway's own addresses: about a sealed packet, or about
    /// something else, which is the policies' and the kernel's.
    #[cold]
    fn icmp_error(&mut self, turn: &mut Turn<'_>, packet: Packet) {
        let about = match About::read(&packet) {
            About::Sealed(about) => about,
            About::Ike => return self.forward.forward(Bypassed::ike(packet), false, turn),
            About::Other => return self.clear(turn, packet),
        };
        let reason = match self.learn(turn, &about) {
            Ok(()) => DropReason::IcmpAboutSa,
            Err(reason) => reason,
        };
        turn.ledger.drop(packet.frame, reason);
    }

    /// Takes an SA's path MTU from a plausible message.
    fn learn(&mut self, turn: &mut Turn<'_>, about: &AboutSa) -> Result<(), DropReason> {
        let unknown = DropReason::ImplausibleIcmp;
        let sa = turn.policy.find_sa(&about.key).ok_or(unknown)?;
        let window = turn.state.capacity().window;
        let context = self
            .sad
            .context(turn.policy, window, sa)
            .map_err(|_| unknown)?;
        let state = context.state(turn.state)?;
        if context.direction != Direction::Outbound || !about.is_plausible(&context.record, &state)
        {
            return Err(unknown);
        }
        let settings = turn.snapshot.spd.settings();
        //= RFC 4301 §6.1.1: the administrator may have unauthenticated messages ignored
        if settings.believe_too_big == 0 {
            return Ok(());
        }
        let egress = outer_wire(context, &mut self.forward, turn)?.mtu;
        let current = path_mtu::of_sa(&context.record, &state, egress, settings, turn.now);
        if let Some(bytes) = about.lesson(current, settings) {
            path_mtu::remember(&state, bytes, turn.now);
            turn.ledger.add(WorkerCounter::PathMtuLearned, 1);
            turn.events.push(Event::PathMtu { sa, bytes });
        }
        Ok(())
    }

    /// An ESP packet without an SA: dropped, or somebody else's on its way through.
    #[cold]
    fn unknown_spi(&mut self, turn: &mut Turn<'_>, packet: Packet) {
        let fib = &turn.snapshot.fib;
        let transit = matches!(fib.hop(&packet.destination), Hop::Wire(_));
        if transit && !fib.is_own(&packet.destination) {
            return self.clear(turn, packet);
        }
        //= RFC 4303 §3.4.2: a packet without a valid SA is discarded
        turn.ledger.drop(packet.frame, DropReason::UnknownSpi);
    }

    /// A packet in clear: the SPD must say BYPASS.
    fn clear(&mut self, turn: &mut Turn<'_>, mut packet: Packet) {
        if let Err(reason) = check_addresses(&packet.source, &packet.destination) {
            return turn.ledger.drop(packet.frame, reason);
        }
        let snapshot = turn.snapshot;
        let mut decision = self.flows.decide(&packet, false, || {
            decide::clear_inbound(&snapshot.spd, &packet)
        });
        if packet.fragment != Fragment::Whole {
            //= RFC 4301 §7.4: fragments are followed where a BYPASS policy selects by port
            self.fragments.note(&packet, Way::Clear, turn.now);
            if matches!(decision, Decision::Drop(DropReason::Fragment, _))
                && self.fragments.show(&mut packet, Way::Clear, turn.now)
            {
                decision = decide::clear_inbound(&snapshot.spd, &packet);
            }
        }
        turn.count_policy(decision.policy(), true, packet.len());
        let packet = match Bypassed::under(packet, decision) {
            Ok(bypassed) => {
                turn.ledger.add(WorkerCounter::Bypassed, 1);
                return self.forward.forward(bypassed, false, turn);
            }
            Err(packet) => packet,
        };
        let reason = match decision {
            Decision::Drop(reason, _) => reason,
            Decision::Bypass(_) | Decision::Seal(_) => DropReason::NoPolicy,
        };
        //= RFC 4301 §5.2: what is discarded can be audited, with its selector fields
        let (flow, ports) = (packet.flow_inward(), packet.ports.is_some());
        turn.events
            .discarded(decision.policy(), reason, true, flow, ports);
        turn.ledger.drop(packet.frame, reason);
    }

    /// A fragment of a UDP packet in clear for the gateway itself. Where no policy has to do with it the kernel
    /// would have got it without us, had it come whole.
    fn clear_fragment(&mut self, turn: &mut Turn<'_>, packet: Packet) {
        match decide::clear_inbound(&turn.snapshot.spd, &packet) {
            Decision::Drop(DropReason::NoPolicy, _) => {
                self.forward.forward(Bypassed::ike(packet), false, turn);
            }
            _ => self.clear(turn, packet),
        }
    }

    /// Opens a run and forwards what is admitted; on error the packets left in it are the caller's to
    /// drop.
    fn open_run(
        &mut self,
        turn: &mut Turn<'_>,
        sa: SaRef,
        run: &mut ArrayVec<Arrived, BURST>,
        onward: &mut Onward,
    ) -> Result<(), DropReason> {
        let window = turn.state.capacity().window;
        let gone = |reason| match reason {
            // It left the table between two looks at it.
            DropReason::NoSa => DropReason::UnknownSpi,
            reason => reason,
        };
        let context = self.sad.context(turn.policy, window, sa).map_err(gone)?;
        if context.direction != Direction::Inbound {
            return Err(DropReason::BadSa);
        }
        //= RFC 4301 §4.1: a gateway opens transport mode only where the destination address is its own
        if context.mode == Mode::Transport && !turn.snapshot.fib.is_own(&context.record.destination)
        {
            return Err(DropReason::NotOwn);
        }
        let state = context.state(turn.state)?;
        let record = &context.record;
        let policy = record.policy.wrapping_sub(1);
        let clamp = turn.snapshot.spd.settings().clamp_mss != 0;
        // The way back to the peer decides how large an answer may be.
        let back = match self.forward.hop(&turn.snapshot.fib, &record.source) {
            Hop::Wire(wire) if clamp => Some(pmtu::inner_mtu(context, wire.mtu)),
            _ => None,
        };
        let opened = OpenedBy {
            sa: context,
            state: &state,
            policy,
            back,
        };
        let stages = (&mut self.forward, &mut self.flows, &mut self.fragments);
        match &context.crypto {
            Crypto::Esp(cipher) => {
                let packets = esp::open::open(run, context, &**cipher, &state, turn);
                opened.move_on(packets, stages, turn, onward);
            }
            Crypto::Ah(integrity) => {
                let packets = ah::open::open(run, context, &**integrity, &state, turn);
                opened.move_on(packets, stages, turn, onward);
            }
        }
        Ok(())
    }

    /// Sends an admitted packet inside, or puts it with those that leave again.
    fn onward(
        forward: &mut Forward,
        flows: &mut FlowCache,
        turn: &mut Turn<'_>,
        admitted: Admitted,
        onward: &mut Onward,
    ) {
        let packet = admitted.packet();
        if let Err(reason) = check_addresses(&packet.source, &packet.destination) {
            return turn.ledger.drop(admitted.into_transit().frame, reason);
        }
        let snapshot = turn.snapshot;
        let hop = forward.hop(&snapshot.fib, &packet.destination);
        let inside = match hop {
            Hop::Wire(wire) => wire.side != Side::Outside,
            Hop::Host { .. } => true,
            Hop::Refused(_) => false,
        };
        if inside {
            return forward.forward(admitted, true, turn);
        }
        // It crosses the boundary a second time: the SPD decides about it as about any other.
        if hop == Hop::Refused(DropReason::NoRoute) {
            let decision = flows.decide(packet, true, || {
                decide::outbound(&snapshot.spd, &snapshot.fib, packet)
            });
            if !matches!(decision, Decision::Seal(_)) {
                let packet = admitted.into_transit();
                return turn.report(packet, DropReason::NoRoute, Problem::NoRoute, true);
            }
        }
        onward.transit.push(admitted.into_transit());
    }
}

/// Packets of one burst that an SA has been taken off, and that are not where they go yet.
#[derive(Default)]
struct Onward {
    /// Those that leave again.
    transit: Packets,
    /// Those that are sealed for this gateway once more.
    nested: BySa<Arrived>,
}

/// Shows the ports of a later fragment whose first one came the same way (RFC 4301 §7.3).
#[cold]
fn follow(packet: &mut Packet, fragments: &mut FragmentPorts, way: Way, now: u64) {
    fragments.note(packet, way, now);
    fragments.show(packet, way, now);
}

/// The SA that opened some packets.
struct OpenedBy<'a> {
    sa: &'a SaContext,
    state: &'a SaState<'a>,
    /// Slot of its policy.
    policy: u32,
    /// The largest packet that can go back through the peer, where MSS options are to say so.
    back: Option<usize>,
}

impl OpenedBy<'_> {
    /// Admits packets and sends them inside, or puts them with those that leave again or are opened once more.
    fn move_on<T: FromSa>(
        &self,
        opened: ArrayVec<T, BURST>,
        (forward, flows, fragments): (&mut Forward, &mut FlowCache, &mut FragmentPorts),
        turn: &mut Turn<'_>,
        onward: &mut Onward,
    ) {
        let sa = &self.sa.record;
        let followed = sa.flags.contains(SaFlags::STATEFUL_FRAGMENTS);
        for mut opened in opened {
            if followed {
                follow(
                    opened.packet_mut(),
                    fragments,
                    Way::Sa(self.sa.sa.slot),
                    turn.now,
                );
            }
            let mut admitted = match admit(opened, self.sa) {
                Ok(admitted) => admitted,
                Err(refused) => {
                    let counter = self.state.selector_mismatches();
                    counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    turn.ledger.refuse(refused);
                    continue;
                }
            };
            let bytes = admitted.packet().len();
            turn.ledger.add(WorkerCounter::Opened, 1);
            turn.ledger.add(WorkerCounter::OpenedBytes, bytes as u64);
            turn.count_policy(self.policy, true, bytes);
            //= RFC 4301 §5.2: a packet that is still under ESP or AH and for this gateway is processed again
            if matches!(admitted.packet().protocol, protocol::ESP | protocol::AH)
                && let Arrival::Sealed { at, key } = arrival(admitted.packet(), false)
                && let Some(sa) = turn.policy.find_sa(&key)
            {
                let packet = admitted.into_transit();
                let around = Some(self.sa.record.key());
                onward.nested.push((sa, Arrived { packet, at, around }));
                continue;
            }
            if let Some(mtu) = self.back
                && pmtu::clamp_mss(admitted.packet_mut(), mtu)
            {
                turn.ledger.add(WorkerCounter::MssClamped, 1);
            }
            Stages::onward(forward, flows, turn, admitted, onward);
        }
    }
}

/// Whether packets of this protocol are looked at further when they are for the gateway itself.
#[inline]
fn may_concern_us(protocol: u8) -> bool {
    matches!(
        protocol,
        protocol::UDP | protocol::AH | protocol::ICMP | protocol::ICMPV6
    )
}

/// Whether an address is the gateway's own, remembered from packet to packet of a burst.
fn is_own(turn: &Turn<'_>, known: &mut Option<(Address, bool)>, address: Address) -> bool {
    if let Some((last, own)) = known
        && *last == address
    {
        return *own;
    }
    let own = turn.snapshot.fib.is_own(&address);
    *known = Some((address, own));
    own
}
