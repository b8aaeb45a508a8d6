//! The two providers open what the other one sealed.

use super::{PROVIDERS, body, is_cbc, is_confidential, open, seal, transform, unsealed};
use adit_abi::Suite;
use proptest::prelude::*;

/// Seals with both providers and lets each open what the other one sealed.
fn exchange(suite: Suite, len: usize, esn: bool) {
    let sequence = if esn { 0x1_0000_0007 } else { 7 };
    let ready = PROVIDERS.map(|provider| transform(provider, suite, 5, esn));
    let clear: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
    let mut packets = [(); 2].map(|()| unsealed(suite, &clear));
    for (sealer, packet) in ready.iter().zip(&mut packets) {
        assert!(seal(&**sealer, packet, sequence), "{suite} {len}");
        assert!(
            len < 16 || (body(suite, packet) != clear) == is_confidential(suite),
            "{suite} {len}: nothing was encrypted"
        );
    }
    if !is_cbc(suite) {
        assert_eq!(packets[0], packets[1], "{suite} {len}");
    }
    for (opener, packet) in ready.iter().rev().zip(&mut packets) {
        assert!(open(&**opener, packet, sequence), "{suite} {len}");
        assert_eq!(body(suite, packet), clear, "{suite} {len}");
    }
}

#[test]
fn each_provider_opens_what_the_other_sealed_at_many_lengths() {
    for suite in Suite::each_esp_transform() {
        let step = if is_cbc(suite) { suite.block() } else { 1 };
        // All that end differently, and some long ones.
        let lengths = (0..=2_032).step_by(step);
        let lengths = lengths.filter(|len| *len <= 160 || len % 240 < 2 * step);
        for (i, len) in lengths.enumerate() {
            exchange(suite, len, i % 2 == 1);
        }
    }
}

proptest! {
    #[test]
    fn each_provider_opens_what_either_sealed_at_any_alignment(
        suite in prop::sample::select(Suite::every_esp().collect::<Vec<_>>()),
        seed: u8,
        esn: bool,
        sequence: u64,
        blocks in 0_usize..130,
        offset in 0_usize..64,
        fill: u8,
        sealer in 0_usize..2,
    ) {
        let sequence = if esn { sequence } else { u64::from(sequence as u32) };
        let clear = vec![fill; blocks * suite.block()];
        let sealer = transform(PROVIDERS[sealer], suite, seed, esn);
        let mut buffer = vec![0xa5; offset];
        buffer.extend(unsealed(suite, &clear));
        buffer.resize(buffer.len() + 64, 0xa5);
        let end = buffer.len() - 64;
        prop_assert!(seal(&*sealer, &mut buffer[offset..end], sequence));
        for opener in PROVIDERS {
            let mut buffer = buffer.clone();
            let opener = transform(opener, suite, seed, esn);
            prop_assert!(open(&*opener, &mut buffer[offset..end], sequence));
            prop_assert_eq!(body(suite, &buffer[offset..end]), &clear[..]);
            prop_assert!(buffer[..offset].iter().chain(&buffer[end..]).all(|&b| b == 0xa5));
        }
    }
}
