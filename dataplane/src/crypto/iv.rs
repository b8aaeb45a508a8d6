//! IVs for AES-CBC: unpredictable and never repeated, without asking for random octets per packet.

use super::KeyError;
use super::cbc_hmac::{BLOCK, LANES};
use aes::Aes128Enc;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use arrayvec::ArrayVec;
use zeroize::Zeroizing;

/// Draws the IV of each sequence number from two secrets of its own.
///
//= RFC 3602 §2.1: the IV must be unpredictable and must not be a counter
/// Encrypting a counter under a key used for nothing else gives distinct IVs that only a holder of
/// that key can foresee (NIST SP 800-38A, appendix C). The secrets are fresh for each transform, so
/// the IVs after a restart are unrelated to those before.
pub(super) struct IvSource {
    cipher: Aes128Enc,
    secret: Zeroizing<[u8; 8]>,
}

impl IvSource {
    /// A source with fresh secrets.
    ///
    /// # Errors
    /// [`KeyError::Random`] if the system gives no random octets.
    pub fn new() -> Result<Self, KeyError> {
        let mut key = Zeroizing::new([0; 16]);
        let mut secret = Zeroizing::new([0; 8]);
        getrandom::fill(&mut *key).map_err(|_| KeyError::Random)?;
        getrandom::fill(&mut *secret).map_err(|_| KeyError::Random)?;
        Ok(Self {
            cipher: Aes128Enc::new(&(*key).into()),
            secret,
        })
    }

    /// The IVs of the packets with these sequence numbers, at most [`LANES`]: together they cost
    /// little more than one.
    #[inline]
    pub fn ivs(&self, sequences: impl Iterator<Item = u64>) -> ArrayVec<[u8; BLOCK], LANES> {
        let mut ivs: ArrayVec<_, LANES> = sequences
            .take(LANES)
            .map(|sequence| {
                let mut block = [0; BLOCK];
                block[..8].copy_from_slice(&sequence.to_be_bytes());
                block[8..].copy_from_slice(&*self.secret);
                block
            })
            .collect();
        self.cipher
            .encrypt_blocks(Array::cast_slice_from_core_mut(&mut ivs));
        ivs
    }
}
