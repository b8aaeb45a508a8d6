//! How an SA treats the packets it carries: header fields, fragments, padding.

use adit_abi::{SaFlags, SaRecord};

/// The flow label of an outer IPv6 header (RFC 6438).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlowLabel {
    /// 0.
    #[default]
    Zero,
    /// The inner packet's own.
    Copy,
    /// A hash of the inner flow.
    Hash,
}

impl FlowLabel {
    /// The words for them.
    pub const WORDS: [(&'static str, Self); 3] = [
        ("zero", Self::Zero),
        ("copy", Self::Copy),
        ("hash", Self::Hash),
    ];
}

/// When a packet that is too big for the path is cut (RFC 4301 §8.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cut {
    /// Before it is sealed, where its own header allows it.
    #[default]
    Before,
    /// After it is sealed, where the outer header allows it.
    After,
}

impl Cut {
    /// The words for them.
    pub const WORDS: [(&'static str, Self); 2] = [("before", Self::Before), ("after", Self::After)];
}

/// How an SA treats the packets it carries. Its default is what the data plane does without being told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketRules {
    /// The outer DSCP is looked up in the gateway's map.
    pub map_dscp: bool,
    /// The outer ECN field is cleared instead of copied (RFC 6040 §4.1).
    pub clear_ecn: bool,
    /// Outer TTL or hop limit, 0 for 64.
    pub hop_limit: u8,
    /// The outer flow label.
    pub flow_label: FlowLabel,
    /// When what is too big is cut.
    pub cut: Cut,
    /// The path MTU in bytes, 0 for the route's.
    pub path_mtu: u16,
    /// Later fragments travel though the SA selects by port (RFC 4301 §7.3).
    pub later_fragments: bool,
    /// ICMP errors are judged by what they quote, even where their own header fits (RFC 4301 §6.2).
    pub check_icmp: bool,
    /// Inner packets are padded to this many bytes, [`u16::MAX`] for the path's most, 0 for none (RFC 4303 §2.7).
    pub tfc_padding: u16,
    /// Dummy packets sent a second (RFC 4303 §2.6).
    pub dummies: u16,
}

impl PacketRules {
    /// Writes the rules into a record.
    pub fn write(&self, record: &mut SaRecord) {
        let flags = [
            (self.map_dscp, SaFlags::DSCP_MAP),
            (self.clear_ecn, SaFlags::NO_ECN),
            (self.flow_label == FlowLabel::Copy, SaFlags::FLOW_COPY),
            (self.flow_label == FlowLabel::Hash, SaFlags::FLOW_HASH),
            (self.cut == Cut::After, SaFlags::FRAGMENT_AFTER),
            (self.later_fragments, SaFlags::STATEFUL_FRAGMENTS),
            (self.check_icmp, SaFlags::ICMP_CHECK),
            (self.dummies > 0, SaFlags::DUMMIES),
        ];
        for (_, flag) in flags.iter().filter(|(set, _)| *set) {
            record.flags = record.flags.with(*flag);
        }
        record.hop_limit = self.hop_limit;
        record.path_mtu = self.path_mtu;
        record.tfc_size = self.tfc_padding;
        record.dummies = self.dummies;
    }
}

/// Reads a size to pad to: bytes, `mtu` for as many as fit the path, `no` for none.
///
/// # Errors
/// What was expected.
pub fn parse_tfc_padding(text: &str) -> Result<u16, &'static str> {
    match text {
        "no" => Ok(0),
        "mtu" => Ok(u16::MAX),
        digits => digits
            .parse()
            .ok()
            .filter(|size| (64..u16::MAX).contains(size))
            .ok_or("mtu, no, or bytes from 64 to 65534"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    #[test]
    fn rules_become_flags_and_fields_and_the_default_none() {
        let mut record = SaRecord::new_zeroed();
        PacketRules::default().write(&mut record);
        assert_eq!(record.flags, SaFlags::default());
        let rules = PacketRules {
            map_dscp: true,
            clear_ecn: true,
            hop_limit: 9,
            flow_label: FlowLabel::Hash,
            cut: Cut::After,
            path_mtu: 1400,
            later_fragments: true,
            check_icmp: true,
            tfc_padding: 700,
            dummies: 3,
        };
        rules.write(&mut record);
        for flag in [
            SaFlags::DSCP_MAP,
            SaFlags::NO_ECN,
            SaFlags::FLOW_HASH,
            SaFlags::FRAGMENT_AFTER,
            SaFlags::STATEFUL_FRAGMENTS,
            SaFlags::ICMP_CHECK,
            SaFlags::DUMMIES,
        ] {
            assert!(record.flags.contains(flag), "{flag:?}");
        }
        let fields = (
            record.hop_limit,
            record.path_mtu,
            record.tfc_size,
            record.dummies,
        );
        assert_eq!(fields, (9, 1400, 700, 3));
    }

    #[test]
    fn padding_is_a_size_or_a_word() {
        assert_eq!(parse_tfc_padding("mtu"), Ok(u16::MAX));
        assert_eq!(parse_tfc_padding("no"), Ok(0));
        assert_eq!(parse_tfc_padding("1400"), Ok(1400));
        for wrong in ["63", "65535", "-1", "yes", ""] {
            assert!(parse_tfc_padding(wrong).is_err(), "{wrong}");
        }
    }
}
