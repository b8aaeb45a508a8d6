//! What the file may say, and what is said about a wrong one.

use std::path::Path;

use adit_abi::message::ZeroCopy;
use adit_abi::{Action, Direction, Side, Suite};

use super::{Config, parse};
use crate::sadb::{Cut, DontFragment, Origin, PacketRules};

const PORTS: &str = r#"
[gateway]
ports = [{ interface = "lan0", side = "inside" }, { interface = "wan0", side = "outside" }]
"#;

const CHILD: &str = r#"
[connections.b]
local_addrs = ["192.0.2.1"]
remote_addrs = ["192.0.2.2"]
[connections.b.children.net]
local_ts = ["10.1.0.0/24"]
remote_ts = ["10.2.0.0/24"]
esp_proposals = ["aes256-sha256-esn"]
rekey_time = "50m"
life_time = "1h"
manual = { spi_in = 0xc0000001, spi_out = 0xc0000002, secret = "b" }
"#;

fn secret(enc: usize, auth: usize) -> String {
    let mut text = "[secrets.b]\n".to_owned();
    for (n, side) in ["in", "out"].into_iter().enumerate() {
        text += &format!("enc_{side} = \"{}\"\n", format!("1{n}").repeat(enc));
        if auth > 0 {
            text += &format!("auth_{side} = \"{}\"\n", format!("2{n}").repeat(auth));
        }
    }
    text
}

fn valid(text: &str) -> Config {
    parse(Path::new("adit.toml"), text).unwrap()
}

fn errors(text: &str) -> Vec<String> {
    let errors = parse(Path::new("adit.toml"), text).expect_err("errors");
    errors.to_string().lines().map(str::to_owned).collect()
}

#[test]
fn ports_are_all_that_a_file_must_have() {
    let config = parse(Path::new("adit.toml"), PORTS).unwrap();
    let g = &config.gateway;
    let ports: Vec<_> = g
        .ports
        .iter()
        .map(|p| (p.interface.as_str(), p.side))
        .collect();
    assert_eq!(ports, [("lan0", Side::Inside), ("wan0", Side::Outside)]);
    assert_eq!(
        (g.frame_size, g.zero_copy, g.workers),
        (2048, ZeroCopy::Auto, None)
    );
    assert_eq!(g.settings.unmatched, Action::Discard as u8);
    assert_eq!(g.settings.clamp_mss, 1);
    assert_eq!(g.control_socket_mode, 0o600);
    assert!(config.policies.is_empty() && config.sas.is_empty());
}

#[test]
fn ports_can_be_tables_of_their_own() {
    let text = "[[gateway.ports]]\ninterface = \"a\"\nside = \"inside\"\nqueues = 2\n\
                [[gateway.ports]]\ninterface = \"b\"\nside = \"outside\"\nqueues = 2\n";
    let config = parse(Path::new("adit.toml"), text).unwrap();
    assert_eq!(config.gateway.ports[1].queues, Some(2));
}

#[test]
fn a_manually_keyed_child_is_a_policy_and_two_sas() {
    let text = [PORTS, CHILD, &secret(32, 32)].concat();
    let config = parse(Path::new("adit.toml"), &text).unwrap();
    let [policy] = config.policies.as_slice() else {
        panic!()
    };
    assert_eq!(
        (policy.name.as_str(), policy.action),
        ("b/net", Action::Protect)
    );
    assert_eq!(policy.origin, Origin::File);
    let [inbound, outbound] = config.sas.as_slice() else {
        panic!()
    };
    assert_eq!(
        (inbound.direction, inbound.spi.0),
        (Direction::Inbound, 0xc000_0001)
    );
    assert_eq!(
        (outbound.direction, outbound.spi.0),
        (Direction::Outbound, 0xc000_0002)
    );
    assert_eq!(inbound.source, outbound.destination);
    assert_eq!(inbound.enc_key.bytes(), [0x10; 32]);
    assert_eq!(outbound.auth_key.bytes(), [0x21; 32]);
    assert_eq!(outbound.proposal.suite, Suite::AES256_SHA256);
    assert!(outbound.proposal.esn && outbound.encap.is_none());
    assert_eq!((outbound.soft.seconds, outbound.hard.seconds), (3000, 3600));
    for sa in &config.sas {
        assert_eq!(sa.check(1024), Ok(()));
    }
}

#[test]
fn udp_encapsulation_swaps_its_ports_for_what_arrives() {
    let child = CHILD.replace(
        "[connections.b.children.net]",
        "encap = true\nremote_port = 10001\n[connections.b.children.net]",
    );
    let config = parse(
        Path::new("adit.toml"),
        &[PORTS, &child, &secret(32, 32)].concat(),
    )
    .unwrap();
    let ports = |n: usize| {
        let e = config.sas[n].encap.unwrap();
        (e.source, e.destination)
    };
    assert_eq!((ports(0), ports(1)), ((10001, 4500), (4500, 10001)));
    assert!(!config.sas[0].keepalive && config.sas[1].keepalive);
}

#[test]
fn a_child_says_how_its_packets_are_treated() {
    let with = |packets: &str| {
        let child = CHILD.replace(
            "[connections.b.children.net]",
            &format!("[connections.b.children.net]\npackets = {{ {packets} }}"),
        );
        parse(
            Path::new("adit.toml"),
            &[PORTS, &child, &secret(32, 32)].concat(),
        )
    };
    let config = with(
        "dscp = \"map\", df = \"clear\", fragment = \"after\", path_mtu = 1400, tfc_padding = \"mtu\", \
         dummies = 5, ecn = false",
    )
    .unwrap();
    for sa in &config.sas {
        let expected = PacketRules {
            map_dscp: true,
            clear_ecn: true,
            cut: Cut::After,
            path_mtu: 1400,
            tfc_padding: u16::MAX,
            dummies: 5,
            ..PacketRules::default()
        };
        assert_eq!(
            (sa.packets, sa.dscp, sa.df),
            (expected, None, DontFragment::Clear)
        );
    }
    assert_eq!(with("dscp = \"46\"").unwrap().sas[0].dscp, Some(46));
    for (wrong, named) in [
        ("dscp = \"64\"", "packets.dscp: \"64\" found"),
        ("tfc_padding = \"3\"", "packets.tfc_padding: \"3\" found"),
        (
            "fragment = \"after\", df = \"set\"",
            "packets.fragment: \"after\" beside df",
        ),
        ("path_mtu = 100", "packets.path_mtu: 100 found"),
    ] {
        let errors = with(wrong).unwrap_err().to_string();
        assert!(errors.contains(named), "{errors}");
    }
}

#[test]
fn what_routers_tell_is_believed_within_bounds() {
    let settings = |more: &str| {
        parse(
            Path::new("adit.toml"),
            &PORTS.replace("[gateway]\n", &format!("[gateway]\n{more}\n")),
        )
        .map(|config| config.gateway.settings)
    };
    let s = settings(
        "believe_too_big = false\npath_mtu_time = \"5m\"\nleast_path_mtu = 1280\ndscp_map = { \"46\" = 34 }",
    )
    .unwrap();
    assert_eq!(
        (s.believe_too_big, s.path_mtu_seconds, s.least_path_mtu),
        (0, 300, 1280)
    );
    assert_eq!((s.dscp_map[46], s.dscp_map[45]), (34, 45));
    for wrong in ["{ \"64\" = 1 }", "{ \"1\" = 64 }", "{ \"ef\" = 1 }"] {
        let errors = settings(&format!("dscp_map = {wrong}"))
            .unwrap_err()
            .to_string();
        assert!(errors.contains("gateway.dscp_map"), "{errors}");
    }
}

#[test]
fn policies_stand_in_their_own_section() {
    let text = format!(
        "{PORTS}\n[policies.dns]\naction = \"bypass\"\npriority = 5\n\
         local_ts = [\"10.1.0.0/24\", \"fd00:1::/64\"]\n\
         remote_ts = [\"192.0.2.53[udp/53]\", \"2001:db8::53[udp/53]\"]\n"
    );
    let config = parse(Path::new("adit.toml"), &text).unwrap();
    let [policy] = config.policies.as_slice() else {
        panic!()
    };
    assert_eq!((policy.action, policy.priority), (Action::Bypass, 5));
    assert_eq!(policy.selectors.len(), 2, "one for each family");
}

#[test]
fn every_fault_is_told_at_once_with_its_line_and_a_remedy() {
    let text = r#"[gateway]
frame_size = 3000
zero_copy = "atuo"
ring_size = 1000
cpus = [1]
workers = 2
control_socket_mode = "0666"
ports = [
  { interface = "lan0", side = "inside" },
  { interface = "lan0", side = "inside" },
]
[policies.p]
action = "allow"
local_ts = ["10.1.0.0/33"]
remote_ts = []
[politics.p]
"#;
    assert_eq!(
        errors(text),
        [
            "adit.toml:2: gateway.frame_size: 3000 found, expected 2048 or 4096; take 4096 only for an MTU above 1500",
            "adit.toml:3: gateway.zero_copy: \"atuo\" found, expected \"auto\" or \"copy\" or \"force\"; did you mean \"auto\"?",
            "adit.toml:4: gateway.ring_size: 1000 found, expected a power of two from 64 to 65536; 2048 serves well",
            "adit.toml:5: gateway.cpus: 1 CPUs found, expected one for each of the 2 workers; list as many CPUs as workers, or leave `cpus` out",
            "adit.toml:7: gateway.control_socket_mode: \"0666\" found, expected an octal file mode that gives others nothing; write \"0600\", or \"0660\" with `control_socket_group`",
            "adit.toml:8: gateway.ports: no port on the outside side, expected at least one port on each side; add ports = [{ interface = \"lan0\", side = \"inside\" }, { interface = \"wan0\", side = \"outside\" }]",
            "adit.toml:10: gateway.ports.1.interface: \"lan0\" found twice, expected each interface once; remove one of them",
            "adit.toml:12: policies.p.remote_ts: missing, expected at least one prefix or range; add remote_ts = [\"10.1.0.0/24\"]",
            "adit.toml:13: policies.p.action: \"allow\" found, expected \"protect\" or \"bypass\" or \"discard\"",
            "adit.toml:14: policies.p.local_ts: \"10.1.0.0/33\" found, expected a prefix length of at most 32; write for example \"10.1.0.0/24\" or \"10.1.0.0/24[tcp/80]\"",
            "adit.toml:16: politics: unknown section; did you mean `policies`?",
        ]
    );
}

#[test]
fn what_does_not_fit_its_key_is_told_for_every_section() {
    let text = r#"[gateway]
frame_sizes = 2048
[connections.b]
local_addrs = "192.0.2.1"
[policies.p]
priority = "high"
[secrets.s]
enc_inn = "00"
"#;
    assert_eq!(
        errors(text),
        [
            "adit.toml:1: gateway.ports: missing, expected at least one port on each side; add ports = [{ interface = \"lan0\", side = \"inside\" }, { interface = \"wan0\", side = \"outside\" }]",
            "adit.toml:2: gateway.frame_sizes: unknown key; did you mean `frame_size`?",
            "adit.toml:4: connections.b.local_addrs: string \"192.0.2.1\" found, expected a list; put it into brackets, as [\"VALUE\"]",
            "adit.toml:6: policies.p.priority: string \"high\" found, expected a number; write a whole number without quotes",
            "adit.toml:8: secrets.s.enc_inn: unknown key; did you mean `enc_in`?",
        ]
    );
}

#[test]
fn broken_toml_is_shown_where_it_breaks() {
    let e = errors("[gateway]\nworkers = \n");
    assert!(e[0].starts_with("adit.toml:2: "), "{e:?}");
    assert!(errors("[gateway")[0].starts_with("adit.toml:1: "));
}

#[test]
fn counter_mode_keys_from_a_file_need_the_unsafe_setting() {
    let child = CHILD.replace("aes256-sha256-esn", "aes128gcm16");
    let text = [PORTS, &child, &secret(20, 0)].concat();
    assert_eq!(
        errors(&text),
        [
            "adit.toml:14: connections.b.children.net.manual.secret: aes128gcm16 with a key from a file found, expected \
             a suite in CBC mode such as aes256-sha256; a counter-mode suite repeats nonces after a restart (RFC 8221 §3): \
             take another, put fresh keys in over the control socket, or set gateway.unsafe_static_counter_mode_keys = true"
        ]
    );
    let unsafe_text = text.replace(
        "[gateway]",
        "[gateway]\nunsafe_static_counter_mode_keys = true",
    );
    assert_eq!(
        parse(Path::new("adit.toml"), &unsafe_text)
            .unwrap()
            .sas
            .len(),
        2
    );
}

#[test]
fn wrong_children_are_told_apart() {
    let with = |from: &str, to: &str| {
        let text = [PORTS, &CHILD.replace(from, to), &secret(32, 32)].concat();
        errors(&text).remove(0)
    };
    for (from, to, expected) in [
        (
            "spi_in = 0xc0000001",
            "spi_in = 7",
            "manual.spi_in: 0x7 found, expected 0x100 to 0xffffffff; 0 to 255 are reserved (RFC 4303 §2.1)",
        ),
        (
            "secret = \"b\"",
            "secret = \"c\"",
            "manual.secret: \"c\" found, expected a section under `secrets`; add [secrets.c]",
        ),
        (
            "aes256-sha256-esn",
            "aes128-sha256",
            "manual.secret: enc_in of \"b\" has 32 octets, expected 16 for aes128-sha256",
        ),
        (
            "\"10.2.0.0/24\"",
            "\"fd00::/64\"",
            "remote_ts: does not fit local_ts, expected local and remote addresses of one family",
        ),
        (
            "[\"10.2.0.0/24\"]",
            "[\"10.2.0.0/24[tcp/1,2,3,4,5,6,7,8,9]\"]",
            "remote_ts: 9 ranges found, expected 1 to 8; add another child for the rest",
        ),
        (
            "\"192.0.2.2\"",
            "\"2001:db8::1\"",
            "connections.b.remote_addrs: 192.0.2.1 and 2001:db8::1 found, expected addresses of one family",
        ),
        (
            "\"50m\"",
            "\"2h\"",
            "rekey_time: 7200 is more than 3600, expected a soft lifetime within the hard one; lower it",
        ),
        (
            "\"50m\"",
            "\"soon\"",
            "rekey_time: \"soon\" found, expected seconds",
        ),
        (
            "manual =",
            "# manual =",
            "manual: missing, expected SPIs and a secret",
        ),
    ] {
        let e = with(from, to);
        assert!(e.contains(expected), "{e}\n{expected}");
    }
}

#[test]
fn the_suite_says_which_keys_a_connection_needs() {
    let of = |suite: &str, secrets: &str| {
        let child = CHILD.replace("aes256-sha256-esn", suite);
        parse(Path::new("adit.toml"), &[PORTS, &child, secrets].concat())
    };
    let integrity_alone = secret(0, 48).replace("enc_in = \"\"\n", "");
    let integrity_alone = integrity_alone.replace("enc_out = \"\"\n", "");
    let config = of("null-sha384", &integrity_alone).unwrap();
    assert_eq!(config.sas[0].proposal.suite.to_string(), "null-sha384");
    assert_eq!(config.sas[0].enc_key.len(), 0);
    assert!(of("3des-md5", &secret(24, 16)).is_ok(), "named, so taken");
    for (suite, secrets, expected) in [
        (
            "aes192-sha384",
            &*integrity_alone,
            "manual.secret: enc_in of \"b\" has 0 octets, expected 24 for aes192-sha384; add one to the section: \
             `openssl rand -hex 24` makes it",
        ),
        (
            "null-sha384",
            &secret(16, 48),
            "manual.secret: enc_in of \"b\" has 16 octets, expected 0 for null-sha384; leave it out",
        ),
        (
            "aes128ctr-sha256",
            &secret(20, 32),
            "manual.secret: aes128ctr-sha256 with a key from a file found, expected a suite in CBC mode",
        ),
        (
            "aes128",
            &secret(16, 0),
            "esp_proposals: \"aes128\" found, expected a suite, such as aes256-sha256 or aes128gcm16, with -esn behind \
             it or not; aes128 does not authenticate: write aes128-sha256",
        ),
        (
            "des-sha256",
            &secret(16, 32),
            "\"des\" is no transform that adit has: encryption is one of aes128gcm16",
        ),
    ] {
        let e = of(suite, secrets).unwrap_err().to_string();
        assert!(e.contains(expected), "{e}\n{expected}");
    }
}

#[test]
fn a_childs_sas_carry_every_pair_of_its_two_lists() {
    let lists = CHILD.replace(
        "[\"10.2.0.0/24\"]",
        "[\"10.2.0.0/24[tcp/80,443]\", \"10.3.0.7-10.3.0.9\"]",
    );
    let config = valid(&[PORTS, &lists, &secret(32, 32)].concat());
    assert_eq!(config.policies[0].selectors.len(), 3);
    for sa in &config.sas {
        assert_eq!(sa.selectors.remote().len(), 3);
        assert!(
            config.policies[0]
                .selectors
                .iter()
                .all(|s| sa.selectors.contains(s))
        );
    }
}

#[test]
fn flags_and_directions_of_policies_are_read_and_checked() {
    let policy = |more: &str| {
        let text = "[policies.p]\nlocal_ts = [\"10.1.0.0/24\"]\nremote_ts = [\"10.2.0.0/24\"]\n";
        [PORTS, text, more].concat()
    };
    let p = valid(&policy(
        "action = \"protect\"\npfp = [\"local_addr\", \"remote_port\"]",
    ));
    let flags = adit_abi::FromPacket::LOCAL_ADDRESS.with(adit_abi::FromPacket::REMOTE_PORT);
    assert_eq!(p.policies[0].from_packet, flags);
    let p = valid(&policy("action = \"bypass\"\ndirection = \"in\""));
    assert_eq!(p.policies[0].applies, adit_abi::Applies::Inbound);
    for (more, expected) in [
        (
            "action = \"protect\"\npfp = [\"address\"]",
            "policies.p.pfp: \"address\" found, expected local_addr, remote_addr, protocol, local_port, remote_port",
        ),
        (
            "action = \"discard\"\npfp = [\"protocol\"]",
            "policies.p.pfp: flags found, expected none; only a policy with action \"protect\"",
        ),
        (
            "action = \"protect\"\ndirection = \"out\"",
            "policies.p.direction: \"out\" found, expected \"both\"; what protects goes both ways",
        ),
        (
            "action = \"bypass\"\ndirection = \"up\"",
            "policies.p.direction: \"up\" found, expected \"both\" or \"in\" or \"out\"",
        ),
    ] {
        let e = errors(&policy(more)).join("\n");
        assert!(e.contains(expected), "{e}\n{expected}");
    }
}

#[test]
fn an_spi_serves_one_sa_only() {
    let more = CHILD
        .replace("connections.b", "connections.c")
        .replace("0xc0000002", "0xc0000003");
    let text = [PORTS, CHILD, &more, &secret(32, 32)].concat();
    let e = errors(&text);
    assert_eq!(
        e,
        [
            "adit.toml:25: connections.c.children.net.manual.spi_in: 0xc0000001 to 192.0.2.1 found twice, expected a number of its \
          own for each SA to an address; take another on both gateways"
        ]
    );
}

#[test]
fn keys_may_lie_in_files_and_are_never_shown() {
    let dir = std::env::temp_dir().join(format!("adit-config-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("key"), format!("{}\n", "ab".repeat(32))).unwrap();
    let secrets = secret(32, 32).replace(&format!("\"{}\"", "10".repeat(32)), "{ file = \"key\" }");
    let text = [PORTS, CHILD, &secrets].concat();
    let config = parse(&dir.join("adit.toml"), &text).unwrap();
    std::fs::write(dir.join("key"), "not hexadecimal: 5ecret").unwrap();
    let wrong = parse(&dir.join("adit.toml"), &text)
        .unwrap_err()
        .to_string();
    std::fs::remove_dir_all(&dir).unwrap();
    let missing = parse(&dir.join("adit.toml"), &text)
        .unwrap_err()
        .to_string();
    assert_eq!(config.sas[0].enc_key.bytes(), [0xab; 32]);
    assert!(
        wrong.contains("an even number of hexadecimal digits") && !wrong.contains("5ecret"),
        "{wrong}"
    );
    assert!(missing.contains("cannot be read"), "{missing}");
    let odd = [PORTS, CHILD, &secret(32, 32).replace("\"1010", "\"x10")].concat();
    let odd = errors(&odd).join("\n");
    assert!(
        odd.contains("secrets.b.enc_in: something else found") && !odd.contains("x10"),
        "{odd}"
    );
    assert!(
        !format!("{config:?}").contains("171"),
        "Debug shows lengths only"
    );
}

#[test]
fn a_secret_of_the_wrong_type_is_not_shown_either() {
    let text = [
        PORTS,
        "[secrets.b]\nenc_in = 123456\nenc_out = { fil = \"x\" }\n",
    ]
    .concat();
    let all = errors(&text).join("\n");
    assert!(!all.contains("123456"), "{all}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let e = super::load(Path::new("/nonexistent/adit.toml"))
        .unwrap_err()
        .to_string();
    assert!(
        e.starts_with("/nonexistent/adit.toml: cannot be read: "),
        "{e}"
    );
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_without_harm(text in "\\PC*") {
        let _ = parse(Path::new("adit.toml"), &text);
    }

    #[test]
    fn any_value_in_any_place_is_read_without_harm(
        key in "[a-z_.]{1,30}",
        value in proptest::sample::select(vec!["1", "-1", "\"x\"", "[]", "[\"a\"]", "{}", "true", "1.5", "[{}]", "9223372036854775807"]),
    ) {
        let _ = parse(Path::new("adit.toml"), &format!("{key} = {value}"));
        let _ = parse(Path::new("adit.toml"), &format!("[gateway]\n{key} = {value}"));
        let _ = parse(Path::new("adit.toml"), &format!("[connections.a.children.b]\n{key} = {value}"));
    }
}

#[test]
fn one_wrong_key_of_the_gateway_hides_nothing_and_invents_nothing() {
    let text = "[gateway]\nworkers = \"two\"\nrong_size = 64\nframe_size = 1000\nclamp_mss = \"no\"\n\
                ports = [{ interface = \"a\", side = \"inside\" }, { interface = \"b\", side = \"outside\" }]\n\
                [gateway.table]\nsas = 0\n";
    assert_eq!(
        errors(text),
        [
            "adit.toml:2: gateway.workers: string \"two\" found, expected a number; write a whole number without quotes",
            "adit.toml:3: gateway.rong_size: unknown key; did you mean `ring_size`?",
            "adit.toml:4: gateway.frame_size: 1000 found, expected 2048 or 4096; take 4096 only for an MTU above 1500",
            "adit.toml:5: gateway.clamp_mss: string \"no\" found, expected true or false; write true or false without quotes",
            "adit.toml:8: gateway.table.sas: 0 found, expected 1 to 16777216; every entry takes memory from the start",
        ]
        .map(str::to_owned)
        .into_iter()
        .collect::<Vec<_>>()
    );
}

#[test]
fn a_file_that_is_no_text_is_told_by_its_line() {
    let file = std::env::temp_dir().join(format!("adit-latin1-{}.toml", std::process::id()));
    std::fs::write(&file, b"[gateway]\ntun = \"caf\xe9\"\n").unwrap();
    let told = super::load(&file).expect_err("an error").to_string();
    std::fs::remove_file(&file).unwrap();
    assert!(
        told.ends_with(
            ":2: an octet that is no UTF-8 found, expected text in UTF-8; save the file as UTF-8, or write the \
             character in ASCII"
        ),
        "{told}"
    );
}

#[test]
fn the_ports_of_a_wrong_file_are_known_so_far_as_they_are_named() {
    let file = std::env::temp_dir().join(format!("adit-wrong-{}.toml", std::process::id()));
    let text = "[gateway]\nworkers = 0\nports = [{ interface = \"lan0\" }, { interface = \"../all\" }]\nnonsense\n";
    std::fs::write(&file, text).unwrap();
    let names = super::port_names(&file);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(names, ["lan0"]);
    assert!(super::port_names(&file).is_empty());
}

#[test]
fn the_control_sockets_group_is_a_name_or_a_number() {
    let with = |group: &str| PORTS.replace("[gateway]", &format!("[gateway]\n{group}"));
    let group = |text: &str| {
        let config = parse(Path::new("adit.toml"), &with(text)).unwrap();
        config.gateway.control_socket_group
    };
    assert_eq!(group(""), None);
    assert_eq!(group("control_socket_group = 27"), Some(27));
    assert_eq!(group("control_socket_group = \"root\""), Some(0));
    for wrong in ["\"no such group\"", "-1", "4294967295"] {
        let told = errors(&with(&format!("control_socket_group = {wrong}")));
        assert!(
            told[0].contains("gateway.control_socket_group:")
                && told[0].contains("expected the name or number of a group; `getent group`"),
            "{told:?}"
        );
    }
}

#[test]
fn what_may_be_a_key_is_taken_out_before_the_syntax_is_checked() {
    let key = "0123456789abcdef0123456789abcdef";
    let text =
        format!("a = \"{key}\" # {key}\n[x.{key}]\n\"{key}\" = 'é 0x{key}'\nb = 0xdeadbeef\n");
    let without = super::without_keys(&text);
    assert_eq!(without.len(), text.len());
    assert_eq!(without.matches(key).count(), 2, "the names stay: {without}");
    assert!(without.contains("é 0x000") && without.ends_with("b = 0xdeadbeef\n"));
}
