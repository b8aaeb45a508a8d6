//! Nonces and key exchanges of one exchange (RFC 7296 §2.10, §2.14, §1.3).

use crate::crypto::{self, KeMethod, KeSecret, KeSeed, Secret};
use crate::endpoint::{Context, Reason};
use crate::proposal::Proposal;
use crate::v2::child::Refusal;
use crate::wire::v2::{KeyExchange, Notify, NotifyType, Payload};

/// Octets of our nonces: as many as the strongest PRF's half key, which RFC 7296 §2.10 asks for.
pub(crate) const NONCE_LEN: usize = 32;

/// A fresh nonce.
pub(crate) fn fresh_nonce(cx: &mut Context<'_>) -> Vec<u8> {
    let mut nonce = vec![0; NONCE_LEN];
    cx.random.fill(&mut nonce);
    nonce
}

/// The lower of two nonces, cut or filled to one length.
//= RFC 7296 §2.8.1: the redundant SA is the one whose exchange has the lowest of the four nonces
pub(crate) fn lower(a: &[u8], b: &[u8]) -> [u8; NONCE_LEN] {
    let lowest = a.min(b);
    let mut out = [0; NONCE_LEN];
    let n = lowest.len().min(NONCE_LEN);
    out[..n].copy_from_slice(&lowest[..n]);
    out
}

/// Groups tried for one exchange: a peer that names another each time would keep us busy.
pub(crate) const MOST_GROUPS: u8 = 3;

/// The first group of a proposal that has one.
pub(crate) fn first_group(proposal: &Proposal) -> Option<KeMethod> {
    let kind = crate::proposal::TransformType::Ke;
    proposal.of(kind).find_map(|t| KeMethod::from_id(t.id))
}

/// A fresh key exchange.
pub(crate) fn start_ke(cx: &mut Context<'_>, method: KeMethod) -> KeSecret {
    KeSecret::start(method, KeSeed::from_fn(|b| cx.random.fill(b)))
}

/// The KE payload of our side of a key exchange.
pub(crate) fn ke_payload(ke: &KeSecret) -> Payload {
    Payload::KeyExchange(KeyExchange {
        method: ke.method().id(),
        data: ke.public().to_vec(),
    })
}

/// The secrets of the answer's key exchange: none if the choice has none, `None` if it does not fit.
pub(crate) fn finish_ke(
    ours: Option<&KeSecret>,
    chosen: Option<KeMethod>,
    theirs: Option<&KeyExchange>,
) -> Option<Vec<Secret>> {
    let Some(chosen) = chosen else {
        return Some(Vec::new());
    };
    let (ours, theirs) = (ours?, theirs?);
    if ours.method() != chosen || theirs.method != chosen.id() {
        return None;
    }
    Some(vec![ours.finish(&theirs.data).ok()?])
}

/// The responder's step of a key exchange, or INVALID_KE_PAYLOAD.
pub(crate) fn answer_ke(
    cx: &mut Context<'_>,
    method: KeMethod,
    theirs: Option<&KeyExchange>,
) -> Result<(Payload, Secret), Box<Refusal>> {
    let fitting = theirs.filter(|ke| ke.method == method.id());
    let Some(theirs) = fitting else {
        //= RFC 7296 §1.3: the group we would take, in two octets
        return Err(Box::new(Refusal {
            notify: Notify::new(NotifyType::InvalidKePayload, method.id().to_be_bytes()),
            reason: Reason::Protocol(format!("it sent a value of another group than {method}")),
        }));
    };
    let seed = KeSeed::from_fn(|b| cx.random.fill(b));
    let (data, secret) = crypto::ke::respond(method, seed, &theirs.data)
        .map_err(|e| Box::new(Refusal::syntax(&e.to_string())))?;
    let method = method.id();
    let payload = Payload::KeyExchange(KeyExchange { method, data });
    Ok((payload, secret))
}
