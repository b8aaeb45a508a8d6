//! Which extended key usages a certificate for IKE may have.

use webpki::{Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter};

/// The OIDs that are taken, without tag and length.
static TAKEN: [&[u8]; 8] = [
    // anyExtendedKeyUsage, 2.5.29.37.0
    &[0x55, 0x1d, 0x25, 0x00],
    // id-kp-ipsecIKE, 1.3.6.1.5.5.7.3.17
    &[0x2b, 6, 1, 5, 5, 7, 3, 17],
    // iKEIntermediate, 1.3.6.1.5.5.8.2.2, which older peers want
    &[0x2b, 6, 1, 5, 5, 8, 2, 2],
    // serverAuth and clientAuth
    &[0x2b, 6, 1, 5, 5, 7, 3, 1],
    &[0x2b, 6, 1, 5, 5, 7, 3, 2],
    // ipsecEndSystem, ipsecTunnel and ipsecUser, which RFC 4945 only names for history
    &[0x2b, 6, 1, 5, 5, 7, 3, 5],
    &[0x2b, 6, 1, 5, 5, 7, 3, 6],
    &[0x2b, 6, 1, 5, 5, 7, 3, 7],
];

/// No extended key usages, or one that fits IKE.
//= RFC 4945 §5.1.3.12: none, or one of anyExtendedKeyUsage and ipsecIKE. The usages of TLS are taken too, since the
// certificates that clients of today ask of a gateway have them, and the older ones of IPsec.
pub(super) struct IkeUsage;

impl ExtendedKeyUsageValidator for IkeUsage {
    fn validate(&self, usages: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let (mut any, mut taken) = (false, false);
        for usage in usages {
            let usage = usage?;
            any = true;
            taken |= TAKEN.iter().any(|oid| KeyPurposeId::new(oid) == usage);
        }
        if any && !taken {
            // The library's own reason with its list is built by its own rule only; this one is told apart by the caller.
            return Err(Error::EmptyEkuExtension);
        }
        Ok(())
    }
}
