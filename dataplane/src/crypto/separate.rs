//! ESP with one transform that encrypts and another that authenticates (RFC 4303 §3.3.2.1).

use super::layout::{Fields, high_half, low_half, sequence_fits};
use super::mac::{self, Mac};
use super::{Job, Transform};
use arrayvec::ArrayVec;

/// How many packets a cipher gets at a time.
pub(super) const LANES: usize = 8;

/// What a cipher sees of one packet.
pub(super) struct Part<'a> {
    pub sequence: u64,
    /// [`Cipher::IV_LEN`] octets.
    pub iv: &'a mut [u8],
    /// Whole blocks of [`Cipher::BLOCK`] octets.
    pub body: &'a mut [u8],
}

/// A cipher under one key that does not authenticate.
pub(super) trait Cipher: Send + Sync {
    /// Octets of IV in the packet.
    const IV_LEN: usize;
    /// The body is a multiple of this many octets.
    const BLOCK: usize;

    /// Writes each packet's IV and encrypts its body in place; at most [`LANES`] packets.
    fn encrypt(&self, parts: &mut [Part<'_>]);

    /// Decrypts the body in place.
    fn decrypt(&self, part: Part<'_>);
}

/// No encryption (RFC 2410).
pub(super) struct NullCipher;

impl Cipher for NullCipher {
    //= RFC 2410 §2: no key, no IV, a block of one octet; plaintext and ciphertext are the same
    const IV_LEN: usize = 0;
    const BLOCK: usize = 1;

    fn encrypt(&self, _: &mut [Part<'_>]) {}

    fn decrypt(&self, _: Part<'_>) {}
}

/// An SA's transform around `C` and a MAC.
pub(super) struct SeparateTransform<C> {
    cipher: C,
    mac: Box<dyn Mac>,
    icv_len: usize,
    esn: bool,
}

impl<C: Cipher> SeparateTransform<C> {
    pub fn new(cipher: C, mac: Box<dyn Mac>, icv_len: usize, esn: bool) -> Self {
        Self {
            cipher,
            mac,
            icv_len,
            esn,
        }
    }

    /// The packet's fields; `None` if it is too short, its body is not whole blocks, or its number is not the SA's.
    #[inline]
    fn fields<'a>(&self, packet: &'a mut [u8], sequence: u64) -> Option<Fields<'a>> {
        let fields = Fields::cut(packet, C::IV_LEN, self.icv_len)?;
        let usable =
            sequence_fits(sequence, self.esn) && fields.body.len().is_multiple_of(C::BLOCK);
        usable.then_some(fields)
    }

    /// Calls `work` with what the ICV covers.
    #[inline]
    fn covering<T>(&self, packet: &[u8], sequence: u64, work: impl FnOnce(&[&[u8]]) -> T) -> T {
        //= RFC 4303 §2.2.1: with ESN the high half is authenticated behind the packet, but not sent
        if self.esn {
            work(&[packet, &high_half(sequence)])
        } else {
            work(&[packet])
        }
    }

    #[inline]
    fn open_one(&self, packet: &mut [u8], sequence: u64) -> bool {
        match self.fields(packet, sequence) {
            Some(fields) if *fields.sequence_low == low_half(sequence) => {}
            _ => return false,
        }
        //= RFC 4303 §3.4.4.1: verify the ICV first, then decrypt
        let Some((covered, icv)) = packet.split_at_checked(packet.len() - self.icv_len) else {
            return false;
        };
        if !self.covering(covered, sequence, |parts| {
            mac::verify(&*self.mac, parts, icv)
        }) {
            return false;
        }
        let Some(Fields { iv, body, .. }) = self.fields(packet, sequence) else {
            return false;
        };
        self.cipher.decrypt(Part { sequence, iv, body });
        true
    }
}

impl<C: Cipher> Transform for SeparateTransform<C> {
    fn seal(&self, jobs: &mut [Job<'_>]) {
        for group in jobs.chunks_mut(LANES) {
            let mut parts = ArrayVec::<_, LANES>::new();
            for Job {
                packet,
                sequence,
                ok,
            } in &mut *group
            {
                let fields = self.fields(packet, *sequence);
                *ok = fields.is_some();
                parts.extend(fields.map(|fields| {
                    *fields.sequence_low = low_half(*sequence);
                    Part {
                        sequence: *sequence,
                        iv: fields.iv,
                        body: fields.body,
                    }
                }));
            }
            self.cipher.encrypt(&mut parts);
            drop(parts);
            //= RFC 4303 §3.3.2.1: encrypt first, then compute the ICV over the ciphertext
            for job in group.iter_mut().filter(|job| job.ok) {
                let covered = job.packet.len() - self.icv_len;
                if let Some((covered, icv)) = job.packet.split_at_mut_checked(covered) {
                    self.covering(covered, job.sequence, |parts| self.mac.sum(parts, icv));
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
