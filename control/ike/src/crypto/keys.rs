//! The keys of IKE SAs and child SAs (RFC 7296 §2.14, §2.17, §2.18; RFC 9370 §2.2; RFC 8784).

use super::{Prf, Secret, SkCipher};
use crate::proposal::IkeSuite;

/// What the keys of one IKE SA are bound to.
#[derive(Clone, Copy, Debug)]
pub struct KeyContext<'a> {
    /// The nonce of the initiator of the exchange.
    pub nonce_i: &'a [u8],
    /// The nonce of its responder.
    pub nonce_r: &'a [u8],
    /// The initiator's SPI of the new IKE SA, as on the wire.
    pub spi_i: [u8; 8],
    /// The responder's SPI of the new IKE SA, as on the wire.
    pub spi_r: [u8; 8],
}

/// The seven keys of an IKE SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeKeys {
    /// SK_d, from which other keys come.
    pub d: Secret,
    /// SK_ai; empty beside a combined mode.
    pub ai: Secret,
    /// SK_ar; empty beside a combined mode.
    pub ar: Secret,
    /// SK_ei, with the salt.
    pub ei: Secret,
    /// SK_er, with the salt.
    pub er: Secret,
    /// SK_pi.
    pub pi: Secret,
    /// SK_pr.
    pub pr: Secret,
}

impl IkeKeys {
    /// The keys after IKE_SA_INIT.
    pub fn initial(suite: &IkeSuite, shared: &Secret, context: KeyContext<'_>) -> Self {
        let KeyContext {
            nonce_i, nonce_r, ..
        } = context;
        //= RFC 7296 §2.14: with AES-XCBC and AES-CMAC only 64 bits of each nonce make the key
        let first = |nonce: &[u8]| match suite.prf.has_fixed_key() {
            true => nonce.get(..8).unwrap_or(nonce).to_vec(),
            false => nonce.to_vec(),
        };
        let key = [first(nonce_i), first(nonce_r)].concat();
        let skeyseed = suite.prf.compute(&key, &[shared.as_bytes()]);
        Self::expand(suite, &skeyseed, context)
    }

    /// The keys after an additional key exchange in IKE_INTERMEDIATE, made from the keys before it and the nonces of IKE_SA_INIT.
    //= RFC 9370 §2.2.2: SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr)
    pub fn after_intermediate(
        &self,
        suite: &IkeSuite,
        shared: &Secret,
        context: KeyContext<'_>,
    ) -> Self {
        let parts = [shared.as_bytes(), context.nonce_i, context.nonce_r];
        let skeyseed = suite.prf.compute(self.d.as_bytes(), &parts);
        Self::expand(suite, &skeyseed, context)
    }

    /// The keys of the IKE SA that replaces this one, which has `old_prf`.
    ///
    /// `shared` has the first key exchange's secret and those of the additional ones in their order.
    //= RFC 7296 §2.18: SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr), with the old SA's PRF
    //= RFC 9370 §2.2.4: the secrets of additional key exchanges follow the nonces
    pub fn rekeyed(
        &self,
        old_prf: Prf,
        suite: &IkeSuite,
        shared: &[Secret],
        context: KeyContext<'_>,
    ) -> Self {
        let seed = seed_of(shared, context.nonce_i, context.nonce_r);
        let skeyseed = old_prf.compute(self.d.as_bytes(), &seed);
        Self::expand(suite, &skeyseed, context)
    }

    /// The keys with a post-quantum preshared key mixed in.
    //= RFC 8784 §3: SK_d, SK_pi and SK_pr become prf+ of the PPK and themselves
    #[must_use]
    pub fn with_ppk(&self, prf: Prf, ppk: &Secret) -> Self {
        let mix = |key: &Secret| {
            prf.plus(ppk.as_bytes(), &[key.as_bytes()], key.len())
                .unwrap_or_default()
        };
        Self {
            d: mix(&self.d),
            pi: mix(&self.pi),
            pr: mix(&self.pr),
            ..self.clone()
        }
    }

    fn expand(suite: &IkeSuite, skeyseed: &Secret, context: KeyContext<'_>) -> Self {
        let p = suite.prf.output_len();
        let a = suite.integrity.map_or(0, |i| i.key_len());
        let e = suite.encryption.key_len();
        let lengths = [p, a, a, e, e, p, p];
        let KeyContext {
            nonce_i,
            nonce_r,
            spi_i,
            spi_r,
        } = context;
        let seed: [&[u8]; 4] = [nonce_i, nonce_r, &spi_i, &spi_r];
        let Some(all) = suite
            .prf
            .plus(skeyseed.as_bytes(), &seed, lengths.iter().sum())
        else {
            unreachable!("the keys of every suite are shorter than 255 rounds");
        };
        let mut rest = all.as_bytes();
        let [d, ai, ar, ei, er, pi, pr] = lengths.map(|len| {
            let (key, behind) = rest.split_at(len);
            rest = behind;
            Secret::copy_of(key)
        });
        Self {
            d,
            ai,
            ar,
            ei,
            er,
            pi,
            pr,
        }
    }

    /// The ciphers of both directions: what the IKE SA's initiator sends, and what its responder sends.
    ///
    /// None if the keys were not made for this suite.
    pub fn ciphers(&self, suite: &IkeSuite) -> Option<(SkCipher, SkCipher)> {
        let cipher = |e: &Secret, a: &Secret| {
            SkCipher::new(suite.encryption, suite.integrity, e.clone(), a.clone())
        };
        Some((cipher(&self.ei, &self.ai)?, cipher(&self.er, &self.ar)?))
    }
}

/// KEYMAT of a child SA: the initiator's keys first, encryption before integrity; none if it is too long for prf+.
///
/// `shared` is empty without a key exchange of its own.
//= RFC 7296 §2.17: KEYMAT = prf+(SK_d, [g^ir (new)] | Ni | Nr)
//= RFC 9370 §2.2.4: the secrets of additional key exchanges follow the nonces
pub fn child_key_material(
    prf: Prf,
    sk_d: &Secret,
    shared: &[Secret],
    nonce_i: &[u8],
    nonce_r: &[u8],
    len: usize,
) -> Option<Secret> {
    prf.plus(sk_d.as_bytes(), &seed_of(shared, nonce_i, nonce_r), len)
}

fn seed_of<'a>(shared: &'a [Secret], nonce_i: &'a [u8], nonce_r: &'a [u8]) -> Vec<&'a [u8]> {
    let (first, additional) = shared.split_at(shared.len().min(1));
    let mut parts: Vec<&[u8]> = first.iter().map(Secret::as_bytes).collect();
    parts.extend([nonce_i, nonce_r]);
    parts.extend(additional.iter().map(Secret::as_bytes));
    parts
}

/// IntAuth of one IKE_INTERMEDIATE message of one side, with SK_pi or SK_pr of the moment.
///
/// `previous` is this side's value of the exchange before, or empty; `a` and `p` are the message's parts.
//= RFC 9242 §3.3.2: IntAuth = prf(SK_p, previous | A | P)
pub fn int_auth(prf: Prf, sk_p: &Secret, previous: &[u8], a: &[u8], p: &[u8]) -> Secret {
    prf.compute(sk_p.as_bytes(), &[previous, a, p])
}
