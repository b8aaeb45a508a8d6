//! A pair of SAs put in and taken out.

use std::sync::Arc;

use adit_abi::{Direction, Suite};

use super::{Agreed, ChildSa, Outbound, Stage};
use crate::config::{Child, Volume};
use crate::crypto::{self, Secret};
use crate::endpoint::{ChildId, Context, Event, Install, Limit, Output, SaKeys, Why};
use crate::proposal::{ChildSuite, Protocol};
use crate::random;
use crate::time::Instant;
use crate::v2::sa::IkeSa;

impl IkeSa {
    /// Turns what was agreed into SAs of the data plane, and into a child of this IKE SA.
    ///
    /// A responder that replaces a child keeps its outbound SA back. `None` if the keys cannot be made.
    pub(in crate::v2) fn add_child(&mut self, cx: &mut Context<'_>, a: Agreed) -> Option<ChildId> {
        let protocol = abi_protocol(a.suite.protocol)?;
        let suite = abi_suite(&a.suite)?;
        let (enc, auth) = (suite.enc_key_len(), suite.auth_key_len());
        let keymat = crypto::child_key_material(
            self.prf?,
            &self.sk_d,
            &a.shared,
            &a.nonce_i,
            &a.nonce_r,
            2 * (enc + auth),
        )?;
        //= RFC 7296 §2.17: the initiator's direction first, in each the encryption key before the integrity key
        let mut rest = keymat.as_bytes();
        let mut take = |len| {
            let (key, behind) = rest.split_at(len);
            rest = behind;
            Secret::copy_of(key)
        };
        let mut pair = || SaKeys {
            enc: take(enc),
            auth: take(auth),
        };
        let (from_i, from_r) = (pair(), pair());
        let (inbound, outbound) = if a.initiator {
            (from_r, from_i)
        } else {
            (from_i, from_r)
        };

        let id = cx.numbers.child();
        let selectors = Arc::new(a.selectors);
        let (soft, hard) = limits(cx, &a.config);
        let outer = self.path.outer();
        let install = |direction, spi, keys| {
            Box::new(Install {
                ike: self.id,
                child: id,
                connection: self.connection.name.clone(),
                name: a.config.name.clone(),
                direction,
                protocol,
                spi,
                outer,
                mode: a.mode,
                suite,
                esn: a.suite.esn,
                keys,
                selectors: selectors.clone(),
                soft,
                hard,
                tfc: a.tfc,
                replaces: a.replaces,
            })
        };
        let first = install(Direction::Inbound, a.spi_in, inbound);
        let second = install(Direction::Outbound, a.spi_out, outbound);
        cx.outputs.push_back(Output::Install(first));
        let outbound = if a.initiator || a.replaces.is_none() {
            cx.outputs.push_back(Output::Install(second));
            Outbound::Installed
        } else {
            Outbound::Waiting(second)
        };
        self.children.push(ChildSa {
            id,
            protocol,
            spi_in: a.spi_in,
            spi_out: a.spi_out,
            outer,
            selectors,
            stage: Stage::Up,
            outbound,
            rekey_at: soft_deadline(cx.now, &a.config, &soft),
            ends_at: deadline(cx.now, hard.time),
            config: a.config,
        });
        Some(id)
    }

    /// Takes a child out at once, both SAs.
    pub(in crate::v2) fn drop_child(
        &mut self,
        cx: &mut Context<'_>,
        id: ChildId,
        why: Option<Why>,
    ) {
        let Some(at) = self.children.iter().position(|c| c.id == id) else {
            return;
        };
        let child = self.children.swap_remove(at);
        cx.spis.release(child.outer.local, child.spi_in);
        let ike = self.id;
        if let Outbound::Installed = child.outbound {
            let remove = child.removal(ike, Direction::Outbound);
            cx.outputs.push_back(Output::Remove(remove));
        }
        let remove = child.removal(ike, Direction::Inbound);
        cx.outputs.push_back(Output::Remove(remove));
        if let Some(why) = why {
            let event = Event::ChildDown {
                ike: self.info(),
                child: child.info(),
                why,
            };
            cx.event(event);
        }
    }
}

fn abi_protocol(protocol: Protocol) -> Option<adit_abi::Protocol> {
    match protocol {
        Protocol::Esp => Some(adit_abi::Protocol::Esp),
        Protocol::Ah => Some(adit_abi::Protocol::Ah),
        Protocol::Ike => None,
    }
}

/// What was agreed, as the data plane knows it.
fn abi_suite(suite: &ChildSuite) -> Option<Suite> {
    let integrity = match suite.integrity {
        None => None,
        Some(t) => Some(adit_abi::Integrity::from_ikev2(t.id)?),
    };
    match (suite.encryption, integrity) {
        (None, integrity) => Some(Suite::ah(integrity?)),
        (Some(t), integrity) => {
            let encryption = adit_abi::Encryption::from_ikev2(t.id, t.key_bits)?;
            Suite::esp(encryption, integrity).ok()
        }
    }
}

/// What the data plane counts, soft and hard; a share of the soft limits is taken off by lot.
fn limits(cx: &mut Context<'_>, config: &Child) -> (Limit, Limit) {
    let mut less = |most: u64, rand: u64| match most {
        0 => 0,
        n => {
            let span = rand.min(n.saturating_sub(1)).saturating_add(1);
            n - random::long_number(cx.random) % span
        }
    };
    let volume = Volume {
        bytes: less(config.rekey.bytes, config.rand.bytes),
        packets: less(config.rekey.packets, config.rand.packets),
    };
    let time = config
        .rekey_time
        .saturating_sub(random::fraction(config.rand_time, cx.random));
    let soft = Limit { time, volume };
    let hard = Limit {
        time: config.life_time,
        volume: config.life,
    };
    (soft, hard)
}

fn deadline(now: Instant, after: std::time::Duration) -> Option<Instant> {
    (!after.is_zero()).then(|| now + after)
}

fn soft_deadline(now: Instant, config: &Child, soft: &Limit) -> Option<Instant> {
    // A lot that takes all of rekey_time off still leaves a moment.
    let least = std::time::Duration::from_secs(1).min(config.rekey_time);
    deadline(now, soft.time.max(least))
}
