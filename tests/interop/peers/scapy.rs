//! scapy as an ESP oracle: a Python process that seals and opens what it is given.

use super::sa::{EspSa, hex};
use super::{Unavailable, kept, lock, require_tools, source};
use adit_abi::{Encryption, IcvLen, Integrity, Suite};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running oracle; it ends when dropped.
pub struct Oracle {
    python: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// What scapy found in a packet that it opened and holds for good.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    /// The whole inner IP packet.
    pub inner: Vec<u8>,
    /// All 64 bits, the high half being the caller's own.
    pub sequence: u64,
    /// Octets of padding before the pad length.
    pub pad: Vec<u8>,
    /// The IV as sent.
    pub iv: Vec<u8>,
    /// The outer TTL or hop limit.
    pub ttl: u8,
    /// The outer DSCP and ECN octet.
    pub ds: u8,
}

/// Whether scapy knows both of the suite's transforms.
pub fn knows(suite: Suite) -> bool {
    let cipher = match suite.encryption() {
        Some(Encryption::AesGcm(_, icv) | Encryption::AesCcm(_, icv)) => icv == IcvLen::Octets16,
        Some(_) => true,
        None => false,
    };
    cipher && suite.integrity() != Some(Integrity::AesXcbc)
}

impl Oracle {
    /// Starts scapy, in a virtual environment that the first run creates.
    ///
    /// # Errors
    /// If Python is missing or the packages cannot be installed.
    pub fn start() -> Result<Self, Unavailable> {
        let mut python = Command::new(python()?)
            .arg(source().join("scapy/esp.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starting the Python of the environment");
        let requests = python.stdin.take();
        let answers = BufReader::new(python.stdout.take().expect("a piped output"));
        Ok(Self {
            python,
            requests,
            answers,
        })
    }

    /// Seals `inner` under this sequence number; the whole outer packet.
    ///
    /// # Errors
    /// What scapy says against it.
    pub fn seal(&mut self, sa: &EspSa, sequence: u64, inner: &[u8]) -> Result<Vec<u8>, String> {
        let answer = self.ask(&json!({
            "op": "seal", "sa": describe(sa), "seq": sequence, "inner": hex(inner),
        }))?;
        Ok(octets(&answer["outer"]))
    }

    /// Opens a whole outer packet; `sequence_high` is the half of the number that is not sent.
    ///
    /// # Errors
    /// What is wrong with the packet: see `tests/peers/scapy/esp.py`.
    pub fn open(&mut self, sa: &EspSa, sequence_high: u32, outer: &[u8]) -> Result<Opened, String> {
        let answer = self.ask(&json!({
            "op": "open", "sa": describe(sa), "seq_high": sequence_high, "outer": hex(outer),
        }))?;
        let number = |name: &str| answer[name].as_u64().expect("a number in scapy's answer");
        let octet = |name| u8::try_from(number(name)).expect("an octet in scapy's answer");
        Ok(Opened {
            inner: octets(&answer["inner"]),
            sequence: number("seq"),
            pad: octets(&answer["pad"]),
            iv: octets(&answer["iv"]),
            ttl: octet("ttl"),
            ds: octet("ds"),
        })
    }

    fn ask(&mut self, request: &Value) -> Result<Value, String> {
        let requests = self.requests.as_mut().expect("open until dropped");
        writeln!(requests, "{request}").expect("the oracle reads");
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .expect("the oracle answers");
        let answer: Value =
            serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e} in {line:?}"));
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer),
        }
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // It leaves at the end of its input.
        drop(self.requests.take());
        let _ = self.python.wait();
    }
}

/// Runs the oracle's own test; its report.
///
/// # Errors
/// As [`Oracle::start`].
pub fn self_test() -> Result<String, Unavailable> {
    let output = Command::new(python()?)
        .arg(source().join("scapy/esp.py"))
        .arg("--self-test")
        .output()
        .expect("starting the Python of the environment");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn describe(sa: &EspSa) -> Value {
    json!({
        "suite": sa.suite.to_string(),
        "enc": hex(&sa.enc),
        "auth": hex(&sa.auth),
        "spi": sa.spi,
        "esn": sa.esn,
        "src": sa.src,
        "dst": sa.dst,
        "udp": sa.udp,
    })
}

fn octets(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("hexadecimal in scapy's answer");
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16);
    (0..text.len())
        .step_by(2)
        .map(|at| digits(at).expect("hexadecimal in scapy's answer"))
        .collect()
}

/// The Python of an environment that has exactly what `requirements.txt` says, made if need be.
fn python() -> Result<PathBuf, Unavailable> {
    require_tools(&["python3"])?;
    let folder = kept("scapy");
    let _lock = lock(&folder, "lock");
    let environment = folder.join("venv");
    let python = environment.join("bin/python");
    let wanted = source().join("scapy/requirements.txt");
    let done = folder.join("installed.txt");
    let text = fs::read(&wanted).unwrap_or_else(|e| panic!("{}: {e}", wanted.display()));
    if fs::read(&done).is_ok_and(|installed| installed == text) && works(&python) {
        return Ok(python);
    }
    let _ = fs::remove_file(&done);
    step(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&environment),
    )?;
    step(
        Command::new(&python)
            .args(["-m", "pip", "--quiet", "--disable-pip-version-check"])
            .args(["install", "--requirement"])
            .arg(&wanted),
    )?;
    fs::write(&done, text).unwrap_or_else(|e| panic!("{}: {e}", done.display()));
    Ok(python)
}

fn works(python: &Path) -> bool {
    let status = Command::new(python).args(["-c", "import scapy"]).status();
    status.is_ok_and(|status| status.success())
}

fn step(command: &mut Command) -> Result<(), Unavailable> {
    let output = command
        .output()
        .map_err(|e| Unavailable(format!("{command:?}: {e}")))?;
    if output.status.success() {
        return Ok(());
    }
    // venv complains on its output, pip on its error output.
    let complaint = [output.stdout, output.stderr].concat();
    let complaint = String::from_utf8_lossy(&complaint);
    let last = complaint.lines().rfind(|line| !line.trim().is_empty());
    let last = last.unwrap_or("no reason given");
    Err(Unavailable(format!("{command:?}: {last}")))
}
