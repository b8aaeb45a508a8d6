//! ECP groups 19 to 21: points as x and y, the shared secret x alone (RFC 5903).

use super::{KeError, KeMethod, Secret};
use p256::NistP256;
use p256::elliptic_curve::ops::Reduce;
use p256::elliptic_curve::sec1::{FromSec1Point, ModulusSize, ToSec1Point};
use p256::elliptic_curve::{
    AffinePoint, CurveArithmetic, FieldBytes, FieldBytesSize, NonZeroScalar, PublicKey, Scalar,
    ecdh,
};
use p384::NistP384;
use p521::NistP521;
use zeroize::Zeroizing;

/// The seed's secret scalar: the sum of as many scalars as the seed has room for, so that it is as good as uniform.
fn scalar<C>(seed: &[u8]) -> Result<Zeroizing<NonZeroScalar<C>>, KeError>
where
    C: CurveArithmetic,
    Scalar<C>: Reduce<FieldBytes<C>>,
{
    let field = FieldBytes::<C>::default().len();
    let mut sum = Zeroizing::new(Scalar::<C>::from(0u64));
    for chunk in seed.chunks_exact(field) {
        let mut bytes = Zeroizing::new(FieldBytes::<C>::default());
        bytes.copy_from_slice(chunk);
        // P-521's 521 bits fill one bit of the first of 66 octets.
        if field == 66 {
            bytes[0] &= 1;
        }
        *sum += Scalar::<C>::reduce(&bytes);
    }
    // Zero is as likely as guessing the secret at once.
    let scalar = Option::from(NonZeroScalar::<C>::new(*sum)).ok_or(KeError::Value)?;
    Ok(Zeroizing::new(scalar))
}

fn public_of<C>(seed: &[u8]) -> Vec<u8>
where
    C: CurveArithmetic,
    Scalar<C>: Reduce<FieldBytes<C>>,
    FieldBytesSize<C>: ModulusSize,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
{
    let Ok(scalar) = scalar::<C>(seed) else {
        return Vec::new();
    };
    let point = PublicKey::<C>::from_secret_scalar(&scalar).to_sec1_point(false);
    //= RFC 5903 §7: x and y, without the octet that says so
    point.as_bytes().get(1..).unwrap_or_default().to_vec()
}

fn agree_on<C>(seed: &[u8], peer: &[u8]) -> Result<Secret, KeError>
where
    C: CurveArithmetic,
    Scalar<C>: Reduce<FieldBytes<C>>,
    FieldBytesSize<C>: ModulusSize,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
{
    let mut point = vec![4];
    point.extend_from_slice(peer);
    //= RFC 6989 §2.3: a point that is not on the curve is refused
    let peer = PublicKey::<C>::from_sec1_bytes(&point).map_err(|_| KeError::Value)?;
    //= RFC 5903 §7: the shared secret is x alone
    let shared = ecdh::diffie_hellman(*scalar::<C>(seed)?, peer.as_affine());
    Ok(Secret::copy_of(shared.raw_secret_bytes()))
}

/// The point of a seed; none if this is no ECP group.
pub(super) fn public(method: KeMethod, seed: &[u8]) -> Option<Vec<u8>> {
    Some(match method {
        KeMethod::Ecp256 => public_of::<NistP256>(seed),
        KeMethod::Ecp384 => public_of::<NistP384>(seed),
        KeMethod::Ecp521 => public_of::<NistP521>(seed),
        _ => return None,
    })
}

/// The shared secret; none if this is no ECP group.
pub(super) fn agree(method: KeMethod, seed: &[u8], peer: &[u8]) -> Option<Result<Secret, KeError>> {
    Some(match method {
        KeMethod::Ecp256 => agree_on::<NistP256>(seed, peer),
        KeMethod::Ecp384 => agree_on::<NistP384>(seed, peer),
        KeMethod::Ecp521 => agree_on::<NistP521>(seed, peer),
        _ => return None,
    })
}
