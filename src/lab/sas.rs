//! The SAs of a lab's tunnel: keys and SPIs drawn afresh for every run, and never written anywhere.

use std::net::IpAddr;

use adit_abi::Suite;
use zeroize::Zeroizing;

use super::{Family, LabError, Side};

/// What the SAs of a tunnel have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaShape {
    /// ESP suite.
    pub suite: Suite,
    /// Address family of the outer header.
    pub outer: Family,
    /// Extended sequence numbers.
    pub esn: bool,
    /// ESP in UDP port 4500.
    pub encap: bool,
}

impl Default for SaShape {
    fn default() -> Self {
        SaShape {
            suite: Suite::AES128_GCM16,
            outer: Family::V4,
            esn: false,
            encap: false,
        }
    }
}

/// One SA: one direction, for one family of inner packets.
#[derive(Clone)]
pub struct LabSa {
    /// The gateway that seals.
    pub from: Side,
    /// Family of the inner packets.
    pub inner: Family,
    /// Security Parameters Index.
    pub spi: u32,
    /// Encryption key, with the salt at its end where the suite has one.
    pub enc_key: Zeroizing<Vec<u8>>,
    /// Integrity key; empty where the cipher authenticates by itself.
    pub auth_key: Zeroizing<Vec<u8>>,
}

impl LabSa {
    /// The outer source address.
    pub fn source(&self, outer: Family) -> IpAddr {
        self.from.outside_address(outer)
    }

    /// The outer destination address.
    pub fn destination(&self, outer: Family) -> IpAddr {
        self.from.other().outside_address(outer)
    }
}

impl std::fmt::Debug for LabSa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LabSa")
            .field("from", &self.from)
            .field("inner", &self.inner)
            .field("spi", &self.spi)
            .finish_non_exhaustive()
    }
}

/// Both directions for both inner families: four SAs and, in each gateway, two PROTECT policies.
#[derive(Debug, Clone)]
pub struct TunnelPlan {
    /// What they have in common.
    pub shape: SaShape,
    /// The SAs.
    pub sas: Vec<LabSa>,
}

impl TunnelPlan {
    /// SAs of `shape` with fresh keys and SPIs.
    ///
    /// # Errors
    /// [`LabError::Io`] if the system gives no random octets.
    pub fn fresh(shape: SaShape) -> Result<Self, LabError> {
        let mut sas = Vec::new();
        for inner in Family::BOTH {
            for from in Side::BOTH {
                sas.push(LabSa {
                    from,
                    inner,
                    spi: fresh_spi()?,
                    enc_key: random(shape.suite.enc_key_len())?,
                    auth_key: random(shape.suite.auth_key_len())?,
                });
            }
        }
        Ok(TunnelPlan { shape, sas })
    }

    /// The suite as swanctl writes a proposal.
    pub fn proposal(&self) -> String {
        let esn = if self.shape.esn { "-esn" } else { "" };
        format!("{}{esn}", self.shape.suite)
    }
}

/// A SPI outside the reserved ones (RFC 4303 §2.1).
fn fresh_spi() -> Result<u32, LabError> {
    let octets = random(4)?;
    let number = octets
        .iter()
        .fold(0u32, |n, octet| n << 8 | u32::from(*octet));
    Ok(number | 1 << 31)
}

fn random(octets: usize) -> Result<Zeroizing<Vec<u8>>, LabError> {
    let mut bytes = Zeroizing::new(vec![0; octets]);
    getrandom::fill(&mut bytes)
        .map_err(|e| LabError::io("draw random octets", std::io::Error::other(e)))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_sas_share_a_key_or_a_spi() {
        let plans = [(); 2].map(|()| TunnelPlan::fresh(SaShape::default()).expect("a plan"));
        let sas: Vec<&LabSa> = plans.iter().flat_map(|plan| &plan.sas).collect();
        assert_eq!(sas.len(), 8);
        for (n, sa) in sas.iter().enumerate() {
            assert_eq!(sa.enc_key.len(), 20);
            assert!(sa.spi > 255);
            assert!(
                sas[..n]
                    .iter()
                    .all(|other| other.enc_key != sa.enc_key && other.spi != sa.spi)
            );
        }
    }

    #[test]
    fn keys_are_not_shown() {
        let plan = TunnelPlan::fresh(SaShape::default()).expect("a plan");
        assert!(!format!("{plan:?}").contains("key"));
    }
}
