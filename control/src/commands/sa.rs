//! `sa-add` and `sa-delete`.

use adit_abi::{Address, Direction, Mode, SaKey, Spi};
use adit_vici::Message;

use super::arguments::Arguments;
use crate::esp_proposal::EspProposal;
use crate::gateway::Gateway;
use crate::sadb::{
    Cut, DontFragment, Encap, FlowLabel, Lifetime, Migration, Origin, PacketRules, SaSpec, Stage,
    parse_tfc_padding,
};
use crate::secret::Secret;
use crate::selector_syntax::selector_set;
use crate::vici::{Answer, Reply, failure, success};

const KEYS: &[&str] = &[
    "policy",
    "direction",
    "protocol",
    "spi",
    "src",
    "dst",
    "mode",
    "suite",
    "enc_key",
    "auth_key",
    "esn",
    "replay_window",
    "encap",
    "encap_sport",
    "encap_dport",
    "keepalive",
    "local_ts",
    "remote_ts",
    "life_packets",
    "life_bytes",
    "life_seconds",
    "rekey_packets",
    "rekey_bytes",
    "rekey_seconds",
    "dscp",
    "df",
    "ecn",
    "hop_limit",
    "flow_label",
    "fragment",
    "path_mtu",
    "later_fragments",
    "check_icmp",
    "tfc_padding",
    "dummies",
    "around",
    "ah_align",
    "original_src",
    "original_dst",
];

impl Gateway {
    pub(super) fn sa_add(&mut self, message: &Message, reply: &Reply<'_>) -> Answer {
        let spec = match spec(message, self.sadb.capacity().window) {
            Ok(spec) => spec,
            Err(reason) => return Answer::Done(failure(reason)),
        };
        match self.add_sa(&spec) {
            Ok(Stage::Installed) => Answer::Done(success()),
            Ok(Stage::Preparing) => {
                self.wait_for(spec.key(), reply.ticket());
                Answer::Later
            }
            Err(reason) => Answer::Done(failure(reason)),
        }
    }

    pub(super) fn sa_migrate(&mut self, message: &Message, reply: &Reply<'_>) -> Answer {
        let moved = migration(message).and_then(|(key, to)| {
            let moved = self.migrate_sa(&key, &to);
            moved.map_err(|e| e.to_string())
        });
        match moved {
            Ok((_, Stage::Installed)) => Answer::Done(success()),
            Ok((key, Stage::Preparing)) => {
                self.wait_for(key, reply.ticket());
                Answer::Later
            }
            Err(reason) => Answer::Done(failure(reason)),
        }
    }

    pub(super) fn sa_delete(&mut self, message: &Message) -> Result<(), String> {
        let key = Arguments::check(message, &["spi", "protocol", "dst"])?.sa_key()?;
        self.remove_sa(&key).map_err(|e| e.to_string())
    }
}

fn spec(message: &Message, most_window: u16) -> Result<SaSpec, String> {
    let a = Arguments::check(message, KEYS)?;
    let directions = [("in", Direction::Inbound), ("out", Direction::Outbound)];
    let direction = a.word("direction", &directions)?;
    let suite = a.needed("suite")?;
    let mut proposal =
        EspProposal::parse(a.protocol()?, suite).map_err(|e| format!("suite is {suite:?}: {e}"))?;
    proposal.esn |= a.flag("esn")?;
    let key = |name| -> Result<Secret, String> {
        Ok(Secret::new(a.bytes(name)?.unwrap_or_default().to_vec()))
    };
    let encap = encap(&a)?;
    let lifetime = |prefix: &str| -> Result<Lifetime, String> {
        let limit = |unit| Ok::<u64, String>(a.number(&format!("{prefix}_{unit}"))?.unwrap_or(0));
        Ok(Lifetime {
            seconds: limit("seconds")?,
            bytes: limit("bytes")?,
            packets: limit("packets")?,
        })
    };
    let dscp = match a.text("dscp")? {
        None | Some("copy" | "map") => None,
        Some(_) => a.number("dscp")?,
    };
    if dscp.is_some_and(|d: u8| d > 63) {
        return Err("dscp is more than 63".into());
    }
    let selectors = selector_set(&a.sides("local_ts")?, &a.sides("remote_ts")?)
        .map_err(|e| format!("local_ts and remote_ts: expected {e}"))?;
    Ok(SaSpec {
        spi: a.spi()?,
        direction: direction.ok_or("direction is missing")?,
        source: a.address("src")?,
        destination: a.address("dst")?,
        mode: a
            .word("mode", &Mode::ALL.map(|mode| (mode.name(), mode)))?
            .unwrap_or(Mode::Tunnel),
        proposal,
        enc_key: key("enc_key")?,
        auth_key: key("auth_key")?,
        encap: a.flag("encap")?.then_some(encap),
        window: a
            .number("replay_window")?
            .unwrap_or_else(|| most_window.min(1024)),
        soft: lifetime("rekey")?,
        hard: lifetime("life")?,
        selectors,
        policy: a.text("policy")?.map(str::to_owned),
        keepalive: a.flag("keepalive")?,
        dscp,
        df: a.word("df", &DontFragment::WORDS)?.unwrap_or_default(),
        packets: packet_rules(&a)?,
        around: a.number("around")?.map(Spi),
        ah_align_8: a
            .word("ah_align", &[("4", false), ("8", true)])?
            .unwrap_or(false),
        original: original(&a)?,
        last_sequence: 0,
        origin: Origin::Command,
    })
}

fn packet_rules(a: &Arguments<'_>) -> Result<PacketRules, String> {
    let most = |name: &str, most: u16| -> Result<u16, String> {
        let number = a.number(name)?.unwrap_or(0);
        if number > most {
            return Err(format!("{name} is more than {most}"));
        }
        Ok(number)
    };
    let tfc_padding = a.text("tfc_padding")?.unwrap_or("no");
    let rules = PacketRules {
        map_dscp: a.text("dscp")? == Some("map"),
        clear_ecn: a.text("ecn")?.is_some() && !a.flag("ecn")?,
        hop_limit: most("hop_limit", 255)? as u8,
        flow_label: a.word("flow_label", &FlowLabel::WORDS)?.unwrap_or_default(),
        cut: a.word("fragment", &Cut::WORDS)?.unwrap_or_default(),
        path_mtu: a.number("path_mtu")?.unwrap_or(0),
        later_fragments: a.flag("later_fragments")?,
        check_icmp: a.flag("check_icmp")?,
        tfc_padding: parse_tfc_padding(tfc_padding)
            .map_err(|e| format!("tfc_padding is {tfc_padding:?}, expected {e}"))?,
        dummies: most("dummies", 10_000)?,
    };
    if (1..576).contains(&rules.path_mtu) {
        return Err("path_mtu is less than 576".into());
    }
    if rules.cut == Cut::After && a.text("df")? == Some("set") {
        return Err(
            "fragment is \"after\", but with df \"set\" outer packets cannot be cut".into(),
        );
    }
    Ok(rules)
}

/// Which SA, and where it moves.
fn migration(message: &Message) -> Result<(SaKey, Migration), String> {
    const KEYS: &[&str] = &[
        "spi",
        "protocol",
        "dst",
        "new_src",
        "new_dst",
        "encap",
        "encap_sport",
        "encap_dport",
        "keep_seconds",
    ];
    let a = Arguments::check(message, KEYS)?;
    let encap = encap(&a)?;
    let to = Migration {
        source: a.address("new_src")?,
        destination: a.address("new_dst")?,
        encap: a.flag("encap")?.then_some(encap),
        keep: a.number("keep_seconds")?.unwrap_or(KEEP),
    };
    Ok((a.sa_key()?, to))
}

/// For how many seconds the old key of a moved SA is good, unless somebody says otherwise.
const KEEP: u64 = 30;

fn encap(a: &Arguments<'_>) -> Result<Encap, String> {
    let port = |name| -> Result<u16, String> {
        let port = a.number(name)?.unwrap_or(4500);
        if port == 0 {
            return Err(format!("{name} is 0, expected a port"));
        }
        Ok(port)
    };
    Ok(Encap {
        source: port("encap_sport")?,
        destination: port("encap_dport")?,
    })
}

/// The two addresses that a sender behind a NAT wrote.
fn original(a: &Arguments<'_>) -> Result<Option<(Address, Address)>, String> {
    let pair = (
        a.optional_address("original_src")?,
        a.optional_address("original_dst")?,
    );
    match pair {
        (None, None) => Ok(None),
        (Some(source), Some(destination)) => Ok(Some((source, destination))),
        _ => Err("original_src and original_dst go together: give both or neither".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn least() -> Message {
        Message::new()
            .with("direction", "out")
            .with("spi", "0xc0000001")
            .with("src", "192.0.2.1")
            .with("dst", "192.0.2.2")
            .with("suite", "aes128gcm16")
            .with("enc_key", [7; 20])
            .with_list("local_ts", ["10.1.0.0/24"])
            .with_list("remote_ts", ["10.2.0.0/24"])
    }

    #[test]
    fn the_least_that_can_be_said_becomes_an_sa() {
        let spec = spec(&least(), 1024).unwrap();
        assert_eq!(spec.spi.0, 0xc000_0001);
        assert_eq!(spec.direction, Direction::Outbound);
        assert_eq!(spec.enc_key.bytes(), [7; 20]);
        assert_eq!((spec.window, spec.encap, spec.dscp), (1024, None, None));
        assert_eq!(spec.check(1024), Ok(()));
    }

    #[test]
    fn rules_about_packets_are_taken() {
        let message = least()
            .with("dscp", "map")
            .with("ecn", "no")
            .with("fragment", "after")
            .with("path_mtu", "1400")
            .with("later_fragments", "yes")
            .with("tfc_padding", "mtu")
            .with("dummies", "5");
        let spec = spec(&message, 1024).unwrap();
        let expected = PacketRules {
            map_dscp: true,
            clear_ecn: true,
            cut: Cut::After,
            path_mtu: 1400,
            later_fragments: true,
            tfc_padding: u16::MAX,
            dummies: 5,
            ..PacketRules::default()
        };
        assert_eq!((spec.packets, spec.dscp), (expected, None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (key, value, expected) in [
            ("spy", "1", "unknown key \"spy\""),
            ("esn", "maybe", "esn is \"maybe\""),
            ("encap_sport", "0", "encap_sport is 0"),
            ("dscp", "64", "dscp is more than 63"),
            ("fragment", "never", "fragment is \"never\""),
            ("path_mtu", "100", "path_mtu is less than 576"),
            ("tfc_padding", "1", "tfc_padding is \"1\", expected mtu"),
            ("dummies", "10001", "dummies is more than 10000"),
            ("hop_limit", "256", "hop_limit is more than 255"),
            ("ecn", "maybe", "ecn is \"maybe\""),
            ("replay_window", "65536", "replay_window is"),
            ("spi", "1", "the key \"spi\" is there twice"),
            (
                "mode",
                "host",
                "mode is \"host\", expected tunnel or transport or beet",
            ),
            ("protocol", "ip", "protocol is \"ip\""),
            ("ah_align", "6", "ah_align is \"6\""),
            (
                "original_src",
                "10.0.0.1",
                "original_src and original_dst go together",
            ),
        ] {
            let e = spec(&least().with(key, value), 1024).unwrap_err();
            assert!(e.starts_with(expected), "{e}");
        }
        let e = spec(&Message::new(), 1024).unwrap_err();
        assert!(e.contains("missing"), "{e}");
    }

    #[test]
    fn modes_and_protocols_are_checked_against_what_they_can_carry() {
        let sa = |changes: &[(&str, &str)]| {
            let mut message = Message::new()
                .with("direction", "out")
                .with("spi", "0xc0000001")
                .with("src", "192.0.2.1")
                .with("dst", "192.0.2.2")
                .with("auth_key", [7; 32]);
            for (key, value) in changes {
                message.add(*key, *value);
            }
            for (key, address) in [("local_ts", "192.0.2.1"), ("remote_ts", "192.0.2.2")] {
                message.add_list(key, [address]);
            }
            spec(&message, 1024)
                .and_then(|spec| spec.check(1024).map(|()| spec).map_err(|e| e.to_string()))
        };
        let ah = [("protocol", "ah"), ("suite", "sha256")];
        let with = |more: &[(&'static str, &'static str)]| sa(&[&ah[..], more].concat());
        let spec = with(&[("mode", "transport"), ("ah_align", "8")]).unwrap();
        assert_eq!((spec.mode, spec.ah_align_8), (Mode::Transport, true));
        assert_eq!(spec.key(), adit_abi::SaKey::ah(spec.spi, spec.destination));
        for (more, expected) in [
            (&[("encap", "yes")][..], "does not go into UDP"),
            (&[("mode", "beet")], "no BEET mode"),
            (&[("around", "0x4001")], "nothing around it"),
            (
                &[("original_src", "10.0.0.1"), ("original_dst", "10.0.0.2")],
                "transport mode in UDP only",
            ),
        ] {
            let e = with(more).unwrap_err();
            assert!(e.contains(expected), "{e}");
        }
        let e = sa(&[("protocol", "ah"), ("suite", "aes128-sha256")]).unwrap_err();
        assert!(e.contains("AH encrypts nothing"), "{e}");
        let elsewhere = least().with("mode", "transport");
        let elsewhere = super::spec(&elsewhere, 1024).unwrap();
        assert_eq!(
            elsewhere.check(1024),
            Err(crate::sadb::SadbError::Transport)
        );
        let ranges = super::spec(&least().with("mode", "beet"), 1024).unwrap();
        assert_eq!(ranges.check(1024), Err(crate::sadb::SadbError::Beet));
    }
}
