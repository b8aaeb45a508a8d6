//! One SA as the peers are told of it.

use adit::lab::sas::{LabSa, TunnelPlan};
use adit_abi::{Encryption, Integrity, Suite};
use std::fmt::Write;
use std::net::IpAddr;

/// An ESP tunnel-mode SA, its keys included.
#[derive(Clone, Debug)]
pub struct EspSa {
    /// Cipher and integrity algorithm.
    pub suite: Suite,
    /// Encryption key, with the salt at its end where the suite has one.
    pub enc: Vec<u8>,
    /// Integrity key; empty where the cipher authenticates by itself.
    pub auth: Vec<u8>,
    /// In host byte order.
    pub spi: u32,
    /// 64-bit sequence numbers.
    pub esn: bool,
    /// Outer source.
    pub src: IpAddr,
    /// Outer destination, of the same family.
    pub dst: IpAddr,
    /// Source and destination port of UDP encapsulation.
    pub udp: Option<(u16, u16)>,
}

impl EspSa {
    /// An SA with fresh keys, without ESN and UDP encapsulation.
    pub fn fresh(suite: Suite, spi: u32, src: IpAddr, dst: IpAddr) -> Self {
        let random = |len| {
            let mut key = vec![0; len];
            getrandom::fill(&mut key).expect("the system gives random octets");
            key
        };
        Self {
            suite,
            enc: random(suite.enc_key_len()),
            auth: random(suite.auth_key_len()),
            spi,
            esn: false,
            src,
            dst,
            udp: None,
        }
    }

    /// An SA of a lab's tunnel, as its peers see it.
    pub fn of_lab(plan: &TunnelPlan, sa: &LabSa) -> Self {
        Self {
            suite: plan.shape.suite,
            enc: sa.enc_key.to_vec(),
            auth: sa.auth_key.to_vec(),
            spi: sa.spi,
            esn: plan.shape.esn,
            src: sa.source(plan.shape.outer),
            dst: sa.destination(plan.shape.outer),
            udp: plan.shape.encap.then_some((4500, 4500)),
        }
    }

    /// What encrypts and authenticates, in the words of `ip xfrm state add`.
    pub fn transforms(&self) -> String {
        let (enc, auth) = (hex(&self.enc), hex(&self.auth));
        let bits = self.suite.icv_len() * 8;
        match self.suite.encryption().expect("an ESP SA") {
            Encryption::AesGcm(..) => format!("aead rfc4106(gcm(aes)) 0x{enc} {bits}"),
            Encryption::AesCcm(..) => format!("aead rfc4309(ccm(aes)) 0x{enc} {bits}"),
            Encryption::NullAesGmac(_) => format!("aead rfc4543(gcm(aes)) 0x{enc} {bits}"),
            Encryption::Chacha20Poly1305 => {
                format!("aead rfc7539esp(chacha20,poly1305) 0x{enc} {bits}")
            }
            cipher => {
                let cipher = match cipher {
                    Encryption::AesCbc(_) => format!("cbc(aes) 0x{enc}"),
                    Encryption::AesCtr(_) => format!("rfc3686(ctr(aes)) 0x{enc}"),
                    Encryption::TripleDesCbc => format!("cbc(des3_ede) 0x{enc}"),
                    _ => "ecb(cipher_null) \"\"".to_owned(),
                };
                let integrity = self.suite.integrity();
                let mac = match integrity.expect("integrity beside the cipher") {
                    Integrity::HmacMd5 => "hmac(md5)",
                    Integrity::HmacSha1 => "hmac(sha1)",
                    Integrity::HmacSha256 => "hmac(sha256)",
                    Integrity::HmacSha384 => "hmac(sha384)",
                    Integrity::HmacSha512 => "hmac(sha512)",
                    Integrity::AesXcbc => "xcbc(aes)",
                    Integrity::AesCmac => "cmac(aes)",
                    Integrity::AesGmac(_) => unreachable!("AH only"),
                };
                format!("auth-trunc {mac} 0x{auth} {bits} enc {cipher}")
            }
        }
    }

    /// As a line for `ip -batch`; `sequence` is the last number that was used.
    pub fn iproute(&self, sequence: u64) -> String {
        let transforms = self.transforms();
        // Without af-unspec an SA carries inner packets of its own outer family only.
        let flags = if self.esn {
            "af-unspec esn"
        } else {
            "af-unspec"
        };
        let (high, low) = (sequence >> 32, sequence & 0xffff_ffff);
        format!(
            "xfrm state add src {} dst {} proto esp spi {:#x} mode tunnel flag {flags} replay-window 64 \
             replay-seq {low:#x} replay-seq-hi {high:#x} replay-oseq {low:#x} replay-oseq-hi {high:#x} \
             {transforms}\n",
            self.src, self.dst, self.spi
        )
    }

    /// A policy for `ip -batch` that has the kernel ask for this SA; the direction is the kernel's, the prefixes are inner ones.
    pub fn iproute_policy(&self, direction: &str, src: &str, dst: &str) -> String {
        format!(
            "xfrm policy add src {src} dst {dst} dir {direction} \
             tmpl src {} dst {} proto esp spi {:#x} mode tunnel\n",
            self.src, self.dst, self.spi
        )
    }
}

/// Octets in lower-case hexadecimal.
pub fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}
