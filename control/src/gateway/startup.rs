//! From a configuration to a closed gateway that waits for its data plane.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use adit_abi::message::{PortSetup, Setup};
use adit_abi::{RegionError, Side, open_tun};
use adit_bpf::SteeringError;
use rustix::event::{EventfdFlags, eventfd};
use thiserror::Error;
use tracing::{info, warn};

use super::{Gateway, GatewayPort};
use crate::clock;
use crate::config::{Config, Gateway as Settings};
use crate::host::protected_routes::ProtectedRoutes;
use crate::host::{forwarding, offloads};
use crate::ike::Ike;
use crate::netlink::ethtool::Ethtool;
use crate::netlink::update::Link;
use crate::netlink::{Follower, MirrorPort};
use crate::plane::Plane;
use crate::plane::events::Events;
use crate::plane::session::Session;
use crate::rate_limit::RateLimit;
use crate::sadb::{Sadb, SadbError};
use crate::steer::{Steer, own_addresses};

/// Why the gateway cannot start.
#[derive(Debug, Error)]
pub enum StartupError {
    /// The tables.
    #[error("the tables cannot be made: {0}")]
    Region(#[from] RegionError),
    /// Netlink.
    #[error("the kernel's tables cannot be read: {0}")]
    Netlink(#[source] io::Error),
    /// An interface that is not there.
    #[error("there is no interface named {0:?}: make it first, or correct `gateway.ports`")]
    NoInterface(String),
    /// Queues that nobody would serve.
    #[error(
        "interface {name} has {has} receive queues, and {served} are to be served: what arrives on the others \
         would be lost; run `ethtool -L {name} combined {served}`, or set `queues` to {has}"
    )]
    Queues {
        /// The interface.
        name: String,
        /// Queues that it has.
        has: u16,
        /// Queues that are to be served.
        served: u16,
    },
    /// A worker without a queue, or a queue without a worker.
    #[error(
        "port {name} has {queues} queues for {workers} workers: every worker serves one queue of every port, so \
         give all ports as many queues, and leave `gateway.workers` out or set it to that number"
    )]
    Workers {
        /// The interface.
        name: String,
        /// Its queues.
        queues: u16,
        /// Workers.
        workers: u16,
    },
    /// The steering program.
    #[error(transparent)]
    Steering(#[from] SteeringError),
    /// The link to the data plane.
    #[error("the data plane's socket {}: {source}", path.display())]
    PlaneSocket {
        /// Its path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Something of the system's.
    #[error("{0}: {1}")]
    System(&'static str, #[source] io::Error),
    /// The file names what does not go together.
    #[error("{name}: {source}")]
    Table {
        /// The policy or SA.
        name: String,
        /// Why not.
        source: SadbError,
    },
}

impl Gateway {
    /// Makes everything ready, in the order that keeps it closed: forwarding off, own addresses, steering,
    /// routes, policies, SAs.
    ///
    /// # Errors
    /// The first thing that cannot be done. What is attached by then stays attached.
    pub fn start(
        config: Config,
        registry: &mio::Registry,
        plane_token: usize,
        ike_token: usize,
    ) -> Result<Self, StartupError> {
        let settings = config.gateway.clone();
        let mut seed = [0; 8];
        getrandom::fill(&mut seed)
            .map_err(|e| StartupError::System("no random numbers", io::Error::other(e)))?;
        let mut sadb = Sadb::create(&settings.table, u64::from_ne_bytes(seed))?;
        sadb.forwarding().set_settings(&settings.settings);
        let mut follower = Follower::open(sadb.forwarding()).map_err(StartupError::Netlink)?;

        let mut ethtool = Ethtool::open()
            .map_err(|e| warn!("the kernel's ethtool interface cannot be used: {e}"))
            .ok();
        let found = find_ports(&settings, &mut follower, &mut sadb, ethtool.as_mut())
            .and_then(|ports| Ok((setup(&settings, &ports)?, ports)));
        let (setup, ports) = match found {
            Ok(found) => found,
            Err(e) => {
                close_what_is_there(&config, &follower);
                return Err(e);
            }
        };
        for port in ports.iter().filter(|p| p.side != Side::Host) {
            forwarding::switch_off(&port.name);
            if let Some(ethtool) = &mut ethtool {
                offloads::switch_off(ethtool, port.ifindex, &port.name);
            }
            follower.set_port(mirror_port(port));
        }
        let path = settings.dataplane_socket.clone();
        let plane = Plane::bind(&path, registry, plane_token)
            .map_err(|source| StartupError::PlaneSocket { path, source })?;
        let notify = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|e| StartupError::System("eventfd", e.into()))?;
        let steer = Steer::load(&settings.bpf_dir)?;
        let events = Events::from_now(sadb.state());
        let now = adit_ike::time::Instant(clock::now());
        let ike =
            Ike::start(registry, ike_token, now).map_err(|e| StartupError::System("IKE", e))?;
        let mut gateway = Self {
            config,
            sadb,
            follower,
            steer,
            plane,
            session: Session::default(),
            ports,
            started: Instant::now(),
            events,
            ike,
            setup,
            routes: ProtectedRoutes::default(),
            steering_refused: None,
            notify: Arc::new(notify),
            tun: None,
            settled: false,
            waiting: HashMap::new(),
            initiations: Vec::new(),
            answers: Default::default(),
            notices: Default::default(),
            asked: HashMap::new(),
            limit: RateLimit::default(),
        };
        gateway.close()?;
        gateway.fill()?;
        Ok(gateway)
    }

    /// Steering on every port, and the way for this host's own traffic.
    fn close(&mut self) -> Result<(), StartupError> {
        let policies = self.config.policies.clone();
        // Attached whatever comes of it: a program that knows too few addresses keeps more from the kernel.
        let steered = self.sync_steering(&policies);
        let ports: Vec<_> = self.real_ports().cloned().collect();
        let mut attached = Ok(());
        for port in &ports {
            match self.steer.attach(port.ifindex, port.side) {
                Ok(()) => info!(port = %port.name, side = port.side.name(), "steered"),
                // The others are closed first.
                Err(e) => attached = attached.and(Err(e)),
            }
        }
        attached?;
        steered?;
        self.sync_unaddressed()?;
        let kept: Vec<_> = ports.iter().map(|p| p.ifindex).collect();
        let mirror = self.follower.mirror();
        let exists = |ifindex| mirror.link_by_number(ifindex).is_some();
        for ifindex in self.steer.leftovers(&kept, exists)? {
            let link = self.follower.mirror().link_by_number(ifindex);
            warn!(
                interface = link.map_or("", |l| l.name.as_str()),
                "is no port any more and stays closed: `adit open` opens everything, a restart then closes the ports"
            );
        }
        self.open_tun();
        if let Err(e) = self.routes.find(self.follower.asker()) {
            warn!("routes that an earlier control left cannot be read: {e}");
        }
        self.follower
            .read_all(self.sadb.forwarding())
            .map_err(StartupError::Netlink)?;
        self.sync_routes(&policies);
        Ok(())
    }

    /// Makes the TUN device, or finds the one that a running data plane holds.
    pub(super) fn open_tun(&mut self) {
        let name = self.config.gateway.tun.clone();
        match open_tun(&name) {
            Ok(fd) => self.tun = Some(Arc::new(fd)),
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy => {
                info!(tun = %name, "the data plane holds the TUN device");
            }
            Err(e) => {
                warn!(tun = %name, "no TUN device, so this host's own traffic cannot be sealed: {e}");
                return;
            }
        }
        self.take_up_tun();
    }

    /// Files routes, policies and SAs.
    fn fill(&mut self) -> Result<(), StartupError> {
        let (policies, sas) = (self.config.policies.clone(), self.config.sas.clone());
        for policy in policies {
            let name = policy.name.clone();
            self.sadb
                .add_policy(policy)
                .map_err(|source| StartupError::Table { name, source })?;
        }
        for sa in sas {
            self.sadb
                .add_sa(&sa, clock::now())
                .map_err(|source| StartupError::Table {
                    name: format!(
                        "SA {:?} of {}",
                        sa.spi,
                        sa.policy.clone().unwrap_or_default()
                    ),
                    source,
                })?;
        }
        self.forward_sadb();
        Ok(())
    }
}

pub(super) fn mirror_port(port: &GatewayPort) -> MirrorPort {
    MirrorPort {
        number: port.number,
        ifindex: port.ifindex,
        side: port.side,
    }
}

/// Steers the ports that are there, though not all are as they should be: there will be no gateway, and nothing
/// may get by because of that.
fn close_what_is_there(config: &Config, follower: &Follower) {
    let mirror = follower.mirror();
    let mut steer = match Steer::load(&config.gateway.bpf_dir) {
        Ok(steer) => steer,
        Err(e) => return warn!("nothing is steered: {e}"),
    };
    let mut own = own_addresses(mirror.own_addresses(), config.policies.iter());
    steer.keep_protected(&mut own);
    if let Err(e) = steer.set_own_addresses(&own) {
        warn!("{e}");
    }
    for port in &config.gateway.ports {
        let Some(link) = mirror.link(&port.interface) else {
            continue;
        };
        match steer.attach(link.ifindex, port.side) {
            Ok(()) => info!(port = %port.interface, "steered, and closed"),
            Err(e) => warn!(port = %port.interface, "{e}"),
        }
    }
}

fn find_ports(
    settings: &Settings,
    follower: &mut Follower,
    sadb: &mut Sadb,
    mut ethtool: Option<&mut Ethtool>,
) -> Result<Vec<GatewayPort>, StartupError> {
    let mut ports = Vec::new();
    for (number, port) in (0u8..).zip(&settings.ports) {
        let link = follower
            .find_link(sadb.forwarding(), &port.interface)
            .map_err(StartupError::Netlink)?
            .ok_or_else(|| StartupError::NoInterface(port.interface.clone()))?;
        let has = receive_queues(&link, ethtool.as_deref_mut());
        let served = port.queues.unwrap_or(has);
        if served != has {
            return Err(StartupError::Queues {
                name: port.interface.clone(),
                has,
                served,
            });
        }
        ports.push(GatewayPort {
            number,
            ifindex: link.ifindex,
            name: port.interface.clone(),
            side: port.side,
            queues: served,
        });
    }
    ports.push(GatewayPort {
        number: u8::try_from(ports.len()).unwrap_or(u8::MAX),
        // The data plane gets the device itself; its number is of no use to it.
        ifindex: 0,
        name: settings.tun.clone(),
        side: Side::Host,
        queues: 1,
    });
    Ok(ports)
}

/// Receive queues in use, as the driver says, or else as many as there could be.
fn receive_queues(link: &Link, ethtool: Option<&mut Ethtool>) -> u16 {
    let used = ethtool.and_then(|e| e.receive_queues(link.ifindex).ok());
    let n = used.unwrap_or(link.receive_queues);
    u16::try_from(n).unwrap_or(u16::MAX).max(1)
}

fn setup(settings: &Settings, ports: &[GatewayPort]) -> Result<Setup, StartupError> {
    let real = || ports.iter().filter(|p| p.side != Side::Host);
    let workers = settings
        .workers
        .unwrap_or_else(|| real().map(|p| p.queues).max().unwrap_or(1));
    if let Some(port) = real().find(|p| p.queues != workers) {
        return Err(StartupError::Workers {
            name: port.name.clone(),
            queues: port.queues,
            workers,
        });
    }
    Ok(Setup {
        frame_size: settings.frame_size,
        frames_per_worker: settings.frames_per_worker,
        ring_size: settings.ring_size,
        workers,
        huge_pages: settings.huge_pages,
        zero_copy: settings.zero_copy,
        cpus: settings.cpus.clone(),
        ports: ports
            .iter()
            .map(|p| PortSetup {
                number: p.number,
                ifindex: p.ifindex,
                side: p.side,
                queues: p.queues,
                name: p.name.clone(),
            })
            .collect(),
    })
}
