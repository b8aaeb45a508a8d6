//! What the shared secret is for: proofs in both directions, and keys in an acceptance.

use adit_ike::eap::Msk;
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use super::packet::{Code, HEADER_LEN, Packet, PacketError, kind, within_length};
use crate::secret::Secret;

/// Microsoft's number among vendors.
const MICROSOFT: u32 = 311;
const MS_MPPE_SEND_KEY: u8 = 16;
const MS_MPPE_RECV_KEY: u8 = 17;

/// Why a response is not believed. It is discarded, and the request goes on waiting: anyone can send such a one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Discarded {
    /// It is not a packet.
    #[error(transparent)]
    Malformed(#[from] PacketError),
    /// No request with its identifier is open.
    #[error("a response that nobody waits for")]
    Unasked,
    /// A code that does not answer the request.
    #[error("a response of the wrong kind")]
    Kind,
    /// Its authenticator is not made with our secret and request.
    #[error("the response authenticator is wrong: is the shared secret the same on both sides?")]
    Authenticator,
    /// Nothing protects its attributes.
    #[error("the response has no Message-Authenticator: the server must be told to send it always")]
    Unprotected,
    /// Its Message-Authenticator is not made with our secret and request.
    #[error("the Message-Authenticator is wrong")]
    MessageAuthenticator,
}

/// A request for access with its Message-Authenticator filled in, which must be the first attribute and 16 octets long.
//= RFC 3579 §3.2: HMAC-MD5 over the packet with the Message-Authenticator as zeros
pub(super) fn seal_access(packet: &Packet, secret: &Secret) -> Result<Vec<u8>, PacketError> {
    let mut octets = packet.emit()?;
    let place = HEADER_LEN + 2..HEADER_LEN + 18;
    let mac = hmac(secret, &[&octets]);
    if let Some(place) = octets.get_mut(place) {
        place.copy_from_slice(&mac);
    }
    Ok(octets)
}

/// A request for accounting with its authenticator filled in; the authenticator is returned beside it.
//= RFC 2866 §3: MD5 over the packet with the authenticator as zeros, and the secret
pub(super) fn seal_accounting(
    packet: &Packet,
    secret: &Secret,
) -> Result<(Vec<u8>, [u8; 16]), PacketError> {
    let mut octets = packet.emit()?;
    octets[4..HEADER_LEN].fill(0);
    let authenticator = md5(&[&octets, secret.bytes()]);
    octets[4..HEADER_LEN].copy_from_slice(&authenticator);
    Ok((octets, authenticator))
}

/// Reads a response and believes it only if the secret vouches for it.
pub(super) fn admit(
    datagram: &[u8],
    request: &[u8; 16],
    secret: &Secret,
) -> Result<Packet, Discarded> {
    let octets = within_length(datagram)?;
    let packet = Packet::parse(octets)?;
    //= RFC 2865 §3: the response authenticator is MD5 over the packet with the request's authenticator, and the secret
    let expected = md5(&[&octets[..4], request, &octets[HEADER_LEN..], secret.bytes()]);
    if !bool::from(expected.ct_eq(&packet.authenticator)) {
        return Err(Discarded::Authenticator);
    }
    let is_access = match packet.code {
        Code::AccessAccept | Code::AccessReject | Code::AccessChallenge => true,
        Code::AccountingResponse => false,
        Code::AccessRequest | Code::AccountingRequest | Code::Unknown(_) => {
            return Err(Discarded::Kind);
        }
    };
    if is_access {
        //= RFC 3579 §3.2: what answers an EAP message bears a Message-Authenticator
        check_message_authenticator(octets, &packet, request, secret)?;
    }
    Ok(packet)
}

fn check_message_authenticator(
    octets: &[u8],
    packet: &Packet,
    request: &[u8; 16],
    secret: &Secret,
) -> Result<(), Discarded> {
    let mut at = HEADER_LEN;
    let mut places = packet.attributes.iter().filter_map(|attribute| {
        let begin = at + 2;
        at = begin + attribute.value.len();
        (attribute.kind == kind::MESSAGE_AUTHENTICATOR).then_some(begin..at)
    });
    let place = places.next().ok_or(Discarded::Unprotected)?;
    if places.next().is_some() || place.len() != 16 {
        return Err(Discarded::MessageAuthenticator);
    }
    let expected = hmac(
        secret,
        &[
            &octets[..4],
            request,
            &octets[HEADER_LEN..place.start],
            &[0; 16],
            &octets[place.end..],
        ],
    );
    if expected.ct_eq(&octets[place]).into() {
        Ok(())
    } else {
        Err(Discarded::MessageAuthenticator)
    }
}

/// The master session key of an acceptance: what the server receives with, then what it sends with (RFC 2548 §2.4).
pub(super) fn session_key(packet: &Packet, request: &[u8; 16], secret: &Secret) -> Option<Msk> {
    let key = |kind| open_key(packet.vendor(MICROSOFT, kind)?, request, secret);
    Msk::from_halves(&key(MS_MPPE_RECV_KEY)?, &key(MS_MPPE_SEND_KEY)?)
}

/// A salted key (RFC 2548 §2.4.2).
fn open_key(value: &[u8], request: &[u8; 16], secret: &Secret) -> Option<Zeroizing<Vec<u8>>> {
    let (salt, text) = value.split_first_chunk::<2>()?;
    let (blocks, []) = text.as_chunks::<16>() else {
        return None;
    };
    let mut clear = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut pad = Zeroizing::new(md5(&[secret.bytes(), request, salt]));
    for block in blocks {
        clear.extend(block.iter().zip(pad.iter()).map(|(c, p)| c ^ p));
        *pad = md5(&[secret.bytes(), block]);
    }
    let (length, rest) = clear.split_first()?;
    Some(Zeroizing::new(rest.get(..usize::from(*length))?.to_vec()))
}

fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let digest = parts
        .iter()
        .fold(Md5::new(), |md5, part| md5.chain_update(part));
    digest.finalize().into()
}

fn hmac(secret: &Secret, parts: &[&[u8]]) -> [u8; 16] {
    let mac = Hmac::<Md5>::new_from_slice(secret.bytes()).expect("HMAC takes a key of any length");
    let mac = parts.iter().fold(mac, |mac, part| mac.chain_update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_2865_is_believed_with_its_secret_and_no_other() {
        // RFC 2865 §7.1; such a response has no Message-Authenticator.
        let request = [
            0x0f, 0x40, 0x3f, 0x94, 0x73, 0x97, 0x80, 0x57, 0xbd, 0x83, 0xd5, 0xcb, 0x98, 0xf4,
            0x22, 0x7a,
        ];
        let response = [
            0x02, 0x00, 0x00, 0x26, 0x86, 0xfe, 0x22, 0x0e, 0x76, 0x24, 0xba, 0x2a, 0x10, 0x05,
            0xf6, 0xbf, 0x9b, 0x55, 0xe0, 0xb2, 0x06, 0x06, 0x00, 0x00, 0x00, 0x01, 0x0f, 0x06,
            0x00, 0x00, 0x00, 0x00, 0x0e, 0x06, 0xc0, 0xa8, 0x01, 0x03,
        ];
        let verdict = |secret: &[u8]| admit(&response, &request, &Secret::new(secret.to_vec()));
        assert_eq!(verdict(b"xyzzy5461"), Err(Discarded::Unprotected));
        assert_eq!(verdict(b"xyzzy5462"), Err(Discarded::Authenticator));
    }
}
