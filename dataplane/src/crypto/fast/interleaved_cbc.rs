//! AES-CBC of several packets side by side.
//!
//! In one packet each block waits for the one before, so the CPU's AES unit idles through most of the
//! cipher's latency. Blocks of different packets do not wait for each other: taking them in turn
//! keeps the unit busy. Decryption has no such chain, and the library does it well.

use crate::crypto::cbc::{Cbc, Chain};
use crate::crypto::reference::AesCbc;
use crate::crypto::separate::LANES;
use aes::cipher::{
    Block, BlockCipherDecrypt, BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt,
    BlockSizeUser, KeyInit, consts::U16,
};
use arrayvec::ArrayVec;
use core::slice;

/// AES-CBC over the block cipher `C`, encrypting up to [`LANES`] packets at once.
pub(in crate::crypto) struct InterleavedCbc<C>(AesCbc<C>);

impl<C: KeyInit> InterleavedCbc<C> {
    /// `None` if `key` has the wrong length.
    pub fn new(key: &[u8]) -> Option<Self> {
        C::new_from_slice(key)
            .ok()
            .map(|cipher| Self(AesCbc(cipher)))
    }
}

impl<C> Cbc<16> for InterleavedCbc<C>
where
    C: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16> + Send + Sync,
{
    fn encrypt(&self, chains: &mut [Chain<'_, 16>]) {
        let lanes = chains
            .iter_mut()
            .take(LANES)
            .map(|chain| Lane {
                previous: u128::from_ne_bytes(*chain.iv),
                blocks: chain.blocks.iter_mut(),
            })
            .collect();
        self.0.0.encrypt_with_backend(Interleave { lanes });
    }

    fn decrypt(&self, chain: Chain<'_, 16>) {
        self.0.decrypt(chain);
    }
}

/// A packet on its way: the last block of ciphertext, or the IV, and the blocks still clear.
struct Lane<'a> {
    /// As a number, so that the exclusive or is one instruction.
    previous: u128,
    blocks: slice::IterMut<'a, [u8; 16]>,
}

/// The loop over all lanes, which the cipher runs with its CPU features switched on.
struct Interleave<'a> {
    lanes: ArrayVec<Lane<'a>, LANES>,
}

impl BlockSizeUser for Interleave<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Interleave<'_> {
    // A call that is not inlined would lose the CPU features.
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(mut self, backend: &B) {
        let mut busy = true;
        while busy {
            busy = false;
            for lane in &mut self.lanes {
                let Some(block) = lane.blocks.next() else {
                    continue;
                };
                let mixed = lane.previous ^ u128::from_ne_bytes(*block);
                let mut sealed = Block::<B>::from(mixed.to_ne_bytes());
                backend.encrypt_block((&mut sealed).into());
                *block = sealed.into();
                lane.previous = u128::from_ne_bytes(*block);
                busy = true;
            }
        }
    }
}
