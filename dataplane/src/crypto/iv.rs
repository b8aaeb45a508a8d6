//! IVs for AES-CBC: unpredictable and never repeated, without asking for random octets per packet.

use super::KeyError;
use aes::Aes128Enc;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
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

    /// The IV of the packet with this sequence number.
    #[inline]
    pub fn iv(&self, sequence: u64) -> [u8; 16] {
        let mut block = [0; 16];
        block[..8].copy_from_slice(&sequence.to_be_bytes());
        block[8..].copy_from_slice(&*self.secret);
        let mut block = block.into();
        self.cipher.encrypt_block(&mut block);
        block.into()
    }
}
