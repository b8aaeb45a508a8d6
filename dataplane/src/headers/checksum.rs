//! The Internet checksum (RFC 1071), whole and incremental (RFC 1624).

use adit_abi::Address;

/// A running one's-complement sum.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// An empty sum.
    pub const fn new() -> Self {
        Self(0)
    }

    /// Adds bytes; only the last piece of a message may have an odd length.
    #[must_use]
    pub fn add_bytes(self, bytes: &[u8]) -> Self {
        let mut sum = self.0;
        let (words, rest) = bytes.as_chunks::<4>();
        for word in words {
            sum += u64::from(u32::from_be_bytes(*word));
        }
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        Self(sum + u64::from(u32::from_be_bytes(last)))
    }

    /// Adds one 16-bit word, host byte order.
    #[must_use]
    pub const fn add_word(self, word: u16) -> Self {
        Self(self.0 + word as u64)
    }

    /// Adds the pseudo header of TCP, UDP and ICMPv6 (RFC 9293 §3.1, RFC 8200 §8.1).
    #[must_use]
    pub fn add_pseudo_header(
        self,
        source: &Address,
        destination: &Address,
        protocol: u8,
        length: usize,
    ) -> Self {
        let sum = if source.is_v4() {
            self.add_bytes(&source.v4_bytes())
                .add_bytes(&destination.v4_bytes())
        } else {
            self.add_bytes(&source.0).add_bytes(&destination.0)
        };
        Self(sum.0 + u64::from(protocol) + length as u64)
    }

    /// The sum folded to 16 bits; `0xffff` over a message with a right checksum.
    pub const fn fold(self) -> u16 {
        let mut sum = self.0;
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    /// The checksum to write, host byte order.
    pub const fn finish(self) -> u16 {
        !self.fold()
    }
}

/// The checksum of a header in which one 16-bit word changed (RFC 1624 §3, equation 3).
#[must_use]
pub const fn replaced(checksum: u16, old: u16, new: u16) -> u16 {
    let mut sum = (!checksum) as u32 + (!old) as u32 + new as u32;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_1071_adds_up() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::new().add_bytes(&bytes).fold(), 0xddf2);
    }

    #[test]
    fn an_odd_last_byte_counts_as_the_high_half_of_its_word() {
        assert_eq!(Sum::new().add_bytes(&[1, 2, 3]).fold(), 0x0102 + 0x0300);
    }

    proptest! {
        #[test]
        fn an_incremental_checksum_equals_a_full_one(
            mut bytes in proptest::collection::vec(any::<u8>(), 20), at in 0usize..10, new: u16
        ) {
            // RFC 1624 §3: the two forms differ in how they write zero only if everything is zero.
            bytes[0] |= 0x45;
            let before = Sum::new().add_bytes(&bytes).finish();
            let old = u16::from_be_bytes([bytes[at * 2], bytes[at * 2 + 1]]);
            bytes[at * 2..at * 2 + 2].copy_from_slice(&new.to_be_bytes());
            let whole = Sum::new().add_bytes(&bytes);
            prop_assume!(whole.fold() != 0);
            let after = replaced(before, old, new);
            prop_assert_eq!(whole.add_word(after).fold(), 0xffff);
        }
    }
}
