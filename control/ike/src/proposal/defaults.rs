//! What is offered where a connection names no proposals: the MUSTs and SHOULDs of RFC 8247 and RFC 8221, the strongest first.

use super::{Proposal, Protocol};

/// Ciphers with integrity of their own, as most peers have them.
const COMBINED: &str = "aes256gcm16-aes128gcm16-chacha20poly1305-prfsha512-prfsha384-prfsha256";
/// Ciphers with separate integrity, for peers without the others.
const SEPARATE: &str = "aes256-aes192-aes128-sha512-sha384-sha256";
const GROUPS: &str = "x25519-ecp256-ecp384-ecp521-modp3072-modp4096-modp2048";

/// The default proposals of IKE.
///
/// The first asks for ML-KEM-768 after the first key exchange; a peer without RFC 9370 passes over it and takes one of the others.
pub fn default_ike() -> Vec<Proposal> {
    //= RFC 9370 §2.2.1: a peer that does not know the additional key exchanges passes over their proposals
    let texts = [
        format!("{COMBINED}-{GROUPS}-ke1_mlkem768"),
        format!("{SEPARATE}-{GROUPS}-ke1_mlkem768"),
        format!("{COMBINED}-{GROUPS}"),
        format!("{SEPARATE}-{GROUPS}"),
    ];
    parsed(Protocol::Ike, &texts)
}

/// The default proposals of ESP, without a key exchange of their own.
pub fn default_esp() -> Vec<Proposal> {
    let texts = [
        "aes256gcm16-aes128gcm16-chacha20poly1305-esn-noesn".to_owned(),
        "aes256-aes192-aes128-sha512-sha384-sha256-esn-noesn".to_owned(),
    ];
    parsed(Protocol::Esp, &texts)
}

/// The default proposals of AH, without a key exchange of their own.
pub fn default_ah() -> Vec<Proposal> {
    parsed(Protocol::Ah, &["sha512-sha384-sha256-esn-noesn".to_owned()])
}

pub(super) fn of(protocol: Protocol) -> Vec<Proposal> {
    match protocol {
        Protocol::Ike => default_ike(),
        Protocol::Ah => default_ah(),
        Protocol::Esp => default_esp(),
    }
}

/// The tests see to it that each text parses.
fn parsed(protocol: Protocol, texts: &[String]) -> Vec<Proposal> {
    texts
        .iter()
        .filter_map(|text| Proposal::parse(protocol, text).ok())
        .collect()
}
