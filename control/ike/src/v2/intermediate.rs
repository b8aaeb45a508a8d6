//! IKE_INTERMEDIATE with additional key exchanges between IKE_SA_INIT and IKE_AUTH (RFC 9242, RFC 9370): ML-KEM beside an older group.

use zeroize::Zeroizing;

use super::auth::{self, Handshake};
use super::exchange::Exchange;
use super::key_exchange::{answer_ke, ke_payload, start_ke};
use super::payloads::Payloads;
use super::protection::Protection;
use super::sa::{IkeSa, State};
use crate::crypto::{KeMethod, KeSecret, KeyContext, Secret, int_auth};
use crate::endpoint::{Context, Reason};
use crate::wire::v2::{
    ExchangeType, Header, NotifyType, Payload, PayloadType, emit_payloads, parse_payloads,
};

const KIND: ExchangeType = ExchangeType::IkeIntermediate;

/// An initiator between IKE_SA_INIT and IKE_AUTH, with a key exchange under way.
pub(crate) struct Initiator {
    handshake: Box<Handshake>,
    ke: KeSecret,
}

/// The octets inside an encrypted message, and the type of the first payload.
pub(crate) struct Inside<'a> {
    pub first: PayloadType,
    pub text: &'a [u8],
}

/// Goes on after IKE_SA_INIT, or after one IKE_INTERMEDIATE: the next key exchange, or IKE_AUTH.
pub(crate) fn go_on(sa: &mut IkeSa, cx: &mut Context<'_>, mut handshake: Box<Handshake>) {
    let Some(method) = handshake.next_additional() else {
        return auth::begin(sa, cx, handshake);
    };
    let ke = start_ke(cx, method);
    let payloads = [ke_payload(&ke)];
    let header = sa.header(KIND, sa.outgoing.next, false);
    if let Ok((first, text)) = emit_payloads(&payloads) {
        handshake.note(&header, &Inside { first, text: &text });
    }
    sa.state = State::Intermediate(Box::new(Initiator { handshake, ke }));
    sa.request(cx, KIND, &payloads, Exchange::Handshake);
}

/// The responder's half of a key exchange.
pub(crate) fn handle_response(
    sa: &mut IkeSa,
    cx: &mut Context<'_>,
    header: &Header,
    inside: &Inside<'_>,
) {
    let mut state = match std::mem::replace(&mut sa.state, State::Gone) {
        State::Intermediate(state) => state,
        other => {
            sa.state = other;
            return;
        }
    };
    let payloads = parse_payloads(inside.first, inside.text).map(Payloads::sort);
    let ke = payloads.ok().and_then(|p| p.ke);
    let fitting = ke.filter(|ke| ke.method == state.ke.method().id());
    let shared = fitting.and_then(|ke| state.ke.finish(&ke.data).ok());
    let Some(shared) = shared else {
        let what = Reason::Protocol("an additional key exchange that does not fit".into());
        return sa.give_up(cx, what);
    };
    state.handshake.note(header, inside);
    state.handshake.done += 1;
    if renew_keys(sa, &mut state.handshake, &shared).is_none() {
        return sa.give_up(cx, Reason::Local("no keys can be made".into()));
    }
    go_on(sa, cx, state.handshake);
}

/// The initiator's half of a key exchange.
pub(crate) fn handle_request(
    sa: &mut IkeSa,
    cx: &mut Context<'_>,
    header: &Header,
    inside: &Inside<'_>,
) {
    let State::HalfOpen(mut state) = std::mem::replace(&mut sa.state, State::Gone) else {
        return;
    };
    let handshake = &mut state.handshake;
    let payloads = parse_payloads(inside.first, inside.text).map(Payloads::sort);
    let ke = payloads.ok().and_then(|p| p.ke);
    let method = handshake.next_additional();
    let answered = method.and_then(|m| answer_ke(cx, m, ke.as_ref()).ok());
    let Some((payload, shared)) = answered else {
        sa.respond_notify(cx, KIND, NotifyType::InvalidSyntax);
        let what = Reason::Protocol("an additional key exchange that does not fit".into());
        return sa.fail_and_close(cx, what);
    };
    handshake.note(header, inside);
    let payloads: Vec<Payload> = vec![payload];
    let answer = sa.header(KIND, header.message_id, true);
    if let Ok((first, text)) = emit_payloads(&payloads) {
        handshake.note(&answer, &Inside { first, text: &text });
    }
    handshake.done += 1;
    // The answer still goes under the keys of its request.
    sa.respond(cx, KIND, payloads);
    if renew_keys(sa, handshake, &shared).is_none() {
        return sa.give_up(cx, Reason::Local("no keys can be made".into()));
    }
    sa.state = State::HalfOpen(state);
}

/// The keys that follow from another shared secret; those before serve copies of the last request only.
fn renew_keys(sa: &mut IkeSa, handshake: &mut Handshake, shared: &Secret) -> Option<()> {
    let (suite, keys) = handshake.keys.as_mut()?;
    let context = KeyContext {
        nonce_i: &handshake.nonce_i,
        nonce_r: &handshake.nonce_r,
        spi_i: sa.spi_i.0,
        spi_r: sa.spi_r.0,
    };
    *keys = keys.after_intermediate(suite, shared, context);
    let protection = Box::new(Protection::new(suite, keys, sa.initiator)?);
    sa.earlier = sa.protection.replace(protection);
    sa.sk_d = keys.d.clone();
    Some(())
}

impl Handshake {
    /// The additional key exchange that is next.
    fn next_additional(&self) -> Option<KeMethod> {
        let (suite, _) = self.keys.as_ref()?;
        suite.additional.get(self.done).map(|(_, method)| *method)
    }

    /// Mixes a message into what AUTH will cover.
    //= RFC 9242 §3.3.2: IntAuth of each side, over the message as if it had been sent whole and in clear
    fn note(&mut self, header: &Header, inside: &Inside<'_>) {
        let Some((suite, keys)) = &self.keys else {
            return;
        };
        let (key, mac) = if header.from_initiator {
            (&keys.pi, &mut self.int_auth_i)
        } else {
            (&keys.pr, &mut self.int_auth_r)
        };
        let text = Zeroizing::new(inside.text.to_vec());
        let payload = u32::try_from(text.len() + 4).unwrap_or(u32::MAX);
        let mut prefix = header
            .emit(PayloadType::Encrypted, payload.saturating_add(28))
            .to_vec();
        let length = u16::try_from(payload).unwrap_or(u16::MAX);
        prefix.extend([inside.first.number(), 0]);
        prefix.extend(length.to_be_bytes());
        let previous = mac.as_ref().map_or(&[][..], Secret::as_bytes);
        *mac = Some(int_auth(suite.prf, key, previous, &prefix, &text));
    }

    /// What AUTH covers of the IKE_INTERMEDIATE exchanges, with the message ID of IKE_AUTH.
    pub fn int_auth(&self) -> Option<(&Secret, &Secret, u32)> {
        let (i, r) = (self.int_auth_i.as_ref()?, self.int_auth_r.as_ref()?);
        Some((i, r, u32::try_from(self.done + 1).ok()?))
    }
}
