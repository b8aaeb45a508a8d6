//! AES-XCBC-MAC (RFC 3566).

use super::mac::Mac;
use aes::Aes128Enc;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use zeroize::Zeroizing;

type Block = [u8; 16];

/// AES-XCBC-MAC under one key.
pub(super) struct Xcbc {
    /// Under K1.
    cipher: Aes128Enc,
    /// K2, for a last block that is whole.
    whole: Zeroizing<Block>,
    /// K3, for a last block that is padded.
    padded: Zeroizing<Block>,
}

impl Xcbc {
    /// `None` if `key` has not 16 octets.
    pub fn new(key: &[u8]) -> Option<Self> {
        let cipher = Aes128Enc::new_from_slice(key).ok()?;
        //= RFC 3566 §4: K1, K2 and K3 are blocks of 0x01, 0x02 and 0x03 encrypted under the key
        let derived = |octet| {
            let mut block = Zeroizing::new([octet; 16]);
            cipher.encrypt_block((&mut *block).into());
            block
        };
        Some(Self {
            cipher: Aes128Enc::new((&*derived(1)).into()),
            whole: derived(2),
            padded: derived(3),
        })
    }

    #[inline]
    fn absorb(&self, chain: &mut Block, block: &Block) {
        *chain = xor(chain, block);
        self.cipher.encrypt_block(chain.into());
    }
}

fn xor(a: &Block, b: &Block) -> Block {
    (u128::from_ne_bytes(*a) ^ u128::from_ne_bytes(*b)).to_ne_bytes()
}

impl Mac for Xcbc {
    fn sum(&self, parts: &[&[u8]], icv: &mut [u8]) {
        let mut chain = [0; 16];
        // The last block is treated apart, so one is always held back.
        let (mut last, mut filled) = ([0; 16], 0);
        for part in parts {
            let mut octets = *part;
            while !octets.is_empty() {
                if filled == 16 {
                    self.absorb(&mut chain, &last);
                    filled = 0;
                }
                let room = &mut last[filled..];
                let (now, later) = octets.split_at(octets.len().min(room.len()));
                room[..now.len()].copy_from_slice(now);
                filled += now.len();
                octets = later;
            }
        }
        let mask = if filled == 16 {
            &self.whole
        } else {
            //= RFC 3566 §4: a last block that is not whole is padded with a 1 bit and zeros
            last[filled..].fill(0);
            last[filled] = 0x80;
            &self.padded
        };
        self.absorb(&mut chain, &xor(&last, mask));
        for (to, from) in icv.iter_mut().zip(chain) {
            *to = from;
        }
    }
}
