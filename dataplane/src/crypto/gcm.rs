//! Galois/Counter Mode from its parts (NIST SP 800-38D): for tags that libraries do not truncate, and for AES-GMAC
//! over octets that do not lie in one place.

use super::aead::{Aead, Nonce};
use aes::cipher::{
    Array, BlockCipherEncrypt, BlockSizeUser, InnerIvInit, KeyInit, StreamCipher, consts::U16,
};
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A block cipher of 16 octets that can encrypt.
pub(super) trait Block:
    BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + Send + Sync
{
}

impl<C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + Send + Sync> Block for C {}

/// `C` in Galois/Counter Mode under one key, with a 96-bit nonce.
pub(super) struct Gcm<C> {
    cipher: C,
    /// Keyed with the encrypted zero block; cloned for each packet.
    ghash: GHash,
}

impl<C: Block + KeyInit> Gcm<C> {
    /// `None` if `key` has the wrong length.
    pub fn new(key: &[u8]) -> Option<Self> {
        let cipher = C::new_from_slice(key).ok()?;
        let mut hash_key = Zeroizing::new([0; 16]);
        cipher.encrypt_block((&mut *hash_key).into());
        let ghash = GHash::new((&*hash_key).into());
        Some(Self { cipher, ghash })
    }
}

impl<C: Block> Gcm<C> {
    /// The tag over nothing but additional data: AES-GMAC.
    #[inline]
    pub fn gmac(&self, nonce: &Nonce, parts: &[&[u8]]) -> [u8; 16] {
        let mut hash = Hash::new(&self.ghash);
        for part in parts {
            hash.update(part);
        }
        let bits = hash.pad();
        self.tag(nonce, hash, bits, 0)
    }

    fn tag(&self, nonce: &Nonce, mut hash: Hash, aad_bits: u64, body_bits: u64) -> [u8; 16] {
        let mut lengths = [0; 16];
        lengths[..8].copy_from_slice(&aad_bits.to_be_bytes());
        lengths[8..].copy_from_slice(&body_bits.to_be_bytes());
        hash.update(&lengths);
        let mut mask = counter(nonce, 1);
        self.cipher.encrypt_block((&mut mask).into());
        let hash: [u8; 16] = hash.ghash.finalize().into();
        (u128::from_ne_bytes(mask) ^ u128::from_ne_bytes(hash)).to_ne_bytes()
    }

    /// The tag over additional data and ciphertext.
    #[inline]
    fn tag_of(&self, nonce: &Nonce, aad: &[u8], body: &[u8]) -> [u8; 16] {
        let mut hash = Hash::new(&self.ghash);
        hash.update(aad);
        let aad_bits = hash.pad();
        hash.update(body);
        let body_bits = hash.pad();
        self.tag(nonce, hash, aad_bits, body_bits)
    }

    /// Encrypts or decrypts `body` in place; `false` if it is too long for the counter.
    #[inline]
    fn apply(&self, nonce: &Nonce, body: &mut [u8]) -> bool {
        let core = ctr::CtrCore::<&C, ctr::flavors::Ctr32BE>::inner_iv_init(
            &self.cipher,
            (&counter(nonce, 2)).into(),
        );
        aes::cipher::StreamCipherCoreWrapper::from_core(core)
            .try_apply_keystream(body)
            .is_ok()
    }
}

fn counter(nonce: &Nonce, number: u32) -> [u8; 16] {
    let mut block = [0; 16];
    block[..12].copy_from_slice(nonce);
    block[12..].copy_from_slice(&number.to_be_bytes());
    block
}

/// GHASH of octets that come in pieces of any length.
struct Hash {
    ghash: GHash,
    partial: [u8; 16],
    /// Octets in `partial`, fewer than 16.
    filled: usize,
    /// Octets since the last padding.
    octets: u64,
}

impl Hash {
    fn new(keyed: &GHash) -> Self {
        Self {
            ghash: keyed.clone(),
            partial: [0; 16],
            filled: 0,
            octets: 0,
        }
    }

    #[inline]
    fn update(&mut self, mut octets: &[u8]) {
        self.octets += octets.len() as u64;
        if self.filled > 0 {
            let room = &mut self.partial[self.filled..];
            let (now, later) = octets.split_at(octets.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            self.filled += now.len();
            octets = later;
            if self.filled < 16 {
                return;
            }
            self.ghash.update(&[self.partial.into()]);
        }
        let (blocks, tail) = octets.as_chunks();
        self.ghash.update(Array::cast_slice_from_core(blocks));
        self.partial[..tail.len()].copy_from_slice(tail);
        self.filled = tail.len();
    }

    /// Fills the last block up with zeros; returns the bits that came since the last padding.
    #[inline]
    fn pad(&mut self) -> u64 {
        if self.filled > 0 {
            self.partial[self.filled..].fill(0);
            self.ghash.update(&[self.partial.into()]);
            self.filled = 0;
        }
        std::mem::take(&mut self.octets) * 8
    }
}

/// AES-GCM with a tag of `ICV` octets.
impl<C: Block, const ICV: usize> Aead<ICV> for Gcm<C> {
    fn encrypt(&self, nonce: &Nonce, aad: &[u8], body: &mut [u8]) -> Option<[u8; ICV]> {
        if !self.apply(nonce, body) {
            return None;
        }
        self.tag_of(nonce, aad, body).first_chunk().copied()
    }

    fn decrypt(&self, nonce: &Nonce, aad: &[u8], body: &mut [u8], tag: &[u8; ICV]) -> bool {
        let right = self.tag_of(nonce, aad, body);
        //= RFC 4106 §6: the ICV may be truncated to 12 or 8 octets
        let Some(right) = right.get(..ICV) else {
            return false;
        };
        bool::from(right.ct_eq(tag)) && self.apply(nonce, body)
    }
}

/// AES-GMAC as an AEAD that leaves the body in clear: ESP's ENCR_NULL_AUTH_AES_GMAC.
pub(super) struct Gmac<C>(pub Gcm<C>);

impl<C: Block> Gmac<C> {
    #[inline]
    fn sum(&self, nonce: &Nonce, aad: &[u8], body: &[u8]) -> [u8; 16] {
        //= RFC 4543 §3.3: the additional data is SPI, sequence number, IV and the whole clear body
        let (_, iv) = nonce.split_at(4);
        self.0.gmac(nonce, &[aad, iv, body])
    }
}

impl<C: Block> Aead<16> for Gmac<C> {
    fn encrypt(&self, nonce: &Nonce, aad: &[u8], body: &mut [u8]) -> Option<[u8; 16]> {
        Some(self.sum(nonce, aad, body))
    }

    fn decrypt(&self, nonce: &Nonce, aad: &[u8], body: &mut [u8], tag: &[u8; 16]) -> bool {
        self.sum(nonce, aad, body).ct_eq(tag).into()
    }
}
