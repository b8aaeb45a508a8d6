//! The files in `docs/examples` are good, and `adit check` says so.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use adit_control::config::{self, Config};

fn folder() -> PathBuf {
    super::root().join("docs/examples")
}

fn load(name: &str) -> Config {
    config::load(&folder().join(name)).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn every_example_holds_what_it_says() {
    // Ports, policies (children included), SAs.
    let expected = [
        ("ports-only.toml", [2, 0, 0]),
        ("site-to-site.toml", [2, 4, 4]),
        ("two-queues.toml", [2, 3, 0]),
    ];
    for (name, counts) in expected {
        let c = load(name);
        let found = [c.gateway.ports.len(), c.policies.len(), c.sas.len()];
        assert_eq!(found, counts, "{name}");
    }
    let mut there: Vec<_> = std::fs::read_dir(folder())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    there.sort_unstable();
    assert_eq!(there, expected.map(|(name, _)| name));
}

#[test]
fn the_example_with_two_queues_pins_its_workers() {
    let gateway = load("two-queues.toml").gateway;
    assert_eq!((gateway.workers, gateway.cpus), (Some(2), vec![2, 3]));
    assert!(gateway.ports.iter().all(|p| p.queues == Some(2)));
}

#[test]
fn counter_mode_keys_in_a_file_are_refused_but_for_the_named_setting() {
    let path = folder().join("site-to-site.toml");
    let text = std::fs::read_to_string(&path).expect("the example");
    // ChaCha20-Poly1305 takes 36 octets and has no integrity key.
    let text: String = text
        .replace("aes256-sha256-esn", "chacha20poly1305-esn")
        .lines()
        .filter(|line| !line.starts_with("auth_"))
        .map(|line| match line.strip_prefix("enc_") {
            Some(rest) => format!("enc_{}00112233\"\n", rest.trim_end_matches('"')),
            None => format!("{line}\n"),
        })
        .collect();
    let refused = config::parse(&path, &text).expect_err("refused");
    assert_eq!(refused.errors.len(), 2, "{refused}");
    for error in &refused.errors {
        assert!(error.remedy.contains("RFC 8221 §3"), "{refused}");
        let setting = "gateway.unsafe_static_counter_mode_keys = true";
        assert!(error.remedy.contains(setting), "{refused}");
    }
    let unsafe_text = text.replacen(
        "[gateway]\n",
        "[gateway]\nunsafe_static_counter_mode_keys = true\n",
        1,
    );
    let taken = config::parse(&path, &unsafe_text).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(taken.sas.len(), 4);
}

fn check(file: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_adit"))
        .arg("check")
        .arg(file)
        .output()
        .expect("adit runs")
}

#[test]
fn adit_check_names_file_line_and_key() {
    let good = check(&folder().join("site-to-site.toml"));
    assert!(good.status.success());
    let said = String::from_utf8_lossy(&good.stdout).into_owned();
    assert!(
        said.ends_with(": fine: 2 ports, 4 policies, 4 SAs\n"),
        "{said}"
    );

    let file = std::env::temp_dir().join(format!("adit-check-{}.toml", std::process::id()));
    std::fs::write(&file, "[gateway]\nports = []\nring_sise = 64\n").expect("a file");
    let bad = check(&file);
    std::fs::remove_file(&file).expect("removed");
    assert_eq!(bad.status.code(), Some(1));
    let said = String::from_utf8_lossy(&bad.stderr).into_owned();
    let expected = ":3: gateway.ring_sise: unknown key; did you mean `ring_size`?\n";
    assert!(said.ends_with(expected), "{said}");
}
