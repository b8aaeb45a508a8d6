//! ESP with AES-CBC (RFC 3602) and HMAC-SHA-256-128 (RFC 4868).

use super::iv::IvSource;
use super::layout::{Fields, ICV_LEN, high_half, low_half, sequence_fits};
use super::{Job, KeyError, Transform};
use arrayvec::ArrayVec;
use subtle::ConstantTimeEq;

/// AES's block, in octets.
pub(super) const BLOCK: usize = 16;

/// How many packets an implementation gets at a time.
pub(super) const LANES: usize = 8;

/// One packet's encrypted part and the IV before it.
pub(super) struct Chain<'a> {
    pub iv: &'a [u8; BLOCK],
    pub blocks: &'a mut [[u8; BLOCK]],
}

impl<'a> Chain<'a> {
    /// The packet's chain; `None` if the packet is too short or its body is not whole blocks.
    #[inline]
    fn of(packet: &'a mut [u8]) -> Option<Self> {
        let fields = Fields::<BLOCK>::cut(packet)?;
        let (blocks, tail) = fields.body.as_chunks_mut();
        tail.is_empty().then_some(Self {
            iv: fields.iv,
            blocks,
        })
    }
}

/// AES-CBC under one key.
pub(super) trait Cbc: Send + Sync {
    /// Encrypts each chain in place; at most [`LANES`] of them.
    fn encrypt(&self, chains: &mut [Chain<'_>]);

    /// Decrypts the chain in place.
    fn decrypt(&self, chain: Chain<'_>);
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
    /// # Errors
    /// [`KeyError::Random`] if no secret for the IVs can be had.
    pub fn new(cipher: C, mac: M, esn: bool) -> Result<Self, KeyError> {
        Ok(Self {
            cipher,
            mac,
            ivs: IvSource::new()?,
            esn,
        })
    }

    /// Writes what precedes the body; `false` if the packet cannot be sealed.
    #[inline]
    fn begin(&self, packet: &mut [u8], sequence: u64, iv: [u8; BLOCK]) -> bool {
        let Some(fields) = Fields::<BLOCK>::cut(packet) else {
            return false;
        };
        if !sequence_fits(sequence, self.esn) || !fields.body.len().is_multiple_of(BLOCK) {
            return false;
        }
        *fields.sequence_low = low_half(sequence);
        *fields.iv = iv;
        true
    }

    /// The ICV for a packet that is `covered` up to its ICV.
    #[inline]
    fn icv(&self, covered: &[u8], sequence: u64) -> [u8; ICV_LEN] {
        //= RFC 4303 §2.2.1: with ESN the high half is authenticated behind the packet, but not sent
        let high = high_half(sequence);
        let sum = self.mac.sum(covered, if self.esn { &high } else { &[] });
        //= RFC 4868 §2.3: the ICV is the first half of the MAC
        let mut icv = [0; ICV_LEN];
        icv.copy_from_slice(&sum[..ICV_LEN]);
        icv
    }

    #[inline]
    fn open_one(&self, packet: &mut [u8], sequence: u64) -> bool {
        let Some(fields) = Fields::<BLOCK>::cut(packet) else {
            return false;
        };
        if !sequence_fits(sequence, self.esn)
            || *fields.sequence_low != low_half(sequence)
            || !fields.body.len().is_multiple_of(BLOCK)
        {
            return false;
        }
        //= RFC 4303 §3.4.4.1: verify the ICV first, then decrypt
        let Some((covered, icv)) = packet.split_last_chunk::<ICV_LEN>() else {
            return false;
        };
        if !bool::from(self.icv(covered, sequence).ct_eq(icv)) {
            return false;
        }
        let Some(chain) = Chain::of(packet) else {
            return false;
        };
        self.cipher.decrypt(chain);
        true
    }
}

impl<C: Cbc, M: Mac> Transform for CbcHmacTransform<C, M> {
    fn seal(&self, jobs: &mut [Job<'_>]) {
        for group in jobs.chunks_mut(LANES) {
            let ivs = self.ivs.ivs(group.iter().map(|job| job.sequence));
            let mut chains = ArrayVec::<_, LANES>::new();
            for (job, iv) in group.iter_mut().zip(ivs) {
                job.ok = self.begin(job.packet, job.sequence, iv);
                if job.ok {
                    chains.extend(Chain::of(job.packet));
                }
            }
            self.cipher.encrypt(&mut chains);
            drop(chains);
            for job in group.iter_mut().filter(|job| job.ok) {
                if let Some((covered, icv)) = job.packet.split_last_chunk_mut() {
                    *icv = self.icv(covered, job.sequence);
                }
            }
        }
    }

    fn open(&self, jobs: &mut [Job<'_>]) {
        for job in jobs {
            job.ok = self.open_one(job.packet, job.sequence);
        }
    }
}
