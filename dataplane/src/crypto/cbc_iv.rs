//! IVs for CBC mode: unpredictable and never repeated, without asking for random octets per packet.

use super::KeyError;
use super::separate::LANES;
use aes::Aes128Enc;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use arrayvec::ArrayVec;
use zeroize::Zeroizing;

/// Octets of an IV; 3DES takes the first half.
const BLOCK: usize = 16;

/// Draws the IV of each sequence number from two secrets of its own.
///
/// Encrypting a counter under a key used for nothing else gives distinct IVs that only a holder of
/// that key can foresee (NIST SP 800-38A, appendix C). The secrets are fresh for each transform, so
/// the IVs after a restart are unrelated to those before.
pub(super) struct IvSource {
    cipher: Aes128Enc,
    mask: Zeroizing<[u8; BLOCK]>,
}

impl IvSource {
    /// A source with fresh secrets.
    ///
    /// # Errors
    /// [`KeyError::Random`] if the system gives no random octets.
    pub fn new() -> Result<Self, KeyError> {
        let mut secrets = Zeroizing::new([[0; BLOCK]; 2]);
        getrandom::fill(secrets.as_flattened_mut()).map_err(|_| KeyError::Random)?;
        let [key, mask] = &*secrets;
        Ok(Self {
            cipher: Aes128Enc::new(key.into()),
            mask: Zeroizing::new(*mask),
        })
    }

    /// The IVs of the packets with these sequence numbers, at most [`LANES`]: together they cost
    /// little more than one.
    #[inline]
    pub fn ivs(&self, sequences: impl Iterator<Item = u64>) -> ArrayVec<[u8; BLOCK], LANES> {
        //= RFC 3602 §3: the IV must be unpredictable; a counter or the block before will not do
        //= RFC 2451 §3: the same for 3DES
        let mask = u128::from_ne_bytes(*self.mask);
        let mut ivs: ArrayVec<_, LANES> = sequences
            .take(LANES)
            .map(|sequence| (u128::from(sequence) ^ mask).to_ne_bytes())
            .collect();
        self.cipher
            .encrypt_blocks(Array::cast_slice_from_core_mut(&mut ivs));
        ivs
    }
}
