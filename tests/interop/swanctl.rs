//! strongSwan's `swanctl` reads our control socket as it reads its own daemon's.

use std::path::Path;
use std::process::{Command, Output};

use adit::lab::daemons::Daemons;
use adit::lab::gateway::Gateway;
use adit::lab::sas::{SaShape, TunnelPlan};
use adit::lab::{Shape, Side, Topology};
use adit_abi::Suite;
use adit_control::vici::Access;
use adit_control::vici::listings::IkeSa;

use super::sample_gateway::{SampleGateway, child, sas};

/// Why `swanctl` cannot be run, if it cannot.
pub fn installed() -> Result<(), String> {
    match Command::new("swanctl").arg("--help").output() {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "swanctl (Debian package strongswan-swanctl): {error}"
        )),
    }
}

fn swanctl(socket: &Path, words: &[&str]) -> Output {
    let uri = format!("unix://{}", socket.display());
    // `timeout` of coreutils, because swanctl itself waits for ever.
    Command::new("timeout")
        .arg("60")
        .arg("swanctl")
        .args(words)
        .args(["--uri", &uri])
        .output()
        .unwrap()
}

/// What swanctl prints; it must succeed.
fn printed(gateway: &SampleGateway, words: &[&str]) -> String {
    printed_at(&gateway.path(), words)
}

fn printed_at(socket: &Path, words: &[&str]) -> String {
    let output = swanctl(socket, words);
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{words:?}: {}\n{text}{errors}",
        output.status
    );
    assert!(!text.contains("(null)"), "swanctl misses a key in:\n{text}");
    text
}

#[test]
fn version_names_daemon_and_machine() {
    or_skip!(installed());
    let gateway = SampleGateway::start("swanctl-version", Vec::new());
    assert_eq!(
        printed(&gateway, &["--version", "--daemon"]),
        "strongSwan 1.2.3 adit-control (Linux, 6.18, x86_64)\n"
    );
}

/// Asks for the version as somebody else: with this primary group, and these further ones.
fn version_as_nobody(socket: &Path, primary: u32, further: &str) -> Output {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", &format!("--regid={primary}"), further])
        .args(["timeout", "60", "swanctl", "--version", "--daemon", "--uri"])
        .arg(format!("unix://{}", socket.display()));
    command.output().expect("setpriv")
}

#[test]
fn members_of_the_sockets_group_are_let_in_and_nobody_else() {
    or_skip!(installed());
    if !rustix::process::geteuid().is_root() {
        skip!("other users need root");
    }
    const GROUP: u32 = 47_110;
    let access = Access {
        mode: 0o660,
        group: Some(GROUP),
    };
    let gateway = SampleGateway::start_for("swanctl-group", access, Vec::new());
    let asked = |primary, further| version_as_nobody(&gateway.path(), primary, further);
    let member = format!("--groups=8,{GROUP}");
    for (primary, further) in [(GROUP, "--clear-groups"), (65534, &*member)] {
        let output = asked(primary, further);
        assert!(output.status.success(), "{further}: {output:?}");
    }
    assert!(!asked(65534, "--groups=8").status.success());
    // A careless chmod lets everybody connect, and is not enough to be listened to.
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(gateway.path(), everybody).expect("a mode");
    assert!(!asked(65534, "--groups=8").status.success());
    assert_eq!(gateway.asked().len(), 2, "the two members' questions");
}

#[test]
fn stats_are_complete() {
    or_skip!(installed());
    let gateway = SampleGateway::start("swanctl-stats", Vec::new());
    assert_eq!(
        printed(&gateway, &["--stats"]),
        "uptime: 5 minutes, since Nov 22 18:30:05 UTC 2025\n\
         worker threads: 1 total, 0 idle, working: 1/0/0/0\n\
         job queues: 0/0/0/0\n\
         jobs scheduled: 3\n\
         IKE_SAs: 2 total, 1 half-open\n\
         loaded plugins: vici netlink\n"
    );
}

#[test]
fn list_sas_shows_an_ike_sa_and_manual_sas() {
    or_skip!(installed());
    let gateway = SampleGateway::start("swanctl-list-sas", sas());
    assert_eq!(
        printed(&gateway, &["--list-sas"]),
        "site-b: #1, ESTABLISHED, IKEv2, 0102030405060708_i* f1f2f3f4f5f6f7f8_r\n\
         \x20 local  '192.0.2.1' @ 192.0.2.1[500]\n\
         \x20 remote 'gw-b.example' @ 192.0.2.2[4500]\n\
         \x20 established 60s ago\n\
         \x20 net: #7, reqid 1, INSTALLED, TUNNEL, ESP:AES_GCM_16-128/ESN\n\
         \x20   installed 60s ago, rekeying in 3000s, expires in 3600s\n\
         \x20   in  00001001,   8400 bytes,   100 packets,     2s ago\n\
         \x20   out 00002002,   4200 bytes,    50 packets,     3s ago\n\
         \x20   local  10.1.0.0/24 fd00:1::/64\n\
         \x20   remote 10.2.0.0/24[tcp/80]\n\
         lab: #2, MANUAL, IKEv0, 0000000000000000_i 0000000000000000_r*\n\
         \x20 local  '2001:db8::1' @ 2001:db8::1[0]\n\
         \x20 remote '2001:db8::2' @ 2001:db8::2[0]\n\
         \x20 lab: #8, reqid 2, INSTALLED, TUNNEL-in-UDP, ESP:AES_CBC-256/HMAC_SHA2_256_128\n\
         \x20   installed 5s ago\n\
         \x20   in  00000000,      0 bytes,     0 packets\n\
         \x20   out 00003003,    100 bytes,     1 packets\n\
         \x20   local  10.1.0.0/24 fd00:1::/64\n\
         \x20   remote 10.2.0.0/24[tcp/80]\n"
    );
}

#[test]
fn thousands_of_sas_stream_to_the_last() {
    or_skip!(installed());
    let number = 5000;
    let sas =
        (1..=number).map(|id| IkeSa::manual("many", id, "192.0.2.1", "192.0.2.2", vec![child(id)]));
    let gateway = SampleGateway::start("swanctl-many", sas.collect());
    let text = printed(&gateway, &["--list-sas"]);
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("many: #"))
            .count() as u64,
        number
    );
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("  net: #"))
            .count() as u64,
        number
    );
    assert!(text.contains(&format!("many: #{number}, ")));
}

#[test]
fn list_pols_shows_each_action_and_filters() {
    or_skip!(installed());
    let gateway = SampleGateway::start("swanctl-list-pols", Vec::new());
    let body = "  local:  10.1.0.0/24\n  remote: 10.2.0.0/24 10.3.0.0/24\n";
    let lines = |text: &str| text.replace(body, "");
    // Newer ones print the reqid, too.
    let without_reqid = |text: String| {
        text.replace(", reqid 30", "")
            .replace(", reqid 10", "")
            .replace(", reqid 20", "")
    };
    let all = without_reqid(printed(&gateway, &["--list-pols"]));
    assert_eq!(lines(&all), "site-b/net, TUNNEL\nssh, PASS\nrest, DROP\n");
    let pass = without_reqid(printed(&gateway, &["--list-pols", "--pass"]));
    assert_eq!(lines(&pass), "ssh, PASS\n");
    let child = without_reqid(printed(&gateway, &["--list-pols", "--child", "net"]));
    assert_eq!(lines(&child), "site-b/net, TUNNEL\n");
}

#[test]
fn raw_output_has_every_key() {
    or_skip!(installed());
    let gateway = SampleGateway::start("swanctl-raw", sas());
    let text = printed(&gateway, &["--list-sas", "--raw"]);
    for part in [
        "list-sa event {site-b {uniqueid=1",
        "window-in=1024",
        "suite=aes128gcm16",
        "list-sas reply {}",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

#[test]
fn a_command_that_we_lack_fails_and_the_next_one_works() {
    or_skip!(installed());
    let gateway = SampleGateway::start("swanctl-unknown", Vec::new());
    for words in [
        ["--list-certs"],
        ["--list-authorities"],
        ["--get-counters"],
        ["--counters"],
    ] {
        assert!(
            !swanctl(&gateway.path(), &words).status.success(),
            "{words:?}"
        );
    }
    printed(&gateway, &["--stats"]);
}

/// With both daemons behind the socket, and SAs in the table that the data plane reads.
#[test]
fn a_running_gateways_sas_and_policies_appear() {
    or_skip!(installed());
    or_skip!(crate::runnable());
    or_skip!(Daemons::find());
    let topology = Topology::build(Shape::default()).expect("a lab");
    let mut gateway = Gateway::new(&topology, Side::A).expect("a gateway");
    gateway.start().expect("a gateway that is ready");
    let shape = SaShape {
        suite: Suite::AES192_SHA256,
        esn: true,
        encap: true,
        ..SaShape::default()
    };
    let plan = TunnelPlan::fresh(shape).expect("random octets");
    gateway.install(&plan).expect("a tunnel");
    let socket = gateway.control_socket();
    let printed = |words: &[&str]| printed_at(&socket, words);
    printed(&["--reload-settings"]);

    let text = printed(&["--list-sas"]);
    let proposal = "INSTALLED, TUNNEL-in-UDP, ESP:AES_CBC-192/HMAC_SHA2_256_128/ESN\n";
    assert_eq!(text.matches(proposal).count(), 2, "{text}");
    for sa in &plan.sas {
        let direction = if sa.from == Side::A { "out" } else { "in " };
        let line = format!("    {direction} {:08x}, ", sa.spi);
        assert_eq!(text.matches(&line).count(), 1, "{line} in:\n{text}");
    }
    for selector in [
        "local  10.1.0.0/24\n",
        "remote 10.2.0.0/24\n",
        "local  fd01::/64\n",
    ] {
        assert!(text.contains(selector), "{selector} in:\n{text}");
    }

    let text = printed(&["--list-pols"]);
    for name in ["lab-v4", "lab-v6"] {
        let line = text.lines().find(|line| line.contains(name));
        assert!(line.is_some_and(|line| line.contains(", TUNNEL")), "{text}");
    }
    // Nobody negotiates here: none of them is an IKE SA.
    let text = printed(&["--stats"]);
    assert!(
        text.starts_with("uptime: ") && text.contains("IKE_SAs: 0 total, 0 half-open\n"),
        "{text}"
    );
    let version = printed(&["--version", "--daemon"]);
    assert!(
        version.contains(concat!(env!("CARGO_PKG_VERSION"), " adit-control (Linux")),
        "{version}"
    );
}
