//! Rules of policy routing that are adit's own: which table the kernel asks for what this host sends.

use std::io;
use std::net::IpAddr;

use adit_abi::{Address, Prefix};
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage, RulePortRange};
use netlink_packet_route::{AddressFamily, IpProtocol, RouteNetlinkMessage};

use super::OWN_PROTOCOL;
use super::request::{
    ACKNOWLEDGE, CREATE, DUMP, EXCLUSIVE, REQUEST, family, family_address, is_family_missing,
};
use super::route_socket::Asker;

/// A rule: what goes from one prefix to another is looked up in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnRule {
    /// The lowest is asked first.
    pub priority: u32,
    /// The table asked.
    pub table: u8,
    /// Source; length 0 for any, even none.
    pub from: Prefix,
    /// Destination, of the same family.
    pub to: Prefix,
    /// UDP from this port alone.
    pub udp_from: Option<u16>,
}

/// Every address of a family.
pub fn everything(v4: bool) -> Prefix {
    Prefix::from_mapped(
        Address::from_u128(0xffff_0000_0000),
        if v4 { 96 } else { 0 },
    )
}

impl Asker {
    /// Adds a rule; one that is there already is fine, and so is a kernel without its family.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add_rule(&mut self, rule: &OwnRule) -> io::Result<()> {
        let flags = REQUEST | ACKNOWLEDGE | CREATE | EXCLUSIVE;
        match self.ask(RouteNetlinkMessage::NewRule(message(rule)), flags) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists || is_family_missing(&e) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Takes a rule away; one that is not there is fine.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove_rule(&mut self, rule: &OwnRule) -> io::Result<()> {
        let flags = REQUEST | ACKNOWLEDGE;
        match self.ask(RouteNetlinkMessage::DelRule(message(rule)), flags) {
            Err(e) if e.kind() == io::ErrorKind::NotFound || is_family_missing(&e) => Ok(()),
            other => other.map(drop),
        }
    }

    /// The rules that adit added, whichever process it was.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn own_rules(&mut self) -> io::Result<Vec<OwnRule>> {
        let all = RouteNetlinkMessage::GetRule(RuleMessage::default());
        let messages = self.ask(all, REQUEST | DUMP)?;
        let own = messages.iter().filter_map(|m| match &m.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRule(m)) => read(m),
            _ => None,
        });
        Ok(own.collect())
    }
}

fn message(rule: &OwnRule) -> RuleMessage {
    let (from, to) = (family_address(rule.from), family_address(rule.to));
    let mut message = RuleMessage::default();
    message.header.family = family(&from);
    message.header.table = rule.table;
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Priority(rule.priority),
        RuleAttribute::Protocol(RouteProtocol::Other(OWN_PROTOCOL)),
    ];
    let mut add = |attribute| message.attributes.push(attribute);
    if rule.from.family_length() > 0 {
        add(RuleAttribute::Source(from));
    }
    if rule.to.family_length() > 0 {
        add(RuleAttribute::Destination(to));
    }
    if let Some(port) = rule.udp_from {
        add(RuleAttribute::IpProtocol(IpProtocol::Udp));
        add(RuleAttribute::SourcePortRange(RulePortRange {
            start: port,
            end: port,
        }));
    }
    message.header.src_len = rule.from.family_length();
    message.header.dst_len = rule.to.family_length();
    message
}

fn read(message: &RuleMessage) -> Option<OwnRule> {
    let v4 = match message.header.family {
        AddressFamily::Inet => true,
        AddressFamily::Inet6 => false,
        _ => return None,
    };
    let mut rule = OwnRule {
        priority: 0,
        table: message.header.table,
        from: everything(v4),
        to: everything(v4),
        udp_from: None,
    };
    let prefix = |ip: &IpAddr, length| Prefix::new(*ip, length);
    let mut ours = false;
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(n) => rule.priority = *n,
            RuleAttribute::Protocol(p) => ours = u8::from(*p) == OWN_PROTOCOL,
            RuleAttribute::Source(ip) => rule.from = prefix(ip, message.header.src_len)?,
            RuleAttribute::Destination(ip) => rule.to = prefix(ip, message.header.dst_len)?,
            RuleAttribute::SourcePortRange(range) => rule.udp_from = Some(range.start),
            _ => {}
        }
    }
    ours.then_some(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_back_as_it_was_written() {
        let prefix = |ip: &str, length| Prefix::new(ip.parse().unwrap(), length).unwrap();
        for (from, to, udp_from) in [
            (prefix("10.1.0.0", 24), everything(true), None),
            (prefix("fd01::", 64), everything(false), None),
            (everything(false), prefix("::", 1), None),
            (prefix("192.0.2.1", 32), everything(true), Some(4500)),
        ] {
            let rule = OwnRule {
                priority: 175,
                table: 174,
                from,
                to,
                udp_from,
            };
            assert_eq!(read(&message(&rule)), Some(rule));
        }
    }

    #[test]
    fn a_rule_of_somebody_else_is_left_alone() {
        let mut theirs = message(&OwnRule {
            priority: 175,
            table: 174,
            from: everything(true),
            to: everything(true),
            udp_from: None,
        });
        theirs.attributes.truncate(1);
        assert_eq!(read(&theirs), None);
    }
}
