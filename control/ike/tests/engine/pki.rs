//! An authority, certificates and keys, and the public-key work that the engine asks for.

use std::sync::Arc;

use adit_ike::cert::{Authority, CertTime, Certificate, ChainJob, Revocation, TrustStore};
use adit_ike::crypto::auth::{AuthMethod, PrivateKey, SignJob, VerifyJob};
use adit_ike::endpoint::{Answer, Credential, Verification};
use adit_ike::identity::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};

/// 2026-07-01.
const NOW: CertTime = CertTime(1_782_864_000);

/// What one end has: a key, a certificate for it, and what it trusts.
pub struct Pki {
    key: Arc<PrivateKey>,
    chain: Vec<Vec<u8>>,
    identity: Identity,
    store: Arc<TrustStore>,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params
}

/// A certificate for each name, all under one authority that all trust.
pub fn certify<const N: usize>(names: [&str; N]) -> [Pki; N] {
    let mut ca = params("authority");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_key = KeyPair::generate().unwrap();
    let root = Certificate::parse(ca.self_signed(&ca_key).unwrap().der()).unwrap();
    let mut store = TrustStore::default();
    store.add_authority(Authority::new(root).unwrap());
    let store = Arc::new(store);
    let issuer = Issuer::new(ca, ca_key);
    names.map(|name| {
        let mut own = params(name);
        own.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        let key = KeyPair::generate().unwrap();
        let certificate = own.signed_by(&key, &issuer).unwrap();
        Pki {
            key: Arc::new(PrivateKey::parse(&key.serialize_der()).unwrap()),
            chain: vec![certificate.der().to_vec()],
            identity: Identity::parse(name).unwrap(),
            store: store.clone(),
        }
    })
}

impl Pki {
    pub fn credential(&self) -> Answer {
        Answer::Credential(Some(Box::new(Credential {
            key: 1,
            raw: false,
            chain: self.chain.clone(),
            identity: Some(self.identity.clone()),
        })))
    }

    pub fn authorities(&self) -> Vec<[u8; 20]> {
        self.store.certreq()
    }

    pub fn sign(&self, hashes: &[u16], octets: &[u8]) -> Answer {
        let job = SignJob::new(self.key.clone(), hashes, octets.to_vec());
        let signature = job.and_then(|job| job.run());
        let result = signature.map(|s| (s.method as u8, s.data));
        Answer::Signature(result.map_err(|e| e.to_string()))
    }

    pub fn verify(&self, v: &Verification) -> Answer {
        let wrong = |e: String| (e, "see the certificates".to_owned());
        let chain = ChainJob {
            store: self.store.clone(),
            chain: v.chain.clone(),
            identity: v.identity.clone(),
            now: NOW,
            certs: v.certs.clone(),
            cacerts: v.cacerts.clone(),
            revocation: Revocation::Relaxed,
        };
        let verified = chain.run().map_err(|e| wrong(e.to_string()));
        Answer::Verified(verified.and_then(|verified| {
            let job = VerifyJob {
                key: verified.certificate.public_key().clone(),
                method: AuthMethod::from_id(v.method).unwrap(),
                data: v.data.clone(),
                octets: v.octets.clone(),
                allow_sha1: false,
            };
            job.run().map(|_| ()).map_err(|e| wrong(e.to_string()))
        }))
    }
}
