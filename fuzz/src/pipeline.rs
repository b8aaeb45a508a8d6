//! Whole gateways: any frame on any port, and any plaintext inside a truly sealed packet.

use std::cell::RefCell;

use adit_abi::{Action, Direction, Integrity, Mode, Prefix, Selector, Spi, Suite};
use adit_dataplane::crypto::{Job, Keys, Provider};
use adit_dataplane::memory_gateway::{MemoryGateway, Site, TunnelPlan, ethernet, tunnel_sa};

thread_local! {
    // Made once: a gateway's frames live as long as the process.
    static PAIR: RefCell<(MemoryGateway, MemoryGateway)> = RefCell::new(pair());
}

/// Two gateways with a tunnel, and beside it SAs in transport mode, in BEET and under AH, between addresses of their own:
/// SPIs 0x3000 and up, one for each pair of mode and protocol.
fn pair() -> (MemoryGateway, MemoryGateway) {
    let (mut a, mut b) = MemoryGateway::pair(&TunnelPlan::default());
    let suites = [Suite::AES128_GCM16, Suite::ah(Integrity::HmacSha256)];
    let mut spi = 0x3000;
    for (mode, suite) in Mode::ALL.into_iter().flat_map(|m| suites.map(|s| (m, s))) {
        for outer_v6 in [false, true] {
            spi += 1;
            let plan = TunnelPlan {
                suite,
                outer_v6,
                ..TunnelPlan::default()
            };
            let mut sa = tunnel_sa(&plan, Spi(spi), Site(1), Site(2));
            sa.mode = mode as u8;
            for gateway in [&mut a, &mut b] {
                let (direction, ends) = match gateway.site {
                    Site(1) => (Direction::Outbound, [1, 2]),
                    _ => (Direction::Inbound, [2, 1]),
                };
                let [local, remote] = ends.map(|n| match mode {
                    Mode::Transport => Site(n).outer(outer_v6),
                    _ => Site(n).gateway(outer_v6),
                });
                let alone = |address| Prefix::from_mapped(address, 128);
                sa.direction = direction as u8;
                sa.selector = Selector::between(alone(local), alone(remote));
                let place = gateway.add_sa(&sa);
                if direction == Direction::Outbound {
                    let slot = gateway.add_policy(sa.selector, u64::from(spi), Action::Protect);
                    gateway.policy.link(slot, Some(place));
                }
            }
        }
    }
    a.refresh();
    b.refresh();
    (a, b)
}

fn with_pair(run: impl FnOnce(&mut MemoryGateway, &mut MemoryGateway)) {
    PAIR.with_borrow_mut(|(a, b)| {
        // An age passes between two inputs, so that rate limits and queues do not hide anything.
        a.now += 10_000_000_000;
        b.now += 10_000_000_000;
        run(a, b);
        for gateway in [a, b] {
            gateway.run();
            for wire in [&mut gateway.inside, &mut gateway.outside, &mut gateway.host] {
                wire.drain();
            }
        }
    });
}

/// From inside: what comes out is carried to the other gateway.
pub fn inside(frame: &[u8]) {
    with_pair(|a, b| {
        if a.inside.inject(frame) {
            a.run();
            for sealed in a.outside.drain() {
                let _ = b.outside.inject(&sealed);
            }
            b.run();
        }
    });
}

/// From outside, without any key: nothing may come out inside.
pub fn outside(frame: &[u8]) {
    with_pair(|a, _| {
        if a.outside.inject(frame) {
            a.run();
            assert_eq!(
                a.inside.drain(),
                Vec::<Vec<u8>>::new(),
                "clear traffic went in"
            );
            // What is for the gateway itself (IKE, say) may go to its kernel, but nothing for a protected address.
            for frame in a.host.drain() {
                assert!(
                    !is_for_protected(&frame),
                    "clear traffic reached a protected own address"
                );
            }
        }
    });
}

/// Whether an Ethernet frame holds a packet from gateway B's network to gateway A's.
fn is_for_protected(frame: &[u8]) -> bool {
    const A6: [u8; 8] = [0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 0];
    const B6: [u8; 8] = [0x20, 0x01, 0x0d, 0xb8, 0, 2, 0, 0];
    match frame.get(14).map(|first| first >> 4) {
        Some(4) => frame.get(26..29) == Some(&[10, 2, 0]) && frame.get(30..33) == Some(&[10, 1, 0]),
        Some(6) => frame.get(22..30) == Some(&B6) && frame.get(38..46) == Some(&A6),
        _ => false,
    }
}

/// From the gateway's own kernel.
pub fn host(frame: &[u8]) {
    with_pair(|a, _| {
        if a.host.inject(frame) {
            a.run();
        }
    });
}

/// What a peer that has the keys can send: any plaintext, trailer included.
pub fn inner(plaintext: &[u8]) {
    with_pair(|a, b| {
        let Some(mut record) = a.reader.sa(a.outbound()) else {
            return;
        };
        let Some(suite) = record.suite() else { return };
        let sequence = {
            let state = a.state.sa(a.outbound().slot).expect("a state");
            state
                .sequence()
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed)
                + 1
        };
        let esp = seal(suite, &record, record.esn(), sequence, plaintext);
        zeroize::Zeroize::zeroize(&mut record);
        let total = (20 + esp.len()) as u16;
        let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 50, 0, 0];
        ip[2..4].copy_from_slice(&total.to_be_bytes());
        ip.extend(record.source.v4_bytes());
        ip.extend(record.destination.v4_bytes());
        let sum = ip
            .chunks_exact(2)
            .map(|w| u32::from(w[0]) << 8 | u32::from(w[1]))
            .sum::<u32>();
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        ip.extend(esp);
        if ip.len() < 1500 && b.outside.inject(&ethernet(b.site.mac(1), &ip)) {
            b.run();
        }
    });
}

fn seal(
    suite: Suite,
    record: &adit_abi::SaRecord,
    esn: bool,
    sequence: u64,
    plaintext: &[u8],
) -> Vec<u8> {
    let keys = Keys {
        enc: &record.enc_key[..suite.enc_key_len()],
        auth: &record.auth_key[..suite.auth_key_len()],
    };
    let transform = Provider::Reference
        .transform(suite, keys, esn)
        .expect("keys of the right length");
    let mut esp = record.spi.0.to_be_bytes().to_vec();
    esp.extend([0; 4]);
    esp.resize(8 + suite.iv_len(), 0);
    esp.extend(plaintext);
    esp.resize(
        esp.len().next_multiple_of(suite.block()) + suite.icv_len(),
        0,
    );
    let mut jobs = [Job::new(&mut esp, sequence)];
    transform.seal(&mut jobs);
    esp
}
