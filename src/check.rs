//! `adit check`: tests a configuration file without running it.

use std::io::Write;
use std::path::Path;

use adit_abi::Direction;
use adit_control::config;

use crate::cli::CliError;

/// Reads the file and says what is in it.
///
/// # Errors
/// [`CliError::Config`] with everything that is wrong, or the output's.
pub fn run(file: &Path, out: &mut impl Write) -> Result<(), CliError> {
    let config = config::load(file)?;
    writeln!(
        out,
        "{}: fine: {}, {}, {}",
        file.display(),
        count(config.gateway.ports.len(), "port"),
        count(config.policies.len(), "policy"),
        count(config.sas.len(), "SA"),
    )?;
    for sa in &config.sas {
        let suite = sa.proposal.suite;
        if suite.is_legacy() && sa.direction == Direction::Outbound {
            writeln!(
                out,
                "{}: {}: {suite} no longer protects as it should (RFC 8221): take aes256-sha256 or aes128gcm16 if the \
                 peer has it",
                file.display(),
                sa.policy.as_deref().unwrap_or("an SA"),
            )?;
        }
    }
    Ok(())
}

fn count(n: usize, what: &str) -> String {
    match (n, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{n} {stem}ies"),
        (_, None) => format!("{n} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<String, String> {
        let name = std::thread::current()
            .name()
            .unwrap_or("check")
            .replace("::", "-");
        let dir = std::env::temp_dir().join(format!("adit-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let file = dir.join("adit.toml");
        std::fs::write(&file, text).expect("a file");
        let mut out = Vec::new();
        let outcome = run(&file, &mut out);
        std::fs::remove_dir_all(&dir).expect("removed");
        let strip = |text: String| text.replace(&format!("{}/", dir.display()), "");
        match outcome {
            Ok(()) => Ok(strip(String::from_utf8(out).expect("text"))),
            Err(e) => Err(strip(e.to_string())),
        }
    }

    #[test]
    fn a_good_file_is_summed_up() {
        let text = "gateway.ports = [{ interface = \"a\", side = \"inside\" }, { interface = \"b\", side = \"outside\" }]\n\
                    [policies.x]\naction = \"discard\"\nlocal_ts = [\"::/0\"]\nremote_ts = [\"::/0\"]\n";
        assert_eq!(
            check(text).as_deref(),
            Ok("adit.toml: fine: 2 ports, 1 policy, 0 SAs\n")
        );
    }

    #[test]
    fn a_legacy_suite_is_told() {
        let example = include_str!("../docs/examples/site-to-site.toml");
        assert!(
            example.contains("aes256-sha256-esn"),
            "what this test replaces"
        );
        let legacy = example.replace("aes256-sha256-esn", "3des-sha256");
        let keys = |length: usize| {
            move |line: &str| {
                let key = line.split_once(" = ").map_or("", |(key, _)| key);
                match key {
                    "enc_in" | "enc_out" => format!("{key} = \"{}\"\n", "5a".repeat(length)),
                    "auth_in" | "auth_out" => format!("{key} = \"{}\"\n", "a5".repeat(32)),
                    _ => format!("{line}\n"),
                }
            }
        };
        let told = check(&legacy.lines().map(keys(24)).collect::<String>()).expect("fine");
        assert!(
            told.contains(": 3des-sha256 no longer protects as it should"),
            "{told}"
        );
        let told = check(&example.lines().map(keys(32)).collect::<String>()).expect("fine");
        assert!(!told.contains("no longer"), "{told}");
    }

    #[test]
    fn a_bad_file_is_explained_line_by_line() {
        let e = check("[gateway]\nport = []\n[gatewy]\n").expect_err("errors");
        let lines: Vec<_> = e.lines().collect();
        for expected in [
            "adit.toml:2: gateway.port: unknown key; did you mean `ports`?",
            "adit.toml:3: gatewy: unknown section; did you mean `gateway`?",
        ] {
            assert!(lines.contains(&expected), "{e}");
        }
    }
}
