//! `local` and `remote`: how each end proves who it is.

use std::sync::Arc;

use adit_ike::cert::Certificate;
use adit_ike::config::{AuthMethod, LocalAuth, RemoteAuth};
use adit_ike::identity::IdentityPattern;

use super::section::{Foreign, Section};
use super::values;

const METHODS: &[(&str, AuthMethod)] = &[
    ("psk", AuthMethod::Psk),
    ("pubkey", AuthMethod::PublicKey),
    ("eap", AuthMethod::Eap),
    ("eap-mschapv2", AuthMethod::Eap),
];

const LOCAL: &[Foreign] = &[
    Foreign {
        key: "round",
        harmless: &["0", "1"],
        remedy: "one authentication round is done; keep one section `local`",
    },
    Foreign {
        key: "pubkeys",
        harmless: &[],
        remedy: "load a certificate for the key and name it in `certs`",
    },
    Foreign {
        key: "aaa_id",
        harmless: &["%any"],
        remedy: "no EAP method here authenticates the server by itself; leave it out",
    },
    Foreign {
        key: "xauth_id",
        harmless: &[],
        remedy: "XAuth belongs to IKEv1; use auth = eap-mschapv2",
    },
    Foreign {
        key: "xauth",
        harmless: &[],
        remedy: "XAuth belongs to IKEv1; use auth = eap-mschapv2",
    },
    Foreign {
        key: "cert_policy",
        harmless: &[],
        remedy: "it is for `remote` only",
    },
];

const REMOTE: &[Foreign] = &[
    Foreign {
        key: "round",
        harmless: &["0", "1"],
        remedy: "one authentication round is done; keep one section `remote`",
    },
    Foreign {
        key: "groups",
        harmless: &[],
        remedy: "give each group a connection of its own",
    },
    Foreign {
        key: "cert_policy",
        harmless: &[],
        remedy: "restrict the peer by `cacerts` or by `id`",
    },
    Foreign {
        key: "ca_id",
        harmless: &[],
        remedy: "name the authority's certificate in `cacerts`",
    },
    Foreign {
        key: "pubkeys",
        harmless: &[],
        remedy: "name the peer's certificate in `certs`",
    },
    Foreign {
        key: "revocation",
        harmless: &["relaxed"],
        remedy: "a certificate is refused when a loaded CRL revokes it, which is `relaxed`",
    },
    Foreign {
        key: "xauth_id",
        harmless: &[],
        remedy: "XAuth belongs to IKEv1; use auth = eap-mschapv2",
    },
];

fn method(section: &Section<'_>) -> Result<AuthMethod, String> {
    let method = section.parsed("auth", |text| {
        let found = METHODS.iter().find(|(word, _)| *word == text);
        found.map(|(_, method)| *method).ok_or_else(|| {
            let words: Vec<_> = METHODS.iter().map(|(word, _)| *word).collect();
            let constraints = "; constraints on keys and hashes cannot be appended";
            format!("{}{constraints}", words.join(", "))
        })
    })?;
    Ok(method.unwrap_or(AuthMethod::PublicKey))
}

/// Certificates as DER, whether they came as that or as PEM.
fn certificates(section: &Section<'_>, key: &str) -> Result<Vec<Arc<[u8]>>, String> {
    let parse = |blob: &[u8]| match Certificate::parse(blob) {
        Ok(certificate) => Ok(certificate.der().into()),
        Err(e) => Err(section.wrong(key, "no certificate", e)),
    };
    section.blobs(key)?.into_iter().map(parse).collect()
}

/// Reads a section `local`.
///
/// # Errors
/// The key that is wrong, and what was expected.
pub(super) fn local(section: Section<'_>) -> Result<LocalAuth, String> {
    let method = method(&section)?;
    let mut auth = LocalAuth::new(method);
    auth.id = section.parsed("id", values::identity)?;
    auth.certs = certificates(&section, "certs")?;
    auth.eap_id = section.text("eap_id")?.map(str::to_owned);
    section.finish(LOCAL)?;
    Ok(auth)
}

/// Reads a section `remote`.
///
/// # Errors
/// The key that is wrong, and what was expected.
pub(super) fn remote(section: Section<'_>) -> Result<RemoteAuth, String> {
    let method = method(&section)?;
    let id = section.parsed("id", values::identity_pattern)?;
    let mut auth = RemoteAuth::new(method, id.unwrap_or(IdentityPattern::Any));
    auth.certs = certificates(&section, "certs")?;
    auth.cacerts = certificates(&section, "cacerts")?;
    section.word("eap_id", &[("%any", ()), ("%identity", ())])?;
    section.finish(REMOTE)?;
    Ok(auth)
}
