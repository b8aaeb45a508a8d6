//! A Linux kernel in place of gateway B and of the host behind it, on a lab's outside wire.

use crate::peers::Unavailable;
use crate::peers::guest::{Guest, Link};
use crate::peers::sa::EspSa;
use adit::lab::sas::TunnelPlan;
use adit::lab::{Family, Side, Topology};
use std::fmt::Write;

/// The guest, which has gateway B's outside addresses and host B's own.
pub struct LinuxGateway {
    /// For commands.
    pub guest: Guest,
}

impl LinuxGateway {
    /// Cuts gateway B off the wire of a lab that is [`tapped`](adit::lab::Shape::tapped), and boots the guest there.
    ///
    /// # Errors
    /// As [`Guest::boot`].
    pub fn boot(name: &str, topology: &Topology) -> Result<Self, Unavailable> {
        let wire = topology.wire().expect("the lab is tapped");
        wire.ip("link set to-gw-b nomaster down\n\
             tuntap add to-guest mode tap\n\
             link set to-guest master bridge up")
            .expect("a place on the wire");
        let link = Link::Tap {
            namespace: wire.name(),
            device: "to-guest",
        };
        let guest = Guest::boot(name, &link, &addresses())?;
        Ok(Self { guest })
    }

    /// Has the kernel seal and open by this plan's SAs, and by no others.
    pub fn install(&mut self, plan: &TunnelPlan) {
        let mut script =
            String::from("ip xfrm policy flush && ip xfrm state flush && ip -batch - <<END\n");
        for lab_sa in &plan.sas {
            let sa = EspSa::of_lab(plan, lab_sa);
            let direction = match lab_sa.from {
                Side::A => "in",
                Side::B => "out",
            };
            let src = lab_sa.from.prefix(lab_sa.inner);
            let dst = lab_sa.from.other().prefix(lab_sa.inner);
            script += &sa.iproute(0);
            script += &sa.iproute_policy(direction, &src, &dst);
        }
        self.guest.must(&(script + "END\n"));
    }

    /// Pings host A from the host that the guest is; how many replies came.
    pub fn ping(&mut self, family: Family, count: u64) -> u64 {
        let (from, to) = (Side::B.host_address(family), Side::A.host_address(family));
        let (_, output) = self
            .guest
            .run(&format!("ping -q -i 0.1 -w 20 -c {count} -I {from} {to}"));
        let received = output
            .split_once(" packets transmitted, ")
            .and_then(|(_, rest)| rest.split_once(' '))
            .and_then(|(received, _)| received.parse().ok());
        received.unwrap_or_else(|| panic!("the guest's ping said {output}"))
    }

    /// The kernel's counters and SAs, for messages.
    pub fn state(&mut self) -> String {
        self.guest
            .run("cat /proc/net/xfrm_stat; ip -s xfrm state list nokeys")
            .1
    }
}

fn addresses() -> String {
    let mut script = String::from("ip link set eth0 up\nip -batch - <<END || exit 1\n");
    for family in Family::BOTH {
        let (len, nodad) = match family {
            Family::V4 => (24, ""),
            Family::V6 => (64, "nodad"),
        };
        let _ = write!(
            script,
            "addr add {}/{len} dev eth0 {nodad}\n\
             addr add {} dev lo {nodad}\n\
             route add {} via {}\n",
            Side::B.outside_address(family),
            Side::B.host_address(family),
            Side::A.prefix(family),
            Side::A.outside_address(family)
        );
    }
    script + "END\n"
}
