//! The lab's network: four namespaces in a row, joined by veth pairs, each with IPv4 and IPv6.
//!
//! ```text
//!  host-a              gw-a                                       gw-b              host-b
//!  eth0 ───────── inside outside ───────────────────────── outside inside ───────── eth0
//!  10.1.0.2      10.1.0.1  192.0.2.1               192.0.2.2  10.2.0.1      10.2.0.2
//!  fd01::2       fd01::1   2001:db8::1           2001:db8::2  fd02::1       fd02::2
//! ```
//!
//! With [`Shape::tapped`] the outside wire runs through a fifth namespace, `wire`, as a bridge: a capture in a gateway sees neither what an
//! AF_XDP socket sends nor what an XDP program takes, a capture in the middle of the wire sees everything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::namespace::Namespace;
use super::{LabError, leftovers, process};

/// How the network is to be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Receive and transmit queues of every veth device.
    pub queues: u16,
    /// Leads the outside wire through a namespace of its own, for captures.
    pub tapped: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Shape {
            queues: 1,
            tapped: false,
        }
    }
}

/// One of the two address families, of inner or outer packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Family {
    /// IPv4.
    #[value(name = "v4")]
    V4,
    /// IPv6.
    #[value(name = "v6")]
    V6,
}

impl Family {
    /// Both, IPv4 first.
    pub const BOTH: [Family; 2] = [Family::V4, Family::V6];
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

/// One of the two ends of the lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// host-a and gw-a.
    A,
    /// host-b and gw-b.
    B,
}

impl Side {
    /// Both, A first.
    pub const BOTH: [Side; 2] = [Side::A, Side::B];

    /// The other one.
    pub fn other(self) -> Side {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }

    /// `a` or `b`, as in the namespaces' names.
    pub fn letter(self) -> char {
        match self {
            Side::A => 'a',
            Side::B => 'b',
        }
    }

    /// `gw-a` or `gw-b`.
    pub fn gateway(self) -> String {
        format!("gw-{}", self.letter())
    }

    /// `host-a` or `host-b`.
    pub fn host(self) -> String {
        format!("host-{}", self.letter())
    }

    fn number(self) -> u8 {
        match self {
            Side::A => 1,
            Side::B => 2,
        }
    }

    /// The host's address.
    pub fn host_address(self, family: Family) -> IpAddr {
        self.inside(family, 2)
    }

    /// The gateway's address towards its host.
    pub fn inside_address(self, family: Family) -> IpAddr {
        self.inside(family, 1)
    }

    /// The gateway's address towards the other gateway: an end of the tunnel.
    pub fn outside_address(self, family: Family) -> IpAddr {
        let n = self.number();
        match family {
            Family::V4 => Ipv4Addr::new(192, 0, 2, n).into(),
            Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n.into()).into(),
        }
    }

    /// The protected prefix behind the gateway, `10.1.0.0/24` style.
    pub fn prefix(self, family: Family) -> String {
        let n = self.number();
        match family {
            Family::V4 => format!("10.{n}.0.0/24"),
            Family::V6 => format!("fd0{n}::/64"),
        }
    }

    fn inside(self, family: Family, host: u8) -> IpAddr {
        let n = self.number();
        match family {
            Family::V4 => Ipv4Addr::new(10, n, 0, host).into(),
            Family::V6 => {
                Ipv6Addr::new(0xfd00 + u16::from(n), 0, 0, 0, 0, 0, 0, host.into()).into()
            }
        }
    }
}

/// The namespaces of one lab and its directory. Dropping the value removes them, with every process inside.
#[derive(Debug)]
pub struct Topology {
    id: String,
    shape: Shape,
    dir: PathBuf,
    hosts: [Namespace; 2],
    gateways: [Namespace; 2],
    wire: Option<Namespace>,
    kept: bool,
}

impl Topology {
    /// Builds the network under a fresh id. The kernel forwards nothing in it yet.
    ///
    /// # Errors
    /// [`LabError`] if not root, or if a step fails; what was built until then is removed.
    pub fn build(shape: Shape) -> Result<Self, LabError> {
        if !rustix::process::geteuid().is_root() {
            return Err(LabError::NotRoot);
        }
        for (program, package) in [
            ("ip", "iproute2"),
            ("nsenter", "util-linux"),
            ("ethtool", "ethtool"),
        ] {
            process::require(program, package)?;
        }
        let id = fresh_id();
        let dir = leftovers::claim(&id)?;
        // From here on a failure has something to take down.
        let unfinished = Claim {
            id: Some(id.clone()),
        };
        let make = |role: String| {
            let namespace = Namespace::create(leftovers::namespace_name(&id, &role))?;
            quiet(&namespace)?;
            Ok::<_, LabError>(namespace)
        };
        let topology = Topology {
            hosts: [make(Side::A.host())?, make(Side::B.host())?],
            gateways: [make(Side::A.gateway())?, make(Side::B.gateway())?],
            wire: shape.tapped.then(|| make("wire".into())).transpose()?,
            id,
            shape,
            dir,
            kept: false,
        };
        unfinished.fulfilled();
        topology.cable(shape.queues)?;
        topology.address()?;
        Ok(topology)
    }

    /// What tells this lab from others on the machine.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How it was built.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The lab's own directory, `/run/adit-lab-<id>`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The namespace of a host.
    pub fn host(&self, side: Side) -> &Namespace {
        &self.hosts[side as usize]
    }

    /// The namespace of a gateway.
    pub fn gateway(&self, side: Side) -> &Namespace {
        &self.gateways[side as usize]
    }

    /// The namespace in the middle of the outside wire, if it was asked for.
    pub fn wire(&self) -> Option<&Namespace> {
        self.wire.as_ref()
    }

    /// Every namespace, in the order of the picture.
    pub fn namespaces(&self) -> Vec<&Namespace> {
        let mut all = vec![self.host(Side::A), self.gateway(Side::A)];
        all.extend(self.wire());
        all.extend([self.gateway(Side::B), self.host(Side::B)]);
        all
    }

    /// Has the gateways' kernels forward, or not: the lab's baseline, and the danger that a gateway must withstand. A gateway that starts
    /// switches its ports off again.
    ///
    /// # Errors
    /// [`LabError::Io`] naming the setting.
    pub fn kernel_forwarding(&self, on: bool) -> Result<(), LabError> {
        let value = if on { "1" } else { "0" };
        let settings = [
            "net/ipv4/ip_forward",
            "net/ipv4/conf/inside/forwarding",
            "net/ipv4/conf/outside/forwarding",
            "net/ipv6/conf/all/forwarding",
            "net/ipv6/conf/inside/forwarding",
            "net/ipv6/conf/outside/forwarding",
        ];
        for gateway in &self.gateways {
            gateway.sysctl(&settings.map(|setting| (setting, value)))?;
        }
        Ok(())
    }

    /// Leaves everything up when this value goes.
    ///
    /// # Errors
    /// [`LabError::Io`] if the lab's owner file cannot be written.
    pub fn keep(&mut self) -> Result<(), LabError> {
        leftovers::keep(&self.id)?;
        self.kept = true;
        Ok(())
    }

    /// The veth pairs, with partial checksums and super-frames off: the stack's shortcuts would reach an AF_XDP socket as they are.
    fn cable(&self, queues: u16) -> Result<(), LabError> {
        let q = format!("numrxqueues {queues} numtxqueues {queues}");
        let [gw_a, gw_b] = [self.gateway(Side::A), self.gateway(Side::B)];
        for side in Side::BOTH {
            self.gateway(side).ip(&format!(
                "link add inside {q} type veth peer name eth0 {q} netns {}",
                self.host(side).name()
            ))?;
        }
        match &self.wire {
            None => gw_a.ip(&format!(
                "link add outside {q} type veth peer name outside {q} netns {}",
                gw_b.name()
            ))?,
            Some(wire) => {
                for side in Side::BOTH {
                    self.gateway(side).ip(&format!(
                        "link add outside {q} type veth peer name to-{} {q} netns {}",
                        side.gateway(),
                        wire.name()
                    ))?;
                }
                wire.ip(
                    "link add bridge type bridge forward_delay 0 stp_state 0 mcast_snooping 0\n\
                     link set to-gw-a master bridge up\n\
                     link set to-gw-b master bridge up\n\
                     link set bridge up",
                )?;
                for port in ["to-gw-a", "to-gw-b"] {
                    offloads_off(wire, port)?;
                }
            }
        }
        for side in Side::BOTH {
            offloads_off(self.host(side), "eth0")?;
            for port in ["inside", "outside"] {
                offloads_off(self.gateway(side), port)?;
            }
        }
        Ok(())
    }

    fn address(&self) -> Result<(), LabError> {
        for side in Side::BOTH {
            let other = side.other();
            let mut host = String::from("link set eth0 up\n");
            let mut gateway = String::from("link set inside up\nlink set outside up\n");
            for family in Family::BOTH {
                let bits = match family {
                    Family::V4 => 24,
                    Family::V6 => 64,
                };
                // The families' words for "everything" differ, and so does `ip -batch` by the address it meets.
                let default = match family {
                    Family::V4 => "0.0.0.0/0",
                    Family::V6 => "::/0",
                };
                let nodad = if family == Family::V6 { " nodad" } else { "" };
                let inside = side.inside_address(family);
                host += &format!(
                    "addr add {}/{bits} dev eth0{nodad}\n",
                    side.host_address(family)
                );
                host += &format!("route add {default} via {inside}\n");
                gateway += &format!("addr add {inside}/{bits} dev inside{nodad}\n");
                gateway += &format!(
                    "addr add {}/{bits} dev outside{nodad}\n",
                    side.outside_address(family)
                );
                gateway += &format!(
                    "route add {} via {}\n",
                    other.prefix(family),
                    other.outside_address(family)
                );
            }
            self.host(side).ip(&host)?;
            self.gateway(side).ip(&gateway)?;
        }
        Ok(())
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = leftovers::release(&self.id) {
            eprintln!(
                "adit lab: {error}; `adit lab clean` tries again once this process has ended"
            );
        }
    }
}

/// Takes a half-built lab down if its building fails.
struct Claim {
    id: Option<String>,
}

impl Claim {
    fn fulfilled(mut self) {
        self.id = None;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(id) = &self.id
            && let Err(error) = leftovers::release(id)
        {
            eprintln!("adit lab: {error}");
        }
    }
}

/// The owner's process id and a running number: unique among live labs, and short enough to type.
fn fresh_id() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{n}", std::process::id())
}

/// Before any device exists: no forwarding, no router advertisements, no duplicate address detection that would delay the addresses.
fn quiet(namespace: &Namespace) -> Result<(), LabError> {
    namespace.sysctl(&[
        ("net/ipv4/ip_forward", "0"),
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/default/rp_filter", "0"),
        ("net/ipv6/conf/all/forwarding", "0"),
        ("net/ipv6/conf/all/accept_dad", "0"),
        ("net/ipv6/conf/default/accept_dad", "0"),
        ("net/ipv6/conf/all/accept_ra", "0"),
        ("net/ipv6/conf/default/accept_ra", "0"),
        ("net/ipv6/conf/default/router_solicitations", "0"),
    ])
}

fn offloads_off(namespace: &Namespace, device: &str) -> Result<(), LabError> {
    process::run(namespace.command("ethtool").arg("-K").arg(device).args([
        "tx", "off", "gso", "off", "tso", "off", "gro", "off", "txvlan", "off", "rxvlan", "off",
    ]))?;
    Ok(())
}
