//! Secrets that two ends share: pre-shared keys of IKE, passwords of EAP.

use std::collections::BTreeMap;

use adit_ike::identity::{Identity, IdentityPattern};
use zeroize::Zeroizing;

/// Secrets kept, at most.
const MOST: usize = 1 << 20;

/// What a secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A pre-shared key (RFC 7296 §2.15).
    Ike,
    /// A password (RFC 7296 §2.16).
    Eap,
}

struct Shared {
    kind: Kind,
    octets: Zeroizing<Vec<u8>>,
    owners: Vec<IdentityPattern>,
}

/// The secrets, by the names under which they were loaded.
#[derive(Default)]
pub struct Secrets {
    by_name: BTreeMap<String, Shared>,
    unnamed: u64,
}

impl Secrets {
    /// Keeps a secret, in the place of an earlier one with this name. Without owners it is everybody's.
    ///
    /// # Errors
    /// When there are too many.
    pub fn load(
        &mut self,
        name: Option<&str>,
        kind: Kind,
        octets: Zeroizing<Vec<u8>>,
        owners: Vec<IdentityPattern>,
    ) -> Result<(), String> {
        let name = match name {
            Some(name) => name.to_owned(),
            None => {
                // As in strongSwan: the same secret of the same owners once more is no other one.
                let same = |s: &Shared| s.kind == kind && s.octets == octets && s.owners == owners;
                if self.by_name.values().any(same) {
                    return Ok(());
                }
                self.unnamed += 1;
                // No loaded name begins so: a secret without a name can only be cleared.
                format!("\0{}", self.unnamed)
            }
        };
        if self.by_name.len() >= MOST && !self.by_name.contains_key(&name) {
            return Err(format!("{MOST} secrets are loaded: unload some first"));
        }
        let shared = Shared {
            kind,
            octets,
            owners,
        };
        self.by_name.insert(name, shared);
        Ok(())
    }

    /// Forgets the secret of this name; whether there was one.
    pub fn unload(&mut self, name: &str) -> bool {
        self.by_name.remove(name).is_some()
    }

    /// The names under which secrets were loaded.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.by_name.keys().map(String::as_str);
        names.filter(|name| !name.starts_with('\0'))
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.by_name.clear();
    }

    /// The secret that suits these two ends best; the peer's identity counts more than our own.
    pub fn find(
        &self,
        kind: Kind,
        local: Option<&Identity>,
        remote: Option<&Identity>,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let owned = |shared: &Shared, id: Option<&Identity>| {
            id.is_some_and(|id| shared.owners.iter().any(|owner| owner.matches(id)))
        };
        let score = |shared: &Shared| {
            let (here, there) = (owned(shared, local), owned(shared, remote));
            match (shared.owners.is_empty(), there, here) {
                (true, ..) => Some(0),
                (false, true, true) => Some(3),
                (false, true, false) => Some(2),
                (false, false, true) => Some(1),
                (false, false, false) => None,
            }
        };
        let of_kind = self.by_name.values().filter(|s| s.kind == kind);
        of_kind
            .filter_map(|shared| Some((score(shared)?, shared)))
            .max_by_key(|(score, _)| *score)
            .map(|(_, shared)| shared.octets.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Identity {
        Identity::parse(text).unwrap()
    }

    fn load(secrets: &mut Secrets, name: &str, octets: &[u8], owners: &[&str]) {
        let owners = owners.iter().map(|o| IdentityPattern::Exact(id(o)));
        let octets = Zeroizing::new(octets.to_vec());
        secrets
            .load(Some(name), Kind::Ike, octets, owners.collect())
            .unwrap();
    }

    #[test]
    fn the_secret_of_both_ends_wins_over_the_peers_and_that_over_anybodys() {
        let mut secrets = Secrets::default();
        load(&mut secrets, "all", b"all", &[]);
        load(&mut secrets, "us", b"us", &["gw.example.org"]);
        load(&mut secrets, "peer", b"peer", &["carol@example.org"]);
        load(
            &mut secrets,
            "both",
            b"both",
            &["gw.example.org", "dave@example.org"],
        );
        let (gw, carol, dave) = (
            id("gw.example.org"),
            id("carol@example.org"),
            id("dave@example.org"),
        );
        let found = |local, remote| {
            let found = secrets.find(Kind::Ike, local, remote);
            found.map(|octets| String::from_utf8(octets.to_vec()).unwrap())
        };
        assert_eq!(found(Some(&gw), Some(&dave)).as_deref(), Some("both"));
        assert_eq!(found(Some(&gw), Some(&carol)).as_deref(), Some("peer"));
        assert_eq!(found(Some(&carol), Some(&dave)).as_deref(), Some("both"));
        assert_eq!(found(None, None).as_deref(), Some("all"));
        assert_eq!(secrets.find(Kind::Eap, Some(&gw), Some(&dave)), None);
        assert_eq!(secrets.names().count(), 4);
        assert!(secrets.unload("all"));
        assert_eq!(secrets.find(Kind::Ike, None, None), None);
    }

    #[test]
    fn an_unnamed_secret_is_there_once() {
        let mut secrets = Secrets::default();
        for _ in 0..2 {
            let octets = Zeroizing::new(b"x".to_vec());
            secrets.load(None, Kind::Eap, octets, Vec::new()).unwrap();
        }
        assert_eq!((secrets.by_name.len(), secrets.names().count()), (1, 0));
        secrets.clear();
        assert_eq!(secrets.find(Kind::Eap, None, None), None);
    }
}
