//! What is computed from the password: RFC 2759 §8, and the keys of RFC 3079 §3.

use des::Des;
use des::cipher::{BlockCipherEncrypt, KeyInit};
use md4::{Digest, Md4};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::eap::Msk;

/// The hash of a password: as good as the password itself.
pub struct PasswordHash(Zeroizing<[u8; 16]>);

/// What both sides put into the proof.
#[derive(Debug, Clone, Copy)]
pub struct Challenges<'a> {
    /// The authenticator's random octets.
    pub authenticator: &'a [u8; 16],
    /// The peer's random octets.
    pub peer: &'a [u8; 16],
    /// The peer's name.
    pub name: &'a [u8],
}

impl Challenges<'_> {
    /// RFC 2759 §8.2.
    fn hash(&self) -> [u8; 8] {
        // Of `DOMAIN\name` the name alone.
        let name = self.name.rsplit(|octet| *octet == b'\\').next();
        let digest = Sha1::new()
            .chain_update(self.peer)
            .chain_update(self.authenticator)
            .chain_update(name.unwrap_or_default())
            .finalize();
        let mut hash = [0; 8];
        hash.copy_from_slice(&digest[..8]);
        hash
    }
}

impl PasswordHash {
    /// Of a password in UTF-8; octets that are none stand for one character each (RFC 2759 §8.3).
    pub fn new(password: &[u8]) -> Self {
        let mut wide = Zeroizing::new(Vec::with_capacity(password.len() * 2));
        match std::str::from_utf8(password) {
            Ok(text) => wide.extend(text.encode_utf16().flat_map(u16::to_le_bytes)),
            Err(_) => wide.extend(password.iter().flat_map(|octet| [*octet, 0])),
        }
        Self(Zeroizing::new(Md4::digest(&*wide).into()))
    }

    /// RFC 2759 §8.4.
    fn hash(&self) -> Zeroizing<[u8; 16]> {
        Zeroizing::new(Md4::digest(*self.0).into())
    }

    /// The peer's proof (RFC 2759 §8.1, §8.5).
    pub fn response(&self, challenges: &Challenges<'_>) -> [u8; 24] {
        let challenge = challenges.hash();
        let mut padded = Zeroizing::new([0; 21]);
        padded[..16].copy_from_slice(&*self.0);
        let mut response = [0; 24];
        for (block, key) in response.chunks_exact_mut(8).zip(padded.chunks_exact(7)) {
            let mut octets = challenge.into();
            Des::new(&expand(key).into()).encrypt_block(&mut octets);
            block.copy_from_slice(&octets);
        }
        response
    }

    /// The server's proof, in answer to the peer's: 20 octets that are sent as hexadecimal digits (RFC 2759 §8.7).
    pub fn answer(&self, challenges: &Challenges<'_>, response: &[u8; 24]) -> [u8; 20] {
        let digest = Sha1::new()
            .chain_update(*self.hash())
            .chain_update(response)
            .chain_update(b"Magic server to client signing constant")
            .finalize();
        Sha1::new()
            .chain_update(digest)
            .chain_update(challenges.hash())
            .chain_update(b"Pad to make it do more than one iteration")
            .finalize()
            .into()
    }

    /// Whether a response proves the password.
    pub fn verify(&self, challenges: &Challenges<'_>, response: &[u8; 24]) -> bool {
        self.response(challenges).ct_eq(response).into()
    }

    /// The key that comes out (RFC 3079 §3.4): what the server receives with, then what it sends with.
    pub fn msk(&self, response: &[u8; 24]) -> Msk {
        let master = Zeroizing::new(<[u8; 20]>::from(
            Sha1::new()
                .chain_update(*self.hash())
                .chain_update(response)
                .chain_update(b"This is the MPPE Master Key")
                .finalize(),
        ));
        let half = |magic: &[u8]| {
            Zeroizing::new(<[u8; 20]>::from(
                Sha1::new()
                    .chain_update(&master[..16])
                    .chain_update([0; 40])
                    .chain_update(magic)
                    .chain_update([0xf2; 40])
                    .finalize(),
            ))
        };
        let receive = half(
            b"On the client side, this is the send key; on the server side, it is the receive key.",
        );
        let send = half(
            b"On the client side, this is the receive key; on the server side, it is the send key.",
        );
        Msk::from_halves(&receive[..16], &send[..16]).expect("two halves of 16 octets")
    }
}

/// A DES key of 8 octets from 7: seven bits in each, the lowest is parity that nobody looks at.
fn expand(key: &[u8]) -> [u8; 8] {
    let bits = key
        .iter()
        .fold(0_u64, |bits, octet| bits << 8 | u64::from(*octet));
    std::array::from_fn(|at| ((bits >> (49 - 7 * at)) as u8 & 0x7f) << 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHENTICATOR: [u8; 16] = *b"[]|}{?/><,`!2&&(";
    const PEER: [u8; 16] = *b"!@#$%^&*()_+:3|~";

    fn challenges(name: &[u8]) -> Challenges<'_> {
        Challenges {
            authenticator: &AUTHENTICATOR,
            peer: &PEER,
            name,
        }
    }

    fn hex(octets: &[u8]) -> String {
        octets.iter().map(|octet| format!("{octet:02X}")).collect()
    }

    #[test]
    fn the_example_of_rfc_2759_comes_out() {
        // RFC 2759 §9.2.
        let hash = PasswordHash::new(b"clientPass");
        assert_eq!(hex(&challenges(b"User").hash()), "D02E4386BCE91226");
        assert_eq!(hex(&*hash.0), "44EBBA8D5312B8D611474411F56989AE");
        assert_eq!(hex(&*hash.hash()), "41C00C584BD2D91C4017A2A12FA59F3F");
        let response = hash.response(&challenges(b"User"));
        assert_eq!(
            hex(&response),
            "82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF"
        );
        let answer = hash.answer(&challenges(b"User"), &response);
        assert_eq!(hex(&answer), "407A5589115FD0D6209F510FE9C04566932CDA56");
        assert!(hash.verify(&challenges(b"User"), &response));
        assert!(!PasswordHash::new(b"clientpass").verify(&challenges(b"User"), &response));
    }

    #[test]
    fn the_key_of_rfc_3079_comes_out() {
        // RFC 3079 §3.5.3: SendStartKey128, as the server has it.
        let hash = PasswordHash::new(b"clientPass");
        let msk = hash.msk(&hash.response(&challenges(b"User")));
        assert_eq!(
            hex(&msk.as_bytes()[16..32]),
            "8B7CDC149B993A1BA118CB153F56DCCB"
        );
        assert_eq!(msk.as_bytes()[32..], [0; 32]);
    }

    #[test]
    fn a_domain_in_front_of_the_name_is_left_out() {
        assert_eq!(challenges(b"CORP\\User").hash(), challenges(b"User").hash());
    }

    #[test]
    fn des_keys_are_expanded_as_in_the_rfc() {
        // RFC 2759 §9.3, without the parity bits.
        let key = [0xfc, 0x15, 0x6a, 0xf7, 0xed, 0xcd, 0x6c];
        let with_parity = [0xfd, 0x0b, 0x5b, 0x5e, 0x7f, 0x6e, 0x34, 0xd9_u8];
        assert_eq!(expand(&key), with_parity.map(|octet| octet & 0xfe));
    }
}
