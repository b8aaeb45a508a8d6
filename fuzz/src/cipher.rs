//! Opening ESP packets of any content and length, under every suite and both providers.

use std::sync::OnceLock;

use adit_abi::Suite;
use adit_dataplane::crypto::{Job, Keys, Provider, Transform};

type Pair = [Box<dyn Transform>; 2];

fn transforms() -> &'static [Pair] {
    static ALL: OnceLock<Vec<Pair>> = OnceLock::new();
    ALL.get_or_init(|| {
        let key = [7; 64];
        let make = |provider: Provider, suite: Suite, esn| {
            let keys = Keys {
                enc: &key[..suite.enc_key_len()],
                auth: &key[..suite.auth_key_len()],
            };
            provider
                .transform(suite, keys, esn)
                .expect("keys of the right length")
        };
        let suites = Suite::every_esp().flat_map(|suite| [(suite, false), (suite, true)]);
        suites
            .map(|(suite, esn)| {
                [
                    make(Provider::Reference, suite, esn),
                    make(Provider::Fast, suite, esn),
                ]
            })
            .collect()
    })
}

pub fn open(data: &[u8]) {
    let Some((head, packet)) = data.split_first_chunk::<9>() else {
        return;
    };
    let all = transforms();
    let [reference, fast] = &all[usize::from(head[0]) % all.len()];
    let sequence = u64::from_le_bytes([
        head[1], head[2], head[3], head[4], head[5], head[6], head[7], head[8],
    ]);
    let verdict = |transform: &dyn Transform| {
        let mut packet = packet.to_vec();
        let mut jobs = [Job::new(&mut packet, sequence)];
        transform.open(&mut jobs);
        let ok = jobs[0].ok;
        ok.then_some(packet)
    };
    assert_eq!(
        verdict(reference.as_ref()),
        verdict(fast.as_ref()),
        "the providers agree"
    );
}
