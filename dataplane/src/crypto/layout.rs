//! Where the fields of an ESP packet lie.

/// A packet cut at its field boundaries.
pub(super) struct Fields<'a> {
    pub spi: &'a [u8; 4],
    pub sequence_low: &'a mut [u8; 4],
    pub iv: &'a mut [u8],
    /// Payload, padding, pad length and next header: the part that is encrypted.
    pub body: &'a mut [u8],
    pub icv: &'a mut [u8],
}

impl<'a> Fields<'a> {
    /// Cuts `packet`; `None` if it cannot hold the fields of fixed length.
    #[inline]
    pub fn cut(packet: &'a mut [u8], iv_len: usize, icv_len: usize) -> Option<Self> {
        let (spi, rest) = packet.split_first_chunk_mut()?;
        let (sequence_low, rest) = rest.split_first_chunk_mut()?;
        let (iv, rest) = rest.split_at_mut_checked(iv_len)?;
        let (body, icv) = rest.split_at_mut_checked(rest.len().checked_sub(icv_len)?)?;
        Some(Self {
            spi,
            sequence_low,
            iv,
            body,
            icv,
        })
    }
}

/// The low half of `sequence` as it stands in the packet.
#[inline]
pub(super) fn low_half(sequence: u64) -> [u8; 4] {
    let [_, _, _, _, low @ ..] = sequence.to_be_bytes();
    low
}

/// The high half of `sequence`, big-endian: never sent, but authenticated on an SA with ESN.
#[inline]
pub(super) fn high_half(sequence: u64) -> [u8; 4] {
    let [high @ .., _, _, _, _] = sequence.to_be_bytes();
    high
}

/// Whether an SA may use `sequence`: without ESN a number has 32 bits and never wraps.
#[inline]
pub(super) fn sequence_fits(sequence: u64, esn: bool) -> bool {
    //= RFC 4303 §3.3.3: the sender must not send a packet that would make the number cycle
    esn || sequence <= u64::from(u32::MAX)
}

/// What an AEAD authenticates beside the body.
pub(super) struct Aad {
    octets: [u8; 12],
    len: usize,
}

impl Aad {
    /// SPI and sequence number, of 32 bits or of 64 with ESN.
    #[inline]
    pub fn new(spi: [u8; 4], sequence: u64, esn: bool) -> Self {
        //= RFC 4106 §5: SPI, then the 64-bit sequence number with ESN or the 32-bit one without
        //= RFC 4309 §5: the same for AES-CCM
        //= RFC 4543 §3.3: the same for AES-GMAC
        //= RFC 7634 §2.1: the same for ChaCha20-Poly1305
        let mut octets = [0; 12];
        octets[..4].copy_from_slice(&spi);
        if esn {
            octets[4..].copy_from_slice(&sequence.to_be_bytes());
            Self { octets, len: 12 }
        } else {
            octets[4..8].copy_from_slice(&low_half(sequence));
            Self { octets, len: 8 }
        }
    }

    /// The 8 or 12 octets.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}
