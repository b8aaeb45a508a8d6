//! Configuration payloads: virtual addresses and what goes with them, asked for and given (RFC 7296 §2.19, §3.15).

use std::net::IpAddr;

use super::child::Refusal;
use super::payloads::Payloads;
use super::sa::IkeSa;
use crate::config::{Addresses, Child, SelectorSpec};
use crate::endpoint::{Context, Reason};
use crate::identity::Identity;
use crate::wire::v2::{
    Configuration, ConfigurationAttribute as Attribute, ConfigurationType, NotifyType, Payload,
};

/// Virtual addresses that one peer is given, each family counted: more are not asked for by anybody.
const MOST_ADDRESSES: usize = 4;

impl IkeSa {
    /// What this end asks for.
    pub(super) fn configuration_request(&self) -> Option<Payload> {
        let vips = &self.connection.vips;
        if vips.is_empty() {
            return None;
        }
        let mut attributes = Vec::new();
        for vip in vips {
            let wish = !vip.is_unspecified();
            attributes.push(match vip {
                IpAddr::V4(a) => Attribute::Ip4Address(wish.then_some(*a)),
                IpAddr::V6(a) => Attribute::Ip6Address(wish.then_some((*a, 128))),
            });
        }
        if vips.iter().any(IpAddr::is_ipv4) {
            attributes.push(Attribute::Ip4Dns(None));
        }
        if vips.iter().any(IpAddr::is_ipv6) {
            attributes.push(Attribute::Ip6Dns(None));
        }
        let kind = ConfigurationType::Request;
        Some(Payload::Configuration(Configuration { kind, attributes }))
    }

    /// Takes over what the peer gives us.
    pub(super) fn take_configuration(&mut self, p: &Payloads) {
        let asked = &self.connection.vips;
        let reply = p.configuration.as_ref();
        let Some(reply) = reply.filter(|c| c.kind == ConfigurationType::Reply && !asked.is_empty())
        else {
            return;
        };
        for attribute in &reply.attributes {
            match attribute {
                Attribute::Ip4Address(Some(a)) => self.vips_here.push((*a).into()),
                Attribute::Ip6Address(Some((a, _))) => self.vips_here.push((*a).into()),
                Attribute::Ip4Dns(Some(a)) => self.dns.push((*a).into()),
                Attribute::Ip6Dns(Some(a)) => self.dns.push((*a).into()),
                _ => {}
            }
        }
        self.vips_here.truncate(MOST_ADDRESSES);
        self.dns.truncate(MOST_ADDRESSES);
    }

    /// Gives the peer what it asks for, as far as the connection has pools.
    pub(super) fn configuration_reply(
        &mut self,
        cx: &mut Context<'_>,
        p: &Payloads,
    ) -> Result<Option<Payload>, Box<Refusal>> {
        let request = p.configuration.as_ref();
        let Some(request) = request.filter(|c| c.kind == ConfigurationType::Request) else {
            return Ok(None);
        };
        let pools = self.connection.pools.clone();
        let Some(identity) = self.lessee().filter(|_| !pools.is_empty()) else {
            return Ok(None);
        };
        let mut attributes = Vec::new();
        let mut refused = false;
        for attribute in &request.attributes {
            let (v4, wish) = match attribute {
                Attribute::Ip4Address(wish) => (true, wish.map(IpAddr::from)),
                Attribute::Ip6Address(wish) => (false, wish.map(|(a, _)| IpAddr::from(a))),
                _ => continue,
            };
            if self.vips_there.len() == MOST_ADDRESSES {
                break;
            }
            let wish = wish.filter(|a| !a.is_unspecified());
            match cx.pools.acquire(&pools, &identity, v4, wish) {
                Some(address) => {
                    self.vips_there.push(address);
                    attributes.push(match address {
                        IpAddr::V4(a) => Attribute::Ip4Address(Some(a)),
                        IpAddr::V6(a) => Attribute::Ip6Address(Some((a, 128))),
                    });
                }
                None => refused = true,
            }
        }
        //= RFC 7296 §3.15.4: INTERNAL_ADDRESS_FAILURE where no address at all can be given; one family of two will do
        if refused && attributes.is_empty() {
            let what = format!(
                "no address is left for {identity} in the pools {}: enlarge one",
                pools.join(", ")
            );
            let notify = NotifyType::InternalAddressFailure;
            return Err(Box::new(Refusal::new(notify, Reason::Local(what))));
        }
        attributes.extend(cx.pools.attributes(&pools));
        let kind = ConfigurationType::Reply;
        Ok(Some(Payload::Configuration(Configuration {
            kind,
            attributes,
        })))
    }

    /// Gives the peer's virtual addresses back to their pools.
    pub(super) fn release_addresses(&mut self, cx: &mut Context<'_>) {
        let addresses = std::mem::take(&mut self.vips_there);
        if let Some(identity) = self.lessee() {
            for address in addresses {
                cx.pools.release(address, &identity);
            }
        }
    }

    /// Who a lease belongs to: who EAP says it is, else the IKE identity.
    fn lessee(&self) -> Option<Identity> {
        match &self.eap_id {
            Some(name) => {
                let kind = crate::wire::v2::IdType::KeyId;
                Some(Identity::new(kind, name.clone()))
            }
            None => self.remote_id.clone(),
        }
    }

    /// The local selectors to offer while virtual addresses are still to come: `dynamic` stands for all of a family.
    pub(super) fn selectors_before_addresses(&self, config: &Child) -> Option<Vec<SelectorSpec>> {
        let vips = &self.connection.vips;
        if vips.is_empty() || !self.vips_here.is_empty() {
            return None;
        }
        //= RFC 7296 §2.19: TSi covers all addresses where the responder is to choose one
        let any = |v4: bool| {
            let zero = if v4 {
                IpAddr::from([0; 4])
            } else {
                IpAddr::from([0; 16])
            };
            SelectorSpec::prefix(zero, 0).map(|all| all.addresses)
        };
        let mut families: Vec<_> = vips.iter().map(IpAddr::is_ipv4).collect();
        families.dedup();
        let mut out = Vec::new();
        for spec in &config.local_ts {
            match spec.addresses {
                Addresses::Dynamic => {
                    let all = families.iter().filter_map(|v4| any(*v4));
                    out.extend(all.map(|addresses| SelectorSpec { addresses, ..*spec }));
                }
                Addresses::Range(..) => out.push(*spec),
            }
        }
        Some(out)
    }
}
