//! Certificates, authorities, revocation lists and private keys, as they were loaded over the control socket.

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_ike::cert::{
    Authority, CertError, CertTime, Certificate, ChainJob, Crl, KeyHash, Revocation, TrustStore,
};
use adit_ike::config::LocalAuth;
use adit_ike::crypto::auth::{AuthMethod, PrivateKey, SignJob, VerifyJob};
use adit_ike::endpoint::{Credential, Verification};
use adit_ike::identity::Identity;
use sha1::{Digest, Sha1};

/// Certificates and lists kept, at most.
const MOST: usize = 1 << 16;

/// The number of an AUTH method and the authentication data, or what is wrong.
pub type Signed = Result<(u8, Vec<u8>), String>;

/// What a loaded certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// An end's own.
    None,
    /// An authority's.
    Authority,
}

/// Everything that was loaded.
#[derive(Default)]
pub struct Credentials {
    authorities: BTreeMap<String, Authority>,
    loaded_authorities: Vec<Certificate>,
    certificates: Vec<Arc<Certificate>>,
    /// As they came; the store reads them.
    crls: Vec<Vec<u8>>,
    keys: BTreeMap<KeyHash, (u64, Arc<PrivateKey>)>,
    last_key: u64,
    store: Arc<TrustStore>,
}

impl Credentials {
    /// Loads a certificate in PEM or DER.
    ///
    /// # Errors
    /// Why it cannot be used; nothing has changed then.
    pub fn load_certificate(&mut self, octets: &[u8], flag: Flag) -> Result<(), String> {
        let certificate = Certificate::parse(octets).map_err(|e| e.to_string())?;
        if self.certificates.len() + self.loaded_authorities.len() >= MOST {
            return Err(format!("{MOST} certificates are loaded: clear some first"));
        }
        match flag {
            Flag::Authority => {
                // Says why not, if it is none.
                Authority::new(certificate.clone()).map_err(|e| e.to_string())?;
                if !self.loaded_authorities.contains(&certificate) {
                    self.loaded_authorities.push(certificate);
                }
            }
            Flag::None if self.certificates.iter().any(|c| **c == certificate) => {}
            Flag::None => self.certificates.push(Arc::new(certificate)),
        }
        self.rebuild();
        Ok(())
    }

    /// Loads a revocation list in PEM or DER.
    ///
    /// # Errors
    /// Why it cannot be used; nothing has changed then.
    pub fn load_crl(&mut self, octets: &[u8]) -> Result<(), String> {
        Crl::parse(octets)?;
        if self.crls.len() >= MOST {
            return Err(format!(
                "{MOST} revocation lists are loaded: flush them first"
            ));
        }
        self.crls.push(octets.to_vec());
        self.rebuild();
        Ok(())
    }

    /// Loads a private key in PEM or DER; gives the SHA-1 of its public half, by which it is named.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn load_key(&mut self, octets: &[u8]) -> Result<KeyHash, String> {
        let key = PrivateKey::parse(octets).map_err(|e| e.to_string())?;
        let name: KeyHash = Sha1::digest(key.public().to_spki()).into();
        if !self.keys.contains_key(&name) {
            self.last_key += 1;
            self.keys.insert(name, (self.last_key, Arc::new(key)));
        }
        Ok(name)
    }

    /// Forgets a private key; whether there was one.
    pub fn unload_key(&mut self, name: &KeyHash) -> bool {
        self.keys.remove(name).is_some()
    }

    /// The names of the private keys.
    pub fn keys(&self) -> impl Iterator<Item = &KeyHash> {
        self.keys.keys()
    }

    /// Loads an authority of this name, in the place of an earlier one.
    ///
    /// # Errors
    /// Why it cannot be used; nothing has changed then.
    pub fn load_authority(
        &mut self,
        name: &str,
        certificate: &[u8],
        crl_uris: Vec<String>,
    ) -> Result<(), String> {
        let text = |e: CertError| e.to_string();
        let certificate = Certificate::parse(certificate).map_err(text)?;
        let mut authority = Authority::new(certificate).map_err(text)?;
        authority.name = Some(name.to_owned());
        authority.crl_uris = crl_uris;
        self.authorities.insert(name.to_owned(), authority);
        self.rebuild();
        Ok(())
    }

    /// Forgets the authority of this name; whether there was one.
    pub fn unload_authority(&mut self, name: &str) -> bool {
        let found = self.authorities.remove(name).is_some();
        self.rebuild();
        found
    }

    /// Authorities with names.
    pub fn authorities(&self) -> impl Iterator<Item = (&str, &Authority)> {
        self.authorities.iter().map(|(name, a)| (name.as_str(), a))
    }

    /// Forgets certificates, keys and lists; authorities with names stay, as strongSwan has it.
    pub fn clear(&mut self) {
        self.loaded_authorities.clear();
        self.certificates.clear();
        self.crls.clear();
        self.keys.clear();
        self.rebuild();
    }

    /// Forgets revocation lists.
    pub fn flush_crls(&mut self) {
        self.crls.clear();
        self.rebuild();
    }

    /// Every certificate, whether it is an authority's, and whether its private key is here.
    pub fn certificates(&self) -> impl Iterator<Item = (&Certificate, Flag, bool)> {
        let named = self.authorities.values().map(|a| &*a.certificate);
        let authorities = self.loaded_authorities.iter().chain(named);
        let authorities = authorities.map(|c| (c, Flag::Authority, false));
        let own = self.certificates.iter().map(|c| {
            let has_key = self.keys.contains_key(c.key_hash());
            (&**c, Flag::None, has_key)
        });
        authorities.chain(own)
    }

    /// What CERTREQ payloads list.
    pub fn key_hashes(&self) -> Vec<KeyHash> {
        self.store.certreq()
    }

    /// The certificate with which this end proves who it is: one that the connection names, or one whose private key is
    /// here; one that the peer's authorities lead to, if there is such a one.
    pub fn credential(&self, local: &LocalAuth, wanted: &[KeyHash]) -> Option<Credential> {
        let named: Vec<Arc<Certificate>> = local
            .certs
            .iter()
            .filter_map(|der| Certificate::parse(der).ok().map(Arc::new))
            .collect();
        let candidates = if named.is_empty() {
            &self.certificates
        } else {
            &named
        };
        let usable: Vec<_> = candidates
            .iter()
            .filter_map(|c| Some((c, self.keys.get(c.key_hash())?.0)))
            .filter(|(c, _)| local.id.as_ref().is_none_or(|id| c.names(id)))
            .collect();
        let (certificate, key) = usable
            .iter()
            .find(|(c, _)| self.store.is_wanted(c, wanted))
            .or(usable.first())?;
        let mut chain = vec![certificate.der().to_vec()];
        let intermediates = self.store.intermediates_of(certificate);
        chain.extend(intermediates.iter().map(|c| c.der().to_vec()));
        Some(Credential {
            key: *key,
            raw: false,
            chain,
            identity: Some(Identity::from_name(certificate.subject())),
        })
    }

    /// Work for a thread: a signature with one of the private keys.
    ///
    /// # Errors
    /// Why it cannot be made.
    pub fn sign(
        &self,
        key: u64,
        peer_hashes: &[u16],
        octets: Vec<u8>,
    ) -> Result<impl FnOnce() -> Signed + Send + 'static, String> {
        let found = self.keys.values().find(|(number, _)| *number == key);
        let (_, key) = found.ok_or("its private key is no longer loaded")?;
        let job = SignJob::new(key.clone(), peer_hashes, octets).map_err(|e| e.to_string())?;
        Ok(move || {
            let signature = job.run().map_err(|e| e.to_string())?;
            Ok((signature.method as u8, signature.data))
        })
    }

    /// Work for a thread: whether a peer's certificates and signature are to be believed. `now` is in seconds since
    /// 1970-01-01 00:00 UTC.
    pub fn verify(
        &self,
        v: Verification,
        now: u64,
    ) -> impl FnOnce() -> Result<(), (String, String)> + Send + 'static {
        let store = self.store.clone();
        move || {
            if v.raw_key.is_some() && v.chain.is_empty() {
                return Err((
                    "the peer sent a raw public key".into(),
                    "have it send a certificate".into(),
                ));
            }
            let method = AuthMethod::from_id(v.method)
                .ok_or_else(|| split(format!("AUTH method {} is not known", v.method)))?;
            let chain = ChainJob {
                store,
                chain: v.chain,
                identity: v.identity,
                now: CertTime(now),
                certs: v.certs,
                cacerts: v.cacerts,
                revocation: Revocation::Relaxed,
            };
            let verified = chain.run().map_err(|e| split(e.to_string()))?;
            let signature = VerifyJob {
                key: verified.certificate.public_key().clone(),
                method,
                data: v.data,
                octets: v.octets,
                allow_sha1: false,
            };
            signature.run().map_err(|e| split(e.to_string()))?;
            Ok(())
        }
    }

    fn rebuild(&mut self) {
        let mut store = TrustStore::default();
        let loaded = self.loaded_authorities.iter().cloned();
        for authority in loaded.filter_map(|c| Authority::new(c).ok()) {
            store.add_authority(authority);
        }
        for authority in self.authorities.values() {
            store.add_authority(authority.clone());
        }
        for certificate in &self.certificates {
            store.add_certificate((**certificate).clone());
        }
        for crl in self
            .crls
            .iter()
            .filter_map(|octets| Crl::parse(octets).ok())
        {
            store.add_crl(crl);
        }
        self.store = Arc::new(store);
    }
}

/// A reason and, behind its last semicolon, the remedy.
fn split(text: String) -> (String, String) {
    match text.rsplit_once("; ") {
        Some((problem, remedy)) => (problem.to_owned(), remedy.to_owned()),
        None => (text, "check both ends' certificates and identities".into()),
    }
}
