//! ESP with a cipher that authenticates: AES-GCM (RFC 4106), AES-CCM (RFC 4309), AES-GMAC (RFC 4543) and
//! ChaCha20-Poly1305 (RFC 7634).

use super::layout::{Aad, Fields, low_half, sequence_fits};
use super::{Job, Transform};
use zeroize::Zeroizing;

/// Octets of IV: the same in all of them.
const IV_LEN: usize = 8;

/// Salt and IV together; the first octet is not AES-CCM's, whose nonce has 11.
pub(super) type Nonce = [u8; 12];

/// One AEAD algorithm under one key, with a tag of `ICV` octets.
pub(super) trait Aead<const ICV: usize>: Send + Sync {
    /// Encrypts `body` in place and returns the tag; `None` if the algorithm refuses the length.
    fn encrypt(&self, nonce: &Nonce, aad: &[u8], body: &mut [u8]) -> Option<[u8; ICV]>;

    /// Verifies `tag` in constant time and decrypts `body` in place. After `false` the body is
    /// undefined.
    fn decrypt(&self, nonce: &Nonce, aad: &[u8], body: &mut [u8], tag: &[u8; ICV]) -> bool;
}

/// An SA's transform around `A`.
pub(super) struct AeadTransform<A, const ICV: usize> {
    cipher: A,
    salt: Zeroizing<[u8; 4]>,
    esn: bool,
}

impl<A: Aead<ICV>, const ICV: usize> AeadTransform<A, ICV> {
    /// AES-CCM's salt has 3 octets, with a zero before them here.
    pub fn new(cipher: A, salt: [u8; 4], esn: bool) -> Self {
        Self {
            cipher,
            salt: Zeroizing::new(salt),
            esn,
        }
    }

    #[inline]
    fn nonce(&self, iv: &[u8]) -> Nonce {
        //= RFC 4106 §4: the nonce is the salt, then the IV
        //= RFC 4309 §4: the same for AES-CCM
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&*self.salt);
        nonce[4..].copy_from_slice(iv);
        nonce
    }

    #[inline]
    fn seal_one(&self, packet: &mut [u8], sequence: u64) -> bool {
        let Some(fields) = Fields::cut(packet, IV_LEN, ICV) else {
            return false;
        };
        if !sequence_fits(sequence, self.esn) {
            return false;
        }
        *fields.sequence_low = low_half(sequence);
        //= RFC 4106 §3.1: the IV must never repeat under one key; a counter will do
        //= RFC 4309 §3.1: the same for AES-CCM
        fields.iv.copy_from_slice(&sequence.to_be_bytes());
        let nonce = self.nonce(fields.iv);
        let aad = Aad::new(*fields.spi, sequence, self.esn);
        let Some(icv) = self.cipher.encrypt(&nonce, aad.as_slice(), fields.body) else {
            return false;
        };
        fields.icv.copy_from_slice(&icv);
        true
    }

    #[inline]
    fn open_one(&self, packet: &mut [u8], sequence: u64) -> bool {
        let Some(fields) = Fields::cut(packet, IV_LEN, ICV) else {
            return false;
        };
        if !sequence_fits(sequence, self.esn) || *fields.sequence_low != low_half(sequence) {
            return false;
        }
        let Some((icv, [])) = fields.icv.split_first_chunk() else {
            return false;
        };
        let nonce = self.nonce(fields.iv);
        let aad = Aad::new(*fields.spi, sequence, self.esn);
        self.cipher
            .decrypt(&nonce, aad.as_slice(), fields.body, icv)
    }
}

impl<A: Aead<ICV>, const ICV: usize> Transform for AeadTransform<A, ICV> {
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
