//! ESP with AES in counter mode (RFC 3686).

use super::gcm::Block;
use super::separate::{Cipher, Part};
use aes::cipher::{InnerIvInit, KeyInit, StreamCipher, StreamCipherCoreWrapper};
use zeroize::Zeroizing;

/// AES-CTR over the block cipher `C`, with the nonce that belongs to the key.
pub(super) struct AesCtr<C> {
    cipher: C,
    nonce: Zeroizing<[u8; 4]>,
}

impl<C: KeyInit> AesCtr<C> {
    /// `None` if `key` has the wrong length.
    pub fn new(key: &[u8]) -> Option<Self> {
        let (key, nonce) = key.split_last_chunk()?;
        Some(Self {
            cipher: C::new_from_slice(key).ok()?,
            nonce: Zeroizing::new(*nonce),
        })
    }
}

impl<C: Block> AesCtr<C> {
    #[inline]
    fn apply(&self, iv: &[u8], body: &mut [u8]) {
        //= RFC 3686 §4: the counter block is the nonce, the IV and a block number that begins at 1
        let mut counter = [0; 16];
        counter[..4].copy_from_slice(&*self.nonce);
        for (to, from) in counter[4..12].iter_mut().zip(iv) {
            *to = *from;
        }
        counter[15] = 1;
        let core = ctr::CtrCore::<&C, ctr::flavors::Ctr32BE>::inner_iv_init(
            &self.cipher,
            (&counter).into(),
        );
        // A packet is far too short to exhaust 32 bits of blocks.
        StreamCipherCoreWrapper::from_core(core).apply_keystream(body);
    }
}

impl<C: Block> Cipher for AesCtr<C> {
    const IV_LEN: usize = 8;
    const BLOCK: usize = 1;

    fn encrypt(&self, parts: &mut [Part<'_>]) {
        for part in parts {
            //= RFC 3686 §3.1: the IV must not repeat under one key; a counter will do
            part.iv.copy_from_slice(&part.sequence.to_be_bytes());
            self.apply(part.iv, part.body);
        }
    }

    fn decrypt(&self, part: Part<'_>) {
        self.apply(part.iv, part.body);
    }
}
