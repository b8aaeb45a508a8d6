//! What the transforms promise, checked for both providers.

mod agreement;
mod ivs;
mod refusal;
mod vectors;

use super::{Job, Keys, Provider, Transform};
use adit_abi::{Encryption, Suite};

const PROVIDERS: [Provider; 2] = [Provider::Reference, Provider::Fast];

/// A transform under keys that depend on `seed` alone.
fn transform(provider: Provider, suite: Suite, seed: u8, esn: bool) -> Box<dyn Transform> {
    let enc: Vec<u8> = (0..suite.enc_key_len())
        .map(|i| seed.wrapping_add(i as u8))
        .collect();
    let auth: Vec<u8> = (0..suite.auth_key_len())
        .map(|i| seed.wrapping_mul(3) ^ i as u8)
        .collect();
    let keys = Keys {
        enc: &enc,
        auth: &auth,
    };
    provider
        .transform(suite, keys, esn)
        .expect("keys of the right length")
}

/// An ESP packet ready to be sealed: SPI and body written, the rest filled with 0xee.
fn unsealed(suite: Suite, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x11, 0x22, 0x33, 0x44];
    packet.resize(8 + suite.iv_len(), 0xee);
    packet.extend_from_slice(body);
    packet.resize(packet.len() + suite.icv_len(), 0xee);
    packet
}

/// What lies between IV and ICV.
fn body(suite: Suite, packet: &[u8]) -> &[u8] {
    &packet[8 + suite.iv_len()..packet.len() - suite.icv_len()]
}

/// Whether the suite's body must be whole blocks, and its IVs are drawn and not counted.
fn is_cbc(suite: Suite) -> bool {
    matches!(
        suite.encryption(),
        Some(Encryption::AesCbc(_) | Encryption::TripleDesCbc)
    )
}

fn is_confidential(suite: Suite) -> bool {
    suite.encryption().is_some_and(Encryption::is_confidential)
}

fn seal(transform: &dyn Transform, packet: &mut [u8], sequence: u64) -> bool {
    let mut jobs = [Job::new(packet, sequence)];
    transform.seal(&mut jobs);
    jobs[0].ok
}

fn open(transform: &dyn Transform, packet: &mut [u8], sequence: u64) -> bool {
    let mut jobs = [Job::new(packet, sequence)];
    transform.open(&mut jobs);
    jobs[0].ok
}
