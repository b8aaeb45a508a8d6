//! Message authentication codes under one key, from whoever computes them.

use subtle::ConstantTimeEq;

/// Octets of the longest ICV: HMAC-SHA-512-256's.
const LONGEST: usize = 32;

/// A MAC under one key. It must not allocate.
pub(super) trait Mac: Send + Sync {
    /// The leading octets of the MAC over `parts` one behind the other, as many as `icv` has room for.
    fn sum(&self, parts: &[&[u8]], icv: &mut [u8]);
}

/// Whether `icv` is the beginning of the MAC over `parts`, found out in constant time.
#[inline]
pub(super) fn verify(mac: &dyn Mac, parts: &[&[u8]], icv: &[u8]) -> bool {
    let mut right = [0; LONGEST];
    let Some(right) = right.get_mut(..icv.len()) else {
        return false;
    };
    mac.sum(parts, right);
    right.ct_eq(icv).into()
}
