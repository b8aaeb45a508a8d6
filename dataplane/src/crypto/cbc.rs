//! CBC mode with unpredictable IVs: AES-CBC (RFC 3602) and 3DES-CBC (RFC 2451).

use super::KeyError;
use super::cbc_iv::IvSource;
use super::separate::{Cipher, LANES, Part};
use arrayvec::ArrayVec;

/// One packet's encrypted part and the IV before it.
pub(super) struct Chain<'a, const BLOCK: usize> {
    pub iv: &'a [u8; BLOCK],
    pub blocks: &'a mut [[u8; BLOCK]],
}

impl<'a, const BLOCK: usize> Chain<'a, BLOCK> {
    /// `None` if the IV is not one block; the caller knows that the body is whole blocks.
    #[inline]
    fn of(part: Part<'a>) -> Option<Self> {
        let (iv, []) = part.iv.split_first_chunk()? else {
            return None;
        };
        let (blocks, _) = part.body.as_chunks_mut();
        Some(Self { iv, blocks })
    }
}

/// A block cipher in CBC mode under one key.
pub(super) trait Cbc<const BLOCK: usize>: Send + Sync {
    /// Encrypts each chain in place; at most [`LANES`] of them.
    fn encrypt(&self, chains: &mut [Chain<'_, BLOCK>]);

    /// Decrypts the chain in place.
    fn decrypt(&self, chain: Chain<'_, BLOCK>);
}

/// `C` with a source of IVs.
pub(super) struct CbcCipher<C, const BLOCK: usize> {
    cipher: C,
    ivs: IvSource,
}

impl<C, const BLOCK: usize> CbcCipher<C, BLOCK> {
    /// # Errors
    /// [`KeyError::Random`] if no secret for the IVs can be had.
    pub fn new(cipher: C) -> Result<Self, KeyError> {
        let ivs = IvSource::new()?;
        Ok(Self { cipher, ivs })
    }
}

impl<C: Cbc<BLOCK>, const BLOCK: usize> Cipher for CbcCipher<C, BLOCK> {
    const IV_LEN: usize = BLOCK;
    const BLOCK: usize = BLOCK;

    fn encrypt(&self, parts: &mut [Part<'_>]) {
        let ivs = self.ivs.ivs(parts.iter().map(|part| part.sequence));
        let mut chains = ArrayVec::<_, LANES>::new();
        for (part, iv) in parts.iter_mut().zip(ivs) {
            for (to, from) in part.iv.iter_mut().zip(iv) {
                *to = from;
            }
            chains.extend(Chain::of(Part {
                sequence: part.sequence,
                iv: part.iv,
                body: part.body,
            }));
        }
        self.cipher.encrypt(&mut chains);
    }

    fn decrypt(&self, part: Part<'_>) {
        if let Some(chain) = Chain::of(part) {
            self.cipher.decrypt(chain);
        }
    }
}
