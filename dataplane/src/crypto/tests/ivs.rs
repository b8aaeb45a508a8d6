//! What the IVs are.

use super::{PROVIDERS, is_cbc, seal, transform, unsealed};
use adit_abi::Suite;
use std::collections::HashSet;

fn iv(suite: Suite, packet: &[u8]) -> &[u8] {
    &packet[8..8 + suite.iv_len()]
}

#[test]
fn in_counter_modes_the_iv_is_the_sequence_number() {
    for suite in Suite::every_esp().filter(|s| s.is_counter_mode()) {
        for provider in PROVIDERS {
            let transform = transform(provider, suite, 1, true);
            for sequence in [1, 0xffff_ffff, 0x1_0000_0000, u64::MAX] {
                let mut packet = unsealed(suite, &[0x42; 16]);
                assert!(seal(&*transform, &mut packet, sequence));
                assert_eq!(iv(suite, &packet), sequence.to_be_bytes());
                assert_eq!(
                    packet[..4],
                    [0x11, 0x22, 0x33, 0x44],
                    "the SPI is left alone"
                );
                assert_eq!(packet[4..8], (sequence as u32).to_be_bytes());
            }
        }
    }
}

#[test]
fn cbc_ivs_never_repeat_and_show_no_counter() {
    for suite in Suite::every_esp().filter(|s| is_cbc(*s)) {
        for provider in PROVIDERS {
            let transform = transform(provider, suite, 1, false);
            let mut seen = HashSet::new();
            let mut before = vec![0; suite.iv_len()];
            for sequence in 1..=500_u64 {
                let mut packet = unsealed(suite, &[0x42; 16]);
                assert!(seal(&*transform, &mut packet, sequence));
                let iv = iv(suite, &packet).to_vec();
                // A counter, or a counter under a mask, changes few bits per step.
                let changed: u32 = iv
                    .iter()
                    .zip(&before)
                    .map(|(a, b)| (a ^ b).count_ones())
                    .sum();
                assert!(changed > 8, "{suite} {sequence}");
                assert!(seen.insert(iv.clone()), "{suite} {sequence}");
                before = iv;
            }
        }
    }
}

#[test]
fn two_transforms_under_the_same_keys_draw_different_cbc_ivs() {
    for suite in Suite::every_esp().filter(|s| is_cbc(*s)) {
        for provider in PROVIDERS {
            let ivs = [(); 2].map(|()| {
                let mut packet = unsealed(suite, &[0x42; 16]);
                assert!(seal(&*transform(provider, suite, 1, false), &mut packet, 1));
                iv(suite, &packet).to_vec()
            });
            assert_ne!(ivs[0], ivs[1], "{suite}");
        }
    }
}
