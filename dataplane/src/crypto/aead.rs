//! ESP with a cipher that authenticates: AES-GCM (RFC 4106) and ChaCha20-Poly1305 (RFC 7634).

use super::layout::{Aad, Fields, ICV_LEN, low_half, sequence_fits};
use super::{Job, Transform};
use zeroize::Zeroizing;

/// Salt and IV together.
pub(super) type Nonce = [u8; 12];

/// One AEAD algorithm under one key, with a 96-bit nonce and a 128-bit tag.
pub(super) trait Aead: Send + Sync {
    /// Encrypts `body` in place and returns the tag; `None` if the algorithm refuses the length.
    fn encrypt(&self, nonce: &Nonce, aad: &[u8], body: &mut [u8]) -> Option<[u8; ICV_LEN]>;

    /// Verifies `tag` in constant time and decrypts `body` in place. After `false` the body is
    /// undefined.
    fn decrypt(&self, nonce: &Nonce, aad: &[u8], body: &mut [u8], tag: &[u8; ICV_LEN]) -> bool;
}

/// An SA's transform around `A`.
pub(super) struct AeadTransform<A> {
    cipher: A,
    salt: Zeroizing<[u8; 4]>,
    esn: bool,
}

impl<A: Aead> AeadTransform<A> {
    pub fn new(cipher: A, salt: [u8; 4], esn: bool) -> Self {
        Self {
            cipher,
            salt: Zeroizing::new(salt),
            esn,
        }
    }

    #[inline]
    fn nonce(&self, iv: &[u8; 8]) -> Nonce {
        //= RFC 4106 §4: the nonce is the salt, then the IV
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&*self.salt);
        nonce[4..].copy_from_slice(iv);
        nonce
    }

    #[inline]
    fn seal_one(&self, packet: &mut [u8], sequence: u64) -> bool {
        let Some(fields) = Fields::<8>::cut(packet) else {
            return false;
        };
        if !sequence_fits(sequence, self.esn) {
            return false;
        }
        *fields.sequence_low = low_half(sequence);
        //= RFC 4106 §3.1: the IV must never repeat under one key; a counter will do
        *fields.iv = sequence.to_be_bytes();
        let nonce = self.nonce(fields.iv);
        let aad = Aad::new(*fields.spi, sequence, self.esn);
        let Some(icv) = self.cipher.encrypt(&nonce, aad.as_slice(), fields.body) else {
            return false;
        };
        *fields.icv = icv;
        true
    }

    #[inline]
    fn open_one(&self, packet: &mut [u8], sequence: u64) -> bool {
        let Some(fields) = Fields::<8>::cut(packet) else {
            return false;
        };
        if !sequence_fits(sequence, self.esn) || *fields.sequence_low != low_half(sequence) {
            return false;
        }
        let nonce = self.nonce(fields.iv);
        let aad = Aad::new(*fields.spi, sequence, self.esn);
        self.cipher
            .decrypt(&nonce, aad.as_slice(), fields.body, fields.icv)
    }
}

impl<A: Aead> Transform for AeadTransform<A> {
    fn seal(&self, jobs: &mut [Job<'_>]) {
        for job in jobs {
            job.ok = self.seal_one(job.packet, job.sequence);
        }
    }

    fn open(&self, jobs: &mut [Job<'_>]) {
        for job in jobs {
            job.ok = self.open_one(job.packet, job.sequence);
        }
    }
}
