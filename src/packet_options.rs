//! Options of `adit sa add` about the packets that the SA carries.

use adit_control::sadb::parse_tfc_padding;
use adit_vici::Message;

/// How the SA treats its packets.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Packets")]
pub struct PacketOptions {
    /// Look the outer DSCP up in the gateway's `dscp_map`
    #[arg(long, conflicts_with = "dscp")]
    pub map_dscp: bool,
    /// Clear the outer ECN field instead of copying it (RFC 6040)
    #[arg(long)]
    pub clear_ecn: bool,
    /// TTL or hop limit of the outer header [default: 64]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..))]
    pub hop_limit: Option<u8>,
    /// Flow label of the outer IPv6 header [default: zero]
    #[arg(long, value_parser = ["zero", "copy", "hash"])]
    pub flow_label: Option<String>,
    /// Cut what is too big for the path before or after it is sealed [default: before]
    #[arg(long, value_parser = ["before", "after"])]
    pub fragment: Option<String>,
    /// Path MTU in octets [default: the route's, and what routers tell]
    #[arg(long, value_name = "OCTETS", value_parser = clap::value_parser!(u16).range(576..))]
    pub path_mtu: Option<u16>,
    /// Carry later fragments too, though the SA selects by port (RFC 4301 §7.3)
    #[arg(long)]
    pub later_fragments: bool,
    /// Judge ICMP errors by what they quote, even where their own header fits (RFC 4301 §6.2)
    #[arg(long)]
    pub check_icmp: bool,
    /// Pad inner packets to so many octets, or as many as fit the path: `mtu` (RFC 4303 §2.7)
    #[arg(long, value_name = "OCTETS|mtu", value_parser = tfc_padding)]
    pub tfc_padding: Option<String>,
    /// Dummy packets to send a second (RFC 4303 §2.6)
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(..=10_000))]
    pub dummies: Option<u16>,
}

fn tfc_padding(text: &str) -> Result<String, String> {
    parse_tfc_padding(text)
        .map(|_| text.to_owned())
        .map_err(|expected| format!("expected {expected}"))
}

impl PacketOptions {
    /// Adds what was said to the arguments of `sa-add`.
    pub fn add_to(&self, message: &mut Message) {
        let number = |n: Option<u16>| n.map(|n| n.to_string());
        let yes = |said: bool| said.then(|| "yes".to_owned());
        for (key, value) in [
            ("ecn", self.clear_ecn.then(|| "no".to_owned())),
            ("hop_limit", number(self.hop_limit.map(u16::from))),
            ("flow_label", self.flow_label.clone()),
            ("fragment", self.fragment.clone()),
            ("path_mtu", number(self.path_mtu)),
            ("later_fragments", yes(self.later_fragments)),
            ("check_icmp", yes(self.check_icmp)),
            ("tfc_padding", self.tfc_padding.clone()),
            ("dummies", number(self.dummies)),
        ] {
            if let Some(value) = value {
                message.add(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Words {
        #[arg(long)]
        dscp: Option<u8>,
        #[command(flatten)]
        packets: PacketOptions,
    }

    fn parse(words: &str) -> Result<PacketOptions, clap::Error> {
        Words::try_parse_from(["add"].into_iter().chain(words.split_whitespace()))
            .map(|w| w.packets)
    }

    #[test]
    fn what_is_said_reaches_the_message_and_nothing_else() {
        let message = |words: &str| {
            let mut message = Message::new();
            parse(words).unwrap().add_to(&mut message);
            message
        };
        assert_eq!(message(""), Message::new());
        let all = message(
            "--clear-ecn --hop-limit 9 --flow-label hash --fragment after --path-mtu 1400 \
             --later-fragments --check-icmp --tfc-padding mtu --dummies 5",
        );
        for (key, value) in [
            ("ecn", "no"),
            ("hop_limit", "9"),
            ("flow_label", "hash"),
            ("fragment", "after"),
            ("path_mtu", "1400"),
            ("later_fragments", "yes"),
            ("check_icmp", "yes"),
            ("tfc_padding", "mtu"),
            ("dummies", "5"),
        ] {
            assert_eq!(all.str(key), Some(value), "{key}");
        }
    }

    #[test]
    fn wrong_words_are_refused() {
        for wrong in [
            "--hop-limit 0",
            "--flow-label random",
            "--fragment never",
            "--path-mtu 100",
            "--tfc-padding 3",
            "--dummies 10001",
            "--map-dscp --dscp 3",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
