//! MODP groups: exponentiation in constant time with short exponents (RFC 3526, RFC 6989 §2.1).

use super::modp_primes as primes;
use super::{KeError, KeMethod, Secret};
use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U512, Uint};
use std::sync::LazyLock;
use zeroize::Zeroizing;

/// A group: its prime in Montgomery form, and how many bits a secret exponent has.
struct Group<const LIMBS: usize> {
    params: FixedMontyParams<LIMBS>,
    exponent_bits: u32,
}

impl<const LIMBS: usize> Group<LIMBS> {
    /// `exponent_bits` is a multiple of 8, at most 512, and at least twice the group's strength (RFC 3526 §8).
    fn new(prime: &str, exponent_bits: u32) -> Self {
        let Some(prime) = Odd::new(Uint::from_be_hex(prime)).into_option() else {
            unreachable!("a prime is odd");
        };
        // The prime is public.
        Self {
            params: FixedMontyParams::new_vartime(prime),
            exponent_bits,
        }
    }

    fn exponent(&self, seed: &[u8]) -> Zeroizing<U512> {
        let mut bytes = Zeroizing::new([0; 64]);
        let len = self.exponent_bits as usize / 8;
        bytes[64 - len..].copy_from_slice(&seed[..len]);
        Zeroizing::new(U512::from_be_slice(&*bytes))
    }

    fn power(&self, base: &Uint<LIMBS>, seed: &[u8]) -> Vec<u8> {
        let base = FixedMontyForm::new(base, &self.params);
        let power = Zeroizing::new(base.pow_bounded_exp(&self.exponent(seed), self.exponent_bits));
        let result = Zeroizing::new(power.retrieve());
        result
            .as_words()
            .iter()
            .rev()
            .flat_map(|w| w.to_be_bytes())
            .collect()
    }
}

/// What every group can do, whatever its size.
trait Modp: Sync {
    fn public(&self, seed: &[u8]) -> Vec<u8>;
    fn agree(&self, seed: &[u8], peer: &[u8]) -> Result<Secret, KeError>;
}

impl<const LIMBS: usize> Modp for Group<LIMBS> {
    fn public(&self, seed: &[u8]) -> Vec<u8> {
        self.power(&Uint::from_u64(2), seed)
    }

    //= RFC 7296 §2.14: the shared secret has as many octets as the prime
    fn agree(&self, seed: &[u8], peer: &[u8]) -> Result<Secret, KeError> {
        if peer.len() != LIMBS * 8 {
            return Err(KeError::Length);
        }
        let peer = Uint::from_be_slice(peer);
        //= RFC 6989 §2.1: a value lies between 1 and the prime less 1, and is neither
        let top = self.params.modulus().as_ref().wrapping_sub(&Uint::ONE);
        if peer <= Uint::ONE || peer >= top {
            return Err(KeError::Value);
        }
        Ok(Secret::new(self.power(&peer, seed)))
    }
}

type Lazy<const LIMBS: usize> = LazyLock<Group<LIMBS>>;

static MODP_768: Lazy<12> = Lazy::new(|| Group::new(primes::MODP_768, 256));
static MODP_1024: Lazy<16> = Lazy::new(|| Group::new(primes::MODP_1024, 256));
static MODP_1536: Lazy<24> = Lazy::new(|| Group::new(primes::MODP_1536, 256));
static MODP_2048: Lazy<32> = Lazy::new(|| Group::new(primes::MODP_2048, 256));
static MODP_3072: Lazy<48> = Lazy::new(|| Group::new(primes::MODP_3072, 320));
static MODP_4096: Lazy<64> = Lazy::new(|| Group::new(primes::MODP_4096, 384));
static MODP_6144: Lazy<96> = Lazy::new(|| Group::new(primes::MODP_6144, 448));
static MODP_8192: Lazy<128> = Lazy::new(|| Group::new(primes::MODP_8192, 512));

fn group(method: KeMethod) -> Option<&'static dyn Modp> {
    Some(match method {
        KeMethod::Modp768 => &*MODP_768,
        KeMethod::Modp1024 => &*MODP_1024,
        KeMethod::Modp1536 => &*MODP_1536,
        KeMethod::Modp2048 => &*MODP_2048,
        KeMethod::Modp3072 => &*MODP_3072,
        KeMethod::Modp4096 => &*MODP_4096,
        KeMethod::Modp6144 => &*MODP_6144,
        KeMethod::Modp8192 => &*MODP_8192,
        _ => return None,
    })
}

/// 2 to the power of the seed's exponent; none if this is no MODP group.
pub(super) fn public(method: KeMethod, seed: &[u8]) -> Option<Vec<u8>> {
    Some(group(method)?.public(seed))
}

/// The shared secret; none if this is no MODP group.
pub(super) fn agree(method: KeMethod, seed: &[u8], peer: &[u8]) -> Option<Result<Secret, KeError>> {
    Some(group(method)?.agree(seed, peer))
}
