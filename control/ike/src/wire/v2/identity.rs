//! Who a peer is and how it proves it: IDi, IDr, CERT, CERTREQ and AUTH payloads (RFC 7296 §3.5–§3.8).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::wire::code::codes;
use crate::wire::error::{Fault, WireError};
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

codes! {
    /// What kind of name an identification holds (RFC 7296 §3.5, RFC 7619).
    pub enum IdType: u8 {
        Ipv4Address = 1, "ID_IPV4_ADDR";
        Fqdn = 2, "ID_FQDN";
        Rfc822Address = 3, "ID_RFC822_ADDR";
        Ipv6Address = 5, "ID_IPV6_ADDR";
        DerAsn1Dn = 9, "ID_DER_ASN1_DN";
        DerAsn1Gn = 10, "ID_DER_ASN1_GN";
        KeyId = 11, "ID_KEY_ID";
        FcName = 12, "ID_FC_NAME";
        /// RFC 7619.
        Null = 13, "ID_NULL";
    }
}

/// The name a peer goes by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identification {
    /// What kind of name.
    pub kind: IdType,
    /// The name, without terminating zero.
    pub data: Vec<u8>,
}

impl Identification {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let kind = IdType::from_number(reader.u8("ID type")?);
        reader.array::<3>("reserved")?;
        let data = reader.rest().to_vec();
        let fits = match kind {
            IdType::Ipv4Address => data.len() == size_of::<Ipv4Addr>(),
            IdType::Ipv6Address => data.len() == size_of::<Ipv6Addr>(),
            _ => true,
        };
        if !fits {
            return Err(reader.error("identification data", Fault::Length(data.len())));
        }
        Ok(Self { kind, data })
    }

    pub(super) fn emit(&self, writer: &mut Writer) {
        writer.bytes(&self.body());
    }

    /// What follows the generic header: type, three reserved octets, data. The AUTH payload covers it (RFC 7296 §2.15).
    pub fn body(&self) -> Vec<u8> {
        let mut body = vec![self.kind.number(), 0, 0, 0];
        body.extend_from_slice(&self.data);
        body
    }
}

codes! {
    /// What a CERT payload holds, or a CERTREQ payload asks for (RFC 7296 §3.6, RFC 7670, RFC 4806).
    pub enum CertificateEncoding: u8 {
        Pkcs7X509 = 1, "PKCS #7 wrapped X.509 certificate";
        Pgp = 2, "PGP certificate";
        DnsSignedKey = 3, "DNS signed key";
        X509Signature = 4, "X.509 certificate - signature";
        KerberosToken = 6, "Kerberos token";
        Crl = 7, "certificate revocation list";
        Arl = 8, "authority revocation list";
        Spki = 9, "SPKI certificate";
        X509Attribute = 10, "X.509 certificate - attribute";
        HashAndUrlX509Certificate = 12, "hash and URL of X.509 certificate";
        HashAndUrlX509Bundle = 13, "hash and URL of X.509 bundle";
        Ocsp = 14, "OCSP content";
        /// RFC 7670.
        RawPublicKey = 15, "raw public key";
    }
}

/// A certificate, a CRL, a raw key: octets of some encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// What the data is.
    pub encoding: CertificateEncoding,
    /// The data.
    pub data: Vec<u8>,
}

impl Certificate {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            encoding: CertificateEncoding::from_number(reader.u8("cert encoding")?),
            data: reader.rest().to_vec(),
        })
    }

    pub(super) fn emit(&self, writer: &mut Writer) {
        writer.u8(self.encoding.number());
        writer.bytes(&self.data);
    }
}

/// Which authorities' certificates are welcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRequest {
    /// What kind of certificate is asked for.
    pub encoding: CertificateEncoding,
    /// For X.509: SHA-1 hashes of trusted authorities' public keys, one after another.
    pub authorities: Vec<u8>,
}

impl CertificateRequest {
    /// The hashes; octets too few for a whole one are left out.
    pub fn key_hashes(&self) -> impl Iterator<Item = [u8; 20]> {
        self.authorities.as_chunks::<20>().0.iter().copied()
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            encoding: CertificateEncoding::from_number(reader.u8("cert encoding")?),
            authorities: reader.rest().to_vec(),
        })
    }

    pub(super) fn emit(&self, writer: &mut Writer) {
        writer.u8(self.encoding.number());
        writer.bytes(&self.authorities);
    }
}

codes! {
    /// How the AUTH payload's data was made (RFC 7296 §3.8, RFC 4754, RFC 7427, RFC 7619).
    pub enum AuthMethod: u8 {
        RsaSignature = 1, "RSA Digital Signature";
        SharedKey = 2, "Shared Key Message Integrity Code";
        DssSignature = 3, "DSS Digital Signature";
        EcdsaSha256P256 = 9, "ECDSA with SHA-256 on the P-256 curve";
        EcdsaSha384P384 = 10, "ECDSA with SHA-384 on the P-384 curve";
        EcdsaSha512P521 = 11, "ECDSA with SHA-512 on the P-521 curve";
        GenericSecurePassword = 12, "Generic Secure Password Authentication Method";
        Null = 13, "NULL Authentication";
        /// RFC 7427.
        DigitalSignature = 14, "Digital Signature";
    }
}

/// The proof that a peer is who it says.
#[derive(Clone, PartialEq, Eq)]
pub struct Authentication {
    /// How the data was made.
    pub method: AuthMethod,
    /// The signature or MAC; for [`AuthMethod::DigitalSignature`] preceded by its algorithm.
    pub data: Vec<u8>,
}

impl Authentication {
    /// A digital signature with the DER AlgorithmIdentifier of how it was made; `None` if that is longer than 255 octets (RFC 7427 §3).
    pub fn digital_signature(algorithm: &[u8], signature: &[u8]) -> Option<Self> {
        let mut data = vec![u8::try_from(algorithm.len()).ok()?];
        data.extend_from_slice(algorithm);
        data.extend_from_slice(signature);
        Some(Self {
            method: AuthMethod::DigitalSignature,
            data,
        })
    }

    /// The DER AlgorithmIdentifier and the signature of a digital signature (RFC 7427 §3).
    ///
    /// # Errors
    /// If the method is another, or the algorithm's length reaches beyond the data.
    pub fn algorithm_and_signature(&self) -> Result<(&[u8], &[u8]), WireError> {
        let mut reader = Reader::new("AUTH", &self.data);
        if self.method != AuthMethod::DigitalSignature {
            let fault = Fault::Value(self.method.number().into());
            return Err(reader.error("auth method", fault));
        }
        let length = reader.u8("ASN.1 length")?;
        let algorithm = reader.take(length.into(), "AlgorithmIdentifier")?;
        Ok((algorithm, reader.rest()))
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let method = AuthMethod::from_number(reader.u8("auth method")?);
        reader.array::<3>("reserved")?;
        Ok(Self {
            method,
            data: reader.rest().to_vec(),
        })
    }

    pub(super) fn emit(&self, writer: &mut Writer) {
        writer.u8(self.method.number());
        writer.bytes(&[0; 3]);
        writer.bytes(&self.data);
    }
}

/// Shows the length only: the data of a shared key allows guessing at it.
impl std::fmt::Debug for Authentication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Authentication({}, {} octets)",
            self.method,
            self.data.len()
        )
    }
}
