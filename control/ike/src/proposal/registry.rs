//! The transforms of the IKEv2 registries: numbers, swanctl's names, and which are weak (RFC 8247).

use super::{Protocol, Transform, TransformType};
use TransformType::{Encr, Esn, Integ, Ke, Prf};

/// ENCR_3DES.
pub const ENCR_3DES: u16 = 3;
/// ENCR_NULL.
pub const ENCR_NULL: u16 = 11;
/// ENCR_AES_CBC.
pub const ENCR_AES_CBC: u16 = 12;
/// ENCR_AES_CTR.
pub const ENCR_AES_CTR: u16 = 13;
/// ENCR_AES_CCM_8; 15 and 16 have ICVs of 12 and 16 octets.
pub const ENCR_AES_CCM_8: u16 = 14;
/// ENCR_AES_CCM_16.
pub const ENCR_AES_CCM_16: u16 = 16;
/// ENCR_AES_GCM_8; 19 and 20 have ICVs of 12 and 16 octets.
pub const ENCR_AES_GCM_8: u16 = 18;
/// ENCR_AES_GCM_16.
pub const ENCR_AES_GCM_16: u16 = 20;
/// ENCR_NULL_AUTH_AES_GMAC.
pub const ENCR_NULL_AUTH_AES_GMAC: u16 = 21;
/// ENCR_CHACHA20_POLY1305.
pub const ENCR_CHACHA20_POLY1305: u16 = 28;

/// No transform of this type: integrity of a combined mode, or no key exchange.
pub const NONE: u16 = 0;
/// Sequence numbers of 32 bits.
pub const ESN_NO: u16 = 0;
/// Sequence numbers of 64 bits.
pub const ESN_YES: u16 = 1;

/// A transform's name, and where it may be used.
struct Entry {
    name: &'static str,
    transform: Transform,
    /// Other spellings that swanctl takes.
    aliases: &'static [&'static str],
}

const fn entry(
    name: &'static str,
    transform: Transform,
    aliases: &'static [&'static str],
) -> Entry {
    Entry {
        name,
        transform,
        aliases,
    }
}

const fn encr(name: &'static str, id: u16, bits: u16, aliases: &'static [&'static str]) -> Entry {
    let key_bits = if bits == 0 { None } else { Some(bits) };
    entry(name, Transform::encr(id, key_bits), aliases)
}

const fn other(
    name: &'static str,
    kind: TransformType,
    id: u16,
    aliases: &'static [&'static str],
) -> Entry {
    entry(name, Transform::new(kind, id), aliases)
}

/// Every transform that can be configured, the strongest of a type first where a person is told of them.
#[rustfmt::skip]
static ENTRIES: &[Entry] = &[
    encr("aes128", ENCR_AES_CBC, 128, &["aes"]),
    encr("aes192", ENCR_AES_CBC, 192, &[]),
    encr("aes256", ENCR_AES_CBC, 256, &[]),
    encr("aes128ctr", ENCR_AES_CTR, 128, &[]),
    encr("aes192ctr", ENCR_AES_CTR, 192, &[]),
    encr("aes256ctr", ENCR_AES_CTR, 256, &[]),
    encr("aes128ccm8", 14, 128, &["aes128ccm64"]),
    encr("aes192ccm8", 14, 192, &["aes192ccm64"]),
    encr("aes256ccm8", 14, 256, &["aes256ccm64"]),
    encr("aes128ccm12", 15, 128, &["aes128ccm96"]),
    encr("aes192ccm12", 15, 192, &["aes192ccm96"]),
    encr("aes256ccm12", 15, 256, &["aes256ccm96"]),
    encr("aes128ccm16", 16, 128, &["aes128ccm128", "aes128ccm"]),
    encr("aes192ccm16", 16, 192, &["aes192ccm128", "aes192ccm"]),
    encr("aes256ccm16", 16, 256, &["aes256ccm128", "aes256ccm"]),
    encr("aes128gcm8", 18, 128, &["aes128gcm64"]),
    encr("aes192gcm8", 18, 192, &["aes192gcm64"]),
    encr("aes256gcm8", 18, 256, &["aes256gcm64"]),
    encr("aes128gcm12", 19, 128, &["aes128gcm96"]),
    encr("aes192gcm12", 19, 192, &["aes192gcm96"]),
    encr("aes256gcm12", 19, 256, &["aes256gcm96"]),
    encr("aes128gcm16", 20, 128, &["aes128gcm128", "aes128gcm"]),
    encr("aes192gcm16", 20, 192, &["aes192gcm128", "aes192gcm"]),
    encr("aes256gcm16", 20, 256, &["aes256gcm128", "aes256gcm"]),
    encr("aes128gmac", ENCR_NULL_AUTH_AES_GMAC, 128, &[]),
    encr("aes192gmac", ENCR_NULL_AUTH_AES_GMAC, 192, &[]),
    encr("aes256gmac", ENCR_NULL_AUTH_AES_GMAC, 256, &[]),
    encr("chacha20poly1305", ENCR_CHACHA20_POLY1305, 0, &[]),
    encr("3des", ENCR_3DES, 0, &[]),
    encr("null", ENCR_NULL, 0, &[]),
    other("prfmd5", Prf, 1, &[]),
    other("prfsha1", Prf, 2, &[]),
    other("prfaesxcbc", Prf, 4, &[]),
    other("prfsha256", Prf, 5, &[]),
    other("prfsha384", Prf, 6, &[]),
    other("prfsha512", Prf, 7, &[]),
    other("prfaescmac", Prf, 8, &[]),
    other("md5", Integ, 1, &[]),
    other("sha1", Integ, 2, &["sha"]),
    other("aesxcbc", Integ, 5, &[]),
    other("aescmac", Integ, 8, &[]),
    other("sha256", Integ, 12, &["sha2_256"]),
    other("sha384", Integ, 13, &["sha2_384"]),
    other("sha512", Integ, 14, &["sha2_512"]),
    other("none", Ke, NONE, &["modpnone"]),
    other("modp768", Ke, 1, &[]),
    other("modp1024", Ke, 2, &[]),
    other("modp1536", Ke, 5, &[]),
    other("modp2048", Ke, 14, &[]),
    other("modp3072", Ke, 15, &[]),
    other("modp4096", Ke, 16, &[]),
    other("modp6144", Ke, 17, &[]),
    other("modp8192", Ke, 18, &[]),
    other("ecp256", Ke, 19, &[]),
    other("ecp384", Ke, 20, &[]),
    other("ecp521", Ke, 21, &[]),
    other("x25519", Ke, 31, &["curve25519"]),
    other("mlkem512", Ke, 35, &[]),
    other("mlkem768", Ke, 36, &[]),
    other("mlkem1024", Ke, 37, &[]),
    other("noesn", Esn, ESN_NO, &[]),
    other("esn", Esn, ESN_YES, &[]),
    // The integrity of AH only; swanctl has the same words for the encryption of ESP.
    other("aes128gmac", Integ, 9, &[]),
    other("aes192gmac", Integ, 10, &[]),
    other("aes256gmac", Integ, 11, &[]),
];

/// Names that swanctl knows and we refuse, each with what to use in its place.
static REFUSED: &[(&[&str], &str)] = &[
    (
        &[
            "des", "blowfish", "cast128", "serpent", "twofish", "camellia",
        ],
        "aes256gcm16 or aes256",
    ),
    (&["chacha20poly1305compat"], "chacha20poly1305"),
    (
        &["sha256_96", "sha2_256_96", "sha1_160", "md5_128"],
        "sha256",
    ),
    (&["camelliaxcbc"], "aescmac"),
    (&["prfcamelliaxcbc"], "prfaescmac"),
    (&["modpnull"], "x25519"),
    //= RFC 8247 §2.4: groups 22, 23 and 24 are not to be used, and we have none of them
    (
        &["modp1024s160", "modp2048s224", "modp2048s256"],
        "modp2048",
    ),
    (
        &[
            "ecp192", "ecp224", "ecp224bp", "ecp256bp", "ecp384bp", "ecp512bp",
        ],
        "ecp256 or x25519",
    ),
    (&["curve448", "x448"], "x25519 or ecp521"),
    (
        &["ntru", "kyber", "saber", "bike", "frodo", "hqc", "sike"],
        "mlkem768",
    ),
];

/// The transform of a name, for one protocol.
pub(super) fn by_name(protocol: Protocol, name: &str) -> Option<Transform> {
    let named = |e: &&Entry| e.name == name || e.aliases.contains(&name);
    let fits = |e: &&Entry| match (protocol, e.transform.kind) {
        (Protocol::Ah, Encr) => false,
        (Protocol::Ah, _) => true,
        (_, Integ) => !(9..=11).contains(&e.transform.id),
        _ => true,
    };
    ENTRIES.iter().filter(named).find(fits).map(|e| e.transform)
}

/// What to use in place of a name that swanctl knows and we refuse.
pub(super) fn instead_of(name: &str) -> Option<&'static str> {
    let exact = REFUSED.iter().find(|(names, _)| names.contains(&name));
    let family = || {
        REFUSED.iter().find(|(names, _)| {
            names.iter().any(|n| {
                n.len() >= 4 && n.bytes().all(|b| b.is_ascii_lowercase()) && name.starts_with(n)
            })
        })
    };
    exact.or_else(family).map(|(_, remedy)| *remedy)
}

/// The names of one type that a person may write, without the weak ones.
pub(super) fn names(kind: TransformType) -> Vec<&'static str> {
    let kind = if kind.is_ke() { Ke } else { kind };
    ENTRIES
        .iter()
        .filter(|e| e.transform.kind == kind && !is_weak(&e.transform))
        .map(|e| e.name)
        .collect()
}

/// The name of a transform, as swanctl writes it, without the `keN_` of an additional key exchange.
pub(super) fn name_of(transform: &Transform) -> Option<&'static str> {
    let kind = if transform.kind.is_ke() {
        Ke
    } else {
        transform.kind
    };
    let same = |e: &&Entry| e.transform == Transform { kind, ..*transform };
    ENTRIES.iter().find(same).map(|e| e.name)
}

/// Whether a transform may be used only where a connection names it.
//= RFC 8247 §2.1, §2.2, §2.3, §2.4: 3DES, MD5, SHA-1 and groups below 2048 bits are used by name only
pub fn is_weak(transform: &Transform) -> bool {
    match transform.kind {
        Encr => matches!(transform.id, ENCR_3DES | ENCR_NULL),
        Prf | Integ => matches!(transform.id, 1 | 2),
        Ke | TransformType::AddKe(_) => matches!(transform.id, 1 | 2 | 5),
        Esn | TransformType::Other(_) => false,
    }
}

/// Whether an encryption transform gives integrity as well (RFC 5282).
pub fn is_combined_mode(encr: u16) -> bool {
    matches!(encr, 14..=16 | 18..=20 | ENCR_NULL_AUTH_AES_GMAC | ENCR_CHACHA20_POLY1305)
}

/// The PRF that swanctl takes from an integrity algorithm where a proposal names no PRF.
pub(super) fn prf_of_integrity(integ: u16) -> Option<u16> {
    Some(match integ {
        1 => 1,
        2 => 2,
        5 => 4,
        8 => 8,
        12 => 5,
        13 => 6,
        14 => 7,
        _ => return None,
    })
}
