//! From a section of `swanctl.conf`, as `load-conn` carries it, to a connection of the IKE engine.
//!
//! The keys and their defaults are swanctl's. A key that means nothing here is refused by name, unless its value
//! asks for what is done in any case.

mod auth;
mod child;
pub mod pool;
pub mod section;
pub(crate) mod values;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_ike::config::{Childless, Connection, Fragmentation, SendCertificate, Unique, Version};
use adit_ike::proposal::{self, Protocol};
use adit_vici::Message;

pub use child::ChildSettings;
use section::{Foreign, Section};

/// A connection, and what the engine need not know of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// For the engine.
    pub connection: Connection,
    /// For the data plane, by the child's name.
    pub children: HashMap<Arc<str>, ChildSettings>,
}

const UNSUPPORTED: &[Foreign] = &[
    foreign(
        "aggressive",
        &["no", "0"],
        "aggressive mode belongs to IKEv1; leave it out",
    ),
    foreign(
        "pull",
        &["yes", "1"],
        "push mode belongs to IKEv1; leave it out",
    ),
    foreign(
        "dscp",
        &["000000", "0"],
        "IKE packets are sent with DSCP 0; leave it out",
    ),
    foreign(
        "dpd_timeout",
        &["0", "0s"],
        "it is for IKEv1; IKEv2 gives up as for any request",
    ),
    foreign(
        "ppk_id",
        &[],
        "post-quantum keys come from ML-KEM: put ke1_mlkem768 into proposals",
    ),
    foreign(
        "ppk_required",
        &["no", "0"],
        "post-quantum keys come from ML-KEM: put ke1_mlkem768 into proposals",
    ),
    foreign(
        "if_id_in",
        &["0"],
        "XFRM interfaces are the kernel's; use selectors",
    ),
    foreign(
        "if_id_out",
        &["0"],
        "XFRM interfaces are the kernel's; use selectors",
    ),
    foreign(
        "mediation",
        &["no", "0"],
        "there is no mediation; leave it out",
    ),
    foreign("mediated_by", &[], "there is no mediation; leave it out"),
    foreign("mediation_peer", &[], "there is no mediation; leave it out"),
    foreign("ocsp", &["reply", "never"], "OCSP is not asked; load CRLs"),
];

/// Keys of an authority that mean nothing here.
pub(crate) const AUTHORITY_UNSUPPORTED: [Foreign; 2] = [
    foreign("ocsp_uris", &[], "OCSP is not asked; load CRLs"),
    foreign(
        "cert_uri_base",
        &[],
        "certificates are not fetched; have peers send them",
    ),
];

const fn foreign(
    key: &'static str,
    harmless: &'static [&'static str],
    remedy: &'static str,
) -> Foreign {
    Foreign {
        key,
        harmless,
        remedy,
    }
}

/// Reads a `load-conn` message: one section, named as the connection.
///
/// # Errors
/// The key that is wrong, and what was expected.
pub fn load(message: &Message) -> Result<Loaded, String> {
    let sections = Section::new("connections", message).all_sections()?;
    let [(name, section)] = <[_; 1]>::try_from(sections)
        .map_err(|_| "load-conn takes one section, named as the connection".to_owned())?;
    connection(name, section)
}

fn connection(name: &str, section: Section<'_>) -> Result<Loaded, String> {
    let mut c = Connection::new(name);
    c.version = section
        .word("version", &[("0", Version::Any), ("2", Version::V2)])
        .map_err(|e| format!("{e}: IKEv1 is not spoken"))?
        .unwrap_or_default();
    c.local_addrs = section.each("local_addrs", values::host)?;
    c.remote_addrs = section.each("remote_addrs", values::host)?;
    c.local_port = section.number("local_port")?.unwrap_or(c.local_port);
    c.remote_port = section.number("remote_port")?.unwrap_or(c.remote_port);
    let proposals = section.list("proposals")?.join(",");
    let text = if proposals.is_empty() {
        "default"
    } else {
        &proposals
    };
    c.proposals = proposal::parse_list(Protocol::Ike, text)
        .map_err(|e| section.wrong("proposals", format!("{text:?}"), e))?;
    c.vips = section.each("vips", |text| {
        text.parse::<IpAddr>()
            .map_err(|_| "an address, or 0.0.0.0 or :: for any".into())
    })?;
    c.pools = section.list("pools")?.into_iter().map(Arc::from).collect();
    c.encap = section.flag("encap")?.unwrap_or(c.encap);
    c.mobike = section.flag("mobike")?.unwrap_or(c.mobike);
    let time = |key| section.parsed(key, values::time);
    c.dpd_delay = time("dpd_delay")?.unwrap_or(c.dpd_delay);
    let fragmentation = [
        ("yes", Fragmentation::Yes),
        ("accept", Fragmentation::Accept),
        ("no", Fragmentation::No),
    ];
    c.fragmentation = section
        .word("fragmentation", &fragmentation)?
        .unwrap_or_default();
    let childless = [
        ("allow", Childless::Allow),
        ("prefer", Childless::Prefer),
        ("force", Childless::Force),
        ("never", Childless::Never),
    ];
    c.childless = section.word("childless", &childless)?.unwrap_or_default();
    c.send_certreq = section.flag("send_certreq")?.unwrap_or(true);
    let send = [
        ("ifasked", SendCertificate::IfAsked),
        ("always", SendCertificate::Always),
        ("never", SendCertificate::Never),
    ];
    c.send_cert = section.word("send_cert", &send)?.unwrap_or_default();
    c.keyingtries = section
        .parsed("keyingtries", |text| match text {
            "%forever" => Ok(0),
            _ => text
                .parse()
                .map_err(|_| "a number, 0 or %forever without end".into()),
        })?
        .unwrap_or(c.keyingtries);
    let unique = [
        ("no", Unique::No),
        ("never", Unique::Never),
        ("keep", Unique::Keep),
        ("replace", Unique::Replace),
    ];
    c.unique = section.word("unique", &unique)?.unwrap_or_default();
    let (rekey, reauth) = (time("rekey_time")?, time("reauth_time")?);
    c.reauth_time = reauth.unwrap_or_default();
    // swanctl: whoever asks for reauthentication alone does not want rekeying beside it.
    c.rekey_time = match (rekey, c.reauth_time.is_zero()) {
        (Some(rekey), _) => rekey,
        (None, true) => c.rekey_time,
        (None, false) => Duration::ZERO,
    };
    let longer = c.rekey_time.max(c.reauth_time);
    c.over_time = time("over_time")?.unwrap_or(longer / 10);
    c.rand_time = time("rand_time")?.unwrap_or(c.over_time).min(longer);

    for (_, local) in section.sections("local") {
        c.local.push(auth::local(local)?);
    }
    for (_, remote) in section.sections("remote") {
        c.remote.push(auth::remote(remote)?);
    }
    let mut children = HashMap::new();
    if let Some(all) = section.section("children")? {
        for (name, section) in all.all_sections()? {
            let (child, settings) = child::child(name, section)?;
            children.insert(child.name.clone(), settings);
            c.children.push(Arc::new(child));
        }
    }
    section.finish(UNSUPPORTED)?;
    c.check().map_err(|e| e.to_string())?;
    Ok(Loaded {
        connection: c,
        children,
    })
}

#[cfg(test)]
mod tests {
    use adit_abi::Mode;
    use adit_ike::config::{Action, AuthMethod};

    use super::*;

    fn end(id: &str) -> Message {
        Message::new().with("auth", "psk").with("id", id)
    }

    fn child() -> Message {
        Message::new()
            .with_list("local_ts", ["10.1.0.0/16"])
            .with_list("remote_ts", ["10.2.0.0/16,fd02::/64"])
    }

    /// A connection as swanctl sends it, with another key in the connection and in the child.
    fn with(connection: &[(&str, &str)], of_child: &[(&str, &str)]) -> Result<Loaded, String> {
        let mut net = child();
        for (key, value) in of_child {
            net.add(*key, value);
        }
        let mut section = Message::new()
            .with("version", "2")
            .with_list("remote_addrs", ["192.0.2.2"])
            .with_section("local-main", end("gw-a.example.org"))
            .with_section("remote", end("%any"))
            .with_section("children", Message::new().with_section("net", net));
        for (key, value) in connection {
            section.add(*key, value);
        }
        load(&Message::new().with_section("gw", section))
    }

    #[test]
    fn what_swanctl_sends_becomes_a_connection_with_its_defaults() {
        let loaded = with(&[], &[]).unwrap();
        let c = &loaded.connection;
        assert_eq!(
            (&*c.name, c.version, c.remote_port),
            ("gw", Version::V2, 500)
        );
        assert_eq!((c.local.len(), c.remote.len()), (1, 1));
        assert_eq!(c.local[0].method, AuthMethod::Psk);
        assert_eq!(c.rekey_time, Duration::from_secs(4 * 3600));
        assert_eq!(
            (c.over_time, c.rand_time),
            (c.rekey_time / 10, c.rekey_time / 10)
        );
        assert!(!c.proposals.is_empty());
        let net = c.child("net").unwrap();
        assert_eq!((net.mode, net.start_action), (Mode::Tunnel, Action::None));
        assert_eq!((net.local_ts.len(), net.remote_ts.len()), (1, 2));
        assert_eq!(net.life_time, Duration::from_secs(3960));
        assert_eq!(loaded.children["net"].replay_window, 0);
    }

    #[test]
    fn times_amounts_and_actions_are_taken() {
        let loaded = with(
            &[
                ("rekey_time", "10m"),
                ("dpd_delay", "30"),
                ("keyingtries", "%forever"),
            ],
            &[
                ("rekey_time", "100s"),
                ("rekey_bytes", "1g"),
                ("start_action", "trap"),
                ("tfc_padding", "mtu"),
                ("copy_df", "no"),
            ],
        )
        .unwrap();
        let c = &loaded.connection;
        assert_eq!((c.rekey_time.as_secs(), c.dpd_delay.as_secs()), (600, 30));
        assert_eq!(c.keyingtries, 0);
        let net = c.child("net").unwrap();
        assert_eq!(
            (net.life_time.as_secs(), net.rand_time.as_secs()),
            (110, 10)
        );
        assert_eq!(
            (net.rekey.bytes, net.life.bytes),
            (1 << 30, (1 << 30) + (1 << 30) / 10)
        );
        assert_eq!(net.start_action, Action::Trap);
        assert_eq!(loaded.children["net"].tfc_padding, u16::MAX);
    }

    #[test]
    fn a_key_that_is_wrong_or_means_nothing_here_is_named() {
        for (connection, of_child, expected) in [
            (
                ("version", "1"),
                None,
                "connections.gw.version stands twice",
            ),
            (
                ("colour", "red"),
                None,
                "connections.gw.colour: unknown key",
            ),
            (
                ("mediation", "yes"),
                None,
                "connections.gw.mediation is not supported",
            ),
            (
                ("dpd_delay", "soon"),
                None,
                "connections.gw.dpd_delay is \"soon\"",
            ),
            (
                ("proposals", "aes128-sha9"),
                None,
                "connections.gw.proposals is",
            ),
            (
                ("encap", "no"),
                Some(("ipcomp", "yes")),
                "connections.gw.children.net.ipcomp is not",
            ),
            (
                ("encap", "no"),
                Some(("mode", "pass")),
                "connections.gw.children.net.mode is",
            ),
            (
                ("encap", "no"),
                Some(("inactivity", "5m")),
                "connections.gw.children.net.inactivity",
            ),
        ] {
            let of_child: Vec<_> = of_child.into_iter().collect();
            let e = with(&[connection], &of_child).unwrap_err();
            assert!(e.starts_with(expected), "{e}");
        }
        // With the value that asks for nothing else it may stand.
        assert!(
            with(
                &[("mediation", "no")],
                &[("ipcomp", "no"), ("inactivity", "0s")]
            )
            .is_ok()
        );
    }
}
