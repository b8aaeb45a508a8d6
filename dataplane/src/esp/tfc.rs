//! Against traffic analysis: padding in front of ESP's own (RFC 4303 §2.7), and dummy packets (RFC 4303 §2.6).

use adit_abi::Side;

use crate::frame::Frame;
use crate::hash::{fold, secret_seed};
use crate::headers::{ipv4, protocol};
use crate::packet::{Fragment, Packet};
use crate::sad::SaContext;

/// Bytes that a payload is padded with in front of ESP's padding.
#[inline]
pub fn padding(sa: &SaContext, payload: usize) -> usize {
    //= RFC 4303 §2.7: TFC padding goes where the payload tells its own length: in tunnel mode
    usize::from(sa.pad_to).saturating_sub(payload)
}

/// What a dummy stands for until it is sealed: no port has this number.
const DUMMY: u8 = u8::MAX;

/// Whether a packet is a dummy of this gateway's own.
#[inline]
pub fn is_dummy(packet: &Packet) -> bool {
    packet.port == DUMMY && packet.protocol == protocol::NONE
}

/// A dummy packet of about `length` bytes in an empty frame; the frame back if it is too small.
///
/// It begins with an IP header, so that the outer header has something to inherit from.
///
/// # Errors
/// The frame.
pub fn dummy(mut frame: Frame, length: usize) -> Result<Packet, Frame> {
    if !frame.grow_back(length.max(ipv4::LEN)) {
        return Err(frame);
    }
    let bytes = frame.bytes_mut();
    bytes.fill(0);
    if let Some(first) = bytes.first_mut() {
        *first = 0x45;
    }
    let nobody = adit_abi::Address::v4([0; 4]);
    Ok(Packet {
        frame,
        source: nobody,
        destination: nobody,
        protocol: protocol::NONE,
        port: DUMMY,
        side: Side::Host,
        fragment: Fragment::Whole,
        upper: ipv4::LEN as u16,
        ports: Some([0; 2]),
    })
}

/// Lengths of dummies that tell an observer nothing: any that a packet might have.
pub struct DummyLengths(u64);

impl Default for DummyLengths {
    fn default() -> Self {
        Self(secret_seed())
    }
}

impl DummyLengths {
    /// The next length, at most `mtu`.
    pub fn next(&mut self, mtu: usize) -> usize {
        self.0 = fold(self.0.wrapping_add(1), 0x9e37_79b9_7f4a_7c15) | 1;
        let span = mtu.saturating_sub(ipv4::LEN).max(1) as u64;
        ipv4::LEN + (self.0 >> 16) as usize % span as usize
    }
}
