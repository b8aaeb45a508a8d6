//! The messages of EAP-MSCHAPv2 (draft-kamath-pppext-eap-mschapv2 §2): what follows the EAP type.

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// From the server: prove that you know the password.
    Challenge {
        /// Matches the response.
        id: u8,
        /// Random octets.
        challenge: [u8; 16],
        /// The server's name.
        name: Vec<u8>,
    },
    /// From the peer: the proof.
    Response {
        /// Of the challenge.
        id: u8,
        /// Random octets of the peer.
        challenge: [u8; 16],
        /// The proof.
        response: [u8; 24],
        /// The peer's name.
        name: Vec<u8>,
    },
    /// From the server: you do, and so do I.
    Success {
        /// Of the challenge.
        id: u8,
        /// `S=` with the server's proof, and a text.
        text: Vec<u8>,
    },
    /// From the peer: indeed you do.
    SuccessAcknowledged,
    /// From the server: you do not.
    Failure {
        /// Of the challenge.
        id: u8,
        /// `E=`, an error number, and more.
        text: Vec<u8>,
    },
    /// From the peer: so be it.
    FailureAcknowledged,
}

const CHALLENGE: u8 = 1;
const RESPONSE: u8 = 2;
const SUCCESS: u8 = 3;
const FAILURE: u8 = 4;

impl Message {
    /// Reads a message of a request (from the server) or a response (from the peer); `None` if it is none.
    pub fn parse(octets: &[u8], is_request: bool) -> Option<Self> {
        let (&code, rest) = octets.split_first()?;
        match (code, is_request) {
            // Some peers send the whole header, some the code alone.
            (SUCCESS, false) => return Some(Self::SuccessAcknowledged),
            (FAILURE, false) => return Some(Self::FailureAcknowledged),
            _ => {}
        }
        let (&[id, high, low], value) = rest.split_first_chunk()?;
        if usize::from(u16::from_be_bytes([high, low])) != octets.len() {
            return None;
        }
        match (code, is_request) {
            (CHALLENGE, true) => {
                let (&size, value) = value.split_first()?;
                let (challenge, name) = value.split_first_chunk()?;
                (size == 16).then(|| Self::Challenge {
                    id,
                    challenge: *challenge,
                    name: name.to_vec(),
                })
            }
            (RESPONSE, false) => {
                let (&size, value) = value.split_first()?;
                let (challenge, value) = value.split_first_chunk()?;
                let (_reserved, value) = value.split_first_chunk::<8>()?;
                let (response, value) = value.split_first_chunk()?;
                let (_flags, name) = value.split_first()?;
                (size == 49).then(|| Self::Response {
                    id,
                    challenge: *challenge,
                    response: *response,
                    name: name.to_vec(),
                })
            }
            (SUCCESS, true) => Some(Self::Success {
                id,
                text: value.to_vec(),
            }),
            (FAILURE, true) => Some(Self::Failure {
                id,
                text: value.to_vec(),
            }),
            _ => None,
        }
    }

    /// Its octets.
    pub fn emit(&self) -> Vec<u8> {
        let (code, id, parts): (u8, u8, &[&[u8]]) = match self {
            Self::Challenge {
                id,
                challenge,
                name,
            } => (CHALLENGE, *id, &[&[16], challenge, name]),
            Self::Response {
                id,
                challenge,
                response,
                name,
            } => (
                RESPONSE,
                *id,
                &[&[49], challenge, &[0; 8], response, &[0], name],
            ),
            Self::Success { id, text } => (SUCCESS, *id, &[text]),
            Self::Failure { id, text } => (FAILURE, *id, &[text]),
            Self::SuccessAcknowledged => return vec![SUCCESS],
            Self::FailureAcknowledged => return vec![FAILURE],
        };
        let value = parts.concat();
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        let mut octets = vec![code, id];
        octets.extend(length.to_be_bytes());
        octets.extend(value);
        octets
    }
}

/// The text of a success: the server's proof in hexadecimal digits (RFC 2759 §5).
pub fn success_text(answer: &[u8; 20]) -> Vec<u8> {
    let digits: String = answer.iter().map(|octet| format!("{octet:02X}")).collect();
    format!("S={digits} M=Welcome").into_bytes()
}

/// The server's proof in the text of a success.
pub fn answer_of(text: &[u8]) -> Option<[u8; 20]> {
    let digits = text.strip_prefix(b"S=")?.get(..40)?;
    let digit = |octet: u8| char::from(octet).to_digit(16);
    let mut answer = [0; 20];
    for (octet, pair) in answer.iter_mut().zip(digits.chunks_exact(2)) {
        *octet = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(answer)
}

/// The text of a failure: wrong name or password (691), no other try (RFC 2759 §6).
pub fn failure_text(challenge: &[u8; 16]) -> Vec<u8> {
    let digits: String = challenge
        .iter()
        .map(|octet| format!("{octet:02X}"))
        .collect();
    format!("E=691 R=0 C={digits} V=3 M=Authentication failed").into_bytes()
}
