//! Loading, attaching and feeding the steering program.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::path::Path;

use aya::EbpfLoader;
use aya::maps::{HashMap, Map, MapData, PerCpuArray, PerCpuValues, XskMap};
use aya::programs::{ProgramError, TestRun, TestRunOptions, Xdp, XdpMode};
use aya_obj::programs::XdpAttachType;

use crate::error::{SteeringError, chain, while_doing};
use crate::link;
use crate::pins::{self, Pins, is_bpffs};
use crate::{MAPS, MAX_PORTS, MAX_QUEUES, MAX_REASONS, OBJECT, Reason};

/// Which side of the gateway a port is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The protected side.
    Inside,
    /// The unprotected side, where ESP and AH arrive.
    Outside,
}

/// Where the program runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttachMode {
    /// In the driver.
    Native,
    /// In the network stack, after the kernel has made a socket buffer: slower, works everywhere.
    Generic {
        /// Why not in the driver.
        reason: String,
    },
}

/// A port that the program is told about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// The interface's number.
    pub ifindex: u32,
    /// Its side.
    pub side: Side,
    /// Whether the program runs in its driver.
    pub native: bool,
    /// Whether it has no IPv4 address, so that a DHCP server's answers are the kernel's wherever they go.
    pub unaddressed: bool,
    /// Its place in the maps.
    number: u32,
}

/// What the program does with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The kernel gets it.
    Pass,
    /// The data plane gets it.
    Redirect,
    /// No one gets it.
    Drop,
}

// `enum xdp_action` of <linux/bpf.h>.
const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;

/// The loaded program with its maps.
///
/// Dropping it changes nothing: what is attached stays attached, until [`Steering::detach`] or
/// [`Steering::unpin_all`].
pub struct Steering {
    pins: Pins,
    program: Xdp,
    ports: HashMap<MapData, u32, [u32; 4]>,
    sockets: XskMap<MapData>,
    own4: HashMap<MapData, [u8; 4], u32>,
    own6: HashMap<MapData, [u8; 16], u32>,
    counters: PerCpuArray<MapData, u64>,
}

impl Steering {
    /// Loads the program and pins it in `pin_dir`, a directory on a BPF file system that is made if missing.
    ///
    /// What is pinned there already stays in use: the maps are kept with all they hold, and ports
    /// that are attached change over to the new program without a gap.
    ///
    /// # Errors
    /// No BPF file system, maps of another version, or a refusal of the kernel.
    pub fn load(pin_dir: &Path) -> Result<Steering, SteeringError> {
        let pins =
            Pins::create(pin_dir).map_err(while_doing(format!("make {}", pin_dir.display())))?;
        if !is_bpffs(pin_dir) {
            return Err(SteeringError::NotBpffs(pin_dir.to_owned()));
        }
        check_shapes(&pins)?;
        let mut loader = EbpfLoader::new();
        // Nothing in it is relocated against the kernel's types, and reading those takes longer than all the rest.
        loader.btf(None);
        for (name, ..) in MAPS {
            loader.map_pin_path(name, pins.map(name));
        }
        let mut loaded = loader
            .load(OBJECT)
            .map_err(while_doing("load the steering program"))?;
        let program: &mut Xdp = loaded
            .program_mut("steer")
            .ok_or(ProgramError::NotLoaded)
            .and_then(TryInto::try_into)
            .map_err(while_doing("find the steering program"))?;
        program
            .load()
            .map_err(while_doing("load the steering program"))?;
        let next = pins.next_program();
        pins::remove(&next)
            .and_then(|()| program.pin(&next).map_err(io::Error::other))
            .map_err(while_doing(format!("pin {}", next.display())))?;
        for ifindex in pins.linked().map_err(while_doing("read the pins"))? {
            // A link whose interface is gone cannot be updated, and needs no update.
            let _ = link::update(program, &pins.link(ifindex));
        }
        fs::rename(&next, pins.program())
            .map_err(while_doing(format!("pin {}", pins.program().display())))?;
        Steering::adopt(pin_dir)
    }

    /// Takes over what an earlier process pinned in `pin_dir`.
    ///
    /// # Errors
    /// [`SteeringError::NothingPinned`] if there is nothing, or maps of another version.
    pub fn adopt(pin_dir: &Path) -> Result<Steering, SteeringError> {
        let pins = Pins::new(pin_dir);
        if !pins.program().exists() {
            return Err(SteeringError::NothingPinned(pin_dir.to_owned()));
        }
        check_shapes(&pins)?;
        let program = Xdp::from_pin(pins.program(), XdpAttachType::Interface)
            .map_err(while_doing("open the pinned program"))?;
        Ok(Steering {
            program,
            ports: open_map(&pins, "ports")?,
            sockets: open_map(&pins, "sockets")?,
            own4: open_map(&pins, "own4")?,
            own6: open_map(&pins, "own6")?,
            counters: open_map(&pins, "counters")?,
            pins,
        })
    }

    /// Detaches from every port and removes every pin in `pin_dir`: from here on the kernel gets
    /// everything. Nothing pinned is fine.
    ///
    /// # Errors
    /// What removing a file says.
    pub fn unpin_all(pin_dir: &Path) -> io::Result<()> {
        Pins::new(pin_dir).remove_all()
    }

    /// Attaches to an interface, in the driver if it can, and pins the link; an interface that is
    /// attached already changes over to this program and side without a gap.
    ///
    /// # Errors
    /// [`SteeringError::Attach`] with what the kernel said to both modes.
    pub fn attach(&mut self, ifindex: u32, side: Side) -> Result<AttachMode, SteeringError> {
        let known = self.port(ifindex)?;
        let port = Port {
            ifindex,
            side,
            native: known.is_some_and(|port| port.native),
            unaddressed: known.is_some_and(|port| port.unaddressed),
            number: match known {
                Some(port) => port.number,
                None => self.free_number()?,
            },
        };
        // Before attaching, so that not one frame meets a program that does not know its port.
        self.put_port(port)?;
        let path = self.pins.link(ifindex);
        if known.is_some() && link::update(&mut self.program, &path).is_ok() {
            return Ok(if port.native {
                AttachMode::Native
            } else {
                AttachMode::Generic {
                    reason: "native mode was refused when it was attached".to_owned(),
                }
            });
        }
        // A link left over from an interface that is gone.
        pins::remove(&path).map_err(while_doing(format!("remove {}", path.display())))?;
        let attached = self.attach_anew(port, &path);
        match &attached {
            Ok(mode) => self.put_port(Port {
                native: *mode == AttachMode::Native,
                ..port
            })?,
            Err(_) => self.forget_port(port)?,
        }
        attached
    }

    fn attach_anew(&mut self, port: Port, path: &Path) -> Result<AttachMode, SteeringError> {
        self.reset_counters(port.number)?;
        let (link, mode) = match link::attach(&mut self.program, port.ifindex, XdpMode::Driver) {
            Ok(link) => (link, AttachMode::Native),
            Err(native) => {
                let reason = chain(&native);
                match link::attach(&mut self.program, port.ifindex, XdpMode::Skb) {
                    Ok(link) => (link, AttachMode::Generic { reason }),
                    Err(generic) => {
                        return Err(SteeringError::Attach {
                            ifindex: port.ifindex,
                            native: reason,
                            generic: chain(&generic),
                        });
                    }
                }
            }
        };
        link.pin(path)
            .map_err(while_doing(format!("pin {}", path.display())))?;
        Ok(mode)
    }

    /// Says whether an interface has no IPv4 address. Until it has one, a DHCP server's answers that arrive there
    /// are the kernel's: they go to the address that is about to come.
    ///
    /// # Errors
    /// [`SteeringError::NotAttached`], or a refusal of the kernel.
    pub fn set_unaddressed(
        &mut self,
        ifindex: u32,
        unaddressed: bool,
    ) -> Result<(), SteeringError> {
        let port = self
            .port(ifindex)?
            .ok_or(SteeringError::NotAttached(ifindex))?;
        self.put_port(Port {
            unaddressed,
            ..port
        })
    }

    /// Detaches from an interface: from here on the kernel gets everything that arrives there.
    ///
    /// # Errors
    /// [`SteeringError::NotAttached`], or a refusal of the kernel.
    pub fn detach(&mut self, ifindex: u32) -> Result<(), SteeringError> {
        let port = self
            .port(ifindex)?
            .ok_or(SteeringError::NotAttached(ifindex))?;
        let path = self.pins.link(ifindex);
        pins::remove(&path).map_err(while_doing(format!("remove {}", path.display())))?;
        self.forget_port(port)
    }

    /// Sends what is redirected on a queue of a port to an AF_XDP socket bound to that queue.
    ///
    /// The map holds no reference to the socket: close `socket` afterwards, and its entry is gone as
    /// soon as the data plane that opened it is.
    ///
    /// # Errors
    /// An unknown port, a queue beyond [`MAX_QUEUES`], or an fd that is not a bound AF_XDP socket.
    pub fn set_socket(
        &mut self,
        ifindex: u32,
        queue: u32,
        socket: BorrowedFd<'_>,
    ) -> Result<(), SteeringError> {
        let port = self
            .port(ifindex)?
            .ok_or(SteeringError::NotAttached(ifindex))?;
        if queue >= MAX_QUEUES {
            return Err(SteeringError::Queue(queue));
        }
        self.sockets
            .set(port.number * MAX_QUEUES + queue, socket, 0)
            .map_err(while_doing(format!(
                "steer interface {ifindex} queue {queue} to its socket"
            )))
    }

    /// Makes `address` an own address; `protected` says that clear packets to it are the data plane's.
    ///
    /// # Errors
    /// A full map ([`crate::MAX_OWN`]).
    pub fn set_own(&mut self, address: IpAddr, protected: bool) -> Result<(), SteeringError> {
        let value = u32::from(protected);
        match address {
            IpAddr::V4(v4) => self.own4.insert(v4.octets(), value, 0),
            IpAddr::V6(v6) => self.own6.insert(v6.octets(), value, 0),
        }
        .map_err(while_doing(format!("set the own address {address}")))
    }

    /// Makes `address` somebody else's; one that was not known is fine.
    ///
    /// # Errors
    /// A refusal of the kernel.
    pub fn remove_own(&mut self, address: IpAddr) -> Result<(), SteeringError> {
        let removed = match address {
            IpAddr::V4(v4) => absent_is_fine(self.own4.remove(&v4.octets())),
            IpAddr::V6(v6) => absent_is_fine(self.own6.remove(&v6.octets())),
        };
        removed.map_err(while_doing(format!("remove the own address {address}")))
    }

    /// The own addresses, each with whether it is protected.
    ///
    /// # Errors
    /// A refusal of the kernel.
    pub fn own(&self) -> Result<Vec<(IpAddr, bool)>, SteeringError> {
        let v4 = self
            .own4
            .iter()
            .map(|entry| entry.map(|(key, value)| (IpAddr::from(key), value != 0)));
        let v6 = self
            .own6
            .iter()
            .map(|entry| entry.map(|(key, value)| (IpAddr::from(key), value != 0)));
        v4.chain(v6)
            .collect::<Result<_, _>>()
            .map_err(while_doing("read the own addresses"))
    }

    /// Every port the program is told about.
    ///
    /// # Errors
    /// A refusal of the kernel.
    pub fn ports(&self) -> Result<Vec<Port>, SteeringError> {
        let ports = self.ports.iter().map(|entry| {
            entry.map(|(ifindex, [number, side, native, unaddressed])| Port {
                ifindex,
                side: if side == Side::Outside as u32 {
                    Side::Outside
                } else {
                    Side::Inside
                },
                native: native != 0,
                unaddressed: unaddressed != 0,
                number,
            })
        });
        ports
            .collect::<Result<_, _>>()
            .map_err(while_doing("read the ports"))
    }

    /// What the program would do with a frame that arrived on queue 0 of an interface of this network
    /// namespace. It counts as one that did arrive.
    ///
    /// # Errors
    /// An unknown interface, a frame shorter than an Ethernet header, or a refusal of the kernel.
    pub fn try_frame(&self, ifindex: u32, frame: &[u8]) -> Result<Action, SteeringError> {
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context: Vec<u8> = [0, frame.len() as u32, 0, ifindex, 0, 0]
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            ..TestRunOptions::new()
        };
        let result = self
            .program
            .test_run(options)
            .map_err(while_doing("try a frame on the steering program"))?;
        Ok(match result.return_value {
            XDP_PASS => Action::Pass,
            XDP_REDIRECT => Action::Redirect,
            _ => Action::Drop,
        })
    }

    /// How many frames met each reason on a port since it was attached, all CPUs together.
    ///
    /// # Errors
    /// An unknown port, or a refusal of the kernel.
    pub fn counters(&self, ifindex: u32) -> Result<Vec<(Reason, u64)>, SteeringError> {
        let port = self
            .port(ifindex)?
            .ok_or(SteeringError::NotAttached(ifindex))?;
        let count = |reason: Reason| {
            let index = port.number * MAX_REASONS + reason as u32;
            let frames = self.counters.get(&index, 0)?.iter().sum();
            Ok((reason, frames))
        };
        Reason::ALL
            .into_iter()
            .map(count)
            .collect::<Result<_, _>>()
            .map_err(while_doing::<aya::maps::MapError>("read the counters"))
    }

    fn port(&self, ifindex: u32) -> Result<Option<Port>, SteeringError> {
        Ok(self
            .ports()?
            .into_iter()
            .find(|port| port.ifindex == ifindex))
    }

    fn free_number(&self) -> Result<u32, SteeringError> {
        let ports = self.ports()?;
        (0..MAX_PORTS)
            .find(|number| ports.iter().all(|port| port.number != *number))
            .ok_or(SteeringError::TooManyPorts)
    }

    fn put_port(&mut self, port: Port) -> Result<(), SteeringError> {
        let value = [
            port.number,
            port.side as u32,
            u32::from(port.native),
            u32::from(port.unaddressed),
        ];
        self.ports
            .insert(port.ifindex, value, 0)
            .map_err(while_doing("tell the program of a port"))
    }

    /// Frees the port's places, so that its number can be given to another.
    fn forget_port(&mut self, port: Port) -> Result<(), SteeringError> {
        for queue in 0..MAX_QUEUES {
            absent_is_fine(self.sockets.unset(port.number * MAX_QUEUES + queue))
                .map_err(while_doing("take a socket out"))?;
        }
        absent_is_fine(self.ports.remove(&port.ifindex)).map_err(while_doing("forget a port"))
    }

    fn reset_counters(&mut self, number: u32) -> Result<(), SteeringError> {
        for reason in Reason::ALL {
            let index = number * MAX_REASONS + reason as u32;
            let cpus = self
                .counters
                .get(&index, 0)
                .map_err(while_doing("read a counter"))?
                .len();
            let zeroes = PerCpuValues::try_from(vec![0; cpus])
                .map_err(while_doing::<io::Error>("reset a counter"))?;
            self.counters
                .set(index, zeroes, 0)
                .map_err(while_doing("reset a counter"))?;
        }
        Ok(())
    }
}

fn absent_is_fine(result: Result<(), aya::maps::MapError>) -> Result<(), aya::maps::MapError> {
    use aya::maps::MapError;
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {
            Ok(())
        }
        other => other,
    }
}

fn open_map<T: TryFrom<Map, Error = aya::maps::MapError>>(
    pins: &Pins,
    name: &str,
) -> Result<T, SteeringError> {
    MapData::from_pin(pins.map(name))
        .and_then(Map::from_map_data)
        .and_then(T::try_from)
        .map_err(while_doing(format!("open the pinned map {name}")))
}

/// Refuses maps that this version would read wrongly.
fn check_shapes(pins: &Pins) -> Result<(), SteeringError> {
    for (name, key, value, entries) in MAPS {
        let path = pins.map(name);
        if !path.exists() {
            continue;
        }
        let info = MapData::from_pin(&path)
            .and_then(|map| map.info())
            .map_err(while_doing(format!("open the pinned map {name}")))?;
        if (info.key_size(), info.value_size(), info.max_entries()) != (key, value, entries) {
            return Err(SteeringError::Shape(path));
        }
    }
    Ok(())
}
