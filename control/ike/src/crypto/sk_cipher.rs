//! Sealing and opening the encrypted payload, whole or a fragment (RFC 7296 §3.14, RFC 5282, RFC 7383).

use super::{AesKey, Encryption, Icv, Integrity, Secret};
use aes::cipher::typenum::{U8, U11, U12, U16};
use aes::cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, StreamCipher};
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::AesGcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use ccm::Ccm;
use chacha20poly1305::ChaCha20Poly1305;
use des::TdesEde3;
use zeroize::Zeroizing;

/// Why an encrypted payload was not opened. A peer learns none of it: the message is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is shorter than IV, pad length and ICV, or no whole number of blocks.
    #[error("the encrypted payload is too short or no whole number of blocks")]
    Length,
    /// The ICV does not fit.
    #[error("the ICV does not fit")]
    Icv,
    /// The pad length reaches beyond the payload.
    #[error("the pad length reaches beyond the payload")]
    Padding,
}

/// One direction's cipher of an IKE SA.
#[derive(Clone, Debug)]
pub struct SkCipher {
    encryption: Encryption,
    integrity: Option<Integrity>,
    /// The key and, behind it, the salt.
    key: Secret,
    integrity_key: Secret,
}

impl SkCipher {
    /// A cipher with its key material (SK_e, with the salt) and the key of its ICV (SK_a; empty beside a combined mode).
    ///
    /// None if a length is wrong, or if there is an integrity algorithm where there should be none, or none where one is needed.
    pub fn new(
        encryption: Encryption,
        integrity: Option<Integrity>,
        key: Secret,
        integrity_key: Secret,
    ) -> Option<Self> {
        let fits = key.len() == encryption.key_len()
            && integrity_key.len() == integrity.map_or(0, Integrity::key_len)
            && integrity.is_none() == encryption.is_combined_mode();
        fits.then_some(Self {
            encryption,
            integrity,
            key,
            integrity_key,
        })
    }

    /// The octets of the IV that [`Self::seal`] wants.
    pub fn iv_len(&self) -> usize {
        self.encryption.iv_len()
    }

    /// Whether the IV must be unpredictable; otherwise it must never repeat, and a counter serves.
    pub fn needs_random_iv(&self) -> bool {
        self.encryption.needs_random_iv()
    }

    fn icv_len(&self) -> usize {
        self.integrity
            .map_or(self.encryption.icv_len(), Integrity::icv_len)
    }

    /// The octets that [`Self::seal`] appends for a plaintext of this length.
    pub fn sealed_len(&self, plaintext: usize) -> usize {
        let padded = (plaintext + 1).next_multiple_of(self.encryption.block_len());
        self.iv_len() + padded + self.icv_len()
    }

    /// The longest plaintext that [`Self::seal`] turns into at most this many octets.
    pub fn plaintext_room(&self, sealed: usize) -> usize {
        let inner = sealed.saturating_sub(self.iv_len() + self.icv_len());
        (inner - inner % self.encryption.block_len()).saturating_sub(1)
    }

    /// Appends IV, ciphertext and ICV to `out`.
    ///
    /// `aad` is the message from the IKE header to the end of the encrypted payload's header (a fragment's: with its
    /// numbers), the lengths in it already those of the sealed message.
    ///
    /// # Panics
    /// If `iv` is not [`Self::iv_len`] octets long.
    pub fn seal(&self, aad: &[u8], iv: &[u8], plaintext: &[u8], out: &mut Vec<u8>) {
        assert_eq!(iv.len(), self.iv_len(), "the IV has the cipher's length");
        let padded = (plaintext.len() + 1).next_multiple_of(self.encryption.block_len());
        out.reserve(self.sealed_len(plaintext.len()));
        out.extend_from_slice(iv);
        let start = out.len();
        out.extend_from_slice(plaintext);
        out.resize(start + padded, 0);
        // A whole block is at most 16 octets.
        out[start + padded - 1] = (padded - plaintext.len() - 1) as u8;
        let icv = self.encrypt(aad, iv, &mut out[start..]);
        match self.integrity {
            None => out.extend_from_slice(icv.as_bytes()),
            Some(integrity) => {
                let sealed = &out[start - iv.len()..];
                let icv = integrity.compute(self.integrity_key.as_bytes(), &[aad, sealed]);
                out.extend_from_slice(icv.unwrap_or_default().as_bytes());
            }
        }
    }

    /// Checks and decrypts the body of an encrypted payload, and takes the padding off.
    ///
    /// `aad` is as in [`Self::seal`].
    ///
    /// # Errors
    /// Why it was not opened.
    pub fn open(&self, aad: &[u8], body: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (iv_len, icv_len) = (self.iv_len(), self.icv_len());
        let (iv, rest) = body.split_at_checked(iv_len).ok_or(OpenError::Length)?;
        let inner = rest.len().checked_sub(icv_len).ok_or(OpenError::Length)?;
        let (ciphertext, icv) = rest.split_at_checked(inner).ok_or(OpenError::Length)?;
        if ciphertext.is_empty() || !ciphertext.len().is_multiple_of(self.encryption.block_len()) {
            return Err(OpenError::Length);
        }
        if let Some(integrity) = self.integrity {
            let ours = integrity.compute(self.integrity_key.as_bytes(), &[aad, iv, ciphertext]);
            //= RFC 7296 §3.14: the ICV is checked before anything is decrypted
            if !ours.is_some_and(|ours| ours.matches(icv)) {
                return Err(OpenError::Icv);
            }
        }
        let mut plaintext = Zeroizing::new(ciphertext.to_vec());
        self.decrypt(aad, iv, icv, &mut plaintext)?;
        let padding = plaintext.last().copied().ok_or(OpenError::Length)?;
        let len = plaintext
            .len()
            .checked_sub(usize::from(padding) + 1)
            .ok_or(OpenError::Padding)?;
        plaintext.truncate(len);
        Ok(plaintext)
    }

    fn key_and_salt(&self) -> (&[u8], &[u8]) {
        let key = self.key.as_bytes();
        key.split_at(key.len() - self.encryption.salt_len())
    }

    /// Encrypts in place; the ICV of a combined mode, or nothing.
    fn encrypt(&self, aad: &[u8], iv: &[u8], data: &mut [u8]) -> Secret {
        let (key, _) = self.key_and_salt();
        match self.encryption {
            Encryption::TripleDes => cbc_encrypt::<TdesEde3>(key, iv, data),
            Encryption::AesCbc(AesKey::Bits128) => cbc_encrypt::<Aes128>(key, iv, data),
            Encryption::AesCbc(AesKey::Bits192) => cbc_encrypt::<Aes192>(key, iv, data),
            Encryption::AesCbc(AesKey::Bits256) => cbc_encrypt::<Aes256>(key, iv, data),
            Encryption::AesCtr(_) => self.counter_mode(iv, data),
            Encryption::AesCcm(..) | Encryption::AesGcm(..) | Encryption::ChaCha20Poly1305 => {
                return self
                    .combined(Combined {
                        aad,
                        iv,
                        icv: None,
                        data,
                    })
                    .unwrap_or_default();
            }
        }
        Secret::default()
    }

    /// Decrypts in place, and checks the ICV of a combined mode.
    fn decrypt(&self, aad: &[u8], iv: &[u8], icv: &[u8], data: &mut [u8]) -> Result<(), OpenError> {
        let (key, _) = self.key_and_salt();
        match self.encryption {
            Encryption::TripleDes => cbc_decrypt::<TdesEde3>(key, iv, data),
            Encryption::AesCbc(AesKey::Bits128) => cbc_decrypt::<Aes128>(key, iv, data),
            Encryption::AesCbc(AesKey::Bits192) => cbc_decrypt::<Aes192>(key, iv, data),
            Encryption::AesCbc(AesKey::Bits256) => cbc_decrypt::<Aes256>(key, iv, data),
            Encryption::AesCtr(_) => self.counter_mode(iv, data),
            Encryption::AesCcm(..) | Encryption::AesGcm(..) | Encryption::ChaCha20Poly1305 => {
                self.combined(Combined {
                    aad,
                    iv,
                    icv: Some(icv),
                    data,
                })
                .ok_or(OpenError::Icv)?;
            }
        }
        Ok(())
    }

    //= RFC 5930 §2: the counter block is the nonce, the IV and a counter that begins with 1
    fn counter_mode(&self, iv: &[u8], data: &mut [u8]) {
        let (key, salt) = self.key_and_salt();
        let mut block = [0; 16];
        block[..4].copy_from_slice(salt);
        block[4..12].copy_from_slice(iv);
        block[15] = 1;
        match key.len() {
            16 => ctr::<ctr::Ctr32BE<Aes128>>(key, &block, data),
            24 => ctr::<ctr::Ctr32BE<Aes192>>(key, &block, data),
            _ => ctr::<ctr::Ctr32BE<Aes256>>(key, &block, data),
        }
    }

    fn combined(&self, job: Combined<'_>) -> Option<Secret> {
        use AesKey::{Bits128, Bits192, Bits256};
        use Icv::{Octets8, Octets12, Octets16};
        let (key, salt) = self.key_and_salt();
        match self.encryption {
            Encryption::AesGcm(Bits128, Octets8) => job.run::<AesGcm<Aes128, U12, U8>>(key, salt),
            Encryption::AesGcm(Bits128, Octets12) => job.run::<AesGcm<Aes128, U12, U12>>(key, salt),
            Encryption::AesGcm(Bits128, Octets16) => job.run::<AesGcm<Aes128, U12, U16>>(key, salt),
            Encryption::AesGcm(Bits192, Octets8) => job.run::<AesGcm<Aes192, U12, U8>>(key, salt),
            Encryption::AesGcm(Bits192, Octets12) => job.run::<AesGcm<Aes192, U12, U12>>(key, salt),
            Encryption::AesGcm(Bits192, Octets16) => job.run::<AesGcm<Aes192, U12, U16>>(key, salt),
            Encryption::AesGcm(Bits256, Octets8) => job.run::<AesGcm<Aes256, U12, U8>>(key, salt),
            Encryption::AesGcm(Bits256, Octets12) => job.run::<AesGcm<Aes256, U12, U12>>(key, salt),
            Encryption::AesGcm(Bits256, Octets16) => job.run::<AesGcm<Aes256, U12, U16>>(key, salt),
            Encryption::AesCcm(Bits128, Octets8) => job.run::<Ccm<Aes128, U8, U11>>(key, salt),
            Encryption::AesCcm(Bits128, Octets12) => job.run::<Ccm<Aes128, U12, U11>>(key, salt),
            Encryption::AesCcm(Bits128, Octets16) => job.run::<Ccm<Aes128, U16, U11>>(key, salt),
            Encryption::AesCcm(Bits192, Octets8) => job.run::<Ccm<Aes192, U8, U11>>(key, salt),
            Encryption::AesCcm(Bits192, Octets12) => job.run::<Ccm<Aes192, U12, U11>>(key, salt),
            Encryption::AesCcm(Bits192, Octets16) => job.run::<Ccm<Aes192, U16, U11>>(key, salt),
            Encryption::AesCcm(Bits256, Octets8) => job.run::<Ccm<Aes256, U8, U11>>(key, salt),
            Encryption::AesCcm(Bits256, Octets12) => job.run::<Ccm<Aes256, U12, U11>>(key, salt),
            Encryption::AesCcm(Bits256, Octets16) => job.run::<Ccm<Aes256, U16, U11>>(key, salt),
            Encryption::ChaCha20Poly1305 => job.run::<ChaCha20Poly1305>(key, salt),
            Encryption::TripleDes | Encryption::AesCbc(_) | Encryption::AesCtr(_) => None,
        }
    }
}

/// One message for a combined mode: to be sealed, or to be opened if it has an ICV.
struct Combined<'a> {
    aad: &'a [u8],
    iv: &'a [u8],
    icv: Option<&'a [u8]>,
    data: &'a mut [u8],
}

impl Combined<'_> {
    /// The ICV when sealing; nothing, as `Some`, when opened; `None` if the ICV does not fit.
    //= RFC 5282 §4: the nonce is the salt and the IV
    fn run<A: AeadInOut + KeyInit>(self, key: &[u8], salt: &[u8]) -> Option<Secret> {
        let cipher = A::new_from_slice(key).ok()?;
        let nonce = Array::try_from([salt, self.iv].concat().as_slice()).ok()?;
        match self.icv {
            None => {
                let icv = cipher
                    .encrypt_inout_detached(&nonce, self.aad, self.data.into())
                    .ok()?;
                Some(Secret::copy_of(&icv))
            }
            Some(icv) => {
                let icv = Array::try_from(icv).ok()?;
                cipher
                    .decrypt_inout_detached(&nonce, self.aad, self.data.into(), &icv)
                    .ok()?;
                Some(Secret::default())
            }
        }
    }
}

fn cbc_encrypt<C>(key: &[u8], iv: &[u8], data: &mut [u8])
where
    C: aes::cipher::BlockCipherEncrypt + KeyInit,
{
    let Ok(mut cipher) = cbc::Encryptor::<C>::new_from_slices(key, iv) else {
        unreachable!("lengths were checked with the key");
    };
    let (blocks, _) = Array::slice_as_chunks_mut(data);
    cipher.encrypt_blocks(blocks);
}

fn cbc_decrypt<C>(key: &[u8], iv: &[u8], data: &mut [u8])
where
    C: aes::cipher::BlockCipherDecrypt + KeyInit,
{
    let Ok(mut cipher) = cbc::Decryptor::<C>::new_from_slices(key, iv) else {
        unreachable!("lengths were checked with the key");
    };
    let (blocks, _) = Array::slice_as_chunks_mut(data);
    cipher.decrypt_blocks(blocks);
}

fn ctr<C: KeyIvInit + StreamCipher>(key: &[u8], block: &[u8; 16], data: &mut [u8]) {
    let Ok(mut cipher) = C::new_from_slices(key, block) else {
        unreachable!("lengths were checked with the key");
    };
    cipher.apply_keystream(data);
}
