//! What the kernel says about links, addresses, routes and neighbours.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::time::Instant;

use adit_abi::{Address, Side};
use tracing::{error, info, warn};

use super::startup::mirror_port;
use super::{Gateway, GatewayPort};
use crate::host::forwarding;

/// Largest packet that this host sends into the TUN device. The data plane tells it when a tunnel takes less.
const TUN_MTU: u32 = 1500;

impl Gateway {
    /// The ports that are interfaces of their own.
    pub(crate) fn real_ports(&self) -> impl Iterator<Item = &GatewayPort> {
        self.ports.iter().filter(|p| p.side != Side::Host)
    }

    /// The kernel's number of the TUN device, if it is there.
    pub(super) fn tun_ifindex(&self) -> Option<u32> {
        let link = self.follower.mirror().link(&self.config.gateway.tun);
        link.filter(|l| l.up).map(|l| l.ifindex)
    }

    /// Whether this host's own traffic can reach the data plane.
    pub(crate) fn has_tun(&self) -> bool {
        self.tun_ifindex().is_some()
    }

    /// Sets the TUN device up and enters it as a port.
    pub(super) fn take_up_tun(&mut self) {
        let name = self.config.gateway.tun.clone();
        let link = match self.follower.find_link(self.sadb.forwarding(), &name) {
            Ok(Some(link)) => link,
            Ok(None) => return,
            Err(e) => {
                warn!(tun = %name, "cannot be found: {e}");
                return;
            }
        };
        let Some(port) = self.ports.iter().find(|p| p.side == Side::Host) else {
            return;
        };
        let mut port = mirror_port(port);
        port.ifindex = link.ifindex;
        quieten(&name);
        if !link.up
            && let Err(e) = self.follower.asker().set_up(link.ifindex, TUN_MTU)
        {
            warn!(tun = %name, "cannot be set up: {e}");
        }
        self.follower.set_port(port);
        // So that what is known says that it is up.
        if let Err(e) = self.follower.read_links(self.sadb.forwarding()) {
            warn!("links cannot be read: {e}");
        }
    }

    /// Takes in what changed; returns whether more waits.
    ///
    /// # Errors
    /// When netlink fails.
    pub fn follow_network(&mut self) -> io::Result<bool> {
        let (effect, more) = self.follower.follow(self.sadb.forwarding())?;
        if effect.own_addresses {
            self.sync_host();
            self.follow_addresses();
        }
        if effect.links {
            self.check_links();
        }
        if effect.missed {
            self.steer_again();
        }
        if effect.forwarding {
            self.tell_changed();
        }
        Ok(more)
    }

    /// A port's interface that went and came again is another one, even under the same number, and nothing is
    /// attached to it.
    fn check_links(&mut self) {
        let tun = self.config.gateway.tun.clone();
        let host = self.ports.iter().find(|p| p.side == Side::Host);
        let known = host.map(|p| self.follower.port_ifindex(p.number));
        let now = self.follower.mirror().link(&tun).map(|l| l.ifindex);
        if now.is_some() && known.flatten() != now {
            self.take_up_tun();
            self.sync_routes(&[]);
        }
        let gone = self.follower.take_gone();
        for ifindex in &gone {
            self.steer.forget(*ifindex);
        }
        let lost: Vec<_> = self
            .real_ports()
            .filter_map(|p| {
                let link = self.follower.mirror().link(&p.name).map(|l| l.ifindex);
                let is_lost = link != Some(p.ifindex) || gone.contains(&p.ifindex);
                is_lost.then(|| (p.name.clone(), p.side, link))
            })
            .collect();
        for (name, side, successor) in lost {
            // Nothing is attached to its successor, and the kernel may forward there: closed before all else.
            if let Some(ifindex) = successor
                && !self.steer.is_open()
                && self.steer.mode(ifindex).is_none()
            {
                forwarding::switch_off(&name);
                let steered = self.steer.attach(ifindex, side);
                match steered.and_then(|()| self.sync_unaddressed()) {
                    Ok(()) => info!(port = %name, "its new interface is steered, and closed"),
                    Err(e) => error!(port = %name, "its new interface cannot be steered: {e}"),
                }
            }
            if self.limit.admit("port lost", Instant::now()).is_some() {
                warn!(port = %name, "the interface is gone or another one: restart both processes once it is there");
            }
        }
    }

    /// A port's interface may have gone and come again under its number while nobody looked: what is attached stays so.
    fn steer_again(&mut self) {
        if self.steer.is_open() {
            return;
        }
        let ports: Vec<_> = self.real_ports().cloned().collect();
        for port in ports {
            let there = self.follower.mirror().link(&port.name).map(|l| l.ifindex);
            if there != Some(port.ifindex) {
                continue;
            }
            forwarding::switch_off(&port.name);
            if let Err(e) = self.steer.attach(port.ifindex, port.side) {
                error!(port = %port.name, "cannot be steered: {e}");
            }
        }
    }

    /// The data plane needs a neighbour.
    pub(super) fn resolve(&mut self, port: u8, address: Address) {
        let ip = IpAddr::from(address);
        let Some(port) = self.real_ports().find(|p| p.number == port) else {
            return;
        };
        if ip.is_multicast() || ip.is_unspecified() || ip.is_loopback() {
            return;
        }
        let ifindex = port.ifindex;
        self.follower.resolve(ifindex, ip, Instant::now());
    }

    /// Lets the kernel have everything: the only way to open.
    ///
    /// # Errors
    /// What removing the pins says.
    pub fn open(&mut self) -> io::Result<()> {
        info!("opening: the kernel gets every frame, nothing is protected any more");
        self.steer.open()?;
        self.routes.clear(self.follower.asker());
        Ok(())
    }
}

/// The TUN device needs no addresses of its own, and takes what the data plane opened from anybody.
fn quieten(name: &str) {
    for (family, setting, value) in [
        ("ipv4", "rp_filter", "0"),
        ("ipv6", "addr_gen_mode", "1"),
        ("ipv6", "accept_ra", "0"),
    ] {
        let path = format!("/proc/sys/net/{family}/conf/{name}/{setting}");
        // What the kernel lacks needs no setting.
        let _ = fs::write(path, value);
    }
}
