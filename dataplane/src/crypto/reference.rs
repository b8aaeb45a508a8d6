//! RustCrypto's primitives: every suite, portable, what the fast provider is checked against.

use super::aead::{Aead, AeadTransform, Nonce};
use super::cbc_hmac::{Cbc, CbcHmacTransform, Chain, Mac};
use super::layout::ICV_LEN;
use super::{KeyError, Keys, Transform};
use adit_abi::Suite;
use aes::cipher::{
    Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt,
    BlockSizeUser, InnerIvInit, KeyInit,
};
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::AesGcm;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, consts::U12, consts::U16};
use chacha20poly1305::ChaCha20Poly1305;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// Makes `suite` ready. The keys' lengths have been checked.
pub(super) fn transform(
    suite: Suite,
    keys: Keys<'_>,
    esn: bool,
) -> Result<Box<dyn Transform>, KeyError> {
    match suite {
        Suite::Aes128Gcm16 => aead::<AesGcm<Aes128, U12>>(suite, keys, esn),
        Suite::Aes192Gcm16 => aead::<AesGcm<Aes192, U12>>(suite, keys, esn),
        Suite::Aes256Gcm16 => aead::<AesGcm<Aes256, U12>>(suite, keys, esn),
        Suite::Chacha20Poly1305 => aead::<ChaCha20Poly1305>(suite, keys, esn),
        Suite::Aes128CbcHmacSha256 => cbc_hmac::<Aes128>(suite, keys, esn),
        Suite::Aes192CbcHmacSha256 => cbc_hmac::<Aes192>(suite, keys, esn),
        Suite::Aes256CbcHmacSha256 => cbc_hmac::<Aes256>(suite, keys, esn),
    }
}

fn aead<A>(suite: Suite, keys: Keys<'_>, esn: bool) -> Result<Box<dyn Transform>, KeyError>
where
    A: Aead + KeyInit + 'static,
{
    let wrong = KeyError::encryption(suite, keys);
    let (key, salt) = keys.enc.split_last_chunk().ok_or(wrong)?;
    let cipher = A::new_from_slice(key).map_err(|_| wrong)?;
    Ok(Box::new(AeadTransform::new(cipher, *salt, esn)))
}

impl<A> Aead for A
where
    A: AeadInOut<NonceSize = U12, TagSize = U16> + Send + Sync,
{
    fn encrypt(&self, nonce: &Nonce, aad: &[u8], body: &mut [u8]) -> Option<[u8; ICV_LEN]> {
        self.encrypt_inout_detached(nonce.into(), aad, InOutBuf::from(body))
            .ok()
            .map(Into::into)
    }

    fn decrypt(&self, nonce: &Nonce, aad: &[u8], body: &mut [u8], tag: &[u8; ICV_LEN]) -> bool {
        self.decrypt_inout_detached(nonce.into(), aad, InOutBuf::from(body), tag.into())
            .is_ok()
    }
}

fn cbc_hmac<C>(suite: Suite, keys: Keys<'_>, esn: bool) -> Result<Box<dyn Transform>, KeyError>
where
    C: KeyInit + Send + Sync + 'static,
    AesCbc<C>: Cbc,
{
    let cipher = AesCbc::<C>::new(keys.enc).ok_or(KeyError::encryption(suite, keys))?;
    let mac = HmacSha256::new(keys.auth).ok_or(KeyError::integrity(suite, keys))?;
    Ok(Box::new(CbcHmacTransform::new(cipher, mac, esn)?))
}

/// AES-CBC over the block cipher `C`, one packet after the other.
pub(super) struct AesCbc<C> {
    pub cipher: C,
}

impl<C: KeyInit> AesCbc<C> {
    /// `None` if `key` has the wrong length.
    pub fn new(key: &[u8]) -> Option<Self> {
        let cipher = C::new_from_slice(key).ok()?;
        Some(Self { cipher })
    }
}

impl<C> Cbc for AesCbc<C>
where
    C: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16> + Send + Sync,
{
    fn encrypt(&self, chains: &mut [Chain<'_>]) {
        for chain in chains {
            cbc::Encryptor::inner_iv_init(&self.cipher, chain.iv.into())
                .encrypt_blocks(Array::cast_slice_from_core_mut(chain.blocks));
        }
    }

    fn decrypt(&self, chain: Chain<'_>) {
        cbc::Decryptor::inner_iv_init(&self.cipher, chain.iv.into())
            .decrypt_blocks(Array::cast_slice_from_core_mut(chain.blocks));
    }
}

/// HMAC-SHA-256 with the inner and outer state after the key's block kept ready.
pub(super) struct HmacSha256(Hmac<Sha256>);

impl HmacSha256 {
    /// `None` if the key is refused.
    pub fn new(key: &[u8]) -> Option<Self> {
        Hmac::new_from_slice(key).ok().map(Self)
    }
}

impl Mac for HmacSha256 {
    fn sum(&self, first: &[u8], second: &[u8]) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(first);
        mac.update(second);
        mac.finalize().into_bytes().into()
    }
}
