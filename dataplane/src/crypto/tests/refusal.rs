//! What must not open, must not seal and must not be made.

use super::{PROVIDERS, body, is_cbc, open, seal, transform, unsealed};
use crate::crypto::{Job, KeyError, Keys};
use adit_abi::{Integrity, Suite};
use proptest::prelude::*;

#[test]
fn a_flipped_bit_anywhere_fails() {
    for suite in Suite::every_esp() {
        for esn in [false, true] {
            for provider in PROVIDERS {
                let transform = transform(provider, suite, 1, esn);
                let mut sealed = unsealed(suite, &[0x42; 48]);
                assert!(seal(&*transform, &mut sealed, 9));
                for bit in 0..sealed.len() * 8 {
                    let mut packet = sealed.clone();
                    packet[bit / 8] ^= 1 << (bit % 8);
                    assert!(!open(&*transform, &mut packet, 9), "{suite} bit {bit}");
                }
                assert!(open(&*transform, &mut sealed, 9), "{suite}");
            }
        }
    }
}

#[test]
fn another_high_half_fails_with_esn() {
    for suite in Suite::every_esp() {
        for provider in PROVIDERS {
            let transform = transform(provider, suite, 1, true);
            let mut sealed = unsealed(suite, &[0x42; 32]);
            assert!(seal(&*transform, &mut sealed, 0x0000_0003_ffff_ffff));
            for wrong in [0x2_ffff_ffff, 0x4_ffff_ffff, 0xffff_ffff, 0x3_ffff_fffe] {
                assert!(
                    !open(&*transform, &mut sealed.clone(), wrong),
                    "{suite} {wrong:#x}"
                );
            }
            assert!(open(&*transform, &mut sealed, 0x3_ffff_ffff), "{suite}");
        }
    }
}

#[test]
fn an_sa_with_esn_and_one_without_do_not_understand_each_other() {
    for suite in Suite::every_esp() {
        for provider in PROVIDERS {
            let [short, long] = [false, true].map(|esn| transform(provider, suite, 1, esn));
            for (sealer, opener) in [(&short, &long), (&long, &short)] {
                let mut packet = unsealed(suite, &[0x42; 32]);
                assert!(seal(&**sealer, &mut packet, 77));
                assert!(!open(&**opener, &mut packet, 77), "{suite}");
            }
        }
    }
}

#[test]
fn without_esn_no_number_above_32_bits_is_sealed_or_opened() {
    for suite in Suite::every_esp() {
        for provider in PROVIDERS {
            let transform = transform(provider, suite, 1, false);
            let mut packet = unsealed(suite, &[0x42; 32]);
            assert!(!seal(&*transform, &mut packet, 1 << 32), "{suite}");
            assert_eq!(
                body(suite, &packet),
                [0x42; 32],
                "{suite}: nothing was encrypted"
            );
            assert!(
                seal(&*transform, &mut packet, u64::from(u32::MAX)),
                "{suite}"
            );
            assert!(!open(&*transform, &mut packet, 0x1_ffff_ffff), "{suite}");
        }
    }
}

#[test]
fn a_burst_of_good_and_bad_packets_has_exactly_the_bad_ones_flagged() {
    for suite in Suite::every_esp() {
        for provider in PROVIDERS {
            let transform = transform(provider, suite, 1, false);
            let clear = |i: usize| vec![i as u8; 16 * (1 + i * 5 % 23)];
            let mut packets: Vec<Vec<u8>> = (0..61).map(|i| unsealed(suite, &clear(i))).collect();
            packets[20].truncate(suite.iv_len());
            packets[33].clear();
            let good = |i: usize| !matches!(i, 20 | 33) && i % 7 != 3;

            let mut jobs: Vec<Job<'_>> = (1..)
                .zip(&mut packets)
                .map(|(n, p)| Job::new(p, n))
                .collect();
            transform.seal(&mut jobs);
            for (i, job) in jobs.iter().enumerate() {
                assert_eq!(job.ok, !matches!(i, 20 | 33), "{suite} sealing {i}");
            }
            for (i, packet) in packets.iter_mut().enumerate().filter(|(i, _)| i % 7 == 3) {
                let at = i * 13 % packet.len();
                packet[at] ^= 0x10;
            }
            let mut jobs: Vec<Job<'_>> = (1..)
                .zip(&mut packets)
                .map(|(n, p)| Job::new(p, n))
                .collect();
            transform.open(&mut jobs);
            for (i, job) in jobs.iter().enumerate() {
                assert_eq!(job.ok, good(i), "{suite} opening {i}");
            }
            for (i, packet) in packets.iter().enumerate().filter(|&(i, _)| good(i)) {
                assert_eq!(body(suite, packet), clear(i), "{suite} {i}");
            }
        }
    }
}

#[test]
fn a_verdict_left_from_before_is_overwritten() {
    for suite in Suite::every_esp() {
        for provider in PROVIDERS {
            let transform = transform(provider, suite, 1, false);
            let mut packet = unsealed(suite, &[0x42; 32]);
            let mut jobs = [Job {
                packet: &mut packet,
                sequence: 1,
                ok: true,
            }];
            transform.open(&mut jobs);
            assert!(!jobs[0].ok, "{suite}");
        }
    }
}

#[test]
fn cbc_mode_refuses_a_body_that_is_not_whole_blocks() {
    for suite in Suite::every_esp().filter(|s| is_cbc(*s)) {
        for provider in PROVIDERS {
            let transform = transform(provider, suite, 1, false);
            for len in (0..64).filter(|len| len % suite.block() != 0) {
                let mut packet = unsealed(suite, &vec![0x42; len]);
                assert!(!seal(&*transform, &mut packet, 1), "{suite} {len}");
                assert!(!open(&*transform, &mut packet, 1), "{suite} {len}");
            }
        }
    }
}

#[test]
fn a_key_of_the_wrong_length_is_refused_with_suite_and_lengths() {
    for suite in Suite::every_esp() {
        for provider in PROVIDERS {
            let (enc, auth) = (suite.enc_key_len(), suite.auth_key_len());
            let long = [0; 64];
            for got in (0..=64).filter(|&got| got != enc) {
                let keys = Keys {
                    enc: &long[..got],
                    auth: &long[..auth],
                };
                let error = provider.transform(suite, keys, false).err();
                assert_eq!(
                    error,
                    Some(KeyError::Encryption {
                        suite,
                        expected: enc,
                        got
                    })
                );
                let text = error.unwrap().to_string();
                assert!(text.contains(&suite.to_string()), "{text}");
                assert!(text.contains(&format!("{enc} octets")), "{text}");
            }
            for got in (0..=64).filter(|&got| got != auth) {
                let keys = Keys {
                    enc: &long[..enc],
                    auth: &long[..got],
                };
                let error = provider.transform(suite, keys, false).err();
                assert_eq!(
                    error,
                    Some(KeyError::Integrity {
                        suite,
                        expected: auth,
                        got
                    })
                );
            }
        }
    }
}

#[test]
fn keys_do_not_show_in_debug_output() {
    let keys = Keys {
        enc: &[0xab; 20],
        auth: &[0xcd; 32],
    };
    let text = format!("{keys:?}").to_lowercase();
    for secret in ["ab", "cd", "171", "205"] {
        assert!(!text.replace("redacted", "").contains(secret), "{text}");
    }
}

#[test]
fn any_short_packet_is_refused() {
    for suite in Suite::every_esp() {
        for provider in PROVIDERS {
            let transform = transform(provider, suite, 1, true);
            for len in 0..8 + suite.iv_len() + suite.icv_len() {
                assert!(!open(&*transform, &mut vec![0; len], 0), "{suite} {len}");
                assert!(!seal(&*transform, &mut vec![0; len], 0), "{suite} {len}");
            }
        }
    }
}

#[test]
fn a_suite_of_ah_makes_no_esp_transform() {
    for suite in Suite::every_ah() {
        let auth = vec![1; suite.auth_key_len()];
        let keys = Keys {
            enc: &[],
            auth: &auth,
        };
        for provider in PROVIDERS {
            let error = provider.transform(suite, keys, false).err();
            assert_eq!(error, Some(KeyError::Ah(suite)));
        }
    }
}

#[test]
fn an_authenticator_refuses_wrong_keys_wrong_lengths_too_many_parts_and_numbers_that_do_not_fit() {
    for integrity in Integrity::all() {
        for provider in PROVIDERS {
            for got in (0..80).filter(|got| *got != integrity.key_len()) {
                let error = provider.authenticator(integrity, &vec![7; got], false);
                assert!(matches!(error.err(), Some(KeyError::Integrity { .. })));
            }
            let key = vec![7; integrity.key_len()];
            let [short, long] = [false, true].map(|esn| {
                let made = provider.authenticator(integrity, &key, esn);
                made.expect("a key of the right length")
            });
            let parts: [&[u8]; 2] = [b"header", b"payload"];
            let mut icv = vec![0; integrity.icv_len()];
            assert!(!short.sign(&parts, 1 << 32, &mut icv), "{integrity}");
            assert!(!short.sign(&[b"x".as_slice(); 16], 1, &mut icv));
            for len in (0..40).filter(|len| *len != integrity.icv_len()) {
                assert!(!short.sign(&parts, 1, &mut vec![0; len]), "{integrity}");
                assert!(!short.verify(&parts, 1, &vec![0; len]), "{integrity}");
            }
            assert!(short.sign(&parts, 1, &mut icv));
            assert!(short.verify(&parts, 1, &icv), "{integrity}");
            assert!(!short.verify(&parts, 1 << 32 | 1, &icv), "{integrity}");
            assert!(!long.verify(&parts, 1, &icv), "{integrity}");
            assert!(!short.verify(&[b"header", b"payloae"], 1, &icv));
            assert!(long.sign(&[b"x".as_slice(); 15], 1 << 32, &mut icv));
            assert!(long.verify(&[b"x".as_slice(); 15], 1 << 32, &icv));
            assert!(!long.verify(&[b"x".as_slice(); 15], 2 << 32, &icv));
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_octets_never_open_and_never_panic(
        suite in prop::sample::select(Suite::every_esp().collect::<Vec<_>>()),
        mut packet in prop::collection::vec(any::<u8>(), 0..300),
        esn: bool,
        high: u32,
    ) {
        let low = packet.get(4..8).map_or([0; 4], |low| low.try_into().unwrap());
        let high = if esn { high } else { 0 };
        let sequence = u64::from(high) << 32 | u64::from(u32::from_be_bytes(low));
        for provider in PROVIDERS {
            let transform = transform(provider, suite, 1, esn);
            prop_assert!(!open(&*transform, &mut packet, sequence));
        }
    }
}
