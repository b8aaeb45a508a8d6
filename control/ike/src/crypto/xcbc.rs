//! AES-XCBC-MAC, which is only used as a PRF and for its 96-bit ICV (RFC 3566, RFC 4434).

use aes::Aes128;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use zeroize::{Zeroize, Zeroizing};

type Block = [u8; 16];

fn encrypt(cipher: &Aes128, block: &mut Block) {
    let mut array = Array::from(*block);
    cipher.encrypt_block(&mut array);
    *block = array.into();
    array.zeroize();
}

fn derived(key: &Aes128, fill: u8) -> Zeroizing<Block> {
    let mut block = Zeroizing::new([fill; 16]);
    encrypt(key, &mut block);
    block
}

/// AES-XCBC-MAC of the concatenated parts, all 128 bits.
pub(super) fn xcbc(key: &Block, parts: &[&[u8]]) -> Zeroizing<Block> {
    //= RFC 3566 §4: K1, K2 and K3 are the key's encryptions of 01…, 02… and 03…
    let master = Aes128::new(&Array::from(*key));
    let k1 = Aes128::new(&Array::from(*derived(&master, 1)));
    let mut state = Zeroizing::new([0; 16]);
    let mut filled = 0;
    for byte in parts.iter().flat_map(|p| p.iter()) {
        // The last block is kept back: it is treated apart.
        if filled == 16 {
            encrypt(&k1, &mut state);
            filled = 0;
        }
        state[filled] ^= byte;
        filled += 1;
    }
    let last = if filled == 16 {
        derived(&master, 2)
    } else {
        state[filled] ^= 0x80;
        derived(&master, 3)
    };
    state.iter_mut().zip(last.iter()).for_each(|(s, k)| *s ^= k);
    encrypt(&k1, &mut state);
    state
}
