//! strongSwan's `list-sa` and `list-policy` events, built from plain values: what `swanctl`, its
//! bindings and exporters read.
//!
//! Times are differences to now, in seconds. Keys of our own stand beside strongSwan's.

use adit_abi::{Action, AesKey, Encryption, IcvLen, Integrity, Suite};
use adit_vici::Message;

/// An IKE SA with its child SAs, or SAs with manual keys that stand in an IKE SA's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IkeSa {
    /// Name of the connection.
    pub name: String,
    /// A number of its own among the IKE SAs.
    pub unique_id: u64,
    /// 1 or 2; 0 where there is no IKE.
    pub version: u8,
    /// strongSwan's word for the state, like `ESTABLISHED`; `MANUAL` where there is no IKE.
    pub state: String,
    /// This end.
    pub local: Endpoint,
    /// The peer.
    pub remote: Endpoint,
    /// Whether this end is the initiator.
    pub initiator: bool,
    /// The initiator's IKE SPI; 0 where there is no IKE.
    pub initiator_spi: u64,
    /// The responder's IKE SPI; 0 where there is no IKE.
    pub responder_spi: u64,
    /// Seconds since it was established, if it is.
    pub established: Option<u64>,
    /// Its child SAs.
    pub children: Vec<ChildSa>,
}

/// One end of an IKE SA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Outer address.
    pub host: String,
    /// UDP port of IKE.
    pub port: u16,
    /// Identity.
    pub id: String,
}

impl IkeSa {
    /// What stands in an IKE SA's place for manual SAs between two addresses.
    pub fn manual(
        name: &str,
        unique_id: u64,
        local: &str,
        remote: &str,
        children: Vec<ChildSa>,
    ) -> Self {
        let end = |host: &str| Endpoint {
            host: host.to_owned(),
            port: 0,
            id: host.to_owned(),
        };
        IkeSa {
            name: name.to_owned(),
            unique_id,
            version: 0,
            state: "MANUAL".to_owned(),
            local: end(local),
            remote: end(remote),
            initiator: false,
            initiator_spi: 0,
            responder_spi: 0,
            established: None,
            children,
        }
    }
}

/// Two SAs, inbound and outbound, that serve one another; one of them may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildSa {
    /// Name of the child.
    pub name: String,
    /// A number of its own among the child SAs.
    pub unique_id: u64,
    /// Number of the policy it belongs to.
    pub reqid: u64,
    /// strongSwan's word for the state, like `INSTALLED`.
    pub state: String,
    /// strongSwan's word for the mode: `TUNNEL` or `TRANSPORT`.
    pub mode: String,
    /// UDP encapsulation (RFC 3948).
    pub encap: bool,
    /// What encrypts and authenticates, if this version knows it.
    pub suite: Option<Suite>,
    /// Extended sequence numbers.
    pub esn: bool,
    /// The SA that opens.
    pub inbound: Option<Direction>,
    /// The SA that seals.
    pub outbound: Option<Direction>,
    /// Seconds to the soft lifetime, if there is one; negative once past.
    pub rekey_time: Option<i64>,
    /// Seconds to the hard lifetime, if there is one.
    pub life_time: Option<i64>,
    /// Seconds since it was installed.
    pub install_time: u64,
    /// The protected side, in traffic selector syntax.
    pub local_ts: Vec<String>,
    /// The far side.
    pub remote_ts: Vec<String>,
}

/// One SA of a child SA.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Direction {
    /// ESP SPI.
    pub spi: u32,
    /// Octets of inner packets.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Seconds since the last packet, if there was one and it is known.
    pub last_use: Option<u64>,
    /// Anti-replay window in packets, of an inbound SA.
    pub window: Option<u16>,
    /// Path MTU in bytes, of an outbound SA where it is less than the route's or was set.
    pub path_mtu: Option<u16>,
    /// Dummy packets sent or received.
    pub dummies: u64,
}

/// One `list-sa` event: an IKE SA and its child SAs.
pub fn list_sa(sa: &IkeSa) -> Message {
    let mut ike = Message::new();
    ike.add("uniqueid", sa.unique_id.to_string())
        .add("version", sa.version.to_string())
        .add("state", &sa.state)
        .add("local-host", &sa.local.host)
        .add("local-port", sa.local.port.to_string())
        .add("local-id", &sa.local.id)
        .add("remote-host", &sa.remote.host)
        .add("remote-port", sa.remote.port.to_string())
        .add("remote-id", &sa.remote.id);
    if sa.initiator {
        ike.add("initiator", "yes");
    }
    ike.add("initiator-spi", format!("{:016x}", sa.initiator_spi))
        .add("responder-spi", format!("{:016x}", sa.responder_spi));
    if let Some(seconds) = sa.established {
        ike.add("established", seconds.to_string());
    }
    // Last: swanctl prints the IKE SA's line once it comes to this section.
    let children = sa.children.iter().fold(Message::new(), |children, child| {
        children.with_section(
            format!("{}-{}", child.name, child.unique_id),
            child_sa(child),
        )
    });
    ike.add_section("child-sas", children);
    Message::new().with_section(&sa.name, ike)
}

fn child_sa(child: &ChildSa) -> Message {
    let is_ah = child.suite.is_some_and(Suite::is_ah);
    let mut message = Message::new();
    message
        .add("name", &child.name)
        .add("uniqueid", child.unique_id.to_string())
        .add("reqid", child.reqid.to_string())
        .add("state", &child.state)
        .add("mode", &child.mode)
        .add("protocol", if is_ah { "AH" } else { "ESP" });
    if child.encap {
        message.add("encap", "yes");
    }
    let spi =
        |side: &Option<Direction>| format!("{:08x}", side.as_ref().map_or(0, |side| side.spi));
    message
        .add("spi-in", spi(&child.inbound))
        .add("spi-out", spi(&child.outbound));
    if let Some(encryption) = child.suite.and_then(Suite::encryption) {
        message.add("encr-alg", encryption_name(encryption));
        if let (_, Some(bits)) = encryption.ikev2() {
            message.add("encr-keysize", bits.to_string());
        }
    }
    if let Some(integrity) = child.suite.and_then(Suite::integrity) {
        message.add("integ-alg", integrity_name(integrity));
    }
    if child.esn {
        message.add("esn", "1");
    }
    for (side, suffix) in [(&child.inbound, "in"), (&child.outbound, "out")] {
        let side = side.clone().unwrap_or_default();
        message.add(format!("bytes-{suffix}"), side.bytes.to_string());
        message.add(format!("packets-{suffix}"), side.packets.to_string());
        if let Some(seconds) = side.last_use {
            message.add(format!("use-{suffix}"), seconds.to_string());
        }
        if let Some(window) = side.window {
            message.add(format!("window-{suffix}"), window.to_string());
        }
        if let Some(mtu) = side.path_mtu {
            message.add(format!("path-mtu-{suffix}"), mtu.to_string());
        }
        if side.dummies > 0 {
            message.add(format!("dummies-{suffix}"), side.dummies.to_string());
        }
    }
    for (name, seconds) in [
        ("rekey-time", child.rekey_time),
        ("life-time", child.life_time),
    ] {
        if let Some(seconds) = seconds {
            message.add(name, seconds.to_string());
        }
    }
    message
        .add("install-time", child.install_time.to_string())
        .add(
            "suite",
            child.suite.map_or("unknown".into(), |s| s.to_string()),
        )
        .add_list("local-ts", &child.local_ts)
        .add_list("remote-ts", &child.remote_ts);
    message
}

/// strongSwan's name of an encryption transform; its key's size stands apart.
fn encryption_name(encryption: Encryption) -> &'static str {
    match encryption {
        Encryption::Null => "NULL",
        Encryption::TripleDesCbc => "3DES_CBC",
        Encryption::AesCbc(_) => "AES_CBC",
        Encryption::AesCtr(_) => "AES_CTR",
        Encryption::AesGcm(_, IcvLen::Octets8) => "AES_GCM_8",
        Encryption::AesGcm(_, IcvLen::Octets12) => "AES_GCM_12",
        Encryption::AesGcm(_, IcvLen::Octets16) => "AES_GCM_16",
        Encryption::AesCcm(_, IcvLen::Octets8) => "AES_CCM_8",
        Encryption::AesCcm(_, IcvLen::Octets12) => "AES_CCM_12",
        Encryption::AesCcm(_, IcvLen::Octets16) => "AES_CCM_16",
        Encryption::NullAesGmac(_) => "NULL_AES_GMAC",
        Encryption::Chacha20Poly1305 => "CHACHA20_POLY1305",
    }
}

/// strongSwan's name of an integrity transform.
fn integrity_name(integrity: Integrity) -> &'static str {
    match integrity {
        Integrity::HmacMd5 => "HMAC_MD5_96",
        Integrity::HmacSha1 => "HMAC_SHA1_96",
        Integrity::AesXcbc => "AES_XCBC_96",
        Integrity::AesCmac => "AES_CMAC_96",
        Integrity::HmacSha256 => "HMAC_SHA2_256_128",
        Integrity::HmacSha384 => "HMAC_SHA2_384_192",
        Integrity::HmacSha512 => "HMAC_SHA2_512_256",
        Integrity::AesGmac(AesKey::Bits128) => "AES_128_GMAC",
        Integrity::AesGmac(AesKey::Bits192) => "AES_192_GMAC",
        Integrity::AesGmac(AesKey::Bits256) => "AES_256_GMAC",
    }
}

/// One policy, for `list-policy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The policy's name.
    pub name: String,
    /// Name of the connection it belongs to, if any.
    pub ike: Option<String>,
    /// A number of its own among the policies.
    pub reqid: u64,
    /// PROTECT, BYPASS or DISCARD.
    pub action: Action,
    /// Order: the lowest decides.
    pub priority: u64,
    /// `both`, `in` or `out`.
    pub direction: &'static str,
    /// Names of the fields that its SAs take from packets.
    pub from_packet: Vec<&'static str>,
    /// Packets and bytes that it decided about: out, then in.
    pub counts: [u64; 4],
    /// SPI and outer destination of the outbound SA, of a PROTECT policy that has one.
    pub sa: Option<(u32, String)>,
    /// The protected side, in traffic selector syntax.
    pub local_ts: Vec<String>,
    /// The far side.
    pub remote_ts: Vec<String>,
}

impl Policy {
    /// Whether a `list-policies` request asks for this policy: by `child`, `ike`, and at least one
    /// of `trap`, `pass` and `drop`, strongSwan's words for PROTECT, BYPASS and DISCARD.
    pub fn is_asked_for(&self, request: &Message) -> bool {
        let kind = match self.action {
            Action::Protect => "trap",
            Action::Bypass => "pass",
            Action::Discard => "drop",
        };
        let named = |key: &str, name: Option<&str>| {
            request.str(key).is_none_or(|asked| Some(asked) == name)
        };
        request.element(kind).is_some()
            && named("child", Some(&self.name))
            && named("ike", self.ike.as_deref())
    }
}

/// One `list-policy` event.
///
/// Beside strongSwan's keys there are `action`, `priority` and, as `spi` and `dst`, the outbound SA.
pub fn list_policy(policy: &Policy) -> Message {
    let mut body = Message::new();
    body.add("child", &policy.name);
    if let Some(ike) = &policy.ike {
        body.add("ike", ike);
    }
    body.add("reqid", policy.reqid.to_string())
        .add(
            "mode",
            match policy.action {
                Action::Protect => "TUNNEL",
                Action::Bypass => "PASS",
                Action::Discard => "DROP",
            },
        )
        .add("action", policy.action.name().to_ascii_lowercase())
        .add("priority", policy.priority.to_string())
        .add("direction", policy.direction);
    let names = ["packets-out", "bytes-out", "packets-in", "bytes-in"];
    for (name, count) in names.into_iter().zip(policy.counts) {
        body.add(name, count.to_string());
    }
    if !policy.from_packet.is_empty() {
        body.add_list("pfp", &policy.from_packet);
    }
    if let Some((spi, destination)) = &policy.sa {
        body.add("spi", format!("{spi:08x}"))
            .add("dst", destination);
    }
    body.add_list("local-ts", &policy.local_ts)
        .add_list("remote-ts", &policy.remote_ts);
    let title = match &policy.ike {
        Some(ike) => format!("{ike}/{}", policy.name),
        None => policy.name.clone(),
    };
    Message::new().with_section(title, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_direction_shows_as_zero_and_children_come_last() {
        let child = ChildSa {
            name: "net".into(),
            unique_id: 7,
            reqid: 1,
            state: "INSTALLED".into(),
            mode: "TUNNEL".into(),
            encap: false,
            suite: Some(Suite::CHACHA20_POLY1305),
            esn: false,
            inbound: None,
            outbound: Some(Direction {
                spi: 0x1001,
                bytes: 10,
                packets: 1,
                ..Direction::default()
            }),
            rekey_time: None,
            life_time: None,
            install_time: 3,
            local_ts: vec!["10.1.0.0/24".into()],
            remote_ts: vec!["10.2.0.0/24".into()],
        };
        let event = list_sa(&IkeSa::manual(
            "site",
            1,
            "192.0.2.1",
            "192.0.2.2",
            vec![child],
        ));
        let ike = event.section("site").unwrap();
        assert_eq!(ike.elements().last().unwrap().0, "child-sas");
        let child = ike
            .section("child-sas")
            .and_then(|children| children.section("net-7"))
            .unwrap();
        assert_eq!(
            (child.str("spi-in"), child.str("spi-out")),
            (Some("00000000"), Some("00001001"))
        );
        assert_eq!(
            (
                child.str("encr-keysize"),
                child.str("integ-alg"),
                child.str("esn")
            ),
            (None, None, None)
        );
    }

    #[test]
    fn policies_are_chosen_by_name_and_kind() {
        let policy = Policy {
            name: "net".into(),
            ike: None,
            reqid: 1,
            action: Action::Bypass,
            priority: 10,
            direction: "both",
            from_packet: Vec::new(),
            counts: [1, 2, 3, 4],
            sa: None,
            local_ts: vec![],
            remote_ts: vec![],
        };
        let ask = |keys: &[(&str, &str)]| {
            keys.iter()
                .fold(Message::new(), |m, (key, value)| m.with(*key, value))
        };
        assert!(policy.is_asked_for(&ask(&[("pass", "yes")])));
        assert!(policy.is_asked_for(&ask(&[("trap", "yes"), ("pass", "yes"), ("child", "net")])));
        assert!(!policy.is_asked_for(&ask(&[("trap", "yes"), ("drop", "yes")])));
        assert!(!policy.is_asked_for(&ask(&[("pass", "yes"), ("child", "other")])));
        assert!(!policy.is_asked_for(&ask(&[("pass", "yes"), ("ike", "site")])));
    }
}
