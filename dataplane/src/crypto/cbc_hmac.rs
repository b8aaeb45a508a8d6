//! ESP with AES-CBC (RFC 3602) and HMAC-SHA-256-128 (RFC 4868).

use super::iv::IvSource;
use super::layout::{Fields, ICV_LEN, high_half, low_half, sequence_fits};
use super::{Job, KeyError, Transform};
use subtle::ConstantTimeEq;

/// AES's block.
pub(super) const BLOCK: usize = 16;

/// AES-CBC under one key.
pub(super) trait Cbc: Send + Sync {
    /// Encrypts `body`, whole blocks, in place.
    fn encrypt(&self, iv: &[u8; BLOCK], body: &mut [u8]) -> bool;

    /// Decrypts `body`, whole blocks, in place.
    fn decrypt(&self, iv: &[u8; BLOCK], body: &mut [u8]) -> bool;
}

/// HMAC-SHA-256 under one key.
pub(super) trait Mac: Send + Sync {
    /// The MAC over `first`, then `second`, all 32 octets.
    fn sum(&self, first: &[u8], second: &[u8]) -> [u8; 32];
}

/// An SA's transform around `C` and `M`.
pub(super) struct CbcHmacTransform<C, M> {
    cipher: C,
    mac: M,
    ivs: IvSource,
    esn: bool,
}

impl<C: Cbc, M: Mac> CbcHmacTransform<C, M> {
    pub fn new(cipher: C, mac: M, esn: bool) -> Result<Self, KeyError> {
        Ok(Self {
            cipher,
            mac,
            ivs: IvSource::new()?,
            esn,
        })
    }

    /// The ICV of the packet up to its ICV, `covered`.
    #[inline]
    fn icv(&self, covered: &[u8], sequence: u64) -> [u8; ICV_LEN] {
        //= RFC 4303 §2.2.1: with ESN the high half is authenticated behind the packet, but not sent
        let high = high_half(sequence);
        let sum = self.mac.sum(covered, if self.esn { &high } else { &[] });
        //= RFC 4868 §2.1: the ICV is the first half of the MAC
        let mut icv = [0; ICV_LEN];
        icv.copy_from_slice(&sum[..ICV_LEN]);
        icv
    }

    #[inline]
    fn seal_one(&self, packet: &mut [u8], sequence: u64) -> bool {
        let Some(fields) = Fields::<BLOCK>::cut(packet) else {
            return false;
        };
        if !sequence_fits(sequence, self.esn) || fields.body.len() % BLOCK != 0 {
            return false;
        }
        *fields.sequence_low = low_half(sequence);
        *fields.iv = self.ivs.iv(sequence);
        if !self.cipher.encrypt(fields.iv, fields.body) {
            return false;
        }
        let Some((covered, icv)) = packet.split_last_chunk_mut() else {
            return false;
        };
        *icv = self.icv(covered, sequence);
        true
    }

    #[inline]
    fn open_one(&self, packet: &mut [u8], sequence: u64) -> bool {
        let Some(fields) = Fields::<BLOCK>::cut(packet) else {
            return false;
        };
        if !sequence_fits(sequence, self.esn)
            || *fields.sequence_low != low_half(sequence)
            || fields.body.len() % BLOCK != 0
        {
            return false;
        }
        let Some((covered, icv)) = packet.split_last_chunk::<ICV_LEN>() else {
            return false;
        };
        //= RFC 4303 §3.4.4.1: verify the ICV first, then decrypt
        if !bool::from(self.icv(covered, sequence).ct_eq(icv)) {
            return false;
        }
        let Some(fields) = Fields::<BLOCK>::cut(packet) else {
            return false;
        };
        self.cipher.decrypt(fields.iv, fields.body)
    }
}

impl<C: Cbc, M: Mac> Transform for CbcHmacTransform<C, M> {
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
