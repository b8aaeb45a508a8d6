//! `local` and `remote`: how each end proves who it is.

use adit_ike::config::{AuthMethod, LocalAuth, RemoteAuth};
use adit_ike::identity::IdentityPattern;

use super::section::{Foreign, Section};
use super::values;

/// How a client is authenticated where a connection says `eap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EapBackend {
    /// By this gateway, with EAP-MSCHAPv2 and the loaded secrets.
    Mschapv2,
    /// By a RADIUS server (RFC 3579).
    Radius,
}

const METHODS: &[(&str, (AuthMethod, Option<EapBackend>))] = &[
    ("psk", (AuthMethod::Psk, None)),
    ("pubkey", (AuthMethod::PublicKey, None)),
    ("eap", (AuthMethod::Eap, Some(EapBackend::Mschapv2))),
    (
        "eap-mschapv2",
        (AuthMethod::Eap, Some(EapBackend::Mschapv2)),
    ),
    ("eap-radius", (AuthMethod::Eap, Some(EapBackend::Radius))),
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

fn method(section: &Section<'_>) -> Result<(AuthMethod, Option<EapBackend>), String> {
    let method = section.parsed("auth", |text| {
        let found = METHODS.iter().find(|(word, _)| *word == text);
        found.map(|(_, method)| *method).ok_or_else(|| {
            let words: Vec<_> = METHODS.iter().map(|(word, _)| *word).collect();
            let constraints = "; constraints on keys and hashes cannot be appended";
            format!("{}{constraints}", words.join(", "))
        })
    })?;
    Ok(method.unwrap_or((AuthMethod::PublicKey, None)))
}

/// Reads a section `local`.
///
/// # Errors
/// The key that is wrong, and what was expected.
pub(super) fn local(section: Section<'_>) -> Result<LocalAuth, String> {
    let (method, backend) = method(&section)?;
    if backend == Some(EapBackend::Radius) {
        let expected = "eap-mschapv2: RADIUS is for clients of this gateway";
        return Err(section.wrong("auth", "\"eap-radius\"", expected));
    }
    let mut auth = LocalAuth::new(method);
    auth.id = section.parsed("id", values::identity)?;
    auth.eap_id = section.text("eap_id")?.map(str::to_owned);
    section.finish(LOCAL)?;
    Ok(auth)
}

/// Reads a section `remote`; also how its clients are authenticated by EAP, if they are.
///
/// # Errors
/// The key that is wrong, and what was expected.
pub(super) fn remote(section: Section<'_>) -> Result<(RemoteAuth, Option<EapBackend>), String> {
    let (method, backend) = method(&section)?;
    let id = section.parsed("id", values::identity_pattern)?;
    let auth = RemoteAuth::new(method, id.unwrap_or(IdentityPattern::Any));
    section.word("eap_id", &[("%any", ()), ("%identity", ())])?;
    section.finish(REMOTE)?;
    Ok((auth, backend))
}
