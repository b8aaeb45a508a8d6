//! Packets for which there is no SA: held, asked for, and let go as the table or control says (RFC 4301 §5.1).

use adit_abi::{DropReason, Selector, Side};
use arrayvec::ArrayVec;

use super::Stages;
use crate::acquire::Released;
use crate::classify::parse;
use crate::esp::runs::BySa;
use crate::events::SECOND;
use crate::packet::Packet;
use crate::spd::{Bypassed, Decision, decide};
use crate::turn::Turn;

/// What control said about packets that are held.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// Slot of the policy.
    pub policy: u32,
    /// Which of its packets.
    pub selector: Selector,
    /// Whether they go on in clear; else they are dropped.
    pub clear: bool,
}

impl Stages {
    /// Holds a packet whose policy has no SA for it.
    #[cold]
    pub(super) fn hold(&mut self, turn: &mut Turn<'_>, policy: u32, packet: Packet) {
        let seconds = turn.snapshot.spd.settings().hold_seconds;
        if seconds == 0 {
            turn.events
                .acquire_once(policy, packet.flow_outward(), packet.ports.is_some());
            return turn.ledger.drop(packet.frame, DropReason::NoSa);
        }
        let hold = u64::from(seconds) * SECOND;
        self.held
            .hold(policy, packet, hold, turn.now, &mut turn.ledger);
    }

    /// Looks after what is held: answers of control, policies and SAs that have changed, questions and time limits.
    ///
    /// `fresh` says that the snapshot is another one than before.
    pub(super) fn serve_held(
        &mut self,
        turn: &mut Turn<'_>,
        answers: &mut Vec<Answer>,
        fresh: bool,
    ) {
        if self.held.len() == 0 {
            return answers.clear();
        }
        for answer in answers.drain(..) {
            self.answer(turn, &answer);
        }
        if fresh {
            self.decide_about_held(turn);
        }
        if self.held.is_due(turn.now) {
            self.release_sealable(turn);
            self.held.ask(turn.now, &mut turn.events, &mut turn.ledger);
        }
    }

    #[cold]
    fn answer(&mut self, turn: &mut Turn<'_>, answer: &Answer) {
        for at in 0..self.held.places() {
            let Some(held) = self.held.at(at) else {
                continue;
            };
            let covered = answer.selector.covers_shown(&held.flow, held.ports);
            if held.policy != answer.policy || covered != Some(true) {
                continue;
            }
            if answer.clear {
                self.release_clear(turn, at);
            } else {
                let reason = DropReason::AcquireRefused;
                self.held.refuse(at, reason, &mut turn.ledger);
            }
        }
    }

    fn release_clear(&mut self, turn: &mut Turn<'_>, at: usize) {
        for released in self
            .held
            .release(at, &mut turn.ledger)
            .into_iter()
            .flatten()
        {
            let through_sa = released.side == Side::Outside;
            if let Some(packet) = parsed(released, turn) {
                self.forward
                    .forward(Bypassed::answered(packet), through_sa, turn);
            }
        }
    }

    /// Asks the SPD again about what is held: other policies may cover it by now.
    #[cold]
    fn decide_about_held(&mut self, turn: &mut Turn<'_>) {
        let snapshot = turn.snapshot;
        for at in 0..self.held.places() {
            let Some(held) = self.held.at(at) else {
                continue;
            };
            let Some(first) = self.held.peek(at, turn.ledger.stock) else {
                continue;
            };
            let Some(packet) = parsed(first, turn) else {
                continue;
            };
            let decision = decide::outbound(&snapshot.spd, &snapshot.fib, &packet);
            turn.ledger.stock.put(packet.frame);
            match decision {
                Decision::Seal(policy) if policy == held.policy => {}
                Decision::Seal(policy) => self.held.move_to(at, policy),
                Decision::Bypass(_) => self.release_clear(turn, at),
                Decision::Drop(reason, _) => self.held.refuse(at, reason, &mut turn.ledger),
            }
        }
    }

    /// Seals what has an SA by now.
    #[cold]
    fn release_sealable(&mut self, turn: &mut Turn<'_>) {
        let mut to_seal: BySa<Packet> = ArrayVec::new();
        for at in 0..self.held.places() {
            let Some(held) = self.held.at(at) else {
                continue;
            };
            let Some(sa) = self.sa_for_flow(turn, held.policy, &held.flow, held.ports, None) else {
                continue;
            };
            for released in self
                .held
                .release(at, &mut turn.ledger)
                .into_iter()
                .flatten()
            {
                if let Some(packet) = parsed(released, turn) {
                    to_seal.push((sa, packet));
                }
            }
            if to_seal.remaining_capacity() < 2 {
                self.seal_all(turn, &mut to_seal);
            }
        }
        self.seal_all(turn, &mut to_seal);
    }
}

fn parsed(released: Released, turn: &mut Turn<'_>) -> Option<Packet> {
    match parse(released.frame, released.port, released.side) {
        Ok(packet) => Some(packet),
        Err(refused) => {
            turn.ledger.refuse(refused);
            None
        }
    }
}
