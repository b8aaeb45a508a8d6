//! RustCrypto's primitives: every suite, portable, what the fast provider is checked against.

use super::aead::{Aead, AeadTransform, Nonce};
use super::authenticator::{Authenticator, GmacAuthenticator, MacAuthenticator};
use super::cbc::{Cbc, CbcCipher, Chain};
use super::ctr::AesCtr;
use super::gcm::{self, Gcm, Gmac};
use super::mac::Mac;
use super::separate::{Cipher, NullCipher, SeparateTransform};
use super::xcbc::Xcbc;
use super::{KeyError, Keys, Transform};
use adit_abi::{AesKey, Encryption, IcvLen, Integrity, Suite};
use aes::cipher::{
    Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt,
    BlockSizeUser, InnerIvInit, KeyInit,
};
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::AesGcm;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{
    AeadInOut,
    consts::{U8, U11, U12, U16},
};
use ccm::Ccm;
use chacha20poly1305::ChaCha20Poly1305;
use cmac::Cmac;
use des::TdesEde3;
use hmac::Hmac;
use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

/// Makes `suite` ready. The keys' lengths have been checked.
pub(super) fn transform(
    suite: Suite,
    keys: Keys<'_>,
    esn: bool,
) -> Result<Box<dyn Transform>, KeyError> {
    match suite.encryption().ok_or(KeyError::Ah(suite))? {
        Encryption::Null => separate(NullCipher, suite, keys, esn),
        Encryption::TripleDesCbc => {
            let cipher = cipher::<TripleDesCbc>(suite, keys)?;
            separate(CbcCipher::new(cipher)?, suite, keys, esn)
        }
        Encryption::AesCbc(AesKey::Bits128) => aes_cbc::<Aes128>(suite, keys, esn),
        Encryption::AesCbc(AesKey::Bits192) => aes_cbc::<Aes192>(suite, keys, esn),
        Encryption::AesCbc(AesKey::Bits256) => aes_cbc::<Aes256>(suite, keys, esn),
        Encryption::AesCtr(AesKey::Bits128) => aes_ctr::<Aes128>(suite, keys, esn),
        Encryption::AesCtr(AesKey::Bits192) => aes_ctr::<Aes192>(suite, keys, esn),
        Encryption::AesCtr(AesKey::Bits256) => aes_ctr::<Aes256>(suite, keys, esn),
        Encryption::AesGcm(AesKey::Bits128, icv) => aes_gcm::<Aes128>(icv, suite, keys, esn),
        Encryption::AesGcm(AesKey::Bits192, icv) => aes_gcm::<Aes192>(icv, suite, keys, esn),
        Encryption::AesGcm(AesKey::Bits256, icv) => aes_gcm::<Aes256>(icv, suite, keys, esn),
        Encryption::AesCcm(AesKey::Bits128, icv) => aes_ccm::<Aes128>(icv, suite, keys, esn),
        Encryption::AesCcm(AesKey::Bits192, icv) => aes_ccm::<Aes192>(icv, suite, keys, esn),
        Encryption::AesCcm(AesKey::Bits256, icv) => aes_ccm::<Aes256>(icv, suite, keys, esn),
        Encryption::NullAesGmac(AesKey::Bits128) => aes_gmac::<Aes128>(suite, keys, esn),
        Encryption::NullAesGmac(AesKey::Bits192) => aes_gmac::<Aes192>(suite, keys, esn),
        Encryption::NullAesGmac(AesKey::Bits256) => aes_gmac::<Aes256>(suite, keys, esn),
        Encryption::Chacha20Poly1305 => aead(Standard::<ChaCha20Poly1305>::new, suite, keys, esn),
    }
}

/// Makes AH's `integrity` ready. The key's length has been checked.
pub(super) fn authenticator(
    integrity: Integrity,
    key: &[u8],
    esn: bool,
) -> Result<Box<dyn Authenticator>, KeyError> {
    fn gmac<C: gcm::Block + KeyInit + 'static>(
        key: &[u8],
        esn: bool,
    ) -> Option<Box<dyn Authenticator>> {
        let (key, salt) = key.split_last_chunk()?;
        let gcm = Gcm::<C>::new(key)?;
        Some(Box::new(GmacAuthenticator::new(gcm, *salt, esn)))
    }
    let made = match integrity {
        Integrity::AesGmac(AesKey::Bits128) => gmac::<Aes128>(key, esn),
        Integrity::AesGmac(AesKey::Bits192) => gmac::<Aes192>(key, esn),
        Integrity::AesGmac(AesKey::Bits256) => gmac::<Aes256>(key, esn),
        _ => mac(integrity, key).map(|mac| -> Box<dyn Authenticator> {
            Box::new(MacAuthenticator::new(mac, integrity.icv_len(), esn))
        }),
    };
    made.ok_or(KeyError::Integrity {
        suite: Suite::ah(integrity),
        expected: integrity.key_len(),
        got: key.len(),
    })
}

/// The MAC of an integrity transform; `None` for a wrong key, and for AES-GMAC, which needs a nonce.
pub(super) fn mac(integrity: Integrity, key: &[u8]) -> Option<Box<dyn Mac>> {
    fn keyed<M>(key: &[u8]) -> Option<Box<dyn Mac>>
    where
        M: hmac::Mac + KeyInit + Clone + Send + Sync + 'static,
    {
        let mac = <M as KeyInit>::new_from_slice(key).ok()?;
        Some(Box::new(KeyedMac(mac)))
    }
    match integrity {
        Integrity::HmacMd5 => keyed::<Hmac<Md5>>(key),
        Integrity::HmacSha1 => keyed::<Hmac<Sha1>>(key),
        Integrity::HmacSha256 => keyed::<Hmac<Sha256>>(key),
        Integrity::HmacSha384 => keyed::<Hmac<Sha384>>(key),
        Integrity::HmacSha512 => keyed::<Hmac<Sha512>>(key),
        Integrity::AesCmac => keyed::<Cmac<Aes128>>(key),
        Integrity::AesXcbc => Some(Box::new(Xcbc::new(key)?)),
        Integrity::AesGmac(_) => None,
    }
}

/// A MAC with what depends on the key alone kept ready, such as HMAC's inner and outer state.
struct KeyedMac<M>(M);

impl<M: hmac::Mac + Clone + Send + Sync> Mac for KeyedMac<M> {
    fn sum(&self, parts: &[&[u8]], icv: &mut [u8]) {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        //= RFC 4868 §2.3: the ICV is the beginning of the MAC; RFC 2403 §2, 2404 §3, 3566 §4 and 4494 §2 agree
        for (to, from) in icv.iter_mut().zip(mac.finalize().into_bytes()) {
            *to = from;
        }
    }
}

/// The suite's cipher made of its encryption key.
fn cipher<C: KeyInit>(suite: Suite, keys: Keys<'_>) -> Result<C, KeyError> {
    C::new_from_slice(keys.enc).map_err(|_| KeyError::encryption(suite, keys))
}

/// `cipher` beside the suite's integrity transform.
pub(super) fn separate<C: Cipher + 'static>(
    cipher: C,
    suite: Suite,
    keys: Keys<'_>,
    esn: bool,
) -> Result<Box<dyn Transform>, KeyError> {
    let mac = suite
        .integrity()
        .and_then(|integrity| mac(integrity, keys.auth));
    let mac = mac.ok_or(KeyError::integrity(suite, keys))?;
    Ok(Box::new(SeparateTransform::new(
        cipher,
        mac,
        suite.icv_len(),
        esn,
    )))
}

/// The AEAD that `make` makes of the key, under the salt behind it.
pub(super) fn aead<A: Aead<ICV> + 'static, const ICV: usize>(
    make: impl FnOnce(&[u8]) -> Option<A>,
    suite: Suite,
    keys: Keys<'_>,
    esn: bool,
) -> Result<Box<dyn Transform>, KeyError> {
    let wrong = KeyError::encryption(suite, keys);
    let (key, salt) = keys.enc.split_last_chunk().ok_or(wrong)?;
    let cipher = make(key).ok_or(wrong)?;
    Ok(Box::new(AeadTransform::new(cipher, *salt, esn)))
}

fn aes_gcm<C>(
    icv: IcvLen,
    suite: Suite,
    keys: Keys<'_>,
    esn: bool,
) -> Result<Box<dyn Transform>, KeyError>
where
    C: gcm::Block + KeyInit + 'static,
    Standard<AesGcm<C, U12>>: Aead<16>,
    AesGcm<C, U12>: KeyInit,
{
    match icv {
        IcvLen::Octets8 => aead::<_, 8>(Gcm::<C>::new, suite, keys, esn),
        IcvLen::Octets12 => aead::<_, 12>(Gcm::<C>::new, suite, keys, esn),
        IcvLen::Octets16 => aead(Standard::<AesGcm<C, U12>>::new, suite, keys, esn),
    }
}

fn aes_gmac<C: gcm::Block + KeyInit + 'static>(
    suite: Suite,
    keys: Keys<'_>,
    esn: bool,
) -> Result<Box<dyn Transform>, KeyError> {
    aead(|key| Gcm::<C>::new(key).map(Gmac), suite, keys, esn)
}

fn aes_ccm<C: gcm::Block + KeyInit + 'static>(
    icv: IcvLen,
    suite: Suite,
    keys: Keys<'_>,
    esn: bool,
) -> Result<Box<dyn Transform>, KeyError> {
    let wrong = KeyError::encryption(suite, keys);
    let (key, salt) = keys.enc.split_last_chunk::<3>().ok_or(wrong)?;
    let cipher = C::new_from_slice(key).map_err(|_| wrong)?;
    let salt = [0, salt[0], salt[1], salt[2]];
    Ok(match icv {
        IcvLen::Octets8 => Box::new(AeadTransform::new(
            AesCcm(Ccm::<C, U8, U11>::from(cipher)),
            salt,
            esn,
        )),
        IcvLen::Octets12 => Box::new(AeadTransform::new(
            AesCcm(Ccm::<C, U12, U11>::from(cipher)),
            salt,
            esn,
        )),
        IcvLen::Octets16 => Box::new(AeadTransform::new(
            AesCcm(Ccm::<C, U16, U11>::from(cipher)),
            salt,
            esn,
        )),
    })
}

fn aes_ctr<C: gcm::Block + KeyInit + 'static>(
    suite: Suite,
    keys: Keys<'_>,
    esn: bool,
) -> Result<Box<dyn Transform>, KeyError> {
    let cipher = AesCtr::<C>::new(keys.enc).ok_or(KeyError::encryption(suite, keys))?;
    separate(cipher, suite, keys, esn)
}

fn aes_cbc<C>(suite: Suite, keys: Keys<'_>, esn: bool) -> Result<Box<dyn Transform>, KeyError>
where
    C: KeyInit + 'static,
    AesCbc<C>: Cbc<16>,
{
    let cipher = AesCbc(cipher::<C>(suite, keys)?);
    separate(CbcCipher::new(cipher)?, suite, keys, esn)
}

/// An AEAD of RustCrypto with a nonce of 12 octets and a tag of 16.
pub(super) struct Standard<A>(A);

impl<A: KeyInit> Standard<A> {
    /// `None` if `key` has the wrong length.
    pub fn new(key: &[u8]) -> Option<Self> {
        A::new_from_slice(key).ok().map(Self)
    }
}

impl<A> Aead<16> for Standard<A>
where
    A: AeadInOut<NonceSize = U12, TagSize = U16> + Send + Sync,
{
    fn encrypt(&self, nonce: &Nonce, aad: &[u8], body: &mut [u8]) -> Option<[u8; 16]> {
        self.0
            .encrypt_inout_detached(nonce.into(), aad, InOutBuf::from(body))
            .ok()
            .map(Into::into)
    }

    fn decrypt(&self, nonce: &Nonce, aad: &[u8], body: &mut [u8], tag: &[u8; 16]) -> bool {
        self.0
            .decrypt_inout_detached(nonce.into(), aad, InOutBuf::from(body), tag.into())
            .is_ok()
    }
}

/// AES-CCM, whose nonce has 11 octets.
pub(super) struct AesCcm<A>(pub A);

impl<A, const ICV: usize> Aead<ICV> for AesCcm<A>
where
    A: AeadInOut<NonceSize = U11> + Send + Sync,
    Array<u8, A::TagSize>: Into<[u8; ICV]>,
    for<'a> &'a Array<u8, A::TagSize>: From<&'a [u8; ICV]>,
{
    fn encrypt(&self, nonce: &Nonce, aad: &[u8], body: &mut [u8]) -> Option<[u8; ICV]> {
        let (_, nonce) = nonce.split_last_chunk::<11>()?;
        self.0
            .encrypt_inout_detached(nonce.into(), aad, InOutBuf::from(body))
            .ok()
            .map(Into::into)
    }

    fn decrypt(&self, nonce: &Nonce, aad: &[u8], body: &mut [u8], tag: &[u8; ICV]) -> bool {
        let Some((_, nonce)) = nonce.split_last_chunk::<11>() else {
            return false;
        };
        self.0
            .decrypt_inout_detached(nonce.into(), aad, InOutBuf::from(body), tag.into())
            .is_ok()
    }
}

/// AES-CBC over the block cipher `C`, one packet after the other.
pub(super) struct AesCbc<C>(pub C);

impl<C> Cbc<16> for AesCbc<C>
where
    C: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16> + Send + Sync,
{
    fn encrypt(&self, chains: &mut [Chain<'_, 16>]) {
        for chain in chains {
            cbc::Encryptor::inner_iv_init(&self.0, chain.iv.into())
                .encrypt_blocks(Array::cast_slice_from_core_mut(chain.blocks));
        }
    }

    fn decrypt(&self, chain: Chain<'_, 16>) {
        cbc::Decryptor::inner_iv_init(&self.0, chain.iv.into())
            .decrypt_blocks(Array::cast_slice_from_core_mut(chain.blocks));
    }
}

/// 3DES-CBC with three keys, one packet after the other (RFC 2451).
pub(super) type TripleDesCbc = TdesEde3;

impl Cbc<8> for TripleDesCbc {
    fn encrypt(&self, chains: &mut [Chain<'_, 8>]) {
        for chain in chains {
            cbc::Encryptor::inner_iv_init(self, chain.iv.into())
                .encrypt_blocks(Array::cast_slice_from_core_mut(chain.blocks));
        }
    }

    fn decrypt(&self, chain: Chain<'_, 8>) {
        cbc::Decryptor::inner_iv_init(self, chain.iv.into())
            .decrypt_blocks(Array::cast_slice_from_core_mut(chain.blocks));
    }
}
