//! From inside to outside: SPD, SAD, PMTU, seal (RFC 4301 §5.1).

use adit_abi::{
    Direction, DropReason, Flow, Mode, PolicyLink, SaFlags, SaKey, SaRef, Side, WorkerCounter,
};
use arrayvec::ArrayVec;

use super::Stages;
use crate::ah;
use crate::classify::check_addresses;
use crate::clearance::Cleared;
use crate::esp;
use crate::esp::runs::{BySa, take_run};
use crate::esp::tfc;
use crate::forward::Forward;
use crate::forward::fib::{Hop, Wire};
use crate::fragment::Fragments;
use crate::frame::BURST;
use crate::icmp::Problem;
use crate::mode;
use crate::packet::{Fragment, Packet, Packets};
use crate::path_mtu;
use crate::pmtu;
use crate::sad::{Crypto, SaContext, Sad};
use crate::spd::fragments::Way;
use crate::spd::{Bypassed, Decision, decide, icmp_errors};
use crate::turn::Turn;

impl Stages {
    /// Takes packets on their way out: from inside, from the host, the gateway's own, or opened ones that
    /// leave again (those have [`Side::Outside`]).
    pub fn outbound(&mut self, turn: &mut Turn<'_>, packets: &mut Packets) {
        let mut to_seal: BySa<Packet> = ArrayVec::new();
        let snapshot = turn.snapshot;
        for mut packet in packets.drain(..) {
            if let Err(reason) = check_addresses(&packet.source, &packet.destination) {
                turn.ledger.drop(packet.frame, reason);
                continue;
            }
            let mut decision = self.flows.decide(&packet, true, || {
                decide::outbound(&snapshot.spd, &snapshot.fib, &packet)
            });
            if packet.fragment == Fragment::First {
                self.fragments.note(&packet, Way::Out, turn.now);
            }
            if let Decision::Drop(reason, _) = decision {
                decision = self
                    .decide_again(turn, &mut packet, reason)
                    .unwrap_or(decision);
            }
            turn.count_policy(decision.policy(), false, packet.len());
            // Nothing else from outside comes this way.
            let through_sa = packet.side == Side::Outside;
            let packet = match Bypassed::under(packet, decision) {
                Ok(bypassed) => {
                    turn.ledger.add(WorkerCounter::Bypassed, 1);
                    self.forward.forward(bypassed, through_sa, turn);
                    continue;
                }
                Err(packet) => packet,
            };
            match decision {
                Decision::Drop(reason, policy) => {
                    let (flow, ports) = (packet.flow_outward(), packet.ports.is_some());
                    turn.events.discarded(policy, reason, false, flow, ports);
                    turn.ledger.drop(packet.frame, reason);
                }
                Decision::Seal(policy) => match self.sa_for(turn, policy, &packet) {
                    Some(sa) => to_seal.push((sa, packet)),
                    //= RFC 4301 §6.2: for an error that goes by what it quotes no SA is made
                    None if goes_by_quote(turn, &packet) => {
                        turn.ledger.drop(packet.frame, DropReason::NoSa);
                    }
                    //= RFC 4301 §5.1: where there is no SA yet, IKE is asked for one
                    None => self.hold(turn, policy, packet),
                },
                Decision::Bypass(_) => turn.ledger.drop(packet.frame, DropReason::NoPolicy),
            }
        }
        self.seal_all(turn, &mut to_seal);
    }

    /// Seals and sends packets run by run.
    pub(super) fn seal_all(&mut self, turn: &mut Turn<'_>, to_seal: &mut BySa<Packet>) {
        let mut run = Packets::new();
        while let Some(sa) = take_run(to_seal, &mut run) {
            if let Err(reason) = self.seal_run(turn, sa, &mut run) {
                for packet in run.drain(..) {
                    turn.ledger.drop(packet.frame, reason);
                }
            }
        }
    }

    /// Decides about a packet that no policy covers by itself: a later fragment by its first one's ports, an ICMP
    /// error by what it quotes.
    #[cold]
    fn decide_again(
        &mut self,
        turn: &Turn<'_>,
        packet: &mut Packet,
        reason: DropReason,
    ) -> Option<Decision> {
        let (spd, fib) = (&turn.snapshot.spd, &turn.snapshot.fib);
        match reason {
            DropReason::Fragment => self
                .fragments
                .show(packet, Way::Out, turn.now)
                .then(|| decide::outbound(spd, fib, packet)),
            DropReason::NoPolicy if icmp_errors::is_error(packet) => {
                icmp_errors::policy_of(spd, packet).map(Decision::Seal)
            }
            _ => None,
        }
    }

    /// The SA that a packet under this policy is sealed into, if it is in the table.
    #[inline]
    fn sa_for(&mut self, turn: &Turn<'_>, policy: u32, packet: &Packet) -> Option<SaRef> {
        let (flow, ports) = (packet.flow_outward(), packet.ports.is_some());
        self.sa_for_flow(turn, policy, &flow, ports, Some(packet))
    }

    /// The same for what selectors see of a packet; `quote` is one that may go by what it quotes.
    #[inline]
    pub(super) fn sa_for_flow(
        &mut self,
        turn: &Turn<'_>,
        policy: u32,
        flow: &Flow,
        ports: bool,
        quote: Option<&Packet>,
    ) -> Option<SaRef> {
        let link = turn.policy.policy_link(policy);
        if link.is_plain() {
            return link.sa.filter(|sa| turn.policy.is_live(*sa));
        }
        self.sa_of_several(turn, policy, &link, flow, ports, quote)
    }

    /// The same where each of the policy's SAs carries a part of what it covers (RFC 4301 §4.4.1.2, §4.4.2).
    #[cold]
    fn sa_of_several(
        &mut self,
        turn: &Turn<'_>,
        policy: u32,
        link: &PolicyLink,
        flow: &Flow,
        ports: bool,
        quote: Option<&Packet>,
    ) -> Option<SaRef> {
        let by_quote = quote.is_some_and(|packet| goes_by_quote(turn, packet));
        let window = turn.state.capacity().window;
        let mut carries = |sa: &SaRef, by_flow: bool| {
            turn.policy.is_live(*sa)
                && self.sad.context(turn.policy, window, *sa).is_ok_and(|c| {
                    c.direction == Direction::Outbound
                        && (!by_flow || c.record.policy.checked_sub(1) == Some(policy))
                        && (c.covers(flow, ports) == Some(true)
                            || by_quote
                                && quote.is_some_and(|packet| icmp_errors::may_leave(c, packet)))
                })
        };
        let mut by_flow = turn.policy.sas_by_flow(policy, link, flow);
        by_flow
            .find(|sa| carries(sa, true))
            .or_else(|| turn.policy.sas_of(link).find(|sa| carries(sa, false)))
    }

    /// Sends the ICMP errors that the turn has made.
    pub fn send_errors(&mut self, turn: &mut Turn<'_>) {
        if turn.icmp.is_empty() {
            return;
        }
        let mut leaving = Packets::new();
        for error in turn.icmp.take() {
            let stays = match self.forward.hop(&turn.snapshot.fib, error.destination()) {
                Hop::Wire(wire) => wire.side == Side::Inside,
                Hop::Host { local } => local,
                Hop::Refused(_) => false,
            };
            if stays {
                self.forward.forward(error, false, turn);
            } else {
                leaving.push(error.into_transit());
            }
        }
        self.outbound(turn, &mut leaving);
    }

    /// Seals and sends a run; on error the packets left in it are the caller's to drop.
    fn seal_run(
        &mut self,
        turn: &mut Turn<'_>,
        sa: SaRef,
        run: &mut Packets,
    ) -> Result<(), DropReason> {
        let window = turn.state.capacity().window;
        let context = self.sad.context(turn.policy, window, sa)?;
        if context.direction != Direction::Outbound {
            return Err(DropReason::BadSa);
        }
        let state = context.state(turn.state)?;
        let wire = outer_wire(context, &mut self.forward, turn)?;
        let settings = turn.snapshot.spd.settings();
        let path = path_mtu::of_sa(&context.record, &state, wire.mtu, settings, turn.now);
        let around = match context.record.around() {
            None => None,
            Some(key) => Some(key_around(&mut self.sad, turn, &key, path)?),
        };
        let room = around.map_or(path, |(_, room)| room);
        let context = self.sad.context(turn.policy, window, sa)?;
        let mtu = pmtu::inner_mtu(context, room);
        context.pad_to = pmtu::pad_to(context, mtu);
        let gone = DropReason::NoSa;
        let around = match around {
            None => None,
            Some((around, _)) => Some((self.sad.known(around).ok_or(gone)?, path)),
        };
        let context = self.sad.known(sa).ok_or(gone)?;
        let way = Path {
            wire,
            mtu: room,
            around,
        };
        let clamp = turn.snapshot.spd.settings().clamp_mss != 0;
        let mut ready = Packets::new();
        for mut packet in run.drain(..) {
            if clamp && pmtu::clamp_mss(&mut packet, mtu) {
                turn.ledger.add(WorkerCounter::MssClamped, 1);
            }
            //= RFC 4301 §4.4.2.1: an SA carries what its selectors cover, whichever policy led here
            if packet.fragment == Fragment::Later && follows(context) {
                self.fragments.show(&mut packet, Way::Out, turn.now);
            }
            if let Err(reason) = carries(context, &packet) {
                turn.ledger.drop(packet.frame, reason);
                continue;
            }
            if let Err(reason) = mode::check(context, &packet) {
                turn.ledger.drop(packet.frame, reason);
                continue;
            }
            let through_sa = packet.side == Side::Outside;
            let mtu = pmtu::inner_mtu_for(context, room, mtu, &packet);
            if packet.side != Side::Host && packet.hop_limit() <= 1 {
                let problem = Problem::TimeExceeded;
                turn.report(packet, DropReason::HopLimit, problem, through_sa);
                continue;
            }
            let after = packet.len() > mtu && pmtu::is_cut_after_sealing(context, &packet);
            let whole = context.mode != Mode::Tunnel || !packet.may_be_fragmented();
            if packet.len() > mtu && whole && !after {
                //= RFC 4301 §8.2.1: what does not fit and must not be cut is refused with the MTU
                let problem = Problem::TooBig(pmtu::told(&packet, mtu));
                turn.report(packet, DropReason::TooBig, problem, through_sa);
                continue;
            }
            //= RFC 4301 §5.1.2.1: the inner TTL is counted down when a gateway forwards into a tunnel
            if packet.side != Side::Host {
                packet.decrement_hop_limit();
            }
            if packet.len() <= mtu || after {
                push(packet, &mut ready, context, &way, &mut self.forward, turn);
                continue;
            }
            match Fragments::of(packet, mtu, &turn.ledger) {
                Ok(mut pieces) => {
                    while let Some(piece) = pieces.next(&mut turn.ledger) {
                        push(piece, &mut ready, context, &way, &mut self.forward, turn);
                    }
                    pieces.finish(&mut turn.ledger);
                }
                Err((packet, reason)) => turn.ledger.drop(packet.frame, reason),
            }
        }
        seal_and_send(&mut ready, context, &way, &mut self.forward, turn);
        Ok(())
    }
}

/// Where an SA's packets leave.
struct Path<'a> {
    wire: Wire,
    /// Bytes of the largest packet that the SA may make of one.
    mtu: u16,
    /// The SA that goes around the packets before they leave, and the largest that it may make.
    around: Option<(&'a SaContext, u16)>,
}

impl Stages {
    /// Sends so many dummies through an SA, as far as frames are free.
    #[cold]
    pub fn send_dummies(
        &mut self,
        turn: &mut Turn<'_>,
        sa: SaRef,
        count: u16,
    ) -> Result<(), DropReason> {
        if !turn.policy.is_live(sa) {
            return Err(DropReason::NoSa);
        }
        let window = turn.state.capacity().window;
        let context = self.sad.context(turn.policy, window, sa)?;
        if context.direction != Direction::Outbound || context.mode != Mode::Tunnel {
            return Err(DropReason::BadSa);
        }
        let state = context.state(turn.state)?;
        let wire = outer_wire(context, &mut self.forward, turn)?;
        let settings = turn.snapshot.spd.settings();
        let path = path_mtu::of_sa(&context.record, &state, wire.mtu, settings, turn.now);
        let mtu = pmtu::inner_mtu(context, path);
        context.pad_to = pmtu::pad_to(context, mtu);
        let way = Path {
            wire,
            mtu: path,
            around: None,
        };
        let mut ready = Packets::new();
        for _ in 0..usize::from(count).min(BURST) {
            let Some(frame) = turn.ledger.stock.take() else {
                break;
            };
            let length = self.dummy_lengths.next(mtu);
            match tfc::dummy(frame, length) {
                Ok(dummy) => ready.push(dummy),
                Err(frame) => turn.ledger.stock.put(frame),
            }
        }
        let sent = ready.len() as u64;
        state
            .dummies()
            .fetch_add(sent, std::sync::atomic::Ordering::Relaxed);
        turn.ledger.add(WorkerCounter::DummiesSent, sent);
        seal_and_send(&mut ready, context, &way, &mut self.forward, turn);
        Ok(())
    }
}

/// Whether later fragments go into an SA by the ports of their first one.
fn follows(sa: &SaContext) -> bool {
    sa.record.flags.contains(SaFlags::STATEFUL_FRAGMENTS)
}

/// Whether an outbound SA carries a packet.
#[inline]
fn carries(sa: &SaContext, packet: &Packet) -> Result<(), DropReason> {
    //= RFC 4301 §7.3: without the peer's consent no later fragments go into an SA that selects by port
    let shown = packet.ports.is_some() && (packet.fragment != Fragment::Later || follows(sa));
    match sa.covers(&packet.flow_outward(), shown) {
        Some(true) => Ok(()),
        Some(false) => Err(DropReason::Fragment),
        None if icmp_errors::is_error(packet) && icmp_errors::may_leave(sa, packet) => Ok(()),
        None => Err(DropReason::SelectorMismatch),
    }
}

/// Whether a packet is an ICMP error that no policy covers by its own header.
#[cold]
fn goes_by_quote(turn: &Turn<'_>, packet: &Packet) -> bool {
    let (spd, fib) = (&turn.snapshot.spd, &turn.snapshot.fib);
    icmp_errors::is_error(packet)
        && matches!(
            decide::outbound(spd, fib, packet),
            Decision::Drop(DropReason::NoPolicy, _)
        )
}

/// Where an SA's packets leave, remembered while the snapshot lasts.
pub fn outer_wire(
    context: &mut SaContext,
    forward: &mut Forward,
    turn: &Turn<'_>,
) -> Result<Wire, DropReason> {
    let hop = match context.hop {
        Some((epoch, hop)) if epoch == forward.epoch() => hop,
        _ => {
            let hop = turn.snapshot.fib.hop(&context.record.destination);
            context.hop = Some((forward.epoch(), hop));
            let mapped = context.record.flags.contains(SaFlags::DSCP_MAP);
            context.dscp_map =
                mapped.then(|| Box::new(turn.snapshot.spd.settings().dscp_map.map(|d| d & 0x3f)));
            hop
        }
    };
    match hop {
        Hop::Wire(wire) => Ok(wire),
        // The kernel would take the gateway's own source address for forged.
        Hop::Host { .. } => Err(DropReason::NoRoute),
        Hop::Refused(reason) => Err(reason),
    }
}

fn push(
    packet: Packet,
    ready: &mut Packets,
    context: &SaContext,
    way: &Path<'_>,
    forward: &mut Forward,
    turn: &mut Turn<'_>,
) {
    if ready.is_full() {
        seal_and_send(ready, context, way, forward, turn);
    }
    ready.push(packet);
}

/// Sends a sealed packet, in pieces where it does not fit the path as a whole.
#[inline]
fn send<T: Cleared>(
    sealed: T,
    length: usize,
    way: &Path<'_>,
    forward: &mut Forward,
    turn: &mut Turn<'_>,
) {
    if length > usize::from(way.mtu) {
        forward.send_in_pieces(sealed, &way.wire, way.mtu, turn);
    } else {
        forward.send(sealed, &way.wire, turn);
    }
}

fn seal_and_send(
    ready: &mut Packets,
    context: &SaContext,
    way: &Path<'_>,
    forward: &mut Forward,
    turn: &mut Turn<'_>,
) {
    if ready.is_empty() {
        return;
    }
    match (context.state(turn.state), &context.crypto) {
        (Ok(state), Crypto::Esp(cipher)) => {
            let sealed = esp::seal::seal(ready, context, &**cipher, &state, turn);
            match way.around {
                None => {
                    for sealed in sealed {
                        let length = sealed.len();
                        send(sealed, length, way, forward, turn);
                    }
                }
                Some((around, path)) => {
                    ready.extend(sealed.into_iter().map(Cleared::into_packet));
                    let way = Path {
                        wire: way.wire,
                        mtu: path,
                        around: None,
                    };
                    seal_around(ready, around, &way, forward, turn);
                }
            }
        }
        (Ok(state), Crypto::Ah(integrity)) => {
            for sealed in ah::seal::seal(ready, context, &**integrity, &state, turn) {
                let length = sealed.len();
                send(sealed, length, way, forward, turn);
            }
        }
        (Err(reason), _) => {
            for packet in ready.drain(..) {
                turn.ledger.drop(packet.frame, reason);
            }
        }
    }
}

/// Makes the AH SA of a key ready to go around packets; says which it is, and how large those may be.
#[cold]
fn key_around(
    sad: &mut Sad,
    turn: &Turn<'_>,
    key: &SaKey,
    path: u16,
) -> Result<(SaRef, u16), DropReason> {
    // One SA without the other would be less than policy asks for.
    let sa = turn.policy.find_sa(key).ok_or(DropReason::NoSa)?;
    let context = sad.context(turn.policy, turn.state.capacity().window, sa)?;
    if context.direction != Direction::Outbound || context.mode != Mode::Transport {
        return Err(DropReason::BadSa);
    }
    context.state(turn.state)?;
    let path = pmtu::inner_mtu(context, path);
    Ok((sa, u16::try_from(path).unwrap_or(u16::MAX)))
}

/// Seals packets that are sealed already under an AH SA, and sends them (RFC 4301 §4.1).
#[cold]
fn seal_around(
    packets: &mut Packets,
    around: &SaContext,
    way: &Path<'_>,
    forward: &mut Forward,
    turn: &mut Turn<'_>,
) {
    let mut ready = Packets::new();
    for packet in packets.drain(..) {
        let covered = around.covers(&packet.flow_outward(), true) == Some(true);
        let verdict = match mode::check(around, &packet) {
            Ok(()) if !covered => Err(DropReason::SelectorMismatch),
            verdict => verdict,
        };
        match verdict {
            Ok(()) => ready.push(packet),
            Err(reason) => turn.ledger.drop(packet.frame, reason),
        }
    }
    seal_and_send(&mut ready, around, way, forward, turn);
}
