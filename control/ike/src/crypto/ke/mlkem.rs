//! ML-KEM (FIPS 203): the initiator's value is an encapsulation key, the responder's a ciphertext.

use super::{KeError, KeMethod, Secret};
use ml_kem::kem::{Decapsulate, KeyExport, TryKeyInit};
use ml_kem::{DecapsulationKey, EncapsulationKey, MlKem512, MlKem768, MlKem1024};
use zeroize::Zeroize;

/// The three parameter sets have the same steps but no common public trait.
macro_rules! steps {
    ($set:ident, $parameters:ty) => {
        mod $set {
            use super::*;

            fn key(seed: &[u8]) -> DecapsulationKey<$parameters> {
                let mut bytes = ml_kem::Seed::default();
                bytes.copy_from_slice(&seed[..64]);
                let key = DecapsulationKey::from_seed(bytes);
                bytes.zeroize();
                key
            }

            pub(super) fn public(seed: &[u8]) -> Vec<u8> {
                key(seed).encapsulation_key().to_bytes().to_vec()
            }

            pub(super) fn finish(seed: &[u8], answer: &[u8]) -> Result<Secret, KeError> {
                let answer = answer.try_into().map_err(|_| KeError::Length)?;
                let mut shared = key(seed).decapsulate(answer);
                let secret = Secret::copy_of(&shared);
                shared.zeroize();
                Ok(secret)
            }

            pub(super) fn respond(seed: &[u8], peer: &[u8]) -> Result<(Vec<u8>, Secret), KeError> {
                // Coefficients beyond the modulus are refused here (FIPS 203 §7.2).
                let peer = EncapsulationKey::<$parameters>::new_from_slice(peer)
                    .map_err(|_| KeError::Value)?;
                let mut message = ml_kem::B32::default();
                message.copy_from_slice(&seed[..32]);
                let (answer, mut shared) = peer.encapsulate_deterministic(&message);
                message.zeroize();
                let secret = Secret::copy_of(&shared);
                shared.zeroize();
                Ok((answer.to_vec(), secret))
            }
        }
    };
}

steps!(ml_kem_512, MlKem512);
steps!(ml_kem_768, MlKem768);
steps!(ml_kem_1024, MlKem1024);

/// The encapsulation key of a seed; none if this is no ML-KEM.
pub(super) fn public(method: KeMethod, seed: &[u8]) -> Option<Vec<u8>> {
    Some(match method {
        KeMethod::MlKem512 => ml_kem_512::public(seed),
        KeMethod::MlKem768 => ml_kem_768::public(seed),
        KeMethod::MlKem1024 => ml_kem_1024::public(seed),
        _ => return None,
    })
}

/// The shared secret of a ciphertext. A ciphertext that does not belong to the key gives another secret, not an error.
pub(super) fn finish(
    method: KeMethod,
    seed: &[u8],
    answer: &[u8],
) -> Option<Result<Secret, KeError>> {
    Some(match method {
        KeMethod::MlKem512 => ml_kem_512::finish(seed, answer),
        KeMethod::MlKem768 => ml_kem_768::finish(seed, answer),
        KeMethod::MlKem1024 => ml_kem_1024::finish(seed, answer),
        _ => return None,
    })
}

/// The ciphertext for an encapsulation key, and the shared secret.
pub(super) fn respond(
    method: KeMethod,
    seed: &[u8],
    peer: &[u8],
) -> Option<Result<(Vec<u8>, Secret), KeError>> {
    Some(match method {
        KeMethod::MlKem512 => ml_kem_512::respond(seed, peer),
        KeMethod::MlKem768 => ml_kem_768::respond(seed, peer),
        KeMethod::MlKem1024 => ml_kem_1024::respond(seed, peer),
        _ => return None,
    })
}
