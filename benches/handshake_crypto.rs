//! What the cryptography of an IKE handshake costs, part by part, on one core: key exchanges, keys, signatures, the encrypted payload.
//!
//! `cargo bench --bench handshake_crypto` runs all; `cargo bench --bench handshake_crypto -- ke/x25519` a part.

use adit_ike::crypto::auth::{Hash, PrivateKey, SignJob, VerifyJob};
use adit_ike::crypto::ke::respond;
use adit_ike::crypto::{IkeKeys, KeMethod, KeSecret, KeSeed, KeyContext, Secret};
use adit_ike::proposal::{IkeSuite, Proposal, Protocol};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;

fn seed(octet: u8) -> KeSeed {
    KeSeed::from_fn(|bytes| bytes.fill(octet))
}

/// Both steps of the initiator, and the one of the responder.
fn key_exchanges(c: &mut Criterion) {
    let methods = [
        KeMethod::X25519,
        KeMethod::MlKem768,
        KeMethod::Ecp256,
        KeMethod::Ecp384,
        KeMethod::Ecp521,
        KeMethod::Modp2048,
        KeMethod::Modp3072,
        KeMethod::Modp4096,
    ];
    for method in methods {
        let ours = KeSecret::start(method, seed(1));
        let (answer, _) = respond(method, seed(2), ours.public()).expect("a public value");
        c.bench_function(&format!("ke/{method}/start"), |b| {
            b.iter(|| KeSecret::start(black_box(method), seed(1)));
        });
        c.bench_function(&format!("ke/{method}/respond"), |b| {
            b.iter(|| respond(method, seed(2), black_box(ours.public())));
        });
        c.bench_function(&format!("ke/{method}/finish"), |b| {
            b.iter(|| ours.finish(black_box(&answer)));
        });
    }
}

fn suite(text: &str) -> IkeSuite {
    let proposal = Proposal::parse(Protocol::Ike, text).expect("a proposal");
    IkeSuite::from_chosen(&proposal).expect("a suite")
}

/// The seven keys, and one message of 300 octets sealed and opened.
fn keys_and_messages(c: &mut Criterion) {
    let context = KeyContext {
        nonce_i: &[1; 32],
        nonce_r: &[2; 32],
        spi_i: [3; 8],
        spi_r: [4; 8],
    };
    let shared = Secret::copy_of(&[5; 32]);
    for text in ["aes256gcm16-prfsha384-x25519", "aes256-sha256-x25519"] {
        let suite = suite(text);
        c.bench_function(&format!("keys/{text}"), |b| {
            b.iter(|| IkeKeys::initial(&suite, black_box(&shared), context));
        });
        let keys = IkeKeys::initial(&suite, &shared, context);
        let (cipher, _) = keys.ciphers(&suite).expect("ciphers");
        let iv = vec![7; cipher.iv_len()];
        let mut sealed = Vec::new();
        c.bench_function(&format!("seal/{text}"), |b| {
            b.iter(|| {
                sealed.clear();
                cipher.seal(&[0; 32], &iv, black_box(&[9; 300]), &mut sealed);
            });
        });
        c.bench_function(&format!("open/{text}"), |b| {
            b.iter(|| cipher.open(&[0; 32], black_box(&sealed)));
        });
    }
}

/// The keys of the tests' own PKI are made anew each time, so no key lies in the tree.
fn signatures(c: &mut Criterion) {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair,
    };
    let rsa = |size| {
        let pair = RsaKeyPair::generate(size).expect("a key");
        let der: Pkcs8V1Der<'_> = pair.as_der().expect("DER");
        der.as_ref().to_vec()
    };
    let ecdsa = |algorithm| {
        let pair = EcdsaKeyPair::generate(algorithm).expect("a key");
        pair.to_pkcs8v1().expect("DER").as_ref().to_vec()
    };
    let ed25519 = Ed25519KeyPair::generate().expect("a key");
    let keys = [
        rsa(KeySize::Rsa2048),
        rsa(KeySize::Rsa3072),
        ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING),
        ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING),
        ed25519.to_pkcs8().expect("DER").as_ref().to_vec(),
    ];
    for der in keys {
        let key = Arc::new(PrivateKey::parse(&der).expect("a key"));
        let kind = key.kind();
        let octets = vec![1; 600];
        let sign = SignJob::new(key.clone(), &Hash::ANNOUNCED, octets.clone()).expect("a scheme");
        c.bench_function(&format!("sign/{kind}"), |b| b.iter(|| sign.run()));
        let signature = sign.run().expect("a signature");
        let verify = VerifyJob {
            key: key.public().clone(),
            method: signature.method,
            data: signature.data,
            octets,
            allow_sha1: false,
        };
        c.bench_function(&format!("verify/{kind}"), |b| {
            b.iter_batched(|| verify.clone(), |job| job.run(), BatchSize::SmallInput);
        });
    }
}

criterion_group!(benches, key_exchanges, keys_and_messages, signatures);
criterion_main!(benches);
