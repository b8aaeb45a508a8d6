//! The ESP suites that both processes know, and the lengths that follow from each.

use core::fmt;

/// An ESP suite: what encrypts and what authenticates, agreed per SA.
///
/// The discriminants are part of the shared memory's layout: never renumber one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Suite {
    /// AES-GCM with a 128-bit key and a 16-octet ICV (RFC 4106).
    Aes128Gcm16 = 1,
    /// AES-GCM with a 192-bit key and a 16-octet ICV (RFC 4106).
    Aes192Gcm16 = 2,
    /// AES-GCM with a 256-bit key and a 16-octet ICV (RFC 4106).
    Aes256Gcm16 = 3,
    /// ChaCha20-Poly1305 (RFC 7634).
    Chacha20Poly1305 = 4,
    /// AES-CBC with a 128-bit key (RFC 3602) and HMAC-SHA-256-128 (RFC 4868).
    Aes128CbcHmacSha256 = 5,
    /// AES-CBC with a 192-bit key (RFC 3602) and HMAC-SHA-256-128 (RFC 4868).
    Aes192CbcHmacSha256 = 6,
    /// AES-CBC with a 256-bit key (RFC 3602) and HMAC-SHA-256-128 (RFC 4868).
    Aes256CbcHmacSha256 = 7,
}

impl Suite {
    /// Every suite, in the order of the discriminants.
    pub const ALL: [Self; 7] = [
        Self::Aes128Gcm16,
        Self::Aes192Gcm16,
        Self::Aes256Gcm16,
        Self::Chacha20Poly1305,
        Self::Aes128CbcHmacSha256,
        Self::Aes192CbcHmacSha256,
        Self::Aes256CbcHmacSha256,
    ];

    /// The suite with this discriminant, `None` for a number that names none.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Aes128Gcm16,
            2 => Self::Aes192Gcm16,
            3 => Self::Aes256Gcm16,
            4 => Self::Chacha20Poly1305,
            5 => Self::Aes128CbcHmacSha256,
            6 => Self::Aes192CbcHmacSha256,
            7 => Self::Aes256CbcHmacSha256,
            _ => return None,
        })
    }

    /// The suite's name as strongSwan's proposals spell it, for people and for the control protocol.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes128Gcm16 => "aes128gcm16",
            Self::Aes192Gcm16 => "aes192gcm16",
            Self::Aes256Gcm16 => "aes256gcm16",
            Self::Chacha20Poly1305 => "chacha20poly1305",
            Self::Aes128CbcHmacSha256 => "aes128-sha256",
            Self::Aes192CbcHmacSha256 => "aes192-sha256",
            Self::Aes256CbcHmacSha256 => "aes256-sha256",
        }
    }

    /// Octets of encryption key, the 4 octets of salt at its end included where the suite has one.
    #[must_use]
    pub const fn enc_key_len(self) -> usize {
        match self {
            //= RFC 4106 §8.1: the keying material is the AES key followed by 4 octets of salt
            Self::Aes128Gcm16 => 16 + 4,
            Self::Aes192Gcm16 => 24 + 4,
            Self::Aes256Gcm16 => 32 + 4,
            //= RFC 7634 §2: 36 octets, the last 4 of them the salt
            Self::Chacha20Poly1305 => 32 + 4,
            Self::Aes128CbcHmacSha256 => 16,
            Self::Aes192CbcHmacSha256 => 24,
            Self::Aes256CbcHmacSha256 => 32,
        }
    }

    /// Octets of integrity key: 0 where the cipher authenticates by itself.
    #[must_use]
    pub const fn auth_key_len(self) -> usize {
        if self.is_counter_mode() {
            return 0;
        }
        //= RFC 4868 §2.1.1: the key is as long as the hash, 32 octets for SHA-256
        32
    }

    /// Octets of IV in the packet, between sequence number and payload.
    #[must_use]
    pub const fn iv_len(self) -> usize {
        if self.is_counter_mode() { 8 } else { 16 }
    }

    /// Payload, padding, pad length and next header together are a multiple of this many octets.
    #[must_use]
    pub const fn block(self) -> usize {
        //= RFC 4303 §2.4: at least 4 octets, more where the cipher's block is larger
        if self.is_counter_mode() { 4 } else { 16 }
    }

    /// Octets of ICV at the end of the packet.
    #[must_use]
    pub const fn icv_len(self) -> usize {
        16
    }

    /// Whether a repeated IV under one key gives the key stream away, as it does in counter modes.
    ///
    /// Such a suite must not be keyed from a file (RFC 8221 §3).
    #[must_use]
    pub const fn is_counter_mode(self) -> bool {
        matches!(
            self,
            Self::Aes128Gcm16 | Self::Aes192Gcm16 | Self::Aes256Gcm16 | Self::Chacha20Poly1305
        )
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Suite;

    #[test]
    fn numbers_round_trip_and_unknown_ones_name_no_suite() {
        for suite in Suite::ALL {
            assert_eq!(Suite::from_u8(suite as u8), Some(suite));
        }
        for number in (0..=255).filter(|n| !(1..=7).contains(n)) {
            assert_eq!(Suite::from_u8(number), None);
        }
    }
}
