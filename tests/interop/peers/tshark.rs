//! tshark as a reader of captures: it decrypts ESP and checks ICVs with keys that it is given, and dissects the rest.
//!
//! Its table of ESP algorithms lacks some, and it knows nothing of ESN.

use super::sa::{EspSa, hex};
use super::{Unavailable, require_tools};
use adit_abi::{Encryption, IcvLen, Integrity, Suite};
use serde_json::Value;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

/// What tshark says of one packet of a capture.
#[derive(Debug)]
pub struct Verdict {
    /// Whether the ICV is right; `None` if there was nothing to check or no key for it.
    pub icv_good: Option<bool>,
    /// Of the ESP header, if there is one.
    pub spi: Option<u32>,
    /// The 32 bits that were sent.
    pub sequence: Option<u32>,
    /// Source and destination of each IP header, outermost first within each family.
    pub addresses: Vec<(IpAddr, IpAddr)>,
    /// The layers, outermost first, such as `raw:ip:esp:ip:icmp:data`.
    pub layers: String,
    /// The innermost payload, where tshark makes nothing of it.
    pub data: Vec<u8>,
}

/// Whether tshark can check packets of this SA.
pub fn knows(sa: &EspSa) -> bool {
    !sa.esn && names(sa.suite).is_some()
}

/// Reads a capture with the keys of these SAs; a verdict for each packet.
///
/// # Errors
/// If tshark is not installed.
pub fn decrypt(capture: &Path, sas: &[EspSa]) -> Result<Vec<Verdict>, Unavailable> {
    require_tools(&["tshark"])?;
    let mut tshark = tshark(capture);
    tshark
        .args(["-T", "json"])
        .args(["-o", "esp.enable_encryption_decode:TRUE"])
        .args(["-o", "esp.enable_authentication_check:TRUE"]);
    for field in FIELDS {
        tshark.args(["-e", field]);
    }
    for sa in sas.iter().filter(|sa| knows(sa)) {
        tshark.arg("-o").arg(format!("uat:esp_sa:{}", entry(sa)));
    }
    let output = tshark.output().expect("starting tshark");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tshark: {complaint}");
    let packets: Vec<Value> = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e} in tshark's output; it said {complaint}"));
    Ok(packets
        .iter()
        .map(|p| verdict(&p["_source"]["layers"]))
        .collect())
}

const FIELDS: [&str; 9] = [
    "frame.protocols",
    "esp.icv_good",
    "esp.spi",
    "esp.sequence",
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "data.data",
];

/// A line of tshark's table of ESP SAs.
fn entry(sa: &EspSa) -> String {
    let family = if sa.src.is_ipv4() { "IPv4" } else { "IPv6" };
    let (cipher, integrity) = names(sa.suite).expect("a suite that tshark knows");
    let key = |octets: &[u8]| match octets {
        [] => String::new(),
        octets => format!("0x{}", hex(octets)),
    };
    format!(
        "\"{family}\",\"{}\",\"{}\",\"{:#010x}\",\"{cipher}\",\"{}\",\"{integrity}\",\"{}\"",
        sa.src,
        sa.dst,
        sa.spi,
        key(&sa.enc),
        key(&sa.auth)
    )
}

/// tshark's names of the two transforms, if it knows both.
fn names(suite: Suite) -> Option<(&'static str, &'static str)> {
    let cipher = match suite.encryption()? {
        Encryption::Null => "NULL",
        Encryption::TripleDesCbc => "TripleDES-CBC [RFC2451]",
        Encryption::AesCbc(_) => "AES-CBC [RFC3602]",
        Encryption::AesCtr(_) => "AES-CTR [RFC3686]",
        Encryption::AesGcm(_, IcvLen::Octets8) => "AES-GCM with 8 octet ICV [RFC4106]",
        Encryption::AesGcm(_, IcvLen::Octets12) => "AES-GCM with 12 octet ICV [RFC4106]",
        Encryption::AesGcm(_, IcvLen::Octets16) => "AES-GCM with 16 octet ICV [RFC4106]",
        Encryption::AesCcm(..) | Encryption::NullAesGmac(_) | Encryption::Chacha20Poly1305 => {
            return None;
        }
    };
    let integrity = match suite.integrity() {
        None => "NULL",
        Some(Integrity::HmacMd5) => "HMAC-MD5-96 [RFC2403]",
        Some(Integrity::HmacSha1) => "HMAC-SHA-1-96 [RFC2404]",
        Some(Integrity::HmacSha256) => "HMAC-SHA-256-128 [RFC4868]",
        Some(Integrity::HmacSha384) => "HMAC-SHA-384-192 [RFC4868]",
        Some(Integrity::HmacSha512) => "HMAC-SHA-512-256 [RFC4868]",
        Some(Integrity::AesXcbc | Integrity::AesCmac | Integrity::AesGmac(_)) => return None,
    };
    Some((cipher, integrity))
}

fn verdict(layers: &Value) -> Verdict {
    let all = |field: &str| -> Vec<&str> {
        let values = layers[field].as_array().map(Vec::as_slice);
        let values = values.unwrap_or_default().iter();
        values.filter_map(Value::as_str).collect()
    };
    let first = |field| all(field).first().copied();
    let addresses = |src, dst| {
        let parse = |text: &str| text.parse().expect("an address from tshark");
        all(src)
            .into_iter()
            .zip(all(dst))
            .map(|(src, dst)| (parse(src), parse(dst)))
            .collect::<Vec<_>>()
    };
    let mut pairs = addresses("ip.src", "ip.dst");
    pairs.extend(addresses("ipv6.src", "ipv6.dst"));
    Verdict {
        icv_good: first("esp.icv_good").map(|text| matches!(text, "1" | "True")),
        spi: first("esp.spi").map(|text| {
            u32::from_str_radix(text.trim_start_matches("0x"), 16).expect("an SPI from tshark")
        }),
        sequence: first("esp.sequence").map(|text| text.parse().expect("a number from tshark")),
        addresses: pairs,
        layers: first("frame.protocols").unwrap_or_default().to_owned(),
        data: first("data.data").map(unhex).unwrap_or_default(),
    }
}

/// Octets of tshark's hexadecimal digits.
fn unhex(digits: &str) -> Vec<u8> {
    let digits = digits.replace(':', "");
    let octet = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("octets from tshark");
    (0..digits.len()).step_by(2).map(octet).collect()
}

/// Reads a capture; for each packet tshark's text of one protocol in full, everything else in a line.
///
/// # Errors
/// If tshark is not installed.
pub fn dissect(capture: &Path, protocol: &str) -> Result<Vec<String>, Unavailable> {
    require_tools(&["tshark"])?;
    let mut tshark = tshark(capture);
    let output = tshark.args(["-O", protocol]).output();
    let output = output.expect("starting tshark");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tshark: {complaint}");
    let text = String::from_utf8(output.stdout).expect("text from tshark");
    let packets = text.split("\n\n").filter(|packet| !packet.is_empty());
    Ok(packets.map(str::to_owned).collect())
}

/// tshark, told to read this capture with a profile of its own, which keeps the user's preferences and keys out.
fn tshark(capture: &Path) -> Command {
    let profile = capture.with_extension("wireshark");
    fs::create_dir_all(&profile).unwrap_or_else(|e| panic!("{}: {e}", profile.display()));
    let mut tshark = Command::new("tshark");
    tshark
        .env("WIRESHARK_CONFIG_DIR", &profile)
        .args(["-n", "-r"])
        .arg(capture);
    tshark
}

/// Writes whole IP packets as a capture that tshark reads.
pub fn write_capture<P: AsRef<[u8]>>(path: &Path, packets: &[P]) {
    const RAW_IP: u32 = 101;
    let mut file = Vec::new();
    for field in [0xa1b2_c3d4, 0x0002_0004, 0, 0, 0x4_0000, RAW_IP] {
        // The version is two 16-bit fields, 2 and 4: big-endian they read as this one.
        file.extend_from_slice(&u32::to_be_bytes(field));
    }
    for (at, packet) in (0_u32..).zip(packets) {
        let packet = packet.as_ref();
        let len = u32::try_from(packet.len()).expect("an IP packet");
        for field in [at, 0, len, len] {
            file.extend_from_slice(&field.to_be_bytes());
        }
        file.extend_from_slice(packet);
    }
    fs::write(path, file).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}
