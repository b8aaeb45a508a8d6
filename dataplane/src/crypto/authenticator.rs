//! Integrity alone, as AH needs it (RFC 4302 §3.3.3).

use super::gcm::Gcm;
use super::layout::{high_half, sequence_fits};
use super::mac::{self, Mac};
use arrayvec::ArrayVec;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// How many parts a caller may give.
const PARTS: usize = 15;

/// One SA's integrity transform, ready for packets; shared by all workers.
///
/// What it covers comes in parts, so that nobody has to copy a packet to zero its mutable fields; the ICV field lies
/// in none of them, or zeroed. On an SA with ESN the high half of the sequence number is appended here (RFC 4302
/// §2.5.1). Neither method allocates, locks or panics.
pub trait Authenticator: Send + Sync {
    /// Octets of the ICV field ([`adit_abi::Integrity::icv_len`]).
    fn icv_len(&self) -> usize;

    /// Writes the ICV field over `parts`, at most 15 of them.
    ///
    /// `false` if `icv` has another length, there are too many parts, or the sequence number does not fit 32 bits on
    /// an SA without ESN: such a packet must not be sent.
    #[must_use]
    fn sign(&self, parts: &[&[u8]], sequence: u64, icv: &mut [u8]) -> bool;

    /// Whether `icv` is right for `parts`, found out in constant time.
    #[must_use]
    fn verify(&self, parts: &[&[u8]], sequence: u64, icv: &[u8]) -> bool;
}

/// Calls `work` with the parts and, with ESN, what follows them; `None` if they are too many.
fn with_esn<T>(
    parts: &[&[u8]],
    sequence: u64,
    esn: bool,
    work: impl FnOnce(&[&[u8]]) -> T,
) -> Option<T> {
    if !sequence_fits(sequence, esn) || parts.len() > PARTS {
        return None;
    }
    //= RFC 4302 §2.5.1: the high half is part of what the ICV covers, but not sent
    let high = high_half(sequence);
    let mut all: ArrayVec<&[u8], { PARTS + 1 }> = parts.iter().copied().collect();
    if esn {
        all.push(&high);
    }
    Some(work(&all))
}

/// An HMAC or a MAC of AES.
pub(super) struct MacAuthenticator {
    mac: Box<dyn Mac>,
    icv_len: usize,
    esn: bool,
}

impl MacAuthenticator {
    pub fn new(mac: Box<dyn Mac>, icv_len: usize, esn: bool) -> Self {
        Self { mac, icv_len, esn }
    }
}

impl Authenticator for MacAuthenticator {
    fn icv_len(&self) -> usize {
        self.icv_len
    }

    fn sign(&self, parts: &[&[u8]], sequence: u64, icv: &mut [u8]) -> bool {
        icv.len() == self.icv_len
            && with_esn(parts, sequence, self.esn, |all| self.mac.sum(all, icv)).is_some()
    }

    fn verify(&self, parts: &[&[u8]], sequence: u64, icv: &[u8]) -> bool {
        icv.len() == self.icv_len
            && with_esn(parts, sequence, self.esn, |all| {
                mac::verify(&*self.mac, all, icv)
            }) == Some(true)
    }
}

/// AES-GMAC, whose ICV field is its IV and then its tag.
pub(super) struct GmacAuthenticator<C> {
    gcm: Gcm<C>,
    salt: Zeroizing<[u8; 4]>,
    esn: bool,
}

impl<C> GmacAuthenticator<C> {
    pub fn new(gcm: Gcm<C>, salt: [u8; 4], esn: bool) -> Self {
        Self {
            gcm,
            salt: Zeroizing::new(salt),
            esn,
        }
    }

    fn nonce(&self, iv: [u8; 8]) -> [u8; 12] {
        //= RFC 4543 §3.2: the nonce is the salt, then the IV
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&*self.salt);
        nonce[4..].copy_from_slice(&iv);
        nonce
    }
}

impl<C: super::gcm::Block> Authenticator for GmacAuthenticator<C> {
    fn icv_len(&self) -> usize {
        8 + 16
    }

    fn sign(&self, parts: &[&[u8]], sequence: u64, icv: &mut [u8]) -> bool {
        //= RFC 4543 §4: the Authentication Data field is the IV, then the tag
        let Some((iv, tag)) = icv.split_first_chunk_mut() else {
            return false;
        };
        let Some((tag, [])) = tag.split_first_chunk_mut() else {
            return false;
        };
        //= RFC 4543 §3.1: the IV must not repeat under one key; a counter will do
        *iv = sequence.to_be_bytes();
        let nonce = self.nonce(*iv);
        with_esn(parts, sequence, self.esn, |all| {
            *tag = self.gcm.gmac(&nonce, all);
        })
        .is_some()
    }

    fn verify(&self, parts: &[&[u8]], sequence: u64, icv: &[u8]) -> bool {
        let Some((iv, tag)) = icv.split_first_chunk() else {
            return false;
        };
        let nonce = self.nonce(*iv);
        with_esn(parts, sequence, self.esn, |all| {
            self.gcm.gmac(&nonce, all)[..].ct_eq(tag).into()
        }) == Some(true)
    }
}
